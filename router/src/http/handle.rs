//! One request: routed, counted in, answered with a file or by a cell of the live version.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use http::header::{ACCEPT, CONNECTION};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use switchyard_edge::forwarded;
use switchyard_edge::listener::{Caller, Handler, ListenerLimits};
use switchyard_edge::plain::PlainRequest;
use switchyard_edge::refusal::Refusal;
use switchyard_edge::upload::{RequestBody as _, Upload, announced_length};
use switchyard_edge::upstream::BadAnswer;
use switchyard_edge::{target, tunnel};

use super::body::Body;
use super::connector::{CellBody, CellClient, CellError};
use super::cors::Cors;
use super::destination::{Destination, Rejection};
use super::dev;
use super::direct::{self, DirectRequest, FailedRequest};
use super::enter::Entrance;
use super::lease::CellLease;
use super::pass_back::{finish_head, pass_back};
use super::problem::RequestProblem;
use super::problem_answer::Audience;
use super::record::{RecordedBody, Recorder, Recording};
use super::site;
use crate::live::ProjectEntry;
use crate::slots::Slot;

/// Attempts to send a request that no cell got: a cell crashes, another one is started, and that
/// might crash too.
const MAX_SENDS: u32 = 3;

/// Responds to the requests of one thread.
pub(super) struct RequestHandler {
    dev: bool,
    /// With `dev`: pages get a script.
    overlay: bool,
    body_timeout: std::time::Duration,
    entrance: Entrance,
    cells: CellClient,
    recorder: Recorder,
}

impl Handler for RequestHandler {
    type Body = RecordedBody;
    type Direct = DirectRequest;

    fn begin(&self, request: &PlainRequest<'_>, caller: &Caller) -> Option<DirectRequest> {
        if self.dev || self.recorder.makes_spans() {
            return None;
        }
        direct::begin(&self.entrance, &self.cells, &self.recorder, request, caller)
    }

    async fn finish(&self, request: DirectRequest) -> Option<Response<RecordedBody>> {
        match request.finish().await {
            Ok(response) => response,
            Err(failed) => {
                let FailedRequest { problem, entry, headers, recording } = *failed;
                Some(recording.answer(self.answer_problem(problem, &entry, &headers, None)))
            }
        }
    }

    async fn handle(&self, mut request: Request<Incoming>, caller: &Caller) -> Response<RecordedBody> {
        let (mut recording, id) = self.recorder.begin_request(&mut request, caller);
        let response = self.answer(request, caller, &mut recording).await;
        recording.answer_with_headers(response, id, caller)
    }

    fn refuse(&self, refusal: Refusal, headers: &HeaderMap, caller: &Caller) -> Response<RecordedBody> {
        let response = RequestProblem::Refused(refusal).answer(None, headers, Audience::Public);
        let (recording, id) = self.recorder.begin_refused(caller);
        recording.answer_with_headers(response, id, caller)
    }

    fn sweep(&self) {
        self.cells.sweep();
        self.recorder.set_clock();
    }
}

impl RequestHandler {
    /// `dev` and `overlay` are those of the settings.
    pub(super) fn new(
        [dev, overlay]: [bool; 2],
        limits: &ListenerLimits,
        entrance: Entrance,
        recorder: Recorder,
    ) -> Self {
        Self {
            dev,
            overlay: dev && overlay,
            body_timeout: limits.body_timeout,
            entrance,
            cells: CellClient::new(limits.max_head),
            recorder,
        }
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        caller: &Caller,
        recording: &mut Recording,
    ) -> Response<Body> {
        if !self.overlay {
            return self.respond(request, caller, recording).await;
        }
        if let Some(response) = dev::answer(&request, self.entrance.live()) {
            return response;
        }
        let is_page = dev::prepare(&mut request);
        let response = self.respond(request, caller, recording).await;
        if is_page { dev::add_script(response) } else { response }
    }

    async fn respond(
        &self,
        mut request: Request<Incoming>,
        caller: &Caller,
        recording: &mut Recording,
    ) -> Response<Body> {
        let cors = self.dev.then(|| Cors::of(&request)).flatten();
        match self.route(&mut request, caller).await {
            Ok(destination) => {
                recording.set_project(destination.entry.clone());
                self.serve(request, caller, destination, cors, recording).await
            }
            Err(Rejection { problem, entry }) => {
                if let Some(entry) = &entry {
                    recording.set_project(entry.clone());
                }
                let is_foreign = cors.as_ref().is_some_and(|cors| !cors.is_local());
                if self.dev && !is_foreign && problem == RequestProblem::UnknownProject {
                    let table = self.entrance.live().load();
                    if let Some(page) = problem.list_page(&table, &request) {
                        return page;
                    }
                }
                self.problem(problem, entry.as_deref(), request.headers(), cors)
            }
        }
    }

