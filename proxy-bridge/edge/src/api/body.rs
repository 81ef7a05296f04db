//! The body of a request: read whole within limits, or watched while a handler reads it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::problem::Problem;

/// The limits on a body that is read whole.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// The size in bytes.
    pub bytes: usize,
    /// The time from the end of the head to the end of the body.
    pub time: Duration,
}

impl BodyLimits {
    /// Reads a body.
    ///
    /// # Errors
    /// 408 or 413 for a body beyond the limits; 400 if it breaks off.
    pub async fn read(self, body: Body) -> Result<Bytes, Problem> {
        let Ok(collected) = timeout(self.time, Limited::new(body, self.bytes).collect()).await else {
            let detail = format!("the body did not arrive within {} seconds", self.time.as_secs());
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail));
        };
        collected.map(http_body_util::Collected::to_bytes).map_err(|error| {
            if error.is::<LengthLimitError>() {
                let detail = format!("the body is larger than {} bytes", self.bytes);
                return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail);
            }
            Problem::bad_request(format!("the body broke off: {error}"))
        })
    }
}

/// A request body that notes when it was read to its end.
#[derive(Debug)]
pub(super) struct TrackedBody {
    body: Incoming,
    is_read: Arc<AtomicBool>,
}

impl TrackedBody {
    pub(super) fn new(body: Incoming, is_read: Arc<AtomicBool>) -> Self {
        Self { body, is_read }
    }
}

impl http_body::Body for TrackedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if self.body.is_end_stream() || matches!(polled, Poll::Ready(None)) {
            self.is_read.store(true, Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
