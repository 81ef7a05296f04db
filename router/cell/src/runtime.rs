//! V8 and Deno's runtime: the main worker, web workers, permissions, debuggers, and Deno's ops that
//! the cell replaces.

pub(crate) mod certificates;
mod env_file;
pub(crate) mod inspector;
mod locale;
mod options;
pub(crate) mod permissions;
mod services;
pub(crate) mod spare;
pub(crate) mod system_info;
mod web_worker;

use deno_core::{JsRuntime, v8_set_flags};

/// Initializes V8. Must be called before any other thread exists: V8 may protect its memory by
/// thread.
///
/// No other flag is set: none of those that promise to save memory and keep the compilers has saved any
/// here.
pub(crate) fn init_v8() {
    // With several threads, a collection waits until each has had a processor: milliseconds on a
    // busy machine, for a collection that takes less on one.
    let unknown = v8_set_flags(vec!["switchyard-cell".to_owned(), "--no-parallel-scavenge".to_owned()]);
    debug_assert_eq!(unknown.len(), 1);
    JsRuntime::init_platform(None);
}
