//! Server-sent events, out of bytes that come in pieces cut anywhere.

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};

use switchyard_contract::bounds::STREAMED_EVENT;

/// What a stream says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Event(SseEvent),
    /// A line that is for nobody, without its colon: `router 42`, or nothing, which keeps the
    /// connection awake.
    Comment(String),
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent {
    /// `message` where the stream names none.
    pub kind: String,
    pub data: String,
}

/// Why a stream of events is of no more use.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("an event is larger than {STREAMED_EVENT} bytes")]
    TooLong,
    #[error("the stream broke off: {0}")]
    Off(String),
}

/// What `bytes` say, until they end or break off; that is the last item then.
pub fn said<E: std::fmt::Display>(
    bytes: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
) -> impl Stream<Item = Result<Said, Broken>> + Send {
    let pieces = bytes.map(|piece| piece.map_err(|error| Broken::Off(error.to_string())));
    let parsed = pieces.scan(Some(Parser::default()), |parser, piece| {
        // After what broke the stream off there is nothing.
        let fed = parser.as_mut().map(|open| piece.and_then(|piece| open.feed(&piece)));
        if matches!(fed, Some(Err(_))) {
            *parser = None;
        }
        std::future::ready(fed)
    });
    parsed.flat_map(|fed| match fed {
        Ok(said) => stream::iter(said.into_iter().map(Ok).collect::<Vec<_>>()),
        Err(broken) => stream::iter(vec![Err(broken)]),
    })
}

/// Reads as the HTML standard says (9.2.6): lines end with LF, CR or both, a blank one ends the event.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    /// The last byte was a CR: a LF that follows belongs to it.
    after_cr: bool,
    /// The first line was read: only before it there may be a byte order mark.
    begun: bool,
    kind: String,
    data: String,
}

impl Parser {
    /// What ends in `bytes`.
    ///
    /// # Errors
    /// [`Broken::TooLong`]; the stream is of no use from then on.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Said>, Broken> {
        let mut said = Vec::new();
        for byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, *byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => said.extend(self.end_line()),
                _ => self.line.push(*byte),
            }
            if self.line.len() + self.data.len() > STREAMED_EVENT {
                return Err(Broken::TooLong);
            }
        }
        Ok(said)
    }

    fn end_line(&mut self) -> Option<Said> {
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
            "" => return Some(Said::Comment(value.to_owned())),
            "event" => value.clone_into(&mut self.kind),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            // The id is in the data too, and how soon to come back is our own affair.
            _ => {}
        }
        None
    }

    fn end_event(&mut self) -> Option<Said> {
        let kind = std::mem::take(&mut self.kind);
        let mut data = std::mem::take(&mut self.data);
        // Each line of data brought a line end; the last one is not part of it.
        data.pop()?;
        let kind = if kind.is_empty() { "message".to_owned() } else { kind };
        Some(Said::Event(SseEvent { kind, data }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, data: &str) -> Said {
        Said::Event(SseEvent { kind: kind.to_owned(), data: data.to_owned() })
    }

    #[test]
    fn a_stream_says_the_same_wherever_it_is_cut() {
        let text = "\u{feff}: router 7\n\nid: 3\nevent: a\ndata: {\"x\":\r\ndata:1}\r\n\r\n:\n\ndata: é\r\revent: no\n\n";
        let expected = [
            Said::Comment("router 7".into()),
            event("a", "{\"x\":\n1}"),
            Said::Comment("".into()),
            event("message", "é"),
        ];
        for cut in 0..=text.len() {
            let (head, tail) = text.as_bytes().split_at(cut);
            let mut parser = Parser::default();
            let mut said = parser.feed(head).unwrap();
            said.extend(parser.feed(tail).unwrap());
            assert_eq!(said, expected, "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn a_stream_ends_with_what_broke_it_off() {
        let pieces = [Ok(Bytes::from("data: 1\n\n")), Err("reset"), Ok(Bytes::from("data: 2\n\n"))];
        let said: Vec<_> = said(stream::iter(pieces)).collect().await;
        assert_eq!(said, [Ok(event("message", "1")), Err(Broken::Off("reset".into()))]);
    }

    #[tokio::test]
    async fn an_event_without_end_is_refused() {
        let endless = stream::repeat(Ok::<_, String>(Bytes::from(vec![b'x'; 64 * 1024])));
        let said: Vec<_> = said(endless).collect().await;
        assert_eq!(said, [Err(Broken::TooLong)]);
    }
}
