//! One request: its project, the router that gets it, and the next one if that fails.

use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, request};
use http_body_util::{Either, Empty};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use switchyard_contract::project::ProjectName;
use switchyard_edge::listener::{Caller, Handler};
use switchyard_edge::plain::PlainRequest;
use switchyard_edge::pool::SendError;
use switchyard_edge::refusal::Refusal;
use switchyard_edge::request_id::{REQUEST_ID, RequestIds};
use switchyard_edge::upload::{Progress, RequestBody as _, Upload, UploadError};
use switchyard_edge::upstream::BadAnswer;
use switchyard_edge::{forwarded, target, tunnel};
use tokio::time::{Instant, timeout, timeout_at};

use super::ForwardMetrics;
use super::body::Body;
use super::connector::{self, ForwardUpload, RouterBody, RouterPool};
use super::problem::ForwardProblem;
use crate::routers::{InFlight, Router, Routers};

/// The parts that the handlers of all threads share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) request_timeout: Duration,
    pub(super) body_timeout: Duration,
    /// Requests wait until then for a router that is ready.
    pub(super) first_router_by: Instant,
    pub(super) routers: Routers,
    pub(super) metrics: Arc<ForwardMetrics>,
    /// The next of the routers that have the same load, modulo their number.
    pub(super) turn: AtomicUsize,
}

/// Responds to the requests of one thread.
pub(super) struct RequestHandler {
    shared: Arc<Shared>,
    pool: Rc<RouterPool>,
    ids: RequestIds,
}

/// A request as it goes to routers.
struct ForwardRequest {
    request: Request<ForwardUpload>,
    /// The request's head if it may be sent again: a safe method (RFC 9110, 9.2.1) and no body.
    again: Option<request::Parts>,
    project: Option<ProjectName>,
    /// The client's connection, if the request asks to switch protocols.
    upgrade: Option<OnUpgrade>,
}

/// A router's response, which counts as in flight there.
struct RouterResponse {
    response: Response<RouterBody>,
    router: Arc<Router>,
    in_flight: InFlight,
}

impl Handler for RequestHandler {
    type Body = Body;

    /// Routers take HTTP/1.1 alone.
    type Direct = Infallible;

    fn begin(&self, _: &PlainRequest<'_>, _: &Caller) -> Option<Infallible> {
        None
    }

    async fn finish(&self, request: Infallible) -> Option<Response<Body>> {
        match request {}
    }

    async fn handle(&self, mut request: Request<Incoming>, caller: &Caller) -> Response<Body> {
        let id = self.ids.set(request.headers_mut());
        let mut response = match self.prepare(request, caller) {
            Ok(forward) => self.respond(forward, caller).await,
            Err(problem) => problem.answer(),
        };
        response.headers_mut().insert(REQUEST_ID, id);
        response
    }

    fn refuse(&self, refusal: Refusal, _: &HeaderMap, _: &Caller) -> Response<Body> {
        let mut response = ForwardProblem::Refused(refusal).answer();
        response.headers_mut().insert(REQUEST_ID, self.ids.next());
        response
    }

    fn sweep(&self) {
        self.pool.sweep();
    }
}

