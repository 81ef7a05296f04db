//! The server of a project that is served, and what the main module exports by default: in JavaScript, with Deno's own
//! server and Node's.

use std::path::Path;
use std::sync::LazyLock;

use deno_core::error::CoreError;
use deno_core::{JsRuntime, v8};
use switchyard_protocol::ServerKind;
use tokio::sync::watch;

use crate::glue;
use crate::project::Project;

/// Where Deno has what lets servers of node:http listen elsewhere.
const ADDRESS_OVERRIDE: &str = "ext:deno_node/internal/http/address_override.js";

const NODE_SERVERS: &str = include_str!("node_servers.js");

// V8 is given it as that.
const _: () = assert!(NODE_SERVERS.is_ascii());

/// The module whose servers are changed by [`NODE_SERVERS`], and which loads it too: a project may use it alone.
const NET: &str = "node:net";

/// Deno's modules that are loaded when they are needed, with two of them changed.
pub(crate) static LAZY_ESM: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| {
    let changed = |&(name, source)| match name {
        ADDRESS_OVERRIDE => (name, NODE_SERVERS),
        NET => (name, with_node_servers(source)),
        _ => (name, source),
    };
    deno_snapshots::RESIDUAL_LAZY_ESM.iter().map(changed).collect()
});

/// Once in a process, which uses it to its end.
fn with_node_servers(source: &str) -> &'static str {
    format!("{source}\nimport \"{ADDRESS_OVERRIDE}\";\n").leak()
}

/// How far the project's servers are, in whichever thread they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Progress {
    #[default]
    NoServer,
    /// A server listens on another port than the project's, and may be served when no other one comes.
    Waits(ServerKind),
    Serves(ServerKind),
}

static PROGRESS: LazyLock<watch::Sender<Progress>> = LazyLock::new(watch::Sender::default);

/// Returns the kind of the first server, which may still wait for whether it is the one that is served.
pub(crate) async fn listen() -> ServerKind {
    first(|progress| match progress {
        Progress::NoServer => None,
        Progress::Waits(kind) | Progress::Serves(kind) => Some(kind),
    })
    .await
}

/// Returns the kind of the server that is served, when it is another one than `known`.
pub(crate) async fn serve(known: Option<ServerKind>) -> ServerKind {
    first(|progress| match progress {
        Progress::Serves(kind) if Some(kind) != known => Some(kind),
        _ => None,
    })
    .await
}

async fn first(of: impl Fn(Progress) -> Option<ServerKind>) -> ServerKind {
    let mut progress = PROGRESS.subscribe();
    loop {
        if let Some(kind) = of(*progress.borrow_and_update()) {
            return kind;
        }
        progress.changed().await.expect("the sender is never dropped");
    }
}

/// Called by the glue with the number of a kind, and with `false` if a server of that kind only waits.
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
    let progress = if is_served { Progress::Serves(kind) } else { Progress::Waits(kind) };
    PROGRESS.send_if_modified(|now| {
        let is_news = *now == Progress::NoServer || is_served && *now != progress;
        if is_news {
            *now = progress;
        }
        is_news
    });
}

/// The glue in `servers.js`, waiting for the version.
pub(crate) struct Servers(v8::Global<v8::Function>);

impl Servers {
    pub(crate) fn prepare(runtime: &mut JsRuntime) -> Self {
        Self(glue::load(runtime, "ext:switchyard/servers.js", include_str!("servers.js")))
    }

    /// From here on one of the servers listens on the socket of `project`, and the router's probe is answered. In a web
    /// worker (not `is_main`) no evaluation is waited for.
    pub(crate) fn listen_at(self, runtime: &mut JsRuntime, project: &Project, is_main: bool) -> Settle {
        deno_core::scope!(scope, runtime);
        let glue = v8::Local::new(scope, &self.0);
        let text = |path: &Path| v8::String::new(scope, &path.to_string_lossy()).expect("a path is short");
        let (socket, probe) = (text(&project.socket).into(), text(&project.probe).into());
        let port = match project.port {
            Some(port) => v8::Integer::new(scope, port.into()).into(),
            None => v8::undefined(scope).into(),
        };
        let announce = v8::Function::new(scope, announce).expect("V8 has memory at its start").into();
        let is_main = v8::Boolean::new(scope, is_main).into();
        let this = v8::undefined(scope).into();
        let settle = glue.call(scope, this, &[socket, probe, port, announce, is_main]);
        let settle = settle.expect("the glue is ours");
        let settle = v8::Local::<v8::Function>::try_from(settle).expect("the glue gives a function");
        Settle(v8::Global::new(scope, settle))
    }
}

/// Selects the server that is served, when the main module has been evaluated.
pub(crate) struct Settle(v8::Global<v8::Function>);

impl Settle {
    /// Serves one of the servers that listen, or else what `exports` have by default, if that is a handler. `None`: the
    /// evaluation is not waited for.
    pub(crate) fn settle(
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
    fn two_of_denos_modules_are_changed_and_no_other_ones() {
        let changed = deno_snapshots::RESIDUAL_LAZY_ESM.iter().zip(LAZY_ESM.iter());
        let changed =
            changed.filter(|(was, is)| was != is).map(|(_, (name, source))| (*name, source.is_ascii()));
        let mut changed: Vec<_> = changed.collect();
        changed.sort_unstable();
        assert_eq!(changed, [(ADDRESS_OVERRIDE, true), (NET, true)]);
    }
}
