//! The slow steps of an attempt, each a future that the control flow owns: read, build, restore,
//! drain.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use switchyard_contract::digest::Digest;
use switchyard_contract::event::{Diagnostic, Trigger};
use switchyard_contract::incarnation::{Incarnation, Incarnations};
use switchyard_contract::platform::Platform;
use switchyard_contract::project::ProjectName;
use switchyard_protocol::assets::{self, Assets};
use switchyard_protocol::{InstallRequest, PlatformApi};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, sleep_until};

use super::machine::Found;
use super::readers::{Readers, Reading, Turn, Unread};
use crate::cells::{Cell, Cells, Order, StartError};
use crate::checkout::{Checkout, CheckoutError, HashCache, Interruption, ReadBounds, SnapshotError, Store};
use crate::health;
use crate::live::{LiveSite, Running};
use crate::packages::{self, DependencyKey, InstallSpec, Specifiers};
use crate::policy::{PermissionRequest, Policy, ReadLimit, ReadLimits};
use crate::project::{
    ClaimedRoutes, Function, Healthcheck, Installed, Manifest, Prefix, Progress, Role, Upkeep, diagnostic,
    settle,
};
use crate::root::Root;
use crate::token::TokenVerifier;
use crate::version::{Tenant, Version};

/// A build that takes longer makes room: for another project's, and for its own project's next
/// version when that is waiting. Only what hangs takes so long.
const YIELD_AFTER: Duration = Duration::from_secs(1);

/// How often a checkout is tried of a project that changes while it is copied.
const MAX_COPIES: u32 = 5;

/// Between two attempts to make a process when the machine has none to give.
const NO_PROCESS_PAUSE: Duration = Duration::from_millis(200);

/// What is needed to serve a version.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) order: Order,
    pub(super) routes: ClaimedRoutes,
    pub(super) prefix: Prefix,
    /// Verifies the tokens of its requests.
    pub(super) verifier: Option<Arc<TokenVerifier>>,
    /// What the folder of functions that it lies in says of it.
    pub(super) function: Option<Function>,
    pub(super) upkeep: Upkeep,
    pub(super) asked: Arc<PermissionRequest>,
    /// The packages on the volume that it was made with; `None` when it is one of an earlier run.
    pub(super) installed: Option<Installed>,
    /// Its files that are served without a cell.
    pub(super) site: Option<Arc<LiveSite>>,
    /// It has files alone, and no cell.
    pub(super) is_static: bool,
}

/// What the folder that a project lies in says of it as one of Supabase's functions.
struct Said {
    now: Option<Function>,
    /// Of the live version.
    before: Option<Function>,
}

impl Plan {
    /// # Errors
    /// Tokens are to be verified, and the policy gives no secret.
    fn new(
        version: Version,
        checkout: Checkout,
        manifest: Manifest,
        said: Said,
        policy: &Policy,
        store: &Store,
    ) -> Result<Self, Diagnostic> {
        let grant = Arc::new(policy.grant(&version.project, &manifest.asked));
        let Manifest {
            entry,
            routes,
            prefix,
            asked,
            include,
            upkeep,
            platform,
            function,
            import_map,
            port,
            worker,
            assets,
        } = manifest;
        let before = said.before.and_then(|function| function.verify_jwt);
        let verifies = function.map(|function| function.verify_jwt);
        let verifier =
            verifies.map(|verifies| TokenVerifier::of(&version.project, verifies, before, &grant.env));
        let verifier = verifier.transpose()?.flatten().map(Arc::new);
        let is_static = platform == Platform::Static;
        let site = assets.map(|assets| Arc::new(site(assets, is_static, &checkout, store)));
        let api = match worker.filter(|_| platform == Platform::Workers) {
            Some(worker) => PlatformApi::Workers(Box::new(worker)),
            None => platform.into(),
        };
        let order = Order { version, checkout, entry, include, grant, api, port, import_map };
        let asked = Arc::new(asked);
        Ok(Self {
            order,
            routes,
            prefix,
            verifier,
            function: said.now,
            upkeep,
            asked,
            installed: None,
            site,
            is_static,
        })
    }

    /// How many cells it has.
    pub(super) fn cells(&self) -> usize {
        if self.is_static { 0 } else { self.order.grant.cells }
    }

