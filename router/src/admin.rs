//! The admin listener: health, the state of projects, reloads on request, deploys, events, logs,
//! checkouts, metrics. Never reachable through the public one.

mod answer;
mod checkouts;
mod deploys;
mod inspect;
mod logs;
mod metrics;
mod projects;
mod stream;
mod target;
mod tokens;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, CONNECTION, UPGRADE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt;
use switchyard_edge::connections::{Connection, Connections, Held, Kind, Limits, Permit};
use switchyard_edge::gate::{self, Gate};
use switchyard_edge::guarded::{self, ConnState, GuardedStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};

use self::answer::{Answer, problem, text};
use self::inspect::Switched;
use self::target::Target;
pub(crate) use self::tokens::Tokens;
use crate::cells::Cells;
use crate::checkout::Store;
use crate::inspect::Inspectable;
use crate::live::{Commands, Events, Live, LogBuffer, StatusBoard};
use crate::metrics::Metrics;

/// A connection costs some 20 KB. A bridge follows one stream and asks one thing for each deploy that is
/// under way; the rest are people and tools.
const LIMITS: Limits = Limits { streams: 256, requests: 216, unproven: 0, metrics: 8, reserve: 32 };

/// A head that takes longer is no client's that means well. It also is how long a connection may be idle.
const HEAD_WITHIN: Duration = Duration::from_secs(30);

/// Whoever pages through a log may pause for minutes.
const READ_WITHIN: Duration = Duration::from_secs(300);

/// Names of projects and tokens are the longest that a head has.
const GUARD: guarded::StreamLimits =
    guarded::StreamLimits { max_head: 64 * 1024, head_timeout: HEAD_WITHIN, write_timeout: READ_WITHIN };

/// A moment for descriptors to come free, when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// A client whose machine has not answered for so long is gone.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// What the admin listener tells of, and whom it asks.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) board: Arc<StatusBoard>,
    pub(crate) live: Arc<Live>,
    pub(crate) events: Arc<Events>,
    pub(crate) logs: Arc<LogBuffer>,
    pub(crate) store: Arc<Store>,
    pub(crate) cells: Arc<Cells>,
    pub(crate) metrics: Metrics,
    pub(crate) commands: Commands,
    /// Keeps out requests that web pages of other sites send.
    pub(crate) gate: Arc<Gate>,
    /// `None`: everybody who can connect may ask.
    pub(crate) tokens: Option<Arc<Tokens>>,
    /// Checkouts that are sent at once.
    pub(crate) sends: Arc<Semaphore>,
    /// Which projects debuggers may attach to.
    pub(crate) inspect: Inspectable,
    /// Packages are fetched here (`--allow-install`).
    pub(crate) installs: bool,
}

