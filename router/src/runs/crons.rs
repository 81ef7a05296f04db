//! Runs of `Deno.cron` handlers: whoever starts them in a cell that serves, and the lines that they
//! print there.

use std::collections::HashMap;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use switchyard_contract::project::ProjectName;
use switchyard_contract::run::{RunError, RunId};
use switchyard_contract::task::TaskSpec;

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

/// A sink that passes lines on, and those that are marked with the id of a run to that run too.
#[derive(Debug)]
pub(crate) struct MarkedLines {
    inner: Arc<dyn OutputSink>,
    runs: Mutex<HashMap<String, Arc<Recording>>>,
    /// The number of runs: there are none nearly always.
    count: AtomicUsize,
}

/// A run whose marked lines are recorded until this is dropped.
#[derive(Debug)]
pub(super) struct MarkedRun {
    lines: Arc<MarkedLines>,
    run: String,
}

impl MarkedLines {
    /// Passes all lines on to `inner`.
    pub(crate) fn new(inner: Arc<dyn OutputSink>) -> Self {
        Self { inner, runs: Mutex::default(), count: AtomicUsize::new(0) }
    }

    /// Records the lines that are marked with the id of `run`.
    pub(super) fn record(self: &Arc<Self>, run: RunId, recording: Arc<Recording>) -> MarkedRun {
        let run = run.to_string();
        self.change(|runs| _ = runs.insert(run.clone(), recording));
        MarkedRun { lines: self.clone(), run }
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<String, Arc<Recording>>)) {
        let mut runs = self.runs();
        change(&mut runs);
        self.count.store(runs.len(), Ordering::Release);
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<String, Arc<Recording>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutputSink for MarkedLines {
    fn line(&self, version: &Version, line: &OutputLine<'_>) {
        self.inner.line(version, line);
        let Some(request) = line.request.filter(|_| self.count.load(Ordering::Acquire) > 0) else { return };
        let recording = self.runs().get(request).cloned();
        if let Some(recording) = recording {
            recording.line(version, line);
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

    #[test]
    fn marked_lines_go_to_their_run_while_it_is_under_way() {
        let lines = Arc::new(MarkedLines::new(Arc::new(LogBuffer::default())));
        let recording = Arc::new(Recording::new(1, EventLog::new(1 << 20, 1)));
        let blog = Tenant::first(&ProjectName::parse("blog").unwrap());
        let version = Version::new(&blog, Digest::from([1; 32]));
        let (run, other) = (RunId::new_now(), RunId::new_now());
        let print = |request: Option<&str>| {
            let line = OutputLine { pid: 1, stream: "stdout", request, continues: false, text: "x" };
            lines.line(&version, &line);
        };
        let marked = lines.record(run, recording.clone());
        print(Some(&run.to_string()));
        print(Some(&other.to_string()));
        print(None);
        drop(marked);
        print(Some(&run.to_string()));
        assert_eq!(recording.all().len(), 1);
    }
}