    /// The health check that the cells have to pass: not one that a file answers.
    fn healthcheck(&self) -> Option<&Healthcheck> {
        let healthcheck = self.upkeep.healthcheck.as_ref()?;
        let found = self.site.as_ref().map(|site| site.find(healthcheck.path.path()));
        (!matches!(found, Some(assets::AssetMatch::File(_)))).then_some(healthcheck)
    }

    /// Has it be given what `policy` says. Returns whether that is not what it was.
    pub(super) fn renew(&mut self, policy: &Policy) -> bool {
        let grant = policy.grant(&self.order.version.project, &self.asked);
        let differs = grant != *self.order.grant;
        if differs {
            self.order.grant = Arc::new(grant);
        }
        differs
    }

    /// Whether a cell could tell what it would be given by `policy` from what it is given.
    pub(super) fn is_outdated(&self, policy: &Policy) -> bool {
        !policy.grant(&self.order.version.project, &self.asked).is_alike(&self.order.grant)
    }
}

/// The last good version of an earlier run.
pub(super) struct Restored {
    pub(super) version: Version,
    /// What the folder of functions said of it then.
    pub(super) function: Option<Function>,
}

fn site(mut assets: Assets, is_all: bool, checkout: &Checkout, store: &Store) -> LiveSite {
    let contents = store.contents(checkout);
    settle(&mut assets, &checkout.dir, contents.keys().map(String::as_str));
    LiveSite::new(assets, is_all, contents, checkout.clone())
}

/// What reading a project gave.
pub(super) struct Read {
    pub(super) found: Found,
    /// For a version that is to be built: how to serve it, or why it cannot be.
    pub(super) plan: Option<Result<Plan, Diagnostic>>,
    /// The digest of its own files, when the version has included ones too.
    pub(super) own: Option<Digest>,
    pub(super) installed: Installed,
    pub(super) cache: HashCache,
    /// The reading took too long: another one may succeed although nothing has changed.
    pub(super) is_late: bool,
    /// The limits that it had.
    pub(super) limits: ReadLimits,
    /// A handle to this reading, for the next one to check.
    pub(super) reading: Reading,
    pub(super) took: Duration,
}

impl Read {
    fn new(found: Found, plan: Option<Result<Plan, Diagnostic>>) -> Self {
        Self {
            found,
            plan,
            own: None,
            installed: Installed::default(),
            cache: HashCache::default(),
            is_late: false,
            limits: ReadLimits::NONE,
            reading: Reading::default(),
            took: Duration::ZERO,
        }
    }
}

/// What to read.
pub(super) struct Place {
    pub(super) project: ProjectName,
    pub(super) root: Root,
    pub(super) live: Option<Version>,
    /// The project's incarnation at the last look.
    pub(super) incarnation: Option<Incarnation>,
    /// The packages that it was made with.
    pub(super) live_with: Option<Installed>,
    /// What the folder of functions said of it.
    pub(super) live_function: Option<Function>,
    /// Whether that would be given something else now.
    pub(super) outdated: bool,
    pub(super) policy: Arc<Policy>,
    /// What failed before, and the packages that it failed with; not worth another attempt while
    /// both are the same. `None` when somebody asks for one.
    pub(super) failed: Option<(Version, Installed)>,
    pub(super) trigger: Trigger,
    /// Whether a deploy has it, which waits for a version of what it has put there.
    pub(super) is_deployed: bool,
}

impl Place {
    /// The owner of the files that are there now.
    fn tenant(&self) -> Result<Tenant, Diagnostic> {
        let read = incarnation(&self.root, &self.project, self.incarnation);
        read.map(|incarnation| Tenant::new(&self.project, incarnation))
    }

    /// Whether the live version was made with other packages than these.
    fn has_others(&self, installed: Installed) -> bool {
        self.live_with.is_some_and(|with| with != installed)
    }

    /// Whether packages may be half installed. The watch waits until they are complete, and whoever asks for a reload
    /// knows it; other looks come at any time.
    fn may_be_half(&self, installed: Installed) -> bool {
        let at_any_time = matches!(self.trigger, Trigger::Scan | Trigger::Policy);
        at_any_time && installed.progress != Progress::Complete
    }
}

/// One project's reading.
pub(super) struct Job {
    pub(super) store: Arc<Store>,
    pub(super) place: Place,
    pub(super) cache: HashCache,
}

/// Tells the scan at start of projects that it does not wait for any longer.
#[derive(Debug, Clone)]
pub(super) struct Unawaited {
    pub(super) projects: mpsc::Sender<ProjectName>,
    /// How long it waits for what is slow.
    pub(super) patience: Duration,
}

