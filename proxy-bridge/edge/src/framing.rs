//! The boundaries of HTTP/1 requests. hyper's parser is lenient (a bare line feed, a
//! `Transfer-Encoding` that overrides a `Content-Length`) and shows only its result; a proxy in
//! front may have read the same bytes in another way, which is how requests are smuggled. Therefore
//! ambiguous bytes never reach hyper.
//!
//! An unambiguous head that hyper would refuse or misunderstand is rewritten: see [`rewrite`].

use std::mem::MaybeUninit;

use httparse::{EMPTY_HEADER, Header, ParserConfig, Request, Status};
use memchr::{memchr, memchr_iter};

use super::refusal::Refusal;
use switchyard_contract::bounds::MAX_HEADERS;

mod rewrite;

/// Headers that have room on the stack, which is enough for nearly all heads. Larger heads are
/// parsed once more.
const USUAL_HEADERS: usize = 100;

/// The largest trailers behind a chunked body that hyper accepts, in bytes.
const MAX_TRAILERS: usize = 16 * 1024;

/// The longest line with a chunk's size and its extensions (which are hardly ever used), in bytes.
const MAX_CHUNK_LINE: usize = 256;

/// The most digits of a chunk's size: fifteen stand for up to 2^60 bytes, seventeen would overflow.
const MAX_CHUNK_DIGITS: usize = 15;

/// The client preface of HTTP/2, which is not a valid HTTP/1 request (RFC 9113, 3.4).
const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// The next part of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NextPart {
    Head,
    /// The rest of a body of known length, in bytes.
    Body(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    /// HTTP/2 or a WebSocket, until the connection's end.
    Opaque,
}

/// The state of one connection between its bytes.
#[derive(Debug)]
pub struct Framing {
    next: NextPart,
    /// The number of bytes of an incomplete head that have been searched for its end.
    searched: usize,
    /// The offset of the last line in an incomplete head.
    line: usize,
    /// Heads that have been passed on.
    heads: u64,
    /// The connection may still turn out to be HTTP/2.
    is_new: bool,
    max_head: usize,
}

/// The reason why not all bytes are passed on as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The rest is an incomplete part, which has to be shown again with the bytes behind it.
    Incomplete,
    /// The rest is refused.
    Refused(Refusal),
    /// The next head is replaced. The bytes behind it have not been parsed.
    Replaced {
        /// The length of the head, in bytes.
        length: usize,
        /// The head that is passed on.
        by: Vec<u8>,
    },
}

/// The result of reading a head.
struct Head {
    next: NextPart,
    /// The head that hyper gets instead.
    rewritten: Option<Vec<u8>>,
}

/// The reason why [`Framing::look`] stops, without the offset.
enum Halt {
    Refused(Refusal),
    Replaced { length: usize, by: Vec<u8> },
}

impl From<Refusal> for Halt {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Framing {
    /// A new connection. `max_head` limits heads and trailers, in bytes.
    pub fn new(max_head: usize) -> Self {
        Self { next: NextPart::Head, searched: 0, line: 0, heads: 0, is_new: true, max_head }
    }

    /// A connection that has carried requests before.
    #[must_use]
    pub fn resumed(max_head: usize) -> Self {
        Self { is_new: false, ..Self::new(max_head) }
    }

    /// The number of heads that have been passed on.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Returns true if the next byte belongs to a new request.
    pub fn is_between_requests(&self) -> bool {
        self.next == NextPart::Head
    }

    /// Returns true if the rest of the connection is not HTTP/1.
    pub fn is_opaque(&self) -> bool {
        self.next == NextPart::Opaque
    }

