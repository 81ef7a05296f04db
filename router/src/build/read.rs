//! One reading of a project: its files listed and hashed and, for a new version, the checkout and
//! the plan made.

use std::sync::Arc;
use std::time::{Duration, Instant};

use switchyard_contract::digest::Digest;
use switchyard_contract::event::{ChangedFiles, Diagnostic, Trigger};
use switchyard_contract::incarnation::{Incarnation, Incarnations};
use switchyard_contract::project::ProjectName;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

use super::plan::{Candidate, FunctionConfig, Plan, RecordedVersion};
use super::readers::{Readers, Reading, ReadingError, ReadingTurn};
use crate::checkout::{
    CheckoutError, HashCache, Interruption, Pace, ReadBounds, ReceiveError, ReceivedFiles, Snapshot,
    SnapshotError, Store,
};
use crate::policy::{Policy, ReadLimit, ReadLimits};
use crate::project::{
    FolderRole, InstallProgress, InstalledPackages, Manifest, SupabaseFunction, diagnostic,
};
use crate::root::{Place, Root};
use crate::version::{Tenant, Version};

/// Attempts to copy a project that changes while it is copied.
const MAX_COPIES: u32 = 5;

/// The state of a project's folder. `C` is what is needed to build the version in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FolderState<C> {
    Gone,
    Invalid(Diagnostic),
    /// The live version, which would be started just as it is running.
    Live(Version),
    /// The version that failed last. Nothing that could make another attempt succeed has changed.
    FailedBefore(Version),
    /// A version to be built. It may be the live one, with another grant or other packages.
    Candidate(Version, C),
    /// The projects root is missing or may still be filled, so nothing is known of the project.
    Unknown,
}

/// The result of a reading.
pub(crate) struct ReadResult {
    pub(crate) state: FolderState<Candidate>,
    /// The digest of the project's own files, if its version has included files too.
    pub(crate) own: Option<Digest>,
    /// The files in which it differs from the version that was read before.
    pub(crate) changed: Option<ChangedFiles>,
    pub(crate) installed: InstalledPackages,
    pub(crate) cache: HashCache,
    /// `true`: the reading took too long. Another one may succeed although nothing has changed.
    pub(crate) is_late: bool,
    /// The limits that the reading had.
    pub(crate) limits: ReadLimits,
    /// A handle to this reading, for the next one to check.
    pub(crate) reading: Reading,
    pub(crate) took: Duration,
}

impl ReadResult {
    fn new(state: FolderState<Candidate>) -> Self {
        Self {
            state,
            own: None,
            changed: None,
            installed: InstalledPackages::default(),
            cache: HashCache::default(),
            is_late: false,
            limits: ReadLimits::NONE,
            reading: Reading::default(),
            took: Duration::ZERO,
        }
    }

    fn invalid(error: Diagnostic) -> Self {
        Self::new(FolderState::Invalid(error))
    }
}

/// The project to read, with what decides whether the version in its folder is built.
pub(crate) struct ReadRequest {
    pub(crate) project: ProjectName,
    pub(crate) root: Root,
    /// The place that its files are read from.
    pub(crate) place: Place,
    pub(crate) live: Option<Version>,
    /// The version that was read before.
    pub(crate) on_disk: Option<Version>,
    /// The project's incarnation at the last reading.
    pub(crate) incarnation: Option<Incarnation>,
    /// The packages that the live version was made with.
    pub(crate) live_with: Option<InstalledPackages>,
    /// The functions folder's configuration of the live version.
    pub(crate) live_function: Option<SupabaseFunction>,
    /// `true`: the live version would get another grant now.
    pub(crate) outdated: bool,
    pub(crate) policy: Arc<Policy>,
    /// The version that failed last, and the packages that it failed with. It is not built again
    /// while both are the same. `None`: another attempt was requested.
    pub(crate) failed: Option<(Version, InstalledPackages)>,
    pub(crate) trigger: Trigger,
    /// `true`: a deploy holds the project and waits for the version that it has put there.
    pub(crate) is_deployed: bool,
}

