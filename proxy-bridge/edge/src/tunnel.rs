//! Tunnels: the bytes of two connections (WebSockets, debuggers), copied both ways after a switch
//! of protocols.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf, split};
use tokio::time::timeout;

use super::pool::PooledConn;
use super::upload::RequestBody;

/// Bytes that are read at once.
const PIECE: usize = 8 << 10;

/// The time that a client has to hang up once the server has.
const LINGER: Duration = Duration::from_secs(1);

/// The time that the server's connection has to become a stream of bytes once it has responded 101.
const SWITCH: Duration = Duration::from_secs(5);

/// Copies between a client and the server that has responded 101 on `conn`. `client` resolves once
/// the client has switched protocols.
pub async fn run<S, B>(client: OnUpgrade, conn: Box<PooledConn<S, B>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: RequestBody,
{
    let Ok(client) = client.await else { return };
    let Ok((server, read)) = timeout(SWITCH, conn.into_stream()).await else { return };
    let first = BytesMut::from(read.as_ref());
    // It keeps a whole buffer.
    drop(read);
    carry(TokioIo::new(client), server, first).await;
}

/// Copies bytes both ways until the server ends its stream. A client that only stops sending keeps
/// receiving; a client that does not hang up after the server's end is waited for no longer than a
/// second. `first`: bytes of the server that were read before.
pub async fn carry(
    client: impl AsyncRead + AsyncWrite,
    server: impl AsyncRead + AsyncWrite,
    first: BytesMut,
) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (split(client), split(server));
    // Errors end the tunnel as the end of a stream does.
    let upwards = async {
        let _ = copy(&mut from_client, &mut to_server, BytesMut::new()).await;
        let _ = to_server.shutdown().await;
    };
    let downwards = async {
        let _ = copy(&mut from_server, &mut to_client, first).await;
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

/// Copies `rest`, and then bytes until `from` ends. A tunnel that is idle holds no buffer: most are
/// most of the time.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut rest: BytesMut,
) -> io::Result<()> {
    poll_fn(|cx| poll_copy(cx, Pin::new(&mut *from), Pin::new(&mut *to), &mut rest)).await
}

/// `rest`: what was read and could not be written yet.
fn poll_copy(
    cx: &mut Context<'_>,
    mut from: Pin<&mut impl AsyncRead>,
    mut to: Pin<&mut impl AsyncWrite>,
    rest: &mut BytesMut,
) -> Poll<io::Result<()>> {
    loop {
        while !rest.is_empty() {
            let written = ready!(to.as_mut().poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            rest.advance(written);
        }
        *rest = BytesMut::new();
        let mut space = [const { MaybeUninit::uninit() }; PIECE];
        let mut piece = ReadBuf::uninit(&mut space);
        let Poll::Ready(read) = from.as_mut().poll_read(cx, &mut piece) else {
            ready!(to.as_mut().poll_flush(cx))?;
            return Poll::Pending;
        };
        read?;
        if piece.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
        let written = match to.as_mut().poll_write(cx, piece.filled()) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        rest.extend_from_slice(&piece.filled()[written..]);
    }
}
