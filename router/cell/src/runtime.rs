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

use deno_core::JsRuntime;

/// Initializes V8. Must be called before any other thread exists: V8 may protect its memory by
/// thread.
///
/// No flag is set: none of those that promise to save memory and keep the compilers has saved any
/// here.
pub(crate) fn init_v8() {
    JsRuntime::init_platform(None);
}
