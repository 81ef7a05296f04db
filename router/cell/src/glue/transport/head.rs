//! The head of a response, as JavaScript has it.

use std::io::Write as _;
use std::ops::Range;

use bytes::BytesMut;
use deno_core::v8;
use switchyard_contract::bounds::FRAMED_HEAD;
use switchyard_protocol::frame::encode::{self, TooLong};

/// Bytes of a header in a frame beside its name and its value.
const HEADER_SIZE: usize = 6;

/// A head. It can be reused for the next response.
#[derive(Default)]
pub(super) struct Head {
    status: u16,
    /// The names, in lower case, and the values.
    text: Vec<u8>,
    /// The ranges of each name and each value in `text`.
    headers: Vec<(Range<usize>, Range<usize>)>,
    /// The length of the body that the handler names.
    length: Option<u64>,
    /// `true`: the handler asks for a body of unknown length.
    is_chunked: bool,
    /// `true`: the headers name the length of the body.
    has_length: bool,
}

/// The head cannot be sent: no client would understand it.
#[derive(Debug)]
pub(super) struct InvalidHead;

impl Head {
    /// Reads a head. `headers`: pairs of names and values, the value of `content-type` alone, or
    /// undefined.
    ///
    /// # Errors
    /// A status that is no answer, a header with invalid characters, or more headers than the router
    /// reads without ending the connection.
    pub(super) fn read(
        &mut self,
        scope: &mut v8::PinScope<'_, '_>,
        status: v8::Local<'_, v8::Value>,
        headers: v8::Local<'_, v8::Value>,
    ) -> Result<(), InvalidHead> {
        let status = status.uint32_value(scope).and_then(|status| u16::try_from(status).ok());
        self.status = status.filter(|status| (200..600).contains(status)).ok_or(InvalidHead)?;
        self.text.clear();
        self.headers.clear();
        (self.length, self.is_chunked, self.has_length) = (None, false, false);
        if let Ok(kind) = v8::Local::<v8::String>::try_from(headers) {
            let value = self.put_string(scope, kind);
            return self.add(b"content-type", value);
        }
        let Ok(list) = v8::Local::<v8::Array>::try_from(headers) else { return Ok(()) };
        for at in 0..list.length() {
            self.read_pair(scope, list, at).ok_or(InvalidHead)??;
        }
        let size = self.text.len() + HEADER_SIZE * self.headers.len();
        if size > FRAMED_HEAD { Err(InvalidHead) } else { Ok(()) }
    }

    fn read_pair(
        &mut self,
        scope: &mut v8::PinScope<'_, '_>,
        list: v8::Local<'_, v8::Array>,
        at: u32,
    ) -> Option<Result<(), InvalidHead>> {
        let pair = v8::Local::<v8::Array>::try_from(list.get_index(scope, at)?).ok()?;
        let name = v8::Local::<v8::String>::try_from(pair.get_index(scope, 0)?).ok()?;
        let value = v8::Local::<v8::String>::try_from(pair.get_index(scope, 1)?).ok()?;
        let name = self.put_string(scope, name);
        self.text[name.clone()].make_ascii_lowercase();
        let value = self.put_string(scope, value);
        Some(self.add_range(name, value))
    }

    /// Appends a string of one byte a character.
    fn put_string(&mut self, scope: &v8::Isolate, string: v8::Local<'_, v8::String>) -> Range<usize> {
        let start = self.text.len();
        self.text.resize(start + string.length(), 0);
        string.write_one_byte_v2(scope, 0, &mut self.text[start..], v8::WriteFlags::empty());
        start..self.text.len()
    }

    /// Adds a header of the cell's own, whose value is in `text`.
    fn add(&mut self, name: &[u8], value: Range<usize>) -> Result<(), InvalidHead> {
        let start = self.text.len();
        self.text.extend_from_slice(name);
        self.add_range(start..self.text.len(), value)
    }

    fn add_range(&mut self, name: Range<usize>, value: Range<usize>) -> Result<(), InvalidHead> {
        let (name_text, value_text) = (&self.text[name.clone()], &self.text[value.clone()]);
        match name_text {
            // The frames tell the length.
            b"content-length" => self.length = self.length.or_else(|| parse_length(value_text)),
            b"transfer-encoding" => self.is_chunked = true,
            _ if is_name(name_text) && value_text.iter().all(|byte| is_value(*byte)) => {
                self.headers.push((name, value));
            }
            _ => return Err(InvalidHead),
        }
        Ok(())
    }

    /// The status.
    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// Returns the value of a header, whose name is in lower case.
    pub(super) fn header(&self, name: &[u8]) -> Option<&[u8]> {
        self.headers().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Returns the values of all headers of a name, which is in lower case, as one list.
    pub(super) fn values(&self, name: &[u8]) -> Vec<u8> {
        let values = self.headers().filter(|(other, _)| *other == name).map(|(_, value)| value);
        values.collect::<Vec<_>>().join(&b", "[..])
    }

    /// Sets a header, whose name is in lower case, in place of all of that name.
    pub(super) fn replace(&mut self, name: &[u8], value: &[u8]) {
        let text = &self.text;
        self.headers.retain(|(other, _)| text[other.clone()] != *name);
        let start = self.text.len();
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        self.headers.push((start..start + name.len(), start + name.len()..self.text.len()));
    }

    /// The length of a body that comes as a stream, if the handler names it.
    pub(super) fn stream_length(&self) -> Option<u64> {
        self.length.filter(|_| !self.is_chunked)
    }

    /// The length that the handler names.
    pub(super) fn named_length(&self) -> Option<u64> {
        self.length
    }

    /// `true`: the headers name the length of the body.
    pub(super) fn has_length(&self) -> bool {
        self.has_length
    }

    /// `true`: the client is not to learn the length before the body.
    pub(super) fn is_chunked(&self) -> bool {
        self.is_chunked
    }

    /// Adds the length of the body, unless its status has none.
    pub(super) fn set_length(&mut self, length: u64) {
        if matches!(self.status, 204 | 205 | 304) {
            return;
        }
        let start = self.text.len();
        // A vector takes all of it.
        _ = write!(self.text, "content-length{length}");
        self.has_length = true;
        let name = start + "content-length".len();
        self.headers.push((start..name, name..self.text.len()));
    }

    /// Appends the frame of the response, with the beginning of its body.
    ///
    /// # Errors
    /// A header is longer than a frame can say.
    pub(super) fn append(
        &self,
        output: &mut BytesMut,
        stream: u32,
        body: &[u8],
        end: bool,
    ) -> Result<(), TooLong> {
        encode::response(output, stream, self.status, self.headers(), (body, end))
    }

    /// Appends the frame of a whole response, but for the `length` bytes of its body.
    ///
    /// # Errors
    /// See [`Self::append`]. No body may follow then.
    pub(super) fn append_alone(
        &self,
        output: &mut BytesMut,
        stream: u32,
        length: usize,
    ) -> Result<(), TooLong> {
        encode::response_head(output, stream, self.status, self.headers(), (length, true))
    }

    fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let text = |range: &Range<usize>| &self.text[range.clone()];
        self.headers.iter().map(move |(name, value)| (text(name), text(value)))
    }
}

/// Returns `None` for what is no number, as Deno's server does.
fn parse_length(value: &[u8]) -> Option<u64> {
    let digits = value.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(value).ok())??;
    if digits.is_empty() { Some(0) } else { digits.parse().ok() }
}

fn is_name(name: &[u8]) -> bool {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(is_token)
}

fn is_value(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=0x7e | 0x80..)
}
