//! Spans of a cell on their way to its router: batches of OTLP, each behind a [`Header`].

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::trace::SpanData;
use prost::Message as _;

/// The largest batch in bytes. A router closes the connection of a cell that sends more.
pub const MAX_BATCH: usize = 1 << 20;

/// Spans in a batch at most. With the usual attributes they take a tenth of [`MAX_BATCH`].
pub const BATCH_SPANS: usize = 128;

/// The argument of a cell that sends spans, followed by `=` and the share of its own traces that are
/// exported.
pub const ARGUMENT: &str = "--telemetry";

/// The name of the socket that takes the spans, in the cell's folder.
pub const SOCKET: &str = "spans";

/// The header of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The number of spans in it, as the cell says.
    pub spans: usize,
    /// Its bytes. None: the spans were dropped.
    pub bytes: usize,
}

impl Header {
    /// The bytes that a header takes.
    pub const LENGTH: usize = 8;

    /// Reads a header: two numbers of four bytes, the most significant byte first.
    pub fn read(bytes: [u8; Self::LENGTH]) -> Self {
        let numbers = u64::from_be_bytes(bytes);
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self { spans: number(numbers >> 32), bytes: number(numbers & u64::from(u32::MAX)) }
    }

    fn write(self) -> [u8; Self::LENGTH] {
        let number = |number: usize| u64::from(u32::try_from(number).unwrap_or(u32::MAX));
        (number(self.spans) << 32 | number(self.bytes)).to_be_bytes()
    }
}

/// Encodes a batch with its header. `None`: it is too large.
pub fn encode(spans: &[SpanData]) -> Option<Vec<u8>> {
    let count = spans.len();
    let resource = ResourceAttributesWithSchema::default();
    let resource_spans = group_spans_by_resource_and_scope(spans.to_vec(), &resource);
    let request = ExportTraceServiceRequest { resource_spans };
    let header = Header { spans: count, bytes: request.encoded_len() };
    if header.spans > BATCH_SPANS || header.bytes > MAX_BATCH {
        return None;
    }
    let mut frame = Vec::with_capacity(Header::LENGTH + header.bytes);
    frame.extend_from_slice(&header.write());
    request.encode(&mut frame).ok()?;
    Some(frame)
}

/// Returns the header of spans that were dropped.
pub fn lost(spans: usize) -> Vec<u8> {
    Header { spans: spans.min(BATCH_SPANS), bytes: 0 }.write().to_vec()
}
