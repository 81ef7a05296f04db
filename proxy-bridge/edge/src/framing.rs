//! Where requests of HTTP/1 begin and end. hyper's parser is lenient (a bare line feed, a
//! `Transfer-Encoding` that silences a `Content-Length`) and shows only what came out of it; whoever stands
//! in front may have read the same bytes otherwise, and that is how requests are smuggled. So
//! what can be read in two ways never reaches hyper.
//!
//! A head that is unambiguous, and that hyper would refuse or misunderstand all the same, is rewritten: see
//! [`rewrite`].

use std::mem::MaybeUninit;

use httparse::{EMPTY_HEADER, Header, ParserConfig, Request, Status};
use memchr::{memchr, memchr_iter};

use super::refusal::Refusal;
use switchyard_contract::bounds::MAX_HEADERS;

mod rewrite;

/// Room on the stack for the headers that nearly all heads have at most. Others are parsed once more.
const USUAL_HEADERS: usize = 100;

/// The most that hyper takes of the trailers behind a chunked body, in bytes.
const MAX_TRAILERS: usize = 16 * 1024;

/// A chunk's size with its extensions, which nobody uses, in bytes.
const MAX_CHUNK_LINE: usize = 256;

/// More than 2^60 bytes are in no chunk; sixteen digits could overflow once another one follows.
const MAX_CHUNK_DIGITS: usize = 15;

/// The first line of HTTP/2, sent so that it cannot be taken for a request.
const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

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
    /// No more requests of HTTP/1: HTTP/2, or a WebSocket.
    Opaque,
}

/// Follows the requests on one connection.
#[derive(Debug)]
pub struct Framing {
    next: Next,
    /// How much of an incomplete head has been searched for its end.
    searched: usize,
    /// Where its last line began.
    line: usize,
    heads: u64,
    max_head: usize,
}

/// Why not all of what was looked at is passed on as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The rest is the beginning of something: it is to be shown again, with more behind it.
    Incomplete,
    /// The rest is not served.
    Refused(Refusal),
    /// The next head, of `length` bytes, is passed on as `by`. What is behind it has not been looked at.
    Replaced { length: usize, by: Vec<u8> },
}

/// The meaning of a head.
struct Head {
    next: Next,
    /// What hyper is given in its place.
    rewritten: Option<Vec<u8>>,
}

