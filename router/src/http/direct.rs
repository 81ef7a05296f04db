//! Plain requests to cells that take frames: from the client's bytes into a frame, without a map of
//! headers.

use std::future::poll_fn;
use std::sync::Arc;

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Response};
use switchyard_edge::listener::Caller;
use switchyard_edge::plain::PlainRequest;
use switchyard_edge::request_id::RequestIds;
use switchyard_edge::target;
use switchyard_protocol::frame::encode;

use super::body::Body;
use super::connector::{CellBody, CellClient};
use super::enter::{self, Entrance};
use super::lease::CellLease;
use super::pass_back::pass_back;
use super::problem::RequestProblem;
use crate::live::ProjectEntry;
use crate::slots::Slot;
use crate::transport::{Answer, Ending, Failure, FramedBody, OpenStream};

/// A request that a cell has been sent.
pub(super) struct DirectRequest {
    lease: CellLease,
    slot: Slot,
    stream: OpenStream,
    accept: Option<HeaderValue>,
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
}

/// Passes a request on to a cell that takes it at once. `None`: its project has files, tokens or
/// another platform's headers, or no cell for it just now.
pub(super) fn begin(
    entrance: &Entrance,
    cells: &CellClient,
    ids: &RequestIds,
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
    let lease = enter::lease(&entry, None)?;
    let cell = &lease.running.cell;
    let socket = cell.transport().filter(|_| cell.takes_urls())?;
    let ours = caller.client().headers(&host, prefix)?;
    let url = ["http://", host.authority().to_str().ok()?, root, target];
    let body = request.body();
    let mut new_id = [0; 16];
    let id = ids.choose(request.request_id(), &mut new_id);
    let headers = request.headers().chain(ours).chain([("x-request-id", id)]);
    let stream = cells.begin(cell.id(), socket, (request.is_head(), body.len()), |out, stream| {
        encode::request(out, stream, request.method(), &url, headers, (body, true))
    })?;
    let accept = request.accept().and_then(|accept| HeaderValue::from_bytes(accept).ok());
    Some(DirectRequest { lease, slot, stream, accept })
}

impl DirectRequest {
    /// Waits for the response. `None`: no handler got the request.
    ///
    /// # Errors
    /// There is no response.
    pub(super) async fn finish(self) -> Result<Option<Response<Body>>, Box<FailedRequest>> {
        let Self { lease, slot, stream, accept } = self;
        let entry = lease.entry.clone();
        let answered = entry.debuggers.within(entry.limits.time, || None, answer(&lease, &stream)).await;
        let problem = match answered {
            Some(Ok(answer)) => {
                let response = FramedBody::response_to_whole(answer, stream).map(CellBody::Framed);
                return Ok(Some(pass_back(response, lease, slot)));
            }
            Some(Err(NoAnswer::NotSent)) => return Ok(None),
            Some(Err(NoAnswer::Failed(failure))) => Box::pin(lease.blame(failure)).await,
            None => RequestProblem::Timeout,
        };
        let headers = accept.into_iter().map(|accept| (ACCEPT, accept)).collect();
        Err(Box::new(FailedRequest { problem, entry, headers }))
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
