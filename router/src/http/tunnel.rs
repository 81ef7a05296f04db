//! A switch of protocols (WebSocket): forwarded on a connection of its own, then bytes both ways.

use std::io;
use std::path::Path;

use http::header::UPGRADE;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio::net::UnixStream;
use tokio::task::spawn_local;

use super::body::{Body, Limited};
use super::headers;
use crate::drain::Guard;

/// Forwards `request`, whose client is to be had through `client` once it has switched. Both
/// guards are held until the tunnel is closed.
pub(super) async fn forward(
    socket: &Path,
    mut request: Request<Limited>,
    protocol: HeaderValue,
    client: OnUpgrade,
    guards: (Guard, Guard),
) -> io::Result<Response<Body>> {
    headers::set_upgrade(request.headers_mut(), protocol);
    let stream = UnixStream::connect(socket).await?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(io::Error::other)?;
    // Ends with the exchange: when the cell hangs up, or when both ends of the tunnel have.
    spawn_local(connection.with_upgrades());
    let mut response = sender.send_request(request).await.map_err(io::Error::other)?;
    let (in_flight, open) = guards;
    let switched = (response.status() == StatusCode::SWITCHING_PROTOCOLS)
        .then(|| response.headers().get(UPGRADE).cloned())
        .flatten();
    let Some(protocol) = switched else {
        headers::drop_hop_by_hop(response.headers_mut());
        return Ok(response.map(|body: Incoming| Body::Refused { body, _guard: in_flight }));
    };
    let cell = hyper::upgrade::on(&mut response);
    spawn_local(async move {
        // How a tunnel ends is the affair of its two ends.
        if let (Ok(client), Ok(cell)) = (client.await, cell.await) {
            let _ = copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(cell)).await;
        }
        drop((in_flight, open));
    });
    headers::drop_hop_by_hop(response.headers_mut());
    headers::set_upgrade(response.headers_mut(), protocol);
    Ok(response.map(|_| Body::from(Vec::new())))
}
