//! What cells print: the last lines of each project, for whoever looks and whoever follows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;
use switchyard_contract::admin::LogLine;
use switchyard_contract::bounds::{KEPT_LINES, KEPT_OUTPUT};
use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::project::ProjectName;
use tokio::sync::watch;

use crate::cells::{Line, Sink};
use crate::version::{Tenant, Version};

/// The last lines of each project that there is.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<BTreeMap<ProjectName, Ring>>);

#[derive(Debug)]
struct Ring {
    kept: VecDeque<Printed>,
    bytes: usize,
    /// The number of the line after the last.
    next: u64,
    changed: watch::Sender<()>,
    /// The incarnations before the current one, as far as cells of theirs may still print.
    ended: Vec<Incarnation>,
}

#[derive(Debug, Clone)]
struct Printed {
    at: Timestamp,
    version: Version,
    pid: u32,
    stream: &'static str,
    request: Option<Box<str>>,
    continues: bool,
    text: Box<str>,
}

/// Somebody who reads a project's lines, as far as they have come.
#[derive(Debug)]
pub(crate) struct Reader {
    lines: Arc<Lines>,
    project: ProjectName,
    next: u64,
    changed: watch::Receiver<()>,
}

/// What a reader has not seen yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct News {
    /// Lines that were dropped before this reader saw them.
    pub(crate) lost: u64,
    pub(crate) lines: Vec<LogLine>,
}

impl Lines {
    /// From now on what `project` prints is kept.
    pub(crate) fn open(&self, project: &ProjectName) {
        self.lock().entry(project.clone()).or_default();
    }

    /// Drops what `project` printed; whoever follows it comes to an end.
    pub(crate) fn close(&self, project: &ProjectName) {
        self.lock().remove(project);
    }

    /// Drops all that the project printed, and will still print, in the incarnation before `tenant`.
    /// Readers of that come to an end.
    pub(crate) fn end(&self, previous: Incarnation, tenant: &Tenant) {
        let mut rings = self.lock();
        let Some(ring) = rings.get_mut(&tenant.project) else { return };
        ring.ended.retain(|ended| *ended != tenant.incarnation);
        ring.ended.push(previous);
        ring.kept.retain(|line| line.version.incarnation == tenant.incarnation);
        ring.bytes = ring.kept.iter().map(|line| line.text.len()).sum();
        ring.changed = watch::Sender::new(());
    }

