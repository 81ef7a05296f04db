//! How a cell ended, in words.

use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

/// V8's last words when a heap is full.
const OUT_OF_MEMORY: [&str; 2] = ["JavaScript heap out of memory", "JavaScript out of memory"];

/// How a cell ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) reason: Reason,
    /// The last lines of its standard error.
    pub(crate) last_words: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Code(i32),
    Signal(i32),
    OutOfMemory,
    /// The router lost it, and cannot say.
    Unknown,
}

impl Exit {
    /// The end of a cell whose owner is gone.
    pub(super) fn unknown() -> Self {
        Self { reason: Reason::Unknown, last_words: Vec::new() }
    }

    pub(super) fn new(status: Option<ExitStatus>, last_words: Vec<String>) -> Self {
        let full = |line: &String| OUT_OF_MEMORY.iter().any(|words| line.contains(words));
        let reason = match status {
            Some(status) if status.signal().is_some() && last_words.iter().any(full) => Reason::OutOfMemory,
            Some(status) => match (status.code(), status.signal()) {
                (Some(code), _) => Reason::Code(code),
                (None, Some(signal)) => Reason::Signal(signal),
                (None, None) => Reason::Unknown,
            },
            None => Reason::Unknown,
        };
        Self { reason, last_words }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Reason::Code(code) => write!(f, "exit code {code}"),
            Reason::Signal(signal) => write!(f, "signal {signal}"),
            Reason::OutOfMemory => f.write_str("out of memory"),
            Reason::Unknown => f.write_str("reason unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abort_with_v8s_last_words_is_out_of_memory() {
        let words = vec!["# Fatal JavaScript out of memory: Reached heap limit".to_owned()];
        let exit = Exit::new(Some(ExitStatus::from_raw(6)), words.clone());
        assert_eq!(exit.to_string(), "out of memory");
        assert_eq!(Exit::new(Some(ExitStatus::from_raw(0x300)), words).to_string(), "exit code 3");
        assert_eq!(Exit::new(Some(ExitStatus::from_raw(9)), vec![]).to_string(), "signal 9");
    }
}
