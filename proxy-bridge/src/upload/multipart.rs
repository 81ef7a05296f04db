//! multipart/form-data, as browsers and curl send it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use http::HeaderMap;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use multer::{Field, Multipart};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::disposition::Disposition;
use super::sink::Sink;
use super::{CHUNKS, UploadError, joined};
use crate::upload_limits::UploadLimits;
use switchyard_edge::upload::announced_length;

/// A commit message's first line, not a file.
const MAX_MESSAGE: usize = 1024;

/// The most bytes that hyper hands out at once: its largest read buffer.
const MAX_CHUNK: u64 = 512 * 1024;

/// The boundary between the parts, from the head of the request.
///
/// # Errors
/// 415 for anything that is not multipart/form-data, 413 for a body that says it is too large.
pub(super) fn boundary(headers: &HeaderMap, limits: &UploadLimits) -> Result<String, UploadError> {
    let how = "send multipart/form-data, as curl -F 'file=@main.ts;filename=main.ts' does";
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let boundary = multer::parse_boundary(kind).map_err(|error| match error {
        multer::Error::NoBoundary => UploadError::bad("content-type", format!("it names no boundary: {how}")),
        _ => UploadError::unsupported(how),
    })?;
    if boundary.is_empty() || boundary.len() > limits.boundary {
        let detail = format!(
            "the boundary has {} bytes: expected 1 to {} (--max-boundary)",
            boundary.len(),
            limits.boundary
        );
        return Err(UploadError::bad("boundary", detail));
    }
    let length = announced_length(headers);
    if length.is_some_and(|length| length > limits.body) {
        return Err(too_large(limits));
    }
    Ok(boundary)
}

fn too_large(limits: &UploadLimits) -> UploadError {
    UploadError::too_large("max-upload", limits.body, "the upload has bytes")
}

/// A step of the thread that writes.
enum WriteStep {
    Open(String),
    Data(Bytes),
    Close,
}

/// Writes all parts to `sink`. Returns it with the message, if there is one.
///
/// # Errors
/// A part is not accepted, or the upload is too large, too slow or breaks off.
pub(super) async fn receive<S, E>(
    body: S,
    boundary: String,
    mut sink: Sink,
    limits: &UploadLimits,
) -> Result<(Sink, Option<String>), UploadError>
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
{
    let (steps, mut received) = mpsc::channel(CHUNKS);
    let writing = spawn_blocking(move || {
        while let Some(step) = received.blocking_recv() {
            match step {
                WriteStep::Open(path) => sink.open(&path)?,
                WriteStep::Data(data) => sink.write(&data)?,
                WriteStep::Close => sink.close(),
            }
        }
        Ok(sink)
    });
    let handed_out = Arc::new(AtomicU64::new(0));
    let paced = Paced { body, handed_out: handed_out.clone(), rest: false };
    let constraints =
        multer::Constraints::new().size_limit(multer::SizeLimit::new().whole_stream(limits.body));
    let multipart = Multipart::with_constraints(paced, boundary, constraints);
    let parts = timeout(limits.time, read_parts(multipart, &steps, &handed_out, limits)).await;
    let parts = parts.unwrap_or_else(|_| Err(UploadError::slow(limits).into()));
    // The thread is waited for, so that no file is written once this is over.
    drop(steps);
    let written = joined(writing.await)?;
    match parts {
        // The writer stopped listening because of its own error.
        Err(PartError::WriterGone) => Err(written
            .err()
            .unwrap_or_else(|| UploadError::bad("body", "the upload broke off: send it again"))),
        Err(PartError::Refused(refused)) => Err(written.err().unwrap_or(refused)),
        Ok(message) => Ok((written?, message)),
    }
}

/// The reason why no more parts are read.
enum PartError {
    /// A part is not accepted.
    Refused(UploadError),
    /// The thread that writes has stopped, because of an error of its own.
    WriterGone,
}

impl From<UploadError> for PartError {
    fn from(refused: UploadError) -> Self {
        Self::Refused(refused)
    }
}

