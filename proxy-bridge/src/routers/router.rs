//! One router: its readiness, and the versions that it serves.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use http::StatusCode;
use reqwest::Client;
use tokio::sync::{Notify, watch};

use super::RouterAddress;
use super::behind::BehindMarks;
use super::clients::Clients;
use super::state::RouterState;
use crate::address::Target;
use crate::changes::{Change, Changes};
use switchyard_contract::admin::Status;
use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::project::ProjectName;
use switchyard_contract::task::RunLimits;

/// The state that all routers share.
#[derive(Debug)]
pub(super) struct RouterContext {
    pub(super) clients: RwLock<Clients>,
    pub(super) behind: BehindMarks,
    /// The public URL of routers that only have a path.
    pub(super) forward: Option<String>,
    /// Counts the changes of any router.
    pub(super) changed: watch::Sender<u64>,
    /// The same for those who show them, with what has changed.
    pub(super) changes: Changes,
}

impl RouterContext {
    /// Returns the client that calls a router at this address.
    pub(super) fn client(&self, address: &RouterAddress) -> Client {
        self.clients.read().unwrap_or_else(PoisonError::into_inner).of(address)
    }

    pub(super) fn notify(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

/// One router, as the bridge knows it.
#[derive(Debug)]
pub struct Router {
    pub(super) address: RouterAddress,
    pub(super) common: Arc<RouterContext>,
    name: String,
    public: String,
    target: Target,
    /// `true`: the last probe succeeded, and no connection has failed since.
    takes_requests: AtomicBool,
    presence: Mutex<(Presence, String)>,
    /// `true`: all projects were reported once. A copy of a fact in `state` that every request
    /// reads.
    pulled: AtomicBool,
    /// `true`: the router reported that it fetches packages.
    installs: AtomicBool,
    state: Mutex<RouterState>,
    /// Requests the status of all projects.
    pub(super) ask_all: Notify,
    in_flight: AtomicUsize,
    /// Statuses of projects that were in its answers.
    pub(super) statuses: AtomicU64,
    answers: [AtomicU64; 5],
}

/// The state of a router by its admin listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Not called yet.
    Unknown,
    /// `/readyz` reports that it takes requests.
    Ready,
    /// The listener answers, and the router takes no requests: it is starting or stopping.
    NotReady,
    /// The listener takes no connections, or has not answered for a while.
    Away,
}

/// The tasks of a project, as a router's status has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskVersion {
    pub(crate) project: String,
    /// The digest of the live version.
    pub(crate) digest: String,
    /// The hash of its tasks.
    pub(crate) hash: String,
    /// The limits of its runs, once they are known.
    pub(crate) limits: Option<RunLimits>,
}

/// A request that is with a router. Dropped when the last byte of the answer is out.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Router>);

impl Router {
    pub(super) fn new(address: RouterAddress, common: Arc<RouterContext>) -> Self {
        let target = address.target();
        let forward = common.forward.clone().filter(|_| matches!(target, Target::Path(_)));
        Self {
            name: address.name(),
            public: forward.unwrap_or_else(|| address.public()),
            target,
            address,
            common,
            takes_requests: AtomicBool::new(false),
            presence: Mutex::new((Presence::Unknown, String::new())),
            pulled: AtomicBool::new(false),
            installs: AtomicBool::new(false),
            state: Mutex::default(),
            ask_all: Notify::new(),
            in_flight: AtomicUsize::new(0),
            statuses: AtomicU64::new(0),
            answers: Default::default(),
        }
    }

    /// The admin URL, without a slash at the end.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public URL, without a slash at the end.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// Returns true if the router takes requests: its `/readyz` says so, a connection can be made,
    /// and it has reported its projects.
    pub fn is_ready(&self) -> bool {
        self.takes_requests.load(Relaxed) && self.pulled.load(Relaxed)
    }

    /// Returns true if the router's last answer was that it takes requests. It may be late with the
    /// next answer, or a connection to it may have failed since; requests go there if no router is
    /// ready.
    pub fn was_ready(&self) -> bool {
        self.presence() == Presence::Ready && self.pulled.load(Relaxed)
    }

    /// Returns true if the admin listener answers. A router that hangs is detected after two
    /// seconds.
    pub fn is_reachable(&self) -> bool {
        matches!(self.presence(), Presence::Ready | Presence::NotReady)
    }

    /// Returns the state of the admin listener, by the last probe.
    pub fn presence(&self) -> Presence {
        self.present().0
    }

    /// Returns the reason for [`Presence::Away`], as a part of a sentence.
    pub fn why_away(&self) -> String {
        self.present().1.clone()
    }

    /// Returns the number of statuses in the router's answers since the bridge was started.
    pub fn statuses_received(&self) -> u64 {
        self.statuses.load(Relaxed)
    }

    /// Returns true if the router fetches packages that are missing on the volume. `false` until it
    /// has reported so.
    pub fn installs(&self) -> bool {
        self.installs.load(Relaxed)
    }

    pub(super) fn set_installs(&self, installs: bool) {
        self.installs.store(installs, Relaxed);
    }

