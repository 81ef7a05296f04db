//! A switch of protocols (WebSocket): forwarded on a connection of its own, then bytes both ways.

use std::io;
use std::path::Path;

use http::header::UPGRADE;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use switchyard_bridge::forwarded;
use switchyard_bridge::tunnel::carry;
use tokio::net::UnixStream;
use tokio::task::spawn_local;

use super::body::{Body, Limited};
use crate::drain::Guard;
use crate::slots::Slot;

/// What a request that wants to switch holds.
pub(super) struct Held {
    /// Both until the tunnel is closed: its version is not retired before, nor the router stopped.
    pub(super) in_flight: Guard,
    pub(super) open: Guard,
    /// Until it has switched: a tunnel may last for days, in which it asks for little.
    pub(super) slot: Slot,
}

/// Forwards `request`, whose client is to be had through `client` once it has switched.
pub(super) async fn forward(
    socket: &Path,
    mut request: Request<Limited>,
    protocol: HeaderValue,
    client: OnUpgrade,
    held: Held,
) -> io::Result<Response<Body>> {
    forwarded::set_upgrade(request.headers_mut(), protocol);
    let stream = UnixStream::connect(socket).await?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(io::Error::other)?;
    // Ends with the exchange: when the cell hangs up, or when both ends of the tunnel have.
    spawn_local(connection.with_upgrades());
    let mut response = sender.send_request(request).await.map_err(io::Error::other)?;
    let Held { in_flight, open, slot } = held;
    let switched = (response.status() == StatusCode::SWITCHING_PROTOCOLS)
        .then(|| response.headers().get(UPGRADE).cloned())
        .flatten();
    let Some(protocol) = switched else {
        forwarded::drop_hop_by_hop(response.headers_mut());
        return Ok(response.map(|body: Incoming| Body::Refused { body, _guard: in_flight, _slot: slot }));
    };
    drop(slot);
    let cell = hyper::upgrade::on(&mut response);
    spawn_local(async move {
        if let (Ok(client), Ok(cell)) = (client.await, cell.await) {
            carry(TokioIo::new(client), TokioIo::new(cell)).await;
        }
        drop((in_flight, open));
    });
    forwarded::drop_hop_by_hop(response.headers_mut());
    forwarded::set_upgrade(response.headers_mut(), protocol);
    Ok(response.map(|_| Body::from(Vec::new())))
}