/// Hands all parts to the thread that writes. Returns the message, if there is one.
async fn read_parts(
    mut multipart: Multipart<'_>,
    steps: &mpsc::Sender<WriteStep>,
    handed_out: &AtomicU64,
    limits: &UploadLimits,
) -> Result<Option<String>, PartError> {
    let mut message = None;
    loop {
        let before = handed_out.load(Ordering::Relaxed);
        let allowed = limits.part_headers as u64 + MAX_CHUNK;
        let next = std::future::poll_fn(|context| {
            let polled = multipart.poll_next_field(context);
            if polled.is_pending() && handed_out.load(Ordering::Relaxed) - before > allowed {
                return Poll::Ready(Err(headers_too_large(limits)));
            }
            polled.map_err(|error| refuse(&error, limits))
        });
        let field = next.await?;
        let Some(field) = field else { return Ok(message) };
        let length: usize =
            field.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if length > limits.part_headers {
            return Err(headers_too_large(limits).into());
        }
        let disposition = field.headers().get(CONTENT_DISPOSITION).map(|value| value.as_bytes());
        let Disposition { name, filename } = Disposition::parse(disposition.unwrap_or_default())?;
        match filename {
            Some(path) => {
                check_encoding(field.headers()).map_err(|refused| refused.part(&path))?;
                file(field, path, steps, limits).await?;
            }
            None if name.as_deref() == Some("message") => message = Some(text(field, limits).await?),
            None => {
                let name = name.unwrap_or_default();
                let detail = format!(
                    "the part {name:?} has no filename: give it its path in the project \
                     (curl -F 'file=@a.ts;filename=src/a.ts')"
                );
                return Err(UploadError::bad("filename", detail).part(&name).into());
            }
        }
    }
}

/// Refuses parts with an encoded content, as mail programs send it and RFC 7578 (4.7) forbids: the
/// base64 would be stored as the file.
fn check_encoding(headers: &HeaderMap) -> Result<(), UploadError> {
    const HEADER: &str = "content-transfer-encoding";
    for encoding in headers.get_all(HEADER) {
        let encoding = String::from_utf8_lossy(encoding.as_bytes());
        if !["binary", "8bit", "7bit"].iter().any(|plain| encoding.trim().eq_ignore_ascii_case(plain)) {
            let detail = format!("a part has the {HEADER} {encoding:?}: send files unencoded (binary)");
            return Err(UploadError::bad(HEADER, detail));
        }
    }
    Ok(())
}

async fn file(
    mut field: Field<'_>,
    path: String,
    steps: &mpsc::Sender<WriteStep>,
    limits: &UploadLimits,
) -> Result<(), PartError> {
    steps.send(WriteStep::Open(path.clone())).await.map_err(|_| PartError::WriterGone)?;
    loop {
        match field.chunk().await {
            Ok(Some(chunk)) => steps.send(WriteStep::Data(chunk)).await.map_err(|_| PartError::WriterGone)?,
            Ok(None) => return steps.send(WriteStep::Close).await.map_err(|_| PartError::WriterGone),
            Err(error) => return Err(refuse(&error, limits).part(&path).into()),
        }
    }
}

async fn text(mut field: Field<'_>, limits: &UploadLimits) -> Result<String, UploadError> {
    let mut text = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|error| refuse(&error, limits))? {
        text.extend_from_slice(&chunk);
        if text.len() > MAX_MESSAGE {
            let detail = format!("the message has more than {MAX_MESSAGE} bytes: shorten it");
            return Err(UploadError::bad("message", detail).part("message"));
        }
    }
    let wrong = |_| UploadError::bad("message", "the message is not UTF-8").part("message");
    String::from_utf8(text).map_err(wrong)
}

fn headers_too_large(limits: &UploadLimits) -> UploadError {
    UploadError::too_large("max-part-headers", limits.part_headers, "the headers of a part have bytes")
}

fn refuse(error: &multer::Error, limits: &UploadLimits) -> UploadError {
    use multer::Error;
    match error {
        Error::StreamSizeExceeded { .. } => too_large(limits),
        Error::StreamReadFailed(_)
        | Error::IncompleteStream
        | Error::IncompleteHeaders
        | Error::IncompleteFieldData { .. } => {
            UploadError::bad("body", "the upload broke off before its end: send it again")
        }
        other => UploadError::bad("body", format!("the upload is not well formed: {other}")),
    }
}

/// Hands out one chunk at a time: the parser would buffer everything that is available.
struct Paced<S> {
    body: S,
    handed_out: Arc<AtomicU64>,
    rest: bool,
}

impl<S, E> Stream for Paced<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    type Item = Result<Bytes, E>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.rest) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.body).poll_next(context);
        if let Poll::Ready(Some(Ok(chunk))) = &polled {
            self.handed_out.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            self.rest = true;
        }
        polled
    }
}
