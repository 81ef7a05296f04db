//! The output of cells: read on a thread of its own and logged line by line, with project and
//! version, while the project keeps to its share of the log.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use switchyard_contract::bounds;
use switchyard_contract::project::ProjectName;
use switchyard_protocol::Mark;
use tokio::io::AsyncRead;
use tokio::net::unix::pipe::Receiver;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep_until};

use super::lines::{LineAbridger, LinePiece, LineReader};
use super::throttle::{LogVolume, Throttle};
use crate::version::Version;

/// Interval between two reports of dropped lines.
const REPORTS: Duration = Duration::from_secs(5);

/// The version of a cell; set when a spare gets its version.
pub(super) type AssignedVersion = Arc<OnceLock<Assignment>>;

/// The version that a cell runs, and the receiver of the lines of this cell alone.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) version: Version,
    pub(super) output: Option<Arc<dyn OutputSink>>,
}

/// A receiver of the lines that versions print. Called for each line, so it must not block.
pub(crate) trait OutputSink: Debug + Send + Sync {
    fn line(&self, version: &Version, line: &OutputLine<'_>);
}

/// A line of a cell's output.
#[derive(Debug)]
pub(crate) struct OutputLine<'a> {
    pub(crate) pid: u32,
    /// `stdout` or `stderr`.
    pub(crate) stream: &'static str,
    /// The id of the request that it is about.
    pub(crate) request: Option<&'a str>,
    /// `true`: the line was too long and continues in the next one of the same process and stream.
    pub(crate) continues: bool,
    pub(crate) text: &'a str,
}

/// The thread that reads all output, and what it shares with the other threads.
#[derive(Debug)]
pub(super) struct Output {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    shared: Arc<OutputState>,
}

#[derive(Debug)]
struct OutputState {
    sink: Arc<dyn OutputSink>,
    throttle: Mutex<Throttle>,
}

/// The source of a stream, and the receiver of its lines.
#[derive(Debug, Clone)]
struct OutputSource {
    assigned: AssignedVersion,
    pid: u32,
    shared: Arc<OutputState>,
}

