//! Webhooks of tasks: `/hooks/{path}`. A request that proves its sender, or to an open webhook,
//! starts a run, and is answered once the run is recorded, or with its result.

mod access;
mod answer;
mod input;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use http::header::ALLOW;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::Value;
use switchyard_contract::admin::HookCheck;
use switchyard_contract::run::{Run, RunId};
use switchyard_contract::task::{ParamSpec, TaskId, WebhookTrigger};
use switchyard_edge::api::ClientConn;
use switchyard_edge::connections::{PermitBody, RequestKind};
use switchyard_edge::problem::Problem;
use switchyard_edge::throttle::LogThrottle;
use switchyard_edge::webhook::{ForgeKind, has_proof, is_checked, is_delivery_id, single};

use self::access::{Access, Closed};
use self::answer::{accepted, ended};
use super::{Rate, pong, unauthorized};

/// The requests that a webhook takes in a minute. Where it has a secret, only those that prove their
/// sender count: a stranger cannot use them up, nor learn from them that there is a webhook.
const PER_MINUTE: u32 = 1_000;

/// The refused requests of a minute, of all webhooks together, that are logged one by one. Further
/// ones are answered alike, and leave no trace but their number.
const REFUSED_PER_MINUTE: u32 = 120;

/// The name under which refused requests are counted.
const REFUSED: &str = "refused";

/// The characters of a path in the log: its sender chooses it.
const LOGGED_PATH: usize = 64;

/// The methods that every webhook takes.
const METHODS: HeaderValue = HeaderValue::from_static("POST,PUT,PATCH");

/// The tasks, as the listener sees them.
pub trait TaskHooks: Send + Sync + 'static {
    /// Returns the webhook at a path: without `/hooks/`, percent-decoded. Must not block.
    fn find(&self, path: &str) -> Option<TaskWebhook>;

    /// Asks a router whether the sender knows the project's secret. Must have a bound in time.
    fn verify(&self, check: HookCheck) -> BoxFuture<'_, Result<(), Unproven>>;

    /// Starts a run, or returns the one that was started with the same key. The run is recorded
    /// when this returns.
    fn start(&self, start: HookStart) -> BoxFuture<'_, Result<Run, Problem>>;

    /// Waits for the end of a run, and returns it as it is then, or at the limit.
    fn wait(&self, run: RunId, limit: Duration) -> BoxFuture<'_, Result<Run, Problem>>;

    /// Takes note that a request was refused. `task` is unknown if the path has no webhook. Must
    /// not block.
    fn refused(&self, path: &str, task: Option<&TaskId>, why: &str);
}

/// The webhook of one task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskWebhook {
    /// The task or pipeline.
    pub task: TaskId,
    /// Its declaration.
    pub trigger: WebhookTrigger,
    /// `RunLimits.open_webhooks` of the policy: a webhook without a signature is open though it
    /// does not say so.
    pub may_be_open: bool,
    /// The parameters that fields of a request may set.
    pub params: Vec<ParamSpec>,
    /// The time that a request waits for the result where the webhook is `sync`.
    pub request_time: Duration,
}

/// The reason why no router vouches for a sender.
#[derive(Debug, Clone, PartialEq)]
pub enum Unproven {
    /// The proof is wrong, or there is no secret to check it with: the reason, for the log.
    Refused(String),
    /// No router could be asked.
    Unavailable(Problem),
}

/// A run that a webhook starts.
#[derive(Debug, Clone, PartialEq)]
pub struct HookStart {
    /// The task or pipeline.
    pub task: TaskId,
    /// The idempotency key, where the sender gives its delivery an id: a delivery that comes again
    /// is the same run.
    pub key: Option<String>,
    /// The parameters: an object of those that the task declares. Text is converted to their types
    /// where that is possible.
    pub params: Value,
    /// The input: the document in the body, the fields of a form or of the query, or text.
    pub input: Value,
}

/// The webhooks of all tasks. Clones share what they remember.
#[derive(Clone)]
pub struct TaskWebhooks {
    tasks: Arc<dyn TaskHooks>,
    seen: Arc<Mutex<Seen>>,
}

/// The memory of past requests.
#[derive(Debug)]
struct Seen {
    rate: Rate,
    refused: Rate,
    warned: LogThrottle,
}

/// The outcome of a request.
enum Begun {
    /// A run was started, whose result is the answer if it ends within the time.
    Run(RunId, Option<Duration>),
    /// Its sender tests the webhook.
    Ping,
}

impl TaskWebhooks {
    /// No requests yet.
    pub fn new(tasks: Arc<dyn TaskHooks>) -> Self {
        let seen = Seen {
            rate: Rate::new(PER_MINUTE),
            refused: Rate::new(REFUSED_PER_MINUTE),
            warned: LogThrottle::default(),
        };
        Self { tasks, seen: Arc::new(Mutex::new(seen)) }
    }

    /// Answers a request to `path`.
    ///
    /// # Errors
    /// The request is refused, or no run could be started.
    pub(super) async fn answer(
        &self,
        conn: &ClientConn,
        path: &str,
        parts: &Parts,
        body: Body,
    ) -> Result<Response, Problem> {
        let permit = conn.permit(RequestKind::Unproven)?;
        let (run, limit) = match self.begin(path, parts, body).await? {
            Begun::Run(run, limit) => (run, limit),
            Begun::Ping => return Ok(pong()),
        };
        // Requests that wait for a result leave room for others. One too many is
        // answered with the run instead.
        let waiting = limit.and_then(|limit| Some((limit, conn.permit(RequestKind::Request).ok()?)));
        let Some((limit, waiting)) = waiting else {
            return Ok(accepted(run).map(|body| Body::new(PermitBody::new(body, permit))));
        };
        drop(permit);
        let run = self.tasks.wait(run, limit).await?;
        Ok(ended(run)?.map(|body| Body::new(PermitBody::new(body, waiting))))
    }