impl Unawaited {
    /// Tells of `project` when its time is over; never ends.
    async fn tell(&self, project: &ProjectName) {
        sleep(self.patience).await;
        // Whoever listens may have gone.
        let _ = self.projects.send(project.clone()).await;
        std::future::pending::<()>().await;
    }
}

/// Reads a project and, when it is new, makes its checkout.
pub(super) async fn read(readers: Readers, job: Job, mut reading: Reading, unawaited: Unawaited) -> Read {
    let began = Instant::now();
    let project = job.place.project.clone();
    let limits = job.place.policy.reads(&project);
    let time = limits.time;
    let is_slow = Notify::new();
    let takes_long = async {
        is_slow.notified().await;
        unawaited.tell(&project).await;
    };
    let (job, read) = tokio::select! {
        read = readers.read(&mut reading, time, job, read_blocking, || is_slow.notify_one()) => read,
        () = takes_long => unreachable!("it never ends"),
    };
    let read = read.unwrap_or_else(|unread| unread_for(&unread, time));
    let cache = job.map(|job| job.cache).unwrap_or_default();
    Read { took: began.elapsed(), cache, limits, reading, ..read }
}

fn unread_for(unread: &Unread, time: Duration) -> Read {
    let millis = time.as_millis();
    let message = match unread {
        Unread::Late => {
            format!("its files could not be read within {millis} ms: {}", ReadLimit::Time.fix())
        }
        Unread::Stuck => format!(
            "reading its files has not come back after {millis} ms (--read-timeout): see why the file system that they \
             are on does not answer"
        ),
        Unread::Failed(panic) => format!("the router failed to read the project: {panic}"),
    };
    let is_late = !matches!(unread, Unread::Failed(_));
    Read { is_late, ..Read::new(Found::Invalid(diagnostic(message)), None) }
}

fn read_blocking(job: &mut Job, turn: &Turn) -> Result<Read, Interruption> {
    let Job { store, place, cache } = job;
    let (limits, pace) = (place.policy.reads(&place.project), |bytes| turn.count(bytes));
    for _ in 0..MAX_COPIES {
        let tenant = match place.tenant() {
            Ok(tenant) => tenant,
            Err(error) => return Ok(Read::new(Found::Invalid(error), None)),
        };
        let before = place.live_function.as_ref();
        let function = match Role::of(place.root.path(), place.project.as_str(), before) {
            Ok(Role::LeftOut(why)) if place.is_deployed && !place.root.is_gone(place.project.as_str()) => {
                let error = diagnostic(format!("{} is left out: {why}. Do not deploy it", place.project));
                return Ok(Read::new(Found::Invalid(error), None));
            }
            Ok(Role::LeftOut(why)) => {
                tracing::info!(project.name = %place.project, "{} is left out: {why}", place.project);
                return Ok(Read::new(Found::Gone, None));
            }
            Ok(role) => role.function(),
            Err(error) => return Ok(Read::new(Found::Invalid(error), None)),
        };
        let bounds = ReadBounds { limits, pace: &pace };
        let snapshot = match store.snapshot(&place.root.project(place.project.as_str()), bounds, cache) {
            Ok(snapshot) => snapshot,
            Err(SnapshotError::Gone) if place.root.is_gone(place.project.as_str()) => {
                return Ok(Read::new(Found::Gone, None));
            }
            Err(SnapshotError::Gone) => return Ok(Read::new(Found::Unknown, None)),
            Err(SnapshotError::Invalid(error)) => return Ok(Read::new(Found::Invalid(error), None)),
            Err(SnapshotError::Interrupted) => return Err(Interruption),
        };
        // Files that were put here by a deploy after a removal are not those of the incarnation
        // before it.
        if place.tenant().ok().as_ref() != Some(&tenant) {
            continue;
        }
        let installed = Installed::of(snapshot.packages());
        let read = |found, plan| Ok(Read { own: snapshot.own_digest, installed, ..Read::new(found, plan) });
        let version = Version::new(&tenant, snapshot.digest);
        let is_live = place.live.as_ref() == Some(&version);
        let has_failed =
            place.failed.as_ref().is_some_and(|(failed, with)| *failed == version && *with == installed);
        let has_others = is_live && place.has_others(installed);
        if has_others && !place.outdated && place.may_be_half(installed) {
            return read(Found::Unknown, None);
        }
        let is_another = is_live && place.live_function != function;
        let is_outdated = is_live && (place.outdated || has_others || is_another);
        let found = match is_outdated {
            true => Found::Outdated(version.clone()),
            false => Found::Version(version.clone()),
        };
        if is_live && !is_outdated {
            store.update_times(&version, &snapshot);
            return read(found, None);
        }
        if has_failed {
            return read(found, None);
        }
        match store.make(&version, &snapshot, place.live.as_ref(), &pace) {
            Ok(checkout) => {
                let said = Said { now: function.clone(), before: place.live_function.clone() };
                let plan = Manifest::read(&checkout.dir, &place.project, function)
                    .and_then(|manifest| Plan::new(version, checkout, manifest, said, &place.policy, store))
                    .map(|plan| Plan { installed: Some(installed), ..plan });
                return read(found, Some(plan));
            }
            Err(CheckoutError::Moved) => {}
            Err(CheckoutError::Interrupted) => return Err(Interruption),
            Err(CheckoutError::Invalid(error)) => return read(Found::Invalid(error), None),
            Err(CheckoutError::Failed(error)) => {
                let error = diagnostic(format!("no checkout could be made: {error:#}"));
                return read(Found::Invalid(error), None);
            }
        }
    }
    let error = "the files change faster than they can be copied: keep what is written all the time outside the project";
    Ok(Read::new(Found::Invalid(diagnostic(error)), None))
}

