//! A checkout's tar on its way from the thread that reads files to the connection.

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::HeaderValue;
use switchyard_edge::api::answer::streamed;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::checkout::StoredVersion;

/// Bytes that are written to the network at once.
const CHUNK: usize = 64 * 1024;

/// The chunks that may wait for the network.
const CHUNKS: usize = 4;

/// The time after which a client that takes nothing is cut off: it holds a thread.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Answers with the tar of `kept`, and gives `permit` back when all of it has been read.
pub(super) fn send(kept: StoredVersion, permit: OwnedSemaphorePermit) -> Response {
    let (sender, pieces) = mpsc::channel(CHUNKS);
    let chunks = ChunkWriter { sender, runtime: Handle::current() };
    spawn_blocking(move || {
        let _permit = permit;
        let mut out = BufWriter::with_capacity(CHUNK, chunks);
        let sent = kept.write_tar(&mut out).and_then(|()| out.get_mut().end());
        if let Err(error) = sent {
            tracing::warn!(project.version = %kept.version, "a checkout was not sent completely: {error}");
        }
    });
    streamed(HeaderValue::from_static("application/x-tar"), stream::unfold(Some(pieces), next))
}

enum TarPiece {
    Data(Bytes),
    /// The tar is complete. If it is missing, the connection breaks off.
    End,
}

type Pieces = mpsc::Receiver<TarPiece>;

async fn next(pieces: Option<Pieces>) -> Option<(io::Result<Bytes>, Option<Pieces>)> {
    let mut pieces = pieces?;
    match pieces.recv().await {
        Some(TarPiece::Data(chunk)) => Some((Ok(chunk), Some(pieces))),
        Some(TarPiece::End) => None,
        None => Some((Err(io::Error::other("the checkout cannot be read completely")), None)),
    }
}

/// Writes chunks to the connection, from a thread that may block.
struct ChunkWriter {
    sender: mpsc::Sender<TarPiece>,
    runtime: Handle,
}

impl ChunkWriter {
    fn send(&self, piece: TarPiece) -> io::Result<()> {
        match self.runtime.block_on(timeout(CLIENT_TIMEOUT, self.sender.send(piece))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the client has disconnected")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        self.send(TarPiece::End)
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.send(TarPiece::Data(Bytes::copy_from_slice(data)))?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
