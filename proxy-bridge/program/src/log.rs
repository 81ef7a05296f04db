//! The log: standard error, as text for people or as JSON for machines.

mod shown;
mod writer;

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::WorkerGuard;

use self::shown::{JsonLine, TextFields};
use self::writer::LogWriter;
pub use self::writer::{Lost, lost};
use crate::color::ColorChoice;

/// The format of log records, each on one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
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
pub fn init(format: LogFormat) -> io::Result<LogGuard> {
    let has_color = ColorChoice::Auto.is_on(io::IsTerminal::is_terminal(&io::stderr()));
    // A descriptor of its own: a thread that holds the lock of `io::stderr` may wait for the reader.
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    Ok(init_in(stderr, format, has_color))
}

/// The same with a file in place of standard error, in the text format.
pub fn init_in_file(file: File) -> LogGuard {
    init_in(file, LogFormat::Text, false)
}

fn init_in(out: File, format: LogFormat, has_color: bool) -> LogGuard {
    let (writer, worker) = LogWriter::start(out);
    let builder =
        tracing_subscriber::fmt().with_max_level(LevelFilter::INFO).with_target(false).with_writer(writer);
    match format {
        LogFormat::Text => builder.with_ansi(has_color).fmt_fields(TextFields).init(),
        LogFormat::Json => builder.json().flatten_event(true).map_event_format(JsonLine).init(),
    }
    LogGuard { _worker: worker }
}
