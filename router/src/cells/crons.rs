//! The crons of a cell: what its code has registered with `Deno.cron`, and the runs of their
//! handlers.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use switchyard_protocol::CronRegistration;
use tokio::sync::oneshot;

use crate::version::Version;

/// Crons of a version, as `Deno.cron` allows them.
const MAX_CRONS: usize = 100;

/// Bytes of a cron's name, as `Deno.cron` allows them.
const MAX_NAME: usize = 64;

/// Bytes of a schedule: more than lists of minutes, hours and days have.
const MAX_SCHEDULE: usize = 256;

/// Pauses before further attempts, as `Deno.cron` allows them.
const MAX_BACKOFF: usize = 5;

/// Reports of a cell's crons that may come at once. A cell sends one a second at most.
const REPORTS: u32 = 8;

/// The time after which one more report may come.
const REPORT_EACH: Duration = Duration::from_secs(1);

/// A receiver of the crons that versions register. Called on the main thread, so it must not block.
pub(crate) trait CronSink: Debug + Send + Sync {
    /// The crons of a cell of `version` are these now.
    fn registered(&self, version: &Version, cell: u64, crons: Vec<CronRegistration>);
    /// A cell of `version` has ended.
    fn ended(&self, version: &Version, cell: u64);
}

/// The reason why a cell does not run the handler of a cron.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CronRefusal {
    /// The cell has registered no cron of this name.
    #[error("the process has registered no cron of this name")]
    Unknown,
    /// The handler still works for an earlier run.
    #[error("the handler still works for an earlier run")]
    Busy,
    /// The process has ended.
    #[error("the process has ended")]
    Ended,
}

/// The crons of one cell, shared by its handle and its owner.
#[derive(Debug)]
pub(super) struct CellCrons {
    id: u64,
    sink: Arc<dyn CronSink>,
    state: Mutex<CronState>,
}

#[derive(Debug)]
struct CronState {
    /// The names that are registered.
    names: Vec<String>,
    /// Handlers that work, by the names of their crons.
    working: HashMap<String, Working>,
    is_over: bool,
    allowance: Allowance,
}

/// A handler that works for a run, whose receiver may be gone.
#[derive(Debug)]
struct Working {
    run: String,
    ended: oneshot::Sender<bool>,
}

/// The number of reports that may still come, and the time of the last one.
#[derive(Debug)]
struct Allowance {
    left: u32,
    at: Instant,
}

impl CellCrons {
    pub(super) fn new(id: u64, sink: Arc<dyn CronSink>) -> Self {
        let allowance = Allowance { left: REPORTS, at: Instant::now() };
        let state = CronState { names: Vec::new(), working: HashMap::new(), is_over: false, allowance };
        Self { id, sink, state: Mutex::new(state) }
    }

    /// Takes a report of the cell of `version`. Returns false if it breaks the bounds: the cell has
    /// to be ended.
    pub(super) fn registered(&self, version: Option<&Version>, crons: Vec<CronRegistration>) -> bool {
        let Some(version) = version else { return false };
        {
            let mut state = self.lock();
            if !state.allowance.take(Instant::now()) || !is_bounded(&crons) {
                return false;
            }
            state.names = crons.iter().map(|cron| cron.name.clone()).collect();
        }
        self.sink.registered(version, self.id, crons);
        true
    }

    /// Takes the end of a handler. Returns false if it worked for no such run.
    pub(super) fn ended(&self, name: &str, run: &str, success: bool) -> bool {
        let mut state = self.lock();
        if state.working.get(name).is_none_or(|working| working.run != run) {
            return false;
        }
        if let Some(working) = state.working.remove(name) {
            // Whoever waited may have given up.
            let _ = working.ended.send(success);
        }
        true
    }

    /// Notes that a handler is about to be called for a run. The receiver gets `true` if it ends
    /// well, and an error if the process ends.
    ///
    /// # Errors
    /// It cannot be called.
    pub(super) fn begin(&self, name: &str, run: &str) -> Result<oneshot::Receiver<bool>, CronRefusal> {
        let mut state = self.lock();
        if state.is_over {
            return Err(CronRefusal::Ended);
        }
        if !state.names.iter().any(|known| known == name) {
            return Err(CronRefusal::Unknown);
        }
        if state.working.contains_key(name) {
            return Err(CronRefusal::Busy);
        }
        let (ended, end) = oneshot::channel();
        state.working.insert(name.to_owned(), Working { run: run.to_owned(), ended });
        Ok(end)
    }

