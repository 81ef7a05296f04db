//! The log: standard error, as text for people or as JSON for machines.

mod shown;
mod writer;

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

use clap::{Args, ValueEnum};
use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use self::shown::{JsonLine, TextFields};
use self::writer::LogWriter;
pub use self::writer::{Lost, lost};
use crate::color::ColorChoice;

/// Begin of the names of our own crates.
const OWN_CRATES: &str = "switchyard";

/// The crate that exports spans. Its failures are logged by our own.
const EXPORTER: &str = "opentelemetry_sdk";

/// Options of the log on standard error.
#[derive(Debug, Clone, Copy, Args)]
pub struct LogConfig {
    /// Format of the log on standard error: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text", hide_possible_values = true)]
    pub log_format: LogFormat,

    /// Least severe records in the log: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", hide_possible_values = true)]
    pub log_level: LogLevel,
}

/// The format of log records, each on one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// The severity of log records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Something does not work.
    Error,
    /// Something works worse than it should.
    Warn,
    /// Changes of state.
    Info,
    /// Details for the search of an error.
    Debug,
    /// Everything.
    Trace,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// Writes the rest of the log when it is dropped.
#[must_use]
#[derive(Debug)]
pub struct LogGuard {
    _worker: WorkerGuard,
}

/// Sets up the log of the process, on standard error. Called once, before anything is logged.
///
/// Logging never waits for the reader of standard error: a thread writes, and records that would
/// make its queue larger than 4 MiB are dropped, counted ([`lost`]) and reported in the log.
///
/// # Errors
/// Standard error is closed.
pub fn init(config: LogConfig) -> io::Result<LogGuard> {
    let has_color = ColorChoice::Auto.is_on(io::IsTerminal::is_terminal(&io::stderr()));
    // A descriptor of its own: a thread that holds the lock of `io::stderr` may wait for the reader.
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    Ok(init_in(stderr, config, has_color))
}

/// The same with a file in place of standard error, in the text format.
pub fn init_in_file(file: File, log_level: LogLevel) -> LogGuard {
    init_in(file, LogConfig { log_format: LogFormat::Text, log_level }, false)
}

fn init_in(out: File, config: LogConfig, has_color: bool) -> LogGuard {
    let (writer, worker) = LogWriter::start(out);
    dispatch(writer, config, has_color).init();
    LogGuard { _worker: worker }
}

fn dispatch(writer: LogWriter, config: LogConfig, has_color: bool) -> Dispatch {
    let level = LevelFilter::from(config.log_level);
    // Libraries log headers at the lower levels, with what is secret in them.
    let targets = Targets::new().with_target(OWN_CRATES, level).with_default(level.min(LevelFilter::INFO));
    let targets = targets.with_target(EXPORTER, LevelFilter::OFF);
    let builder = tracing_subscriber::fmt().with_max_level(level).with_target(false).with_writer(writer);
    match config.log_format {
        LogFormat::Text => builder.with_ansi(has_color).fmt_fields(TextFields).finish().with(targets).into(),
        LogFormat::Json => {
            builder.json().flatten_event(true).map_event_format(JsonLine).finish().with(targets).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};

    use super::*;

    fn logged(log_level: LogLevel) -> String {
        let mut file = tempfile::tempfile().unwrap();
        let (writer, worker) = LogWriter::over(file.try_clone().unwrap());
        let dispatch = dispatch(writer, LogConfig { log_format: LogFormat::Text, log_level }, false);
        tracing::dispatcher::with_default(&dispatch, || {
            tracing::warn!("a warning");
            tracing::debug!("a detail");
            tracing::debug!(target: "h2::codec", "authorization: Bearer secret");
        });
        drop((dispatch, worker));
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn details_are_logged_at_their_level_but_never_those_of_libraries() {
        let detailed = logged(LogLevel::Debug);
        assert!(detailed.contains("WARN a warning") && detailed.contains("DEBUG a detail"), "{detailed}");
        assert!(!detailed.contains("secret"), "{detailed}");
        let usual = logged(LogLevel::Info);
        assert!(usual.contains("a warning") && !usual.contains("a detail"), "{usual}");
        assert_eq!(logged(LogLevel::Error), "");
    }
}