/// The current incarnation of `project`; without a word on the volume, the one that is `known`.
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

fn key(order: &Order) -> std::io::Result<DependencyKey> {
    let version = order.version.digest.short();
    DependencyKey::of(&order.checkout.dir, order.root(), &version)
}

fn specifiers(order: &Order) -> Specifiers {
    Specifiers::search(order.root(), &order.checkout.dir, &order.entry.path)
}

/// Returns `true` if the version names something that is not on the volume, as far as that can be told from
/// outside.
fn needs_more(order: &Order, specifiers: &Specifiers) -> bool {
    let dir = &order.checkout.dir;
    let found = order.checkout.node_modules();
    let has_packages = found.cover_entry(&order.entry.path) || found.others.contains_key("../node_modules");
    let needs_packages = || {
        specifiers.have_npm()
            || packages::has_dependencies(dir)
            || specifiers.have_any(&packages::dev_dependencies(dir))
    };
    specifiers.have_modules() || (!has_packages && needs_packages())
}

/// What the process that fetches packages is asked for.
fn installation(order: &Order) -> InstallRequest {
    let Order { checkout, entry, grant, import_map, .. } = order;
    let node_modules = checkout.node_modules();
    InstallRequest {
        checkout: checkout.dir.clone(),
        root: order.root().to_owned(),
        node_modules: node_modules.own,
        other_node_modules: node_modules.others,
        entry: entry.path.clone(),
        import_map: import_map.clone(),
        folder: PathBuf::new(),
        downloads: None,
        lock: None,
        env: grant.env.clone(),
        private_net: grant.permissions.private_net.clone(),
        authorities: None,
        as_workers: matches!(order.api, PlatformApi::Workers(_)),
        identity: None,
    }
}

/// Why a build gave no cell.
#[derive(Debug)]
pub(super) enum BuildError {
    Failed(Diagnostic),
    /// The machine had no process to give: nothing is known of the version.
    NoProcess(Diagnostic),
    Superseded,
}

/// What builds need.
#[derive(Debug, Clone)]
pub(super) struct Builder {
    pub(super) root: Root,
    pub(super) cells: Arc<Cells>,
    pub(super) store: Arc<Store>,
    pub(super) packages: Arc<packages::Packages>,
    /// As many builds at once as there are cores.
    pub(super) permits: Arc<Semaphore>,
    pub(super) patience: Duration,
    pub(super) readers: Readers,
    /// Told of projects whose packages take long.
    pub(super) unawaited: Unawaited,
}

impl Builder {
    /// Starts a new version in as many cells as it is to have, and has each prove that it is well. `newer` tells that the
    /// project has changed again.
    pub(super) async fn build(&self, plan: &Plan, newer: &Notify) -> Result<Vec<Arc<Cell>>, BuildError> {
        match plan.healthcheck() {
            Some(healthcheck) if plan.is_static => Err(BuildError::Failed(health::no_file(healthcheck))),
            healthcheck => self.run(&plan.order, healthcheck, plan.cells(), newer).await,
        }
    }

