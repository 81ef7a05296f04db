//! A switch of protocols (WebSocket): bytes both ways until one end is through.

use std::time::Duration;

use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, copy, split};
use tokio::time::timeout;

use super::pool::Link;
use crate::server::routers::InFlight;

/// How long a client may take to hang up once the router has.
const LINGER: Duration = Duration::from_secs(1);

/// How long the router's connection may take to be nothing but bytes, once it has said 101.
const SWITCH: Duration = Duration::from_secs(5);

/// Carries bytes between `client`, to be had once it has switched, and the router.
pub(super) async fn run(client: OnUpgrade, link: Link, _in_flight: InFlight) {
    let Ok(client) = client.await else { return };
    if let Ok((router, first)) = timeout(SWITCH, link.into_stream()).await {
        carry(TokioIo::new(client), router, first).await;
    }
}

/// Ends when the router has no more to say. A client that only stops sending goes on being told; one that does
/// not hang up once the router has is not waited for longer than [`LINGER`]. `first` was read of what the router
/// says before.
async fn carry(client: impl AsyncRead + AsyncWrite, router: impl AsyncRead + AsyncWrite, first: Bytes) {
    let ((mut client_says, mut to_client), (mut router_says, mut to_router)) = (split(client), split(router));
    // How a tunnel ends is the affair of its two ends.
    let upwards = async {
        let _ = copy(&mut client_says, &mut to_router).await;
        let _ = to_router.shutdown().await;
    };
    let downwards = async {
        if to_client.write_all(&first).await.is_ok() {
            let _ = copy(&mut router_says, &mut to_client).await;
        }
        let _ = to_client.shutdown().await;
    };
    tokio::pin!(upwards, downwards);
    tokio::select! {
        () = &mut downwards => {
            let _ = timeout(LINGER, upwards).await;
        }
        () = &mut upwards => downwards.await,
    }
}
