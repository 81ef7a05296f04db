//! Responses of cells on their way back to clients.

use http::{HeaderMap, Response, StatusCode};
use switchyard_edge::forwarded;

use super::body::Body;
use super::connector::CellBody;
use super::lease::CellLease;
use crate::slots::Slot;

/// Passes a cell's response back to the client.
pub(super) fn pass_back(mut response: Response<CellBody>, lease: CellLease, slot: Slot) -> Response<Body> {
    let status = response.status();
    finish_head(response.headers_mut(), status, &lease);
    response.map(|body| Body::proxied(body, lease, slot))
}

/// Completes the head of a response.
pub(super) fn finish_head(headers: &mut HeaderMap, status: StatusCode, lease: &CellLease) {
    forwarded::drop_hop_by_hop(headers);
    lease.entry.requests.count(status);
    lease.mark(headers);
}
