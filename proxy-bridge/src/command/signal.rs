//! What the process is told by signals: to stop (SIGTERM, SIGINT), to read its files again (SIGHUP).

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

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

/// The SIGHUPs that come from now on; without it the first would end the process.
///
/// # Errors
/// The handler cannot be installed.
pub fn hangups() -> Result<Signal> {
    signal(SignalKind::hangup()).context("handle SIGHUP")
}
