//! The messages of a cell on its control socket. A project may have taken over its cell, so
//! messages are read within bounds, and one beyond them ends the cell.

use switchyard_contract::bounds::{self, cut};
use switchyard_protocol::{FromCell, Job};
use tokio::io::AsyncRead;

use super::lines::LineReader;

/// The reason why no more messages of a cell are read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProtocolViolation {
    #[error("it floods its control socket")]
    Flood,
    #[error("it sends an invalid message: {0}")]
    Invalid(String),
}

/// Reads the messages of one cell.
#[derive(Debug)]
pub(super) struct ControlMessages<R> {
    lines: LineReader<R>,
    count: usize,
    most: usize,
    is_over: bool,
}

impl<R: AsyncRead + Unpin> ControlMessages<R> {
    pub(super) fn new(socket: R) -> Self {
        Self {
            lines: LineReader::new(socket, bounds::CONTROL_LINE),
            count: 0,
            most: bounds::CONTROL_LINES,
            is_over: false,
        }
    }

    /// The next message. `None`: the stream has ended, or there was a violation before. Dropping
    /// the future loses nothing.
    ///
    /// # Errors
    /// The message is invalid, too long, or one too many: the cell has to be ended.
    pub(super) async fn next(&mut self) -> Option<Result<FromCell, ProtocolViolation>> {
        if self.is_over {
            return None;
        }
        let line = self.lines.next().await?;
        self.count += 1;
        let message = if line.continues || self.count > self.most {
            Err(ProtocolViolation::Flood)
        } else {
            // The error quotes the message.
            let quoted = |error: serde_json::Error| cut(error.to_string(), bounds::QUOTED);
            serde_json::from_slice(&line.bytes).map_err(|error| ProtocolViolation::Invalid(quoted(error)))
        };
        self.is_over = message.is_err();
        Some(message)
    }

    /// Allows the messages of a job: its result, and those of its steps, which have a result each.
    pub(super) fn allow_job(&mut self, job: &Job) {
        let max_result = match job {
            Job::Link { .. } => return,
            Job::Call(call) => call.max_result,
            Job::Registry { max_result } => *max_result,
        };
        // The cell counts the bytes of its own spelling, which can be shorter.
        let result = usize::try_from(max_result).unwrap_or(usize::MAX).saturating_mul(2);
        self.lines.allow(result.saturating_add(bounds::CONTROL_LINE).min(bounds::JOB_LINE));
        self.most = bounds::JOB_LINES;
    }

    /// Does not count the last message, whose kind has a bound of its own.
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

    const SERVING: FromCell = FromCell::Serving { by: ServerKind::Deno, framed: true };

    type Read = Vec<Result<FromCell, ProtocolViolation>>;

    fn read(sent: &[u8]) -> Read {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut messages, mut read) = (ControlMessages::new(sent), Vec::new());
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
        assert_eq!(read(&endless), [Ok(FromCell::Ready), Err(ProtocolViolation::Flood)]);
    }

    #[test]
    fn more_messages_than_a_cell_needs_are_a_flood() {
        let many = line(&SERVING).repeat(bounds::CONTROL_LINES + 5);
        let read = read(&many);
        assert_eq!(read.len(), bounds::CONTROL_LINES + 1);
        assert_eq!(read.last(), Some(&Err(ProtocolViolation::Flood)));
    }

    #[test]
    fn a_job_may_send_a_result_and_its_steps() {
        let result = "x".repeat(3 * bounds::CONTROL_LINE);
        let sent = line(&FromCell::Returned { result: result.into() });
        let sent = [line(&SERVING).repeat(bounds::CONTROL_LINES), sent].concat();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let last = |job: Option<Job>| {
            runtime.block_on(async {
                let mut messages = ControlMessages::new(sent.as_slice());
                job.iter().for_each(|job| messages.allow_job(job));
                let mut last = None;
                while let Some(message) = messages.next().await {
                    last = Some(message);
                }
                last
            })
        };
        assert!(matches!(
            last(Some(Job::Registry { max_result: 1 << 20 })),
            Some(Ok(FromCell::Returned { .. }))
        ));
        assert_eq!(last(Some(Job::Link { modules: Vec::new() })), Some(Err(ProtocolViolation::Flood)));
        assert_eq!(last(None), Some(Err(ProtocolViolation::Flood)));
    }

    #[test]
    fn an_invalid_message_is_quoted_in_part() {
        let Some(Err(ProtocolViolation::Invalid(text))) =
            read(format!("{{\"type\":\"{}\"}}\n", "x".repeat(100_000)).as_bytes()).pop()
        else {
            panic!("the message is invalid")
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
        fn any_output_of_a_cell_is_understood_or_ends_the_cell(
            good in prop::collection::vec(message(), 0..4),
            rest in prop::collection::vec(piece(), 0..24),
        ) {
            let sent: Vec<u8> = good.iter().map(line).chain(rest).flatten().collect();
            let read = read(&sent);
            prop_assert!(read.len() <= bounds::CONTROL_LINES + 1);
            let ends = read.iter().position(Result::is_err);
            prop_assert!(ends.is_none_or(|at| at + 1 == read.len()), "nothing is read after an end");
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
