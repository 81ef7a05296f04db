//! Removal of everything in the state folder that nothing needs any more: checkouts, fetched
//! packages, compiled modules, and the data of incarnations that have ended. Blocking steps, run
//! off the control flow's thread.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use switchyard_contract::incarnation::{DataFate, EndedIncarnation, Incarnation, Incarnations};
use switchyard_contract::project::ProjectName;
use tokio::task::spawn_blocking;

use super::record::{GoneProject, Record};
use crate::cells::Cells;
use crate::checkout::Store;
use crate::live::LogBuffer;
use crate::packages::Packages;
use crate::root::Root;
use crate::version::{Tenant, Version};

/// Time for which the versions of a project are kept whose folder vanished without a removal. A
/// folder that was deleted or renamed by mistake is missed within days.
const VANISHED_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Time that is added to the end of such a period: more than the clocks of two machines differ.
const CLOCK_MARGIN: SignedDuration = SignedDuration::from_hours(1);

/// Removes what nothing needs any more. Clones are cheap.
#[derive(Debug, Clone)]
pub(super) struct Pruner {
    pub(super) root: Root,
    pub(super) store: Arc<Store>,
    pub(super) packages: Arc<Packages>,
    pub(super) cells: Arc<Cells>,
    pub(super) logs: Arc<LogBuffer>,
    pub(super) record: Record,
}

/// The project to be pruned, with what the control flow knows of it.
#[derive(Debug)]
pub(super) struct PruneScope {
    pub(super) project: ProjectName,
    /// The number of checkouts that are kept besides those in use.
    pub(super) keep: usize,
    pub(super) used: Vec<Version>,
    /// `true`: its folder is gone.
    pub(super) is_gone: bool,
    /// The incarnations that were found in the state folder. Those that are current, ended or in
    /// use need not be named.
    pub(super) found: BTreeSet<Incarnation>,
}

impl Pruner {
    /// Prunes each of `scopes` in turn.
    pub(super) async fn run(self, scopes: Vec<PruneScope>) {
        // A panic in it is logged.
        let _ = spawn_blocking(move || scopes.iter().for_each(|scope| self.prune(scope))).await;
    }

    /// The projects with data in the state folder that no event may ever prune, because their
    /// folder is gone or they were removed before, each with the incarnations that were found.
    /// Empty while the projects root is missing or may still be filled: nothing is known to be gone
    /// then.
    pub(super) async fn leftovers(self) -> BTreeMap<ProjectName, BTreeSet<Incarnation>> {
        spawn_blocking(move || self.find_leftovers()).await.unwrap_or_default()
    }

    fn find_leftovers(&self) -> BTreeMap<ProjectName, BTreeSet<Incarnation>> {
        if !self.root.is_present() {
            return BTreeMap::new();
        }
        let checkouts = self.store.tenants();
        let known = self.record.projects().into_iter().map(|name| Tenant::new(&name, Incarnation::FIRST));
        let cells = &self.cells;
        let logs: BTreeSet<_> = self.logs.tenants().into_iter().collect();
        let others = [self.packages.tenants(), cells.caches().tenants(), cells.data().tenants(), logs];
        let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for tenant in checkouts.into_iter().chain(known).chain(others.into_iter().flatten()) {
            found.entry(tenant.project).or_default().insert(tenant.incarnation);
        }
        found.retain(|project, _| {
            self.root.is_gone(project.as_str()) || Incarnations::path(self.root.path(), project).exists()
        });
        found
    }

