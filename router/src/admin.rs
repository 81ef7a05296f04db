//! The admin listener: health, the state of projects, reloads on request, events, metrics. Never
//! reachable through the public one.

mod answer;
mod metrics;
mod stream;

use std::convert::Infallible;
use std::sync::Arc;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use switchyard_bridge::admin::{Outcome, Projects, Reports};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use self::answer::{Answer, json, problem, text};
use crate::cells::Cells;
use crate::live::{Board, Command, Commands, Events, Live};
use crate::metrics::Metrics;

/// Connections at once; the next one waits to be accepted. Each event follower holds one.
const MAX_CONNECTIONS: usize = 256;

/// What the admin listener tells of, and whom it asks.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) board: Arc<Board>,
    pub(crate) live: Arc<Live>,
    pub(crate) events: Arc<Events>,
    pub(crate) cells: Arc<Cells>,
    pub(crate) metrics: Metrics,
    pub(crate) commands: Commands,
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
        let service = service_fn(move |request| {
            let admin = self.clone();
            async move { Ok::<_, Infallible>(admin.handle(request).await) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new());
        // How a connection ends is the client's affair.
        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    }

    async fn handle(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path();
        let (allowed, answer) = match path {
            "/healthz" => (Method::GET, Some(text(StatusCode::OK, "ok\n"))),
            "/readyz" => (Method::GET, Some(self.ready())),
            "/metrics" => (Method::GET, Some(metrics::answer(self))),
            "/projects" => (Method::GET, Some(self.projects())),
            "/events" => (Method::GET, Some(stream::follow(&self.events, request.headers()))),
            "/_reload" => (Method::POST, None),
            _ if path.starts_with("/_reload/") => (Method::POST, None),
            _ => match path.strip_prefix("/projects/") {
                Some(name) => (Method::GET, Some(self.project(name))),
                None => {
                    return problem(StatusCode::NOT_FOUND, "unknown-path", "there is nothing at this path");
                }
            },
        };
        if *request.method() != allowed {
            return problem(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", &format!("use {allowed}"));
        }
        match answer {
            Some(answer) => answer,
            None => self.reload(path.strip_prefix("/_reload/")).await,
        }
    }

    fn ready(&self) -> Answer {
        if self.board.is_ready() {
            text(StatusCode::OK, "ready\n")
        } else {
            text(StatusCode::SERVICE_UNAVAILABLE, "the scan at start is not done\n")
        }
    }

    fn projects(&self) -> Answer {
        let router = self.events.router().to_owned();
        json(StatusCode::OK, &Projects { router, projects: self.board.all() })
    }

    fn project(&self, name: &str) -> Answer {
        match self.board.one(name) {
            Some(status) => json(StatusCode::OK, &status),
            None => unknown(name),
        }
    }

    async fn reload(&self, name: Option<&str>) -> Answer {
        let stopped = || problem(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the router is stopping");
        let Some(name) = name else {
            let (answer, reports) = oneshot::channel();
            let sent = self.commands.send(Command::ReloadAll { answer }).await;
            return match (sent, reports.await) {
                (Ok(()), Ok(projects)) => json(StatusCode::OK, &Reports { projects }),
                _ => stopped(),
            };
        };
        let (answer, report) = oneshot::channel();
        let sent = self.commands.send(Command::Reload { project: name.to_owned(), answer }).await;
        match (sent, report.await) {
            (Ok(()), Ok(report)) if report.outcome == Outcome::Unknown => unknown(name),
            (Ok(()), Ok(report)) => json(StatusCode::OK, &report),
            _ => stopped(),
        }
    }
}

fn unknown(name: &str) -> Answer {
    problem(StatusCode::NOT_FOUND, "unknown-project", &format!("there is no project {name:?}"))
}
