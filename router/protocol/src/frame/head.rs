//! Heads: of requests, which the cell reads as it needs them, and of responses, which the router
//! checks in full.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{FrameError, HeadLimits};

/// The statuses of final responses.
const STATUSES: Range<u16> = 200..600;

/// Bytes that HTTP/1.1 writes of a header beside its name and its value.
const HEADER_TEXT: usize = ": \r\n".len();

/// The head of a request. Its lengths are checked, its texts are not: they come from the router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    payload: Bytes,
    /// The end of the method, which begins at 1.
    method: usize,
    /// The end of the target, which begins four bytes after the method.
    target: usize,
    count: u16,
}

/// The head of a response.
#[derive(Debug)]
pub struct ResponseHead {
    /// In 200..=599.
    pub status: StatusCode,
    /// The headers, with names in lower case.
    pub headers: HeaderMap,
}

/// Reads fields of a payload.
struct Fields<'a> {
    payload: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    fn take(&mut self, length: usize) -> Result<Range<usize>, FrameError> {
        let start = self.at;
        let end = start.checked_add(length).filter(|end| *end <= self.payload.len());
        self.at = end.ok_or(FrameError::Truncated)?;
        Ok(start..self.at)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let range = self.take(N)?;
        self.payload[range].try_into().map_err(|_| FrameError::Truncated)
    }

    fn u16(&mut self) -> Result<u16, FrameError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<usize, FrameError> {
        self.array().map(|bytes| u32::from_be_bytes(bytes) as usize)
    }

    /// Returns the ranges of a name and of its value.
    fn header(&mut self) -> Result<(Range<usize>, Range<usize>), FrameError> {
        let name = self.u16()?;
        let name = self.take(name.into())?;
        let value = self.u32()?;
        Ok((name, self.take(value)?))
    }
}

impl RequestHead {
    /// Splits the payload of a request into its head and the beginning of its body.
    ///
    /// # Errors
    /// The lengths do not fit into the payload.
    pub fn parse(mut payload: Bytes) -> Result<(Self, Bytes), FrameError> {
        let mut fields = Fields { payload: &payload, at: 0 };
        let [method] = fields.array()?;
        let method = fields.take(method.into())?.end;
        let target = fields.u32()?;
        let target = fields.take(target)?.end;
        let count = fields.u16()?;
        for _ in 0..count {
            fields.header()?;
        }
        let body = fields.at;
        let body = payload.split_off(body);
        Ok((Self { payload, method, target, count }, body))
    }

    /// The method: `GET`.
    #[must_use]
    pub fn method(&self) -> &[u8] {
        &self.payload[1..self.method]
    }

    /// The URL that the handler sees.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        &self.payload[self.method + 4..self.target]
    }

    /// The number of headers.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count as usize
    }

    /// The headers in their order: names in lower case, and values.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut fields = Fields { payload: &self.payload, at: self.target + 2 };
        let header = move |_| {
            let (name, value) = fields.header().ok()?;
            Some((&self.payload[name], &self.payload[value]))
        };
        (0..self.count).map_while(header)
    }

    /// The first value of a header, whose name is given in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers().find_map(|(found, value)| (found == name.as_bytes()).then_some(value))
    }
}

impl ResponseHead {
    /// Splits the payload of a response into its head and the beginning of its body. The values of
    /// headers are slices of `payload`.
    ///
    /// # Errors
    /// The head is invalid, or beyond its limits.
    pub fn parse(mut payload: Bytes, limits: HeadLimits) -> Result<(Self, Bytes), FrameError> {
        let mut fields = Fields { payload: &payload, at: 0 };
        let status = Some(fields.u16()?).filter(|status| STATUSES.contains(status));
        let status = status.and_then(|status| StatusCode::from_u16(status).ok()).ok_or(FrameError::Head)?;
        let headers = parse_headers(&payload, &mut fields, limits)?;
        let body = fields.at;
        Ok((Self { status, headers }, payload.split_off(body)))
    }
}

/// Reads the payload of trailers.
///
/// # Errors
/// They are invalid, or beyond their limits.
pub fn parse_trailers(payload: &Bytes, limits: HeadLimits) -> Result<HeaderMap, FrameError> {
    let mut fields = Fields { payload, at: 0 };
    let trailers = parse_headers(payload, &mut fields, limits)?;
    (fields.at == payload.len()).then_some(trailers).ok_or(FrameError::Length)
}

fn parse_headers(
    payload: &Bytes,
    fields: &mut Fields<'_>,
    limits: HeadLimits,
) -> Result<HeaderMap, FrameError> {
    let count = usize::from(fields.u16()?);
    if count > limits.headers {
        return Err(FrameError::HeadTooLarge);
    }
    // Each header has six bytes at least: no number makes the map larger than the payload.
    let fitting = (payload.len() - fields.at) / 6;
    let mut headers = HeaderMap::with_capacity(count.min(fitting));
    let mut text = 0;
    for _ in 0..count {
        let (name, value) = fields.header()?;
        text += name.len() + value.len() + HEADER_TEXT;
        if text > limits.bytes {
            return Err(FrameError::HeadTooLarge);
        }
        let name = HeaderName::from_bytes(&payload[name]).map_err(|_| FrameError::Head)?;
        let value = HeaderValue::from_maybe_shared(payload.slice(value)).map_err(|_| FrameError::Head)?;
        headers.try_append(name, value).map_err(|_| FrameError::HeadTooLarge)?;
    }
    Ok(headers)
}
