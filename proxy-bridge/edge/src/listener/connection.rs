//! One connection of a client: its requests, and the tunnel that it may become.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use switchyard_contract::bounds::MAX_HEADERS;
use tokio::sync::watch;
use tokio::task::spawn_local;

use super::accepted::{Accepted, Worker};
use super::direct::{self, Rest};
use super::limiter::ConnectionPermit;
use super::tracker::{ConnectionTracker, InFlightRequest, TrackedBody};
use super::{Caller, Handler, HandlerBody as _, ListenerLimits};
use crate::forwarded::Client;
use crate::framing::Framing;
use crate::guarded::{Begun, ConnState, GuardedStream, StreamLimits};

/// Concurrent requests of one HTTP/2 connection: RFC 9113 (6.5.2) recommends no less.
const MAX_STREAMS: u32 = 100;

/// Streams of an HTTP/2 client that may be reset because of its errors before the connection is
/// closed: a correct client causes none.
const MAX_RESET_STREAMS: usize = 100;

/// Serves a connection to its end. After a stop it ends once its requests in flight have.
pub(super) async fn serve<H: Handler>(
    accepted: Accepted,
    worker: Rc<Worker<H>>,
    stop: watch::Receiver<Option<Duration>>,
) {
    let Accepted { stream, peer, permit, load: _load } = accepted;
    let mut stopping = stop.clone();
    // This fails only where a thread has no descriptors left; the client sees a closed connection.
    let Ok(stream) = stream.attach() else { return };
    stream.set_nodelay();
    let Ok(local) = stream.local_addr() else { return };
    let stream = tokio::select! {
        stream = stream.secure(worker.tls.as_ref(), worker.limits.head_timeout) => stream,
        // Nothing of a request has come.
        _ = stopping.wait_for(Option::is_some) => return,
    };
    // The way in which a handshake fails is the client's choice, and not logged.
    let Ok(stream) = stream else { return };
    let client = Client::new(peer, local, worker.tls.is_some(), &worker.trusted);
    let caller = Rc::new(Caller::new(client));
    let Some(rest) = direct::serve(stream, &worker, &caller, &stop).await else { return };
    Box::pin(serve_rest(rest, permit, worker, caller.clone(), stop)).await;
    if let Some(tunnel) = caller.tunnel.take() {
        tunnel.await;
    }
}

/// Serves a connection that has other requests than plain ones.
async fn serve_rest<H: Handler>(
    rest: Rest,
    permit: ConnectionPermit,
    worker: Rc<Worker<H>>,
    caller: Rc<Caller>,
    mut stop: watch::Receiver<Option<Duration>>,
) {
    let limits = worker.limits.clone();
    let stream_limits = StreamLimits {
        max_head: limits.max_head,
        head_timeout: limits.head_timeout,
        write_timeout: limits.body_timeout,
    };
    let Rest { stream, input, requests: answered, head_until } = rest;
    let is_new = answered == 0;
    let framing = if is_new { Framing::new(limits.max_head) } else { Framing::resumed(limits.max_head) };
    let begun = Begun { framing, held: input, head_until };
    let (guarded, state) = GuardedStream::resume(stream, begun, stream_limits, permit);
    let tracker = ConnectionTracker::new();
    let service = {
        let service = Rc::new(ConnService { worker, caller, state, answered, tracker: tracker.clone() });
        service_fn(move |request| {
            let service = service.clone();
            let in_flight = service.tracker.begin();
            async move { Ok::<_, Infallible>(service.respond(request, in_flight).await) }
        })
    };
    let mut builder = builder(&limits);
    if !is_new {
        builder = builder.http1_only();
    }
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(guarded), service);
    tokio::pin!(connection);
    // The way in which a connection ends (reset, bad request, hung up) is the client's choice, and
    // not logged.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stop.wait_for(Option::is_some) => {}
        () = tracker.idle(&limits) => {}
        () = tracker.closed() => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection => {}
        // No request is in flight, and the client does not finish.
        () = tracker.idle(&limits) => {}
    }
}

fn builder(limits: &ListenerLimits) -> auto::Builder<LocalExecutor> {
    let mut builder = auto::Builder::new(LocalExecutor);
    // Heads are timed and measured by the guarded stream, idle time by the tracker. Head and body
    // are copied together: for small responses, the most frequent ones, one buffer costs the kernel
    // less.
    builder.http1().header_read_timeout(None).writev(false).max_headers(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_local_error_reset_streams(MAX_RESET_STREAMS)
        .max_header_list_size(u32::try_from(limits.max_head).unwrap_or(u32::MAX))
        // Finds out about a client that is gone without a word while its requests are in flight.
        .keep_alive_interval(limits.body_timeout)
        .keep_alive_timeout(limits.head_timeout);
    builder
}

/// Responds to the requests of one connection.
struct ConnService<H: Handler> {
    worker: Rc<Worker<H>>,
    caller: Rc<Caller>,
    state: Arc<ConnState>,
    /// Plain requests that were answered before.
    answered: u64,
    tracker: Rc<ConnectionTracker<H::Body>>,
}

impl<H: Handler> ConnService<H> {
    async fn respond(
        &self,
        request: Request<Incoming>,
        in_flight: InFlightRequest<H::Body>,
    ) -> Response<TrackedBody<H::Body>> {
        if request.version() == Version::HTTP_2 {
            return self.respond_on_stream(request, in_flight).await;
        }
        if let Some(refusal) = self.state.refusal(in_flight.number) {
            self.worker.metrics.request_refused();
            let response = self.worker.handler.refuse(refusal, request.headers(), &self.caller);
            return response.map(|body| in_flight.body(body));
        }
        let is_last = self.is_last(&in_flight);
        // The bytes behind such a request belong to another protocol.
        let is_upgrade = request.headers().contains_key(UPGRADE);
        let has_body = !request.body().is_end_stream();
        let mut response = self.worker.handler.handle(request, &self.caller).await;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.state.switch();
        } else if is_last || is_upgrade || has_body && response.body().is_own() {
            // A response of the listener's own may come before the request's body has been read to
            // its end.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.state.answer();
        response.map(|body| in_flight.body(body))
    }

    async fn respond_on_stream(
        &self,
        request: Request<Incoming>,
        in_flight: InFlightRequest<H::Body>,
    ) -> Response<TrackedBody<H::Body>> {
        if self.is_last(&in_flight) {
            self.tracker.close();
        }
        let mut response = self.worker.handler.handle(request, &self.caller).await;
        response.headers_mut().remove(CONNECTION);
        response.map(|body| in_flight.stream_body(body))
    }

    /// Returns true for the last request that the connection may carry.
    fn is_last(&self, request: &InFlightRequest<H::Body>) -> bool {
        self.answered + request.number + 1 >= self.worker.limits.max_connection_requests
    }
}

/// Runs the tasks of HTTP/2 streams on the thread of their connection.
#[derive(Debug, Clone, Copy)]
struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        spawn_local(async move {
            future.await;
        });
    }
}
