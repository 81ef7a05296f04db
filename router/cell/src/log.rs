//! What Deno has to say besides errors that are thrown, such as what went wrong in a web worker: to stderr, where the
//! router reads it as the project's.

use std::io::Write as _;
use std::sync::OnceLock;

use ::log::{Level, LevelFilter, Log, Metadata, Record};

use crate::paths::Names;

static NAMES: OnceLock<Names> = OnceLock::new();

pub(crate) fn start() {
    if ::log::set_logger(&Stderr).is_ok() {
        ::log::set_max_level(LevelFilter::Warn);
    }
    deno_runtime::colors::set_use_color(false);
}

pub(crate) fn show_paths_as(names: Names) {
    _ = NAMES.set(names);
}

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        // What JavaScript logs comes here whatever the global level is, such as the address that Deno listens on.
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = record.args().to_string();
        let text = NAMES.get().map_or(text.clone(), |names| names.clean(&text));
        _ = writeln!(std::io::stderr(), "{text}");
    }

    fn flush(&self) {}
}
