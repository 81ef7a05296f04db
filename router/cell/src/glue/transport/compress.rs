//! Compressed responses (`"compress": true` in deno.json): which ones, in which coding, and their
//! compressors.

use std::io::{self, Write};

use deno_runtime::deno_http::compressible::is_content_compressible;
use flate2::write::GzEncoder;
use switchyard_protocol::coding::{named_quality, quality};

use super::exchange::Exchange;
use super::head::Head;
use super::text;

/// Bytes of a body from which on it is compressed: what is shorter fits into one packet anyway.
const LEAST: usize = 1024;

/// Deno's quality for responses is 6; this one takes half of its time and gains nearly as much.
const BROTLI_QUALITY: u32 = 5;

/// Two to the power of it are the bytes that brotli looks back: 256 KiB of the cell's memory, for each
/// response that is sent.
const BROTLI_WINDOW: u32 = 18;

/// Bytes that brotli takes in at once.
const BROTLI_BUFFER: usize = 16 << 10;

/// The level of the programs `gzip` and `zstd`.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;

/// A content coding. The ones that save most come first, and win among equal qualities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Brotli,
    Zstd,
    Gzip,
}

impl Coding {
    pub(super) const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// Returns the coding to which the client gives the highest quality. `None`: that is none at all.
    pub(super) fn accepted(accepted: &str) -> Option<Self> {
        let accepted = [accepted];
        // The response as it is loses against equal qualities.
        let identity = named_quality(&accepted, "identity").unwrap_or(0);
        let qualities = Self::ALL.map(|coding| (coding, quality(&accepted, coding.name())));
        let best = qualities.into_iter().rev().max_by_key(|(_, quality)| *quality)?;
        (best.1 > 0 && best.1 >= identity).then_some(best.0)
    }
}

/// Chooses the coding of a response, and changes its head accordingly. `length`: that of its body, if
/// it is known. `None`: the response is sent as it is.
pub(super) fn choose(exchange: &Exchange, head: &mut Head, length: Option<usize>) -> Option<Coding> {
    let is_small = length.is_some_and(|length| length < LEAST);
    if !exchange.connection().server().compresses() || is_small || !is_compressible(head) {
        return None;
    }
    // Other clients get another form.
    let mut vary = head.values(b"vary");
    if !names(&vary, "accept-encoding") && !names(&vary, "*") {
        vary.extend_from_slice(if vary.is_empty() { &b""[..] } else { &b", "[..] });
        vary.extend_from_slice(b"accept-encoding");
        head.replace(b"vary", &vary);
    }
    let accepted = text::header(exchange.head(), "accept-encoding")?;
    let coding = Coding::accepted(std::str::from_utf8(&accepted).ok()?)?;
    head.replace(b"content-encoding", coding.name().as_bytes());
    if let Some(etag) = head.header(b"etag").filter(|etag| !etag.starts_with(b"W/")) {
        // The compressed form has other bytes.
        let etag = [&b"W/"[..], etag].concat();
        head.replace(b"etag", &etag);
    }
    Some(coding)
}

fn is_compressible(head: &Head) -> bool {
    let has = |name| head.header(name).is_some();
    let is_kept = head.header(b"cache-control").is_some_and(|value| names(value, "no-transform"));
    // 206 has a part of a form, and 304 the headers of the form that the client has.
    !matches!(head.status(), 204 | 205 | 206 | 304)
        && !has(b"content-encoding")
        && !has(b"content-range")
        && !is_kept
        && head.header(b"content-type").is_some_and(is_content_compressible)
}

/// Returns `true` if `name` is in a list of words.
fn names(list: &[u8], name: &str) -> bool {
    let is_it = |word: &[u8]| word.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
    list.split(|byte| *byte == b',').any(is_it)
}

/// A compressor of one body. Its output is taken while it works.
pub(super) enum Compressor {
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Compressor {
    pub(super) fn new(coding: Coding) -> Self {
        match coding {
            Coding::Brotli => Self::Brotli(Box::new(brotli::CompressorWriter::new(
                Vec::new(),
                BROTLI_BUFFER,
                BROTLI_QUALITY,
                BROTLI_WINDOW,
            ))),
            Coding::Zstd => {
                let encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL);
                Self::Zstd(encoder.expect("the level is one of zstd's"))
            }
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL))),
        }
    }

    /// Adds a piece of the body.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(super) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Self::Brotli(writer) => writer.write_all(piece),
            Self::Zstd(writer) => writer.write_all(piece),
            Self::Gzip(writer) => writer.write_all(piece),
        }
    }

    /// Completes the output of all pieces so far.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Brotli(writer) => writer.flush(),
            Self::Zstd(writer) => writer.flush(),
            Self::Gzip(writer) => writer.flush(),
        }
    }

    /// Takes the output that there is.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Self::Brotli(writer) => writer.get_mut(),
            Self::Zstd(writer) => writer.get_mut(),
            Self::Gzip(writer) => writer.get_mut(),
        })
    }

    /// Ends the body, and returns the rest of the output.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Brotli(writer) => Ok(writer.into_inner()),
            Self::Zstd(writer) => writer.finish(),
            Self::Gzip(writer) => writer.finish(),
        }
    }
}

/// Returns a whole body, compressed.
///
/// # Errors
/// There is no memory for it.
pub(super) fn compress(coding: Coding, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressor = Compressor::new(coding);
    compressor.write(body)?;
    compressor.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn read(coding: Coding, data: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        match coding {
            Coding::Brotli => brotli::Decompressor::new(data, BROTLI_BUFFER).read_to_end(&mut text),
            Coding::Zstd => zstd::stream::read::Decoder::new(data).unwrap().read_to_end(&mut text),
            Coding::Gzip => flate2::read::GzDecoder::new(data).read_to_end(&mut text),
        }
        // The rest is missing.
        .unwrap_or_default();
        text
    }

    #[test]
    fn what_was_written_can_be_read_after_a_flush_and_all_of_it_at_the_end() {
        for coding in Coding::ALL {
            let mut compressor = Compressor::new(coding);
            compressor.write(b"first ").unwrap();
            compressor.flush().unwrap();
            let mut data = compressor.take();
            assert_eq!(read(coding, &data), b"first ", "{coding:?}");
            compressor.write(&b"second ".repeat(1000)).unwrap();
            data.extend(compressor.finish().unwrap());
            assert_eq!(read(coding, &data).len(), 6 + 7000, "{coding:?}");
            assert!(data.len() < 500, "{coding:?}: {}", data.len());
        }
    }

    #[test]
    fn a_client_gets_what_it_prefers_and_else_what_saves_most() {
        for (accepted, coding) in [
            ("gzip, deflate, br, zstd", Some(Coding::Brotli)),
            ("gzip;q=1, br;q=0.5", Some(Coding::Gzip)),
            ("zstd, gzip", Some(Coding::Zstd)),
            ("*", Some(Coding::Brotli)),
            ("gzip;q=0.5, identity", None),
            ("identity", None),
            ("br;q=0", None),
            ("", None),
        ] {
            assert_eq!(Coding::accepted(accepted), coding, "{accepted}");
        }
    }
}
