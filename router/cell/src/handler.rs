//! Serves what the main module exports by default.

use deno_core::error::CoreError;
use deno_core::{JsRuntime, v8};
use deno_runtime::worker::MainWorker;

/// The glue in `handler.js`, waiting for the module.
pub(crate) struct DefaultExport(v8::Global<v8::Function>);

impl DefaultExport {
    pub(crate) fn prepare(worker: &mut MainWorker) -> Self {
        let glue = worker
            .execute_script("switchyard:handler", include_str!("handler.js").to_owned().into())
            .expect("the glue is ours");
        deno_core::scope!(scope, &mut worker.js_runtime);
        let glue = v8::Local::new(scope, glue);
        let glue = v8::Local::<v8::Function>::try_from(glue).expect("the glue is a function");
        Self(v8::Global::new(scope, glue))
    }

    /// Does nothing when these exports have no handler among them.
    pub(crate) fn serve(
        &self,
        runtime: &mut JsRuntime,
        exports: v8::Global<v8::Object>,
    ) -> Result<(), CoreError> {
        deno_core::scope!(scope, runtime);
        v8::tc_scope!(let scope, scope);
        let glue = v8::Local::new(scope, &self.0);
        let exports = v8::Local::new(scope, exports);
        let this = v8::undefined(scope).into();
        glue.call(scope, this, &[exports.into()]);
        match scope.exception() {
            None => Ok(()),
            Some(exception) => Err(deno_core::exception_to_err(scope, exception, false, true).into()),
        }
    }
}
