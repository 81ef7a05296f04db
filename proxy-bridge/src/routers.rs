//! The routers as the bridge knows them, and the calls to them.
//!
//! Every router is followed by a task of its own: its events, its projects, its readiness. Events
//! arrive twice, over the stream that is followed and as posts ([`Routers::take`]). Sequence
//! numbers order them, so either copy may be late, repeated or missing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use behind::BehindMarks;
use clients::Clients;
use recent::RecentEvents;
use router::RouterContext;
use state::StateChange;
use supervisor::Supervisor;
use switchyard_contract::digest::Digest;
use switchyard_contract::event::Event;
use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::project::ProjectName;
use switchyard_contract::route::{Claim, Route};
use switchyard_contract::verifier::Verified;
use switchyard_edge::routes::Routes;

use crate::address::{Dns, RouterAddress};
use crate::changes::{Change, Changes};
pub use calls::CallError;
pub(crate) use router::{InFlight, TaskVersion};
pub use router::{Presence, Router};

mod behind;
mod calls;
mod clients;
mod follow;
mod recent;
mod router;
mod run_calls;
mod state;
mod supervisor;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

/// Marks of routers that have gone are kept up to this many routers in a project, for those that
/// come back.
const MAX_BEHIND: usize = 1000;

/// The addresses of the routers, and the access to them.
#[derive(Clone, Default)]
pub struct RoutersSettings {
    /// Routers with an address each.
    pub fixed: Vec<RouterAddress>,
    /// Routers that share a name.
    pub dns: Option<Dns>,
    /// The token that their admin listeners require: visible ASCII.
    pub admin_token: Option<String>,
    /// The folder that remembers which routers are behind. `None`: that ends with the process.
    pub behind: Option<PathBuf>,
    /// The URL at which the bridge forwards requests. It is the public one of routers that only have a
    /// path.
    pub forward: Option<String>,
}

/// The registry of routers. Cheap to clone; all clones are the same registry. The task that follows
/// the routers ends when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Routers {
    shared: Arc<Shared>,
    stop: Arc<watch::Sender<bool>>,
}

/// The result of an event that was posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventReceipt {
    /// New, or about a state that is known by now.
    Applied,
    /// Received before.
    Duplicate,
    /// No router with this id is followed. Once it is, it reports its whole state.
    UnknownRouter,
}

/// The state that the tasks and the registry share.
#[derive(Debug)]
struct Shared {
    common: Arc<RouterContext>,
    list: RwLock<Arc<[Arc<Router>]>>,
    /// The ways to the projects that any router has reported.
    table: RwLock<Routes<ProjectName>>,
    /// Held while a project's entry in the table is made, so that an older one does not replace a
    /// newer.
    making: Mutex<()>,
    /// Number of entries of the table that were made since the start.
    made: AtomicU64,
    seen: Mutex<RecentEvents>,
}

impl Routers {
    /// Starts to follow the routers, on the current tokio runtime. The caller owns the task: it
    /// ends after [`Routers::shutdown`], or when the last clone of the registry is dropped.
    ///
    /// # Errors
    /// The HTTP client cannot be made, as with an unreadable token; the folder of `behind` cannot
    /// be read or written.
    pub fn start(settings: RoutersSettings) -> anyhow::Result<(Self, JoinHandle<()>)> {
        let sockets = settings.fixed.iter().filter_map(RouterAddress::admin_socket);
        let clients = Clients::new(settings.admin_token.as_deref(), sockets)
            .context("make the HTTP client that calls routers")?;
        let known = |name: &str| settings.fixed.iter().any(|router| router.name() == name);
        let behind = match settings.behind {
            // Routers that share a name may be found again at their addresses.
            Some(folder) => {
                BehindMarks::open(folder.clone(), |name| settings.dns.is_some() || known(name))
                    .with_context(|| format!("read which routers are behind, in {}", folder.display()))?
            }
            None => BehindMarks::default(),
        };
        let (changed, stop) = (watch::Sender::new(0), watch::Sender::new(false));
        let changes = Changes::default();
        let shared = Arc::new(Shared {
            common: Arc::new(RouterContext {
                clients: RwLock::new(clients),
                behind,
                forward: settings.forward,
                changed,
                changes,
            }),
            list: RwLock::new(Arc::new([])),
            table: RwLock::default(),
            making: Mutex::default(),
            made: AtomicU64::new(0),
            seen: Mutex::default(),
        });
        let owner = Supervisor::new(shared.clone(), settings.fixed, settings.dns);
        let task = tokio::spawn(owner.run(stop.subscribe()));
        Ok((Self { shared, stop: Arc::new(stop) }, task))
    }

