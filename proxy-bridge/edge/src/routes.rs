//! The project that a request is for. One rule for the routers and for the bridge that forwards to
//! them.
//!
//! Routing is a boundary between projects: nobody gets the requests of another project by claiming
//! its host or its path. A request is looked up by its host, and by its path where the host belongs
//! to nobody. In both steps the first of these that applies has it:
//!
//! 1. **The operator's policy.** A host that the policy assigns belongs to that project alone, with
//!    all its paths and whether that claims it or not. An assigned prefix goes to its project once
//!    that claims it.
//! 2. **Names.** The first label of the host is the label of a project ([`ProjectName::label`]), or the first segment
//!    of the path its name: the request is for that one, and no claim without the policy's word changes it. Of several
//!    projects with one label the one that was known first has the host.
//! 3. **Claims**, in the order in which they were made ([`Claim::since`]). A claimed host has all its
//!    paths. Below a claimed prefix only an earlier claim of a longer one counts. What several
//!    projects have claimed at the same moment goes to none of them: see [`Routes::conflicts`].
//!
//! No project is named by the host of an IP address, by labels of digits alone, nor by `localhost`
//! and `www`: these hosts are everybody's, and lead to projects by path.

use std::borrow::Cow;
use std::sync::Arc;

use http::Uri;
use http::uri::PathAndQuery;
use jiff::Timestamp;
use rpds::{HashTrieMapSync, RedBlackTreeSetSync};

pub use self::assignments::{Assignments, Owner, Pattern};
use self::claimants::{Claimant, Claimants, Top};
pub use self::conflicts::{Conflict, Reason, Rival};
use self::labels::Labels;
use self::prefixes::Prefixes;
use switchyard_contract::project::ProjectName;
use switchyard_contract::route::{Claim, Route, label};

mod assignments;
mod claimants;
mod conflicts;
mod labels;
mod prefixes;

/// The projects that are known, each with the value that is held of it, and the ways to them. A clone
/// shares all with the original: it costs nothing, and a change of one project costs no more among
/// thousands than among a few.
#[derive(Debug, Clone)]
pub struct Routes<T> {
    projects: HashTrieMapSync<ProjectName, Arc<Known<T>>>,
    labels: Labels,
    hosts: HashTrieMapSync<String, Claimants>,
    /// The claimed hosts in order: those with the same first label are neighbours.
    ordered: RedBlackTreeSetSync<String>,
    prefixes: Prefixes,
    assignments: Arc<Assignments>,
}

#[derive(Debug)]
struct Known<T> {
    value: T,
    claims: Box<[Claim]>,
}

/// The result of one step of the lookup.
#[derive(Debug)]
enum Way<'a, T> {
    /// To a project; `length` bytes of the path led to it. `known` is there where it was looked up by its name.
    To { project: &'a ProjectName, known: Option<&'a Known<T>>, length: usize, by: By },
    /// Several projects have claimed it at the same moment.
    Contested { one: &'a ProjectName, other: &'a ProjectName, since: Timestamp },
    /// The policy assigns it to a project that is not asked for by it.
    Reserved,
    /// The step says nothing.
    Open,
}

/// The reason for which a request is a project's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Assignment,
    Name,
    Claim(Timestamp),
}

impl<'a, T> Way<'a, T> {
    fn claimed(top: Top<'a>, length: usize) -> Self {
        let since = top.rank.since;
        match top.rival {
            Some(other) => Self::Contested { one: top.first, other, since },
            None => {
                let by = if top.rank.is_assigned() { By::Assignment } else { By::Claim(since) };
                Self::To { project: top.first, known: None, length, by }
            }
        }
    }
}

impl<T> Default for Routes<T> {
    fn default() -> Self {
        Self {
            projects: HashTrieMapSync::new_sync(),
            labels: Labels::default(),
            hosts: HashTrieMapSync::new_sync(),
            ordered: RedBlackTreeSetSync::new_sync(),
            prefixes: Prefixes::default(),
            assignments: Arc::default(),
        }
    }
}

impl<T> Routes<T> {
    /// Has the policy's assignments hold from now on. The claims that are in the table stay as they
    /// are: whoever changes the assignments inserts those anew.
    pub fn assign(&mut self, assignments: Arc<Assignments>) {
        self.assignments = assignments;
    }

    /// Puts a project, with its claims, in the place of what is known of it.
    pub fn insert(&mut self, project: ProjectName, value: T, claims: &[Claim]) {
        let before = self.projects.get(&project).cloned();
        let had = before.as_ref().map_or(&[][..], |known| &known.claims);
        if had != claims {
            had.iter().for_each(|claim| self.unclaim(&project, claim));
            claims.iter().for_each(|claim| self.claim(&project, claim));
        }
        if before.is_none() {
            self.labels.insert(&project, |name| self.projects.get_key_value(name).map(|(name, _)| name));
        }
        self.projects.insert_mut(project, Arc::new(Known { value, claims: claims.into() }));
    }

    /// Takes out a project and its claims, if it is known.
    pub fn remove(&mut self, project: &ProjectName) {
        let Some(known) = self.projects.get(project).cloned() else { return };
        self.projects.remove_mut(project);
        self.labels.remove(project);
        known.claims.iter().for_each(|claim| self.unclaim(project, claim));
    }

