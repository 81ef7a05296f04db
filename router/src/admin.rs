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

use http::header::WWW_AUTHENTICATE;
use http::request::Parts;
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::answer::{Answer, problem, text};
use self::inspect::Switched;
use self::target::Target;
pub(crate) use self::tokens::Tokens;
use crate::cells::Cells;
use crate::checkout::Store;
use crate::inspect::Inspectable;
use crate::live::{Board, Commands, Events, Lines, Live};
use crate::metrics::Metrics;

/// Connections at once; the next one waits to be accepted. Each event follower holds one.
const MAX_CONNECTIONS: usize = 256;

/// A client whose machine has not answered for so long is gone.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// What the admin listener tells of, and whom it asks.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) board: Arc<Board>,
    pub(crate) live: Arc<Live>,
    pub(crate) events: Arc<Events>,
    pub(crate) lines: Arc<Lines>,
    pub(crate) store: Arc<Store>,
    pub(crate) cells: Arc<Cells>,
    pub(crate) metrics: Metrics,
    pub(crate) commands: Commands,
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
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let permit = permits.clone().acquire_owned().await;
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let admin = self.clone();
                        connections.spawn(async move {
                            admin.connection(stream).await;
                            drop(permit);
                        });
                    }
                    Err(error) => {
                        tracing::warn!("no admin connection can be accepted: {error}");
                        tokio::task::yield_now().await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    async fn connection(self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        notice_lost_client(&stream);
        let switched = Switched::default();
        let service =
            service_fn(|request| async { Ok::<_, Infallible>(self.handle(request, &switched).await) });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new());
        // How a connection ends is the client's affair.
        let _ = builder.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        let tunnel = switched.lock().expect("no holder of this lock panics").take();
        if let Some(tunnel) = tunnel {
            tunnel.run().await;
        }
    }

    async fn handle(&self, request: Request<Incoming>, switched: &Switched) -> Answer {
        let (parts, body) = request.into_parts();
        let target = Target::of(parts.uri.path());
        if !self.admits(target, &parts) {
            return unauthorized();
        }
        let Some(target) = target else {
            return problem(StatusCode::NOT_FOUND, "unknown-path", "there is nothing at this path");
        };
        let allowed = target.method();
        if parts.method != allowed {
            return problem(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", &format!("use {allowed}"));
        }
        match target {
            Target::Health => text(StatusCode::OK, "ok\n"),
            Target::Ready => self.ready(),
            Target::Metrics => metrics::answer(self),
            Target::Events => stream::follow(&self.events, &parts.headers),
            Target::Projects => self.projects(parts.uri.query()),
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
            Target::Protocol => self.protocol(&parts.headers),
            Target::Attachable => self.attachable(&parts.headers),
            Target::Inspect(name, cell) => {
                let (name, cell) = (name.to_owned(), cell.map(str::to_owned));
                self.inspect(&name, cell.as_deref(), parts, switched).await
            }
        }
    }

    fn admits(&self, target: Option<Target<'_>>, request: &Parts) -> bool {
        let Some(tokens) = &self.tokens else { return true };
        let in_query = || request.uri.query().is_some_and(|query| tokens.admit_query(query));
        target.is_some_and(Target::is_free)
            || tokens.admit(&request.headers)
            || (target.is_some_and(Target::takes_token_in_query) && in_query())
    }

    fn ready(&self) -> Answer {
        match self.board.ready() {
            Ok(()) => {
                let lacks = self.board.lacks().iter().map(|what| format!("lacks {what}\n"));
                text(StatusCode::OK, format!("ready\n{}", lacks.collect::<String>()))
            }
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        }
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

fn unauthorized() -> Answer {
    let detail = "send a token of the router's --admin-token-file: authorization: Bearer <token>";
    let mut answer = problem(StatusCode::UNAUTHORIZED, "unauthorized", detail);
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    answer
}
