//! Appends frames to a buffer.

use bytes::{BufMut as _, BytesMut};

use super::{CREDIT, DATA, END, GO_AWAY, HEADER, MAX_DATA, REFUSED, REQUEST, RESET, RESPONSE, TRAILERS};

/// A part of a head does not fit into the field for its length. Nothing was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a part of a head is too long for a frame")]
pub struct TooLong;

/// Appends a request and the beginning of its body, of at most [`MAX_DATA`] bytes. The target is
/// given in pieces. `end`: the body is complete.
///
/// # Errors
/// See [`TooLong`].
pub fn request<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    out: &mut BytesMut,
    stream: u32,
    method: &str,
    target: &[&str],
    headers: impl IntoIterator<Item = (N, V)>,
    (body, end): (&[u8], bool),
) -> Result<(), TooLong> {
    let start = begin(out, stream, REQUEST, end);
    let write = || {
        out.put_u8(u8::try_from(method.len()).map_err(|_| TooLong)?);
        out.put_slice(method.as_bytes());
        let length = target.iter().map(|piece| piece.len()).sum::<usize>();
        out.put_u32(u32::try_from(length).map_err(|_| TooLong)?);
        target.iter().for_each(|piece| out.put_slice(piece.as_bytes()));
        put_headers(out, headers)
    };
    let written = write();
    out.put_slice(body);
    finish_head(out, start, written, 0)
}

/// Appends a response and the beginning of its body, of at most [`MAX_DATA`] bytes. `end`: the body
/// is complete, and has no trailers.
///
/// # Errors
/// See [`TooLong`].
pub fn response<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    out: &mut BytesMut,
    stream: u32,
    status: u16,
    headers: impl IntoIterator<Item = (N, V)>,
    (body, end): (&[u8], bool),
) -> Result<(), TooLong> {
    let start = begin(out, stream, RESPONSE, end);
    out.put_u16(status);
    let written = put_headers(out, headers);
    out.put_slice(body);
    finish_head(out, start, written, 0)
}

/// Appends a response without the beginning of its body, of which `length` bytes are to follow.
///
/// # Errors
/// See [`TooLong`]. No body is to follow then.
pub fn response_head<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    out: &mut BytesMut,
    stream: u32,
    status: u16,
    headers: impl IntoIterator<Item = (N, V)>,
    (length, end): (usize, bool),
) -> Result<(), TooLong> {
    let start = begin(out, stream, RESPONSE, end);
    out.put_u16(status);
    let written = put_headers(out, headers);
    finish_head(out, start, written, length)
}

/// Appends a part of a body, of at most [`MAX_DATA`] bytes, and of none at the end only.
pub fn data(out: &mut BytesMut, stream: u32, body: &[u8], end: bool) {
    data_header(out, stream, body.len(), end);
    out.put_slice(body);
}

/// Appends the header alone of a part of a body: `length` bytes are to follow.
pub fn data_header(out: &mut BytesMut, stream: u32, length: usize, end: bool) {
    debug_assert!(length <= MAX_DATA && (length > 0 || end));
    header(out, length as u32, stream, DATA, if end { END } else { 0 });
}

/// Appends the trailers of a response, which end it.
///
/// # Errors
/// See [`TooLong`].
pub fn trailers<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    out: &mut BytesMut,
    stream: u32,
    headers: impl IntoIterator<Item = (N, V)>,
) -> Result<(), TooLong> {
    let start = begin(out, stream, TRAILERS, true);
    let written = put_headers(out, headers);
    finish_head(out, start, written, 0)
}

/// Appends the early end of a stream. `refused`: no handler got its request.
pub fn reset(out: &mut BytesMut, stream: u32, refused: bool) {
    header(out, 0, stream, RESET, if refused { REFUSED } else { 0 });
}

/// Appends credit for `bytes` more of a body. Not 0.
pub fn credit(out: &mut BytesMut, stream: u32, bytes: u32) {
    debug_assert!(bytes > 0);
    header(out, 4, stream, CREDIT, 0);
    out.put_u32(bytes);
}

/// Appends the end of new streams.
pub fn go_away(out: &mut BytesMut) {
    header(out, 0, 0, GO_AWAY, 0);
}

fn header(out: &mut BytesMut, length: u32, stream: u32, kind: u8, flags: u8) {
    let ([l0, l1, l2, l3], [s0, s1, s2, s3]) = (length.to_be_bytes(), stream.to_be_bytes());
    out.put_slice(&[l0, l1, l2, l3, s0, s1, s2, s3, kind, flags]);
}

/// Begins a frame of a length that is not known yet. Returns where it begins.
fn begin(out: &mut BytesMut, stream: u32, kind: u8, end: bool) -> usize {
    let start = out.len();
    header(out, 0, stream, kind, if end { END } else { 0 });
    start
}

/// Appends headers, their names in lower case, and before them their number.
fn put_headers<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    out: &mut BytesMut,
    headers: impl IntoIterator<Item = (N, V)>,
) -> Result<(), TooLong> {
    let (start, mut count) = (out.len(), 0_u16);
    out.put_u16(0);
    for (name, value) in headers {
        let (name, value) = (name.as_ref(), value.as_ref());
        out.put_u16(u16::try_from(name.len()).map_err(|_| TooLong)?);
        let name_at = out.len();
        out.put_slice(name);
        out[name_at..].make_ascii_lowercase();
        out.put_u32(u32::try_from(value.len()).map_err(|_| TooLong)?);
        out.put_slice(value);
        count = count.checked_add(1).ok_or(TooLong)?;
    }
    out[start..start + 2].copy_from_slice(&count.to_be_bytes());
    Ok(())
}

/// Completes the frame that begins at `start`, or takes it back. `behind`: bytes of its body that are
/// to follow.
fn finish_head(
    out: &mut BytesMut,
    start: usize,
    written: Result<(), TooLong>,
    behind: usize,
) -> Result<(), TooLong> {
    debug_assert!(behind <= MAX_DATA);
    let length = u32::try_from(out.len() - start - HEADER + behind).map_err(|_| TooLong);
    match written.and(length) {
        Ok(length) => {
            out[start..start + 4].copy_from_slice(&length.to_be_bytes());
            Ok(())
        }
        Err(too_long) => {
            out.truncate(start);
            Err(too_long)
        }
    }
}
