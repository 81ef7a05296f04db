//! Output of cells, read from bytes in memory.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngSeed};
use switchyard_contract::digest::Digest;

use super::*;
use crate::version::Tenant;

#[derive(Debug, Default)]
struct RecordingSink(Mutex<Vec<String>>);

impl OutputSink for RecordingSink {
    fn line(&self, version: &Version, line: &OutputLine<'_>) {
        let OutputLine { pid, stream, request, continues, text } = line;
        let more = if *continues { "…" } else { "" };
        let line = format!("{} {pid} {stream} {}: {text}{more}", version.project, request.unwrap_or("-"));
        self.0.lock().unwrap().push(line);
    }

    fn last_line(&self, _: &Version, run: &str) {
        self.0.lock().unwrap().push(format!("{run} has ended"));
    }
}

fn source(assigned: AssignedVersion) -> (OutputSource, Arc<RecordingSink>) {
    let taken = Arc::new(RecordingSink::default());
    let throttle = Mutex::new(Throttle::new(1 << 20, std::time::Instant::now()));
    (
        OutputSource { assigned, pid: 7, shared: Arc::new(OutputState { sink: taken.clone(), throttle }) },
        taken,
    )
}

fn assigned() -> AssignedVersion {
    let assigned = AssignedVersion::default();
    let blog = Tenant::first(&ProjectName::parse("blog").unwrap());
    let version = Version::new(&blog, Digest::from([1; 32]));
    assigned.set(Assignment { version, output: None }).unwrap();
    assigned
}

#[tokio::test]
async fn a_cell_of_its_own_receiver_has_its_lines_there_too() {
    let own = Arc::new(RecordingSink::default());
    let assigned = AssignedVersion::default();
    let blog = Tenant::first(&ProjectName::parse("blog").unwrap());
    let version = Version::new(&blog, Digest::from([1; 32]));
    assigned.set(Assignment { version, output: Some(own.clone()) }).unwrap();
    let (source, taken) = source(assigned);
    log_lines(b"one\n".as_slice(), "stdout", source).await;
    assert_eq!(*own.0.lock().unwrap(), ["blog 7 stdout -: one"]);
    assert_eq!(*taken.0.lock().unwrap(), *own.0.lock().unwrap());
}

#[tokio::test]
async fn what_a_version_prints_goes_to_the_sink_too() {
    let (spare, taken) = source(AssignedVersion::default());
    log_lines(b"a spare's\n".as_slice(), "stdout", spare.clone()).await;
    let input = format!("one\n{}two", Mark::parse("3f9a").unwrap());
    let last = log_lines(input.as_bytes(), "stderr", OutputSource { assigned: assigned(), ..spare }).await;
    assert_eq!(*taken.0.lock().unwrap(), ["blog 7 stderr -: one", "blog 7 stderr 3f9a: two"]);
    assert_eq!(last, ["one", "two"]);
}

#[tokio::test]
async fn a_line_that_is_too_long_is_marked_where_it_is_split_and_keeps_its_request() {
    let (source, taken) = source(assigned());
    let (mark, long) = (Mark::parse("3f9a").unwrap(), "x".repeat(bounds::OUTPUT_LINE));
    // A mark in the middle of a line is part of its text.
    let input = format!("{mark}{long}{mark}y\r\nend");
    let last = log_lines(input.as_bytes(), "stdout", source).await;
    let taken = taken.0.lock().unwrap();
    let split = bounds::OUTPUT_LINE - mark.to_string().len();
    assert_eq!(taken[0], format!("blog 7 stdout 3f9a: {}…", &long[..split]));
    assert_eq!(taken[1], format!("blog 7 stdout 3f9a: {}{mark}y", &long[split..]));
    assert_eq!(taken[2], "blog 7 stdout -: end");
    assert_eq!(last[0].len(), bounds::LAST_LINE);
}

#[tokio::test]
async fn the_end_of_a_runs_output_comes_after_its_lines_and_is_no_line() {
    let (source, taken) = source(assigned());
    let mark = Mark::parse("3f9a").unwrap();
    let end = mark.last_line();
    let input = format!("{mark}one\n{end}half a line{end}other\n");
    let last = log_lines(input.as_bytes(), "stdout", source).await;
    let expected = [
        "blog 7 stdout 3f9a: one",
        "3f9a has ended",
        "blog 7 stdout -: half a line",
        "3f9a has ended",
        "blog 7 stdout -: other",
    ];
    assert_eq!(*taken.0.lock().unwrap(), expected);
    assert_eq!(last, ["one", "half a line", "other"]);
}

#[tokio::test]
async fn a_flood_is_read_at_a_bounded_rate_and_to_its_end() {
    const FLOOD: usize = 3 * bounds::OUTPUT_LINES;
    let (source, taken) = source(assigned());
    let began = Instant::now();
    log_lines("x\n".repeat(FLOOD).as_bytes(), "stdout", source.clone()).await;
    assert!(began.elapsed() >= 2 * bounds::OUTPUT_WINDOW);
    assert_eq!(taken.0.lock().unwrap().len(), FLOOD);
    assert!(source.shared.throttle().dropped()[0].1.lines > 0);
}

#[tokio::test]
async fn only_the_last_lines_are_kept() {
    let input: String = (0..100).map(|n| format!("{n}\n")).collect();
    let lines = log_lines(input.as_bytes(), "stderr", source(AssignedVersion::default()).0).await;
    assert_eq!(lines.first(), Some(&(100 - bounds::LAST_LINES).to_string()));
    assert_eq!(lines.len(), bounds::LAST_LINES);
}

/// Output of all kinds, ended by a line that is understood after any of it.
fn output() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..200),
        2 => "[a-z]{0,20}\r?\n".prop_map(String::into_bytes),
        1 => Just("\u{1e}3f9a\u{1f}marked\n".into()),
        1 => (select(b"\0x\r\x1e\x80\xff".as_slice()), 0..200_000_usize).prop_map(|(byte, times)| vec![byte; times]),
        1 => "[ä€😀\u{1e}\u{1f}]{0,9}".prop_map(|text| text.repeat(9_000).into_bytes()),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| [pieces.concat(), b"\nlast\n".to_vec()].concat())
}

proptest! {
    #![proptest_config(Config {
        cases: 48,
        rng_seed: RngSeed::Fixed(11),
        failure_persistence: None,
        ..Config::default()
    })]

    #[test]
    fn any_output_is_bounded_and_the_next_line_is_understood(printed in output()) {
        // A line with its note. A byte that is not UTF-8 is shown by three bytes.
        const MOST: usize = 3 * bounds::OUTPUT_LINE + 64;
        let (source, taken) = source(assigned());
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let last = runtime.block_on(log_lines(printed.as_slice(), "stdout", source));
        let taken = taken.0.lock().unwrap();
        let prefix = "blog 7 stdout -: ".len() + bounds::REQUEST_ID;
        prop_assert!(taken.iter().all(|line| line.len() <= MOST + prefix));
        prop_assert_eq!(taken.last().map(String::as_str), Some("blog 7 stdout -: last"));
        let lines = printed.iter().filter(|byte| **byte == b'\n').count();
        prop_assert!(taken.len() <= 3 * lines, "a line is passed on in three pieces");
        prop_assert!(last.len() <= bounds::LAST_LINES);
        prop_assert!(last.iter().all(|line| line.len() <= bounds::LAST_LINE));
    }
}
