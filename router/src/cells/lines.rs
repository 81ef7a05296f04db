//! Lines of a stream that anybody may have written, none longer than is taken at once.

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// What is read from the kernel at once.
const BUFFER: usize = 8 * 1024;

/// A line, or a piece of one that is too long.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Without the end of the line.
    pub(super) bytes: Vec<u8>,
    /// The line goes on in the next piece.
    pub(super) continues: bool,
}

/// Leaves out the middle of lines that have more than three pieces, and says so: both ends of a
/// line tell what it is.
#[derive(Debug, Default)]
pub(super) struct Abridged {
    is_inside: bool,
    held: Option<Piece>,
    left_out: usize,
}

impl Abridged {
    /// Takes the next piece, and returns those that are passed on.
    pub(super) fn pass(&mut self, piece: Piece) -> impl Iterator<Item = Piece> + use<> {
        let is_first = !std::mem::replace(&mut self.is_inside, piece.continues);
        let (held, passed) = if is_first {
            (None, Some(piece))
        } else if piece.continues {
            let dropped = self.held.replace(piece);
            self.left_out += dropped.map_or(0, |dropped| dropped.bytes.len());
            (None, None)
        } else {
            (self.held.take().map(|held| self.noted(held)), Some(piece))
        };
        held.into_iter().chain(passed)
    }

    /// The piece behind what was left out.
    fn noted(&mut self, piece: Piece) -> Piece {
        match std::mem::take(&mut self.left_out) {
            0 => piece,
            left_out => {
                let mut bytes = format!("[{left_out} bytes of this line are left out] ").into_bytes();
                bytes.extend(piece.bytes);
                Piece { bytes, ..piece }
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

    /// The next piece; none at the end of the stream. Dropped before it is done, nothing is lost: the next call goes on.
    pub(super) async fn next(&mut self) -> Option<Piece> {
        loop {
            let buffer = self.reader.fill_buf().await.ok().filter(|buffer| !buffer.is_empty());
            let Some(buffer) = buffer else {
                return (!self.line.is_empty()).then(|| self.take(false));
            };
            // One more than the longest line has: that may be its end.
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

    /// Takes what has come of the line. Of one that continues the last character stays, which may not be whole.
    fn take(&mut self, continues: bool) -> Piece {
        let end = if continues { boundary(&self.line[..self.longest]) } else { self.line.len() };
        let rest = self.line.split_off(end);
        Piece { bytes: std::mem::replace(&mut self.line, rest), continues }
    }
}

/// The length of `text` without a character of UTF-8 at its end that has been cut.
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
        while let Some(Piece { bytes, continues }) = reader.next().await {
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

    /// The texts that are passed on of the pieces of `text`.
    async fn abridged(text: &str) -> Vec<String> {
        let (mut reader, mut abridged) = (LineReader::new(text.as_bytes(), 8), Abridged::default());
        let mut passed = Vec::new();
        while let Some(piece) = reader.next().await {
            passed.extend(abridged.pass(piece).map(|piece| String::from_utf8(piece.bytes).unwrap()));
        }
        passed
    }

    #[tokio::test]
    async fn of_a_very_long_line_both_ends_are_kept_and_what_is_between_is_counted() {
        assert_eq!(abridged("12345678abcdefghABCDEFGH\nx").await, ["12345678", "abcdefgh", "ABCDEFGH", "x"]);
        let long = format!("12345678{}abcdefghEND\nnext\n", "-".repeat(800));
        let expected = ["12345678", "[800 bytes of this line are left out] abcdefgh", "END", "next"];
        assert_eq!(abridged(&long).await, expected);
        // One that has no end has been cut off.
        let expected = ["12345678", "[800 bytes of this line are left out] abcdefgh", "E"];
        assert_eq!(abridged(&long[..long.len() - 8]).await, expected);
    }
}
