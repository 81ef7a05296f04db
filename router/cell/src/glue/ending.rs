//! The end of a version, as far as JavaScript takes part in it.

use deno_core::{JsRuntime, v8};

use crate::js;

/// The glue in `ending.js`.
pub(crate) struct EndingGlue(v8::Global<v8::Function>);

impl EndingGlue {
    /// Loads the glue. Must be called before any of the project's code runs.
    pub(crate) fn prepare(runtime: &mut JsRuntime) -> Self {
        Self(js::load_function(runtime, "ext:switchyard/ending.js", include_str!("ending.js")))
    }

    /// Releases the project's servers, so that they no longer keep the event loop alive. Returns
    /// `true` if the project listens for its end (`beforeExit`).
    pub(crate) fn release_servers(&self, runtime: &mut JsRuntime) -> bool {
        deno_core::scope!(scope, runtime);
        let glue = v8::Local::new(scope, &self.0);
        let this = v8::undefined(scope).into();
        glue.call(scope, this, &[]).is_some_and(|listens| listens.is_true())
    }
}
