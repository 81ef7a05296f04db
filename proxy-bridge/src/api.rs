//! The API: deploys, what routers serve, the routers' events. Never reachable through the forwarding listener.

mod answer;
mod deploy;
mod projects;
mod stream;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::answer::{Answer, text};
use super::deploys::Deploys;
use super::metrics::{EventOutcome, MetricSource, Metrics};
use super::problem::Problem;
use super::routers::{EventReceipt, Routers};
use super::tokens::{Caller, Tokens};
use super::upload_limits::UploadLimits;
use switchyard_contract::bounds;
use switchyard_contract::deploy::Action;
use switchyard_contract::project::ProjectName;
use switchyard_contract::verifier::Verifier;
use switchyard_edge::connections::{self, Connection, Connections, Held, Kind, Permit};
use switchyard_edge::gate::{BodyKind, Gate};
use switchyard_edge::guarded::{self, ConnState, GuardedStream};

/// A connection costs some 20 KB. Each deploy has a request under way, and whoever follows logs a stream. Routers post
/// one event at a time each, and stream the same ones: what is refused here is not lost.
const LIMITS: connections::Limits =
    connections::Limits { streams: 512, requests: 320, unproven: 120, metrics: 8, reserve: 64 };

/// A head that takes longer is no client's that means well. It also is how long a connection may be idle: longer than
/// the 20 s that the proxies in examples/ingress keep one, so that theirs is the end that closes.
const HEAD_WITHIN: Duration = Duration::from_secs(30);

/// Whoever pages through a log may pause for minutes.
const READ_WITHIN: Duration = Duration::from_secs(300);

/// Tokens and idempotency keys are the longest that a head has.
const GUARD: guarded::Limits =
    guarded::Limits { max_head: 64 * 1024, head_timeout: HEAD_WITHIN, write_timeout: READ_WITHIN };

/// When the bridge stops, deploys are waited for; their answers are then written in less than this.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

const EVENT_WITHIN: Duration = Duration::from_secs(10);

/// What the API tells of, and whom it asks.
#[derive(Debug, Clone)]
pub struct Api {
    pub deploys: Deploys,
    pub routers: Routers,
    /// Keeps out requests that web pages of other sites send.
    pub gate: Arc<Gate>,
    pub tokens: Arc<Tokens>,
    pub verifier: Arc<Verifier>,
    pub metrics: Metrics,
    /// `None` without a forwarding listener.
    pub forward: Option<Arc<dyn MetricSource>>,
    pub limits: UploadLimits,
    /// True from when the bridge stops: nothing more is accepted, and what has no end is ended.
    pub stopping: watch::Receiver<bool>,
}

type Answered = Result<Answer, Problem>;

