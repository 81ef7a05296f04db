//! The wait for a volume that another bridge has: the kernel wakes this one when the other has ended.

use std::future::Future;
use std::io;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result};
use switchyard_program::service;
use switchyard_program::settings::Problem;
use tokio::sync::{oneshot, watch};

use super::PART;
use super::prepare::{Checked, OpenVolume, Ready, VolumeFault, check, finish};
use crate::api::StandbyApi;
use crate::config::BridgeConfig;
use crate::volume::OpenError;

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
            listener.refuse().context("close a listener for the time of the wait")?;
        }
        let (stop, stopping) = watch::channel(false);
        let api = checked.listener.try_clone().context("prepare the listener")?;
        let api = tokio::spawn(StandbyApi::serve(api, stopping));
        let taken = take(&checked.config.projects).context("start a thread")?;
        tracing::info!(
            listen = %checked.listener.address().context("read the address")?,
            projects = %checked.config.projects.display(),
            "standby: another bridge has the volume; this one takes over when that one ends"
        );
        service::ready(PART, "standby: another bridge has the volume".to_owned());
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
            listener.accept_again().context("listen again after the wait")?;
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