    /// Reads `bytes`. Returns how many of them, from the front, may be passed on, and the reason
    /// why the rest may not.
    pub fn look(&mut self, bytes: &[u8]) -> (usize, Stop) {
        let mut passed = 0;
        while passed < bytes.len() {
            let rest = &bytes[passed..];
            let whole = match self.next {
                NextPart::Head => self.head(rest),
                NextPart::ChunkSize => self.chunk_size(rest).map_err(Halt::from),
                NextPart::ChunkEnd => self.chunk_end(rest).map_err(Halt::from),
                NextPart::Trailers => self.trailers(rest).map_err(Halt::from),
                NextPart::Body(left) => Ok(self.part(rest, left, NextPart::Body, NextPart::Head)),
                NextPart::Chunk(left) => Ok(self.part(rest, left, NextPart::Chunk, NextPart::ChunkEnd)),
                NextPart::Opaque => Ok(rest.len()),
            };
            match whole {
                Ok(0) => break,
                Ok(length) => passed += length,
                Err(Halt::Refused(refusal)) => return (passed, Stop::Refused(refusal)),
                Err(Halt::Replaced { length, by }) => return (passed, Stop::Replaced { length, by }),
            }
        }
        (passed, Stop::Incomplete)
    }

    fn part(&mut self, rest: &[u8], left: u64, more: fn(u64) -> NextPart, then: NextPart) -> usize {
        let length = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
        let left = left - length as u64;
        self.next = if left == 0 { then } else { more(left) };
        length
    }

    fn head(&mut self, rest: &[u8]) -> Result<usize, Halt> {
        // RFC 9112, 2.2: an empty line before a request is ignored.
        if rest.starts_with(b"\r\n") {
            self.searched = 0;
            return Ok(2);
        }
        let first = rest
            .first()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || b"\r\n!#$%&'*+-.^_`|~".contains(byte));
        if !first {
            return Err(Refusal::RequestLine.into());
        }
        let Some(end) = self.end_of_lines(rest, self.max_head)? else { return Ok(0) };
        let head = &rest[..end];
        let Head { next, rewritten } = if std::mem::take(&mut self.is_new) && head == HTTP_2 {
            Head { next: NextPart::Opaque, rewritten: None }
        } else {
            read(head)?
        };
        self.next = next;
        self.heads += 1;
        match rewritten {
            None => Ok(end),
            Some(by) => Err(Halt::Replaced { length: end, by }),
        }
    }

    /// Returns the offset behind the empty line that ends a head or trailers, if it has arrived.
    fn end_of_lines(&mut self, rest: &[u8], most: usize) -> Result<Option<usize>, Refusal> {
        let within = &rest[..rest.len().min(most)];
        let from = self.searched;
        for feed in memchr_iter(b'\n', &within[from..]) {
            let feed = from + feed;
            let text = &within[self.line..feed];
            if self.line == 0 && self.next == NextPart::Head {
                check_first_line(text)?;
            }
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
        if rest.len() >= most { Err(Refusal::HeadTooLarge) } else { Ok(None) }
    }

    /// Reads the line with a chunk's size. Extensions are ignored.
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
        self.next = if size == 0 { NextPart::Trailers } else { NextPart::Chunk(size) };
        Ok(feed + 1)
    }

    fn chunk_end(&mut self, rest: &[u8]) -> Result<usize, Refusal> {
        match rest {
            [b'\r'] => Ok(0),
            [b'\r', b'\n', ..] => {
                self.next = NextPart::ChunkSize;
                Ok(2)
            }
            _ => Err(Refusal::ChunkEnd),
        }
    }

    fn trailers(&mut self, rest: &[u8]) -> Result<usize, Refusal> {
        let Some(end) = self.end_of_lines(rest, self.max_head.min(MAX_TRAILERS))? else { return Ok(0) };
        let lines = &rest[..end];
        if lines != b"\r\n" {
            let mut headers = [EMPTY_HEADER; USUAL_HEADERS];
            let parsed = httparse::parse_headers(lines, &mut headers).map(|_| ());
            let parsed = match parsed {
                Err(httparse::Error::TooManyHeaders) => {
                    httparse::parse_headers(lines, &mut vec![EMPTY_HEADER; MAX_HEADERS]).map(|_| ())
                }
                parsed => parsed,
            };
            parsed.map_err(|error| refusal(error, lines))?;
        }
        self.next = NextPart::Head;
        Ok(end)
    }
}