    /// Returns the last reported status of a project; `None` when the router has reported none.
    pub fn status(&self, project: &str) -> Option<Status> {
        self.state().get(project).cloned()
    }

    /// Returns the folder from which the router reads a project instead of the volume, if it has
    /// reported one.
    pub fn overridden(&self, project: &str) -> Option<String> {
        self.state().get(project)?.overridden.clone()
    }

    /// Returns the last reported statuses of all projects, by name.
    pub fn statuses(&self) -> Vec<Status> {
        self.state().all().cloned().collect()
    }

    /// Returns the projects whose live version declares tasks.
    pub(crate) fn task_versions(&self) -> Vec<TaskVersion> {
        let state = self.state();
        let declaring = state.all().filter_map(|status| {
            Some(TaskVersion {
                project: status.name.clone(),
                digest: status.live.as_ref()?.digest.clone(),
                hash: status.tasks.clone()?,
                limits: status.grants.as_ref().map(|grants| grants.limits.runs),
            })
        });
        declaring.collect()
    }

    /// Returns true if the project's live version declares tasks.
    pub(crate) fn has_tasks(&self, project: &str) -> bool {
        self.state().get(project).is_some_and(|status| status.tasks.is_some())
    }

    /// Returns true if the router has reported the project.
    pub(crate) fn has(&self, project: &ProjectName) -> bool {
        self.state().get(project.as_str()).is_some()
    }

    /// Returns the incarnation of the project that the router has reported.
    pub(crate) fn incarnation(&self, project: &ProjectName) -> Option<Incarnation> {
        self.state().get(project.as_str()).map(|status| status.incarnation)
    }

    /// Returns the limits of the project's runs, once the router has reported them.
    pub(crate) fn run_limits(&self, project: &ProjectName) -> Option<RunLimits> {
        let state = self.state();
        let grants = state.get(project.as_str())?.grants.as_ref();
        grants.map(|grants| grants.limits.runs)
    }

    /// Returns the id of the router's process, once it is known.
    pub fn process_id(&self) -> Option<String> {
        self.state().router_id().map(str::to_owned)
    }

    /// Returns true if the router may still serve `project` as it was before a deploy that was
    /// answered 200.
    pub fn is_behind(&self, project: &str) -> bool {
        self.common.behind.has(&self.name, project)
    }

    /// The projects that it is behind in.
    pub fn behind(&self) -> Vec<String> {
        self.common.behind.of(&self.name)
    }

    /// Returns the number of forwarded requests that the router is handling.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// Returns the number of forwarded requests that the router answered with 1xx (a switch of
    /// protocols), 2xx, … and 5xx.
    pub fn answers(&self) -> [u64; 5] {
        std::array::from_fn(|class| self.answers[class].load(Relaxed))
    }

    /// The destination of requests to the public listener.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Counts a request in.
    pub(crate) fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(self.clone())
    }

    pub(crate) fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100);
        if let Some(count) = self.answers.get(class.saturating_sub(1)) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Records a failed connection: the router gets no request until it reports again that it is
    /// ready.
    pub(crate) fn refused(&self) {
        if self.takes_requests.swap(false, Relaxed) {
            tracing::warn!(router = self.name, "{} takes no connections", self.public);
            self.common.notify();
            self.common.changes.send(Change::Routers);
        }
    }

    /// Records the result of a probe. `why`: the reason when the router is away.
    pub(super) fn probed(&self, presence: Presence, ready: bool, why: &str) {
        let was = std::mem::replace(&mut *self.present(), (presence, why.to_owned())).0;
        let was_ready = self.takes_requests.swap(ready, Relaxed);
        if (was, was_ready) == (presence, ready) {
            return;
        }
        if ready && !was_ready {
            // By now the router has read all projects.
            self.ask_all.notify_one();
        }
        let reachable = self.is_reachable();
        let why = (!why.is_empty()).then_some(why);
        tracing::info!(router = self.name, reachable, ready, why, "{} {}", self.name, word(reachable, ready));
        self.common.notify();
        self.common.changes.send(Change::Routers);
    }

    /// Records that the router is no longer one of this bridge. No task probes it any more.
    pub(super) fn gone(&self) {
        self.probed(Presence::Away, false, "it is no longer one of the routers");
    }

    /// Records a restart: the last probe no longer counts.
    pub(super) fn restarted(&self) {
        self.takes_requests.store(false, Relaxed);
    }

    /// Returns true if the router reports that it has read all projects.
    pub(super) fn has_read_all(&self) -> bool {
        self.takes_requests.load(Relaxed)
    }

    /// Changes the known state of its projects.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut RouterState) -> T) -> T {
        let mut state = self.state();
        let changed = change(&mut state);
        self.pulled.store(state.is_pulled(), Relaxed);
        changed
    }

    fn present(&self) -> MutexGuard<'_, (Presence, String)> {
        self.presence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held for a few map operations, never over an await. The state is whole between any two of
    /// its calls.
    pub(super) fn state(&self) -> MutexGuard<'_, RouterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn word(reachable: bool, ready: bool) -> &'static str {
    match (reachable, ready) {
        (_, true) => "takes requests",
        (true, false) => "takes no requests",
        (false, false) => "cannot be reached",
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}
