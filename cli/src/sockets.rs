//! Sockets that the service manager has opened: they take the place of the listeners' addresses.

use switchyard_edge::socket::ListenSetting;
use switchyard_program::service;
use switchyard_program::settings::{Problem, Problems, Validate};

/// The variable with the names of the sockets, as messages call them.
const NAMES: &str = "LISTEN_FDNAMES";

/// The setting of a listener.
pub(crate) enum Slot<'a> {
    Always(&'a mut ListenSetting),
    /// A listener that is off by default.
    Optional(&'a mut Option<ListenSetting>),
}

/// Gives the sockets, if there are any, to the listeners of their names, and checks the settings
/// again: a socket may be reachable from elsewhere, too.
///
/// # Errors
/// A socket belongs to no listener, or cannot be one; or the settings are wrong with it.
pub(crate) fn inherit<T: Validate>(
    config: &mut T,
    slots: impl for<'a> FnOnce(&'a mut T) -> Vec<(&'static str, Slot<'a>)>,
) -> Result<(), Vec<Problem>> {
    let sockets = service::sockets().map_err(|error| vec![Problem::new(NAMES, error.to_string())])?;
    if sockets.is_empty() {
        return Ok(());
    }
    let mut problems = Problems::default();
    let mut slots = slots(config);
    let names: Vec<_> = slots.iter().map(|(name, _)| *name).collect();
    for (name, socket) in sockets {
        // A second socket of the same name finds no listener.
        let Some(at) = slots.iter().position(|(slot, _)| *slot == name) else {
            let names = names.join(", ");
            let message = format!(
                "no listener for the socket {name:?}: name one socket each of {names} (FileDescriptorName=)"
            );
            problems.add(Problem::new(NAMES, message));
            continue;
        };
        match (ListenSetting::inherit(socket), slots.swap_remove(at).1) {
            (Ok(setting), Slot::Always(slot)) => *slot = setting,
            (Ok(setting), Slot::Optional(slot)) => *slot = Some(setting),
            (Err(error), _) => problems.add(Problem::new(NAMES, format!("the socket {name:?}: {error}"))),
        }
    }
    drop(slots);
    config.validate(&mut problems);
    problems.into_result(())
}
