//! Two connections made one (WebSocket, debuggers): what a client says goes to a server and back, byte for byte.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, copy, split};
use tokio::time::timeout;

/// How long a client may take to hang up once the server has.
const LINGER: Duration = Duration::from_secs(1);

/// Carries bytes both ways until the server has no more to say. A client that only stops sending goes on
/// being told; one that does not hang up once the server has is not waited for longer than [`LINGER`].
pub async fn carry(client: impl AsyncRead + AsyncWrite, server: impl AsyncRead + AsyncWrite) {
    let ((mut client_says, mut to_client), (mut server_says, mut to_server)) = (split(client), split(server));
    // How a tunnel ends is the affair of its two ends.
    let upwards = async {
        let _ = copy(&mut client_says, &mut to_server).await;
        let _ = to_server.shutdown().await;
    };
    let downwards = async {
        let _ = copy(&mut server_says, &mut to_client).await;
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