impl ReadRequest {
    /// The owner of the files that are in the folder now.
    fn tenant(&self) -> Result<Tenant, Diagnostic> {
        let read = incarnation(&self.root, &self.project, self.incarnation);
        read.map(|incarnation| Tenant::new(&self.project, incarnation))
    }

    /// Returns true if the live version was made with packages other than `installed`.
    fn has_other_packages(&self, installed: InstalledPackages) -> bool {
        self.live_with.is_some_and(|with| with != installed)
    }

    /// Returns true if packages may be half installed. The watch waits until they are complete, and
    /// callers who request a reload know that they are; other readings happen at any time.
    fn may_be_half_installed(&self, installed: InstalledPackages) -> bool {
        let at_any_time = matches!(self.trigger, Trigger::Scan | Trigger::Policy);
        at_any_time && installed.progress != InstallProgress::Complete
    }

    fn is_gone(&self) -> bool {
        self.root.is_gone(self.project.as_str())
    }

    /// The functions folder's configuration of the project, or the result if there is nothing to
    /// read.
    fn function(&self) -> Result<Option<SupabaseFunction>, Box<ReadResult>> {
        match FolderRole::of(&self.place, self.project.as_str(), self.live_function.as_ref()) {
            Ok(FolderRole::LeftOut(why)) if self.is_deployed && !self.is_gone() => {
                let error = format!("{} is left out: {why}. Do not deploy it", self.project);
                Err(Box::new(ReadResult::invalid(diagnostic(error))))
            }
            Ok(FolderRole::LeftOut(why)) => {
                tracing::info!(project.name = %self.project, "{} is left out: {why}", self.project);
                Err(Box::new(ReadResult::new(FolderState::Gone)))
            }
            Ok(role) => Ok(role.function()),
            Err(error) => Err(Box::new(ReadResult::invalid(error))),
        }
    }
}

/// A reading to be done on a thread, with the state that survives its interruption.
pub(crate) struct ReadJob {
    pub(crate) store: Arc<Store>,
    pub(crate) request: ReadRequest,
    pub(crate) cache: HashCache,
}

/// Notifies the start scan of projects that are too slow to wait for.
#[derive(Debug, Clone)]
pub(crate) struct SlowProjects {
    pub(crate) sender: mpsc::Sender<ProjectName>,
    /// The time after which a slow step is no longer waited for.
    pub(crate) time_limit: Duration,
}

impl SlowProjects {
    /// Reports `project` once its patience is over. Never ends, so that it can run beside the slow
    /// step.
    pub(super) async fn report(&self, project: &ProjectName) {
        sleep(self.time_limit).await;
        // The receiver may be gone.
        let _ = self.sender.send(project.clone()).await;
        std::future::pending::<()>().await;
    }
}

/// Reads a project and, if its version is new, makes the checkout and the plan. What is large is
/// boxed: thousands of projects may wait for their turn at once.
pub(crate) async fn read(
    readers: Readers,
    job: Box<ReadJob>,
    mut reading: Reading,
    slow: SlowProjects,
) -> Box<ReadResult> {
    let began = Instant::now();
    let turn = readers.turn().await;
    Box::pin(async move {
    let project = job.request.project.clone();
    let limits = job.request.policy.reads(&project);
    let time = limits.time;
    let is_slow = Notify::new();
    let takes_long = async {
        is_slow.notified().await;
        slow.report(&project).await;
    };
    let (job, result) = tokio::select! {
        read = readers.read(turn, &mut reading, time, job, read_blocking, || is_slow.notify_one()) => read,
        () = takes_long => unreachable!("this future never ends"),
    };
    let mut result = result.unwrap_or_else(|error| Box::new(failed_reading(&error, time)));
    result.cache = job.map(|job| job.cache).unwrap_or_default();
    (result.took, result.limits, result.reading) = (began.elapsed(), limits, reading);
    result
    })
    .await
}

