//! The accept loop of an API: limits on connections and slow clients, and an orderly end.

use std::any::Any;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::{ALLOW, CONNECTION, UPGRADE};
use http::{HeaderValue, Method, Request, StatusCode};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower_http::catch_panic::CatchPanicLayer;

use super::body::TrackedBody;
use super::connection::ClientConn;
use crate::accept::Acceptor;
use crate::connections::{Connection, ConnectionLimits, Connections};
use crate::guarded::{self, ConnState, GuardedStream};
use crate::problem::Problem;
use crate::socket::{Listener, Stream};
use crate::tls::Tls;

/// A listener whose requests an axum router answers.
#[derive(Debug, Clone, Copy)]
pub struct ApiListener {
    /// The name in log lines.
    pub name: &'static str,
    /// The limits on connections and requests.
    pub connections: ConnectionLimits,
    /// The limits on slow clients and large heads. A connection may be idle for the head timeout.
    pub guard: guarded::StreamLimits,
    /// Sets options of a new connection's socket.
    pub prepare: fn(&Stream),
    /// The time for which answers under way may go on after the stop.
    pub grace: Duration,
}

impl ApiListener {
    /// Serves `listener` until `stop` is true or its sender is gone, and then for the grace period.
    /// Dropping the future cuts all connections off.
    pub async fn serve(self, listener: Listener, app: Router, mut stop: watch::Receiver<bool>) {
        let app = app.layer(CatchPanicLayer::custom(panicked));
        let connections = Connections::new(self.connections);
        let mut tasks = JoinSet::new();
        let tls = listener.tls().cloned();
        let mut acceptor = match Acceptor::new(self.name, listener) {
            Ok(acceptor) => acceptor,
            Err(error) => return tracing::error!("{}: cannot use the listener: {error}", self.name),
        };
        loop {
            tokio::select! {
                () = stopped(&mut stop) => break,
                (stream, peer) = acceptor.accept() => {
                    let connection = connections.enter(peer.ip());
                    tasks.spawn(self.connection((stream, tls.clone()), connection, app.clone(), stop.clone()));
                }
                Some(_) = tasks.join_next() => {}
            }
        }
        drop(acceptor);
        let ended = async { while tasks.join_next().await.is_some() {} };
        // Clients that do not read their answer would hold up the stop.
        let _ = timeout(self.grace, ended).await;
    }

    async fn connection(
        self,
        (stream, tls): (Stream, Option<Tls>),
        connection: Connection,
        app: Router,
        mut stop: watch::Receiver<bool>,
    ) {
        stream.set_nodelay();
        (self.prepare)(&stream);
        let secured = tokio::select! {
            secured = stream.secure(tls.as_ref(), self.guard.head_timeout) => secured,
            // Nothing of a request has come.
            () = stopped(&mut stop) => return,
        };
        // The error of a connection is the client's affair.
        let Ok(stream) = secured else { return };
        let conn = ClientConn::new(connection);
        let (stream, state) = GuardedStream::new(stream, self.guard, ());
        let app = TowerToHyperService::new(app);
        let service = service_fn(|request| {
            let (app, conn, state) = (app.clone(), conn.clone(), state.clone());
            async move { Ok::<_, Infallible>(respond(app, conn, &state, request).await) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(self.guard.head_timeout);
        let served = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
        tokio::pin!(served);
        // The error of a connection is the client's affair.
        tokio::select! {
            _ = served.as_mut() => {}
            () = conn.evicted() => return,
            () = stopped(&mut stop) => {
                served.as_mut().graceful_shutdown();
                let _ = served.await;
                return;
            }
        }
        if let Some(tunnel) = conn.take_tunnel() {
            tunnel.await;
        }
    }
}

/// Resolves when `stop` is true or its sender is gone.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Answers a request, and ends the connection where no further request can be read from it.
async fn respond(
    app: TowerToHyperService<Router>,
    conn: ClientConn,
    state: &ConnState,
    request: Request<Incoming>,
) -> Response {
    if let Some(refusal) = state.begin() {
        return closing(Problem::from(refusal).into_response());
    }
    // Nothing is read as a request behind an offer to switch protocols.
    let leads_away = request.headers().contains_key(UPGRADE) || request.method() == Method::CONNECT;
    let is_read = Arc::new(AtomicBool::new(request.body().is_end_stream()));
    let mut request = request.map(|body| Body::new(TrackedBody::new(body, is_read.clone())));
    request.extensions_mut().insert(conn);
    if request.method() == Method::HEAD {
        // axum would call the handler of GET, and its answer may be a stream without an end.
        *request.method_mut() = UNSUPPORTED.parse().expect("it is a token");
    }
    let Ok(response) = app.call(request).await;
    state.answer();
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        state.switch();
        return response;
    }
    let response = match response.status() {
        StatusCode::METHOD_NOT_ALLOWED => method_not_allowed(&response),
        _ => response,
    };
    if leads_away || !is_read.load(Relaxed) { closing(response) } else { response }
}

/// A method that no endpoint has.
const UNSUPPORTED: &str = "UNSUPPORTED";

/// Returns axum's answer to a wrong method as a problem document.
fn method_not_allowed(response: &Response) -> Response {
    let allow = response.headers().get(ALLOW).and_then(|allow| allow.to_str().ok()).unwrap_or_default();
    let allowed: Vec<_> = allow.split(',').filter(|method| *method != "HEAD").collect();
    let detail = format!("use {}", allowed.join(" or "));
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail);
    let allowed = allowed.join(", ");
    match HeaderValue::from_str(&allowed) {
        Ok(value) => problem.with("allow", allowed).with_header(ALLOW, value).into_response(),
        Err(_) => problem.into_response(),
    }
}

/// Makes the answer the last one of its connection.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The answer when a handler panicked. The panic hook has logged why.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    let detail = "an error in Switchyard itself: its log says more";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail).into_response()
}

#[cfg(test)]
mod tests;
