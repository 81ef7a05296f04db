//! Debugging: the endpoints of Chrome's DevTools Protocol, which its clients use to find processes
//! and to attach to one. A client that is admitted can run code in a project.

mod target;
mod tunnel;

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use http::header::ORIGIN;
use http::request::Parts;
use hyper::upgrade::OnUpgrade;
use serde_json::json;
use switchyard_edge::api::ClientConn;
use switchyard_edge::api::answer::json;
use switchyard_edge::api::path::Path;
use switchyard_edge::connections::Permit;
use switchyard_edge::forwarded;
use switchyard_edge::gate;
use switchyard_edge::problem::Problem;
use tokio::time::timeout;

use self::target::DebugTarget;
use self::tunnel::{Handshake, Tunnel};
use super::{Admin, AdminState};

/// The version of the protocol that V8 speaks.
const PROTOCOL: &str = "1.3";

/// The time for a cell to accept a debugger. It does so at once, on a thread of its own, unless it
/// has as many as it may have.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);

/// The reason why a debugger is not admitted.
#[derive(Debug, thiserror::Error)]
enum InspectError {
    #[error("no project may be debugged: start the router with --inspect NAME")]
    Off,
    #[error("{0} may not be debugged: start the router with --inspect {0}")]
    NotInspectable(String),
    #[error("web pages may not attach a debugger: use DevTools, or a client other than a browser")]
    ForeignOrigin,
    #[error("name the host that you connect to, as HTTP/1.1 does")]
    NoHost,
    #[error("unknown project {0:?}")]
    UnknownProject(String),
    #[error(
        "no such process of {0} is live: /json/list has the live ones; an idle project is started by its next \
         request"
    )]
    UnknownProcess(String),
    #[error("open a WebSocket at this path (RFC 6455)")]
    NoWebSocket,
    #[error("{0} has as many debuggers as it may have")]
    TooMany(String),
    #[error("the process of {0} does not accept a debugger: it may be ending")]
    CellDied(String),
}

impl From<InspectError> for Problem {
    fn from(error: InspectError) -> Self {
        use InspectError::{
            CellDied, ForeignOrigin, NoHost, NoWebSocket, NotInspectable, Off, TooMany, UnknownProcess,
            UnknownProject,
        };
        let (status, slug) = match error {
            Off | NotInspectable(_) => (StatusCode::FORBIDDEN, "not-inspectable"),
            ForeignOrigin => (StatusCode::FORBIDDEN, "foreign-origin"),
            UnknownProject(_) => (StatusCode::NOT_FOUND, "unknown-project"),
            UnknownProcess(_) => (StatusCode::NOT_FOUND, "unknown-process"),
            NoHost | NoWebSocket => (StatusCode::BAD_REQUEST, "bad-request"),
            TooMany(_) => (StatusCode::SERVICE_UNAVAILABLE, "too-many-debuggers"),
            CellDied(_) => (StatusCode::BAD_GATEWAY, "cell-died"),
        };
        Self::new(status, slug, error.to_string())
    }
}

/// The version of the DevTools Protocol
#[utoipa::path(get, path = "/json/version", tag = "debugging", responses(
    (status = 200, description = "Browser and Protocol-Version", body = Object),
    (status = 403, description = "not-inspectable or foreign-origin"),
))]
pub(super) async fn version(State(admin): AdminState, request: Request) -> Result<Response, Problem> {
    admin.check_debugger(&request.into_parts().0)?;
    let name = concat!("Switchyard/", env!("CARGO_PKG_VERSION"));
    Ok(json(StatusCode::OK, &json!({ "Browser": name, "Protocol-Version": PROTOCOL })))
}

/// The processes that a debugger can attach to
#[utoipa::path(get, path = "/json", tag = "debugging", responses(
    (status = 200, description = "A target for each process", body = [Object]),
    (status = 403, description = "not-inspectable or foreign-origin"),
))]
pub(super) async fn targets(State(admin): AdminState, request: Request) -> Result<Response, Problem> {
    let request = request.into_parts().0;
    admin.check_debugger(&request)?;
    let host = gate::authority(&request).ok().flatten().ok_or(InspectError::NoHost)?;
    let table = admin.live.load();
    let targets = table.values().flat_map(|entry| DebugTarget::of(entry));
    Ok(json(StatusCode::OK, &targets.map(|target| target.describe(&host)).collect::<Vec<_>>()))
}

