//! The signals that stop a process of several parts, each of which waits for the same ones.

use anyhow::{Context as _, Result};
use switchyard_program::signal::Stops;
use tokio::sync::watch;

/// The signals to stop that the process has received so far. Router and bridge stop at the first one, one
/// after the other, and both stop at once at the second one, whichever of them is stopping then.
#[derive(Debug, Clone)]
pub(crate) struct StopSignals(watch::Sender<Vec<&'static str>>);

impl StopSignals {
    /// Counts the signals from now on, in a task of `runtime`.
    ///
    /// # Errors
    /// The signals cannot be handled.
    pub(crate) fn watch(runtime: &tokio::runtime::Runtime) -> Result<Self> {
        let signals = Self(watch::Sender::new(Vec::new()));
        let mut stops = runtime.block_on(async { Stops::catch() })?;
        let received = signals.clone();
        runtime.spawn(async move {
            loop {
                received.send(stops.next().await);
            }
        });
        Ok(signals)
    }

    /// Counts another cause to stop, as if it were a signal of this name.
    pub(crate) fn send(&self, cause: &'static str) {
        self.0.send_modify(|received| received.push(cause));
    }

    /// Resolves with the name of the signal at the `count`th one.
    ///
    /// # Errors
    /// None will come.
    pub(crate) async fn nth(&self, count: usize) -> Result<&'static str> {
        let mut signals = self.0.subscribe();
        let received = signals.wait_for(|received| received.len() >= count).await;
        Ok(received.context("wait for a signal")?[count - 1])
    }
}