fn failed_reading(error: &ReadingError, time: Duration) -> ReadResult {
    let millis = time.as_millis();
    let message = match error {
        ReadingError::Late => {
            format!("its files could not be read within {millis} ms: {}", ReadLimit::Time.fix())
        }
        ReadingError::Stuck => format!(
            "reading its files did not end within {millis} ms (--read-timeout): check the file system that \
             they are on, which does not answer"
        ),
        ReadingError::Panicked(panic) => format!("the router failed to read the project: {panic}"),
    };
    let is_late = !matches!(error, ReadingError::Panicked(_));
    ReadResult { is_late, ..ReadResult::invalid(diagnostic(message)) }
}

/// The outcome of one pass over the files.
enum PassOutcome {
    Ended(Box<ReadResult>),
    /// The files changed under it.
    Moved,
}

impl From<ReadResult> for PassOutcome {
    fn from(result: ReadResult) -> Self {
        Self::Ended(Box::new(result))
    }
}

fn read_blocking(job: &mut Box<ReadJob>, turn: &ReadingTurn) -> Result<Box<ReadResult>, Interruption> {
    for _ in 0..MAX_COPIES {
        if let PassOutcome::Ended(result) = read_once(job, turn)? {
            return Ok(result);
        }
    }
    let error = "the files change faster than they can be copied: keep what is written all the time outside \
                 the project";
    Ok(Box::new(ReadResult::invalid(diagnostic(error))))
}

fn read_once(job: &mut ReadJob, turn: &ReadingTurn) -> Result<PassOutcome, Interruption> {
    let ReadJob { store, request, cache } = job;
    let pace = |bytes| turn.count(bytes);
    let tenant = match request.tenant() {
        Ok(tenant) => tenant,
        Err(error) => return Ok(ReadResult::invalid(error).into()),
    };
    let function = match request.function() {
        Ok(function) => function,
        Err(result) => return Ok(PassOutcome::Ended(result)),
    };
    let bounds = ReadBounds { limits: request.policy.reads(&request.project), pace: &pace };
    let snapshot = match store.snapshot(&request.project, &request.place, bounds, cache) {
        Ok(snapshot) => snapshot,
        Err(SnapshotError::Gone) if request.place.is_override() => {
            let error = "the folder of its override is missing: create it again, or end the override \
                         (switchyard source dev NAME --disable)";
            return Ok(ReadResult::invalid(diagnostic(error)).into());
        }
        Err(SnapshotError::Gone) if request.is_gone() => {
            return Ok(ReadResult::new(FolderState::Gone).into());
        }
        Err(SnapshotError::Gone) => return Ok(ReadResult::new(FolderState::Unknown).into()),
        Err(SnapshotError::Invalid(error)) => return Ok(ReadResult::invalid(error).into()),
        Err(SnapshotError::Interrupted) => return Err(Interruption),
    };
    // Files that a deploy put here after a removal do not belong to the incarnation before it.
    if request.tenant().ok().as_ref() != Some(&tenant) {
        return Ok(PassOutcome::Moved);
    }
    judge(store, request, &tenant, function, &snapshot, &pace)
}

