//! One request: whose it is, which router gets it, and what happens when that one fails.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use http::header::CONNECTION;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, request};
use http_body_util::{Either, Empty};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use tokio::time::timeout;

use super::body::{Body, Upload};
use super::connection::Caller;
use super::pool::{Exchange, Pool, SendError};
use super::problem::Problem;
use super::{Metrics, Settings, tunnel};
use crate::routers::{InFlight, Router, Routers};
use switchyard_contract::project::ProjectName;
use switchyard_edge::forwarded;
use switchyard_edge::target;
use switchyard_edge::upload::{Progress, Upload as ClientsBody, UploadError};
use switchyard_edge::upstream::BadAnswer;

/// What requests are served with.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) settings: Settings,
    pub(super) pool: Arc<Pool>,
    routers: Routers,
    metrics: Arc<Metrics>,
    /// Whose turn it is among routers that have the same to do.
    turn: AtomicUsize,
}

/// A request as it goes to routers.
struct Order {
    request: Request<Upload>,
    /// The request without its body, when it may be sent twice: a safe method (RFC 9110, 9.2.1) and no body.
    again: Option<request::Parts>,
    project: Option<ProjectName>,
    /// The client's connection, when it wants to switch protocols.
    upgrade: Option<OnUpgrade>,
}

impl Worker {
    pub(super) fn new(settings: Settings, routers: Routers, metrics: Arc<Metrics>) -> Self {
        Self { settings, pool: Arc::default(), routers, metrics, turn: AtomicUsize::new(0) }
    }