    async fn begin(&self, path: &str, parts: &Parts, body: Body) -> Result<Begun, Problem> {
        let hook = self.tasks.find(path);
        let access = Access::of(hook.as_ref());
        check_method(&parts.method, hook.as_ref(), &access)?;
        let task = hook.as_ref().map(|hook| &hook.task);
        if !matches!(access, Access::Open) && !has_proof(&parts.headers) {
            return Err(self.refuse(path, task, &unsigned(&access)));
        }
        if matches!(access, Access::Open) {
            self.count(path)?;
        }
        let body = input::body(body).await?;
        let (Some(hook), false) = (&hook, matches!(access, Access::Closed(_))) else {
            let why = if let Access::Closed(why) = &access { *why } else { Closed::Unknown };
            return Err(self.refuse(path, task, &why.to_string()));
        };
        if let Access::Signed(_, secret) = &access {
            self.prove(path, hook, secret, &parts.headers, &body).await?;
            self.count(path)?;
        }
        if is_ping(&access, &parts.headers) {
            return Ok(Begun::Ping);
        }
        let read = input::read(&hook.params, parts, &body)?;
        let key = delivery(&access, &parts.headers).map(|id| format!("webhook:{path}:{id}"));
        let start = HookStart { task: hook.task.clone(), key, params: read.params, input: read.input };
        let run = self.tasks.start(start).await?;
        Ok(Begun::Run(run.id, hook.trigger.sync.then_some(hook.request_time)))
    }

    /// Counts a request to a webhook that may start it.
    fn count(&self, path: &str) -> Result<(), Problem> {
        let counted = self.seen().rate.take(path, Instant::now());
        counted.map_err(|error| {
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-deliveries", error.to_string())
                .retry_after(error.seconds())
        })
    }

    async fn prove(
        &self,
        path: &str,
        hook: &TaskWebhook,
        secret: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), Problem> {
        let kind = hook.trigger.signature.as_ref().map(|signature| signature.kind.clone());
        let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
        let headers = headers.iter().filter(|(name, _)| is_checked(name.as_str()));
        let headers = headers.filter_map(|(name, value)| Some((name.as_str().to_owned(), text(value)?)));
        let check = HookCheck {
            project: hook.task.project.clone(),
            secret: secret.to_owned(),
            kind: kind.unwrap_or_default(),
            headers: headers.collect(),
            body: STANDARD.encode(body),
        };
        match self.tasks.verify(check).await {
            Ok(()) => Ok(()),
            Err(Unproven::Refused(why)) => Err(self.refuse(path, Some(&hook.task), &why)),
            Err(Unproven::Unavailable(problem)) => Err(problem),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs why a request is refused, and returns the answer that is the same for all of them.
    fn refuse(&self, path: &str, task: Option<&TaskId>, why: &str) -> Problem {
        let path: String = path.chars().take(LOGGED_PATH).collect();
        let (is_told, warning) = {
            let mut seen = self.seen();
            (seen.refused.take(REFUSED, Instant::now()).is_ok(), seen.warned.hit())
        };
        if is_told {
            self.tasks.refused(&path, task, why);
        }
        match warning {
            Some(1) => tracing::warn!("refused a webhook at {path:?}: {why}"),
            Some(count) => tracing::warn!("refused {count} webhooks, the last at {path:?}: {why}"),
            None => {}
        }
        unauthorized(
            "there is no open webhook at this path, or the proof does not fit: compare the URL, the kind and \
             the secret at the sender with the task's declaration and the router's policy",
        )
    }
}

impl fmt::Debug for TaskWebhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskWebhooks").field("seen", &self.seen).finish_non_exhaustive()
    }
}

/// The reason why a request without a proof is refused.
fn unsigned(access: &Access<'_>) -> String {
    match access {
        Access::Closed(why) => why.to_string(),
        Access::Signed(_, secret) => format!(
            "the request has no signature: set the secret at its sender, the value of the project's variable {secret}"
        ),
        Access::Open => "the request has no signature".to_owned(),
    }
}

/// Refuses a method that changes nothing, unless the webhook is open and takes it.
fn check_method(method: &Method, hook: Option<&TaskWebhook>, access: &Access<'_>) -> Result<(), Problem> {
    let takes_get = matches!(access, Access::Open) && hook.is_some_and(|hook| hook.trigger.get);
    match *method {
        Method::POST | Method::PUT | Method::PATCH => Ok(()),
        Method::GET if takes_get => Ok(()),
        _ => {
            let detail =
                "this webhook takes POST: a task has to declare \"get\": true, and to be open, for GET";
            let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail);
            Err(problem.with_header(ALLOW, METHODS))
        }
    }
}

/// Returns true for GitHub's test of a new webhook, which is no event that a task is for.
fn is_ping(access: &Access<'_>, headers: &HeaderMap) -> bool {
    matches!(access, Access::Signed(ForgeKind::Github, _))
        && single(headers, "x-github-event") == Some("ping")
}

/// The id of a delivery, which is the same when its sender sends it again.
fn delivery<'h>(access: &Access<'_>, headers: &'h HeaderMap) -> Option<&'h str> {
    let own = if let Access::Signed(kind, _) = access { kind.delivery(headers) } else { None };
    own.or_else(|| single(headers, "idempotency-key").filter(|id| is_delivery_id(id)))
}
