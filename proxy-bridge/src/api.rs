//! The API: deploys, the projects that routers serve, tasks and runs, and events that routers post. Its requests
//! never come through the forwarding listener.

mod bodies;
mod deploy;
mod deploys;
mod diff;
mod events;
mod follow;
mod health;
mod loads;
mod locks;
mod logs;
mod metrics;
pub mod openapi;
mod openapi_parts;
mod overrides;
mod page;
mod pipelines;
mod projects;
mod reload;
mod requests;
mod rollback;
mod run_logs;
mod run_queries;
mod runs;
mod sandbox;
mod schemas;
mod settings;
mod source_commits;
mod source_queries;
mod sources;
mod standby;
mod stream;
mod tasks;
mod whoami;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http::StatusCode;
use tokio::sync::watch;

use self::bodies::{RESUME, RETRY, START};
use self::deploy::{RemovalQuery, UploadQuery};
use self::diff::DiffQuery;
pub use self::loads::LoadFeed;
use self::locks::LockQuery;
use self::overrides::OVERRIDE;
use self::rollback::RollbackQuery;
use self::run_logs::RunLogQuery;
use self::run_queries::{RunsQuery, WaitQuery};
use self::source_queries::{ExplainQuery, FreezeQuery, PublishQuery, SyncQuery};
pub use self::standby::StandbyApi;
use self::stream::StreamQuery;
use self::tasks::{ExplainTaskQuery, StartQuery, TasksQuery};
use super::deploys::Deploys;
use super::metrics::{MetricSource, Metrics};
use super::routers::Routers;
use super::runs::Runs;
use super::sources::control::Sources;
use super::tokens::{Caller, Tokens};
use super::traces::Traces;
use super::upload_limits::UploadLimits;
use switchyard_contract::deploy::Action;
use switchyard_contract::project::ProjectName;
use switchyard_contract::verifier::Verifier;
use switchyard_edge::api::ApiListener;
use switchyard_edge::api::endpoint::{Routes, delete, get, post, put};
use switchyard_edge::api::query::{FromQuery as _, LogQuery, RequestsQuery};
use switchyard_edge::connections::{ConnectionLimits, RequestKind};
use switchyard_edge::gate::{BodyKind, Gate};
use switchyard_edge::guarded;
use switchyard_edge::problem::Problem;
use switchyard_edge::socket::Listener;

/// The listener. Deploys end before it does, and their answers are written within its grace.
const LISTENER: ApiListener = ApiListener {
    name: "API",
    connections: LIMITS,
    guard: GUARD,
    prepare: |_| {},
    grace: Duration::from_secs(2),
};

/// A connection costs some 20 KB. Each deploy is one request under way, and each follower of logs a
/// stream. Routers post one event at a time each, and stream the same ones: an event that is
/// refused here is not lost.
const LIMITS: ConnectionLimits =
    ConnectionLimits { streams: 512, requests: 320, unproven: 120, metrics: 8, reserve: 64 };

/// The longest head is one with a token and an idempotency key. The head timeout is also how long a
/// connection may be idle: longer than the 20 s of the proxies in examples/ingress, so that their
/// end closes first. A client that reads a log page by page may pause for minutes.
const GUARD: guarded::StreamLimits = guarded::StreamLimits {
    max_head: 64 * 1024,
    head_timeout: Duration::from_secs(30),
    write_timeout: Duration::from_secs(300),
};