    fn claim(&mut self, project: &ProjectName, claim: &Claim) {
        let claimant = Claimant::new(project, claim);
        self.change(&claim.route, |claimants| claimants.insert(claimant));
    }

    fn unclaim(&mut self, project: &ProjectName, claim: &Claim) {
        let claimant = Claimant::new(project, claim);
        self.change(&claim.route, |claimants| claimants.remove(&claimant));
    }

    /// Changes who claims a route.
    fn change(&mut self, route: &Route, change: impl FnOnce(&mut Claimants)) {
        match route {
            Route::Prefix(prefix) => self.prefixes.change(prefix, change),
            Route::Host(host) => {
                let mut claimants = self.hosts.get(host).cloned().unwrap_or_default();
                change(&mut claimants);
                if claimants.is_empty() {
                    self.hosts.remove_mut(host);
                    self.ordered.remove_mut(host);
                } else {
                    self.hosts.insert_mut(host.clone(), claimants);
                    self.ordered.insert_mut(host.clone());
                }
            }
        }
    }

    /// Returns the value that is held of a project.
    pub fn get(&self, project: &str) -> Option<&T> {
        self.projects.get(project).map(|known| &known.value)
    }

    /// Returns the claims of a project: none when it is not known.
    pub fn claims(&self, project: &str) -> &[Claim] {
        self.projects.get(project).map(|known| &*known.claims).unwrap_or_default()
    }

    /// All projects, in no order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.projects.values().map(|known| &known.value)
    }

    /// The number of projects.
    pub fn len(&self) -> usize {
        self.projects.size()
    }

    /// Returns `true` when no project is known.
    pub fn is_empty(&self) -> bool {
        self.projects.is_empty()
    }

    /// The project that a request is for, and the path prefix that is taken off before it is handed
    /// on (empty when the host named the project). `host` and `path` are as
    /// [`target::canonical`](crate::target::canonical) gives them.
    pub fn find<'p>(&self, host: &str, path: &'p str) -> Option<(&T, &'p str)> {
        let way = match self.by_host(host) {
            Way::Open => self.by_path(path),
            way => way,
        };
        let Way::To { project, known, length, .. } = way else { return None };
        let value = known.map(|known| &known.value).or_else(|| self.get(project.as_str()))?;
        Some((value, &path[..length]))
    }

    fn by_host(&self, host: &str) -> Way<'_, T> {
        let named = label::of(host).and_then(|label| self.labelled(label));
        let top = self.hosts.get(host).and_then(Claimants::top);
        if let Some(top) = top.filter(|top| top.rank.is_assigned()) {
            return Way::claimed(top, 0);
        }
        let by = |by, (project, known)| Way::To { project, known: Some(known), length: 0, by };
        match self.assignments.host(host) {
            Some(Owner::Shared) => return Way::Open,
            Some(Owner::Project(owner)) => {
                let named = named.filter(|(named, _)| *named == owner);
                return named.map_or(Way::Reserved, |named| by(By::Assignment, named));
            }
            None => {}
        }
        let claimed = || top.map_or(Way::Open, |top| Way::claimed(top, 0));
        named.map_or_else(claimed, |named| by(By::Name, named))
    }

    fn by_path(&self, path: &str) -> Way<'_, T> {
        let best = self.prefixes.best(path);
        let claimed = || best.map_or(Way::Open, |best| Way::claimed(best.top, best.length));
        if best.is_some_and(|best| best.top.rank.is_assigned()) {
            return claimed();
        }
        let segment = path.strip_prefix('/').and_then(|path| path.split('/').next());
        match segment.and_then(|segment| self.name(segment)) {
            Some((project, known)) => {
                let length = 1 + project.as_str().len();
                Way::To { project, known: Some(known), length, by: By::Name }
            }
            None => claimed(),
        }
    }

    /// The way to the requests that `route` stands for.
    fn at(&self, route: &Route) -> Way<'_, T> {
        match route {
            Route::Host(host) => self.by_host(host),
            Route::Prefix(prefix) => self.by_path(prefix),
        }
    }

    /// The project that has the hosts with this label.
    fn labelled(&self, label: &str) -> Option<(&ProjectName, &Known<T>)> {
        match self.labels.holder(label) {
            Some(holder) => self.name(holder.as_str()),
            None => self.name(label),
        }
    }

    /// Another project with the same label as `project`, known or not: the one that has the label, if that is not
    /// `project` itself.
    pub fn namesake(&self, project: &ProjectName) -> Option<&ProjectName> {
        let label = project.label();
        let others = self.labels.sharers(&label).iter().find(|other| *other != project);
        others.or_else(|| self.labelled(&label).map(|(name, _)| name).filter(|name| *name != project))
    }

    /// The project that is called so.
    fn name(&self, name: &str) -> Option<(&ProjectName, &Known<T>)> {
        self.projects.get_key_value(name).map(|(name, known)| (name, &**known))
    }
}

/// The path and query behind `prefix`, in origin form: `/blog/x?y` behind `/blog` is `/x?y`.
pub fn behind(uri: &Uri, prefix: &str) -> Option<Uri> {
    let whole = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let rest = &whole[prefix.len()..];
    let origin = if rest.starts_with('/') { Cow::Borrowed(rest) } else { Cow::Owned(format!("/{rest}")) };
    origin.parse().ok()
}

#[cfg(test)]
mod tests;
