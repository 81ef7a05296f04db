//! The admin listener: health, the state of projects, their tasks, reloads, overrides, deploys, webhooks,
//! events, logs, requests, checkouts, metrics, debuggers. Its requests never come through the public listener.

mod checkouts;
mod deploys;
mod events;
mod files;
mod health;
mod hooks;
mod inspect;
mod logs;
mod metrics;
pub mod openapi;
mod overrides;
mod projects;
mod reloads;
mod requests;
mod runs;
mod sandbox;
mod settings;
mod tasks;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use rustix::net::sockopt;
use switchyard_contract::run::{InvalidRunId, RunId};
use switchyard_edge::api::ApiListener;
use switchyard_edge::api::endpoint::{Routes, delete, get, post, put};
use switchyard_edge::api::query::{FromQuery as _, LogQuery, RequestsQuery};
use switchyard_edge::connections::{ConnectionLimits, RequestKind};
use switchyard_edge::gate::{BodyKind, Gate};
use switchyard_edge::guarded;
use switchyard_edge::problem::Problem;
use switchyard_edge::socket::{Listener, Stream};
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;

use self::checkouts::CheckoutQuery;
use self::files::OutcomeQuery;
use self::projects::ChangesQuery;
use self::runs::{AcknowledgeQuery, EventQuery};
use self::tasks::TasksQuery;
pub(crate) use self::tokens::Tokens;
use crate::cells::Cells;
use crate::checkout::Store;
use crate::crons::BridgeMark;
use crate::inspect::Inspectable;
use crate::live::{Commands, Events, LiveTable, LogBuffer, StatusBoard};
use crate::metrics::Metrics;
use crate::pickup::Pickups;
use crate::root::Overrides;
use crate::runs::Runs;

/// The listener. Nothing is left to answer once it is dropped, so its grace is never used.
const LISTENER: ApiListener = ApiListener {
    name: "admin listener",
    connections: LIMITS,
    guard: GUARD,
    prepare: notice_lost_client,
    grace: Duration::ZERO,
};

/// A connection costs some 20 KB. A bridge follows one stream and sends one request for each deploy
/// that is under way; the others are people and tools.
const LIMITS: ConnectionLimits =
    ConnectionLimits { streams: 256, requests: 216, unproven: 0, metrics: 8, reserve: 32 };

/// The longest head is one with a project's name and a token. A head that takes longer than 30 s is
/// not a well-meant one, and a client that reads a log page by page may pause for minutes.
const GUARD: guarded::StreamLimits = guarded::StreamLimits {
    max_head: 64 * 1024,
    head_timeout: Duration::from_secs(30),
    write_timeout: Duration::from_secs(300),
};

/// The time without an answer from a client's machine after which the client counts as gone.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// The example in the refusal of a body of `POST /_deploys` with another content type.
const HOLD: &str = r#"{"id": "d1", "projects": ["blog"], "lease_ms": 30000}"#;

/// The example in the refusal of a body of `PUT /projects/{name}/override` with another content type.
const OVERRIDE: &str = r#"{"path": "/home/me/api"}"#;

/// The example in the refusal of a body of `POST /_hooks/verify` with another content type.
const HOOK: &str =
    r#"{"project": "blog", "secret": "HOOK_SECRET", "kind": "github", "headers": [], "body": ""}"#;

/// The parts of the router that the admin listener shows and commands.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) board: Arc<StatusBoard>,
    pub(crate) live: Arc<LiveTable>,
    pub(crate) events: Arc<Events>,
    pub(crate) logs: Arc<LogBuffer>,
    pub(crate) store: Arc<Store>,
    pub(crate) cells: Arc<Cells>,
    pub(crate) metrics: Metrics,
    pub(crate) commands: Commands,
    pub(crate) overrides: Overrides,
    pub(crate) runs: Runs,
    pub(crate) pickups: Pickups,
    /// Noted by the calls that only a bridge makes.
    pub(crate) bridge: BridgeMark,
    /// Refuses requests from web pages of other sites.
    pub(crate) gate: Arc<Gate>,
    /// The tokens that requests need. `None`: none are needed.
    pub(crate) tokens: Option<Arc<Tokens>>,
    /// Permits for sending a checkout.
    pub(crate) sends: Arc<Semaphore>,
    /// The projects that debuggers may attach to.
    pub(crate) inspect: Inspectable,
    /// `true`: the router fetches packages (`--allow-install`).
    pub(crate) installs: bool,
}