/// The parts of the bridge that the API shows and commands.
#[derive(Debug, Clone)]
pub struct Api {
    /// Deploys under way and past ones.
    pub deploys: Deploys,
    /// The routers and the versions that they serve.
    pub routers: Routers,
    /// Refuses requests from web pages of other sites.
    pub gate: Arc<Gate>,
    /// The tokens of callers.
    pub tokens: Arc<Tokens>,
    /// Checks the signatures of events.
    pub verifier: Arc<Verifier>,
    /// The bridge's own metrics.
    pub metrics: Metrics,
    /// The git sources, if there are any.
    pub sources: Option<Sources>,
    /// The tasks and runs.
    pub runs: Runs,
    /// The export of spans.
    pub traces: Traces,
    /// The metrics of the forwarding listener, if there is one.
    pub forward: Option<Arc<dyn MetricSource>>,
    /// Lines for `/readyz` about what an operator has to know, and what keeps nothing from being served.
    pub notices: Arc<[String]>,
    /// The load of all projects, for those who follow it.
    pub loads: LoadFeed,
    /// The limits on uploads.
    pub limits: UploadLimits,
    /// True from when the bridge stops: no connection is accepted any more, and streams end.
    pub stopping: watch::Receiver<bool>,
}

/// The state of handlers.
type Shared = State<Arc<Api>>;

impl Api {
    /// Serves `listener` until the bridge stops. Answers that are due then are still written.
    pub async fn serve(self, listener: Listener) {
        let (api, stop) = (Arc::new(self.clone()), self.stopping);
        let app = routes(&api).into_router(api.clone());
        tokio::select! {
            () = LISTENER.serve(listener, app, stop) => {}
            never = loads::sample(&api) => match never {},
        }
    }
}

/// All endpoints.
fn routes(api: &Arc<Api>) -> Routes<Arc<Api>> {
    let count = |router: axum::Router<_>| router.layer(from_fn_with_state(api.clone(), events::count));
    let guard = |router: axum::Router<_>| {
        router.fallback(unknown_path).layer(from_fn_with_state(api.clone(), identify))
    };
    let open = health_routes().merge(schema_routes()).merge(event_routes().map(count));
    open.merge(page::routes(api)).merge(commands().map(guard))
}

/// Probes of an orchestrator: they come under any name, without a token, and learn nothing secret.
fn health_routes() -> Routes<Arc<Api>> {
    Routes::default()
        .add(get("/healthz").any_query().without_permit(), health::healthz)
        .add(get("/readyz").any_query().without_permit(), health::readyz)
}

/// Schemas, which editors read without a token: they are the same everywhere.
fn schema_routes() -> Routes<Arc<Api>> {
    Routes::default().add(get("/schema"), schemas::list).add(get("/schema/{file}"), schemas::schema)
}

/// Events of routers, which are signed instead of carrying a token, and which come under any name
/// of the bridge.
fn event_routes() -> Routes<Arc<Api>> {
    let endpoint = post("/events").permit(RequestKind::Unproven).body(BodyKind::Json("EVENT"));
    Routes::default().add(endpoint, events::receive)
}

fn commands() -> Routes<Arc<Api>> {
    let upload = |path| post(path).query(UploadQuery::KEYS).body(BodyKind::Upload);
    Routes::default()
        .add(get("/metrics").any_query().permit(RequestKind::Metrics), metrics::metrics)
        .add(get("/openapi.json"), openapi::openapi)
        .add(upload("/deploy"), deploy::deploy)
        .add(upload("/deploy/{project}"), deploy::deploy_project)
        .add(get("/deploys"), deploys::deploys)
        .add(get("/deploys/{id}"), deploys::record)
        .add(get("/whoami"), whoami::whoami)
        .add(get("/events"), events::recent)
        .add(get("/stream").query(StreamQuery::KEYS).permit(RequestKind::Stream), stream::stream)
        .add(get("/routers"), projects::routers)
        .add(get("/routers/sandbox"), sandbox::sandbox)
        .add(get("/projects"), projects::projects)
        .add(get("/projects/{project}"), projects::project)
        .add(delete("/projects/{project}").query(RemovalQuery::KEYS), deploy::remove)
        .add(get("/projects/{project}/status"), projects::statuses)
        .add(get("/projects/{project}/settings"), settings::settings)
        .add(get("/projects/{project}/versions"), projects::versions)
        .add(get("/projects/{project}/diff").query(DiffQuery::KEYS), diff::diff)
        .add(post("/projects/{project}/reload"), reload::reload)
        .add(get("/locks"), locks::locks)
        .add(put("/projects/{project}/lock").query(LockQuery::KEYS), locks::lock)
        .add(delete("/projects/{project}/lock"), locks::unlock)
        .add(post("/projects/{project}/rollback").query(RollbackQuery::KEYS), rollback::rollback)
        .merge(source_routes())
        .merge(task_routes())
        .merge(run_routes())
        .merge(request_routes())
        .add(get("/projects/{project}/logs").query(LogQuery::KEYS).permit(RequestKind::Stream), logs::logs)
}

