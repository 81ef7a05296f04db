//! Plain requests to cells that take frames: from the client's bytes into a frame, without a map of
//! headers.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Instant;

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Response};
use switchyard_edge::listener::Caller;
use switchyard_edge::plain::PlainRequest;
use switchyard_edge::target;
use switchyard_protocol::frame::encode;

use super::connector::{CellBody, CellClient};
use super::enter::{self, Entrance};
use super::lease::CellLease;
use super::pass_back::pass_back;
use super::problem::RequestProblem;
use super::record::{RecordedBody, Recorder, Recording};
use crate::live::ProjectEntry;
use crate::slots::Slot;
use crate::transport::{Answer, Ending, Failure, FramedBody, OpenStream};

/// A request that a cell has been sent.
pub(super) struct DirectRequest {
    lease: CellLease,
    slot: Slot,
    stream: OpenStream,
    accept: Option<HeaderValue>,
    recording: Recording,
}

/// The reason why there is no response.
enum NoAnswer {
    /// No handler got the request.
    NotSent,
    Failed(Failure),
}

/// A request that is answered with a problem: the headers are those of the request that its answer
/// needs.
pub(super) struct FailedRequest {
    pub(super) problem: RequestProblem,
    pub(super) entry: Arc<ProjectEntry>,
    pub(super) headers: HeaderMap,
    pub(super) recording: Recording,
}

/// Passes a request on to a cell that takes it at once. `None`: its project has files, tokens or
/// another platform's headers, or no cell for it just now.
pub(super) fn begin(
    entrance: &Entrance,
    cells: &CellClient,
    recorder: &Recorder,
    request: &PlainRequest<'_>,
    caller: &Caller,
) -> Option<DirectRequest> {
    let host = target::plain_host(request.host())?;
    let (entry, prefix) = entrance.find(host.name(), request.path())?;
    let is_simple = entry.verifier.is_none() && entry.site().is_none() && !entry.names_connecting_ip();
    if !is_simple || request.body().len() as u64 > entry.limits.body {
        return None;
    }
    let prefix = request.path().get(..prefix)?;
    let (prefix, target) = request.target().split_at(entry.prefix.stripped_len(prefix));
    let root = if target.starts_with('/') { "" } else { "/" };
    let slot = entry.slots.enter()?;
    let now = Instant::now();
    let lease = enter::lease(&entry, None, now)?;
    let cell = &lease.running.cell;
    let socket = cell.transport().filter(|_| cell.takes_urls())?;
    let ours = caller.client().headers(&host, prefix)?;
    let url = [caller.client().scheme(), "://", host.authority().to_str().ok()?, root, target];
    let body = request.body();
    let mut new_id = [0; 16];
    let id = recorder.ids().choose(request.request_id(), &mut new_id);
    let headers = request.headers().chain(ours).chain([("x-request-id", id.as_bytes())]);
    let stream = cells.begin(cell.id(), socket, (request.is_head(), body.len()), |out, stream| {
        encode::request(out, stream, request.method(), &url, headers, (body, true))
    })?;
    let accept = request.accept().and_then(|accept| HeaderValue::from_bytes(accept).ok());
    let texts = [request.method(), id, request.path()];
    let mut recording = recorder.begin(texts, caller.client().peer(), now);
    recording.set_details(request.host(), request.query(), "HTTP/1.1", |name| request.header(name));
    if let Some(live) = &entry.live {
        recording.set_version(live.version.digest.as_bytes());
    }
    recording.set_project(entry);
    Some(DirectRequest { lease, slot, stream, accept, recording })
}

impl DirectRequest {
    /// Waits for the response. `None`: no handler got the request.
    ///
    /// # Errors
    /// There is no response.
    pub(super) async fn finish(self) -> Result<Option<Response<RecordedBody>>, Box<FailedRequest>> {
        let Self { lease, slot, stream, accept, recording } = self;
        let entry = lease.entry.clone();
        let answered = entry.debuggers.within(entry.limits.time, || None, answer(&lease, &stream)).await;
        let problem = match answered {
            Some(Ok(answer)) => {
                let response = FramedBody::response_to_whole(answer, stream).map(CellBody::Framed);
                return Ok(Some(recording.answer(pass_back(response, lease, slot))));
            }
            Some(Err(NoAnswer::NotSent)) => {
                recording.discard();
                return Ok(None);
            }
            Some(Err(NoAnswer::Failed(failure))) => Box::pin(lease.blame(failure)).await,
            None => RequestProblem::Timeout,
        };
        let headers = accept.into_iter().map(|accept| (ACCEPT, accept)).collect();
        Err(Box::new(FailedRequest { problem, entry, headers, recording }))
    }
}

async fn answer(lease: &CellLease, stream: &OpenStream) -> Result<Answer, NoAnswer> {
    let awaited = lease.running.cell.answers().begin_request();
    match poll_fn(|cx| stream.poll_head(cx)).await {
        Ok(answer) => {
            awaited.record_status(answer.head.status);
            Ok(answer)
        }
        Err(Ending::NotSent) => {
            awaited.discard();
            Err(NoAnswer::NotSent)
        }
        Err(Ending::Failed(failure)) => Err(NoAnswer::Failed(failure)),
    }
}
