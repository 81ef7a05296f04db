//! Tunnels: the bytes of two connections (WebSockets, debuggers), copied both ways after a switch
//! of protocols.

use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, join, split};
use tokio::time::timeout;

use super::pool::PooledConn;
use super::upload::RequestBody;

/// The time that a client has to hang up once the server has.
const LINGER: Duration = Duration::from_secs(1);

/// The time that the server's connection has to become a stream of bytes once it has responded 101.
const SWITCH: Duration = Duration::from_secs(5);

/// Copies between a client and the server that has responded 101 on `conn`. `client` resolves once
/// the client has switched protocols.
pub async fn run<S, B>(client: OnUpgrade, conn: PooledConn<S, B>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: RequestBody,
{
    let Ok(client) = client.await else { return };
    if let Ok((server, first)) = timeout(SWITCH, conn.into_stream()).await {
        let (from_server, to_server) = split(server);
        carry(TokioIo::new(client), join(first.as_ref().chain(from_server), to_server)).await;
    }
}

/// Copies bytes both ways until the server ends its stream. A client that only stops sending keeps
/// receiving; a client that does not hang up after the server's end is waited for no longer than a
/// second.
pub async fn carry(client: impl AsyncRead + AsyncWrite, server: impl AsyncRead + AsyncWrite) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (split(client), split(server));
    // Errors end the tunnel as the end of a stream does.
    let upwards = async {
        let _ = copy(&mut from_client, &mut to_server).await;
        let _ = to_server.shutdown().await;
    };
    let downwards = async {
        let _ = copy(&mut from_server, &mut to_client).await;
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
