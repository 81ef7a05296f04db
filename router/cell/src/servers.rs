//! Which of a project's servers is served, and what the main module exports by default: in JavaScript, with Deno's own
//! server and Node's.

use std::path::Path;

use deno_core::error::CoreError;
use deno_core::{JsRuntime, v8};

use crate::glue;

/// Where Deno has what lets servers of node:http listen elsewhere.
const ADDRESS_OVERRIDE: &str = "ext:deno_node/internal/http/address_override.js";

const NODE_SERVERS: &str = include_str!("node_servers.js");

/// Deno's modules that are loaded when they are needed, with one of them replaced.
pub(crate) static LAZY_ESM: [(&str, &str); deno_snapshots::RESIDUAL_LAZY_ESM.len()] = with_node_servers();

const fn with_node_servers() -> [(&'static str, &'static str); deno_snapshots::RESIDUAL_LAZY_ESM.len()] {
    // V8 is given it as that.
    assert!(NODE_SERVERS.is_ascii());
    let mut modules = [("", ""); deno_snapshots::RESIDUAL_LAZY_ESM.len()];
    modules.copy_from_slice(deno_snapshots::RESIDUAL_LAZY_ESM);
    let mut at = 0;
    while !is_same(modules[at].0, ADDRESS_OVERRIDE) {
        at += 1;
    }
    modules[at].1 = NODE_SERVERS;
    modules
}

const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// The glue in `servers.js`, waiting for the version.
pub(crate) struct Servers(v8::Global<v8::Function>);

impl Servers {
    pub(crate) fn prepare(runtime: &mut JsRuntime) -> Self {
        Self(glue::load(runtime, "ext:switchyard/servers.js", include_str!("servers.js")))
    }

    /// From here on the first server that listens does so on `socket`, and the router's probe is answered on `probe`.
    pub(crate) fn listen_at(self, runtime: &mut JsRuntime, socket: &Path, probe: &Path) -> DefaultExport {
        deno_core::scope!(scope, runtime);
        let glue = v8::Local::new(scope, &self.0);
        let paths = [socket, probe]
            .map(|path| v8::String::new(scope, &path.to_string_lossy()).expect("a path is short").into());
        let this = v8::undefined(scope).into();
        let serve = glue.call(scope, this, &paths).expect("the glue is ours");
        let serve = v8::Local::<v8::Function>::try_from(serve).expect("the glue gives a function");
        DefaultExport(v8::Global::new(scope, serve))
    }
}

/// Serves what a main module exports by default.
pub(crate) struct DefaultExport(v8::Global<v8::Function>);

impl DefaultExport {
    /// Does nothing when these exports have no handler among them.
    pub(crate) fn serve(
        &self,
        runtime: &mut JsRuntime,
        exports: v8::Global<v8::Object>,
    ) -> Result<(), CoreError> {
        deno_core::scope!(scope, runtime);
        v8::tc_scope!(let scope, scope);
        let serve = v8::Local::new(scope, &self.0);
        let exports = v8::Local::new(scope, exports);
        let this = v8::undefined(scope).into();
        serve.call(scope, this, &[exports.into()]);
        match scope.exception() {
            None => Ok(()),
            Some(exception) => Err(deno_core::exception_to_err(scope, exception, false, true).into()),
        }
    }
}
