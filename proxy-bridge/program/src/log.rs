//! The log: standard error, as text for people or as JSON for machines.

mod shown;
mod writer;

use std::io;
use std::str::FromStr;

use tracing::level_filters::LevelFilter;

use self::shown::{JsonLine, TextFields};
use self::writer::Writer;
pub use self::writer::{Lost, lost};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("{other:?} is neither text nor json")),
        }
    }
}

/// Writes what is left of the log when it is dropped.
#[must_use]
#[derive(Debug)]
pub struct Guard(Writer);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// Sets the process's log up. To be called once, before anything is logged. Logging never waits for whoever reads standard
/// error: a thread writes, and what it falls too far behind with is dropped, counted and reported.
///
/// # Errors
/// The thread cannot be started.
pub fn init(format: LogFormat) -> io::Result<Guard> {
    let writer = Writer::start()?;
    let builder = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_target(false)
        .with_writer(writer.clone());
    match format {
        LogFormat::Text => {
            builder.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).fmt_fields(TextFields).init()
        }
        LogFormat::Json => builder.json().flatten_event(true).map_event_format(JsonLine).init(),
    }
    Ok(Guard(writer))
}