impl Admin {
    /// Serves `listener` until it is dropped, and all its connections with it.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let connections = Connections::new(LIMITS);
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        tasks.spawn(self.clone().connection(stream, connections.enter()));
                    }
                    Err(error) => {
                        tracing::warn!("no admin connection can be accepted: {error}");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = tasks.join_next() => {}
            }
        }
    }

    async fn connection(self, stream: TcpStream, open: Connection) {
        let _ = stream.set_nodelay(true);
        notice_lost_client(&stream);
        let switched = Switched::default();
        let (stream, state) = GuardedStream::new(stream, GUARD, ());
        let service = service_fn(|request| async {
            Ok::<_, Infallible>(self.take(request, &open, &switched, &state).await)
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
        let served = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
        // How a connection ends is the client's affair.
        tokio::select! {
            _ = served => {}
            () = open.evicted() => return,
        }
        let tunnel = switched.lock().expect("no holder of this lock panics").take();
        if let Some(tunnel) = tunnel {
            tunnel.run().await;
        }
    }

    /// Answers what can be read in one way, and ends the connection where it cannot go on.
    async fn take(
        &self,
        request: Request<Incoming>,
        open: &Connection,
        switched: &Switched,
        state: &ConnState,
    ) -> Answer {
        if let Some(refusal) = state.begin() {
            return closing(problem(refusal.status(), refusal.slug(), refusal.rule()));
        }
        let leads_away = request.headers().contains_key(UPGRADE) || request.method() == Method::CONNECT;
        let has_body = !request.body().is_end_stream();
        let answer = self.handle(request, open, switched).await;
        state.answer();
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            state.switch();
            return answer;
        }
        let may_be_unread = has_body && !answer.status().is_success();
        if leads_away || may_be_unread { closing(answer) } else { answer }
    }

    async fn handle(&self, request: Request<Incoming>, open: &Connection, switched: &Switched) -> Answer {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let target = Target::of(&path);
        if let Some(refused) = self.refusal(target, &parts) {
            return refused;
        }
        let Some(target) = target else {
            return problem(StatusCode::NOT_FOUND, "unknown-path", "there is nothing at this path");
        };
        let allowed = target.method();
        if parts.method != allowed {
            return wrong_method(&allowed);
        }
        if let Err(refusal) = target.body_kind().check(&parts) {
            return refused(&refusal);
        }
        let kind = match target {
            Target::Health => return text(StatusCode::OK, "ok\n"),
            Target::Ready => return self.ready(),
            Target::Metrics => Kind::Metrics,
            _ if target.is_stream() => Kind::Stream,
            _ => Kind::Request,
        };
        match open.permit(kind).map(Arc::new) {
            Ok(permit) => {
                let answer = self.answer(target, parts, body, &permit, switched).await;
                answer.map(|body| Held::new(body, permit).boxed_unsync())
            }
            Err(busy) => deploys::busy(&busy.to_string()),
        }
    }

    async fn answer(
        &self,
        target: Target<'_>,
        parts: Parts,
        body: Incoming,
        permit: &Arc<Permit>,
        switched: &Switched,
    ) -> Answer {
        match target {
            Target::Health => text(StatusCode::OK, "ok\n"),
            Target::Ready => self.ready(),
            Target::Metrics => self.beside(metrics::answer).await,
            Target::Events => stream::follow(&self.events, &parts.headers),
            Target::Projects => {
                let query = parts.uri.query().unwrap_or_default().to_owned();
                self.beside(move |admin| admin.projects(&query)).await
            }
            Target::Project(name) => self.project(name),
            Target::Checkouts(name) => self.checkouts(name, parts.uri.query()).await,
            Target::Checkout(name, short) => self.checkout(name, short, parts.uri.query()).await,
            Target::Logs(name) => self.logs(name, parts.uri.query()),
            Target::ReloadAll => self.reload_all().await,
            Target::Reload(name) => self.reload(name).await,
            Target::Deploys => self.hold(body).await,
            Target::Deploy(id) => self.release(id).await,
            Target::Build(id) => self.build(id).await,
            Target::Publish(id) => self.publish(id).await,
            Target::Protocol => self.protocol(&parts),
            Target::Attachable => self.attachable(&parts),
            Target::Inspect(name, cell) => {
                let (name, cell) = (name.to_owned(), cell.map(str::to_owned));
                self.inspect(&name, cell.as_deref(), parts, permit, switched).await
            }
        }
    }

    /// The answer to a request that does not come from whoever may send it. Health is answered to
    /// everybody: it says nothing that is secret, and probes come under any name.
    fn refusal(&self, target: Option<Target<'_>>, request: &Parts) -> Option<Answer> {
        if target.is_some_and(Target::is_free) {
            return None;
        }
        if !self.has_token(target, request) {
            return Some(unauthorized());
        }
        self.gate.check(request, self.tokens.is_some()).err().map(|refusal| refused(&refusal))
    }

    /// Whether the request has a token, where one is needed.
    fn has_token(&self, target: Option<Target<'_>>, request: &Parts) -> bool {
        let Some(tokens) = &self.tokens else { return true };
        let in_query = || request.uri.query().is_some_and(|query| tokens.admit_query(query));
        tokens.admit(&request.headers) || (target.is_some_and(Target::takes_token_in_query) && in_query())
    }

    fn ready(&self) -> Answer {
        match self.board.ready() {
            Ok(()) => {
                let gaps = self.board.gaps().into_iter().map(|missing| format!("missing {missing}\n"));
                text(StatusCode::OK, format!("ready\n{}", gaps.collect::<String>()))
            }
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        }
    }

    /// Has an answer made beside this thread: one about all projects takes a while.
    async fn beside(&self, answer: impl FnOnce(&Self) -> Answer + Send + 'static) -> Answer {
        let admin = self.clone();
        let made = spawn_blocking(move || answer(&admin)).await;
        made.unwrap_or_else(|panic| {
            problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", &panic.to_string())
        })
    }
}

/// Has the kernel find out when nobody is there any more: a client that is gone without a word would hold its connection for
/// ever, and what it has stopped.
fn notice_lost_client(stream: &TcpStream) {
    let set = sockopt::set_socket_keepalive(stream, true)
        .and_then(|()| sockopt::set_tcp_keepidle(stream, LOST_AFTER / 2))
        .and_then(|()| sockopt::set_tcp_keepintvl(stream, LOST_AFTER / 6))
        .and_then(|()| sockopt::set_tcp_keepcnt(stream, 3))
        .and_then(|()| sockopt::set_tcp_user_timeout(stream, LOST_AFTER.as_millis() as u32));
    if let Err(error) = set {
        tracing::debug!("a lost client of the admin listener may not be noticed: {error}");
    }
}

/// How many checkouts may be sent at once.
pub(crate) fn sends() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(checkouts::MAX_SENDS))
}

fn unknown(name: &str) -> Answer {
    problem(StatusCode::NOT_FOUND, "unknown-project", &format!("there is no project {name:?}"))
}

fn refused(refusal: &gate::Refusal) -> Answer {
    problem(refusal.status(), refusal.slug(), &refusal.to_string())
}

/// The answer, as the last one of its connection.
fn closing(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn wrong_method(allowed: &Method) -> Answer {
    let detail = format!("use {allowed}");
    let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", &detail);
    answer.headers_mut().extend(HeaderValue::from_str(allowed.as_str()).ok().map(|allow| (ALLOW, allow)));
    answer
}

fn unauthorized() -> Answer {
    let detail = "send a token of the router's --admin-token-file: authorization: Bearer <token>";
    let mut answer = problem(StatusCode::UNAUTHORIZED, "unauthorized", detail);
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    answer
}
