//! Refusals of bytes that cannot be read as a request in exactly one way, by the rule that they
//! break.

use http::StatusCode;

/// The rule that a request breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A line ends with LF alone.
    BareLineFeed,
    /// A CR is not followed by LF.
    BareCarriageReturn,
    /// A header's value has a control character.
    ControlCharacter,
    /// The first line is not a method, a target and a version.
    RequestLine,
    /// The target has bytes beyond ASCII that are not UTF-8.
    Target,
    /// A header continues on the next line.
    FoldedLine,
    /// A header's name is not a token.
    HeaderName,
    /// Both `content-length` and `transfer-encoding`.
    LengthAndEncoding,
    /// More than one `content-length`.
    SeveralLengths,
    /// A `content-length` that is not a number.
    Length,
    /// A `transfer-encoding` other than `chunked`.
    Encoding,
    /// A `transfer-encoding` in HTTP/1.0.
    EncodingInOld,
    /// A chunk without a valid size.
    ChunkSize,
    /// A chunk that does not end where its size says.
    ChunkEnd,
    /// The head has more bytes or more headers than is allowed.
    HeadTooLarge,
    /// The head did not end within the head timeout. Raised by [`GuardedStream`](super::guarded),
    /// which has the timer.
    HeadTooSlow,
}

impl Refusal {
    /// The rule that the request breaks, as a sentence for the client.
    pub fn rule(self) -> &'static str {
        match self {
            Self::BareLineFeed => {
                "each line of a request's head and of its chunks ends with CR LF, not with LF"
            }
            Self::BareCarriageReturn => "a CR is followed by LF",
            Self::ControlCharacter => "a header's value has no control characters",
            Self::RequestLine => "a request begins with a method, a target and HTTP/1.1",
            Self::Target => "the target of a request is ASCII or UTF-8",
            Self::FoldedLine => "a header is one line: it is not continued on the next line",
            Self::HeaderName => "a header's name is a token, with the colon right behind it",
            Self::LengthAndEncoding => "a request has content-length or transfer-encoding, not both",
            Self::SeveralLengths => "a request has one content-length",
            Self::Length => "a content-length is a decimal number",
            Self::Encoding => "a transfer-encoding is chunked, and nothing else",
            Self::EncodingInOld => "an HTTP/1.0 request has no transfer-encoding",
            Self::ChunkSize => "a chunk begins with its size in hexadecimal digits",
            Self::ChunkEnd => "a chunk ends with CR LF",
            Self::HeadTooLarge => "the head of the request is larger than is allowed",
            Self::HeadTooSlow => "the head of the request did not end in time",
        }
    }

    /// The status of the response.
    pub fn status(self) -> StatusCode {
        match self {
            Self::HeadTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The end of the problem document's `type`.
    pub fn slug(self) -> &'static str {
        match self {
            Self::HeadTooSlow => "head-timeout",
            Self::HeadTooLarge => "head-too-large",
            _ => "bad-request",
        }
    }

    /// The problem document's title.
    pub fn title(self) -> &'static str {
        match self {
            Self::HeadTooSlow => "Head too slow",
            Self::HeadTooLarge => "Head too large",
            _ => "Bad request",
        }
    }
}
