//! The project that a request is for, by one rule for the routers and for the bridge that forwards
//! to them.
//!
//! Routing is a boundary between projects: no project gets the requests of another one by claiming
//! its host or its path. A request is looked up by its host, and by its path if the host belongs to
//! no project. In both steps, the first of these rules that applies decides:
//!
//! 1. **The operator's policy.** A host that the policy assigns belongs to that project alone, with
//!    all its paths, even without a claim. An assigned prefix belongs to its project once the
//!    project claims it.
//! 2. **Names.** If the first label of the host is the label of a project ([`ProjectName::label`]),
//!    or the first segment of the path is its name, the request is for that project, and only the
//!    policy changes this. Of several projects with one label, the one that was known first has the
//!    host.
//! 3. **Claims**, in the order in which they were made ([`Claim::since`]). A claimed host includes
//!    all its paths. Below a claimed prefix, only an earlier claim of a longer prefix counts. A
//!    route that several projects have claimed at the same moment belongs to none of them: see
//!    [`Routes::conflicts`].
//!
//! IP addresses, labels of digits alone, `localhost` and `www` are not names of projects: these
//! hosts are shared, and lead to projects by path.

use std::borrow::Cow;
use std::sync::Arc;

use http::Uri;
use http::uri::PathAndQuery;
use jiff::Timestamp;
use rpds::{HashTrieMapSync, RedBlackTreeSetSync};

pub use self::assignments::{Assignments, Owner, Pattern};
use self::claimants::{Claimant, Claimants, TopClaim};
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

/// The known projects, each with a value, and the routes to them. A clone shares everything with
/// the original: it costs nothing, and changing one project is as fast among thousands as among a
/// few.
#[derive(Debug, Clone)]
pub struct Routes<T> {
    projects: HashTrieMapSync<ProjectName, Arc<RoutedProject<T>>>,
    labels: Labels,
    hosts: HashTrieMapSync<String, Claimants>,
    /// The claimed hosts in order: those with the same first label are neighbours.
    ordered: RedBlackTreeSetSync<String>,
    prefixes: Prefixes,
    assignments: Arc<Assignments>,
}

#[derive(Debug)]
struct RoutedProject<T> {
    value: T,
    claims: Box<[Claim]>,
}

/// The result of one step of the lookup.
#[derive(Debug)]
enum Resolution<'a, T> {
    /// A project, to which `length` bytes of the path lead. `known` is set if the project was found
    /// by its name.
    To { project: &'a ProjectName, known: Option<&'a RoutedProject<T>>, length: usize, by: Rule },
    /// Several projects have claimed the route at the same moment.
    Contested { one: &'a ProjectName, other: &'a ProjectName, since: Timestamp },
    /// The policy assigns the route to a project that is not known.
    Reserved,
    /// No rule applies.
    Open,
}

/// The rule that leads to a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Assignment,
    Name,
    Claim(Timestamp),
}

impl<'a, T> Resolution<'a, T> {
    fn claimed(top: TopClaim<'a>, length: usize) -> Self {
        let since = top.rank.since;
        match top.rival {
            Some(other) => Self::Contested { one: top.first, other, since },
            None => {
                let by = if top.rank.is_assigned() { Rule::Assignment } else { Rule::Claim(since) };
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
    /// Sets the policy's assignments. The claims in the table stay as they are: the caller inserts
    /// them anew.
    pub fn assign(&mut self, assignments: Arc<Assignments>) {
        self.assignments = assignments;
    }

    /// Inserts a project with its claims, or replaces it.
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
        self.projects.insert_mut(project, Arc::new(RoutedProject { value, claims: claims.into() }));
    }

    /// Removes a project and its claims, if it is known.
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

    /// Changes the claimants of a route.
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

    /// Returns the claims of a project. Empty if it is not known.
    pub fn claims(&self, project: &str) -> &[Claim] {
        self.projects.get(project).map(|known| &*known.claims).unwrap_or_default()
    }

    /// The values of all projects, in no particular order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.projects.values().map(|known| &known.value)
    }

    /// The number of projects.
    pub fn len(&self) -> usize {
        self.projects.size()
    }

    /// Returns true if no project is known.
    pub fn is_empty(&self) -> bool {
        self.projects.is_empty()
    }

    /// Returns the project that a request is for, and the path prefix that is removed before the
    /// request is passed on (empty if the host led to the project). `host` and `path` are in the
    /// form of [`target::canonical`](crate::target::canonical).
    pub fn find<'p>(&self, host: &str, path: &'p str) -> Option<(&T, &'p str)> {
        let resolution = match self.by_host(host) {
            Resolution::Open => self.by_path(path),
            resolution => resolution,
        };
        let Resolution::To { project, known, length, .. } = resolution else { return None };
        let value = known.map(|known| &known.value).or_else(|| self.get(project.as_str()))?;
        Some((value, &path[..length]))
    }