/// Decides whether the version of `snapshot` is built, and makes its checkout if it is.
fn judge(
    store: &Store,
    request: &ReadRequest,
    tenant: &Tenant,
    function: Option<SupabaseFunction>,
    snapshot: &Snapshot,
    pace: Pace<'_>,
) -> Result<PassOutcome, Interruption> {
    let installed = InstalledPackages::of(snapshot.packages());
    let version = Version::new(tenant, snapshot.digest);
    let mut earlier = request.on_disk.iter().chain(&request.live);
    let changed = earlier.find_map(|earlier| store.changes(earlier, &version, snapshot));
    let ended = |state| {
        let own = snapshot.own_digest;
        Ok(ReadResult { own, changed: changed.clone(), installed, ..ReadResult::new(state) }.into())
    };
    let is_live = request.live.as_ref() == Some(&version);
    let has_other_packages = is_live && request.has_other_packages(installed);
    if has_other_packages && !request.outdated && request.may_be_half_installed(installed) {
        return ended(FolderState::Unknown);
    }
    let is_other_function = is_live && request.live_function != function;
    let is_outdated = is_live && (request.outdated || has_other_packages || is_other_function);
    if is_live && !is_outdated {
        store.update_times(&version, snapshot);
        return ended(FolderState::Live(version));
    }
    if request.failed.as_ref().is_some_and(|(failed, with)| *failed == version && *with == installed) {
        return ended(FolderState::FailedBefore(version));
    }
    match store.make(&version, snapshot, request.live.as_ref(), pace) {
        Ok(checkout) => {
            let config = FunctionConfig { current: function.clone(), of_live: request.live_function.clone() };
            let plan = Manifest::read(&checkout.dir, &request.project, function)
                .and_then(|manifest| {
                    Plan::new(version.clone(), checkout, manifest, config, &request.policy, store)
                })
                .map(|plan| Plan { installed: Some(installed), ..plan });
            ended(FolderState::Candidate(version, plan))
        }
        Err(CheckoutError::Moved) => Ok(PassOutcome::Moved),
        Err(CheckoutError::Interrupted) => Err(Interruption),
        Err(CheckoutError::Invalid(error)) => ended(FolderState::Invalid(error)),
        Err(CheckoutError::Failed(error)) => {
            let error = diagnostic(format!("no checkout could be made: {error:#}"));
            ended(FolderState::Invalid(error))
        }
    }
}

/// Plans the last good version of an earlier run. `None`: its checkout is gone, or the project is
/// in another incarnation now.
pub(super) fn find_recorded(
    store: &Store,
    root: &Root,
    recorded: &RecordedVersion,
    policy: &Policy,
    turn: &ReadingTurn,
) -> Option<Plan> {
    let RecordedVersion { version, function } = recorded;
    let current = incarnation(root, &version.project, Some(version.incarnation)).ok()?;
    if current != version.incarnation {
        return None;
    }
    let checkout = store.find(version, &|bytes| turn.count(bytes))?;
    let manifest = Manifest::read(&checkout.dir, &version.project, function.clone()).ok()?;
    let config = FunctionConfig { current: function.clone(), of_live: None };
    Plan::new(version.clone(), checkout, manifest, config, policy, store).ok()
}

/// The files of a version that came from a bridge.
pub(super) struct ReceivedVersion {
    pub(super) version: Version,
    pub(super) received: ReceivedFiles,
    /// A version that has some of the same files.
    pub(super) previous: Option<Version>,
    /// The place of the project, whose packages the version gets.
    pub(super) place: Place,
    pub(super) limits: ReadLimits,
}

/// Makes the checkout of a version whose files were received.
pub(super) fn keep_received(
    store: &Store,
    received: &ReceivedVersion,
    turn: &ReadingTurn,
) -> Result<Result<(), ReceiveError>, Interruption> {
    let ReceivedVersion { version, received, previous, place, limits } = received;
    let pace = |bytes| turn.count(bytes);
    let bounds = ReadBounds { limits: *limits, pace: &pace };
    match store.keep(version, received, previous.as_ref(), place, bounds) {
        Err(ReceiveError::Interrupted) => Err(Interruption),
        kept => Ok(kept),
    }
}

/// The current incarnation of `project` according to the volume or, if the volume names none, the
/// one that is `known`.
fn incarnation(
    root: &Root,
    project: &ProjectName,
    known: Option<Incarnation>,
) -> Result<Incarnation, Diagnostic> {
    match Incarnations::read(root.path(), project) {
        Ok(Some(incarnations)) => Ok(incarnations.current),
        Ok(None) => Ok(known.unwrap_or_default()),
        Err(error) => Err(diagnostic(error.to_string())),
    }
}