    /// Starts a version that was live before in so many cells.
    pub(super) async fn restart(
        &self,
        plan: &Plan,
        cells: usize,
        newer: &Notify,
    ) -> Result<Vec<Arc<Cell>>, BuildError> {
        self.run(&plan.order, None, cells, newer).await
    }

    async fn run(
        &self,
        order: &Order,
        healthcheck: Option<&Healthcheck>,
        cells: usize,
        newer: &Notify,
    ) -> Result<Vec<Arc<Cell>>, BuildError> {
        if cells == 0 {
            return Ok(Vec::new());
        }
        let permit = tokio::select! {
            // What can begin at once does, though something newer waits: it may be the same code.
            biased;
            permit = self.permits.clone().acquire_owned() => permit,
            () = newer.notified() => return Err(BuildError::Superseded),
        };
        let slow = tokio::time::Instant::now() + YIELD_AFTER;
        let superseded = async {
            newer.notified().await;
            sleep_until(slow).await;
        };
        let make_room = async {
            sleep_until(slow).await;
            drop(permit);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            started = self.start(order, healthcheck, cells) => started,
            () = superseded => Err(BuildError::Superseded),
            () = make_room => unreachable!("it never ends"),
        }
    }

    /// Starts the version's cells, with what they need fetched first if that may be.
    async fn start(
        &self,
        order: &Order,
        healthcheck: Option<&Healthcheck>,
        cells: usize,
    ) -> Result<Vec<Arc<Cell>>, BuildError> {
        let may_install = self.packages.may_install();
        let has_packages = self.find_packages(order).await?;
        if may_install && !has_packages {
            self.install(order).await?;
        }
        match self.start_cells(order, healthcheck, cells).await? {
            Ok(cells) => Ok(cells),
            Err(_) if may_install && has_packages => {
                self.install(order).await?;
                self.start_cells(order, healthcheck, cells).await?.map_err(BuildError::Failed)
            }
            Err(missing) if may_install => Err(BuildError::Failed(missing)),
            Err(missing) => {
                let message = format!("{}; a router with --allow-install fetches it", missing.message);
                Err(BuildError::Failed(Diagnostic { message, ..missing }))
            }
        }
    }

    /// Whether the version has what its package.json names, as far as that can be told from outside: on the volume, or in
    /// what was fetched for it or another version before.
    async fn find_packages(&self, order: &Order) -> Result<bool, BuildError> {
        let packages = Arc::clone(&self.packages);
        let order = order.clone();
        let found = spawn_blocking(move || {
            let Order { version, checkout, .. } = &order;
            if checkout.packages().is_some() || checkout.is_complete() {
                return Ok(true);
            }
            // Where nothing is fetched, what is there is used as it is.
            let may_install = packages.may_install();
            let specifiers = if may_install { specifiers(&order) } else { Specifiers::default() };
            let attach = |folder: &_| checkout.attach(folder);
            if packages.reuse(&version.tenant(), &key(&order)?, &specifiers, attach)? {
                return Ok(true);
            }
            let is_complete = !needs_more(&order, &specifiers);
            if is_complete && may_install {
                checkout.set_complete();
            }
            Ok(is_complete)
        });
        let found = found.await.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
        found.map_err(|error| {
            BuildError::Failed(diagnostic(format!("what was fetched for it cannot be used: {error}")))
        })
    }

    /// Fetches what the version needs.
    async fn install(&self, order: &Order) -> Result<(), BuildError> {
        let Order { version, checkout, .. } = order;
        let own = order.clone();
        let asked = spawn_blocking(move || Ok((installation(&own), key(&own)?, specifiers(&own)))).await;
        let (install, key, specifiers) =
            asked.unwrap_or_else(|panic| Err(std::io::Error::other(panic))).map_err(|error| {
                BuildError::Failed(diagnostic(format!("its packages are not known: {error}")))
            })?;
        let checkout = checkout.clone();
        let order = InstallSpec { tenant: version.tenant(), install, key, specifiers };
        tokio::select! {
            installed = self.packages.install(order, move |folder| checkout.attach(folder)) => {
                installed.map_err(BuildError::Failed)
            }
            () = self.unawaited.tell(&version.project) => unreachable!("it never ends"),
        }
    }

