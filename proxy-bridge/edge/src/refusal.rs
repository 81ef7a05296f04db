//! Why bytes of a client are not served as a request.

use http::StatusCode;
use serde_json::json;

/// The rule that a request breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    BareLineFeed,
    BareCarriageReturn,
    ControlCharacter,
    RequestLine,
    /// The target has bytes beyond ASCII that are not UTF-8.
    Target,
    FoldedLine,
    HeaderName,
    LengthAndEncoding,
    SeveralLengths,
    Length,
    Encoding,
    EncodingInOld,
    ChunkSize,
    ChunkEnd,
    /// More bytes or more lines than are taken.
    HeadTooLarge,
    /// The head did not end within the head timeout. Raised by [`GuardedStream`](super::guarded), which has the timer.
    HeadTooSlow,
}

impl Refusal {
    /// The rule that was broken, in words for the client.
    pub fn rule(self) -> &'static str {
        match self {
            Self::BareLineFeed => "a line of a request's head or of its chunks ends with CR LF, not with LF",
            Self::BareCarriageReturn => "a CR is followed by LF",
            Self::ControlCharacter => "a header's value has no control characters",
            Self::RequestLine => "a request begins with a method, a target and HTTP/1.1",
            Self::Target => "the target of a request is ASCII or UTF-8",
            Self::FoldedLine => "a header is one line: it is not continued on the next one",
            Self::HeaderName => "a header's name is a token, with the colon right behind it",
            Self::LengthAndEncoding => "a request has content-length or transfer-encoding, not both",
            Self::SeveralLengths => "a request has one content-length",
            Self::Length => "a content-length is a decimal number",
            Self::Encoding => "a transfer-encoding is chunked, and nothing else",
            Self::EncodingInOld => "a request of HTTP/1.0 has no transfer-encoding",
            Self::ChunkSize => "a chunk begins with its size in hexadecimal digits",
            Self::ChunkEnd => "a chunk ends with CR LF",
            Self::HeadTooLarge => "the request's head is larger than is allowed",
            Self::HeadTooSlow => "the request's head did not end in time",
        }
    }

    pub fn status(self) -> StatusCode {
        match self {
            Self::HeadTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The end of the problem's `type`.
    pub fn slug(self) -> &'static str {
        match self {
            Self::HeadTooSlow => "head-timeout",
            Self::HeadTooLarge => "head-too-large",
            _ => "bad-request",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::HeadTooSlow => "Head too slow",
            Self::HeadTooLarge => "Head too large",
            _ => "Bad request",
        }
    }

    /// The problem document as a whole answer of HTTP/1.1, for a connection that hyper has given up.
    pub fn to_http(self) -> Vec<u8> {
        let status = self.status();
        let text = json!({
            "type": format!("urn:switchyard:problem:{}", self.slug()),
            "title": self.title(),
            "status": status.as_u16(),
            "detail": self.rule(),
        })
        .to_string();
        let length = text.len();
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n\
             connection: close\r\ncontent-length: {length}\r\n\r\n{text}"
        )
        .into_bytes()
    }
}