impl Output {
    /// Starts the thread. `limit`: bytes that a project may log in a minute.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(sink: Arc<dyn OutputSink>, limit: u64) -> io::Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("output").enable_all().build()?;
        let throttle = Mutex::new(Throttle::new(limit, std::time::Instant::now()));
        let shared = Arc::new(OutputState { sink, throttle });
        runtime.spawn(report(shared.clone()));
        Ok(Self { runtime: Some(runtime), shared })
    }

    /// Reads `stream`, which is called `name`, to its end. The task returns its last lines.
    pub(super) fn read(
        &self,
        stream: OwnedFd,
        name: &'static str,
        pid: u32,
        assigned: AssignedVersion,
    ) -> Option<JoinHandle<Vec<String>>> {
        let source = OutputSource { assigned, pid, shared: self.shared.clone() };
        let read = async move {
            match Receiver::from_owned_fd(stream) {
                Ok(stream) => log_lines(stream, name, source).await,
                Err(error) => {
                    tracing::error!(cell.pid = pid, "the output of a cell cannot be read: {error}");
                    Vec::new()
                }
            }
        };
        self.runtime.as_ref().map(|runtime| runtime.spawn(read))
    }

    /// The output of each project that was not logged.
    pub(super) fn dropped(&self) -> Vec<(ProjectName, LogVolume)> {
        self.shared.throttle().dropped()
    }

    /// Forgets a project that is gone.
    pub(super) fn forget(&self, project: &ProjectName) {
        self.shared.throttle().forget(project);
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Reports, from time to time, how much was not logged. Runs until it is dropped.
async fn report(shared: Arc<OutputState>) {
    let mut reports = interval(REPORTS);
    loop {
        reports.tick().await;
        let dropped = shared.throttle().report();
        for (project, LogVolume { lines, bytes }) in dropped {
            tracing::warn!(
                project.name = %project,
                dropped_lines = lines,
                dropped_bytes = bytes,
                "{project} prints more than --project-log: {lines} lines of it are not in this log"
            );
        }
    }
}

/// The id of the request that a line is about, if it is about one.
struct LineRequest(Option<String>);

/// Logs `stream` to its end and returns its last lines.
async fn log_lines(stream: impl AsyncRead + Unpin, name: &'static str, source: OutputSource) -> Vec<String> {
    let mut reader = LineReader::new(stream, bounds::OUTPUT_LINE);
    let mut abridged = LineAbridger::default();
    let mut last = VecDeque::with_capacity(bounds::LAST_LINES);
    let mut pace = ReadPace::new();
    // The request of a line that continues.
    let mut unfinished: Option<LineRequest> = None;
    while let Some(piece) = reader.next().await {
        pace.count(piece.bytes.len()).await;
        for LinePiece { bytes, continues } in abridged.pass(piece) {
            let printed = String::from_utf8_lossy(&bytes);
            let printed = if continues { &printed } else { printed.trim_end_matches('\r') };
            let (request, text) = match unfinished.take() {
                // Only the beginning of a line can be a mark.
                Some(LineRequest(request)) => (request, printed.into()),
                None => {
                    let (mark, text) = Mark::split(printed);
                    (mark.map(|mark| mark.id().to_owned()), text)
                }
            };
            source.log(&OutputLine {
                pid: source.pid,
                stream: name,
                request: request.as_deref(),
                continues,
                text: &text,
            });
            unfinished = continues.then_some(LineRequest(request));
            if last.len() == bounds::LAST_LINES {
                last.pop_front();
            }
            last.push_back(text[..text.floor_char_boundary(bounds::LAST_LINE)].to_owned());
        }
    }
    last.into()
}

impl OutputState {
    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutputSource {
    fn log(&self, line: &OutputLine<'_>) {
        let OutputLine { pid, stream, request, continues, text } = *line;
        let Some(Assignment { version, output }) = self.assigned.get() else {
            return tracing::warn!(cell.pid = pid, stream, "a spare cell prints: {text}");
        };
        self.shared.sink.line(version, line);
        if let Some(output) = output {
            output.line(version, line);
        }
        let now = std::time::Instant::now();
        if !self.shared.throttle().admits(&version.project, text.len(), now) {
            return;
        }
        tracing::info!(
            project.name = %version.project,
            project.version = %version,
            cell.pid = pid,
            request.id = request,
            stream,
            continues = continues.then_some(true),
            "{text}"
        );
    }
}

/// The amount that was read of a stream in the current window.
struct ReadPace {
    began: Instant,
    lines: usize,
    bytes: usize,
}

impl ReadPace {
    fn new() -> Self {
        Self { began: Instant::now(), lines: 0, bytes: 0 }
    }

    /// Counts a line. Waits for the next window first, if this one is full.
    async fn count(&mut self, bytes: usize) {
        if self.lines >= bounds::OUTPUT_LINES || self.bytes >= bounds::OUTPUT_BYTES {
            sleep_until(self.began + bounds::OUTPUT_WINDOW).await;
        }
        if self.began.elapsed() >= bounds::OUTPUT_WINDOW {
            *self = Self::new();
        }
        self.lines += 1;
        self.bytes += bytes + 1;
    }
}

#[cfg(test)]
mod tests {
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
    }

    fn source(assigned: AssignedVersion) -> (OutputSource, Arc<RecordingSink>) {
        let taken = Arc::new(RecordingSink::default());
        let throttle = Mutex::new(Throttle::new(1 << 20, std::time::Instant::now()));
        (
            OutputSource {
                assigned,
                pid: 7,
                shared: Arc::new(OutputState { sink: taken.clone(), throttle }),
            },
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
        let last =
            log_lines(input.as_bytes(), "stderr", OutputSource { assigned: assigned(), ..spare }).await;
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
}
