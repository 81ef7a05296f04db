//! The tar of a checkout on its way from the connection to the thread that unpacks it.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::StatusCode;
use switchyard_contract::project::ProjectName;
use switchyard_edge::problem::Problem;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::checkout::{ReceivedFiles, Store};

/// The chunks that may wait for the disk.
const CHUNKS: usize = 4;

/// The time for all files. Whoever sends them reads them from a disk.
const TIME: Duration = Duration::from_secs(300);

/// Unpacks the tar in `body`.
///
/// # Errors
/// It is not a tar of plain files, or does not come in time; or the disk fails.
pub(super) async fn unpack(
    store: Arc<Store>,
    project: ProjectName,
    body: Body,
) -> Result<ReceivedFiles, Problem> {
    let (chunks, received) = mpsc::channel(CHUNKS);
    let reader = ChunkReader { received, rest: Bytes::new() };
    let unpacking = spawn_blocking(move || store.unpack(&project, reader));
    let sent = timeout(TIME, send(body, chunks)).await;
    // The thread ends soon: its chunks have ended.
    let unpacked = unpacking.await.map_err(|panic| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "checkout", format!("it cannot be unpacked: {panic}"))
    })?;
    sent.map_err(|_| {
        let detail = format!("the files did not come within {} s", TIME.as_secs());
        Problem::new(StatusCode::REQUEST_TIMEOUT, "slow", detail)
    })?;
    Ok(unpacked?)
}

async fn send(body: Body, chunks: mpsc::Sender<io::Result<Bytes>>) {
    let mut body = body.into_data_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(io::Error::other);
        let is_last = chunk.is_err();
        if chunks.send(chunk).await.is_err() || is_last {
            return;
        }
    }
}

/// Reads chunks on a thread that may block.
struct ChunkReader {
    received: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.received.blocking_recv() {
                Some(chunk) => self.rest = chunk?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.rest.len());
        buffer[..length].copy_from_slice(&self.rest.split_to(length));
        Ok(length)
    }
}
