//! Uploads whose body is one archive, as `curl --data-binary @project.tar` sends it.

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use http::HeaderMap;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::sink::Sink;
use super::{CHUNKS, UploadError, joined};
use crate::upload_limits::UploadLimits;
use switchyard_edge::gate::{ARCHIVES, media_type};
use switchyard_edge::upload::announced_length;

/// The first bytes of archives, and the extension of their names. The mark of a tar is further
/// behind.
const BEGINNINGS: [(&[u8], &str); 4] = [
    (b"\x1f\x8b", ".tar.gz"),
    (b"\x28\xb5\x2f\xfd", ".tar.zst"),
    (b"PK\x03\x04", ".zip"),
    (b"PK\x05\x06", ".zip"),
];

/// The longest of those.
const BEGINNING: usize = 4;

pub(super) fn is_archive(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|kind| ARCHIVES.contains(&kind.as_str()))
}

/// Writes the body to `sink` as the only file of the upload, named by its first bytes.
///
/// # Errors
/// The body is too large, too slow, or breaks off.
pub(super) async fn receive<S, E>(
    headers: &HeaderMap,
    mut body: S,
    mut sink: Sink,
    limits: &UploadLimits,
) -> Result<Sink, UploadError>
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
{
    let length = announced_length(headers);
    if length.is_some_and(|length| length > limits.body) {
        return Err(too_large(limits));
    }
    let (chunks, mut received) = mpsc::channel::<Bytes>(CHUNKS);
    let writing = spawn_blocking(move || {
        let Some(first) = received.blocking_recv() else { return Ok(sink) };
        sink.open(&format!("archive{}", ending(&first)))?;
        sink.write(&first)?;
        while let Some(chunk) = received.blocking_recv() {
            sink.write(&chunk)?;
        }
        sink.close();
        Ok(sink)
    });
    let sent = timeout(limits.time, send(&mut body, &chunks, limits)).await;
    // The thread is waited for, so that no file is written once this is over.
    drop(chunks);
    let written = joined(writing.await)?;
    sent.unwrap_or_else(|_| Err(UploadError::slow(limits)))?;
    written
}

/// Returns early if the writer has stopped: its own error has the reason.
async fn send<S, E>(
    body: &mut S,
    chunks: &mpsc::Sender<Bytes>,
    limits: &UploadLimits,
) -> Result<(), UploadError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let (mut first, mut total) = (BytesMut::new(), 0);
    let mut has_begun = false;
    while let Some(chunk) = body.next().await {
        let chunk = chunk
            .map_err(|_| UploadError::bad("body", "the upload broke off before its end: send it again"))?;
        total += chunk.len() as u64;
        if total > limits.body {
            return Err(too_large(limits));
        }
        let next = if has_begun {
            chunk
        } else {
            first.extend_from_slice(&chunk);
            if first.len() < BEGINNING {
                continue;
            }
            has_begun = true;
            first.split().freeze()
        };
        if chunks.send(next).await.is_err() {
            return Ok(());
        }
    }
    if has_begun { Ok(()) } else { Err(UploadError::bad("body", "the body is empty: send an archive")) }
}

fn ending(first: &[u8]) -> &'static str {
    let known = BEGINNINGS.into_iter().find(|(beginning, _)| first.starts_with(beginning));
    known.map_or(".tar", |(_, ending)| ending)
}

fn too_large(limits: &UploadLimits) -> UploadError {
    UploadError::too_large("max-upload", limits.body, "the upload has bytes")
}
