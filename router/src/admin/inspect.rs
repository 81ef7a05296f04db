//! Debugging: what Chrome's DevTools (and whoever else speaks its protocol) asks for to find what it can attach to, and
//! the way from there to a cell. Who is let in here can run code in a project.

use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CONNECTION, HOST, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use switchyard_contract::bounds::{INSPECTOR_HEAD, WEBSOCKET_ACCEPT};
use switchyard_edge::connections::Permit;
use switchyard_edge::forwarded;
use switchyard_edge::gate::{self, Authority};
use switchyard_edge::tunnel::carry;
use switchyard_edge::upstream::{HeadBudget, ReadsOn};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::Admin;
use super::answer::{Answer, json, nothing, problem};
use crate::cells::Inspector;
use crate::drain::Guard;
use crate::live::{DebugSession, ProjectEntry, RunningCell};
use crate::version::Version;

/// The version of the protocol that V8 speaks.
const PROTOCOL: &str = "1.3";

/// A cell takes a debugger at once, on a thread that does nothing else, unless it has as many as it may.
const PATIENCE: Duration = Duration::from_secs(2);

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// What a connection becomes once it has switched.
pub(super) type Switched = Arc<Mutex<Option<Tunnel>>>;

/// A debugger and the cell that it looks at.
pub(super) struct Tunnel {
    client: OnUpgrade,
    cell: Upgraded,
    version: Version,
    /// Its version is not retired before the grace is over, nor its cell taken for idle.
    _in_flight: Guard,
    _attached: DebugSession,
    /// The answer that switches is over at once; its connection is busy all the same.
    _permit: Arc<Permit>,
}

impl Tunnel {
    /// Until one of the two hangs up.
    pub(super) async fn run(self) {
        let (project, version) = (&self.version.project, &self.version);
        if let Ok(client) = self.client.await {
            tracing::info!(project.name = %project, project.version = %version, "a debugger is attached to {version}");
            carry(TokioIo::new(client), TokioIo::new(self.cell)).await;
            tracing::info!(project.name = %project, project.version = %version, "a debugger has left {version}");
        }
    }
}

/// A process that a debugger can attach to.
struct Attachable<'a> {
    version: &'a Version,
    running: &'a Arc<RunningCell>,
    inspector: &'a Inspector,
}

impl<'a> Attachable<'a> {
    /// The live ones of a project, one for each of its cells.
    fn of(entry: &'a ProjectEntry) -> impl Iterator<Item = Self> {
        let live = entry.live.as_ref().zip(entry.serving());
        live.into_iter().flat_map(|(live, serving)| {
            serving.cells().iter().filter_map(|running| {
                Some(Self { version: &live.version, running, inspector: running.cell.inspector()? })
            })
        })
    }

    /// The target as the protocol's discovery lists it, for a client that reached this listener as
    /// `host`.
    fn described(&self, host: &Authority) -> Value {
        let (version, cell) = (self.version, self.running.cell.id());
        let place = format!("{host}/projects/{}/inspect/{cell}", version.project);
        json!({
            "description": "a project of Switchyard",
            "devtoolsFrontendUrl": format!("devtools://devtools/bundled/js_app.html?experiments=true&v8only=true&ws={place}"),
            "id": format!("{version}.{cell}"),
            "title": version.to_string(),
            "type": "node",
            "url": self.inspector.entry,
            "webSocketDebuggerUrl": format!("ws://{place}"),
        })
    }
}

/// Why nobody is let in.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("no project may be debugged: start the router with --inspect NAME")]
    Off,
    #[error("{0} may not be debugged: start the router with --inspect {0}")]
    NotInspectable(String),
    #[error("web pages may not debug: use DevTools, or no browser")]
    ForeignOrigin,
    #[error("name the host that you connect to, as HTTP/1.1 does")]
    NoHost,
    #[error("there is no project {0:?}")]
    UnknownProject(String),
    #[error(
        "no such process of {0} is live: /json/list has those that are; one that is idle is started by its next request"
    )]
    UnknownProcess(String),
    #[error("open a WebSocket at this path (RFC 6455)")]
    NoWebSocket,
    #[error("as many debuggers as may be are attached to {0}")]
    TooMany(String),
    #[error("the process of {0} takes no debugger: it may be ending")]
    CellDied(String),
}

impl Refusal {
    fn answer(&self) -> Answer {
        let (status, slug) = match self {
            Self::Off | Self::NotInspectable(_) => (StatusCode::FORBIDDEN, "not-inspectable"),
            Self::ForeignOrigin => (StatusCode::FORBIDDEN, "foreign-origin"),
            Self::UnknownProject(_) => (StatusCode::NOT_FOUND, "unknown-project"),
            Self::UnknownProcess(_) => (StatusCode::NOT_FOUND, "unknown-process"),
            Self::NoHost | Self::NoWebSocket => (StatusCode::BAD_REQUEST, "bad-request"),
            Self::TooMany(_) => (StatusCode::SERVICE_UNAVAILABLE, "too-many-debuggers"),
            Self::CellDied(_) => (StatusCode::BAD_GATEWAY, "cell-died"),
        };
        problem(status, slug, &self.to_string())
    }
}

