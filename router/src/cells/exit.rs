//! The end of a cell: its reason, and the text for it.

use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use switchyard_contract::event::{Death, DeathReason};
use switchyard_protocol::Limit;

/// The last messages of V8 and of the allocator when no memory is left.
const OUT_OF_MEMORY: [&str; 4] = [
    "JavaScript heap out of memory",
    "JavaScript out of memory",
    "process out of memory",
    "memory allocation of",
];

/// The messages of a process that aborts: V8's fatal errors, a panic.
const LAST_WORDS: [&str; 3] = ["# Fatal error", "Fatal error", "panicked at"];

/// The number of the signal with which `process.abort()` ends.
const SIGABRT: i32 = rustix::process::Signal::ABORT.as_raw();

/// The end of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) reason: ExitReason,
    /// The last lines of its standard error.
    pub(crate) last_words: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ExitReason {
    Code(i32),
    Signal(i32),
    /// The process aborted with this signal and message.
    Abort(i32, String),
    Limit(Limit),
    /// The router ended it because it did not answer the router's probe, for this reason.
    Unhealthy(String),
    /// The router lost track of it.
    Unknown,
}

impl Exit {
    /// The end of a cell whose owner is gone.
    pub(super) fn unknown() -> Self {
        Self { reason: ExitReason::Unknown, last_words: Vec::new() }
    }

    /// The end of a cell that could not answer any more.
    pub(super) fn unhealthy(why: String, last_words: Vec<String>) -> Self {
        Self { reason: ExitReason::Unhealthy(why), last_words }
    }

    /// `exceeded`: the limit for which it was ended, if that is known.
    pub(super) fn new(status: Option<ExitStatus>, exceeded: Option<Limit>, last_words: Vec<String>) -> Self {
        let signal = status.and_then(|status| status.signal());
        let says =
            |words: &[&str]| last_words.iter().find(|line| words.iter().any(|part| line.contains(part)));
        let reason = match (exceeded, status.and_then(|status| status.code()), signal) {
            (Some(limit), ..) => ExitReason::Limit(limit),
            (None, Some(code), _) => ExitReason::Code(code),
            (None, None, Some(_)) if says(&OUT_OF_MEMORY).is_some() => ExitReason::Limit(Limit::Memory),
            (None, None, Some(signal)) => match says(&LAST_WORDS) {
                Some(line) => ExitReason::Abort(signal, line.clone()),
                None => ExitReason::Signal(signal),
            },
            (None, None, None) => ExitReason::Unknown,
        };
        Self { reason, last_words }
    }

    /// The end as it is reported in the log, in an event and on the admin listener.
    pub(crate) fn death(&self, in_flight: usize, restart_ms: Option<u64>) -> Death {
        let (reason, code, signal) = match &self.reason {
            ExitReason::Code(code) => (DeathReason::Exit, Some(*code), None),
            ExitReason::Signal(signal) => (
                if *signal == SIGABRT { DeathReason::Abort } else { DeathReason::Signal },
                None,
                Some(*signal),
            ),
            ExitReason::Abort(signal, _) => (DeathReason::Abort, None, Some(*signal)),
            ExitReason::Limit(Limit::Memory) => (DeathReason::Memory, None, None),
            ExitReason::Limit(Limit::EventLoop) => (DeathReason::EventLoop, None, None),
            ExitReason::Limit(Limit::Disk) => (DeathReason::Disk, None, None),
            ExitReason::Unhealthy(_) => (DeathReason::Unhealthy, None, None),
            ExitReason::Unknown => (DeathReason::Unknown, None, None),
        };
        Death { reason, message: self.to_string(), code, signal, in_flight, restart_ms }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            ExitReason::Code(code) => write!(f, "exit code {code}"),
            ExitReason::Signal(signal) => write!(f, "signal {signal}"),
            ExitReason::Abort(signal, words) => write!(f, "signal {signal}: {words}"),
            ExitReason::Limit(Limit::Memory) => f.write_str("out of memory"),
            ExitReason::Limit(Limit::EventLoop) => f.write_str("its event loop was blocked for too long"),
            ExitReason::Limit(Limit::Disk) => {
                f.write_str("DATA_DIR and TMPDIR kept growing beyond limits.disk or limits.disk_files")
            }
            ExitReason::Unhealthy(why) => {
                write!(f, "requests and the router's probe got no good answer: {why}")
            }
            ExitReason::Unknown => f.write_str("reason unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abort_with_v8s_last_words_is_out_of_memory() {
        let words = vec!["# Fatal JavaScript out of memory: Reached heap limit".to_owned()];
        let exit = |status, words| Exit::new(Some(ExitStatus::from_raw(status)), None, words);
        assert_eq!(exit(6, words.clone()).to_string(), "out of memory");
        assert_eq!(exit(0x300, words).to_string(), "exit code 3");
        assert_eq!(exit(9, vec![]).to_string(), "signal 9");
        let said = exit(5, vec!["# Fatal error in invalid table size".into()]).death(1, Some(100));
        assert_eq!((said.reason, said.signal), (DeathReason::Abort, Some(5)));
    }

    #[test]
    fn a_limit_that_is_known_says_more_than_the_signal() {
        let exit = Exit::new(Some(ExitStatus::from_raw(9)), Some(Limit::EventLoop), Vec::new());
        assert_eq!(exit.death(0, None).reason, DeathReason::EventLoop);
    }
}
