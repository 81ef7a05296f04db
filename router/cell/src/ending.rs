//! The end of a version as its project sees it, where JavaScript has to be asked.

use deno_core::{JsRuntime, v8};

use crate::glue;

/// The glue in `ending.js`.
pub(crate) struct Ending(v8::Global<v8::Function>);

impl Ending {
    /// Loads the glue. To be called before any code of the project's runs.
    pub(crate) fn prepare(runtime: &mut JsRuntime) -> Self {
        Self(glue::load(runtime, "ext:switchyard/ending.js", include_str!("ending.js")))
    }

    /// From here on the project's servers do not keep the event loop alive. Returns whether the project
    /// listens for its end (`beforeExit`).
    pub(crate) fn let_go_of_servers(&self, runtime: &mut JsRuntime) -> bool {
        deno_core::scope!(scope, runtime);
        let glue = v8::Local::new(scope, &self.0);
        let this = v8::undefined(scope).into();
        glue.call(scope, this, &[]).is_some_and(|listens| listens.is_true())
    }
}