/// The same as `/json`
#[utoipa::path(get, path = "/json/list", tag = "debugging", responses(
    (status = 200, description = "A target for each process", body = [Object]),
    (status = 403, description = "not-inspectable or foreign-origin"),
))]
pub(super) async fn target_list(admin: AdminState, request: Request) -> Result<Response, Problem> {
    targets(admin, request).await
}

/// Attaches a debugger to the first process of a project
#[utoipa::path(get, path = "/projects/{name}/inspect", tag = "debugging",
    params(
        ("name" = String, Path, description = "The project"),
        ("token" = Option<String>, Query, description = "A token, for clients without headers"),
    ),
    responses((status = 101, description = "A WebSocket with the DevTools Protocol")),
)]
pub(super) async fn inspect(
    State(admin): AdminState,
    Path(name): Path<String>,
    conn: ClientConn,
    Extension(permit): Extension<Arc<Permit>>,
    request: Request,
) -> Result<Response, Problem> {
    attach(&admin, &name, None, &conn, permit, request).await
}

/// Attaches a debugger to one process of a project
#[utoipa::path(get, path = "/projects/{name}/inspect/{cell}", tag = "debugging",
    params(
        ("name" = String, Path, description = "The project"),
        ("cell" = String, Path, description = "The number of the process, from `/json`"),
        ("token" = Option<String>, Query, description = "A token, for clients without headers"),
    ),
    responses((status = 101, description = "A WebSocket with the DevTools Protocol")),
)]
pub(super) async fn inspect_cell(
    State(admin): AdminState,
    Path((name, cell)): Path<(String, String)>,
    conn: ClientConn,
    Extension(permit): Extension<Arc<Permit>>,
    request: Request,
) -> Result<Response, Problem> {
    attach(&admin, &name, Some(&cell), &conn, permit, request).await
}

async fn attach(
    admin: &Admin,
    name: &str,
    cell: Option<&str>,
    conn: &ClientConn,
    permit: Arc<Permit>,
    request: Request,
) -> Result<Response, Problem> {
    let (response, tunnel) = admin.attach(name, cell, request.into_parts().0, permit).await?;
    conn.set_tunnel(tunnel.run());
    Ok(response)
}

impl Admin {
    /// Attaches a debugger to the live version of project `name`, in `cell` if one is named.
    async fn attach(
        &self,
        name: &str,
        cell: Option<&str>,
        mut request: Parts,
        permit: Arc<Permit>,
    ) -> Result<(Response, Tunnel), InspectError> {
        self.check_debugger(&request)?;
        let entry = self.live.load().get(name).cloned();
        let entry = entry.ok_or_else(|| InspectError::UnknownProject(name.to_owned()))?;
        if !self.inspect.covers(name) {
            return Err(InspectError::NotInspectable(name.to_owned()));
        }
        let (target, in_flight) = DebugTarget::of(&entry)
            .filter(|target| cell.is_none_or(|cell| cell == target.cell_id()))
            .find_map(|target| target.enter().map(|guard| (target, guard)))
            .ok_or_else(|| InspectError::UnknownProcess(name.to_owned()))?;
        let client =
            request.extensions.remove::<OnUpgrade>().filter(|_| forwarded::names_websocket(&request.headers));
        let client = client.ok_or(InspectError::NoWebSocket)?;
        let attached = entry.debuggers.attach();
        let handshake =
            timeout(HANDSHAKE_TIMEOUT, tunnel::shake_hands(target.socket(), &request.headers)).await;
        let handshake = handshake.map_err(|_| InspectError::TooMany(name.to_owned()))?;
        let Handshake { response, cell } = handshake.map_err(|error| {
            tracing::warn!(project.name = name, "a debugger cannot be attached to {name}: {error}");
            InspectError::CellDied(name.to_owned())
        })?;
        let (cell, version) = (cell.ok_or(InspectError::NoWebSocket)?, target.version().clone());
        let tunnel =
            Tunnel { client, cell, version, _in_flight: in_flight, _attached: attached, _permit: permit };
        Ok((response, tunnel))
    }

    /// Refuses every web page, also of this listener's own address: no same-origin policy protects
    /// a WebSocket, and a debugger runs code. The gate has checked the host.
    fn check_debugger(&self, request: &Parts) -> Result<(), InspectError> {
        if self.inspect.is_none() {
            return Err(InspectError::Off);
        }
        if request.headers.get_all(ORIGIN).iter().all(gate::is_of_devtools) {
            return Ok(());
        }
        Err(InspectError::ForeignOrigin)
    }
}
