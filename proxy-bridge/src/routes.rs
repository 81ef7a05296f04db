//! Which project a request is for: by its host, by a path prefix that a project claims, or by the
//! first segment of its path. One rule for the routers and for whoever forwards to them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::PathAndQuery;

use crate::project::ProjectName;

/// One more way to a project than its name. Its text is as in `switchyard.routes` and in
/// [`crate::admin::Status::routes`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Route {
    /// A whole host name, lower case, without a port.
    Host(String),
    /// A path prefix: begins with `/`, does not end with it.
    Prefix(String),
}

/// A text that is no route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no route: write a host (\"www.example.com\") or a prefix (\"/shop\")")]
pub struct InvalidRoute(String);

impl FromStr for Route {
    type Err = InvalidRoute;

    fn from_str(text: &str) -> Result<Self, InvalidRoute> {
        let invalid = || InvalidRoute(text.to_owned());
        if let Some(rest) = text.strip_prefix('/') {
            let rest = rest.trim_end_matches('/');
            return if rest.is_empty() { Err(invalid()) } else { Ok(Self::Prefix(format!("/{rest}"))) };
        }
        let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'.';
        if text.is_empty() || !text.bytes().all(plain) {
            return Err(invalid());
        }
        Ok(Self::Host(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Host(text) | Self::Prefix(text)) = self;
        f.write_str(text)
    }
}

/// The projects that are known, each with what is held of it, and the ways to them. Of two projects
/// that claim the same route, the first by name has it.
#[derive(Debug, Clone)]
pub struct Routes<T> {
    projects: HashMap<ProjectName, T>,
    /// The routes of each project that claims any.
    claimed: HashMap<ProjectName, Vec<Route>>,
    hosts: HashMap<String, BTreeSet<ProjectName>>,
    prefixes: HashMap<String, BTreeSet<ProjectName>>,
    /// The lengths of all prefixes, and how many have each.
    lengths: BTreeMap<usize, usize>,
}

impl<T> Default for Routes<T> {
    fn default() -> Self {
        Self {
            projects: HashMap::new(),
            claimed: HashMap::new(),
            hosts: HashMap::new(),
            prefixes: HashMap::new(),
            lengths: BTreeMap::new(),
        }
    }
}

impl<T> Routes<T> {
    /// `routes` gives the routes that a project claims.
    pub fn new(projects: HashMap<ProjectName, T>, routes: impl Fn(&T) -> &[Route]) -> Self {
        let mut all = Self::default();
        for (name, project) in projects {
            let claims = routes(&project).to_vec();
            all.put(name, project, claims);
        }
        all
    }

    /// Puts a project, with the routes that it claims, in the place of what was known of it. The
    /// cost does not grow with the number of other projects.
    pub fn put(&mut self, name: ProjectName, project: T, routes: Vec<Route>) {
        self.unclaim(&name);
        for route in &routes {
            self.claim(route, &name);
        }
        if !routes.is_empty() {
            self.claimed.insert(name.clone(), routes);
        }
        self.projects.insert(name, project);
    }

    /// Takes a project out, and its routes with it.
    pub fn remove(&mut self, name: &ProjectName) {
        self.unclaim(name);
        self.projects.remove(name);
    }

    fn claim(&mut self, route: &Route, name: &ProjectName) {
        match route {
            Route::Host(host) => {
                self.hosts.entry(host.clone()).or_default().insert(name.clone());
            }
            Route::Prefix(prefix) => {
                let names = self.prefixes.entry(prefix.clone()).or_default();
                if names.is_empty() {
                    *self.lengths.entry(prefix.len()).or_default() += 1;
                }
                names.insert(name.clone());
            }
        }
    }

    fn unclaim(&mut self, name: &ProjectName) {
        for route in self.claimed.remove(name).unwrap_or_default() {
            match route {
                Route::Host(host) => {
                    leave(&mut self.hosts, &host, name);
                }
                Route::Prefix(prefix) => {
                    if leave(&mut self.prefixes, &prefix, name)
                        && let Some(count) = self.lengths.get_mut(&prefix.len())
                    {
                        *count -= 1;
                        if *count == 0 {
                            self.lengths.remove(&prefix.len());
                        }
                    }
                }
            }
        }
    }

    pub fn get(&self, project: &str) -> Option<&T> {
        self.projects.get(project)
    }

    /// All projects, by name.
    pub fn projects(&self) -> &HashMap<ProjectName, T> {
        &self.projects
    }

    /// The project that a request is for, and the path prefix that is taken off before it is handed
    /// on (empty when the host named the project). `host` and `path` are as
    /// [`target::canonical`](crate::target::canonical) gives them.
    pub fn find<'p>(&self, host: &str, path: &'p str) -> Option<(&T, &'p str)> {
        let by_host = || {
            let label = host.split('.').next().unwrap_or(host);
            let name = first(&self.hosts, host).map_or(label, ProjectName::as_str);
            Some((self.projects.get(name)?, ""))
        };
        let by_prefix = || {
            let longest = self.lengths.range(..=path.len()).rev().map(|(length, _)| *length);
            longest
                .filter_map(|length| prefix(path, length))
                .find_map(|prefix| Some((self.projects.get(first(&self.prefixes, prefix)?)?, prefix)))
        };
        let by_segment = || {
            let name = path.strip_prefix('/')?.split('/').next()?;
            Some((self.projects.get(name)?, &path[..=name.len()]))
        };
        by_host().or_else(by_prefix).or_else(by_segment)
    }
}

/// The project that has a route.
fn first<'r>(claims: &'r HashMap<String, BTreeSet<ProjectName>>, route: &str) -> Option<&'r ProjectName> {
    claims.get(route)?.first()
}

/// Takes a claim back. Returns whether it was there and the last one of the route.
fn leave(claims: &mut HashMap<String, BTreeSet<ProjectName>>, route: &str, name: &ProjectName) -> bool {
    let Some(names) = claims.get_mut(route) else { return false };
    let left = names.remove(name) && names.is_empty();
    if left {
        claims.remove(route);
    }
    left
}

/// The first `length` bytes of the path, when whole segments end there.
fn prefix(path: &str, length: usize) -> Option<&str> {
    let (prefix, rest) = path.split_at_checked(length)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(prefix)
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
