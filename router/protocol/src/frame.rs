//! The frames of the transport between a router thread and a cell: requests, responses and their
//! bodies, multiplexed over one stream. Neither end reads or writes here: [`Decoder`] takes frames
//! out of a buffer, and [`encode`] appends them to one.
//!
//! A frame is a header of ten bytes, in network byte order, and a payload:
//!
//! | bytes | field |
//! |---|---|
//! | 4 | length of the payload |
//! | 4 | stream |
//! | 1 | kind |
//! | 1 | flags: bit 0 = the sender sends nothing more on the stream, bit 1 = refused |

mod credit;
pub mod encode;
mod head;

use bytes::{Buf as _, Bytes, BytesMut};

pub use credit::{ReceiveCredit, SendCredit};
pub use head::{RequestHead, ResponseHead, parse_trailers};

/// Bytes of a frame's header.
pub const HEADER: usize = 10;

/// Bytes of body that may be under way in one direction of one stream. The receiver tops it up when
/// its reader has taken half of it.
pub const WINDOW: u32 = 256 << 10;

/// The most bytes of body in one frame.
pub const MAX_DATA: usize = 64 << 10;

/// The highest id of a stream. Each connection begins with 1, and is replaced before the ids run
/// out.
pub const MAX_STREAM: u32 = u32::MAX >> 1;

const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;
const DATA: u8 = 3;
const TRAILERS: u8 = 4;
const RESET: u8 = 5;
const CREDIT: u8 = 6;
const GO_AWAY: u8 = 7;

const END: u8 = 1;
const REFUSED: u8 = 2;

/// The sender of the frames that a [`Decoder`] takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The router: requests.
    Router,
    /// The cell: responses and trailers. Not trusted.
    Cell,
}

/// Limits of heads and trailers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes, as HTTP/1.1 would write the headers.
    pub bytes: usize,
    /// Headers.
    pub headers: usize,
}

impl HeadLimits {
    /// The limits of what a router sends: it has limits of its own, and is trusted.
    pub const ROUTER: Self = Self { bytes: 256 << 20, headers: u16::MAX as usize };

    /// The most bytes that a head within the limits has in its payload: beside its text, two bytes
    /// more a header than in HTTP/1.1, the status or the method, and lengths.
    const fn payload(self) -> usize {
        self.bytes + 2 * self.headers + 512
    }
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The stream. 0 for [`Content::GoAway`] only.
    pub stream: u32,
    /// The sender sends nothing more on the stream.
    pub end: bool,
    /// The kind and the payload.
    pub content: Content,
}

/// The content of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A request and the beginning of its body, from the router: see [`RequestHead::parse`].
    Request(Bytes),
    /// A response and the beginning of its body, from the cell: see [`ResponseHead::parse`].
    Response(Bytes),
    /// A part of a body. Empty at the end of a stream only.
    Data(Bytes),
    /// The trailers of a response, from the cell: see [`parse_trailers`].
    Trailers(Bytes),
    /// The stream is over at once, in both directions.
    Reset {
        /// No handler got the request. From the cell only.
        refused: bool,
    },
    /// The receiver takes this many further bytes of body on the stream. Never 0.
    Credit(u32),
    /// The cell takes no new streams. Those that it has taken end normally.
    GoAway,
}

/// A violation of the protocol. The connection cannot be used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The kind is unknown, or not for this direction.
    #[error("a frame has the kind {0}, which its sender may not send")]
    Kind(u8),
    /// The flags do not fit the kind.
    #[error("a frame has flags that its kind does not have")]
    Flags,
    /// The stream is 0 or was never opened, or the frame is not for a stream.
    #[error("a frame belongs to no stream")]
    Stream,
    /// The payload is longer than its kind allows, or does not have the length of its kind.
    #[error("a frame has an invalid length")]
    Length,
    /// The lengths inside a head do not fit into its frame.
    #[error("a head is cut off")]
    Truncated,
    /// A status is not in 200..=599, or a header has invalid characters.
    #[error("a head is not HTTP")]
    Head,
    /// A head has more bytes or headers than its limits.
    #[error("a head is larger than its limit")]
    HeadTooLarge,
    /// More body than the receiver takes, or more credit than there may be.
    #[error("a body exceeds its credit")]
    Credit,
}

