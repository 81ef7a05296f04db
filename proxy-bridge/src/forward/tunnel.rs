//! A switch of protocols (WebSocket): bytes both ways until one end is through.

use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, join, split};
use tokio::time::timeout;

use super::pool::Link;
use crate::routers::InFlight;
use switchyard_edge::tunnel::carry;

/// How long the router's connection may take to be nothing but bytes, once it has said 101.
const SWITCH: Duration = Duration::from_secs(5);

/// Carries bytes between `client`, to be had once it has switched, and the router.
pub(super) async fn run(client: OnUpgrade, link: Link, _in_flight: InFlight) {
    let Ok(client) = client.await else { return };
    if let Ok((router, first)) = timeout(SWITCH, link.into_stream()).await {
        let (router_says, to_router) = split(router);
        carry(TokioIo::new(client), join(first.as_ref().chain(router_says), to_router)).await;
    }
}