    fn prune(&self, scope: &PruneScope) {
        let record = match Incarnations::read(self.root.path(), &scope.project) {
            // While the root is missing it is not known which incarnations have ended.
            Ok(None) if !self.root.is_present() => return,
            Ok(record) => record,
            Err(error) => return tracing::warn!(project.name = %scope.project, "nothing is pruned: {error}"),
        };
        let gone = match scope.is_gone.then(|| self.record.gone(&scope.project)).transpose() {
            Ok(gone) => gone.flatten(),
            Err(error) => {
                return tracing::warn!(project.name = %scope.project, "nothing is pruned: {error:#}");
            }
        };
        // Without a file on the volume the incarnation stays the same.
        let known = scope.used.first().or(gone.as_ref().map(|gone| &gone.version));
        let record = record.unwrap_or_else(|| Incarnations {
            current: known.map(|version| version.incarnation).unwrap_or_default(),
            ..Incarnations::default()
        });
        let ended = record.ended.iter().map(|ended| ended.incarnation);
        let used = scope.used.iter().map(|version| version.incarnation);
        let all: BTreeSet<_> = ended.chain(used).chain([record.current]).collect();
        for incarnation in all.union(&scope.found) {
            let tenant = Tenant::new(&scope.project, *incarnation);
            let mut used = used_digits(&scope.used, *incarnation);
            let mut keep = 0;
            if *incarnation == record.current && !scope.is_gone {
                keep = scope.keep;
            } else if let Some(IncarnationEnd { version, until }) =
                end_of(*incarnation, &record, gone.as_ref())
                && !is_over(until)
            {
                // Checkouts other than the one of the version that was live.
                keep = scope.keep;
                used.extend(version);
            }
            let is_in_use = scope.used.iter().any(|version| version.incarnation == *incarnation);
            let is_served = is_in_use || (*incarnation == record.current && !scope.is_gone);
            self.prune_tenant(&tenant, keep, &used, is_served);
            if !is_served && keep == 0 {
                self.logs.forget(&tenant);
            }
            match record.end_of(*incarnation) {
                Some(ended) if !is_in_use => self.prune_data(&tenant, ended),
                Some(_) => {}
                None if *incarnation != record.current && scope.found.contains(incarnation) => {
                    self.report_unknown_data(&tenant);
                }
                None => {}
            }
        }
        let is_forgotten = |gone: &GoneProject| {
            let end = end_of(gone.version.incarnation, &record, Some(gone));
            record.removed || end.is_none_or(|end| is_over(end.until))
        };
        if gone.as_ref().is_some_and(is_forgotten) {
            self.record.remove(&scope.project);
        }
        // The live version comes first.
        if let Some(version) = scope.used.first().filter(|_| !scope.is_gone) {
            self.store.prepare(version);
        }
    }

    /// Removes all checkouts except the `keep` newest and those `used`, their packages, and
    /// compiled modules.
    fn prune_tenant(&self, tenant: &Tenant, keep: usize, used: &HashSet<String>, is_served: bool) {
        self.store.prune(tenant, keep, used);
        self.packages.prune(tenant, || self.store.packages(tenant));
        let caches = self.cells.caches();
        let pruned = if is_served { caches.prune(tenant) } else { caches.remove(tenant) };
        if let Err(error) = pruned {
            tracing::warn!("old compiled modules stay: {error:#}");
        }
    }

    /// Removes the data of an incarnation that has ended, if that was requested or its time is
    /// over.
    fn prune_data(&self, tenant: &Tenant, ended: &EndedIncarnation) {
        let is_due = ended.data == DataFate::Delete || is_over(ended.until);
        if is_due && self.cells.data().remove(tenant) {
            tracing::info!(
                project.name = %tenant.project,
                incarnation = %tenant.incarnation,
                "the data of {} as it was until {} is deleted",
                tenant.project,
                ended.at
            );
        }
    }

    /// Data is deleted only when the volume says so.
    fn report_unknown_data(&self, tenant: &Tenant) {
        let data = self.cells.data().of(tenant);
        if data.exists() {
            tracing::warn!(
                project.name = %tenant.project,
                "{} is kept: the volume does not name this incarnation of {} (any more); delete the folder if \
                 it is not needed",
                data.display(),
                tenant.project
            );
        }
    }
}

/// The digits after the `@` of a version's name, as in `blog@3f9a1c2b7d4e`.
fn digits(version: &str) -> Option<String> {
    version.split_once('@').map(|(_, digits)| digits.to_owned())
}

/// The digits of the `versions` that belong to `incarnation`.
fn used_digits(versions: &[Version], incarnation: Incarnation) -> HashSet<String> {
    let versions = versions.iter().filter(|version| version.incarnation == incarnation);
    versions.map(|version| version.digest.short()).collect()
}

/// The end of an incarnation.
struct IncarnationEnd {
    /// The digits of the version that was live then.
    version: Option<String>,
    /// The time until which its versions are kept.
    until: Timestamp,
}

/// The end of `incarnation`, by removal or because its folder vanished. `None`: it has not ended,
/// as far as is known.
fn end_of(
    incarnation: Incarnation,
    record: &Incarnations,
    gone: Option<&GoneProject>,
) -> Option<IncarnationEnd> {
    if let Some(ended) = record.end_of(incarnation) {
        let version = ended.version.as_deref().and_then(digits);
        return Some(IncarnationEnd { version, until: ended.until });
    }
    let gone = gone.filter(|gone| gone.version.incarnation == incarnation)?;
    let until = gone.since.saturating_add(VANISHED_KEPT).ok()?;
    Some(IncarnationEnd { version: Some(gone.version.digest.short()), until })
}

/// Returns true if the time until which something is kept has passed, by any machine's clock.
fn is_over(until: Timestamp) -> bool {
    Timestamp::now().duration_since(until) > CLOCK_MARGIN
}
