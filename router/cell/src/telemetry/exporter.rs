//! The exporters of Deno's telemetry: spans to the router, and nothing else.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use switchyard_telemetry::wire;

/// Sends spans to the router.
#[derive(Debug)]
pub(super) struct ToRouter {
    /// `None` once a batch was cut off.
    socket: Mutex<Option<UnixStream>>,
}

/// Takes no logs: what a project prints goes to the router's log.
#[derive(Debug)]
pub(super) struct NoLogs;

impl ToRouter {
    /// `socket`: with a limit of time for writing.
    pub(super) fn new(socket: UnixStream) -> Self {
        Self { socket: Mutex::new(Some(socket)) }
    }

    fn send(&self, mut spans: Vec<SpanData>) {
        let frame = match wire::encode(&spans) {
            Some(frame) => frame,
            None if spans.len() > 1 => {
                let rest = spans.split_off(spans.len() / 2);
                self.send(spans);
                return self.send(rest);
            }
            // A span that is too large is only counted.
            None => wire::lost(spans.len()),
        };
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        if socket.as_mut().is_some_and(|socket| socket.write_all(&frame).is_err()) {
            *socket = None;
        }
    }
}

impl SpanExporter for ToRouter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.send(batch);
        Ok(())
    }
}

impl LogExporter for NoLogs {
    async fn export(&self, _batch: LogBatch<'_>) -> OTelSdkResult {
        Ok(())
    }
}
