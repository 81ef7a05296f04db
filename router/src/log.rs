//! Where log lines go: standard error, as text for people or as JSON for machines.

use tracing::level_filters::LevelFilter;

use crate::config::LogFormat;

/// Sets the process's log up. To be called once, before anything is logged.
pub fn init(format: LogFormat) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_target(false)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
