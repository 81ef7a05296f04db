//! The beginning of a version in a spare: everything that Deno's command line sets up before a
//! program runs and that depends on the version or its environment.

use deno_core::{JsRuntime, v8};
use deno_runtime::BootstrapOptions;
use deno_runtime::deno_http;
use deno_runtime::deno_web::StartTime;

use crate::js;
use crate::modules::features::Features;

/// The glue in `begin.js`, waiting for the version.
pub(crate) struct BeginGlue(v8::Global<v8::Function>);

impl BeginGlue {
    /// Loads the glue. Must be called before any of the project's code runs.
    pub(crate) fn prepare(runtime: &mut JsRuntime) -> Self {
        Self(js::load_function(runtime, "ext:switchyard/begin.js", include_str!("begin.js")))
    }

    /// Makes the isolate as if it was created now, with `options` and these features.
    pub(crate) fn begin(self, runtime: &mut JsRuntime, options: BootstrapOptions, features: &Features) {
        let state = runtime.op_state();
        let mut state = state.borrow_mut();
        let node_debug = options.node_debug.clone();
        state.put(StartTime::default());
        state.put(features.checker());
        state.put(http_options(features));
        state.put(options);
        drop(state);
        deno_core::scope!(scope, runtime);
        let glue = v8::Local::new(scope, &self.0);
        let ids: Vec<_> = features.ids().iter().map(|id| v8::Integer::new(scope, *id).into()).collect();
        let ids = v8::Array::new_with_elements(scope, &ids).into();
        let node_debug = node_debug.and_then(|modules| v8::String::new(scope, &modules));
        let node_debug = node_debug.map_or(v8::undefined(scope).into(), Into::into);
        let this = v8::undefined(scope).into();
        glue.call(scope, this, &[ids, node_debug]).expect("the cell's own code does not throw");
    }
}

/// Returns the options of the servers of a project with these features.
fn http_options(features: &Features) -> deno_http::Options {
    deno_http::Options { no_legacy_abort: features.no_legacy_abort, ..deno_http::Options::default() }
}