impl Admin {
    pub(super) fn protocol(&self, request: &Parts) -> Answer {
        let name = concat!("Switchyard/", env!("CARGO_PKG_VERSION"));
        match self.may_debug(request) {
            Ok(()) => json(StatusCode::OK, &json!({ "Browser": name, "Protocol-Version": PROTOCOL })),
            Err(refusal) => refusal.answer(),
        }
    }

    pub(super) fn attachable(&self, request: &Parts) -> Answer {
        let named = || gate::authority(request).ok().flatten().ok_or(Refusal::NoHost);
        let host = match self.may_debug(request).and_then(|()| named()) {
            Ok(host) => host,
            Err(refusal) => return refusal.answer(),
        };
        let table = self.live.load();
        let all = table.values().flat_map(|entry| Attachable::of(entry));
        json(StatusCode::OK, &all.map(|attachable| attachable.described(&host)).collect::<Vec<_>>())
    }

    /// Lets a debugger in to the live version of project `name`, if that is in `cell` (any, without one).
    pub(super) async fn inspect(
        &self,
        name: &str,
        cell: Option<&str>,
        request: Parts,
        permit: &Arc<Permit>,
        switched: &Switched,
    ) -> Answer {
        match self.attach(name, cell, request, permit.clone()).await {
            Ok((answer, tunnel)) => {
                *switched.lock().expect("no holder of this lock panics") = Some(tunnel);
                answer
            }
            Err(refusal) => refusal.answer(),
        }
    }

    async fn attach(
        &self,
        name: &str,
        cell: Option<&str>,
        mut request: Parts,
        permit: Arc<Permit>,
    ) -> Result<(Answer, Tunnel), Refusal> {
        self.may_debug(&request)?;
        let entry = self.live.load().get(name).cloned();
        let entry = entry.ok_or_else(|| Refusal::UnknownProject(name.to_owned()))?;
        if !self.inspect.covers(name) {
            return Err(Refusal::NotInspectable(name.to_owned()));
        }
        let (attachable, in_flight) = Attachable::of(&entry)
            .filter(|found| cell.is_none_or(|cell| cell == found.running.cell.id().to_string()))
            .find_map(|found| found.running.in_flight.enter().map(|guard| (found, guard)))
            .ok_or_else(|| Refusal::UnknownProcess(name.to_owned()))?;
        let client =
            request.extensions.remove::<OnUpgrade>().filter(|_| forwarded::names_websocket(&request.headers));
        let client = client.ok_or(Refusal::NoWebSocket)?;
        let attached = entry.debuggers.attach();
        let handshake = timeout(PATIENCE, switch(&attachable.inspector.socket, &request.headers)).await;
        let handshake = handshake.map_err(|_| Refusal::TooMany(name.to_owned()))?;
        let (answer, cell) = handshake.map_err(|error| {
            tracing::warn!(project.name = name, "a debugger cannot be attached to {name}: {error}");
            Refusal::CellDied(name.to_owned())
        })?;
        let (cell, version) = (cell.ok_or(Refusal::NoWebSocket)?, attachable.version.clone());
        let tunnel =
            Tunnel { client, cell, version, _in_flight: in_flight, _attached: attached, _permit: permit };
        Ok((answer, tunnel))
    }

    /// Refuses every web page, of this listener's own address too: no bounds of origin apply to
    /// WebSockets, and who debugs runs code. The gate has checked the host.
    fn may_debug(&self, request: &Parts) -> Result<(), Refusal> {
        if self.inspect.is_none() {
            return Err(Refusal::Off);
        }
        if request.headers.get_all(ORIGIN).iter().all(gate::is_of_devtools) {
            return Ok(());
        }
        Err(Refusal::ForeignOrigin)
    }
}

/// Opens a WebSocket to a cell with the client's own key: nothing else of the client's request goes there. Gives the answer
/// for the client and, when the cell has switched, what there is to be said.
async fn switch(socket: &Path, client: &HeaderMap) -> io::Result<(Answer, Option<Upgraded>)> {
    let mut request = Request::new(Empty::<Bytes>::new());
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static("cell"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
    for name in [SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION] {
        headers.extend(client.get(&name).map(|value| (name, value.clone())));
    }
    let head = HeadBudget::new(INSPECTOR_HEAD);
    let stream = ReadsOn::new(UnixStream::connect(socket).await?, head.clone());
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(io::Error::other)?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        head.complete();
        let accept = response.headers().get(SEC_WEBSOCKET_ACCEPT).cloned();
        let accept = accept.filter(|accept| accept.len() <= WEBSOCKET_ACCEPT);
        let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let upgraded = if switched { Some(hyper::upgrade::on(response).await?) } else { None };
        hyper::Result::Ok((accept, upgraded))
    };
    let mut exchange = pin!(exchange);
    let exchanged = tokio::select! {
        exchanged = &mut exchange => exchanged,
        // It ends with the switch, of which the exchange then knows.
        _ = connection.with_upgrades() => exchange.await,
    };
    let (accept, upgraded) = exchanged.map_err(io::Error::other)?;
    Ok((switching(accept), upgraded))
}

fn switching(accept: Option<HeaderValue>) -> Answer {
    let mut response: Answer = Response::new(nothing());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
    headers.extend(accept.map(|accept| (SEC_WEBSOCKET_ACCEPT, accept)));
    response
}