/// Why [`Framing::look`] stops, before it knows where.
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
    /// `max_head` bounds a head, and the trailers of a chunked body, in bytes.
    pub fn new(max_head: usize) -> Self {
        Self { next: Next::Head, searched: 0, line: 0, heads: 0, max_head }
    }

    /// How many heads have been passed on.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether the next byte belongs to a new request.
    pub fn is_between_requests(&self) -> bool {
        self.next == Next::Head
    }

    /// Whether the rest of the connection is none of this module's business.
    pub fn is_opaque(&self) -> bool {
        self.next == Next::Opaque
    }

    /// Looks at `bytes`. Returns how many of them, from the front, are passed on as they are, and what is to be
    /// done with the rest.
    pub fn look(&mut self, bytes: &[u8]) -> (usize, Stop) {
        let mut passed = 0;
        while passed < bytes.len() {
            let rest = &bytes[passed..];
            let whole = match self.next {
                Next::Head => self.head(rest),
                Next::ChunkSize => self.chunk_size(rest).map_err(Halt::from),
                Next::ChunkEnd => self.chunk_end(rest).map_err(Halt::from),
                Next::Trailers => self.trailers(rest).map_err(Halt::from),
                Next::Body(left) => Ok(self.part(rest, left, Next::Body, Next::Head)),
                Next::Chunk(left) => Ok(self.part(rest, left, Next::Chunk, Next::ChunkEnd)),
                Next::Opaque => Ok(rest.len()),
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

    fn part(&mut self, rest: &[u8], left: u64, more: fn(u64) -> Next, then: Next) -> usize {
        let length = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
        let left = left - length as u64;
        self.next = if left == 0 { then } else { more(left) };
        length
    }

    fn head(&mut self, rest: &[u8]) -> Result<usize, Halt> {
        // RFC 9112, 2.2: an empty line before a request is overlooked.
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
        let Head { next, rewritten } = if self.heads == 0 && head == HTTP_2 {
            Head { next: Next::Opaque, rewritten: None }
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

    /// Where the empty line ends, if it is there.
    fn end_of_lines(&mut self, rest: &[u8], most: usize) -> Result<Option<usize>, Refusal> {
        let within = &rest[..rest.len().min(most)];
        let from = self.searched;
        for feed in memchr_iter(b'\n', &within[from..]) {
            let feed = from + feed;
            let text = &within[self.line..feed];
            if self.line == 0 && self.next == Next::Head {
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
            parsed.map_err(|error| why(error, lines))?;
        }
        self.next = Next::Head;
        Ok(end)
    }
}

/// Refuses what is no request of HTTP/1 as soon as its first line is there: a client of HTTP/0.9 sends no other.
fn check_first_line(line: &[u8]) -> Result<(), Refusal> {
    let Some(text) = line.strip_suffix(b"\r") else { return Ok(()) };
    if text.ends_with(b" HTTP/1.1") || text.ends_with(b" HTTP/1.0") || text == b"PRI * HTTP/2.0" {
        return Ok(());
    }
    Err(if text.contains(&b'\r') { Refusal::BareCarriageReturn } else { Refusal::RequestLine })
}

/// What a head announces.
fn read(head: &[u8]) -> Result<Head, Refusal> {
    let mut usual = [const { MaybeUninit::uninit() }; USUAL_HEADERS];
    let read = match read_into(head, &mut usual) {
        Err(httparse::Error::TooManyHeaders) => {
            read_into(head, &mut vec![MaybeUninit::uninit(); MAX_HEADERS])
        }
        read => read,
    };
    read.map_err(|error| why(error, head))?
}

fn read_into<'h>(
    head: &'h [u8],
    headers: &mut [MaybeUninit<Header<'h>>],
) -> Result<Result<Head, Refusal>, httparse::Error> {
    let mut request = Request::new(&mut []);
    let parsed = ParserConfig::default().parse_request_with_uninit_headers(&mut request, head, headers)?;
    Ok(match parsed {
        Status::Complete(length) if length == head.len() => announced(&request, head),
        _ => Err(Refusal::RequestLine),
    })
}

fn announced(request: &Request<'_, '_>, head: &[u8]) -> Result<Head, Refusal> {
    let (mut length, mut encoded, mut upgrade) = (None, false, false);
    for header in request.headers.iter() {
        // By length first: a comparison of one number for most headers.
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
        (None, true) => Next::ChunkSize,
        (None | Some(0), false) => Next::Head,
        (Some(length), false) => Next::Body(length),
    };
    let websocket = upgrade && body == Next::Head && rewrite::wants_websocket(request);
    // The service closes the connection if it does not become something else.
    let next = if websocket || request.method == Some("CONNECT") { Next::Opaque } else { body };
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

/// httparse says what is wrong, but not why: an answer should.
#[cold]
fn why(error: httparse::Error, lines: &[u8]) -> Refusal {
    use httparse::Error::{HeaderName, HeaderValue, Token, TooManyHeaders};
    let stray = memchr_iter(b'\r', lines).any(|at| lines.get(at + 1) != Some(&b'\n'));
    let folded = memchr_iter(b'\n', lines).any(|at| matches!(lines.get(at + 1), Some(b' ' | b'\t')));
    match error {
        TooManyHeaders => Refusal::HeadTooLarge,
        Token if beyond_utf8(lines) => Refusal::Target,
        _ if stray => Refusal::BareCarriageReturn,
        HeaderName | HeaderValue if folded => Refusal::FoldedLine,
        HeaderName => Refusal::HeaderName,
        HeaderValue => Refusal::ControlCharacter,
        _ => Refusal::RequestLine,
    }
}

fn beyond_utf8(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    std::str::from_utf8(line).is_err()
}

#[cfg(test)]
mod tests;