/// Takes frames out of a buffer. It allocates nothing: payloads are slices of the buffer.
#[derive(Debug, Clone, Copy)]
pub struct Decoder {
    sender: Sender,
    limits: HeadLimits,
}

/// The fields of a frame's header.
struct Header {
    length: usize,
    stream: u32,
    kind: u8,
    flags: u8,
}

impl Decoder {
    /// A decoder of the frames that `sender` sends.
    #[must_use]
    pub const fn new(sender: Sender, limits: HeadLimits) -> Self {
        Self { sender, limits }
    }

    /// Takes the next frame out of `buffer`. `None`: it is not complete. Its length, kind and flags
    /// are checked as soon as its header is there.
    ///
    /// # Errors
    /// The frame is invalid. The buffer is not to be used any more.
    pub fn decode(&self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some(header) = Header::read(buffer) else { return Ok(None) };
        self.check(&header)?;
        if buffer.len() < HEADER + header.length {
            return Ok(None);
        }
        buffer.advance(HEADER);
        Ok(Some(header.frame(buffer.split_to(header.length).freeze())?))
    }

    /// Returns how many bytes are missing in `buffer` of its first frame, or of that frame's header. 0: the
    /// frame is complete, or invalid.
    #[must_use]
    pub fn missing(&self, buffer: &[u8]) -> usize {
        match Header::read(buffer) {
            None => HEADER - buffer.len(),
            Some(header) if self.check(&header).is_err() => 0,
            Some(header) => (HEADER + header.length).saturating_sub(buffer.len()),
        }
    }

    fn check(&self, header: &Header) -> Result<(), FrameError> {
        let &Header { length, stream, kind, flags } = header;
        let (sender, flags_of_kind, lengths) = match kind {
            REQUEST => (Some(Sender::Router), END, 0..=self.limits.payload() + MAX_DATA),
            RESPONSE => (Some(Sender::Cell), END, 0..=self.limits.payload() + MAX_DATA),
            DATA => (None, END, usize::from(flags & END == 0)..=MAX_DATA),
            TRAILERS => (Some(Sender::Cell), END, 0..=self.limits.payload()),
            RESET if self.sender == Sender::Router => (None, 0, 0..=0),
            RESET => (None, REFUSED, 0..=0),
            CREDIT => (None, 0, 4..=4),
            GO_AWAY => (Some(Sender::Cell), 0, 0..=0),
            _ => return Err(FrameError::Kind(kind)),
        };
        if sender.is_some_and(|sender| sender != self.sender) {
            return Err(FrameError::Kind(kind));
        }
        if (kind == GO_AWAY) != (stream == 0) || stream > MAX_STREAM {
            return Err(FrameError::Stream);
        }
        if flags & !flags_of_kind != 0 || (kind == TRAILERS && flags & END == 0) {
            return Err(FrameError::Flags);
        }
        match lengths.contains(&length) {
            true => Ok(()),
            false if matches!(kind, REQUEST | RESPONSE | TRAILERS) => Err(FrameError::HeadTooLarge),
            false => Err(FrameError::Length),
        }
    }
}

impl Header {
    fn read(buffer: &[u8]) -> Option<Self> {
        let [l0, l1, l2, l3, s0, s1, s2, s3, kind, flags] = *buffer.first_chunk::<HEADER>()?;
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        Some(Self { length, stream: u32::from_be_bytes([s0, s1, s2, s3]), kind, flags })
    }

    /// Returns the frame with this header, which is checked, and this payload.
    fn frame(&self, payload: Bytes) -> Result<Frame, FrameError> {
        let content = match self.kind {
            REQUEST => Content::Request(payload),
            RESPONSE => Content::Response(payload),
            DATA => Content::Data(payload),
            TRAILERS => Content::Trailers(payload),
            RESET => Content::Reset { refused: self.flags & REFUSED != 0 },
            CREDIT => match payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes)) {
                0 => return Err(FrameError::Credit),
                bytes => Content::Credit(bytes),
            },
            _ => Content::GoAway,
        };
        Ok(Frame { stream: self.stream, end: self.flags & END != 0, content })
    }
}

#[cfg(test)]
mod tests;
