//! The events of one run: numbered, with the beginning and the end of its output kept. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;
use switchyard_contract::admin::{RunEnd, RunEvent, StepAsk, StepRequest};
use switchyard_contract::run::RunLine;

use super::NumberedEvent;

/// Lines of one event.
const EVENT_LINES: usize = 100;

/// Bytes of the lines of one event, unless it has a single line.
const EVENT_BYTES: u64 = 64 << 10;

/// Bytes that a line counts for besides its text.
const LINE: u64 = 64;

/// Steps that wait for an answer at once: a cell that asks for more is ended.
const OPEN_STEPS: usize = 256;

/// Bytes of events that are handed out at once. One event may have more.
const HANDED_OUT: usize = 256 << 10;

/// The events of a run, from its start to its end.
#[derive(Debug)]
pub(super) struct EventLog {
    /// Those that are kept, by number.
    kept: BTreeMap<u64, Kept>,
    /// The number of the last event.
    last: u64,
    /// Bytes of lines that are kept: one half for the first, one half for the last.
    limit: u64,
    /// Bytes of steps that wait for an answer.
    step_limit: u64,
    head: u64,
    /// `true`: the first half is full.
    is_head_full: bool,
    /// The events with the last lines, oldest first.
    tail: VecDeque<u64>,
    tail_bytes: u64,
    /// The event that takes more lines.
    open: Option<u64>,
    /// Lines that were printed.
    lines: u64,
    /// The events of steps that wait, by the numbers of the steps.
    steps: BTreeMap<u64, u64>,
    /// Steps that were answered.
    answered: BTreeSet<u64>,
    step_bytes: u64,
    is_over: bool,
    /// `true`: the end is handed out.
    is_announced: bool,
}

#[derive(Debug)]
struct Kept {
    event: RunEvent,
    bytes: u64,
}

/// The reason why a step is not taken. The cell is ended for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum StepRefused {
    #[error("more than {OPEN_STEPS} steps wait for an answer at once: await some of them first")]
    TooMany,
    #[error("the results of steps that wait to be kept are too large: return less from each step")]
    TooLarge,
    #[error("two steps have the same number")]
    SameNumber,
}

/// The reason why an answer fits no step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no step of this number waits for an answer")]
pub(crate) struct UnknownStep;

/// The effect of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The step waits for it.
    First,
    /// The step was answered before.
    Repeated,
}

impl EventLog {
    /// A log that keeps `limit` bytes of lines, and `step_limit` bytes of steps that wait.
    pub(super) fn new(limit: u64, step_limit: u64) -> Self {
        Self {
            kept: BTreeMap::new(),
            last: 0,
            limit,
            step_limit,
            head: 0,
            is_head_full: false,
            tail: VecDeque::new(),
            tail_bytes: 0,
            open: None,
            lines: 0,
            steps: BTreeMap::new(),
            answered: BTreeSet::new(),
            step_bytes: 0,
            is_over: false,
            is_announced: false,
        }
    }

    /// Adds that the code runs.
    pub(super) fn start(&mut self, at: Timestamp) {
        self.push(RunEvent::Started { at }, 0);
    }

    /// Adds a line. Its number is set here.
    pub(super) fn line(&mut self, mut line: RunLine) {
        if self.is_over {
            return;
        }
        line.n = self.lines;
        self.lines += 1;
        let bytes = line.line.len() as u64 + LINE;
        let half = self.limit / 2;
        if !self.is_head_full && self.head + bytes > half {
            (self.is_head_full, self.open) = (true, None);
        }
        let most = EVENT_BYTES.min(self.limit / 8);
        let open = self.open.and_then(|number| self.kept.get_mut(&number));
        let fits = |kept: &&mut Kept| match &kept.event {
            RunEvent::Lines { lines } => lines.len() < EVENT_LINES && kept.bytes + bytes <= most,
            _ => false,
        };
        match open.filter(fits) {
            Some(kept) => {
                kept.bytes += bytes;
                if let RunEvent::Lines { lines } = &mut kept.event {
                    lines.push(line);
                }
            }
            None => {
                let number = self.push(RunEvent::Lines { lines: vec![line] }, bytes);
                self.open = Some(number);
                if self.is_head_full {
                    self.tail.push_back(number);
                }
            }
        }
        if self.is_head_full {
            self.tail_bytes += bytes;
            self.drop_middle(half);
        } else {
            self.head += bytes;
        }
    }

    /// Drops the oldest of the last lines until the others are within their half. The newest stay.
    fn drop_middle(&mut self, half: u64) {
        while self.tail_bytes > half && self.tail.len() > 1 {
            let Some(oldest) = self.tail.pop_front() else { return };
            let dropped = self.kept.remove(&oldest);
            self.tail_bytes -= dropped.map_or(0, |dropped| dropped.bytes);
        }
    }

