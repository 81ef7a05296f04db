//! The selection of the server that is served, among Deno's, Node's and the main module's default
//! export. JavaScript selects; this module loads it and follows its progress.

use std::path::Path;
use std::sync::LazyLock;

use deno_core::error::CoreError;
use deno_core::{JsRuntime, v8};
use switchyard_protocol::ServerKind;
use tokio::sync::watch;

use super::transport;
use crate::js;
use crate::modules::project::Project;

/// Deno's module that lets servers of node:http listen elsewhere. [`NODE_SERVERS`] replaces it.
const ADDRESS_OVERRIDE: &str = "ext:deno_node/internal/http/address_override.js";

const NODE_SERVERS: &str = include_str!("node_servers.js");

/// Modules that [`NODE_SERVERS`] imports.
const NODE_SERVER_PARTS: [(&str, &str); 4] = [
    ("ext:switchyard/node_servers/address.js", include_str!("node_servers/address.js")),
    ("ext:switchyard/node_servers/compress.js", include_str!("node_servers/compress.js")),
    ("ext:switchyard/node_servers/connection.js", include_str!("node_servers/connection.js")),
    ("ext:switchyard/node_servers/http2.js", include_str!("node_servers/http2.js")),
];

// V8 takes lazily loaded sources as ASCII.
const _: () = assert!(NODE_SERVERS.is_ascii());

/// The module whose servers [`NODE_SERVERS`] changes. It loads the change too, as a project may use
/// it alone.
const NET: &str = "node:net";

/// Deno's lazily loaded modules, with two of them changed and the parts of one of them added.
pub(crate) static LAZY_ESM: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| {
    let changed = |&(name, source)| match name {
        ADDRESS_OVERRIDE => (name, NODE_SERVERS),
        NET => (name, with_node_servers(source)),
        _ => (name, source),
    };
    let mut modules: Vec<_> = deno_snapshots::RESIDUAL_LAZY_ESM.iter().map(changed).collect();
    modules.extend(NODE_SERVER_PARTS);
    // Deno searches the list by bisection.
    modules.sort_unstable_by_key(|(name, _)| *name);
    modules
});

/// Leaks its result: it is called once in a process, which uses the result to its end.
fn with_node_servers(source: &str) -> &'static str {
    format!("{source}\nimport \"{ADDRESS_OVERRIDE}\";\n").leak()
}

/// The progress of the project's servers, in all threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Progress {
    #[default]
    NoServer,
    /// A server listens on a port that is not the project's, and is served unless another one
    /// comes.
    Waiting(ServerKind),
    Serving(ServerForm),
}

/// The form in which the server that is served takes requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServerForm {
    pub(crate) kind: ServerKind,
    /// `true`: it takes them as frames too.
    pub(crate) is_framed: bool,
}

static PROGRESS: LazyLock<watch::Sender<Progress>> = LazyLock::new(watch::Sender::default);

/// Returns the kind of the first server, which may not be served yet.
pub(crate) async fn first_kind() -> ServerKind {
    wait_for(|progress| match progress {
        Progress::NoServer => None,
        Progress::Waiting(kind) | Progress::Serving(ServerForm { kind, .. }) => Some(kind),
    })
    .await
}

/// Returns the form of the server that is served, once it differs from `known`.
pub(crate) async fn served_form(known: Option<ServerForm>) -> ServerForm {
    wait_for(|progress| match progress {
        Progress::Serving(form) if Some(form) != known => Some(form),
        _ => None,
    })
    .await
}

async fn wait_for<T>(find: impl Fn(Progress) -> Option<T>) -> T {
    let mut progress = PROGRESS.subscribe();
    loop {
        if let Some(found) = find(*progress.borrow_and_update()) {
            return found;
        }
        progress.changed().await.expect("the sender is never dropped");
    }
}

