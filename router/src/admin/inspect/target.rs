//! The processes that a debugger can attach to.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use switchyard_edge::gate::Authority;

use crate::cells::Inspector;
use crate::drain::RequestGuard;
use crate::live::{ProjectEntry, RunningCell};
use crate::version::Version;

/// A cell of a live version, with an inspector.
pub(super) struct DebugTarget<'a> {
    version: &'a Version,
    running: &'a Arc<RunningCell>,
    inspector: &'a Inspector,
}

impl<'a> DebugTarget<'a> {
    /// The targets of a project's live version: one for each of its cells.
    pub(super) fn of(entry: &'a ProjectEntry) -> impl Iterator<Item = Self> {
        let live = entry.live.as_ref().zip(entry.serving());
        live.into_iter().flat_map(|(live, serving)| {
            serving.cells().iter().filter_map(|running| {
                Some(Self { version: &live.version, running, inspector: running.cell.inspector()? })
            })
        })
    }

    pub(super) fn version(&self) -> &Version {
        self.version
    }

    /// The number of the cell, as in paths.
    pub(super) fn cell_id(&self) -> String {
        self.running.cell.id().to_string()
    }

    /// The socket of the cell's inspector.
    pub(super) fn socket(&self) -> &Path {
        &self.inspector.socket
    }

    /// Counts the debugger as a request of the version. `None` if the version is being retired.
    pub(super) fn enter(&self) -> Option<RequestGuard> {
        self.running.in_flight.enter()
    }

    /// The target as the protocol's discovery lists it, for a client that reached the listener as
    /// `host`.
    pub(super) fn describe(&self, host: &Authority) -> Value {
        let (version, cell) = (self.version, self.cell_id());
        let address = format!("{host}/projects/{}/inspect/{cell}", version.project);
        let devtools = "devtools://devtools/bundled/js_app.html?experiments=true&v8only=true";
        json!({
            "description": "a project of Switchyard",
            "devtoolsFrontendUrl": format!("{devtools}&ws={address}"),
            "id": format!("{version}.{cell}"),
            "title": version.to_string(),
            "type": "node",
            "url": self.inspector.entry,
            "webSocketDebuggerUrl": format!("ws://{address}"),
        })
    }
}
