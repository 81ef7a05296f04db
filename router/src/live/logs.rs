//! The logs of projects: the last lines that their cells printed, for one-time and following
//! readers.

mod files;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use switchyard_contract::admin::LogLine;
use switchyard_contract::bounds::{KEPT_LINES, KEPT_OUTPUT};
use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::project::ProjectName;
use tokio::sync::watch;

use self::files::{LogFiles, encode};
use crate::cells::{OutputLine, OutputSink};
use crate::version::{Tenant, Version};

/// The last lines of each known project.
#[derive(Debug, Default)]
pub(crate) struct LogBuffer {
    projects: Mutex<BTreeMap<ProjectName, ProjectLog>>,
    /// The files in which lines survive the router. `None`: lines are kept in memory alone.
    files: Option<LogFiles>,
    /// The time of the router's start.
    began: Timestamp,
}

#[derive(Debug)]
struct ProjectLog {
    kept: VecDeque<KeptLine>,
    bytes: usize,
    /// The number of the next line.
    next: u64,
    /// Made by the first reader, as few projects have one.
    changed: Option<watch::Sender<()>>,
    /// Earlier incarnations whose cells may still print.
    ended: Vec<Incarnation>,
    /// `true`: the lines of earlier routers were read.
    is_restored: bool,
}

#[derive(Debug, Clone)]
struct KeptLine {
    at: Timestamp,
    version: Version,
    pid: u32,
    stream: &'static str,
    request: Option<Box<str>>,
    continues: bool,
    text: Box<str>,
}

/// A reader of a project's log, with its position.
#[derive(Debug)]
pub(crate) struct LogReader {
    lines: Arc<LogBuffer>,
    project: ProjectName,
    next: u64,
    changed: watch::Receiver<()>,
}

/// The lines that a reader has not seen yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LogBatch {
    /// The number of lines that were dropped before this reader saw them.
    pub(crate) lost: u64,
    pub(crate) lines: Vec<LogLine>,
}

impl LogBuffer {
    /// A buffer whose lines are kept in `folder` too, for readers after a restart.
    ///
    /// # Errors
    /// The folder cannot be made, or a thread not be started.
    pub(crate) fn in_folder(folder: PathBuf) -> io::Result<Self> {
        let files = Some(LogFiles::open(folder)?);
        Ok(Self { projects: Mutex::default(), files, began: Timestamp::now() })
    }

    /// Keeps what `project` prints from now on.
    pub(crate) fn open(&self, project: &ProjectName) {
        self.lock().entry(project.clone()).or_insert_with(ProjectLog::new);
    }

    /// Reads what `tenant` has printed under earlier routers, once. Blocks.
    pub(crate) fn restore(&self, tenant: &Tenant) {
        let Some(files) = &self.files else { return };
        if self.lock().get(&tenant.project).is_none_or(|ring| ring.is_restored) {
            return;
        }
        let lines = files.read(tenant, self.began);
        if let Some(ring) = self.lock().get_mut(&tenant.project)
            && !ring.ended.contains(&tenant.incarnation)
            && !std::mem::replace(&mut ring.is_restored, true)
        {
            ring.prepend(lines);
        }
    }

    /// Removes the lines of a tenant from the disk.
    pub(crate) fn forget(&self, tenant: &Tenant) {
        if let Some(files) = &self.files {
            files.forget(tenant.clone());
        }
    }

    /// Returns the tenants with lines on the disk.
    pub(crate) fn tenants(&self) -> Vec<Tenant> {
        self.files.as_ref().map(LogFiles::tenants).unwrap_or_default()
    }

    /// Writes the last lines to the disk. Blocks for seconds at most. Later lines are in memory alone.
    pub(crate) fn stop(&self) {
        if let Some(files) = &self.files {
            files.stop();
        }
    }

    /// Drops the log of `project`. Its readers reach their end.
    pub(crate) fn close(&self, project: &ProjectName) {
        self.lock().remove(project);
    }

