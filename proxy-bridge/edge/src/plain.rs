//! Plain requests: heads that are canonical and hold nothing that is meant for this hop, with bodies
//! that are there already. They can be passed on as they are. All others take the long way, through
//! [`GuardedStream`](crate::guarded::GuardedStream) and hyper, where they are rewritten or refused.
//!
//! Every rule here is one of [`framing`](crate::framing), [`target`](crate::target) or
//! [`forwarded`](crate::forwarded), in its simplest case: a head about which there is any doubt is
//! not plain.

use std::mem::MaybeUninit;

use httparse::{Header, ParserConfig, Request, Status};
use memchr::memchr_iter;

/// Headers of a plain request: one bit of a mask for each.
const MAX_HEADERS: usize = 64;

/// Bytes of the body of a plain request: it goes with its head in one frame to a cell.
pub const MAX_BODY: usize = 32 << 10;

/// The methods of plain requests.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// A plain request.
#[derive(Debug)]
pub struct PlainRequest<'h> {
    method: &'h str,
    target: &'h str,
    /// The length of the target's path.
    path: usize,
    host: &'h [u8],
    request_id: Option<&'h [u8]>,
    accept: Option<&'h [u8]>,
    headers: &'h [Header<'h>],
    /// Bits of the headers that are not passed on.
    dropped: u64,
    body: &'h [u8],
}

/// The result of looking for a plain request at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look<T> {
    /// There is one, of this many bytes, and it was taken.
    Taken(usize, T),
    /// The head is incomplete, and may be plain so far.
    Incomplete,
    /// There is no plain request, or it was not taken.
    Other,
}

/// Looks for a plain request at the beginning of `bytes`, and gives it to `take`.
pub(crate) fn look<T>(
    bytes: &[u8],
    max_head: usize,
    take: impl FnOnce(&PlainRequest<'_>) -> Option<T>,
) -> Look<T> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = Request::new(&mut []);
    let parsed = ParserConfig::default().parse_request_with_uninit_headers(&mut request, bytes, &mut headers);
    match parsed {
        Ok(Status::Complete(head)) if head <= max_head => {
            let plain = plain(&request, &bytes[..head], &bytes[head..]);
            match plain.and_then(|plain| Some((head + plain.body.len(), take(&plain)?))) {
                Some((length, taken)) => Look::Taken(length, taken),
                None => Look::Other,
            }
        }
        Ok(Status::Partial) if bytes.len() < max_head => Look::Incomplete,
        _ => Look::Other,
    }
}

/// Returns the request if it is plain. `rest`: the bytes behind its head.
fn plain<'h>(request: &'h Request<'_, 'h>, head: &'h [u8], rest: &'h [u8]) -> Option<PlainRequest<'h>> {
    let method =
        request.method.filter(|method| METHODS.contains(method) && head.starts_with(method.as_bytes()))?;
    let target = request.path?;
    if request.version != Some(1) || has_bare_line_feed(head) {
        return None;
    }
    let path = path_length(target)?;
    let headers: &'h [Header<'h>] = request.headers;
    let (mut host, mut length, mut request_id, mut accept, mut dropped) = (None, None, None, None, 0);
    for (index, header) in headers.iter().enumerate() {
        let once = |slot: &mut Option<&'h [u8]>| slot.replace(header.value).is_none().then_some(());
        match Field::of(header.name) {
            Field::Passed => continue,
            Field::Accept => {
                accept = Some(header.value);
                continue;
            }
            Field::Length => {
                once(&mut length)?;
                continue;
            }
            Field::Host => once(&mut host)?,
            Field::RequestId => once(&mut request_id)?,
            Field::Connection if header.value.eq_ignore_ascii_case(b"keep-alive") => {}
            Field::Dropped => {}
            Field::Connection | Field::Refused => return None,
        }
        dropped |= 1 << index;
    }
    let body = rest.get(..length.map_or(Some(0), number)?)?;
    Some(PlainRequest { method, target, path, host: host?, request_id, accept, headers, dropped, body })
}

/// A header's meaning for a plain request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    /// The header is passed on as it is.
    Passed,
    Accept,
    Host,
    Length,
    RequestId,
    Connection,
    /// The header is not passed on: it is for this hop, or describes the client, which the router does.
    Dropped,
    /// A request with it is not plain.
    Refused,
}