    fn by_host(&self, host: &str) -> Resolution<'_, T> {
        let named = label::of(host).and_then(|label| self.labelled(label));
        let top = self.hosts.get(host).and_then(Claimants::top);
        if let Some(top) = top.filter(|top| top.rank.is_assigned()) {
            return Resolution::claimed(top, 0);
        }
        let by = |by, (project, known)| Resolution::To { project, known: Some(known), length: 0, by };
        match self.assignments.host(host) {
            Some(Owner::Shared) => return Resolution::Open,
            Some(Owner::Project(owner)) => {
                let named = named.filter(|(named, _)| *named == owner);
                return named.map_or(Resolution::Reserved, |named| by(Rule::Assignment, named));
            }
            None => {}
        }
        let claimed = || top.map_or(Resolution::Open, |top| Resolution::claimed(top, 0));
        named.map_or_else(claimed, |named| by(Rule::Name, named))
    }

    fn by_path(&self, path: &str) -> Resolution<'_, T> {
        let best = self.prefixes.best(path);
        let claimed = || best.map_or(Resolution::Open, |best| Resolution::claimed(best.top, best.length));
        if best.is_some_and(|best| best.top.rank.is_assigned()) {
            return claimed();
        }
        let segment = path.strip_prefix('/').and_then(|path| path.split('/').next());
        match segment.and_then(|segment| self.name(segment)) {
            Some((project, known)) => {
                let length = 1 + project.as_str().len();
                Resolution::To { project, known: Some(known), length, by: Rule::Name }
            }
            None => claimed(),
        }
    }

    /// Looks up the requests of `route`.
    fn at(&self, route: &Route) -> Resolution<'_, T> {
        match route {
            Route::Host(host) => self.by_host(host),
            Route::Prefix(prefix) => self.by_path(prefix),
        }
    }

    /// Returns the project that has the hosts with this label.
    fn labelled(&self, label: &str) -> Option<(&ProjectName, &RoutedProject<T>)> {
        match self.labels.holder(label) {
            Some(holder) => self.name(holder.as_str()),
            None => self.name(label),
        }
    }

    /// Returns another project with the same label as `project`, which need not be known: the one
    /// that has the label, unless `project` itself has it.
    pub fn namesake(&self, project: &ProjectName) -> Option<&ProjectName> {
        let label = project.label();
        let others = self.labels.sharers(&label).iter().find(|other| *other != project);
        others.or_else(|| self.labelled(&label).map(|(name, _)| name).filter(|name| *name != project))
    }

    /// Returns the project with this name.
    fn name(&self, name: &str) -> Option<(&ProjectName, &RoutedProject<T>)> {
        self.projects.get_key_value(name).map(|(name, known)| (name, &**known))
    }
}

/// Returns the path and query behind `prefix`, in origin form: `/blog/x?y` behind `/blog` is
/// `/x?y`.
pub fn behind(uri: &Uri, prefix: &str) -> Option<Uri> {
    let whole = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let rest = &whole[prefix.len()..];
    let origin = if rest.starts_with('/') { Cow::Borrowed(rest) } else { Cow::Owned(format!("/{rest}")) };
    origin.parse().ok()
}

#[cfg(test)]
mod tests;
