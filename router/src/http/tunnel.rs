//! A WebSocket: asked for on a connection of its own, then bytes both ways.

use std::path::Path;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use switchyard_edge::forwarded;
use switchyard_edge::tunnel::carry;
use switchyard_edge::upload::Upload;
use switchyard_edge::upstream::{Counted, HeadBudget, ReadsOn};
use tokio::net::UnixStream;
use tokio::task::spawn_local;

use super::body::Body;
use super::lease::CellLease;
use super::pool::{SendError, answers};
use crate::drain::Guard;

/// Sends `request` to a cell, and waits for the head of its answer, of at most `max_head` bytes. Returns
/// the budget of its connection, too.
pub(super) async fn send(
    socket: &Path,
    max_head: usize,
    request: Request<Upload>,
) -> Result<(Response<Incoming>, HeadBudget), SendError> {
    let Ok(stream) = UnixStream::connect(socket).await else {
        return Err(SendError::NotSent(Box::new(request)));
    };
    let head = HeadBudget::new(max_head);
    let stream = ReadsOn::new(stream, head.clone());
    let handshake = answers(max_head).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(SendError::Failed)?;
    // Ends with the exchange: when the cell hangs up, or when both ends of the tunnel have.
    spawn_local(connection.with_upgrades());
    let response = sender.send_request(request).await.map_err(SendError::Failed)?;
    head.complete();
    Ok((response, head))
}

/// The answer of a cell that has not switched.
pub(super) fn refusal((response, head): (Response<Incoming>, HeadBudget)) -> Response<Counted> {
    response.map(|body| Counted::new(body, head))
}

/// Opens the tunnel between `client` and the cell, which has sent `response` and switched. Until it is closed `held` is
/// kept: the version is not retired before, nor the router stopped.
pub(super) fn open(
    mut response: Response<Incoming>,
    client: OnUpgrade,
    held: (CellLease, Guard),
) -> Response<Body> {
    let cell = hyper::upgrade::on(&mut response);
    spawn_local(async move {
        if let (Ok(client), Ok(cell)) = (client.await, cell.await) {
            carry(TokioIo::new(client), TokioIo::new(cell)).await;
        }
        drop(held);
    });
    forwarded::set_upgrade(response.headers_mut());
    response.map(|_| Body::from(Vec::new()))
}
