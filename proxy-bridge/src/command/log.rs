//! Where log lines go: standard error, as text for people or as JSON for machines.

mod shown;

use std::str::FromStr;

use tracing::level_filters::LevelFilter;

use self::shown::{JsonLine, TextFields};

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

/// Sets the process's log up. To be called once, before anything is logged.
pub fn init(format: LogFormat) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_target(false)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .fmt_fields(TextFields)
            .init(),
        LogFormat::Json => builder.json().flatten_event(true).map_event_format(JsonLine).init(),
    }
}
