//! Compares projects with what they were when they were looked at last, by the clock and on a thread of its own, so that
//! a change is found of which no file event tells.

use std::collections::HashMap;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::stamp::{Stamp, Stamps};
use crate::root::Root;

/// A file that was written this short before it was looked at may be written again without a
/// difference: the coarsest file time in use (FAT, old NFS) is two seconds.
const RACY: i64 = 2;

/// How often all projects are compared, and at what cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) period: Duration,
    /// The pause after each project, in times that it took: 49 is a fiftieth of one core.
    pub(super) rest: u32,
    /// Whether file events tell of most changes: then only what certainly differs is reported.
    pub(super) has_events: bool,
}

/// A project that is not as it was.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) name: String,
    /// When it was looked at before; `None` when it is not certain that something has changed.
    pub(super) since: Option<Instant>,
    /// Whether its packages differ.
    pub(super) packages: bool,
}

/// The running comparison. Dropping it ends its thread.
pub(super) struct Comparison {
    paces: Option<Sender<Pace>>,
    thread: Option<JoinHandle<()>>,
}

impl Comparison {
    /// Starts; `report` says whether to go on.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start(
        root: Root,
        report: impl Fn(Difference) -> bool + Send + 'static,
    ) -> std::io::Result<Self> {
        let (sender, paces) = mpsc::channel();
        let work = Work { root, paces, pace: None, known: HashMap::new(), swept: None };
        let thread = std::thread::Builder::new().name("compare".to_owned());
        let thread = thread.spawn(move || work.run(report))?;
        Ok(Self { paces: Some(sender), thread: Some(thread) })
    }

    /// Compares at this pace from now on.
    pub(super) fn set(&self, pace: Pace) {
        if let Some(paces) = &self.paces {
            // It has ended when nobody receives.
            let _ = paces.send(pace);
        }
    }
}

impl Drop for Comparison {
    fn drop(&mut self) {
        self.paces = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Work {
    root: Root,
    paces: Receiver<Pace>,
    pace: Option<Pace>,
    known: HashMap<String, Known>,
    /// When the sweep before this one began.
    swept: Option<Instant>,
}

struct Known {
    stamp: Option<Stamp>,
    at: Instant,
    /// What was written after that may not show.
    is_racy: bool,
}

/// The comparison is to end.
struct Ended;

impl Work {
    fn run(mut self, report: impl Fn(Difference) -> bool) {
        while self.wait().is_ok() && self.sweep(&report).is_ok() {}
    }

    /// Waits until the projects are to be compared.
    fn wait(&mut self) -> Result<(), Ended> {
        let Some(pace) = self.pace else {
            self.pace = Some(self.paces.recv().map_err(|_| Ended)?);
            return self.wait();
        };
        self.pause(pace.period)
    }

    fn pause(&mut self, time: Duration) -> Result<(), Ended> {
        let end = Instant::now() + time;
        loop {
            match self.paces.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(pace) => self.pace = Some(pace),
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => return Err(Ended),
            }
        }
    }

    fn sweep(&mut self, report: &impl Fn(Difference) -> bool) -> Result<(), Ended> {
        // A root that is missing says nothing of the projects.
        let Ok(folder) = self.root.path().canonicalize() else { return Ok(()) };
        let began = Instant::now();
        let mut names = self.root.names();
        names.extend(self.known.keys().cloned());
        let mut stamps = Stamps::new(&folder);
        for name in names {
            let began = Instant::now();
            if let Some(difference) = self.compare(&mut stamps, &name)
                && !report(difference)
            {
                return Err(Ended);
            }
            let rest = self.pace.map_or(0, |pace| pace.rest);
            self.pause(began.elapsed() * rest)?;
        }
        self.swept = Some(began);
        Ok(())
    }

    fn compare(&mut self, stamps: &mut Stamps<'_>, name: &str) -> Option<Difference> {
        let at = Instant::now();
        let stamp = stamps.of(name);
        let is_racy = stamp.is_some_and(|stamp| stamp.newest + RACY >= now());
        let before = match stamp {
            Some(_) => self.known.insert(name.to_owned(), Known { stamp, at, is_racy }),
            None => self.known.remove(name),
        };
        let Some(before) = before else {
            // At the first sweep nobody knows what has changed since the scan at start: all are read once more.
            let packages = self.swept.is_none();
            return stamp.map(|_| Difference { name: name.to_owned(), since: self.swept, packages });
        };
        let differs = before.stamp != stamp;
        let perhaps = before.is_racy && !self.pace.is_some_and(|pace| pace.has_events);
        let in_packages = |stamp: Option<Stamp>| stamp.map(|stamp| stamp.packages);
        let packages = in_packages(before.stamp) != in_packages(stamp);
        let since = differs.then_some(before.at);
        (differs || perhaps).then(|| Difference { name: name.to_owned(), since, packages })
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn changed_new_and_removed_projects_are_reported_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        };
        put("a/main.ts");
        put("b/main.ts");
        let (reports, reported) = mpsc::channel();
        let root = Root::open(dir.path()).unwrap();
        let comparison =
            Comparison::start(root, move |difference| reports.send(difference.name).is_ok()).unwrap();
        comparison.set(Pace { period: Duration::from_millis(10), rest: 0, has_events: true });
        let wait_for = |name: &str| while reported.recv_timeout(Duration::from_secs(20)).unwrap() != name {};
        wait_for("a");
        put("c/main.ts");
        wait_for("c");
        fs::remove_dir_all(dir.path().join("b")).unwrap();
        wait_for("b");
        put("a/lib.ts");
        wait_for("a");
        drop(comparison);
        assert_eq!(reported.into_iter().count(), 0, "what is as it was is not reported");
    }
}
