//! Where requests of HTTP/1 begin and end. hyper's parser is lenient (a bare line feed, a
//! `Transfer-Encoding` that silences a `Content-Length`) and shows only what came out of it; whoever stands
//! in front of the router may have read the same bytes otherwise, and that is how requests are smuggled. So
//! what can be read in two ways never reaches hyper.

use std::mem::MaybeUninit;

use httparse::{EMPTY_HEADER, Header, ParserConfig, Status};
use memchr::{memchr, memchr_iter};

/// hyper takes as many, and keeps them on its stack.
const MAX_HEADERS: usize = 100;

/// A chunk's size with its extensions, which nobody uses, in bytes.
const MAX_CHUNK_LINE: usize = 256;

/// More than 2^60 bytes are in no chunk; sixteen digits could overflow once another one follows.
const MAX_CHUNK_DIGITS: usize = 15;

/// The first line of HTTP/2, sent so that it cannot be taken for a request.
const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// Why bytes are not understood as a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    BareLineFeed,
    BareCarriageReturn,
    ControlCharacter,
    RequestLine,
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
    /// The head has begun and does not end. Told by who has a clock.
    HeadTooSlow,
}

impl Refusal {
    /// The rule that was broken, in words for the client.
    pub(super) fn rule(self) -> &'static str {
        match self {
            Self::BareLineFeed => "a line of a request's head or of its chunks ends with CR LF, not with LF",
            Self::BareCarriageReturn => "a CR is followed by LF",
            Self::ControlCharacter => "a header's value has no control characters",
            Self::RequestLine => "a request begins with a method, a target and HTTP/1.1",
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
}

/// What comes next on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Head,
    /// So many bytes of a body of known length.
    Body(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    /// No more requests of HTTP/1: HTTP/2, or whatever an upgrade leads to.
    Opaque,
}

/// Follows the requests on one connection.
#[derive(Debug)]
pub(super) struct Framing {
    next: Next,
    /// How much of an incomplete head has been searched for its end.
    searched: usize,
    /// Where its last line began.
    line: usize,
    heads: u64,
    max_head: usize,
}

/// So much of what was looked at may be passed on, and what is behind it may not.
pub(super) type Refused = (usize, Refusal);

impl Framing {
    /// `max_head` bounds a head, and the trailers of a chunked body, in bytes.
    pub(super) fn new(max_head: usize) -> Self {
        Self { next: Next::Head, searched: 0, line: 0, heads: 0, max_head }
    }

    /// How many heads have been passed on.
    pub(super) fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether the next byte belongs to a new request.
    pub(super) fn is_between_requests(&self) -> bool {
        self.next == Next::Head
    }

    /// Whether the rest of the connection is none of this module's business.
    pub(super) fn is_opaque(&self) -> bool {
        self.next == Next::Opaque
    }

    /// Looks at `bytes`, and says how many of them, from the front, may be passed on. What is left is the
    /// beginning of something: it is to be shown again, with more behind it.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Result<usize, Refused> {
        let mut passed = 0;
        while passed < bytes.len() {
            let rest = &bytes[passed..];
            let whole = match self.next {
                Next::Head => self.head(rest),
                Next::ChunkSize => self.chunk_size(rest),
                Next::ChunkEnd => self.chunk_end(rest),
                Next::Trailers => self.trailers(rest),
                Next::Body(left) => Ok(self.part(rest, left, Next::Body, Next::Head)),
                Next::Chunk(left) => Ok(self.part(rest, left, Next::Chunk, Next::ChunkEnd)),
                Next::Opaque => Ok(rest.len()),
            };
            match whole {
                Ok(0) => break,
                Ok(length) => passed += length,
                Err(refusal) => return Err((passed, refusal)),
            }
        }
        Ok(passed)
    }

    fn part(&mut self, rest: &[u8], left: u64, more: fn(u64) -> Next, then: Next) -> usize {
        let length = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
        let left = left - length as u64;
        self.next = if left == 0 { then } else { more(left) };
        length
    }