/// Refuses anything but HTTP/1 as soon as the first line is complete: an HTTP/0.9 client sends no
/// other line.
fn check_first_line(line: &[u8]) -> Result<(), Refusal> {
    let Some(text) = line.strip_suffix(b"\r") else { return Ok(()) };
    if text.ends_with(b" HTTP/1.1") || text.ends_with(b" HTTP/1.0") || text == b"PRI * HTTP/2.0" {
        return Ok(());
    }
    Err(if text.contains(&b'\r') { Refusal::BareCarriageReturn } else { Refusal::RequestLine })
}

/// Reads a complete head.
fn read(head: &[u8]) -> Result<Head, Refusal> {
    let mut usual = [const { MaybeUninit::uninit() }; USUAL_HEADERS];
    let read = match read_into(head, &mut usual) {
        Err(httparse::Error::TooManyHeaders) => {
            read_into(head, &mut vec![MaybeUninit::uninit(); MAX_HEADERS])
        }
        read => read,
    };
    read.map_err(|error| refusal(error, head))?.result
}

/// A head that httparse could parse.
struct Parsed {
    /// The head, unless it breaks a rule that httparse does not check.
    result: Result<Head, Refusal>,
}

fn read_into<'h>(head: &'h [u8], headers: &mut [MaybeUninit<Header<'h>>]) -> Result<Parsed, httparse::Error> {
    let mut request = Request::new(&mut []);
    let parsed = ParserConfig::default().parse_request_with_uninit_headers(&mut request, head, headers)?;
    let result = match parsed {
        Status::Complete(length) if length == head.len() => interpret(&request, head),
        _ => Err(Refusal::RequestLine),
    };
    Ok(Parsed { result })
}

fn interpret(request: &Request<'_, '_>, head: &[u8]) -> Result<Head, Refusal> {
    let (mut length, mut encoded, mut upgrade) = (None, false, false);
    for header in request.headers.iter() {
        // The length comes first: one comparison of numbers is enough for most headers.
        match header.name.len() {
            7 if header.name.eq_ignore_ascii_case("upgrade") => upgrade = true,
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
    let body = match (length, encoded) {
        (Some(_), true) => return Err(Refusal::LengthAndEncoding),
        (None, true) if request.version == Some(0) => return Err(Refusal::EncodingInOld),
        (None, true) => NextPart::ChunkSize,
        (None | Some(0), false) => NextPart::Head,
        (Some(length), false) => NextPart::Body(length),
    };
    let websocket = upgrade && body == NextPart::Head && rewrite::wants_websocket(request);
    // The service closes the connection if protocols are not switched.
    let next = if websocket || request.method == Some("CONNECT") { NextPart::Opaque } else { body };
    let rewritten = rewrite::rewritten(request, head, upgrade && !websocket);
    Ok(Head { next, rewritten })
}

fn number(value: &[u8]) -> Result<u64, Refusal> {
    if value.contains(&b',') {
        return Err(Refusal::SeveralLengths);
    }
    let digits = value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| digits);
    text.and_then(|text| text.parse().ok()).ok_or(Refusal::Length)
}

/// Returns the rule behind a parse error, which httparse does not name.
#[cold]
fn refusal(error: httparse::Error, lines: &[u8]) -> Refusal {
    use httparse::Error::{HeaderName, HeaderValue, Token, TooManyHeaders};
    let stray = memchr_iter(b'\r', lines).any(|at| lines.get(at + 1) != Some(&b'\n'));
    let folded = memchr_iter(b'\n', lines).any(|at| matches!(lines.get(at + 1), Some(b' ' | b'\t')));
    match error {
        TooManyHeaders => Refusal::HeadTooLarge,
        Token if is_not_utf8(lines) => Refusal::Target,
        _ if stray => Refusal::BareCarriageReturn,
        HeaderName | HeaderValue if folded => Refusal::FoldedLine,
        HeaderName => Refusal::HeaderName,
        HeaderValue => Refusal::ControlCharacter,
        _ => Refusal::RequestLine,
    }
}

fn is_not_utf8(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    std::str::from_utf8(line).is_err()
}

#[cfg(test)]
mod tests;