    /// Adds a step that waits for its answer.
    ///
    /// # Errors
    /// Too much waits already.
    pub(super) fn step(&mut self, step: StepRequest) -> Result<(), StepRefused> {
        if self.is_over {
            return Ok(());
        }
        if self.steps.contains_key(&step.number) || self.answered.contains(&step.number) {
            return Err(StepRefused::SameNumber);
        }
        if self.steps.len() >= OPEN_STEPS {
            return Err(StepRefused::TooMany);
        }
        let (asked, event) = (step.number, RunEvent::Step(step));
        let bytes = serde_json::to_vec(&event).map_or(0, |json| json.len() as u64);
        if self.step_bytes + bytes > self.step_limit {
            return Err(StepRefused::TooLarge);
        }
        self.step_bytes += bytes;
        let number = self.push(event, bytes);
        self.steps.insert(asked, number);
        Ok(())
    }

    /// Returns true if a step waits that is a run of its own.
    pub(super) fn waits_for_run(&self) -> bool {
        let is_run = |kept: &Kept| {
            matches!(&kept.event, RunEvent::Step(StepRequest { ask: StepAsk::Task { .. }, .. }))
        };
        self.steps.values().filter_map(|number| self.kept.get(number)).any(is_run)
    }

    /// Notes the answer to a step, which is not kept any more.
    ///
    /// # Errors
    /// No step of this number was asked.
    pub(super) fn answer(&mut self, step: u64) -> Result<Answer, UnknownStep> {
        match self.steps.remove(&step) {
            Some(number) => {
                let kept = self.kept.remove(&number);
                self.step_bytes -= kept.map_or(0, |kept| kept.bytes);
                self.answered.insert(step);
                Ok(Answer::First)
            }
            None if self.answered.contains(&step) => Ok(Answer::Repeated),
            None => Err(UnknownStep),
        }
    }

    /// Adds the end, after which nothing is added. Steps that still wait are dropped. It is not
    /// handed out before it is [announced](Self::announce).
    pub(super) fn end(&mut self, end: RunEnd) {
        if self.is_over {
            return;
        }
        for number in std::mem::take(&mut self.steps).into_values() {
            self.kept.remove(&number);
        }
        self.push(RunEvent::Ended(RunEnd { lines: self.lines, ..end }), 0);
        self.is_over = true;
    }

    /// Hands the end out from now on.
    pub(super) fn announce(&mut self) {
        self.is_announced = true;
    }

