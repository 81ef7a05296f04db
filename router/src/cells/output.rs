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

    /// One of the two streams of a cell of `version` has no more lines of `run`.
    fn last_line(&self, _version: &Version, _run: &str) {}
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
            let (printed, run) = match Mark::split_last(printed).filter(|_| !continues) {
                Some((before, mark)) => (before, Some(mark.id())),
                None => (printed, None),
            };
            if let (Some(run), true, None) = (run, printed.is_empty(), &unfinished) {
                source.last_line(run);
                continue;
            }
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
            if let Some(run) = run {
                source.last_line(run);
            }
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

    fn last_line(&self, run: &str) {
        if let Some(assigned) = self.assigned.get() {
            self.shared.sink.last_line(&assigned.version, run);
        }
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
mod tests;