    /// Drops everything that the project printed, or will still print, in the incarnation before
    /// `tenant`. Readers of that incarnation reach their end.
    pub(crate) fn end(&self, previous: Incarnation, tenant: &Tenant) {
        let mut rings = self.lock();
        let Some(ring) = rings.get_mut(&tenant.project) else { return };
        ring.ended.retain(|ended| *ended != tenant.incarnation);
        ring.ended.push(previous);
        ring.kept.retain(|line| line.version.incarnation == tenant.incarnation);
        ring.bytes = ring.kept.iter().map(|line| line.text.len()).sum();
        ring.changed = None;
        drop(rings);
        self.forget(&Tenant::new(&tenant.project, previous));
    }

    /// A reader that begins with the last `last` lines. `None`: there is no such project.
    pub(crate) fn read(self: &Arc<Self>, project: &str, last: usize) -> Option<LogReader> {
        let mut rings = self.lock();
        let project = rings.get_key_value(project)?.0.clone();
        let ring = rings.get_mut(&project)?;
        let last = u64::try_from(ring.kept.len().min(last)).unwrap_or(u64::MAX);
        let changed = ring.changed.get_or_insert_with(|| watch::Sender::new(())).subscribe();
        Some(LogReader { lines: self.clone(), project, next: ring.next - last, changed })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ProjectName, ProjectLog>> {
        self.projects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutputSink for LogBuffer {
    fn line(&self, version: &Version, line: &OutputLine<'_>) {
        let OutputLine { pid, stream, request, continues, text } = *line;
        let line = KeptLine {
            at: Timestamp::now(),
            version: version.clone(),
            pid,
            stream,
            request: request.map(Into::into),
            continues,
            text: text.into(),
        };
        let written = self.files.as_ref().map(|files| (files, encode(&line)));
        // The last lines of a cell whose project is gone are in the router's log alone.
        if let Some(ring) = self.lock().get_mut(&version.project)
            && !ring.ended.contains(&version.incarnation)
        {
            ring.push(line);
        } else {
            return;
        }
        if let Some((files, line)) = written {
            files.add(version.tenant(), line);
        }
    }
}

impl ProjectLog {
    fn new() -> Self {
        Self {
            kept: VecDeque::new(),
            bytes: 0,
            // Lines of earlier routers have the numbers before.
            next: KEPT_LINES as u64,
            changed: None,
            ended: Vec::new(),
            is_restored: false,
        }
    }

    /// Adds lines before those that are kept, as many as there is room for.
    fn prepend(&mut self, lines: Vec<KeptLine>) {
        for line in lines.into_iter().rev() {
            if self.kept.len() >= KEPT_LINES || self.bytes + line.text.len() > KEPT_OUTPUT {
                return;
            }
            self.bytes += line.text.len();
            self.kept.push_front(line);
        }
    }

    fn push(&mut self, line: KeptLine) {
        self.bytes += line.text.len();
        self.kept.push_back(line);
        self.next += 1;
        while self.kept.len() > KEPT_LINES || self.bytes > KEPT_OUTPUT {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.bytes -= oldest.text.len();
        }
        if let Some(changed) = &self.changed {
            changed.send_replace(());
        }
    }

    fn first(&self) -> u64 {
        self.next - self.kept.len() as u64
    }
}

impl LogReader {
    /// The lines since the last batch. Does not wait.
    pub(crate) fn next_batch(&mut self) -> LogBatch {
        let rings = self.lines.lock();
        let Some(ring) = rings.get(&self.project) else { return LogBatch { lost: 0, lines: Vec::new() } };
        self.changed.mark_unchanged();
        let from = self.next.max(ring.first());
        let lost = from - self.next;
        let seen = usize::try_from(from - ring.first()).unwrap_or(usize::MAX);
        self.next = ring.next;
        LogBatch { lost, lines: ring.kept.iter().skip(seen).map(LogLine::from).collect() }
    }

    /// Waits for more lines. Returns false if the project, or its incarnation, is gone.
    pub(crate) async fn more(&mut self) -> bool {
        self.changed.changed().await.is_ok()
    }
}

impl From<&KeptLine> for LogLine {
    fn from(line: &KeptLine) -> Self {
        Self {
            timestamp: line.at,
            project: line.version.project.to_string(),
            version: line.version.to_string(),
            pid: line.pid,
            stream: line.stream.to_owned(),
            request: line.request.as_deref().map(str::to_owned),
            continues: line.continues,
            line: line.text.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use switchyard_contract::digest::Digest;

    use super::*;

    struct Scene {
        lines: Arc<LogBuffer>,
        version: Version,
    }

    impl Scene {
        fn new() -> Self {
            let version =
                Version::new(&Tenant::first(&ProjectName::parse("a").unwrap()), Digest::from([1; 32]));
            let lines = Arc::new(LogBuffer::default());
            lines.open(&version.project);
            Self { lines, version }
        }

        fn print(&self, lines: impl IntoIterator<Item = impl AsRef<str>>) {
            for line in lines {
                let (pid, stream, request) = (7, "stdout", Some("3f9a"));
                let line = OutputLine { pid, stream, request, continues: false, text: line.as_ref() };
                self.lines.line(&self.version, &line);
            }
        }

        fn read(&self, last: usize) -> LogReader {
            self.lines.read("a", last).unwrap()
        }
    }

    fn texts(batch: &LogBatch) -> Vec<&str> {
        batch.lines.iter().map(|line| line.line.as_str()).collect()
    }

    #[tokio::test]
    async fn what_another_incarnation_prints_is_not_for_readers_of_this_one() {
        let mut scene = Scene::new();
        scene.print(["old"]);
        let (old, mut reader) = (scene.version.clone(), scene.read(0));
        let tenant = Tenant::new(&old.project, Incarnation::from_number(1));
        scene.version = Version::new(&tenant, old.digest);
        scene.print(["new"]);
        assert_eq!(texts(&reader.next_batch()), ["new"]);
        scene.lines.end(old.incarnation, &tenant);
        assert!(!reader.more().await, "a reader of the old one is at its end");
        scene.lines.line(
            &old,
            &OutputLine { pid: 7, stream: "stdout", request: None, text: "last words", continues: false },
        );
        scene.print(["newer"]);
        assert_eq!(texts(&scene.read(10).next_batch()), ["new", "newer"]);
    }

    #[test]
    fn a_reader_begins_with_the_last_lines_and_goes_on_with_new_ones() {
        let scene = Scene::new();
        scene.print(["1", "2", "3"]);
        let mut reader = scene.read(2);
        let first = reader.next_batch();
        assert_eq!(texts(&first), ["2", "3"]);
        assert_eq!((first.lines[0].pid, first.lines[0].stream.as_str()), (7, "stdout"));
        assert_eq!(first.lines[0].request.as_deref(), Some("3f9a"));
        assert!(reader.next_batch().lines.is_empty());
        scene.print(["4"]);
        assert_eq!(texts(&reader.next_batch()), ["4"]);
        assert_eq!(texts(&scene.read(100).next_batch()), ["1", "2", "3", "4"]);
    }

    #[test]
    fn what_is_kept_is_bounded_by_lines_and_by_bytes() {
        let scene = Scene::new();
        scene.print((0..KEPT_LINES + 5).map(|n| n.to_string()));
        let batch = scene.read(usize::MAX).next_batch();
        assert_eq!((batch.lines.len(), batch.lines[0].line.as_str()), (KEPT_LINES, "5"));
        scene.print((0..100).map(|_| "x".repeat(8 * 1024)));
        assert_eq!(scene.read(usize::MAX).next_batch().lines.len(), KEPT_OUTPUT / (8 * 1024));
    }

    #[test]
    fn a_reader_that_falls_behind_learns_how_much_it_missed() {
        let scene = Scene::new();
        scene.print(["0"]);
        let mut reader = scene.read(1);
        scene.print((1..=KEPT_LINES + 2).map(|n| n.to_string()));
        let batch = reader.next_batch();
        assert_eq!((batch.lost, batch.lines.len(), batch.lines[0].line.as_str()), (3, KEPT_LINES, "3"));
        assert_eq!(reader.next_batch(), LogBatch { lost: 0, lines: vec![] });
    }

    #[tokio::test]
    async fn lines_go_with_their_project() {
        let scene = Scene::new();
        scene.print(["1"]);
        let mut reader = scene.read(1);
        scene.lines.close(&scene.version.project);
        assert!(!reader.more().await);
        scene.print(["2"]);
        assert!(scene.lines.read("a", 1).is_none());
    }
}
