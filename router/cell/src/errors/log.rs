//! Deno's log, such as errors in web workers: written to stderr, where the router reads it as the
//! project's.

use std::io::Write as _;
use std::sync::OnceLock;

use ::log::{Level, LevelFilter, Log, Metadata, Record};

use crate::modules::names::PathNames;

static NAMES: OnceLock<PathNames> = OnceLock::new();

/// Starts logging.
pub(crate) fn start() {
    if ::log::set_logger(&Stderr).is_ok() {
        ::log::set_max_level(LevelFilter::Warn);
    }
    deno_runtime::colors::set_use_color(false);
}

/// Sets the names of paths in the log.
pub(crate) fn show_paths_as(names: PathNames) {
    _ = NAMES.set(names);
}

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        // JavaScript's log ignores the global level, such as the address that Deno listens on.
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = record.args().to_string();
        let text = NAMES.get().map_or(text.clone(), |names| names.clean(&text));
        _ = writeln!(std::io::stderr(), "{text}");
    }

    fn flush(&self) {}
}