/// The state of handlers.
type AdminState = State<Arc<Admin>>;

impl Admin {
    /// Serves `listener`. Dropping the future ends all its connections.
    pub(crate) async fn serve(self, listener: Listener) {
        let admin = Arc::new(self);
        let app = routes(&admin).into_router(admin);
        let (_never, stop) = watch::channel(false);
        LISTENER.serve(listener, app, stop).await;
    }

    /// Returns true if the request has a token, where one is needed. With `in_query`, the query may
    /// have it.
    fn has_token(&self, request: &Parts, in_query: bool) -> bool {
        let Some(tokens) = &self.tokens else { return true };
        tokens.admit(&request.headers)
            || (in_query && request.uri.query().is_some_and(|query| tokens.admit_query(query)))
    }

    fn authorize(&self, request: &Parts, in_query: bool) -> Result<(), Problem> {
        if !self.has_token(request, in_query) {
            let detail = "send a token of the router's --admin-token-file: authorization: Bearer <token>";
            return Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail));
        }
        Ok(self.gate.check(request, self.tokens.is_some())?)
    }

    /// Makes an answer on a thread that may block: one about all projects takes a while.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        make: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let admin = self.clone();
        let made = spawn_blocking(move || make(&admin)).await;
        made.map_err(|panic| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", panic.to_string()))
    }
}

/// Reads the id of a run in a path.
fn parse_run(run: &str) -> Result<RunId, Problem> {
    run.parse().map_err(|error: InvalidRunId| Problem::bad_request(error.to_string()).with("field", "id"))
}

/// All endpoints.
fn routes(admin: &Arc<Admin>) -> Routes<Arc<Admin>> {
    let guarded = commands()
        .map(|router| router.fallback(unknown_path).layer(from_fn_with_state(admin.clone(), need_token)));
    let inspect =
        inspect_routes().map(|router| router.layer(from_fn_with_state(admin.clone(), need_any_token)));
    health_routes().merge(guarded).merge(inspect)
}

/// Probes of an orchestrator: they come under any name, without a token, and learn nothing secret.
fn health_routes() -> Routes<Arc<Admin>> {
    Routes::default()
        .add(get("/healthz").any_query().without_permit(), health::healthz)
        .add(get("/readyz").any_query().without_permit(), health::readyz)
}