/// Called by the glue with the number of a kind, with `true` if a server of that kind is served, and
/// with `true` if it takes frames.
fn announce(
    scope: &mut v8::PinScope<'_, '_>,
    args: v8::FunctionCallbackArguments<'_>,
    _: v8::ReturnValue<'_>,
) {
    let kind = match args.get(0).uint32_value(scope) {
        Some(1) => ServerKind::Deno,
        Some(2) => ServerKind::Node,
        _ => return,
    };
    let is_served = args.get(1).is_true();
    let form = ServerForm { kind, is_framed: args.get(2).is_true() };
    let progress = if is_served { Progress::Serving(form) } else { Progress::Waiting(kind) };
    PROGRESS.send_if_modified(|current| {
        let is_new = *current == Progress::NoServer || is_served && *current != progress;
        if is_new {
            *current = progress;
        }
        is_new
    });
}

/// The glue in `servers.js`, waiting for the version.
pub(crate) struct Servers(v8::Global<v8::Function>);

impl Servers {
    /// Loads the glue. Must be called before any of the project's code runs.
    pub(crate) fn prepare(runtime: &mut JsRuntime) -> Self {
        transport::prepare(runtime);
        Self(js::load_function(runtime, "ext:switchyard/servers.js", include_str!("servers.js")))
    }

    /// Lets one of the servers listen on the socket of `project`, and answers the router's probe.
    /// In a web worker (not `is_main`) no evaluation is awaited.
    pub(crate) fn listen_at(self, runtime: &mut JsRuntime, project: &Project, is_main: bool) -> SettleGlue {
        deno_core::scope!(scope, runtime);
        let glue = v8::Local::new(scope, &self.0);
        let text = |path: &Path| v8::String::new(scope, &path.to_string_lossy()).expect("a path is short");
        let [socket, transport, probe] =
            [&project.socket, &project.transport, &project.probe].map(|path| text(path).into());
        let port = match project.port {
            Some(port) => v8::Integer::new(scope, port.into()).into(),
            None => v8::undefined(scope).into(),
        };
        let compress = v8::Boolean::new(scope, project.compress).into();
        let announce = v8::Function::new(scope, announce).expect("V8 has memory at its start").into();
        let is_main = v8::Boolean::new(scope, is_main).into();
        let this = v8::undefined(scope).into();
        let settle = glue.call(scope, this, &[socket, transport, probe, port, compress, announce, is_main]);
        let settle = settle.expect("the cell's own code does not throw");
        let settle = v8::Local::<v8::Function>::try_from(settle).expect("the glue returns a function");
        SettleGlue(v8::Global::new(scope, settle))
    }
}

/// Selects the server that is served, after the main module's evaluation.
pub(crate) struct SettleGlue(v8::Global<v8::Function>);

impl SettleGlue {
    /// Serves one of the servers that listen, or else the default export if it is a handler.
    /// `exports`: `None` if the evaluation continues.
    ///
    /// # Errors
    /// The project's code throws.
    pub(crate) fn select(
        &self,
        runtime: &mut JsRuntime,
        exports: Option<v8::Global<v8::Object>>,
    ) -> Result<(), CoreError> {
        deno_core::scope!(scope, runtime);
        v8::tc_scope!(let scope, scope);
        let settle = v8::Local::new(scope, &self.0);
        let this = v8::undefined(scope).into();
        let exports = match exports {
            Some(exports) => v8::Local::new(scope, exports).into(),
            None => this,
        };
        settle.call(scope, this, &[exports]);
        match scope.exception() {
            None => Ok(()),
            Some(exception) => Err(deno_core::exception_to_err(scope, exception, false, true).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_denos_modules_are_changed_and_the_parts_of_one_are_added() {
        let mut expected = vec![(ADDRESS_OVERRIDE, true), (NET, true)];
        expected.extend(NODE_SERVER_PARTS.map(|(name, _)| (name, true)));
        expected.sort_unstable();
        let own = |module: &&(&str, &str)| !deno_snapshots::RESIDUAL_LAZY_ESM.contains(module);
        let changed = LAZY_ESM.iter().filter(own).map(|(name, source)| (*name, source.is_ascii()));
        assert_eq!(changed.collect::<Vec<_>>(), expected);
        assert!(LAZY_ESM.is_sorted_by_key(|(name, _)| *name));
    }
}
