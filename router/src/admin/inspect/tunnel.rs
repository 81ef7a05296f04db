//! The connection between a debugger and a cell, and the handshake that opens it.

use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::header::{
    CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::Empty;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use switchyard_contract::bounds::{INSPECTOR_HEAD, WEBSOCKET_ACCEPT};
use switchyard_edge::connections::Permit;
use switchyard_edge::tunnel::carry;
use switchyard_edge::upstream::{HeadBudget, ReadsOn};
use tokio::net::UnixStream;

use crate::drain::RequestGuard;
use crate::live::DebugSession;
use crate::version::Version;

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// A debugger and the cell that it is attached to.
pub(super) struct Tunnel {
    pub(super) client: OnUpgrade,
    pub(super) cell: Upgraded,
    pub(super) version: Version,
    /// Keeps the version from being retired before its grace is over, and its cell from counting as
    /// idle.
    pub(super) _in_flight: RequestGuard,
    pub(super) _attached: DebugSession,
    /// Keeps the connection busy after its answer.
    pub(super) _permit: Arc<Permit>,
}

impl Tunnel {
    /// Copies bytes both ways until one end hangs up.
    pub(super) async fn run(self) {
        let (project, version) = (&self.version.project, &self.version);
        if let Ok(client) = self.client.await {
            tracing::info!(
                project.name = %project, project.version = %version,
                "a debugger is attached to {version}"
            );
            carry(TokioIo::new(client), TokioIo::new(self.cell), BytesMut::new()).await;
            tracing::info!(
                project.name = %project, project.version = %version,
                "a debugger has left {version}"
            );
        }
    }
}

/// The answer of a cell to a handshake.
pub(super) struct Handshake {
    /// The answer for the client.
    pub(super) response: Response,
    /// The cell's connection. `None` if the cell did not switch protocols.
    pub(super) cell: Option<Upgraded>,
}

/// Opens a WebSocket to a cell. Of the client's request, only the key and the version are passed
/// on.
///
/// # Errors
/// The cell does not accept the connection, or answers with anything but a valid head.
pub(super) async fn shake_hands(socket: &Path, client: &HeaderMap) -> io::Result<Handshake> {
    let mut request = Request::new(Empty::<Bytes>::new());
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static("cell"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
    for name in [SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION] {
        headers.extend(client.get(&name).map(|value| (name, value.clone())));
    }
    let head = HeadBudget::new(INSPECTOR_HEAD);
    let stream = ReadsOn::new(UnixStream::connect(socket).await?, head.clone());
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(io::Error::other)?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        head.complete();
        let accept = response.headers().get(SEC_WEBSOCKET_ACCEPT).cloned();
        let accept = accept.filter(|accept| accept.len() <= WEBSOCKET_ACCEPT);
        let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let upgraded = if switched { Some(hyper::upgrade::on(response).await?) } else { None };
        hyper::Result::Ok((accept, upgraded))
    };
    let mut exchange = pin!(exchange);
    let exchanged = tokio::select! {
        exchanged = &mut exchange => exchanged,
        // The connection ends with the switch, which the exchange then has.
        _ = connection.with_upgrades() => exchange.await,
    };
    let (accept, cell) = exchanged.map_err(io::Error::other)?;
    Ok(Handshake { response: switching(accept), cell })
}

fn switching(accept: Option<HeaderValue>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
    headers.extend(accept.map(|accept| (SEC_WEBSOCKET_ACCEPT, accept)));
    response
}
