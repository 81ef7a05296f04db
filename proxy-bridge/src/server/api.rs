//! The API: deploys, what routers serve, the routers' events. Never reachable through the forwarding listener.

mod answer;
mod deploy;
mod projects;
mod stream;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, ORIGIN};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::answer::{Answer, text};
use super::deploys::Deploys;
use super::forward;
use super::metrics::{EventOutcome, Metrics};
use super::problem::Problem;
use super::routers::{Routers, Taken};
use super::tokens::{Caller, Tokens};
use super::upload::Limits;
use crate::edge::lingering::{Lingering, Unread};
use crate::project::ProjectName;
use crate::verifier::Verifier;

/// Connections at once; the next one waits to be accepted. Each deploy and each follower holds one.
const MAX_CONNECTIONS: usize = 1024;

/// A head that takes longer is no client's that means well. It also is how long a connection may be idle: longer than
/// the 20 s that the proxies in examples/ingress keep one, so that theirs is the end that closes.
const HEAD_WITHIN: Duration = Duration::from_secs(30);

/// When the bridge stops, deploys are waited for; their answers are then written in less than this.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// An event is half a kilobyte, and a diagnostic with a frame a few.
const MAX_EVENT: usize = 256 * 1024;

const EVENT_WITHIN: Duration = Duration::from_secs(10);

/// What the API tells of, and whom it asks.
#[derive(Debug, Clone)]
pub struct Api {
    pub deploys: Deploys,
    pub routers: Routers,
    pub tokens: Arc<Tokens>,
    pub verifier: Arc<Verifier>,
    pub metrics: Metrics,
    /// `None` without a forwarding listener.
    pub forward: Option<Arc<forward::Metrics>>,
    pub limits: Limits,
    /// True from when the bridge stops: nothing more is accepted, and what has no end is ended.
    pub stopping: watch::Receiver<bool>,
}

type Answered = Result<Answer, Problem>;

impl Api {
    /// Serves `listener` until the bridge stops; answers that are due then are still given, for a while.
    pub async fn serve(self, listener: TcpListener) {
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        let mut stop = self.stopping.clone();
        loop {
            let accepted = async {
                let permit = permits.clone().acquire_owned().await;
                (permit, listener.accept().await)
            };
            tokio::select! {
                () = told(&mut stop) => break,
                (permit, accepted) = accepted => match accepted {
                    Ok((stream, _)) => {
                        let api = self.clone();
                        connections.spawn(async move {
                            api.connection(stream).await;
                            drop(permit);
                        });
                    }
                    Err(error) => {
                        tracing::warn!("no connection can be accepted: {error}");
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
        drop(listener);
        let ended = async { while connections.join_next().await.is_some() {} };
        // Whoever does not read does not come to an end.
        let _ = timeout(LAST_ANSWERS, ended).await;
    }

    async fn connection(self, stream: TcpStream) {
        let mut stop = self.stopping.clone();
        // Latency only.
        let _ = stream.set_nodelay(true);
        // A sender whose upload is refused gets to read why.
        let (stream, unread) = Lingering::new(stream);
        let service = service_fn(move |request| {
            let (api, unread) = (self.clone(), unread.clone());
            async move { Ok::<_, Infallible>(api.handle(request, &unread).await) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        // How a connection ends is the client's affair.
        tokio::select! {
            _ = connection.as_mut() => return,
            () = told(&mut stop) => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }

    async fn handle(&self, request: Request<Incoming>, unread: &Unread) -> Answer {
        let (parts, body) = request.into_parts();
        let has_body = !body.is_end_stream();
        let answered = self.route(&parts, &mut Some(body)).await;
        answered.unwrap_or_else(|problem| {
            tracing::debug!(status = problem.status.as_u16(), "refused: {}", problem.detail());
            let mut answer = answer::problem(&problem);
            if has_body {
                unread.note();
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            answer
        })
    }

    /// Whoever needs the body takes it.
    async fn route(&self, parts: &http::request::Parts, body: &mut Option<Incoming>) -> Answered {
        let path = parts.uri.path();
        let segments: Vec<_> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
        let get = parts.method == Method::GET;
        let post = parts.method == Method::POST;
        match segments[..] {
            ["healthz"] if get => return Ok(text(StatusCode::OK, "ok\n")),
            ["readyz"] if get => return Ok(self.ready()),
            ["events"] if post => return self.event(&parts.headers, body.take()).await,
            _ => {}
        }
        same_site(&parts.headers)?;
        let caller = self.tokens.caller(&parts.headers)?;
        match segments[..] {
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
        }
    }

    fn ready(&self) -> Answer {
        if self.routers.all().iter().any(|router| router.is_ready()) {
            text(StatusCode::OK, "ready\n")
        } else {
            text(StatusCode::SERVICE_UNAVAILABLE, "no router is ready\n")
        }
    }

    async fn event(&self, headers: &HeaderMap, body: Option<Incoming>) -> Answered {
        let refuse = |status, slug, detail: String| {
            self.metrics.event(EventOutcome::refused);
            Problem::new(status, slug, detail)
        };
        let body = body.map(|body| Limited::new(body, MAX_EVENT).collect());
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
        let verified = self.verifier.verify(headers, &body).map_err(|error| {
            tracing::warn!("an event is not believed: {error}");
            refuse(StatusCode::UNAUTHORIZED, "unauthorized", format!("the event is not believed: {error}"))
        })?;
        self.metrics.event(match self.routers.take(&verified) {
            Taken::Applied => EventOutcome::applied,
            Taken::Duplicate => EventOutcome::duplicate,
            Taken::UnknownRouter => EventOutcome::unknown_router,
        });
        Ok(answer::empty(StatusCode::NO_CONTENT))
    }
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

/// A page of another site can have a visitor's browser send a form here; without tokens that would be a deploy.
fn same_site(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let from = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    if from.is_some() && from == host {
        return Ok(());
    }
    let detail = "this is a browser's request from another site: send it from the bridge's own address, or without a browser";
    Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail).with("field", "origin"))
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
    caller.check(super::tokens::Action::Read, project)
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

    #[test]
    fn a_form_on_another_site_is_refused() {
        let headers = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "127.0.0.1:9000".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            headers
        };
        assert!(same_site(&headers(None)).is_ok());
        assert!(same_site(&headers(Some("http://127.0.0.1:9000"))).is_ok());
        assert!(same_site(&headers(Some("https://example.com"))).is_err());
        assert!(same_site(&headers(Some("null"))).is_err());
    }
}