    fn head(&mut self, rest: &[u8]) -> Result<usize, Refusal> {
        // RFC 9112, 2.2: an empty line before a request is overlooked.
        if rest.starts_with(b"\r\n") {
            self.searched = 0;
            return Ok(2);
        }
        let first = rest
            .first()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || b"\r\n!#$%&'*+-.^_`|~".contains(byte));
        if !first {
            return Err(Refusal::RequestLine);
        }
        let Some(end) = self.end_of_lines(rest)? else { return Ok(0) };
        let head = &rest[..end];
        self.next = if self.heads == 0 && head == HTTP_2 { Next::Opaque } else { what_follows(head)? };
        self.heads += 1;
        Ok(end)
    }

    /// Where the empty line ends, if it is there.
    fn end_of_lines(&mut self, rest: &[u8]) -> Result<Option<usize>, Refusal> {
        let within = &rest[..rest.len().min(self.max_head)];
        let from = self.searched;
        for feed in memchr_iter(b'\n', &within[from..]) {
            let feed = from + feed;
            let text = &within[self.line..feed];
            self.line = feed + 1;
            match text {
                [b'\r'] => {
                    (self.searched, self.line) = (0, 0);
                    return Ok(Some(feed + 1));
                }
                [.., b'\r'] => {}
                _ => return Err(Refusal::BareLineFeed),
            }
        }
        self.searched = within.len();
        if rest.len() >= self.max_head { Err(Refusal::HeadTooLarge) } else { Ok(None) }
    }

    /// The line with a chunk's size. Extensions may be there, and mean nothing.
    fn chunk_size(&mut self, rest: &[u8]) -> Result<usize, Refusal> {
        let within = &rest[..rest.len().min(MAX_CHUNK_LINE)];
        let Some(feed) = memchr(b'\n', within) else {
            return if within.len() < MAX_CHUNK_LINE { Ok(0) } else { Err(Refusal::ChunkSize) };
        };
        let Some(line) = within[..feed].strip_suffix(b"\r") else { return Err(Refusal::BareLineFeed) };
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (digits, extensions) = line.split_at(digits);
        let plain = extensions.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
        if digits.is_empty()
            || digits.len() > MAX_CHUNK_DIGITS
            || !plain
            || !(extensions.is_empty() || extensions.starts_with(b";"))
        {
            return Err(Refusal::ChunkSize);
        }
        let digit = |byte: &u8| u64::from(char::from(*byte).to_digit(16).unwrap_or_default());
        let size = digits.iter().fold(0, |size, byte| size << 4 | digit(byte));
        self.next = if size == 0 { Next::Trailers } else { Next::Chunk(size) };
        Ok(feed + 1)
    }

    fn chunk_end(&mut self, rest: &[u8]) -> Result<usize, Refusal> {
        match rest {
            [b'\r'] => Ok(0),
            [b'\r', b'\n', ..] => {
                self.next = Next::ChunkSize;
                Ok(2)
            }
            _ => Err(Refusal::ChunkEnd),
        }
    }

    fn trailers(&mut self, rest: &[u8]) -> Result<usize, Refusal> {
        let Some(end) = self.end_of_lines(rest)? else { return Ok(0) };
        let lines = &rest[..end];
        if lines != b"\r\n" {
            let mut headers = [EMPTY_HEADER; MAX_HEADERS];
            httparse::parse_headers(lines, &mut headers).map_err(|error| why(error, lines))?;
        }
        self.next = Next::Head;
        Ok(end)
    }
}

/// What the lines of a head announce.
fn what_follows(head: &[u8]) -> Result<Next, Refusal> {
    let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    let parsed = ParserConfig::default().parse_request_with_uninit_headers(&mut request, head, &mut headers);
    match parsed.map_err(|error| why(error, head))? {
        Status::Complete(length) if length == head.len() => {}
        _ => return Err(Refusal::RequestLine),
    }
    let (mut length, mut encoded) = (None, false);
    let mut opaque = request.method == Some("CONNECT");
    for header in request.headers.iter() {
        // By length first: a comparison of one number for most headers.
        match header.name.len() {
            7 if header.name.eq_ignore_ascii_case("upgrade") => opaque = true,
            14 if header.name.eq_ignore_ascii_case("content-length") => {
                if length.is_some() {
                    return Err(Refusal::SeveralLengths);
                }
                length = Some(number(header.value)?);
            }
            17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                if encoded || !header.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::Encoding);
                }
                encoded = true;
            }
            _ => {}
        }
    }
    match (length, encoded) {
        (Some(_), true) => Err(Refusal::LengthAndEncoding),
        (None, true) if request.version == Some(0) => Err(Refusal::EncodingInOld),
        // The service closes the connection if it does not become something else.
        _ if opaque => Ok(Next::Opaque),
        (None, true) => Ok(Next::ChunkSize),
        (None | Some(0), false) => Ok(Next::Head),
        (Some(length), false) => Ok(Next::Body(length)),
    }
}

fn number(value: &[u8]) -> Result<u64, Refusal> {
    if value.contains(&b',') {
        return Err(Refusal::SeveralLengths);
    }
    let digits = value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| digits);
    text.and_then(|text| text.parse().ok()).ok_or(Refusal::Length)
}

/// httparse says what is wrong, but not why: an answer should.
#[cold]
fn why(error: httparse::Error, lines: &[u8]) -> Refusal {
    use httparse::Error::{HeaderName, HeaderValue, TooManyHeaders};
    let stray = memchr_iter(b'\r', lines).any(|at| lines.get(at + 1) != Some(&b'\n'));
    let folded = memchr_iter(b'\n', lines).any(|at| matches!(lines.get(at + 1), Some(b' ' | b'\t')));
    match error {
        TooManyHeaders => Refusal::HeadTooLarge,
        _ if stray => Refusal::BareCarriageReturn,
        HeaderName | HeaderValue if folded => Refusal::FoldedLine,
        HeaderName => Refusal::HeaderName,
        HeaderValue => Refusal::ControlCharacter,
        _ => Refusal::RequestLine,
    }
}

#[cfg(test)]
mod tests;