fn request_routes() -> Routes<Arc<Api>> {
    let requests = get("/projects/{project}/requests").query(RequestsQuery::KEYS).permit(RequestKind::Stream);
    Routes::default()
        .add(requests, requests::requests)
        .add(get("/projects/{project}/metrics"), requests::samples)
        .add(get("/metrics/projects"), loads::loads)
}

fn source_routes() -> Routes<Arc<Api>> {
    Routes::default()
        .add(post("/repo/sync").query(SyncQuery::KEYS), sources::sync_all)
        .add(get("/sources"), sources::sources)
        .add(get("/sources/{source}"), sources::source)
        .add(post("/sources/{source}/sync").query(SyncQuery::KEYS), sources::sync)
        .add(post("/sources/{source}/publish").query(PublishQuery::KEYS), sources::publish)
        .add(post("/sources/{source}/approve"), sources::approve)
        .add(post("/sources/{source}/freeze").query(FreezeQuery::KEYS), sources::freeze)
        .add(delete("/sources/{source}/freeze"), sources::unfreeze)
        .add(put("/sources/{source}/override").body(BodyKind::Json(OVERRIDE)), overrides::set)
        .add(delete("/sources/{source}/override"), overrides::end)
        .add(get("/sources/{source}/commits"), source_commits::commits)
        .add(get("/sources/{source}/commits/{commit}"), source_commits::deployed_commit)
        .add(get("/sources/{source}/explain").query(ExplainQuery::KEYS), sources::explain)
}

fn task_routes() -> Routes<Arc<Api>> {
    let start = |path| post(path).query(StartQuery::KEYS).body(BodyKind::Json(START.example));
    Routes::default()
        .add(get("/tasks").query(TasksQuery::KEYS), tasks::tasks)
        .add(get("/tasks/{task}"), tasks::task)
        .add(get("/tasks/{task}/explain").query(ExplainTaskQuery::KEYS), tasks::explain_task)
        .add(start("/tasks/{task}/run"), tasks::run_task)
        .add(get("/pipelines/{pipeline}"), pipelines::pipeline)
        .add(start("/pipelines/{pipeline}/run"), pipelines::run_pipeline)
}

fn run_routes() -> Routes<Arc<Api>> {
    let again =
        |path, body: bodies::BodyShape| post(path).query(WaitQuery::KEYS).body(BodyKind::Json(body.example));
    let logs = get("/runs/{run}/logs").query(RunLogQuery::KEYS).permit(RequestKind::Stream);
    Routes::default()
        .add(get("/runs").query(RunsQuery::KEYS), runs::runs)
        .add(get("/runs/{run}").query(WaitQuery::KEYS), runs::run)
        .add(delete("/runs/{run}"), runs::delete)
        .add(logs, run_logs::run_log)
        .add(post("/runs/{run}/cancel").query(WaitQuery::KEYS), runs::cancel)
        .add(again("/runs/{run}/retry", RETRY), runs::retry)
        .add(again("/runs/{run}/resume", RESUME), runs::resume)
}

/// Identifies the caller of a request, and adds it to the request as an extension.
async fn identify(State(api): Shared, request: Request, next: Next) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let caller = api.tokens.caller(&parts.headers)?;
    api.gate.check(&parts, caller.name().is_some())?;
    let mut request = Request::from_parts(parts, body);
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

async fn unknown_path() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown-path", "there is nothing at this path")
}

/// # Errors
/// 403 if `caller` may not read `project`.
fn check_read(caller: &Caller, project: &ProjectName) -> Result<(), Problem> {
    caller.check(Action::Read, project)
}