impl Field {
    fn of(name: &str) -> Self {
        let (known, field) = match name.len() {
            2 => ("te", Self::Refused),
            4 => ("host", Self::Host),
            6 if name.eq_ignore_ascii_case("accept") => return Self::Accept,
            6 => ("expect", Self::Refused),
            7 => ("upgrade", Self::Refused),
            9 if name.eq_ignore_ascii_case("x-real-ip") => return Self::Dropped,
            9 => ("forwarded", Self::Dropped),
            10 if name.eq_ignore_ascii_case("keep-alive") => return Self::Dropped,
            10 => ("connection", Self::Connection),
            12 => ("x-request-id", Self::RequestId),
            14 if name.eq_ignore_ascii_case("http2-settings") => return Self::Refused,
            14 => ("content-length", Self::Length),
            15 => ("x-forwarded-for", Self::Dropped),
            16 if name.eq_ignore_ascii_case("proxy-connection") => return Self::Dropped,
            16 => ("x-forwarded-host", Self::Dropped),
            17 if name.eq_ignore_ascii_case("x-forwarded-proto") => return Self::Dropped,
            17 => ("transfer-encoding", Self::Refused),
            18 if name.eq_ignore_ascii_case("proxy-authenticate") => return Self::Dropped,
            18 => ("x-forwarded-prefix", Self::Dropped),
            19 => ("proxy-authorization", Self::Dropped),
            21 => ("x-deno-client-address", Self::Dropped),
            _ => return Self::Passed,
        };
        if name.eq_ignore_ascii_case(known) { field } else { Self::Passed }
    }
}

fn has_bare_line_feed(head: &[u8]) -> bool {
    memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r')
}

/// Returns the length of the path of a target that needs no rewriting: its path is canonical, and
/// all parsers of URLs leave its characters as they are.
fn path_length(target: &str) -> Option<usize> {
    let bytes = target.as_bytes();
    let path = memchr::memchr(b'?', bytes).unwrap_or(bytes.len());
    if bytes.first() != Some(&b'/') {
        return None;
    }
    let is_plain = |at: usize, byte: u8| match byte {
        b'.' => bytes[at - 1] != b'/',
        _ => byte.is_ascii_alphanumeric() || b"-_~!$&()*+,;=:@/".contains(&byte),
    };
    let is_plain_query = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&()*+,;=:@/?%".contains(&byte);
    let is_plain = bytes[..path].iter().enumerate().all(|(at, byte)| is_plain(at, *byte))
        && bytes[path..].iter().all(|byte| is_plain_query(*byte));
    is_plain.then_some(path)
}

/// Returns the length of a body that a plain request may have.
fn number(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
    (number <= MAX_BODY).then_some(number)
}

impl<'h> PlainRequest<'h> {
    /// The method, in upper case.
    #[must_use]
    pub fn method(&self) -> &'h str {
        self.method
    }

    /// Returns true if the response has no body.
    #[must_use]
    pub fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// The path and the query: the path is canonical, and begins with a slash.
    #[must_use]
    pub fn target(&self) -> &'h str {
        self.target
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &'h str {
        &self.target[..self.path]
    }

    /// The query.
    #[must_use]
    pub fn query(&self) -> Option<&'h str> {
        self.target.get(self.path + 1..)
    }

    /// The first value of a header, whose name is given in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'h [u8]> {
        let header = self.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.map(|header| header.value)
    }

    /// The value of `Host`, as it came.
    #[must_use]
    pub fn host(&self) -> &'h [u8] {
        self.host
    }

    /// The value of `x-request-id`, as it came.
    #[must_use]
    pub fn request_id(&self) -> Option<&'h [u8]> {
        self.request_id
    }

    /// The last value of `Accept`.
    #[must_use]
    pub fn accept(&self) -> Option<&'h [u8]> {
        self.accept
    }

    /// The headers that are passed on as they are: names as they came, and values.
    pub fn headers(&self) -> impl Iterator<Item = (&'h str, &'h [u8])> {
        let headers = self.headers.iter().enumerate();
        let passed = headers.filter(|(index, _)| self.dropped & (1 << index) == 0);
        passed.map(|(_, header)| (header.name, header.value))
    }

    /// The whole body.
    #[must_use]
    pub fn body(&self) -> &'h [u8] {
        self.body
    }
}

#[cfg(test)]
mod tests;