    /// Asks the routers with this token from the next request on.
    ///
    /// # Errors
    /// See [`Routers::start`]. The token stays as it was.
    pub fn set_admin_token(&self, token: Option<&str>) -> anyhow::Result<()> {
        let clients = &self.shared.common.clients;
        let changed = clients.read().unwrap_or_else(PoisonError::into_inner).with_token(token)?;
        *clients.write().unwrap_or_else(PoisonError::into_inner) = changed;
        Ok(())
    }

    /// Ends the task.
    pub fn shutdown(&self) {
        self.stop.send_replace(true);
    }

    /// Every router: as they were named, then by address.
    pub fn all(&self) -> Vec<Arc<Router>> {
        self.shared.list().to_vec()
    }

    /// The same without a copy, for every request.
    pub(crate) fn list(&self) -> Arc<[Arc<Router>]> {
        self.shared.list()
    }

    /// Returns the project that a request is for, if a router has reported it.
    pub(crate) fn find(&self, host: &str, path: &str) -> Option<ProjectName> {
        let table = self.shared.table.read().unwrap_or_else(PoisonError::into_inner);
        table.find(host, path).map(|(project, _)| project.clone())
    }

    /// Returns how often the routes of a project were worked out since the start.
    pub fn routes_made(&self) -> u64 {
        self.shared.made.load(Relaxed)
    }

    /// Returns a counter that grows with every change of any router: one appears or disappears,
    /// becomes ready or not, reports another state, or has caught up.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.shared.common.changed.subscribe()
    }

    /// The changes of routers, projects and deploys.
    pub fn changes(&self) -> &Changes {
        &self.shared.common.changes
    }

    /// Applies an event that a router has posted.
    pub fn take(&self, verified: &Verified) -> EventReceipt {
        let event = &verified.event;
        let list = self.shared.list();
        let Some(router) = list.iter().find(|router| router.state().is_of(&event.data.router)) else {
            tracing::debug!(router.id = event.data.router, "ignored an event of an unknown router");
            return EventReceipt::UnknownRouter;
        };
        if !self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).note(&verified.id) {
            return EventReceipt::Duplicate;
        }
        self.shared.apply_event(router, event);
        EventReceipt::Applied
    }

    /// Marks a router that did not confirm a deploy which succeeded without it. It gets no requests
    /// of the project until it reports another version than before. `published` is the version of
    /// the deploy, `None` when the project was removed.
    ///
    /// The mark outlives the bridge once [`Routers::save_behind`] has returned.
    pub fn mark_behind(
        &self,
        router: &Router,
        project: &ProjectName,
        published: Option<(Digest, Incarnation)>,
    ) {
        let name = project.as_str();
        let published =
            published.map(|(digest, incarnation)| state::version_of(&digest.to_string(), incarnation));
        let serves = router.state().serves(name);
        let list = self.shared.list();
        let others: Vec<_> = list.iter().map(|other| other.state().serves(name)).collect();
        let behind = &self.shared.common.behind;
        behind.mark(router.name(), name, published, serves, others);
        // The router may have reported the deploy in the meantime.
        self.shared.settle(name);
        if behind.routers(name).len() > MAX_BEHIND {
            behind.keep(|name| list.iter().any(|router| router.name() == name));
        }
        self.shared.make_routes(name);
        self.shared.common.notify();
        self.changes().projects(BTreeSet::from([name.to_owned()]));
    }

    /// Returns when all marks are on disk.
    ///
    /// # Errors
    /// The marks cannot be written. The write is repeated in the background.
    pub async fn save_behind(&self) -> io::Result<()> {
        self.shared.common.behind.save().await
    }

    /// The names of the routers that are behind in any project.
    pub fn behind(&self) -> Vec<String> {
        let list = self.shared.list();
        let behind = list.iter().filter(|router| !router.behind().is_empty());
        behind.map(|router| router.name().to_owned()).collect()
    }

    /// Returns the projects of which routers serve different versions: the digest at each router by
    /// name, `None` where the project is not served. Routers that have not reported yet are left
    /// out.
    pub fn skew(&self) -> BTreeMap<String, BTreeMap<String, Option<String>>> {
        let mut skew: BTreeMap<String, BTreeMap<_, _>> = BTreeMap::new();
        let list = self.shared.list();
        let reporting: Vec<_> = list.iter().filter(|router| router.state().is_pulled()).collect();
        for status in reporting.iter().flat_map(|router| router.statuses()) {
            skew.entry(status.name).or_default();
        }
        for (project, routers) in &mut skew {
            routers.extend(reporting.iter().map(|router| {
                let live = router.state().get(project).and_then(|status| status.live.clone());
                (router.name().to_owned(), live.map(|live| live.digest))
            }));
        }
        skew.retain(|_, routers| {
            let mut digests = routers.values();
            let first = digests.next();
            digests.any(|digest| Some(digest) != first)
        });
        skew
    }
}

