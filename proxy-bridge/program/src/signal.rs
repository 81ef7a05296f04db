//! Signals of the process: stop (SIGTERM, SIGINT, SIGQUIT), reload (SIGHUP), and those that must not
//! end it.

use std::fmt::Display;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::service::{self, Reload};

/// Resolves with the signal's name at the first SIGTERM, SIGINT or SIGQUIT.
///
/// # Errors
/// The handlers cannot be installed.
pub async fn on_signal() -> Result<&'static str> {
    Ok(Stops::catch()?.next().await)
}

/// Signals that stop the process: SIGTERM, SIGINT and SIGQUIT.
#[derive(Debug)]
pub struct Stops {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Stops {
    /// Handles these signals from now on: called in the context of the runtime that will wait for them.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn catch() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("handle SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("handle SIGINT")?,
            quit: signal(SignalKind::quit()).context("handle SIGQUIT")?,
        })
    }

    /// Resolves with the signal's name at the next one.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.quit.recv() => "SIGQUIT",
        }
    }
}

/// Signals that would end the process by default, though their senders want something else: SIGHUP to
/// reload, SIGUSR1 and SIGUSR2 to reopen logs or to upgrade. Rust's runtime already ignores SIGPIPE.
#[derive(Debug)]
pub struct Reloads {
    hangups: Signal,
    first_user: Signal,
    second_user: Signal,
}

impl Reloads {
    /// Handles these signals from now on: called at the very start of the process, in the context of the
    /// runtime that will wait for them.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn catch() -> Result<Self> {
        Ok(Self {
            hangups: signal(SignalKind::hangup()).context("handle SIGHUP")?,
            first_user: signal(SignalKind::user_defined1()).context("handle SIGUSR1")?,
            second_user: signal(SignalKind::user_defined2()).context("handle SIGUSR2")?,
        })
    }

    /// Resolves at the next SIGHUP. The reload goes on until the result is dropped. The other signals
    /// are logged and otherwise ignored.
    pub async fn next(&mut self) -> Reload {
        loop {
            let ignored = tokio::select! {
                _ = self.hangups.recv() => return service::reload(),
                _ = self.first_user.recv() => "SIGUSR1",
                _ = self.second_user.recv() => "SIGUSR2",
            };
            tracing::info!(signal = ignored, "{ignored} is ignored: SIGHUP reloads the files, SIGTERM stops");
        }
    }
}

/// Logs the result of reloading the file that `flag` names: a summary of its content, or its problems.
pub fn log_reload<E: Display>(flag: &str, result: Result<String, Vec<E>>) {
    match result {
        Ok(summary) => tracing::info!(audit = true, flag, "SIGHUP: reloaded --{flag}: {summary}"),
        Err(problems) => {
            for problem in problems {
                tracing::error!(flag, "SIGHUP: --{flag} is invalid, keeping its old content: {problem}");
            }
        }
    }
}
