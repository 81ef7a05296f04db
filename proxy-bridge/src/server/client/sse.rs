//! Server-sent events, out of bytes that come in pieces cut anywhere.

/// The longest line and the longest event: a deploy's record with a thousand diagnostics is a tenth of it.
const MAX_EVENT: usize = 16 * 1024 * 1024;

/// One event. Its id and what it says of reconnecting are left out: nobody here reconnects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// `message` where the stream names none.
    pub(super) kind: String,
    pub(super) data: String,
}

/// An event or a line of it is longer than any that the bridge sends.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {MAX_EVENT} bytes")]
pub(super) struct TooLong;

/// Reads as the HTML standard says (9.2.6): lines end with LF, CR or both, a blank one ends the event.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    /// The last byte was a CR: a LF that follows belongs to it.
    after_cr: bool,
    begun: bool,
    kind: String,
    data: String,
}

impl Parser {
    /// The events that end in `bytes`.
    ///
    /// # Errors
    /// [`TooLong`]; the stream is of no use from then on.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, *byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => events.extend(self.end_line()),
                _ => self.line.push(*byte),
            }
            if self.line.len() + self.data.len() > MAX_EVENT {
                return Err(TooLong);
            }
        }
        Ok(events)
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let begun = std::mem::replace(&mut self.begun, true);
        let line = if begun { &*line } else { line.strip_prefix('\u{feff}').unwrap_or(&line) };
        if line.is_empty() {
            return self.end_event();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.kind),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            // A comment has an empty field name; id and retry are not used here.
            _ => {}
        }
        None
    }

    fn end_event(&mut self) -> Option<Event> {
        let kind = std::mem::take(&mut self.kind);
        let mut data = std::mem::take(&mut self.data);
        // Each line of data brought a line end; the last one is not part of it.
        data.pop()?;
        Some(Event { kind: if kind.is_empty() { "message".to_owned() } else { kind }, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, data: &str) -> Event {
        Event { kind: kind.to_owned(), data: data.to_owned() }
    }

    const STREAM: &str = "\u{feff}: hello\n\nevent: phase\ndata: {\"a\":\r\ndata:1}\r\n\r\nretry: 3\rdata: é\r\rid: 7\nevent: done\ndata\n\n";

    fn events() -> [Event; 3] {
        [event("phase", "{\"a\":\n1}"), event("message", "é"), event("done", "")]
    }

    #[test]
    fn a_stream_is_the_same_events_wherever_it_is_cut() {
        for cut in 0..=STREAM.len() {
            let (head, tail) = STREAM.as_bytes().split_at(cut);
            let mut parser = Parser::default();
            let mut read = parser.feed(head).unwrap();
            read.extend(parser.feed(tail).unwrap());
            assert_eq!(read, events(), "cut at {cut}");
        }
    }

    #[test]
    fn a_stream_that_comes_byte_by_byte_is_read_whole() {
        let mut parser = Parser::default();
        let read: Vec<_> = STREAM.as_bytes().chunks(1).flat_map(|byte| parser.feed(byte).unwrap()).collect();
        assert_eq!(read, events());
    }

    #[test]
    fn comments_and_unfinished_events_are_not_told() {
        let mut parser = Parser::default();
        assert_eq!(parser.feed(b":\n\n: heartbeat\n\nevent: done\ndata: 1\n").unwrap(), []);
        assert_eq!(parser.feed(b"\n").unwrap(), [event("done", "1")]);
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; MAX_EVENT];
        assert_eq!(parser.feed(&piece), Ok(Vec::new()));
        assert_eq!(parser.feed(b"x"), Err(TooLong));
    }
}
