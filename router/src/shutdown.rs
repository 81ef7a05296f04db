//! When the router is to stop: SIGTERM and SIGINT.

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Resolves with the signal's name at the first SIGTERM or SIGINT.
///
/// # Errors
/// The handlers cannot be installed.
pub async fn on_signal() -> Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate()).context("handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("handle SIGINT")?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
