//! What a cell prints: each line logged with project and version, the last ones kept.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use switchyard_protocol::Mark;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::time::{Instant, sleep_until};

use crate::version::Version;

/// A longer line is logged in pieces: a project cannot make the router hold more than this.
const MAX_LINE: usize = 8 * 1024;

/// Enough for V8's last words before the stack of C++ that it prints after them.
const LAST_LINES: usize = 64;

/// Set when a spare is given its version.
pub(super) type Given = Arc<OnceLock<Version>>;

/// Takes what versions print. Called for each line, so it must not wait.
pub(crate) trait Sink: Debug + Send + Sync {
    fn line(&self, version: &Version, line: &Line<'_>);
}

/// A line of a cell's output.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) pid: u32,
    /// `stdout` or `stderr`
    pub(crate) stream: &'static str,
    /// The id of the request that it is about.
    pub(crate) request: Option<&'a str>,
    pub(crate) text: &'a str,
}

/// Whose output it is, and who else takes it.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) given: Given,
    pub(super) pid: u32,
    pub(super) sink: Arc<dyn Sink>,
}

/// What is read of one stream in a [`WINDOW`]: 20,000 lines or 10 MB a second, a tenth of what the control thread could
/// do. A cell that prints more waits for its output to be read, as it would for a slow terminal.
const LINES: usize = 2_000;
const BYTES: usize = 1 << 20;

const WINDOW: Duration = Duration::from_millis(100);

/// Logs `stream` to its end and returns its last lines.
pub(super) async fn log_lines(
    stream: impl AsyncRead + Unpin,
    name: &'static str,
    source: Source,
) -> Vec<String> {
    let mut reader = BufReader::with_capacity(MAX_LINE, stream);
    let mut last = VecDeque::with_capacity(LAST_LINES);
    let mut flow = Flow::new();
    while let Some(line) = next_line(&mut reader).await {
        flow.pace(line.len()).await;
        let (mark, text) = Mark::split(&line);
        source.log(&Line { pid: source.pid, stream: name, request: mark.map(Mark::id), text: &text });
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(text.into_owned());
    }
    last.into()
}

impl Source {
    fn log(&self, line: &Line<'_>) {
        let Line { pid, stream, request, text } = *line;
        match self.given.get() {
            Some(version) => {
                self.sink.line(version, line);
                tracing::info!(
                    project.name = %version.project,
                    project.version = %version,
                    cell.pid = pid,
                    request.id = request,
                    stream,
                    "{text}"
                );
            }
            None => tracing::warn!(cell.pid = pid, stream, "a spare cell says: {text}"),
        }
    }
}

/// What was read of a stream in the window under way.
struct Flow {
    began: Instant,
    lines: usize,
    bytes: usize,
}

impl Flow {
    fn new() -> Self {
        Self { began: Instant::now(), lines: 0, bytes: 0 }
    }

    /// Counts a line, and waits for the next window when this one is full.
    async fn pace(&mut self, bytes: usize) {
        if self.lines >= LINES || self.bytes >= BYTES {
            sleep_until(self.began + WINDOW).await;
        }
        if self.began.elapsed() >= WINDOW {
            *self = Self::new();
        }
        self.lines += 1;
        self.bytes += bytes + 1;
    }
}

async fn next_line(reader: &mut (impl AsyncBufRead + Unpin)) -> Option<String> {
    let mut line = Vec::new();
    loop {
        let buffer = reader.fill_buf().await.ok().filter(|buffer| !buffer.is_empty());
        let Some(buffer) = buffer else {
            return (!line.is_empty()).then(|| text(&line));
        };
        let room = &buffer[..buffer.len().min(MAX_LINE - line.len())];
        let end = room.iter().position(|byte| *byte == b'\n');
        line.extend_from_slice(&room[..end.unwrap_or(room.len())]);
        let used = end.map_or(room.len(), |end| end + 1);
        reader.consume(used);
        if end.is_some() || line.len() == MAX_LINE {
            return Some(text(&line));
        }
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end_matches('\r').to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use switchyard_bridge::digest::Digest;
    use switchyard_bridge::project::ProjectName;

    use super::*;
    use crate::version::Tenant;

    #[derive(Debug, Default)]
    struct Taken(Mutex<Vec<String>>);

    impl Sink for Taken {
        fn line(&self, version: &Version, line: &Line<'_>) {
            let Line { pid, stream, request, text } = line;
            let line = format!("{} {pid} {stream} {}: {text}", version.project, request.unwrap_or("-"));
            self.0.lock().unwrap().push(line);
        }
    }

    fn source(given: Given) -> (Source, Arc<Taken>) {
        let taken = Arc::new(Taken::default());
        (Source { given, pid: 7, sink: taken.clone() }, taken)
    }

    #[tokio::test]
    async fn what_a_version_prints_goes_to_the_sink_too() {
        let given = Given::default();
        let (source, taken) = source(given.clone());
        log_lines(b"a spare's\n".as_slice(), "stdout", source.clone()).await;
        given
            .set(Version::new(&Tenant::first(&ProjectName::parse("blog").unwrap()), Digest::from([1; 32])))
            .unwrap();
        let input = format!("one\n{}two", Mark::parse("3f9a").unwrap());
        let last = log_lines(input.as_bytes(), "stderr", source).await;
        assert_eq!(*taken.0.lock().unwrap(), ["blog 7 stderr -: one", "blog 7 stderr 3f9a: two"]);
        assert_eq!(last, ["one", "two"]);
    }

    #[tokio::test]
    async fn lines_are_told_apart_and_long_ones_cut() {
        let long = "x".repeat(MAX_LINE + 5);
        let input = format!("one\r\n\n{long}\nend");
        let lines = log_lines(input.as_bytes(), "stdout", source(Given::default()).0).await;
        assert_eq!(lines, ["one", "", &long[..MAX_LINE], "xxxxx", "end"]);
    }

    #[tokio::test]
    async fn a_flood_is_read_at_a_bounded_rate_and_to_its_end() {
        const FLOOD: usize = 3 * LINES;
        let (source, taken) = source(Given::default());
        let version =
            Version::new(&Tenant::first(&ProjectName::parse("blog").unwrap()), Digest::from([1; 32]));
        source.given.set(version).unwrap();
        let began = Instant::now();
        log_lines("x\n".repeat(FLOOD).as_bytes(), "stdout", source).await;
        assert!(began.elapsed() >= 2 * WINDOW);
        assert_eq!(taken.0.lock().unwrap().len(), FLOOD);
    }

    #[tokio::test]
    async fn only_the_last_lines_are_kept() {
        let input: String = (0..100).map(|n| format!("{n}\n")).collect();
        let lines = log_lines(input.as_bytes(), "stderr", source(Given::default()).0).await;
        assert_eq!(lines.first(), Some(&(100 - LAST_LINES).to_string()));
        assert_eq!(lines.len(), LAST_LINES);
    }
}