    pub(super) async fn handle(&self, request: Request<Incoming>, caller: &Caller) -> Response<Body> {
        let order = match self.order(request, caller) {
            Ok(order) => order,
            Err(problem) => return problem.answer(),
        };
        let upload = progress(&order.request).cloned();
        let forwarded = self.within(upload.as_deref(), self.forward(order, caller)).await;
        let mut answer = forwarded.unwrap_or_else(|problem| {
            self.metrics.count(problem);
            problem.answer()
        });
        if upload.is_some_and(|upload| !upload.is_over()) {
            // If the rest of the body is not wanted, the connection ends with the answer.
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }

    /// The outcome of `forwarded`, unless a router takes too long.
    async fn within<T>(
        &self,
        upload: Option<&Progress>,
        forwarded: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let limit = self.settings.request_timeout;
        let (mut forwarded, mut wait) = (pin!(forwarded), limit);
        loop {
            if let Ok(outcome) = timeout(wait, forwarded.as_mut()).await {
                return outcome;
            }
            let left = upload.and_then(|upload| upload.time_left(limit));
            wait = left.ok_or(Problem::Timeout)?;
        }
    }

    /// Looks at the request, and makes it what a router is to get.
    fn order(&self, mut request: Request<Incoming>, caller: &Caller) -> Result<Order, Problem> {
        let host = target::canonical(&mut request, caller.client.local())
            .map_err(|wrong| Problem::BadRequest(wrong.rule()))?;
        let project = self.routers.find(host.name(), request.uri().path());
        let websocket = forwarded::wants_websocket(&request, !request.body().is_end_stream());
        let upgrade = websocket.then(|| hyper::upgrade::on(&mut request));
        *request.version_mut() = Version::HTTP_11;
        forwarded::drop_hop_by_hop(request.headers_mut());
        // No prefix is taken off: the router does that.
        forwarded::set_forwarded(request.headers_mut(), &caller.client, host.authority(), "");
        if websocket {
            forwarded::set_upgrade(request.headers_mut());
        }
        let (head, body) = request.into_parts();
        let safe = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let empty = body.is_end_stream();
        let again = (safe && empty).then(|| head.clone());
        // Routers limit the size of bodies.
        let uploaded = |body| Either::Left(ClientsBody::new(body, u64::MAX, self.settings.body_timeout));
        let body = if empty { Either::Right(Empty::new()) } else { uploaded(body) };
        Ok(Order { request: Request::from_parts(head, body), again, project, upgrade })
    }

    /// Sends the request to one router after the other, until one answers or there is nothing more that can be
    /// done without harm.
    async fn forward(&self, order: Order, caller: &Caller) -> Result<Response<Body>, Problem> {
        let Order { mut request, again, project, upgrade } = order;
        let again = || {
            let head = again.clone()?;
            Some(Request::from_parts(head, Either::Right(Empty::new())))
        };
        let mut tried: Vec<Arc<Router>> = Vec::new();
        let (mut sent, mut forgiven) = (false, false);
        let mut otherwise = Err(Problem::NoRouters);
        while let Some(router) = self.pick(project.as_ref(), &tried) {
            if std::mem::replace(&mut sent, true) {
                self.metrics.retried();
            }
            let in_flight = router.enter();
            match self.pool.send(&router, request).await {
                Ok(answer) => match again() {
                    Some(next) if is_of_stopping(&router, &answer) => {
                        otherwise = Ok((answer, router.clone(), in_flight));
                        tried.push(router);
                        request = next;
                    }
                    _ => return self.pass(answer, &router, in_flight, upgrade, caller),
                },
                Err(SendError::NotSent(unsent)) => {
                    router.refused();
                    tried.push(router);
                    request = *unsent;
                }
                Err(SendError::Failed { error, kept }) => {
                    if let Some(error) = UploadError::behind(&error) {
                        return Err(Problem::Upload(error));
                    }
                    tracing::debug!(router = router.name(), "a request failed: {error}");
                    if let Some(bad) = BadAnswer::of(&error) {
                        return Err(answered_badly(&router, bad));
                    }
                    let Some(next) = again() else { return Err(Problem::RouterFailed) };
                    otherwise = Err(Problem::RouterFailed);
                    if kept && !forgiven {
                        // The router may be well, and only its idle connections dead.
                        forgiven = true;
                        self.pool.forget(router.name());
                    } else {
                        tried.push(router);
                    }
                    request = next;
                }
            }
        }
        let (answer, router, in_flight) = otherwise?;
        self.pass(answer, &router, in_flight, upgrade, caller)
    }

    /// The router that gets a request of `project`: of those that are ready and not behind in it,
    /// the one with the fewest in flight.
    fn pick(&self, project: Option<&ProjectName>, tried: &[Arc<Router>]) -> Option<Arc<Router>> {
        let routers = self.routers.list();
        let (before, after) = routers.split_at(self.turn.fetch_add(1, Relaxed) % routers.len().max(1));
        let fit = |router: &&Arc<Router>| {
            router.is_ready()
                && !tried.iter().any(|other| Arc::ptr_eq(other, router))
                && !project.is_some_and(|project| router.is_behind(project.as_str()))
        };
        after.iter().chain(before).filter(fit).min_by_key(|router| router.in_flight()).cloned()
    }

    /// Hands a router's answer on.
    fn pass(
        &self,
        mut answer: Response<Exchange>,
        router: &Router,
        in_flight: InFlight,
        upgrade: Option<OnUpgrade>,
        caller: &Caller,
    ) -> Result<Response<Body>, Problem> {
        let switches = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        let websocket = switches && forwarded::is_websocket(answer.headers());
        forwarded::drop_hop_by_hop(answer.headers_mut());
        if !switches {
            router.count(answer.status());
            return Ok(answer.map(|exchange| Body::of_router(exchange, in_flight)));
        }
        let (head, exchange) = answer.into_parts();
        let client = upgrade.filter(|_| websocket);
        let (Some(client), Some(link)) = (client, exchange.into_link()) else {
            return Err(answered_badly(router, BadAnswer::Switch));
        };
        router.count(head.status);
        caller.go_on_as(tunnel::run(client, link, in_flight));
        let mut answer = Response::from_parts(head, Body::own(""));
        forwarded::set_upgrade(answer.headers_mut());
        Ok(answer)
    }
}

pub(super) fn progress(request: &Request<Upload>) -> Option<&Arc<Progress>> {
    match request.body() {
        Either::Left(body) => body.progress(),
        Either::Right(_) => None,
    }
}

fn answered_badly(router: &Router, bad: BadAnswer) -> Problem {
    let problem = Problem::BadAnswer(bad);
    tracing::warn!(router = router.name(), "{} answered wrongly: {}", router.name(), problem.words().2);
    problem
}

/// Whether a router says that it, and not the project, takes no more: it is about to stop, and others are not.
fn is_of_stopping(router: &Router, answer: &Response<Exchange>) -> bool {
    answer.status() == StatusCode::SERVICE_UNAVAILABLE
        && !answer.headers().contains_key("x-switchyard-version")
        && !router.is_ready()
}
