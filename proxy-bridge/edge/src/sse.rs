//! A parser of server-sent events, whose bytes come in pieces of any length.

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};

use switchyard_contract::bounds::STREAMED_EVENT;

/// An item of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SseItem {
    /// An event.
    Event(SseEvent),
    /// A comment, without its colon: `router 42`, or an empty one, which keeps the connection
    /// alive.
    Comment(String),
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent {
    /// The event's type: `message` if the stream names none.
    pub kind: String,
    /// The event's lines of data, without the last line end.
    pub data: String,
    /// The id of the event, if it has one of its own.
    pub id: Option<String>,
}

/// The reason why a stream cannot be read on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// An event is too large.
    #[error("an event is larger than {STREAMED_EVENT} bytes")]
    TooLong,
    /// The stream's bytes ended in an error.
    #[error("the stream broke off: {0}")]
    BrokenOff(String),
}

/// Returns the items of a stream of bytes. An error is the last one.
pub fn items<E: std::fmt::Display>(
    bytes: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
) -> impl Stream<Item = Result<SseItem, SseError>> + Send {
    let pieces = bytes.map(|piece| piece.map_err(|error| SseError::BrokenOff(error.to_string())));
    let parsed = pieces.scan(Some(Parser::default()), |parser, piece| {
        // Nothing follows an error.
        let fed = parser.as_mut().map(|open| piece.and_then(|piece| open.feed(&piece)));
        if matches!(fed, Some(Err(_))) {
            *parser = None;
        }
        std::future::ready(fed)
    });
    parsed.flat_map(|fed| match fed {
        Ok(items) => stream::iter(items.into_iter().map(Ok).collect::<Vec<_>>()),
        Err(error) => stream::iter(vec![Err(error)]),
    })
}

/// Parses a stream as the HTML standard defines it (9.2.6): lines end with LF, CR or both, a blank
/// line ends the event.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    /// The last byte was a CR: a following LF belongs to it.
    after_cr: bool,
    /// The first line, which may begin with a byte order mark, was read.
    begun: bool,
    kind: String,
    data: String,
    id: Option<String>,
}

impl Parser {
    /// Reads the next piece. Returns the items that it completes.
    ///
    /// # Errors
    /// [`SseError::TooLong`], after which the stream cannot be read on.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<SseItem>, SseError> {
        let mut items = Vec::new();
        for byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, *byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => items.extend(self.end_line()),
                _ => self.line.push(*byte),
            }
            if self.line.len() + self.data.len() > STREAMED_EVENT {
                return Err(SseError::TooLong);
            }
        }
        Ok(items)
    }

    fn end_line(&mut self) -> Option<SseItem> {
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
            "" => return Some(SseItem::Comment(value.to_owned())),
            "event" => value.clone_into(&mut self.kind),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" => self.id = Some(value.to_owned()),
            // The reconnection time is decided by the clients here.
            _ => {}
        }
        None
    }

    fn end_event(&mut self) -> Option<SseItem> {
        let kind = std::mem::take(&mut self.kind);
        let (mut data, id) = (std::mem::take(&mut self.data), self.id.take());
        // Each line of data ends with a line end, of which the last one does not count.
        data.pop()?;
        let kind = if kind.is_empty() { "message".to_owned() } else { kind };
        Some(SseItem::Event(SseEvent { kind, data, id }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, data: &str) -> SseItem {
        SseItem::Event(SseEvent { kind: kind.to_owned(), data: data.to_owned(), id: None })
    }

    #[test]
    fn a_stream_yields_the_same_events_wherever_it_is_split() {
        let text = "\u{feff}: router 7\n\nid: 3\nevent: a\ndata: {\"x\":\r\ndata:1}\r\n\r\n:\n\ndata: é\r\revent: no\n\n";
        let expected = [
            SseItem::Comment("router 7".into()),
            SseItem::Event(SseEvent { kind: "a".into(), data: "{\"x\":\n1}".into(), id: Some("3".into()) }),
            SseItem::Comment("".into()),
            event("message", "é"),
        ];
        for cut in 0..=text.len() {
            let (head, tail) = text.as_bytes().split_at(cut);
            let mut parser = Parser::default();
            let mut items = parser.feed(head).unwrap();
            items.extend(parser.feed(tail).unwrap());
            assert_eq!(items, expected, "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn a_stream_ends_with_the_reason_for_its_interruption() {
        let pieces = [Ok(Bytes::from("data: 1\n\n")), Err("reset"), Ok(Bytes::from("data: 2\n\n"))];
        let items: Vec<_> = items(stream::iter(pieces)).collect().await;
        assert_eq!(items, [Ok(event("message", "1")), Err(SseError::BrokenOff("reset".into()))]);
    }

    #[tokio::test]
    async fn an_event_without_end_is_refused() {
        let endless = stream::repeat(Ok::<_, String>(Bytes::from(vec![b'x'; 64 * 1024])));
        let items: Vec<_> = items(endless).collect().await;
        assert_eq!(items, [Err(SseError::TooLong)]);
    }
}
