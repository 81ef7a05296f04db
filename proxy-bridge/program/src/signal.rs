//! Signals of the process: stop (SIGTERM, SIGINT, SIGQUIT), reload (SIGHUP), and those that must not
//! end it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::service;

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
///
/// Each part of the process has one. A reload is over when all parts have done theirs.
#[derive(Debug)]
pub struct Reloads {
    /// `None`: another part of the process handles the signals.
    signals: Option<ReloadSignals>,
    shared: Arc<SharedReloads>,
    /// The number of reloads so far, as this part has seen it.
    number: watch::Receiver<u64>,
    part: usize,
}

#[derive(Debug)]
struct ReloadSignals {
    hangups: Signal,
    first_user: Signal,
    second_user: Signal,
}

#[derive(Debug)]
struct SharedReloads {
    number: watch::Sender<u64>,
    state: Mutex<ReloadState>,
}

#[derive(Debug, Default)]
struct ReloadState {
    /// The last reload that each part has done.
    done: BTreeMap<usize, u64>,
    parts: usize,
    under_way: Option<service::Reload>,
    /// A part has a file to reload.
    has_files: bool,
}

/// A part that reloads its files, until this is dropped.
#[must_use]
#[derive(Debug)]
pub struct Reload {
    shared: Arc<SharedReloads>,
    part: usize,
    number: u64,
}

impl Reloads {
    /// Handles these signals from now on: called at the very start of the process, in the context of the
    /// runtime that will wait for them.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn catch() -> Result<Self> {
        let signals = ReloadSignals {
            hangups: signal(SignalKind::hangup()).context("handle SIGHUP")?,
            first_user: signal(SignalKind::user_defined1()).context("handle SIGUSR1")?,
            second_user: signal(SignalKind::user_defined2()).context("handle SIGUSR2")?,
        };
        let shared = SharedReloads { number: watch::Sender::new(0), state: Mutex::default() };
        let mut reloads = Self::of(Arc::new(shared));
        reloads.signals = Some(signals);
        Ok(reloads)
    }

    /// Returns the reloads for another part of the process, which has to follow them too.
    #[must_use]
    pub fn share(&self) -> Self {
        Self::of(self.shared.clone())
    }

    fn of(shared: Arc<SharedReloads>) -> Self {
        let number = shared.number.subscribe();
        let mut state = shared.state();
        let part = state.parts;
        state.parts += 1;
        state.done.insert(part, *number.borrow());
        drop(state);
        Self { signals: None, shared, number, part }
    }

    /// Resolves at the next SIGHUP. The reload goes on until the result is dropped. The other signals
    /// are logged and otherwise ignored.
    pub async fn next(&mut self) -> Reload {
        if let Some(signals) = &mut self.signals {
            signals.next_hangup().await;
            self.shared.begin();
        } else {
            // The sender is this one's own, so it cannot be gone.
            let _ = self.number.changed().await;
        }
        self.reload()
    }

    fn reload(&mut self) -> Reload {
        let number = *self.number.borrow_and_update();
        Reload { shared: self.shared.clone(), part: self.part, number }
    }
}

impl Drop for Reloads {
    fn drop(&mut self) {
        self.shared.end(|done| _ = done.remove(&self.part));
    }
}

impl ReloadSignals {
    async fn next_hangup(&mut self) {
        loop {
            let ignored = tokio::select! {
                _ = self.hangups.recv() => return,
                _ = self.first_user.recv() => "SIGUSR1",
                _ = self.second_user.recv() => "SIGUSR2",
            };
            tracing::info!(signal = ignored, "{ignored} is ignored: SIGHUP reloads the files, SIGTERM stops");
        }
    }
}

impl SharedReloads {
    fn state(&self) -> MutexGuard<'_, ReloadState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) {
        let mut state = self.state();
        state.under_way.get_or_insert_with(service::reload);
        self.number.send_modify(|number| *number += 1);
    }

    /// Notes what parts have done, and ends the reload if that was the rest of it.
    fn end(&self, note: impl FnOnce(&mut BTreeMap<usize, u64>)) {
        let mut state = self.state();
        note(&mut state.done);
        let number = *self.number.borrow();
        if state.done.values().any(|done| *done < number) || state.under_way.take().is_none() {
            return;
        }
        if !std::mem::take(&mut state.has_files) {
            tracing::info!("SIGHUP: no setting names a file to reload (--policy, --token-file and others)");
        }
    }
}

impl Reload {
    /// Notes that settings of the part name files, which were read.
    pub fn note_files(&self) {
        self.shared.state().has_files = true;
    }
}

impl Drop for Reload {
    fn drop(&mut self) {
        self.shared.end(|done| {
            if let Some(done) = done.get_mut(&self.part) {
                *done = self.number;
            }
        });
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

#[cfg(test)]
mod tests {
    use super::*;

    fn is_under_way(reloads: &Reloads) -> bool {
        reloads.shared.state().under_way.is_some()
    }

    #[tokio::test]
    async fn a_reload_is_over_when_all_parts_have_done_theirs() {
        let mut first = Reloads::catch().unwrap();
        let mut second = first.share();
        first.shared.begin();
        let (a, b) = (first.reload(), second.next().await);
        drop(a);
        assert!(is_under_way(&first));
        // A signal during a reload wants another one of each part.
        first.shared.begin();
        drop(b);
        drop(first.reload());
        assert!(is_under_way(&first));
        drop(second.next().await);
        assert!(!is_under_way(&first));
        first.shared.begin();
        drop(first.reload());
        // A part that has ended keeps nobody waiting.
        drop(second);
        assert!(!is_under_way(&first));
    }
}