    /// Gives the cells, or what they could not do without.
    async fn start_cells(
        &self,
        order: &Order,
        healthcheck: Option<&Healthcheck>,
        cells: usize,
    ) -> Result<Result<Vec<Arc<Cell>>, Diagnostic>, BuildError> {
        let started = try_join_all((0..cells).map(|_| self.start_cell(order, healthcheck))).await?;
        Ok(started.into_iter().collect())
    }

    async fn start_cell(
        &self,
        order: &Order,
        healthcheck: Option<&Healthcheck>,
    ) -> Result<Result<Arc<Cell>, Diagnostic>, BuildError> {
        let began = Instant::now();
        loop {
            let asked = Instant::now();
            match self.cells.start(order, self.patience).await {
                Ok(cell) => {
                    let Some(healthcheck) = healthcheck else { return Ok(Ok(cell)) };
                    let left = self.patience.saturating_sub(asked.elapsed());
                    let (socket, takes_urls) = (cell.socket(), cell.takes_urls());
                    let project = &order.version.project;
                    let checked = health::check(socket, takes_urls, project, healthcheck, left);
                    // One that is not well ends with this, its last handle.
                    return checked.await.map(|()| Ok(cell)).map_err(BuildError::Failed);
                }
                Err(StartError::Missing(diagnostic)) => return Ok(Err(diagnostic)),
                Err(StartError::Failed(diagnostic)) => return Err(BuildError::Failed(diagnostic)),
                Err(StartError::TimedOut(patience)) => return Err(BuildError::Failed(timed_out(patience))),
                Err(StartError::NoProcess(error)) if began.elapsed() < self.patience => {
                    tracing::warn!(project.name = %order.version.project, "no process yet: {error:#}");
                    sleep(NO_PROCESS_PAUSE).await;
                }
                Err(StartError::NoProcess(error)) => {
                    let told = diagnostic(format!("the router could not make a process: {error:#}"));
                    return Err(BuildError::NoProcess(told));
                }
            }
        }
    }

    /// Finds the checkout of an earlier run's last good version.
    pub(super) async fn find(&self, last_good: Restored, policy: Arc<Policy>) -> Option<Plan> {
        let time = policy.reads(&last_good.version.project).time;
        let wanted = (self.store.clone(), self.root.clone(), last_good, policy);
        let find = |wanted: &mut (Arc<Store>, Root, Restored, Arc<Policy>), turn: &Turn| {
            let (store, root, last_good, policy) = wanted;
            let found = find_blocking(store, root, last_good, policy, turn);
            turn.count(0)?;
            Ok(found)
        };
        let (_, found) = self.readers.read(&mut Reading::default(), time, wanted, find, || ()).await;
        found.ok().flatten()
    }
}

fn find_blocking(
    store: &Store,
    root: &Root,
    last_good: &Restored,
    policy: &Policy,
    turn: &Turn,
) -> Option<Plan> {
    let Restored { version, function } = last_good;
    let current = incarnation(root, &version.project, Some(version.incarnation)).ok()?;
    if current != version.incarnation {
        return None;
    }
    let checkout = store.find(version, &|bytes| turn.count(bytes))?;
    let manifest = Manifest::read(&checkout.dir, &version.project, function.clone()).ok()?;
    let said = Said { now: function.clone(), before: None };
    Plan::new(version.clone(), checkout, manifest, said, policy, store).ok()
}

fn timed_out(patience: Duration) -> Diagnostic {
    diagnostic(format!(
        "did not serve within {} ms (--build-timeout): its top level never comes to an end (an await that never \
         settles, an endless loop), or it has no handler: export default {{ fetch }}, call Deno.serve, or let a node:http server listen",
        patience.as_millis()
    ))
}

/// Waits for the answers with files of `site`, at most `grace`. Those that take longer are not cut
/// off: nothing is left of the version but its files.
pub(super) async fn drain_site(site: Arc<LiveSite>, grace: Duration) {
    site.in_flight.close();
    site.in_flight.drained(grace).await;
}

/// Waits for the requests in `running`, at most `grace`, then ends its cell, whose handlers of SIGTERM
/// have the rest of `goodbye`. Returns how many requests were cut off.
pub(super) async fn drain(running: Arc<Running>, grace: Duration, goodbye: Duration) -> usize {
    let began = Instant::now();
    running.in_flight.close();
    let left = running.in_flight.drained(grace).await;
    running.cell.retire(goodbye.saturating_sub(began.elapsed())).await;
    left
}