    /// The kept events after number `after`, as many as one answer has. No line is added to them
    /// any more.
    pub(super) fn after(&mut self, after: u64) -> Vec<NumberedEvent> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        let Some(first) = after.checked_add(1) else { return found };
        for (number, kept) in self.kept.range(first..) {
            if matches!(kept.event, RunEvent::Ended(_)) && !self.is_announced {
                break;
            }
            bytes += usize::try_from(kept.bytes).unwrap_or(usize::MAX);
            if !found.is_empty() && bytes > HANDED_OUT {
                break;
            }
            found.push(NumberedEvent { number: *number, event: kept.event.clone() });
        }
        if found.last().map(|last| last.number) >= self.open {
            self.open = None;
        }
        found
    }

    /// All kept events, by number.
    pub(super) fn all(&self) -> Vec<NumberedEvent> {
        let numbered =
            |(number, kept): (&u64, &Kept)| NumberedEvent { number: *number, event: kept.event.clone() };
        self.kept.iter().map(numbered).collect()
    }

    fn push(&mut self, event: RunEvent, bytes: u64) -> u64 {
        self.last += 1;
        self.open = None;
        self.kept.insert(self.last, Kept { event, bytes });
        self.last
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use switchyard_contract::admin::StepAsk;
    use switchyard_contract::run::RunState;

    use super::*;

    fn line(text: &str) -> RunLine {
        RunLine {
            n: 0,
            at: Timestamp::UNIX_EPOCH,
            stream: "stdout".into(),
            line: text.into(),
            continues: false,
            attempt: 1,
            skipped: 0,
        }
    }

    fn step(number: u64, ask: StepAsk) -> StepRequest {
        StepRequest { number, name: format!("s{number}"), ask }
    }

    fn end() -> RunEnd {
        RunEnd { at: Timestamp::UNIX_EPOCH, state: RunState::Succeeded, result: None, error: None, lines: 0 }
    }

    fn numbers(events: &[NumberedEvent]) -> Vec<u64> {
        events.iter().map(|event| event.number).collect()
    }

    fn lines(log: &EventLog) -> Vec<u64> {
        let of = |event: NumberedEvent| match event.event {
            RunEvent::Lines { lines } => lines.into_iter().map(|line| line.n).collect(),
            _ => Vec::new(),
        };
        log.all().into_iter().flat_map(of).collect()
    }

    #[test]
    fn events_are_numbered_from_one_and_lines_are_joined_until_they_are_read() {
        let mut log = EventLog::new(1 << 20, 1 << 20);
        log.start(Timestamp::UNIX_EPOCH);
        log.line(line("a"));
        log.line(line("b"));
        assert_eq!(numbers(&log.after(0)), [1, 2]);
        log.line(line("c"));
        assert_eq!(numbers(&log.after(2)), [3], "an event that was read does not change");
        log.end(end());
        log.line(line("late"));
        assert!(log.after(3).is_empty(), "it is not announced yet");
        assert_eq!(numbers(&log.all()), [1, 2, 3, 4]);
        log.announce();
        assert_eq!(numbers(&log.after(3)), [4]);
        assert!(matches!(&log.after(3)[0].event, RunEvent::Ended(end) if end.lines == 3));
        assert!(log.after(4).is_empty() && log.after(u64::MAX).is_empty());
    }

    #[test]
    fn an_event_has_at_most_a_hundred_lines() {
        let mut log = EventLog::new(1 << 30, 1);
        (0..250).for_each(|_| log.line(line("x")));
        assert_eq!(numbers(&log.all()), [1, 2, 3]);
        assert_eq!(lines(&log).len(), 250);
    }

    #[test]
    fn the_first_and_the_last_lines_are_kept_and_all_are_counted() {
        let mut log = EventLog::new(32 << 10, 1);
        (0..10_000).for_each(|n| log.line(line(&format!("line {n:05}"))));
        log.end(end());
        let kept = lines(&log);
        assert_eq!((kept[0], kept[kept.len() - 1]), (0, 9_999));
        let gap = kept.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
        assert_eq!(gap, 1, "one gap in the middle");
        let bytes = kept.len() as u64 * (10 + LINE);
        assert!((24 << 10..=32 << 10).contains(&bytes), "{bytes}");
        assert!(matches!(&log.all().last().unwrap().event, RunEvent::Ended(end) if end.lines == 10_000));
    }

    #[test]
    fn a_single_line_that_is_larger_than_the_limit_is_the_only_one_kept() {
        let mut log = EventLog::new(100, 1);
        (0..50).for_each(|_| log.line(line(&"x".repeat(1000))));
        assert_eq!(lines(&log), [49]);
    }

    #[test]
    fn a_step_is_kept_until_it_is_answered() {
        let mut log = EventLog::new(1 << 20, 1 << 20);
        log.step(step(0, StepAsk::Begin)).unwrap();
        log.step(step(1, StepAsk::Begin)).unwrap();
        assert_eq!(log.step(step(1, StepAsk::Begin)), Err(StepRefused::SameNumber));
        assert_eq!(log.answer(0), Ok(Answer::First));
        assert_eq!(log.answer(0), Ok(Answer::Repeated));
        assert_eq!(log.answer(7), Err(UnknownStep));
        assert_eq!(numbers(&log.after(0)), [2]);
        log.end(end());
        log.announce();
        assert_eq!(numbers(&log.after(0)), [3], "nobody waits for the other any more");
    }

    #[test]
    fn steps_that_wait_are_bounded_in_number_and_size() {
        let mut log = EventLog::new(1 << 20, 1 << 20);
        let keep = |number| step(number, StepAsk::Keep { result: json!("x".repeat(600 << 10)) });
        log.step(keep(0)).unwrap();
        assert_eq!(log.step(keep(1)), Err(StepRefused::TooLarge));
        log.answer(0).unwrap();
        log.step(keep(1)).unwrap();
        let mut log = EventLog::new(1 << 20, 1 << 20);
        let mut steps = (0..).map(|number| log.step(step(number, StepAsk::Begin)));
        assert_eq!(steps.find_map(Result::err), Some(StepRefused::TooMany));
    }

    #[test]
    fn what_is_handed_out_at_once_is_bounded() {
        let mut log = EventLog::new(16 << 20, 1);
        (0..2_000).for_each(|_| log.line(line(&"x".repeat(1000))));
        let (mut read, mut seen) = (0, 0);
        loop {
            let events = log.after(read);
            let Some(last) = events.last() else { break };
            assert!(events.len() < 8);
            (read, seen) = (last.number, seen + 1);
        }
        assert!(seen > 4);
    }
}
