//! Lines of an untrusted stream, split into pieces of bounded length.

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// Bytes that are read from the kernel at once.
const BUFFER: usize = 8 * 1024;

/// A line, or a piece of one that is too long.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LinePiece {
    /// The text, without the end of the line.
    pub(super) bytes: Vec<u8>,
    /// `true`: the line continues in the next piece.
    pub(super) continues: bool,
}

/// Leaves out the middle of lines with more than three pieces, and notes how much: both ends of a
/// line show what it is.
#[derive(Debug, Default)]
pub(super) struct LineAbridger {
    is_inside: bool,
    held: Option<LinePiece>,
    left_out: usize,
}

impl LineAbridger {
    /// Takes the next piece and returns the pieces to pass on.
    pub(super) fn pass(&mut self, piece: LinePiece) -> impl Iterator<Item = LinePiece> + use<> {
        let is_first = !std::mem::replace(&mut self.is_inside, piece.continues);
        let (held, passed) = if is_first {
            (None, Some(piece))
        } else if piece.continues {
            let dropped = self.held.replace(piece);
            self.left_out += dropped.map_or(0, |dropped| dropped.bytes.len());
            (None, None)
        } else {
            (self.held.take().map(|held| self.with_note(held)), Some(piece))
        };
        held.into_iter().chain(passed)
    }

    /// The first piece after a gap, with a note of the gap.
    fn with_note(&mut self, piece: LinePiece) -> LinePiece {
        match std::mem::take(&mut self.left_out) {
            0 => piece,
            left_out => {
                let mut bytes = format!("[{left_out} bytes of this line are left out] ").into_bytes();
                bytes.extend(piece.bytes);
                LinePiece { bytes, ..piece }
            }
        }
    }
}

/// Reads pieces of at most `longest` bytes.
#[derive(Debug)]
pub(super) struct LineReader<R> {
    reader: BufReader<R>,
    longest: usize,
    line: Vec<u8>,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    pub(super) fn new(reader: R, longest: usize) -> Self {
        Self { reader: BufReader::with_capacity(BUFFER, reader), longest, line: Vec::new() }
    }

    /// Reads pieces of up to `longest` bytes from now on, if that is more than before.
    pub(super) fn allow(&mut self, longest: usize) {
        self.longest = self.longest.max(longest);
    }

    /// The next piece. `None`: the stream has ended. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<LinePiece> {
        loop {
            let buffer = self.reader.fill_buf().await.ok().filter(|buffer| !buffer.is_empty());
            let Some(buffer) = buffer else {
                return (!self.line.is_empty()).then(|| self.take(false));
            };
            // One byte more than the longest line: it may be the end of the line.
            let room = &buffer[..buffer.len().min(self.longest + 1 - self.line.len())];
            let end = memchr::memchr(b'\n', room);
            self.line.extend_from_slice(&room[..end.unwrap_or(room.len())]);
            let used = end.map_or(room.len(), |end| end + 1);
            self.reader.consume(used);
            if end.is_some() {
                return Some(self.take(false));
            }
            if self.line.len() > self.longest {
                return Some(self.take(true));
            }
        }
    }

    /// Takes the bytes of the line so far. If the line continues, an incomplete last character
    /// stays.
    fn take(&mut self, continues: bool) -> LinePiece {
        let end = if continues { boundary(&self.line[..self.longest]) } else { self.line.len() };
        let rest = self.line.split_off(end);
        LinePiece { bytes: std::mem::replace(&mut self.line, rest), continues }
    }
}

/// The length of `text` without an incomplete UTF-8 character at its end.
fn boundary(text: &[u8]) -> usize {
    let start = text.iter().rposition(|byte| byte & 0xC0 != 0x80).unwrap_or(text.len());
    let is_cut = |tail: &[u8]| std::str::from_utf8(tail).is_err_and(|error| error.error_len().is_none());
    if start > 0 && is_cut(&text[start..]) { start } else { text.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pieces(text: &str, longest: usize) -> Vec<(String, bool)> {
        let mut reader = LineReader::new(text.as_bytes(), longest);
        let mut pieces = Vec::new();
        while let Some(LinePiece { bytes, continues }) = reader.next().await {
            pieces.push((String::from_utf8(bytes).unwrap(), continues));
        }
        pieces
    }

    fn whole(text: &str) -> (String, bool) {
        (text.to_owned(), false)
    }

    #[tokio::test]
    async fn lines_end_at_newlines_and_at_the_end() {
        assert_eq!(pieces("one\n\ntwo", 8).await, [whole("one"), whole(""), whole("two")]);
        assert_eq!(pieces("12345678\n12345678", 8).await, [whole("12345678"), whole("12345678")]);
    }

    #[tokio::test]
    async fn a_long_line_comes_in_pieces_that_say_that_it_goes_on() {
        let long = "0123456789".repeat(2_000);
        let found = pieces(&format!("{long}\nend"), 9_000).await;
        let expected = [
            (long[..9_000].to_owned(), true),
            (long[9_000..18_000].to_owned(), true),
            whole(&long[18_000..]),
            whole("end"),
        ];
        assert_eq!(found, expected);
    }

    #[tokio::test]
    async fn no_character_is_cut() {
        for text in ["abcdefgäx", "abcdef€x", "abcde😀x", "abcdefg€€€€", "ääääääää"] {
            let found = pieces(text, 8).await;
            assert_eq!(found.iter().map(|(text, _)| text.as_str()).collect::<String>(), text);
            assert!(found.iter().all(|(text, _)| text.len() <= 8), "{found:?}");
            let continues: Vec<_> = found.iter().map(|(_, continues)| *continues).collect();
            assert_eq!(continues.iter().rposition(|continues| *continues), Some(found.len() - 2));
        }
    }

    /// The pieces of `text` that are passed on.
    async fn abridged(text: &str) -> Vec<String> {
        let (mut reader, mut abridged) = (LineReader::new(text.as_bytes(), 8), LineAbridger::default());
        let mut passed = Vec::new();
        while let Some(piece) = reader.next().await {
            passed.extend(abridged.pass(piece).map(|piece| String::from_utf8(piece.bytes).unwrap()));
        }
        passed
    }

    #[tokio::test]
    async fn both_ends_of_a_very_long_line_are_kept_and_the_bytes_between_are_counted() {
        assert_eq!(abridged("12345678abcdefghABCDEFGH\nx").await, ["12345678", "abcdefgh", "ABCDEFGH", "x"]);
        let long = format!("12345678{}abcdefghEND\nnext\n", "-".repeat(800));
        let expected = ["12345678", "[800 bytes of this line are left out] abcdefgh", "END", "next"];
        assert_eq!(abridged(&long).await, expected);
        // A line without an end was cut off.
        let expected = ["12345678", "[800 bytes of this line are left out] abcdefgh", "E"];
        assert_eq!(abridged(&long[..long.len() - 8]).await, expected);
    }
}