    /// Notes that the process of `version` has ended.
    pub(super) fn end(&self, version: Option<&Version>) {
        {
            let mut state = self.lock();
            state.is_over = true;
            state.working.clear();
        }
        if let Some(version) = version {
            self.sink.ended(version, self.id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, CronState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Allowance {
    fn take(&mut self, now: Instant) -> bool {
        let more = now.duration_since(self.at).as_secs() / REPORT_EACH.as_secs();
        if more > 0 {
            self.left = self.left.saturating_add(u32::try_from(more).unwrap_or(REPORTS)).min(REPORTS);
            self.at = now;
        }
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }
}

fn is_bounded(crons: &[CronRegistration]) -> bool {
    let fits = |cron: &CronRegistration| {
        cron.name.len() <= MAX_NAME
            && cron.schedule.len() <= MAX_SCHEDULE
            && cron.backoff_ms.as_ref().is_none_or(|pauses| pauses.len() <= MAX_BACKOFF)
    };
    crons.len() <= MAX_CRONS && crons.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use switchyard_contract::digest::Digest;
    use switchyard_contract::project::ProjectName;

    use super::*;
    use crate::version::Tenant;

    #[derive(Debug, Default)]
    struct Kept(Mutex<Vec<(u64, usize)>>);

    impl CronSink for Kept {
        fn registered(&self, _: &Version, cell: u64, crons: Vec<CronRegistration>) {
            self.0.lock().unwrap().push((cell, crons.len()));
        }

        fn ended(&self, _: &Version, cell: u64) {
            self.0.lock().unwrap().push((cell, usize::MAX));
        }
    }

    fn version() -> Version {
        let digest = Digest::of_files([("a", [0; 32])]);
        Version::new(&Tenant::first(&ProjectName::parse("a").unwrap()), digest)
    }

    fn cron(name: &str) -> CronRegistration {
        CronRegistration { name: name.to_owned(), schedule: "* * * * *".to_owned(), backoff_ms: None }
    }

    fn crons(names: &[&str]) -> (CellCrons, Arc<Kept>) {
        let kept = Arc::new(Kept::default());
        let crons = CellCrons::new(7, kept.clone());
        assert!(crons.registered(Some(&version()), names.iter().map(|name| cron(name)).collect()));
        (crons, kept)
    }

    #[tokio::test]
    async fn a_handler_works_for_one_run_at_a_time() {
        let (crons, _) = crons(&["a", "b"]);
        let first = crons.begin("a", "r1").unwrap();
        assert_eq!(crons.begin("a", "r2").err(), Some(CronRefusal::Busy));
        assert!(crons.begin("b", "r2").is_ok());
        assert_eq!(crons.begin("c", "r3").err(), Some(CronRefusal::Unknown));
        assert!(!crons.ended("a", "r9", true), "an end of another run");
        assert!(crons.ended("a", "r1", true));
        assert_eq!(first.await, Ok(true));
        drop(crons.begin("a", "r4").unwrap());
        assert_eq!(crons.begin("a", "r5").err(), Some(CronRefusal::Busy), "nobody waits, and it works on");
        assert!(crons.ended("a", "r4", false));
        assert!(crons.begin("a", "r5").is_ok());
    }

    #[tokio::test]
    async fn the_end_of_the_process_ends_what_waits_for_handlers() {
        let (crons, kept) = crons(&["a"]);
        let end = crons.begin("a", "r1").unwrap();
        crons.end(Some(&version()));
        assert!(end.await.is_err());
        assert_eq!(crons.begin("a", "r2").err(), Some(CronRefusal::Ended));
        assert_eq!(*kept.0.lock().unwrap(), [(7, 1), (7, usize::MAX)]);
    }

    #[test]
    fn a_cell_that_reports_more_than_it_may_breaks_the_bounds() {
        let (crons, kept) = crons(&["a"]);
        let version = version();
        let long = CronRegistration { schedule: "1,".repeat(200), ..cron("a") };
        let slow = CronRegistration { backoff_ms: Some(vec![1; 6]), ..cron("a") };
        for bad in [vec![cron("a"); 101], vec![cron(&"x".repeat(65))], vec![long], vec![slow]] {
            assert!(!crons.registered(Some(&version), bad));
        }
        assert!(!crons.registered(None, vec![cron("a")]), "a spare has no crons");
        while crons.registered(Some(&version), vec![]) {}
        assert!(kept.0.lock().unwrap().len() <= REPORTS as usize);
    }

    #[test]
    fn reports_are_allowed_again_with_time() {
        let now = Instant::now();
        let mut allowance = Allowance { left: 1, at: now };
        assert!(allowance.take(now) && !allowance.take(now));
        assert!(allowance.take(now + REPORT_EACH));
        assert!(!allowance.take(now + REPORT_EACH));
    }
}