    /// Finds the project of a request, and checks the request against the project's limits and
    /// tokens.
    async fn route(
        &self,
        request: &mut Request<Incoming>,
        caller: &Caller,
    ) -> Result<Destination, Rejection> {
        let host = target::canonical(request, caller.client().local())
            .map_err(|unclear| RequestProblem::BadRequest(unclear.rule()))?;
        let find = || self.entrance.find(host.name(), request.uri().path());
        let mut found = find();
        if let Some((entry, _)) = found.as_ref().filter(|(entry, _)| self.entrance.awaits(entry)) {
            Box::pin(self.entrance.first_version(entry)).await;
            // Its limits and its verifier are known now.
            found = find();
        }
        let (entry, prefix) = found.ok_or(RequestProblem::UnknownProject)?;
        let headers = request.headers();
        if announced_length(headers).is_some_and(|length| length > entry.limits.body) {
            return Err(Rejection { problem: RequestProblem::BodyTooLarge, entry: Some(entry) });
        }
        let checked = entry.verifier.as_ref().map(|verifier| verifier.check(request.method(), headers));
        if let Some(Err(unauthorized)) = checked {
            return Err(Rejection {
                problem: RequestProblem::Unauthorized(unauthorized),
                entry: Some(entry),
            });
        }
        Ok(Destination { entry, host, prefix })
    }

    /// Answers a request of a project within its time limit.
    async fn serve(
        &self,
        request: Request<Incoming>,
        caller: &Caller,
        destination: Destination,
        cors: Option<Cors>,
        recording: &mut Recording,
    ) -> Response<Body> {
        let entry = &destination.entry;
        let limits = &entry.limits;
        let request = request.map(|body| Upload::new(body, limits.body, self.body_timeout));
        let upload = request.body().progress().cloned();
        let left = || upload.as_ref().and_then(|upload| upload.time_left(limits.time));
        let accept = request.headers().get(ACCEPT).cloned();
        let forwarded = async {
            let slot = self.slot(entry, recording).await?;
            let forwarded = self.forward(request, caller, &destination, slot, recording);
            let answered = entry.debuggers.within(limits.time, left, forwarded).await;
            answered.unwrap_or(Err(RequestProblem::Timeout))
        };
        match forwarded.await {
            Ok(mut response) => {
                if upload.as_ref().is_some_and(|upload| !upload.is_over()) {
                    // If the rest of the body is not wanted, the connection ends with the response.
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                response
            }
            Err(problem) => {
                let headers = accept.into_iter().map(|accept| (ACCEPT, accept)).collect();
                self.answer_problem(problem, entry, &headers, cors)
            }
        }
    }

    /// Answers with a problem of a request that was on its way to a version.
    fn answer_problem(
        &self,
        problem: RequestProblem,
        entry: &Arc<ProjectEntry>,
        headers: &HeaderMap,
        cors: Option<Cors>,
    ) -> Response<Body> {
        // The current entry has the failure of the build that the request may have waited for.
        let current = self.entrance.current(entry).ok();
        self.problem(problem, Some(current.as_ref().unwrap_or(entry)), headers, cors)
    }

    fn problem(
        &self,
        problem: RequestProblem,
        entry: Option<&ProjectEntry>,
        headers: &HeaderMap,
        cors: Option<Cors>,
    ) -> Response<Body> {
        let audience = match &cors {
            Some(cors) if !cors.is_local() => Audience::ForeignOrigin,
            _ if self.dev => Audience::Developer,
            _ => Audience::Public,
        };
        let response = problem.answer(entry, headers, audience);
        let response = match cors {
            Some(cors) => cors.allow(response),
            None => response,
        };
        if let Some(entry) = entry {
            entry.requests.count(response.status());
        }
        response
    }

    /// Takes one of the project's slots for requests in flight, after a wait if none is free. The
    /// request's time limit begins after it.
    async fn slot(&self, entry: &ProjectEntry, recording: &mut Recording) -> Result<Slot, RequestProblem> {
        if let Some(slot) = entry.slots.enter() {
            return Ok(slot);
        }
        let (max_queued, queue_timeout) = (entry.limits.max_queued, entry.limits.queue_timeout);
        let began = Instant::now();
        let slot = Box::pin(entry.slots.wait(max_queued, queue_timeout)).await;
        recording.set_queued(began.elapsed());
        slot.ok_or(RequestProblem::Overloaded)
    }

    /// Answers a request with a file, or passes it on to a cell.
    async fn forward(
        &self,
        mut request: Request<Upload>,
        caller: &Caller,
        destination: &Destination,
        slot: Slot,
        recording: &mut Recording,
    ) -> Result<Response<Body>, RequestProblem> {
        let Destination { entry, host, .. } = destination;
        let prefix = destination.strip_prefix(&mut request)?;
        let websocket = forwarded::wants_websocket(&request, !request.body().is_end_stream());
        let slot = match self.send_file(entry, &request, websocket, &prefix, slot).await? {
            ControlFlow::Break(response) => return Ok(response),
            ControlFlow::Continue(slot) => slot,
        };
        let upgrade = websocket.then(|| hyper::upgrade::on(&mut request));
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        forwarded::drop_hop_by_hop(headers);
        forwarded::set_forwarded(headers, caller.client(), host.authority(), &prefix);
        if entry.names_connecting_ip() {
            forwarded::set_connecting_ip(headers);
        }
        let lease = match self.entrance.cell(entry).await {
            Err(RequestProblem::Restarting) if self.entrance.is_static(entry) => {
                let current = self.entrance.current(entry)?;
                return match self.send_file(&current, &request, websocket, &prefix, slot).await? {
                    ControlFlow::Break(response) => Ok(response),
                    ControlFlow::Continue(_) => Err(RequestProblem::Restarting),
                };
            }
            entered => entered?,
        };
        match upgrade {
            Some(client) => Box::pin(self.switch(request, caller, client, lease, slot, recording)).await,
            None => self.proxy(request, lease, slot, recording).await,
        }
    }

    /// Passes a request on to a cell, and its response back.
    async fn proxy(
        &self,
        request: Request<Upload>,
        lease: CellLease,
        slot: Slot,
        recording: &mut Recording,
    ) -> Result<Response<Body>, RequestProblem> {
        let (response, lease) = self.send(request, lease, false, recording).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(lease.report_invalid(BadAnswer::Switch));
        }
        Ok(pass_back(response, lease, slot))
    }

