//! The wait for a volume that another bridge has: the kernel wakes this one when the other has ended.

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result};
use rustix::net::{Shutdown, listen, shutdown};
use switchyard_program::settings::Problem;
use tokio::sync::{oneshot, watch};

use super::prepare::{Checked, OpenVolume, Ready, VolumeFault, check, finish};
use crate::api::StandbyApi;
use crate::config::BridgeConfig;
use crate::volume::OpenError;

/// Connections that wait to be accepted at the listeners for requests and webhooks.
const BACKLOG: i32 = 1024;

/// Settings that are valid, and whether the volume is free.
pub enum Prepared {
    /// It is, and this bridge has it now.
    Ready(Box<Ready>),
    /// Another bridge has it.
    Standby(Box<Standby>),
}

/// Checks and opens everything that the settings name. If another bridge has the volume, and all else
/// is valid, this one can wait as its standby.
///
/// # Errors
/// All problems.
pub fn prepare_or_wait(config: BridgeConfig) -> Result<Prepared, Vec<Problem>> {
    let (checked, volume, mut problems) = check(config);
    if let Err(VolumeFault::Open(OpenError::InUse(_))) = volume {
        let standby = checked.map(|checked| Prepared::Standby(Box::new(Standby(checked))));
        return finish(standby, problems);
    }
    let volume = problems.check("projects", volume);
    let ready = checked.zip(volume).map(|(checked, volume)| checked.with(volume));
    finish(ready.map(|ready| Prepared::Ready(Box::new(ready))), problems)
}

/// A bridge that is ready but for the volume.
pub struct Standby(Checked);

impl Standby {
    /// Waits until the other bridge has ended, and returns what a start needs then; or until `shutdown`
    /// resolves, and returns `None`.
    ///
    /// Meanwhile probes of the API are answered, and connections for requests and webhooks are refused,
    /// so that whatever is in front of both bridges turns to the other one.
    ///
    /// # Errors
    /// The volume or a listener cannot be used, or `shutdown` fails.
    pub async fn wait(self, shutdown: impl Future<Output = Result<&'static str>>) -> Result<Option<Ready>> {
        let Self(checked) = self;
        for listener in [&checked.forward, &checked.hooks].into_iter().flatten() {
            refuse(listener).context("close a listener for the time of the wait")?;
        }
        let (stop, stopping) = watch::channel(false);
        let api = checked.listener.try_clone().and_then(tokio::net::TcpListener::from_std);
        let api = tokio::spawn(StandbyApi::serve(api.context("prepare the listener")?, stopping));
        let taken = take(&checked.config.projects).context("start a thread")?;
        tracing::info!(
            listen = %checked.listener.local_addr().context("read the address")?,
            projects = %checked.config.projects.display(),
            "standby: another bridge has the volume; this one takes over when that one ends"
        );
        let volume = tokio::select! {
            taken = taken => taken.context("the thread that waits for the volume has ended")??,
            signal = shutdown => {
                tracing::info!(signal = signal?, "stopped while waiting");
                return Ok(None);
            }
        };
        tracing::info!(projects = %checked.config.projects.display(), "the other bridge has ended: taking over");
        stop.send_replace(true);
        // The task fails only by a panic, which is logged.
        let _ = api.await;
        for listener in [&checked.forward, &checked.hooks].into_iter().flatten() {
            listen(listener, BACKLOG).context("listen again after the wait")?;
        }
        Ok(Some(checked.with(volume)))
    }
}

/// Waits in a thread of its own. A bridge that stops does not wait for it: it ends with the process.
fn take(projects: &Path) -> io::Result<oneshot::Receiver<Result<OpenVolume, VolumeFault>>> {
    let (sender, taken) = oneshot::channel();
    let projects = projects.to_owned();
    thread::Builder::new().name("standby".to_owned()).spawn(move || {
        // If nobody waits any more, the volume is free again.
        let _ = sender.send(OpenVolume::wait(&projects));
    })?;
    Ok(taken)
}

/// Refuses connections from now on. The address stays taken.
fn refuse(listener: &TcpListener) -> io::Result<()> {
    Ok(shutdown(listener, Shutdown::Read)?)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_listener_that_was_closed_for_a_while_accepts_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // Bound to the port by its number, as a setting names it.
        drop(listener);
        let listener = TcpListener::bind(address).unwrap();
        refuse(&listener).unwrap();
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        listen(&listener, BACKLOG).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        listener.accept().unwrap();
    }
}
