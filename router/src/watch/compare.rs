//! The periodic comparison of all projects with their last stamps, on a thread of its own. Finds
//! changes that no file event reports.

use std::collections::HashMap;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::stamp::{ProjectStamp, StampReader};
use crate::root::Root;

/// Age in seconds up to which a file may be written once more without a difference in its times:
/// the coarsest file time in use (FAT, old NFS) is two seconds.
const RACY: i64 = 2;

/// The pace of the sweeps over all projects.
#[derive(Debug, Clone, Copy)]
pub(super) struct SweepPace {
    /// Pause between two sweeps.
    pub(super) period: Duration,
    /// Pause after each project, in multiples of the time that it took: 49 is a fiftieth of one
    /// core.
    pub(super) rest: u32,
    /// `true`: file events report most changes, and only projects that certainly differ are
    /// reported.
    pub(super) has_events: bool,
}

/// A project that differs from its last stamp, or may.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) name: String,
    /// Time of the last stamp; `None` if it is not certain that the project has changed.
    pub(super) since: Option<Instant>,
    /// `true`: its packages differ.
    pub(super) packages: bool,
}

/// The running comparison. Dropping it ends its thread.
pub(super) struct Comparison {
    paces: Option<Sender<SweepPace>>,
    thread: Option<JoinHandle<()>>,
}

impl Comparison {
    /// Starts the thread. The first sweep begins once a pace is set. `report` returns `false` to
    /// end it.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(
        root: Root,
        report: impl Fn(Difference) -> bool + Send + 'static,
    ) -> std::io::Result<Self> {
        let (sender, paces) = mpsc::channel();
        let sweeper = Sweeper { root, paces, pace: None, baselines: HashMap::new(), last_sweep: None };
        let thread = std::thread::Builder::new().name("compare".to_owned());
        let thread = thread.spawn(move || sweeper.run(report))?;
        Ok(Self { paces: Some(sender), thread: Some(thread) })
    }

    /// Compares at this pace from now on.
    pub(super) fn set_pace(&self, pace: SweepPace) {
        if let Some(paces) = &self.paces {
            // Fails only after the thread has ended.
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

/// State of the thread that compares projects.
struct Sweeper {
    root: Root,
    paces: Receiver<SweepPace>,
    /// `None` until the first pace is set.
    pace: Option<SweepPace>,
    baselines: HashMap<String, Baseline>,
    /// Time at which the last complete sweep began.
    last_sweep: Option<Instant>,
}

/// The last stamp of a project.
struct Baseline {
    stamp: Option<ProjectStamp>,
    at: Instant,
    /// `true`: a file was so new that a later write need not change the stamp. See [`RACY`].
    is_racy: bool,
}

/// The request to end the comparison.
struct Shutdown;

impl Sweeper {
    fn run(mut self, report: impl Fn(Difference) -> bool) {
        while self.wait().is_ok() && self.sweep(&report).is_ok() {}
    }

    /// Waits until the next sweep is due.
    fn wait(&mut self) -> Result<(), Shutdown> {
        let Some(pace) = self.pace else {
            self.pace = Some(self.paces.recv().map_err(|_| Shutdown)?);
            return self.wait();
        };
        self.pause(pace.period)
    }

    fn pause(&mut self, time: Duration) -> Result<(), Shutdown> {
        let end = Instant::now() + time;
        loop {
            match self.paces.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(pace) => self.pace = Some(pace),
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => return Err(Shutdown),
            }
        }
    }

    fn sweep(&mut self, report: &impl Fn(Difference) -> bool) -> Result<(), Shutdown> {
        // A missing root says nothing about the projects.
        let Ok(folder) = self.root.path().canonicalize() else { return Ok(()) };
        let began = Instant::now();
        let mut names = self.root.names();
        names.extend(self.baselines.keys().cloned());
        let overrides = self.root.overrides().clone();
        names.extend(overrides.names().iter().map(ToString::to_string));
        let mut stamps = StampReader::new(&folder, &overrides);
        for name in names {
            let began = Instant::now();
            if let Some(difference) = self.compare(&mut stamps, &name)
                && !report(difference)
            {
                return Err(Shutdown);
            }
            let rest = self.pace.map_or(0, |pace| pace.rest);
            self.pause(began.elapsed() * rest)?;
        }
        self.last_sweep = Some(began);
        Ok(())
    }

    fn compare(&mut self, stamps: &mut StampReader<'_>, name: &str) -> Option<Difference> {
        let at = Instant::now();
        let stamp = stamps.read(name);
        let is_racy = stamp.is_some_and(|stamp| stamp.newest + RACY >= unix_seconds());
        let before = match stamp {
            Some(_) => self.baselines.insert(name.to_owned(), Baseline { stamp, at, is_racy }),
            None => self.baselines.remove(name),
        };
        let Some(before) = before else {
            // A project may have changed between the scan at start and the first sweep, which
            // therefore has all projects read once more.
            let packages = self.last_sweep.is_none();
            return stamp.map(|_| Difference { name: name.to_owned(), since: self.last_sweep, packages });
        };
        let differs = before.stamp != stamp;
        let may_differ = before.is_racy && !self.pace.is_some_and(|pace| pace.has_events);
        let in_packages = |stamp: Option<ProjectStamp>| stamp.map(|stamp| stamp.packages);
        let packages = in_packages(before.stamp) != in_packages(stamp);
        let since = differs.then_some(before.at);
        (differs || may_differ).then(|| Difference { name: name.to_owned(), since, packages })
    }
}

/// The current time in seconds since 1970.
fn unix_seconds() -> i64 {
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
        comparison.set_pace(SweepPace { period: Duration::from_millis(10), rest: 0, has_events: true });
        let wait_for = |name: &str| while reported.recv_timeout(Duration::from_secs(20)).unwrap() != name {};
        wait_for("a");
        put("c/main.ts");
        wait_for("c");
        fs::remove_dir_all(dir.path().join("b")).unwrap();
        wait_for("b");
        put("a/lib.ts");
        wait_for("a");
        drop(comparison);
        assert_eq!(reported.into_iter().count(), 0, "unchanged projects are not reported");
    }
}
