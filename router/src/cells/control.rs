//! The messages of a cell on its control socket. Its project may have taken hold of it, so it is read
//! within bounds, and what is beyond them ends the conversation.

use switchyard_contract::bounds::{self, cut};
use switchyard_protocol::FromCell;
use tokio::io::AsyncRead;

use super::lines::LineReader;

/// Why a cell cannot be listened to any longer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Misbehaviour {
    #[error("it floods its control socket")]
    Flood,
    #[error("it says what is not understood: {0}")]
    NotUnderstood(String),
}

/// Reads the messages of one cell.
#[derive(Debug)]
pub(super) struct Messages<R> {
    lines: LineReader<R>,
    count: usize,
    is_over: bool,
}

impl<R: AsyncRead + Unpin> Messages<R> {
    pub(super) fn new(socket: R) -> Self {
        Self { lines: LineReader::new(socket, bounds::CONTROL_LINE), count: 0, is_over: false }
    }

    /// The next message. `None` at the end of the stream, and after the first misbehaviour: nothing
    /// more is read then. Dropped before it is done, nothing is lost: the next call goes on.
    ///
    /// # Errors
    /// Too long, too many, or no message: the cell is to be ended.
    pub(super) async fn next(&mut self) -> Option<Result<FromCell, Misbehaviour>> {
        if self.is_over {
            return None;
        }
        let line = self.lines.next().await?;
        self.count += 1;
        let message = if line.continues || self.count > bounds::CONTROL_LINES {
            Err(Misbehaviour::Flood)
        } else {
            // The error repeats what was sent.
            let quoted = |error: serde_json::Error| cut(error.to_string(), bounds::QUOTED);
            serde_json::from_slice(&line.bytes).map_err(|error| Misbehaviour::NotUnderstood(quoted(error)))
        };
        self.is_over = message.is_err();
        Some(message)
    }

    /// Does not count the last message: it is of a kind that has a bound of its own.
    pub(super) fn leave_out(&mut self) {
        self.count = self.count.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, RngSeed};
    use switchyard_contract::event::Diagnostic;
    use switchyard_protocol::{Limit, ServerKind};

    use super::*;

    const SERVING: FromCell = FromCell::Serving { by: ServerKind::Deno };

    type Read = Vec<Result<FromCell, Misbehaviour>>;

    fn read(sent: &[u8]) -> Read {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut messages, mut read) = (Messages::new(sent), Vec::new());
            while let Some(message) = messages.next().await {
                read.push(message);
            }
            read
        })
    }

    fn line(message: &FromCell) -> Vec<u8> {
        let mut line = serde_json::to_vec(message).unwrap();
        line.push(b'\n');
        line
    }

    fn failed(message: impl Into<String>) -> FromCell {
        FromCell::Failed(Diagnostic { message: message.into(), ..Diagnostic::default() })
    }

    #[test]
    fn the_largest_diagnostic_fits_into_a_line() {
        let all = |most| Some("\u{1}".repeat(most));
        let diagnostic = Diagnostic {
            message: all(bounds::DIAGNOSTIC_MESSAGE).unwrap(),
            file: all(bounds::DIAGNOSTIC_FILE),
            frame: all(bounds::DIAGNOSTIC_FRAME),
            line: Some(u32::MAX),
            column: Some(u32::MAX),
        };
        assert_eq!(diagnostic.clone().bounded(), diagnostic);
        let message = FromCell::Missing(diagnostic);
        assert_eq!(read(&line(&message)), [Ok(message)]);
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let mut endless = line(&FromCell::Ready);
        endless.extend(vec![b'x'; 10 * bounds::CONTROL_LINE]);
        endless.extend(line(&SERVING));
        assert_eq!(read(&endless), [Ok(FromCell::Ready), Err(Misbehaviour::Flood)]);
    }

    #[test]
    fn more_messages_than_a_cell_has_to_say_are_a_flood() {
        let many = line(&SERVING).repeat(bounds::CONTROL_LINES + 5);
        let read = read(&many);
        assert_eq!(read.len(), bounds::CONTROL_LINES + 1);
        assert_eq!(read.last(), Some(&Err(Misbehaviour::Flood)));
    }

    #[test]
    fn what_is_not_understood_is_quoted_in_part() {
        let Some(Err(Misbehaviour::NotUnderstood(text))) =
            read(format!("{{\"type\":\"{}\"}}\n", "x".repeat(100_000)).as_bytes()).pop()
        else {
            panic!("it is no message")
        };
        assert!(text.len() <= bounds::QUOTED && text.contains("xxx"), "{text}");
    }

    fn message() -> impl Strategy<Value = FromCell> {
        prop_oneof![
            Just(FromCell::Ready),
            Just(SERVING),
            Just(FromCell::Exceeded(Limit::Disk)),
            (".{0,20}", 0..2_000_usize).prop_map(|(text, times)| failed(text.repeat(times))),
        ]
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            6 => message().prop_map(|message| line(&message)),
            1 => prop::collection::vec(any::<u8>(), 0..300),
            1 => (any::<u8>(), 0..3 * bounds::CONTROL_LINE).prop_map(|(byte, times)| vec![byte; times]),
            1 => "\\{\"type\":\"failed\",\"message\":[\\[{\"a-z]{0,200}\n".prop_map(String::into_bytes),
        ]
    }

    proptest! {
        #![proptest_config(Config {
            cases: 64,
            rng_seed: RngSeed::Fixed(11),
            failure_persistence: None,
            ..Config::default()
        })]

        #[test]
        fn whatever_a_cell_says_it_is_understood_or_the_cell_is_ended(
            good in prop::collection::vec(message(), 0..4),
            rest in prop::collection::vec(piece(), 0..24),
        ) {
            let sent: Vec<u8> = good.iter().map(line).chain(rest).flatten().collect();
            let read = read(&sent);
            prop_assert!(read.len() <= bounds::CONTROL_LINES + 1);
            let ends = read.iter().position(Result::is_err);
            prop_assert!(ends.is_none_or(|at| at + 1 == read.len()), "nothing is heard after an end");
            for message in read.iter().flatten() {
                if let FromCell::Failed(diagnostic) | FromCell::Missing(diagnostic) = message {
                    prop_assert_eq!(diagnostic.clone().bounded(), diagnostic.clone());
                }
            }
            for (sent, read) in good.into_iter().zip(&read) {
                let expected = match sent {
                    FromCell::Failed(diagnostic) => FromCell::Failed(diagnostic.bounded()),
                    other => other,
                };
                prop_assert_eq!(read, &Ok(expected));
            }
        }
    }
}