impl RequestHandler {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, pool: Rc::new(connector::pool()), ids: RequestIds::default() }
    }

    async fn respond(&self, forward: ForwardRequest, caller: &Caller) -> Response<Body> {
        let upload = forward.request.body().progress().cloned();
        let forwarded = self.within(upload.as_deref(), self.forward(forward, caller)).await;
        let mut response = forwarded.unwrap_or_else(|problem| {
            self.shared.metrics.count(problem);
            problem.answer()
        });
        if upload.is_some_and(|upload| !upload.is_over()) {
            // If the rest of the body is not wanted, the connection ends with the response.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Returns the outcome of `forwarded`, unless a router takes too long.
    async fn within<T>(
        &self,
        upload: Option<&Progress>,
        forwarded: impl Future<Output = Result<T, ForwardProblem>>,
    ) -> Result<T, ForwardProblem> {
        let limit = self.shared.request_timeout;
        let (mut forwarded, mut wait) = (pin!(forwarded), limit);
        loop {
            if let Ok(outcome) = timeout(wait, forwarded.as_mut()).await {
                return outcome;
            }
            let left = upload.and_then(|upload| upload.time_left(limit));
            wait = left.ok_or(ForwardProblem::Timeout)?;
        }
    }

    /// Checks a request, finds its project, and turns it into the request that a router gets.
    fn prepare(
        &self,
        mut request: Request<Incoming>,
        caller: &Caller,
    ) -> Result<ForwardRequest, ForwardProblem> {
        let host = target::canonical(&mut request, caller.client().local())
            .map_err(|unclear| ForwardProblem::BadRequest(unclear.rule()))?;
        let project = self.shared.routers.find(host.name(), request.uri().path());
        let websocket = forwarded::wants_websocket(&request, !request.body().is_end_stream());
        let upgrade = websocket.then(|| hyper::upgrade::on(&mut request));
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        forwarded::drop_hop_by_hop(headers);
        // The path keeps its prefix, which the router removes.
        forwarded::set_forwarded(headers, caller.client(), host.authority(), "");
        if websocket {
            forwarded::set_upgrade(headers);
        }
        let (head, body) = request.into_parts();
        let safe = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let empty = body.is_end_stream();
        let again = (safe && empty).then(|| head.clone());
        // Routers limit the size of bodies.
        let upload = |body| Either::Left(Upload::new(body, u64::MAX, self.shared.body_timeout));
        let body = if empty { Either::Right(Empty::new()) } else { upload(body) };
        Ok(ForwardRequest { request: Request::from_parts(head, body), again, project, upgrade })
    }

    /// Sends the request to one router after the other, until one responds or it cannot be sent
    /// again without harm.
    async fn forward(
        &self,
        forward: ForwardRequest,
        caller: &Caller,
    ) -> Result<Response<Body>, ForwardProblem> {
        let ForwardRequest { mut request, again, project, upgrade } = forward;
        let again = || Some(Request::from_parts(again.clone()?, Either::Right(Empty::new())));
        let mut tried: Vec<Arc<Router>> = Vec::new();
        if Instant::now() < self.shared.first_router_by {
            Box::pin(self.first_router(project.as_ref())).await;
        }
        let (mut is_retry, mut forgiven) = (false, false);
        // The outcome if there is no other router to try.
        let mut otherwise = Err(ForwardProblem::NoRouters);
        while let Some(router) = self.pick(project.as_ref(), &tried) {
            if std::mem::replace(&mut is_retry, true) {
                self.shared.metrics.count_retry();
            }
            let in_flight = router.enter();
            match self.pool.send(&router, request).await {
                Ok(response) => {
                    let next = again().filter(|_| is_stopping(&router, &response));
                    let response = RouterResponse { response, router: router.clone(), in_flight };
                    let Some(next) = next else { return pass_back(response, upgrade, caller) };
                    otherwise = Ok(response);
                    tried.push(router);
                    request = next;
                }
                Err(SendError::NotSent(unsent)) => {
                    router.refused();
                    tried.push(router);
                    request = *unsent;
                }
                Err(SendError::Failed { error, was_idle }) => {
                    let problem = blame(&router, &error);
                    let next = again().filter(|_| problem == ForwardProblem::RouterFailed);
                    let Some(next) = next else { return Err(problem) };
                    otherwise = Err(problem);
                    if was_idle && !forgiven {
                        // The router may be healthy, and only its idle connections dead.
                        forgiven = true;
                        self.pool.forget(&router);
                    } else {
                        tried.push(router);
                    }
                    request = next;
                }
            }
        }
        pass_back(otherwise?, upgrade, caller)
    }

    /// Waits for a router that is ready, as long as that may take after the start.
    async fn first_router(&self, project: Option<&ProjectName>) {
        let mut changed = self.shared.routers.changed();
        let is_ready =
            async { while self.pick(project, &[]).is_none() && changed.changed().await.is_ok() {} };
        // Later, the request is answered 503.
        let _ = timeout_at(self.shared.first_router_by, is_ready).await;
    }

    /// Picks the router for a request of `project`: among those that are ready and not behind with
    /// it, the one with the fewest requests in flight. If none is ready, one that was ready a moment
    /// ago is better than no answer: on a busy machine it may only be late with its next answer.
    fn pick(&self, project: Option<&ProjectName>, tried: &[Arc<Router>]) -> Option<Arc<Router>> {
        let routers = self.shared.routers.list();
        let turn = self.shared.turn.fetch_add(1, Relaxed) % routers.len().max(1);
        let (before, after) = routers.split_at(turn);
        let fits = |router: &&Arc<Router>| {
            !tried.iter().any(|other| Arc::ptr_eq(other, router))
                && !project.is_some_and(|project| router.is_behind(project.as_str()))
        };
        let fitting = || after.iter().chain(before).filter(fits);
        let ready = fitting().filter(|router| router.is_ready()).min_by_key(|router| router.in_flight());
        ready.or_else(|| fitting().find(|router| router.was_ready())).cloned()
    }
}

/// Passes a router's response back to the client. If both switch protocols, their connections
/// become a tunnel.
fn pass_back(
    response: RouterResponse,
    upgrade: Option<OnUpgrade>,
    caller: &Caller,
) -> Result<Response<Body>, ForwardProblem> {
    let RouterResponse { mut response, router, in_flight } = response;
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let websocket = switches && forwarded::is_websocket(response.headers());
    forwarded::drop_hop_by_hop(response.headers_mut());
    if !switches {
        router.count(response.status());
        return Ok(response.map(|body| Body::of_router(body, in_flight)));
    }
    let (mut head, body) = response.into_parts();
    let client = upgrade.filter(|_| websocket);
    let (Some(client), Some(conn)) = (client, body.into_conn()) else {
        return Err(responded_badly(&router, BadAnswer::Switch));
    };
    router.count(head.status);
    caller.set_tunnel(async move {
        tunnel::run(client, conn).await;
        drop(in_flight);
    });
    forwarded::set_upgrade(&mut head.headers);
    Ok(Response::from_parts(head, Body::own("")))
}

/// Returns the problem when a request may have reached `router` and failed with `error`.
fn blame(router: &Router, error: &hyper::Error) -> ForwardProblem {
    if let Some(error) = UploadError::behind(error) {
        return ForwardProblem::Upload(error);
    }
    tracing::debug!(router = router.name(), "a request failed: {error}");
    match BadAnswer::of(error) {
        Some(bad) => responded_badly(router, bad),
        None => ForwardProblem::RouterFailed,
    }
}

fn responded_badly(router: &Router, bad: BadAnswer) -> ForwardProblem {
    let problem = ForwardProblem::BadAnswer(bad);
    tracing::warn!(
        router = router.name(),
        "{} sent an invalid response: {}",
        router.name(),
        problem.detail()
    );
    problem
}

/// Returns true if the response means that the router, rather than the project, takes no more
/// requests: it is about to stop, and others are not.
fn is_stopping(router: &Router, response: &Response<RouterBody>) -> bool {
    response.status() == StatusCode::SERVICE_UNAVAILABLE
        && !response.headers().contains_key("x-switchyard-version")
        && !router.is_ready()
}