fn commands() -> Routes<Arc<Admin>> {
    let stream = RequestKind::Stream;
    Routes::default()
        .add(get("/metrics").any_query().permit(RequestKind::Metrics), metrics::metrics)
        .add(get("/openapi.json"), openapi::openapi)
        .add(get("/events").permit(stream), events::events)
        .add(get("/sandbox"), sandbox::sandbox)
        .add(get("/projects").query(ChangesQuery::KEYS), projects::projects)
        .add(get("/projects/{name}"), projects::project)
        .add(get("/projects/{name}/settings"), settings::settings)
        .add(get("/projects/{name}/tasks").query(TasksQuery::KEYS), tasks::tasks)
        .add(get("/projects/{name}/checkouts").query(CheckoutQuery::KEYS), checkouts::checkouts)
        .add(get("/projects/{name}/checkouts/{short}").query(CheckoutQuery::KEYS), checkouts::checkout)
        .add(
            put("/projects/{name}/checkouts/{short}").query(CheckoutQuery::KEYS).body(BodyKind::Upload),
            checkouts::keep,
        )
        .add(get("/projects/{name}/logs").query(LogQuery::KEYS).permit(stream), logs::logs)
        .add(get("/projects/{name}/requests").query(RequestsQuery::KEYS).permit(stream), requests::requests)
        .add(get("/projects/{name}/metrics"), requests::samples)
        .add(get("/metrics/projects"), requests::loads)
        .add(put("/projects/{name}/override").body(BodyKind::Json(OVERRIDE)), overrides::set)
        .add(delete("/projects/{name}/override"), overrides::end)
        .add(post("/_reload"), reloads::reload_all)
        .add(post("/_reload/{name}"), reloads::reload)
        .add(post("/_deploys").body(BodyKind::Json(HOLD)), deploys::hold)
        .add(delete("/_deploys/{id}"), deploys::release)
        .add(post("/_deploys/{id}/build"), deploys::build)
        .add(post("/_deploys/{id}/publish"), deploys::publish)
        .add(post("/_hooks/verify").body(BodyKind::Json(HOOK)), hooks::verify)
        .add(post("/_runs").body(BodyKind::Json(runs::RUN)), runs::start_run)
        .add(get("/_runs"), runs::known_runs)
        .add(get("/_runs/{id}/events").query(EventQuery::KEYS).permit(stream), runs::run_events)
        .add(post("/_runs/{id}/cancel").body(BodyKind::Json(runs::CANCEL)), runs::cancel_run)
        .add(post("/_runs/{id}/steps").body(BodyKind::Json(runs::STEP)), runs::answer_step)
        .add(delete("/_runs/{id}").query(AcknowledgeQuery::KEYS), runs::acknowledge_run)
        .add(get("/_files").permit(stream), files::offers)
        .add(get("/_files/{run}"), files::input)
        .add(delete("/_files/{run}").query(OutcomeQuery::KEYS), files::settle)
        .add(get("/json/version").any_query(), inspect::version)
        .add(get("/json").any_query(), inspect::targets)
        .add(get("/json/list").any_query(), inspect::target_list)
}

/// Debuggers. The query may have the token: browsers cannot set headers of a WebSocket.
fn inspect_routes() -> Routes<Arc<Admin>> {
    let stream = RequestKind::Stream;
    Routes::default()
        .add(get("/projects/{name}/inspect").query(&["token"]).permit(stream), inspect::inspect)
        .add(get("/projects/{name}/inspect/{cell}").query(&["token"]).permit(stream), inspect::inspect_cell)
}

async fn need_token(State(admin): AdminState, request: Request, next: Next) -> Result<Response, Problem> {
    authorized(&admin, request, false, next).await
}

async fn need_any_token(State(admin): AdminState, request: Request, next: Next) -> Result<Response, Problem> {
    authorized(&admin, request, true, next).await
}

async fn authorized(
    admin: &Admin,
    request: Request,
    in_query: bool,
    next: Next,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    admin.authorize(&parts, in_query)?;
    Ok(next.run(Request::from_parts(parts, body)).await)
}

async fn unknown_path() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown-path", "unknown path: GET /openapi.json lists all")
}

/// Has the kernel notice a client that vanished without a word. Otherwise its connection, and a
/// project that its debugger has stopped, would stay forever.
fn notice_lost_client(stream: &Stream) {
    // A client of this machine cannot vanish.
    let Some(stream) = stream.tcp() else { return };
    let set = sockopt::set_socket_keepalive(stream, true)
        .and_then(|()| sockopt::set_tcp_keepidle(stream, LOST_AFTER / 2))
        .and_then(|()| sockopt::set_tcp_keepintvl(stream, LOST_AFTER / 6))
        .and_then(|()| sockopt::set_tcp_keepcnt(stream, 3))
        .and_then(|()| sockopt::set_tcp_user_timeout(stream, LOST_AFTER.as_millis() as u32));
    if let Err(error) = set {
        tracing::debug!("a lost client of the admin listener may not be noticed: {error}");
    }
}

/// The permits for sending checkouts.
pub(crate) fn sends() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(checkouts::MAX_SENDS))
}

fn unknown_project(name: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown-project", format!("unknown project {name:?}"))
}