    /// Passes an upgrade request on to a cell. If that switches protocols, the connections become a
    /// tunnel.
    async fn switch(
        &self,
        mut request: Request<Upload>,
        caller: &Caller,
        client: OnUpgrade,
        lease: CellLease,
        slot: Slot,
        recording: &mut Recording,
    ) -> Result<Response<Body>, RequestProblem> {
        forwarded::set_upgrade(request.headers_mut());
        let (response, lease) = self.send(request, lease, true, recording).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(pass_back(response, lease, slot));
        }
        let (mut head, body) = response.into_parts();
        let conn = body.into_conn().filter(|_| forwarded::is_websocket(&head.headers));
        let Some(conn) = conn else { return Err(lease.report_invalid(BadAnswer::Switch)) };
        finish_head(&mut head.headers, head.status, &lease);
        forwarded::set_upgrade(&mut head.headers);
        caller.set_tunnel(async move {
            tunnel::run(client, conn).await;
            // The version is not retired before.
            drop(lease);
        });
        Ok(Response::from_parts(head, Body::from("")))
    }

    /// Sends a request to the cell of `lease`, or to the next one if it never got there. `alone`:
    /// on a connection of its own. Returns the head of the response, and the lease of the cell that
    /// gave it.
    async fn send(
        &self,
        mut request: Request<Upload>,
        mut lease: CellLease,
        alone: bool,
        recording: &mut Recording,
    ) -> Result<(Response<CellBody>, CellLease), RequestProblem> {
        for attempt in 1.. {
            // With an answer and without one.
            recording.set_version_name(&lease.version);
            let cell = &lease.running.cell;
            target::set_form(&mut request, cell.takes_urls());
            let sent = if alone {
                Box::pin(self.cells.send_alone(cell, request)).await
            } else {
                let awaited = cell.answers().begin_request();
                let sent = self.cells.send(cell, request).await;
                match &sent {
                    Ok(response) => awaited.record_status(response.status()),
                    Err(CellError::Failed(_)) => drop(awaited),
                    Err(CellError::NotSent(_)) => awaited.discard(),
                }
                sent
            };
            match sent {
                Ok(response) => return Ok((response, lease)),
                Err(CellError::Failed(failure)) => return Err(Box::pin(lease.blame(failure)).await),
                Err(CellError::NotSent(_)) if attempt == MAX_SENDS => break,
                Err(CellError::NotSent(unsent)) => {
                    request = *unsent;
                    lease = self.entrance.another_cell(lease).await?;
                }
            }
        }
        Err(RequestProblem::CellDied)
    }

    /// Answers with a file of the live version, or gives the slot back if the version's code has to
    /// answer.
    async fn send_file(
        &self,
        entry: &Arc<ProjectEntry>,
        request: &Request<Upload>,
        websocket: bool,
        prefix: &str,
        slot: Slot,
    ) -> Result<ControlFlow<Response<Body>, Slot>, RequestProblem> {
        let Some(lease) = self.entrance.site(entry)? else { return Ok(ControlFlow::Continue(slot)) };
        let Some(reply) = site::choose(&lease.site, request, websocket) else {
            return Ok(ControlFlow::Continue(slot));
        };
        let response = Box::pin(site::answer(reply, lease, request, prefix, slot)).await?;
        entry.requests.count(response.status());
        Ok(ControlFlow::Break(response))
    }
}
