//! What the bridge knows of each router, and how it speaks to one.
//!
//! Every router is followed by a task of its own: its events, its projects, whether it takes requests.
//! Two sources tell of the same: the stream of events that is followed and the events that are posted
//! ([`Routers::take`]); numbers tell which is newer, so either may be late, twice, or missing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::digest::Digest;
use crate::event::Event;
use crate::incarnation::Incarnation;
use crate::project::ProjectName;
use crate::routes::{Route, Routes};
use crate::verifier::Verified;
use lag::Lags;
use owner::Owner;
use router::Common;
use seen::Seen;
use state::Serves;

pub use address::{Dns, InvalidAddress, RouterAddress};
pub use calls::CallError;
pub(crate) use router::InFlight;
pub use router::Router;

mod address;
mod calls;
mod follow;
mod lag;
mod owner;
mod router;
mod seen;
mod state;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

/// Marks of routers that have gone are kept up to this many routers, for those that come back.
const MAX_LAGGING: usize = 1000;

/// Where routers are.
#[derive(Clone, Default)]
pub struct Settings {
    /// Those that were named one by one.
    pub fixed: Vec<RouterAddress>,
    /// Those that have a name in common.
    pub dns: Option<Dns>,
    /// What their admin listeners ask for: visible ASCII.
    pub admin_token: Option<String>,
}

/// All routers. Cheap to clone; all clones are the same. The task that follows the routers ends when the last
/// one is dropped.
#[derive(Debug, Clone)]
pub struct Routers {
    shared: Arc<Shared>,
    stop: Arc<watch::Sender<bool>>,
}

/// What became of an event that was posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It was new, or told of something that is known by now.
    Applied,
    /// It was taken before.
    Duplicate,
    /// No router of this id is followed. When it comes to be, it tells all that is so by then.
    UnknownRouter,
}

/// The ways to projects, over all routers.
pub(crate) type Table = Routes<Claim>;

/// A project that a router has told of, and the routes that one of them gives to it.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) project: ProjectName,
    routes: Vec<Route>,
}

/// What the tasks and the outside share.
#[derive(Debug)]
struct Shared {
    common: Arc<Common>,
    list: RwLock<Arc<[Arc<Router>]>>,
    table: RwLock<Arc<Table>>,
    /// Held while the table is made anew, so that an older one does not replace a newer.
    making: Mutex<()>,
    seen: Mutex<Seen>,
}

impl Routers {
    /// Starts to follow the routers, on the current tokio runtime. The caller owns the task: it ends after
    /// [`Routers::shutdown`], or when nothing of the `Routers` is left.
    ///
    /// # Errors
    /// The HTTP client cannot be made, as with an unreadable token.
    pub fn start(settings: Settings) -> anyhow::Result<(Self, JoinHandle<()>)> {
        let client = calls::client(settings.admin_token.as_deref())
            .context("make the HTTP client that asks routers")?;
        let (changed, stop) = (watch::Sender::new(0), watch::Sender::new(false));
        let shared = Arc::new(Shared {
            common: Arc::new(Common { client, lags: Lags::default(), changed }),
            list: RwLock::new(Arc::new([])),
            table: RwLock::default(),
            making: Mutex::default(),
            seen: Mutex::default(),
        });
        let owner = Owner::new(shared.clone(), settings.fixed, settings.dns);
        let task = tokio::spawn(owner.run(stop.subscribe()));
        Ok((Self { shared, stop: Arc::new(stop) }, task))
    }

    /// Has the task end.
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

    /// The ways to projects at this moment.
    pub(crate) fn table(&self) -> Arc<Table> {
        self.shared.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts up after every change of any router: one comes or goes, is ready or not, tells something
    /// else, has caught up.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.shared.common.changed.subscribe()
    }

    /// Applies an event that a router has posted.
    pub fn take(&self, verified: &Verified) -> Taken {
        let event = &verified.event;
        let list = self.shared.list();
        let Some(router) = list.iter().find(|router| router.state().is_of(&event.data.router)) else {
            tracing::debug!(router.id = event.data.router, "an event of a router that is not known");
            return Taken::UnknownRouter;
        };
        if !self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).note(&verified.id) {
            return Taken::Duplicate;
        }
        self.shared.heard(router, event);
        Taken::Applied
    }

    /// Marks a router that did not say that it has published a deploy which is over all the same: it gets no
    /// request of this project until it tells of another version than before. `published` is what
    /// the deploy made of it, `None` when it was removed.
    pub fn lag(&self, router: &Router, project: &ProjectName, published: Option<(&Digest, Incarnation)>) {
        let name = project.as_str();
        let published = published.map_or(Serves::Nothing, |(digest, incarnation)| {
            Serves::version(&digest.to_string(), incarnation)
        });
        let serves = router.state().serves(name);
        let list = self.shared.list();
        let others: Vec<_> = list.iter().map(|other| other.state().serves(name)).collect();
        let lags = &self.shared.common.lags;
        lags.mark(router.name(), name, published, serves, others);
        // It may have told of the deploy in between.
        lags.settle(router.name(), |project| router.state().serves(project));
        if lags.len() > MAX_LAGGING {
            lags.keep(|name| list.iter().any(|router| router.name() == name));
        }
        self.shared.make_table();
        self.shared.common.tell();
    }

    /// The names of the routers that lag in any project.
    pub fn lagging(&self) -> Vec<String> {
        let list = self.shared.list();
        let lagging = list.iter().filter(|router| !router.lagging().is_empty());
        lagging.map(|router| router.name().to_owned()).collect()
    }

    /// The projects of which routers serve different versions: which router (by name) serves which digest,
    /// `None` for nothing. Routers that have not told yet are left out.
    pub fn skew(&self) -> BTreeMap<String, BTreeMap<String, Option<String>>> {
        let mut skew: BTreeMap<String, BTreeMap<_, _>> = BTreeMap::new();
        let list = self.shared.list();
        let told: Vec<_> = list.iter().filter(|router| router.state().is_pulled()).collect();
        for status in told.iter().flat_map(|router| router.statuses()) {
            skew.entry(status.name).or_default();
        }
        for (project, routers) in &mut skew {
            routers.extend(told.iter().map(|router| {
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
        *self.list.write().unwrap_or_else(PoisonError::into_inner) = routers.into();
        self.make_table();
        self.common.tell();
    }

    /// Applies an event that is of this router.
    fn heard(&self, router: &Router, event: &Event) {
        if router.change(|state| state.is_of(&event.data.router) && state.event(event)) {
            self.told(router);
        }
    }

    /// Draws the conclusions from what `router` has told: they are drawn when anybody is told of it.
    fn told(&self, router: &Router) {
        self.common.lags.settle(router.name(), |project| router.state().serves(project));
        self.make_table();
        self.common.tell();
    }

    /// Projects that a router lags in are in the table also before anybody has told of them: those that have them
    /// and those that do not are to be told apart.
    fn make_table(&self) {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let mut claims: HashMap<ProjectName, Claim> = HashMap::new();
        let mut claim = |name: &str, routes: &[String]| {
            // A folder may be called as no project can be.
            let Ok(project) = ProjectName::parse(name) else { return };
            let claim = claims.entry(project.clone()).or_insert(Claim { project, routes: Vec::new() });
            claim.routes.extend(routes.iter().filter_map(|route| route.parse::<Route>().ok()));
        };
        for router in self.list().iter() {
            for status in router.state().all() {
                claim(&status.name, &status.routes);
            }
        }
        for project in self.common.lags.projects() {
            claim(&project, &[]);
        }
        let table = Table::new(claims, |claim| &claim.routes);
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }
}
