//! The listener of webhooks: `POST /hooks/git/{source}` for sources, and `/hooks/{path}` for tasks.

mod body;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Request, StatusCode};
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::watch;
use uuid::Uuid;

use switchyard_edge::api::path::Path;
use switchyard_edge::api::{ApiListener, ClientConn, answer};
use switchyard_edge::connections::{ConnectionLimits, PermitBody, RequestKind};
use switchyard_edge::guarded;
use switchyard_edge::problem::Problem;
use switchyard_edge::socket::Listener;
use switchyard_edge::throttle::LogThrottle;
use switchyard_edge::webhook::{Refused, Verifier, WebhookSecret, has_proof, is_unsigned_ping};

use self::body::read;
use super::{Deliveries, Event, Payload, Push, Rate, TaskHooks, TaskWebhooks, pong, unauthorized};

/// The listener. An answer takes no time once the body is there.
const LISTENER: ApiListener = ApiListener {
    name: "webhooks",
    connections: LIMITS,
    guard: GUARD,
    prepare: |_| {},
    grace: Duration::from_secs(2),
};

/// Anyone may send a delivery, and each may take 1 MiB until it is known who did. Those that wait
/// for the result of a run are requests.
const LIMITS: ConnectionLimits =
    ConnectionLimits { streams: 0, requests: 256, unproven: 64, metrics: 0, reserve: 64 };

/// Forges send heads of some 1 KB, and wait 10 s for an answer.
const GUARD: guarded::StreamLimits = guarded::StreamLimits {
    max_head: 32 * 1024,
    head_timeout: Duration::from_secs(10),
    write_timeout: Duration::from_secs(10),
};

/// The sources, as the listener sees them.
pub trait HookTarget: Send + Sync + 'static {
    /// Returns the webhook of a source, or `None` if there is no such source or it has no webhook.
    /// Must not block.
    fn webhook(&self, source: &str) -> Option<WebhookSecret>;

    /// Takes note that a ref of the source's repository may have changed. Called at most once per
    /// delivery and ref. Must not block.
    fn hint(&self, source: &str, push: Push);

    /// Takes note that a delivery was refused. The source need not exist. Must not block.
    fn refused(&self, source: &str, why: &str);
}

/// The listener of webhooks. Clones share what they remember.
#[derive(Clone, Default)]
pub struct Hooks {
    target: Option<Arc<dyn HookTarget>>,
    tasks: Option<TaskWebhooks>,
    seen: Arc<Mutex<Seen>>,
}

/// The deliveries that a source may send in a minute. A monorepo of a busy team pushes a few;
/// scripts that push commit by commit send a hundred.
const PER_MINUTE: u32 = 600;

/// The memory of past deliveries to sources.
#[derive(Debug)]
struct Seen {
    deliveries: Deliveries,
    rate: Rate,
    refused: LogThrottle,
}

impl Default for Seen {
    fn default() -> Self {
        let (deliveries, refused) = (Deliveries::default(), LogThrottle::default());
        Self { deliveries, rate: Rate::new(PER_MINUTE), refused }
    }
}

impl Hooks {
    /// Takes webhooks of these sources, and of no tasks. [`Hooks::default`] takes none at all.
    pub fn new(target: Arc<dyn HookTarget>) -> Self {
        Self { target: Some(target), ..Self::default() }
    }

    /// Takes webhooks of these tasks as well.
    #[must_use]
    pub fn with_tasks(self, tasks: Arc<dyn TaskHooks>) -> Self {
        Self { tasks: Some(TaskWebhooks::new(tasks)), ..self }
    }

    /// Serves `listener` until `stop` is true or its sender is gone.
    pub async fn serve(self, listener: Listener, stop: watch::Receiver<bool>) {
        let app = axum::Router::new()
            .route("/hooks/git/{source}", axum::routing::post(receive))
            .route("/hooks/{*path}", axum::routing::any(receive_task))
            .fallback(unknown_path)
            .with_state(self);
        LISTENER.serve(listener, app, stop).await;
    }

