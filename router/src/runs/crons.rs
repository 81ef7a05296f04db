//! Runs of `Deno.cron` handlers: whoever starts them in a cell that serves, and the lines that they
//! print there.

use std::collections::HashMap;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use switchyard_contract::project::ProjectName;
use switchyard_contract::run::{RunError, RunId};
use switchyard_contract::task::TaskSpec;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Recording;
use crate::cells::{OutputLine, OutputSink};
use crate::version::Version;

/// The end of a handler of `Deno.cron`: `false` if it has thrown.
pub(crate) type CronEnd = Pin<Box<dyn Future<Output = Result<bool, RunError>> + Send>>;

/// Starts handlers of `Deno.cron` in cells that serve.
pub(crate) trait CronStarter: Debug + Send + Sync {
    /// The handlers that the project's live version has registered, as tasks.
    fn tasks(&self, project: &ProjectName) -> Vec<TaskSpec>;

    /// Runs the handler `name` in one cell of the project, which is woken for it if it is idle. The
    /// lines that it prints there are marked with the run's id.
    fn start(&self, project: &ProjectName, name: &str, run: RunId) -> CronEnd;
}

/// Time after the end of a handler in which its last lines are read. They are in the cell's pipes
/// already, and wait there only for earlier ones of a project that prints faster than it may.
pub(super) const OUTPUT_PATIENCE: Duration = Duration::from_secs(2);

/// The streams of a cell, each of which has an end of a run's output.
const STREAMS: usize = 2;

/// A sink that passes lines on, and those that are marked with the id of a run to that run too.
#[derive(Debug)]
pub(crate) struct MarkedLines {
    inner: Arc<dyn OutputSink>,
    runs: Mutex<HashMap<String, Marked>>,
    /// The number of runs: there are none nearly always.
    count: AtomicUsize,
}

/// A run of a project, and the number of streams that have no more lines of it.
#[derive(Debug, Clone)]
struct Marked {
    project: ProjectName,
    recording: Arc<Recording>,
    ended: watch::Sender<usize>,
}

/// A run whose marked lines are recorded until this is dropped.
#[derive(Debug)]
pub(super) struct MarkedRun {
    lines: Arc<MarkedLines>,
    run: String,
    ended: watch::Receiver<usize>,
}

impl MarkedLines {
    /// Passes all lines on to `inner`.
    pub(crate) fn new(inner: Arc<dyn OutputSink>) -> Self {
        Self { inner, runs: Mutex::default(), count: AtomicUsize::new(0) }
    }

    /// Records the lines of `project` that are marked with the id of `run`.
    pub(super) fn record(
        self: &Arc<Self>,
        project: &ProjectName,
        run: RunId,
        recording: Arc<Recording>,
    ) -> MarkedRun {
        let (run, (sender, ended)) = (run.to_string(), watch::channel(0));
        let marked = Marked { project: project.clone(), recording, ended: sender };
        self.change(|runs| _ = runs.insert(run.clone(), marked));
        MarkedRun { lines: self.clone(), run, ended }
    }

    /// The run of this id, if it is one of the version's project.
    fn find(&self, version: &Version, run: &str) -> Option<Marked> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.runs().get(run).filter(|marked| marked.project == version.project).cloned()
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<String, Marked>)) {
        let mut runs = self.runs();
        change(&mut runs);
        self.count.store(runs.len(), Ordering::Release);
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<String, Marked>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MarkedRun {
    /// Waits until all lines that the handler has printed are recorded, at most for `limit`. For a
    /// handler that has ended in a process that goes on.
    pub(super) async fn complete(mut self, limit: Duration) {
        let is_over = timeout(limit, self.ended.wait_for(|ended| *ended >= STREAMS)).await;
        if is_over.is_err() {
            tracing::warn!(run = self.run, "the last lines of a run may be missing from its log");
        }
    }
}

impl OutputSink for MarkedLines {
    fn line(&self, version: &Version, line: &OutputLine<'_>) {
        self.inner.line(version, line);
        if let Some(marked) = line.request.and_then(|request| self.find(version, request)) {
            marked.recording.line(version, line);
        }
    }

    fn last_line(&self, version: &Version, run: &str) {
        if let Some(marked) = self.find(version, run) {
            marked.ended.send_modify(|ended| *ended += 1);
        }
    }
}

impl Drop for MarkedRun {
    fn drop(&mut self) {
        self.lines.change(|runs| _ = runs.remove(&self.run));
    }
}

#[cfg(test)]
mod tests {
    use switchyard_contract::digest::Digest;

    use super::*;
    use crate::live::LogBuffer;
    use crate::runs::EventLog;
    use crate::version::Tenant;

    struct Scene {
        lines: Arc<MarkedLines>,
        recording: Arc<Recording>,
        run: RunId,
        marked: MarkedRun,
    }

    fn scene() -> Scene {
        let lines = Arc::new(MarkedLines::new(Arc::new(LogBuffer::default())));
        let recording = Arc::new(Recording::new(1, EventLog::new(1 << 20, 1)));
        let run = RunId::new_now();
        let marked = lines.record(&version("blog").project, run, recording.clone());
        Scene { lines, recording, run, marked }
    }

    fn version(project: &str) -> Version {
        Version::new(&Tenant::first(&ProjectName::parse(project).unwrap()), Digest::from([1; 32]))
    }

    fn print(lines: &MarkedLines, project: &str, request: Option<&str>) {
        let line = OutputLine { pid: 1, stream: "stdout", request, continues: false, text: "x" };
        lines.line(&version(project), &line);
    }

    #[test]
    fn marked_lines_of_its_project_go_to_a_run_while_it_is_under_way() {
        let Scene { lines, recording, run, marked } = scene();
        let run = run.to_string();
        print(&lines, "blog", Some(&run));
        print(&lines, "shop", Some(&run));
        print(&lines, "blog", Some(&RunId::new_now().to_string()));
        print(&lines, "blog", None);
        drop(marked);
        print(&lines, "blog", Some(&run));
        assert_eq!(recording.all().len(), 1);
    }

    #[tokio::test]
    async fn a_run_is_complete_when_both_streams_have_no_more_lines_of_it() {
        let Scene { lines, recording, run, marked } = scene();
        let run = run.to_string();
        lines.last_line(&version("blog"), &run);
        lines.last_line(&version("shop"), &run);
        let completed = tokio::spawn(marked.complete(OUTPUT_PATIENCE));
        tokio::task::yield_now().await;
        assert!(!completed.is_finished());
        print(&lines, "blog", Some(&run));
        lines.last_line(&version("blog"), &run);
        completed.await.unwrap();
        assert_eq!(recording.all().len(), 1);
        assert!(lines.runs().is_empty());
    }

    #[tokio::test]
    async fn a_run_waits_for_its_last_lines_for_a_bounded_time() {
        let Scene { marked, .. } = scene();
        marked.complete(Duration::ZERO).await;
    }
}