impl Api {
    /// Serves `listener` until the bridge stops; answers that are due then are still given, for a while.
    pub async fn serve(self, listener: TcpListener) {
        let connections = Connections::new(LIMITS);
        let mut tasks = JoinSet::new();
        let mut stop = self.stopping.clone();
        loop {
            tokio::select! {
                () = told(&mut stop) => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        tasks.spawn(self.clone().connection(stream, connections.enter()));
                    }
                    Err(error) => {
                        tracing::warn!("no connection can be accepted: {error}");
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                },
                Some(_) = tasks.join_next() => {}
            }
        }
        drop(listener);
        let ended = async { while tasks.join_next().await.is_some() {} };
        // Whoever does not read does not come to an end.
        let _ = timeout(LAST_ANSWERS, ended).await;
    }

    async fn connection(self, stream: TcpStream, open: Connection) {
        let mut stop = self.stopping.clone();
        // Latency only.
        let _ = stream.set_nodelay(true);
        // A sender whose upload is refused gets to read why.
        let (stream, state) = GuardedStream::new(stream, GUARD, ());
        let service =
            service_fn(|request| async { Ok::<_, Infallible>(self.handle(request, &open, &state).await) });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        // How a connection ends is the client's affair.
        tokio::select! {
            _ = connection.as_mut() => return,
            () = open.evicted() => return,
            () = told(&mut stop) => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }

    async fn handle(&self, request: Request<Incoming>, open: &Connection, state: &ConnState) -> Answer {
        if let Some(refusal) = state.begin() {
            return closing(answer::problem(&refusal.into()));
        }
        let (parts, body) = request.into_parts();
        let has_body = !body.is_end_stream();
        let mut body = Some(body);
        let answered = self.route(&parts, &mut body, open).await;
        let is_unread = has_body && (answered.is_err() || body.is_some());
        let answer = answered.unwrap_or_else(|problem| {
            tracing::debug!(status = problem.status.as_u16(), "refused: {}", problem.detail());
            answer::problem(&problem)
        });
        state.answer();
        // Nothing is read in another way behind what was offered to be another protocol.
        let leads_away = parts.headers.contains_key(UPGRADE) || parts.method == Method::CONNECT;
        if is_unread || leads_away { closing(answer) } else { answer }
    }

    /// Whoever needs the body takes it.
    async fn route(&self, parts: &Parts, body: &mut Option<Incoming>, open: &Connection) -> Answered {
        let path = parts.uri.path();
        let segments: Vec<_> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
        let get = parts.method == Method::GET;
        let post = parts.method == Method::POST;
        match segments[..] {
            ["healthz"] if get => return Ok(text(StatusCode::OK, "ok\n")),
            ["readyz"] if get => return Ok(self.ready()),
            // Its signature says who sends it, and routers come under the bridge's name among them.
            ["events"] if post => {
                let permit = open.permit(Kind::Unproven)?;
                return self.event(parts, body.take()).await.map(|answer| held(answer, permit));
            }
            _ => {}
        }
        let caller = self.tokens.caller(&parts.headers)?;
        self.gate.check(parts, caller.name().is_some())?;
        let kind = match segments[..] {
            ["projects", _, "logs"] => Kind::Stream,
            ["metrics"] => Kind::Metrics,
            _ => Kind::Request,
        };
        let permit = open.permit(kind)?;
        let answered = match segments[..] {
            ["metrics"] if get => Ok(projects::metrics(self)),
            ["deploy"] if post => self.upload(parts, body, &caller, None).await,
            ["deploy", name] if post => self.upload(parts, body, &caller, Some(project(name)?)).await,
            ["deploys"] if get => Ok(self.all_deploys(&caller)),
            ["deploys", id] if get => self.one_deploy(&caller, id),
            ["projects"] if get => Ok(projects::all(self, &caller)),
            ["routers"] if get => Ok(projects::routers(self)),
            ["projects", name] if get => projects::one(self, &caller, &project(name)?),
            ["projects", name] if parts.method == Method::DELETE => {
                self.remove(parts, &caller, project(name)?).await
            }
            ["projects", name, "versions"] if get => projects::versions(self, &caller, &project(name)?).await,
            ["projects", name, "rollback"] if post => self.rollback(parts, &caller, project(name)?).await,
            ["projects", name, "logs"] if get => {
                projects::logs(self, &caller, &project(name)?, parts.uri.query()).await
            }
            _ => Err(nothing_here(&segments)),
        };
        answered.map(|answer| held(answer, permit))
    }

    fn ready(&self) -> Answer {
        if self.routers.all().iter().any(|router| router.is_ready()) {
            text(StatusCode::OK, "ready\n")
        } else {
            text(StatusCode::SERVICE_UNAVAILABLE, "no router is ready\n")
        }
    }

    async fn event(&self, parts: &Parts, body: Option<Incoming>) -> Answered {
        let refuse = |status, slug, detail: String| {
            self.metrics.event(EventOutcome::refused);
            Problem::new(status, slug, detail)
        };
        BodyKind::Json("EVENT").check(parts).inspect_err(|_| self.metrics.event(EventOutcome::refused))?;
        let body = body.map(|body| Limited::new(body, bounds::POSTED_EVENT).collect());
        let Some(body) = body else { return Ok(answer::empty(StatusCode::BAD_REQUEST)) };
        let body: Bytes = match timeout(EVENT_WITHIN, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) => {
                let detail = format!("the event cannot be read: {error}");
                return Err(refuse(StatusCode::BAD_REQUEST, "bad-request", detail));
            }
            Err(_) => {
                return Err(refuse(
                    StatusCode::REQUEST_TIMEOUT,
                    "upload-timeout",
                    "the event came too slowly".into(),
                ));
            }
        };
        let verified = self.verifier.verify(&parts.headers, &body).map_err(|error| {
            tracing::warn!("an event is not believed: {error}");
            refuse(StatusCode::UNAUTHORIZED, "unauthorized", format!("the event is not believed: {error}"))
        })?;
        self.metrics.event(match self.routers.take(&verified) {
            EventReceipt::Applied => EventOutcome::applied,
            EventReceipt::Duplicate => EventOutcome::duplicate,
            EventReceipt::UnknownRouter => EventOutcome::unknown_router,
        });
        Ok(answer::empty(StatusCode::NO_CONTENT))
    }
}