    /// Answers one delivery.
    async fn deliver(&self, source: &str, headers: &HeaderMap, body: Body) -> Result<Response, Problem> {
        if is_unsigned_ping(headers) {
            return Ok(pong());
        }
        if !has_proof(headers) {
            return Err(unknown_sender());
        }
        let webhook = self.target.as_ref().and_then(|target| target.webhook(source));
        let mut verifier = match &webhook {
            Some(webhook) => {
                Verifier::new(webhook, headers, Timestamp::now()).unwrap_or_else(Verifier::refusing)
            }
            None => Verifier::decoy(),
        };
        let kept = read(headers, body, &mut verifier).await?;
        let proven = verifier.finish().and(webhook.ok_or(Refused::UnknownSource));
        let kind = proven.map_err(|why| self.refuse(source, why))?.kind();
        // Only proven deliveries count: a stranger cannot use up those of the forge.
        if let Err(error) = self.seen().rate.take(source, Instant::now()) {
            let problem =
                Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-deliveries", error.to_string());
            return Err(problem.retry_after(error.seconds()));
        }
        let payload = Payload::read(kind, headers, kept.as_deref());
        let id = kind.delivery(headers).map(str::to_owned).or(payload.id);
        match payload.event {
            Event::Ping => return Ok(pong()),
            Event::Ignored => {}
            Event::Push(pushes) => return Ok(self.push(source, id, pushes)),
        }
        Ok(accepted(&id.unwrap_or_else(new_id)))
    }

    fn push(&self, source: &str, id: Option<String>, pushes: Vec<Push>) -> Response {
        let is_new = id.as_deref().is_none_or(|id| self.seen().deliveries.note(source, id, Instant::now()));
        let id = id.unwrap_or_else(new_id);
        tracing::debug!(source, delivery = %id, is_new, "received a webhook");
        if is_new {
            for push in pushes {
                self.target.iter().for_each(|target| target.hint(source, push.clone()));
            }
        }
        accepted(&id)
    }

    /// Logs why a delivery is refused, and returns the answer that is the same for all of them.
    fn refuse(&self, source: &str, why: Refused) -> Problem {
        self.target.iter().for_each(|target| target.refused(source, &why.to_string()));
        let source: String = source.chars().take(64).collect();
        match self.seen().refused.hit() {
            Some(1) => tracing::warn!("refused a webhook for {source:?}: {why}"),
            Some(count) => tracing::warn!("refused {count} webhooks, the last for {source:?}: {why}"),
            None => {}
        }
        unknown_sender()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").field("seen", &self.seen).finish_non_exhaustive()
    }
}

async fn receive(
    State(hooks): State<Hooks>,
    conn: ClientConn,
    Path(source): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let permit = conn.permit(RequestKind::Unproven)?;
    let response = hooks.deliver(&source, &headers, body).await;
    let response = response.unwrap_or_else(|problem| problem.into_response());
    Ok(response.map(|body| Body::new(PermitBody::new(body, permit))))
}

async fn receive_task(
    State(hooks): State<Hooks>,
    conn: ClientConn,
    Path(path): Path<String>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let tasks = hooks.tasks.filter(|_| path != "git" && !path.starts_with("git/"));
    let Some(tasks) = tasks else { return Err(unknown_path().await) };
    let (parts, body) = request.into_parts();
    tasks.answer(&conn, &path, &parts, body).await
}

async fn unknown_path() -> Problem {
    let detail = "webhooks of git are sent to /hooks/git/ and the source's name, those of tasks to /hooks/ and \
                  the path that the task declares: correct the URL at the sender";
    Problem::new(StatusCode::NOT_FOUND, "unknown-path", detail)
}

/// The answer to a delivery that is noted, or was before.
fn accepted(id: &str) -> Response {
    answer::json(StatusCode::ACCEPTED, &json!({ "delivery": id }))
}

fn unknown_sender() -> Problem {
    unauthorized(
        "there is no source of this name, or the secret is not its own: compare the URL, the kind and the \
         secret at the forge with the file of sources",
    )
}

/// An id for a delivery whose forge gives it none.
fn new_id() -> String {
    Uuid::new_v4().to_string()
}

#[cfg(test)]
mod tests;
