//! Responses as HTTP/1.1 writes them (RFC 9112, 6): as hyper does for the same response.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::StatusCode;
use http::header::{DATE, TRANSFER_ENCODING};
use http::response::Parts;
use http_body::{Body, Frame};

use super::output::Output;
use crate::request_id::REQUEST_ID;
use crate::upload::announced_length;

/// Writes the body of one response.
#[derive(Debug)]
pub(super) struct BodyWriter {
    coding: Coding,
}

/// The way in which the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    /// There is no body, whatever the handler gives.
    None,
    /// So many bytes are left.
    Length(u64),
    Chunked,
}

impl BodyWriter {
    /// Writes the head of a response with `body` to the request `id`. `is_head`: to a request `HEAD`. `is_last`: no
    /// further request is answered.
    pub(super) fn begin<B: Body>(
        output: &mut Output,
        head: &Parts,
        (body, id): (&B, Option<&str>),
        is_head: bool,
        is_last: bool,
    ) -> Self {
        let out = output.buffer();
        out.reserve(512);
        put_status(out, head.status);
        for (name, value) in &head.headers {
            if *name != TRANSFER_ENCODING && (id.is_none() || *name != REQUEST_ID) {
                put_header(out, name.as_str(), value.as_bytes());
            }
        }
        if let Some(id) = id {
            put_header(out, REQUEST_ID.as_str(), id.as_bytes());
        }
        let has_none = is_head || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let announced = announced_length(&head.headers);
        let coding = match (announced, known(body)) {
            (Some(length), _) => Coding::Length(length),
            (None, Some(0)) if has_none => Coding::None,
            (None, Some(length)) => {
                if head.status != StatusCode::NO_CONTENT {
                    put_header(out, "content-length", itoa::Buffer::new().format(length).as_bytes());
                }
                Coding::Length(length)
            }
            (None, None) => {
                if !has_none {
                    put_header(out, "transfer-encoding", b"chunked");
                }
                Coding::Chunked
            }
        };
        if !head.headers.contains_key(DATE) {
            put_date(out);
        }
        if is_last {
            put_header(out, "connection", b"close");
        }
        out.put_slice(b"\r\n");
        Self { coding: if has_none { Coding::None } else { coding } }
    }

    /// Returns true if nothing more is to be taken from `body`.
    pub(super) fn is_over<B: Body>(&self, body: &B) -> bool {
        self.coding == Coding::None || body.is_end_stream()
    }

    /// Writes a frame of the body. Trailers are left out: no plain request asks for them. So is what
    /// is beyond the announced length.
    pub(super) fn write(&mut self, output: &mut Output, frame: Frame<Bytes>) {
        let Ok(mut data) = frame.into_data() else { return };
        match &mut self.coding {
            Coding::None => {}
            Coding::Length(left) => {
                data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= data.len() as u64;
                output.add(data, b"");
            }
            Coding::Chunked if data.is_empty() => {}
            Coding::Chunked => put_chunk(output, data),
        }
    }

    /// Writes the end of the body. Returns false if that is shorter than was announced: the client
    /// must see that it is cut off.
    ///
    /// Must not be called while the output is full.
    pub(super) fn end(self, output: &mut Output) -> bool {
        match self.coding {
            Coding::None | Coding::Length(0) => true,
            Coding::Length(_) => false,
            Coding::Chunked => {
                output.buffer().put_slice(b"0\r\n\r\n");
                true
            }
        }
    }
}

/// Returns the length of a body, if that is known.
fn known<B: Body>(body: &B) -> Option<u64> {
    if body.is_end_stream() { Some(0) } else { body.size_hint().exact() }
}

fn put_status(out: &mut BytesMut, status: StatusCode) {
    if status == StatusCode::OK {
        return out.put_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(status.as_str().as_bytes());
    out.put_slice(b" ");
    out.put_slice(status.canonical_reason().unwrap_or("<none>").as_bytes());
    out.put_slice(b"\r\n");
}

fn put_header(out: &mut BytesMut, name: &str, value: &[u8]) {
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

fn put_chunk(output: &mut Output, data: Bytes) {
    let size = format!("{:X}\r\n", data.len());
    output.buffer().put_slice(size.as_bytes());
    output.add(data, b"\r\n");
}

thread_local! {
    /// The last date that was written: its second, and its text.
    static LAST_DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

fn put_date(out: &mut BytesMut) {
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    LAST_DATE.with_borrow_mut(|(last, text)| {
        if *last != second || text.is_empty() {
            (*last, *text) = (second, httpdate::fmt_http_date(now));
        }
        put_header(out, "date", text.as_bytes());
    });
}

#[cfg(test)]
mod tests;