/// The answer, as the last one of its connection.
fn closing(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// The answer, which keeps its permit until the last of it is out.
fn held(answer: Answer, permit: Permit) -> Answer {
    answer.map(|body| Held::new(body, permit).boxed_unsync())
}

/// Resolves when `stop` says so, or whoever could say so is gone.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn project(name: &str) -> Result<ProjectName, Problem> {
    ProjectName::parse(name).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, "bad-request", error.to_string()).with("field", "project")
    })
}

fn nothing_here(segments: &[&str]) -> Problem {
    let allowed = match segments {
        ["healthz" | "readyz" | "metrics" | "deploys" | "routers"]
        | ["deploys", _]
        | ["projects"]
        | ["projects", _, "versions" | "logs"] => "GET",
        ["events" | "deploy"] | ["deploy", _] | ["projects", _, "rollback"] => "POST",
        ["projects", _] => "GET, DELETE",
        _ => return Problem::new(StatusCode::NOT_FOUND, "unknown-path", "there is nothing at this path"),
    };
    let detail = format!("use {}", allowed.replace(", ", " or "));
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail).with("allow", allowed)
}

/// The value of `name` in a query, percent-decoded.
fn query(query: Option<&str>, name: &str) -> Option<String> {
    let pairs = query?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.into_iter().find(|(key, _)| *key == name)?;
    Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
}

/// A switch in a query: `1` or `true`, `0` or `false`, absent: `default`.
fn switch(text: Option<&str>, name: &'static str, default: bool) -> Result<bool, Problem> {
    match query(text, name).as_deref() {
        None => Ok(default),
        Some("1" | "true" | "") => Ok(true),
        Some("0" | "false") => Ok(false),
        Some(other) => {
            let detail = format!("{name}={other:?} is neither 0 nor 1");
            Err(Problem::new(StatusCode::BAD_REQUEST, "bad-request", detail).with("field", name))
        }
    }
}

/// # Errors
/// 403 unless `caller` may read of `project`.
fn readable(caller: &Caller, project: &ProjectName) -> Result<(), Problem> {
    caller.check(Action::Read, project)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_by_name_and_decoded() {
        let text = Some("wait=0&to=a%20b&keep");
        assert_eq!(query(text, "to").as_deref(), Some("a b"));
        assert_eq!(query(text, "other"), None);
        assert_eq!(switch(text, "wait", true), Ok(false));
        assert_eq!(switch(text, "keep", false), Ok(true));
        assert_eq!(switch(None, "wait", true), Ok(true));
        assert!(switch(Some("wait=maybe"), "wait", true).is_err());
    }
}