    /// Reads from the `last` lines on. `None` when there is no such project.
    pub(crate) fn read(self: &Arc<Self>, project: &str, last: usize) -> Option<Reader> {
        let rings = self.lock();
        let (project, ring) = rings.get_key_value(project)?;
        let last = u64::try_from(ring.kept.len().min(last)).unwrap_or(u64::MAX);
        let (project, changed) = (project.clone(), ring.changed.subscribe());
        Some(Reader { lines: self.clone(), project, next: ring.next - last, changed })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ProjectName, Ring>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl Sink for Lines {
    fn line(&self, version: &Version, line: &Line<'_>) {
        // The last words of a cell whose project is gone are in the log alone.
        if let Some(ring) = self.lock().get_mut(&version.project)
            && !ring.ended.contains(&version.incarnation)
        {
            let (at, version) = (Timestamp::now(), version.clone());
            let Line { pid, stream, request, continues, text } = *line;
            ring.push(Printed {
                at,
                version,
                pid,
                stream,
                request: request.map(Into::into),
                continues,
                text: text.into(),
            });
        }
    }
}

impl Default for Ring {
    fn default() -> Self {
        let (kept, ended) = Default::default();
        Self { kept, bytes: 0, next: 0, changed: watch::Sender::new(()), ended }
    }
}

impl Ring {
    fn push(&mut self, line: Printed) {
        self.bytes += line.text.len();
        self.kept.push_back(line);
        self.next += 1;
        while self.kept.len() > KEPT_LINES || self.bytes > KEPT_OUTPUT {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.bytes -= oldest.text.len();
        }
        self.changed.send_replace(());
    }

    fn first(&self) -> u64 {
        self.next - self.kept.len() as u64
    }
}

impl Reader {
    /// What there is by now.
    pub(crate) fn news(&mut self) -> News {
        let rings = self.lines.lock();
        let Some(ring) = rings.get(&self.project) else { return News { lost: 0, lines: Vec::new() } };
        self.changed.mark_unchanged();
        let from = self.next.max(ring.first());
        let lost = from - self.next;
        let seen = usize::try_from(from - ring.first()).unwrap_or(usize::MAX);
        self.next = ring.next;
        News { lost, lines: ring.kept.iter().skip(seen).map(LogLine::from).collect() }
    }

    /// Waits for more. False when the project is gone.
    pub(crate) async fn more(&mut self) -> bool {
        self.changed.changed().await.is_ok()
    }
}

impl From<&Printed> for LogLine {
    fn from(line: &Printed) -> Self {
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
        lines: Arc<Lines>,
        version: Version,
    }

    impl Scene {
        fn new() -> Self {
            let version =
                Version::new(&Tenant::first(&ProjectName::parse("a").unwrap()), Digest::from([1; 32]));
            let lines = Arc::new(Lines::default());
            lines.open(&version.project);
            Self { lines, version }
        }

        fn print(&self, lines: impl IntoIterator<Item = impl AsRef<str>>) {
            for line in lines {
                let (pid, stream, request) = (7, "stdout", Some("3f9a"));
                let line = Line { pid, stream, request, continues: false, text: line.as_ref() };
                self.lines.line(&self.version, &line);
            }
        }

        fn read(&self, last: usize) -> Reader {
            self.lines.read("a", last).unwrap()
        }
    }

    fn texts(news: &News) -> Vec<&str> {
        news.lines.iter().map(|line| line.line.as_str()).collect()
    }

    #[tokio::test]
    async fn what_another_incarnation_prints_is_not_for_those_who_read_this_one() {
        let mut scene = Scene::new();
        scene.print(["old"]);
        let (old, mut reader) = (scene.version.clone(), scene.read(0));
        let tenant = Tenant::new(&old.project, Incarnation::from_number(1));
        scene.version = Version::new(&tenant, old.digest);
        scene.print(["new"]);
        assert_eq!(texts(&reader.news()), ["new"]);
        scene.lines.end(old.incarnation, &tenant);
        assert!(!reader.more().await, "who followed the old one is at its end");
        scene.lines.line(
            &old,
            &Line { pid: 7, stream: "stdout", request: None, text: "last words", continues: false },
        );
        scene.print(["newer"]);
        assert_eq!(texts(&scene.read(10).news()), ["new", "newer"]);
    }

    #[test]
    fn a_reader_begins_with_the_last_lines_and_goes_on_with_new_ones() {
        let scene = Scene::new();
        scene.print(["1", "2", "3"]);
        let mut reader = scene.read(2);
        let first = reader.news();
        assert_eq!(texts(&first), ["2", "3"]);
        assert_eq!((first.lines[0].pid, first.lines[0].stream.as_str()), (7, "stdout"));
        assert_eq!(first.lines[0].request.as_deref(), Some("3f9a"));
        assert!(reader.news().lines.is_empty());
        scene.print(["4"]);
        assert_eq!(texts(&reader.news()), ["4"]);
        assert_eq!(texts(&scene.read(100).news()), ["1", "2", "3", "4"]);
    }

    #[test]
    fn what_is_kept_is_bounded_by_lines_and_by_bytes() {
        let scene = Scene::new();
        scene.print((0..KEPT_LINES + 5).map(|n| n.to_string()));
        let news = scene.read(usize::MAX).news();
        assert_eq!((news.lines.len(), news.lines[0].line.as_str()), (KEPT_LINES, "5"));
        scene.print((0..100).map(|_| "x".repeat(8 * 1024)));
        assert_eq!(scene.read(usize::MAX).news().lines.len(), KEPT_OUTPUT / (8 * 1024));
    }

    #[test]
    fn a_reader_that_falls_behind_is_told_how_much_it_missed() {
        let scene = Scene::new();
        scene.print(["0"]);
        let mut reader = scene.read(1);
        scene.print((1..=KEPT_LINES + 2).map(|n| n.to_string()));
        let news = reader.news();
        assert_eq!((news.lost, news.lines.len(), news.lines[0].line.as_str()), (3, KEPT_LINES, "3"));
        assert_eq!(reader.news(), News { lost: 0, lines: vec![] });
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