impl Shared {
    fn list(&self) -> Arc<[Arc<Router>]> {
        self.list.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_list(&self, routers: Vec<Arc<Router>>) {
        // Projects that only a leaving router has are included.
        let mut projects: BTreeSet<_> = self.common.behind.projects().into_iter().collect();
        let before = self.list();
        for router in before.iter().chain(&routers) {
            projects.extend(router.state().all().map(|status| status.name.clone()));
        }
        *self.list.write().unwrap_or_else(PoisonError::into_inner) = routers.into();
        projects.iter().for_each(|project| self.make_routes(project));
        self.common.notify();
        self.common.changes.send(Change::Routers);
        self.common.changes.projects(projects);
    }

    /// Applies an event that is of this router.
    fn apply_event(&self, router: &Router, event: &Event) {
        self.common.changes.event(event);
        if router.change(|state| state.is_of(&event.data.router) && state.event(event)) {
            let projects = BTreeSet::from([event.data.project.clone()]);
            self.apply(StateChange { projects, ..StateChange::default() });
        }
    }

    /// Updates the consequences of a router's report, and then notifies subscribers. The work grows
    /// with the projects that have changed and the number of routers, not with all projects.
    fn apply(&self, changed: StateChange) {
        let StateChange { mut projects, others, .. } = changed;
        if others {
            projects.extend(self.common.behind.projects());
        } else if projects.is_empty() {
            return;
        }
        for project in &projects {
            self.settle(project);
            self.make_routes(project);
        }
        self.common.notify();
        self.common.changes.projects(projects);
    }

    /// Finds out which of the routers that are behind in a project have caught up.
    fn settle(&self, project: &str) {
        let behind = self.common.behind.routers(project);
        if behind.is_empty() {
            return;
        }
        let list = self.list();
        let is_behind = |router: &&Arc<Router>| behind.iter().any(|name| name == router.name());
        let (late, others): (Vec<_>, Vec<_>) = list.iter().partition(is_behind);
        let current: Vec<_> = others.iter().map(|router| router.state().serves_surely(project)).collect();
        for router in late {
            let serves = router.state().serves(project);
            self.common.behind.settle(router.name(), project, serves, &current);
        }
    }

    /// Makes the table's entry of one project from its claims at all routers, each with the best
    /// right that any router gives to it; removes the entry when no router has the project. A
    /// project in which a router is behind has an entry also before any router has reported it,
    /// since the routers that have it must be reporting apart from those that do not.
    fn make_routes(&self, name: &str) {
        // A folder may be called as no project can be.
        let Ok(project) = ProjectName::parse(name) else { return };
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        self.made.fetch_add(1, Relaxed);
        let mut is_known = self.common.behind.is_any(name);
        let mut claims: BTreeMap<Route, Claim> = BTreeMap::new();
        for router in self.list().iter() {
            let state = router.state();
            let Some(status) = state.get(name) else { continue };
            is_known = true;
            for claim in &status.claims {
                let merged = claims.entry(claim.route.clone()).or_insert_with(|| claim.clone());
                merged.since = merged.since.min(claim.since);
                merged.assigned |= claim.assigned;
            }
        }
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if is_known {
            let claims: Vec<_> = claims.into_values().collect();
            table.insert(project.clone(), project, &claims);
        } else {
            table.remove(&project);
        }
    }
}
