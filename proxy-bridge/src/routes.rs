//! Which project a request is for: by its host, by a path prefix that a project claims, or by the
//! first segment of its path. One rule for the routers and for whoever forwards to them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::Uri;
use http::uri::PathAndQuery;
use rpds::{HashTrieMapSync, RedBlackTreeSetSync};

use self::prefixes::Prefixes;
use crate::project::ProjectName;

mod prefixes;

/// Segments of a prefix that a project claims: each is a level of a tree.
const MAX_SEGMENTS: usize = 32;

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
#[error(
    "invalid route {0:?}: expected a host (\"www.example.com\") or a prefix (\"/shop\") of at most \
     {MAX_SEGMENTS} segments"
)]
pub struct InvalidRoute(String);

impl FromStr for Route {
    type Err = InvalidRoute;

    fn from_str(text: &str) -> Result<Self, InvalidRoute> {
        let invalid = || InvalidRoute(text.to_owned());
        if let Some(rest) = text.strip_prefix('/') {
            let rest = rest.trim_end_matches('/');
            let is_prefix = !rest.is_empty() && rest.split('/').count() <= MAX_SEGMENTS;
            return if is_prefix { Ok(Self::Prefix(format!("/{rest}"))) } else { Err(invalid()) };
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

/// The projects that are known, each with what is held of it, and the ways to them. A clone shares all with the original: it
/// costs nothing, and a change of one project no more among thousands than among a few.
#[derive(Debug, Clone)]
pub struct Routes<T> {
    projects: HashTrieMapSync<ProjectName, Arc<Known<T>>>,
    hosts: HashTrieMapSync<String, Claimants>,
    prefixes: Prefixes,
}

#[derive(Debug)]
struct Known<T> {
    value: T,
    routes: Box<[Route]>,
}

/// The projects that claim a route. The first by name has it.
type Claimants = RedBlackTreeSetSync<ProjectName>;

impl<T> Default for Routes<T> {
    fn default() -> Self {
        Self {
            projects: HashTrieMapSync::new_sync(),
            hosts: HashTrieMapSync::new_sync(),
            prefixes: Prefixes::default(),
        }
    }
}

impl<T> Routes<T> {
    /// `routes` gives the routes that a project claims. Of two that claim the same one, the first by
    /// name has it.
    pub fn new(
        projects: impl IntoIterator<Item = (ProjectName, T)>,
        routes: impl Fn(&T) -> &[Route],
    ) -> Self {
        let mut all = Self::default();
        for (name, project) in projects {
            let routes = routes(&project).to_vec();
            all.insert(name, project, &routes);
        }
        all
    }

    /// Puts a project in the place of what is known of it.
    pub fn insert(&mut self, project: ProjectName, value: T, routes: &[Route]) {
        let before = self.projects.get(&project).cloned();
        let had = before.as_ref().map_or(&[][..], |known| &known.routes);
        if had != routes {
            had.iter().for_each(|route| self.claim(route, |claimants| _ = claimants.remove_mut(&project)));
            for route in routes {
                self.claim(route, |claimants| claimants.insert_mut(project.clone()));
            }
        }
        self.projects.insert_mut(project, Arc::new(Known { value, routes: routes.into() }));
    }

    /// Takes out a project and its claims, if it is known.
    pub fn remove(&mut self, project: &ProjectName) {
        let Some(known) = self.projects.get(project).cloned() else { return };
        self.projects.remove_mut(project);
        for route in &known.routes {
            self.claim(route, |claimants| _ = claimants.remove_mut(project));
        }
    }

    /// Changes who claims a route.
    fn claim(&mut self, route: &Route, change: impl FnOnce(&mut Claimants)) {
        match route {
            Route::Prefix(prefix) => self.prefixes.change(prefix, change),
            Route::Host(host) => {
                let mut claimants = self.hosts.get(host).cloned().unwrap_or_else(Claimants::new_sync);
                change(&mut claimants);
                if claimants.is_empty() {
                    self.hosts.remove_mut(host);
                } else {
                    self.hosts.insert_mut(host.clone(), claimants);
                }
            }
        }
    }

    pub fn get(&self, project: &str) -> Option<&T> {
        self.projects.get(project).map(|known| &known.value)
    }

    /// All projects, in no order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.projects.values().map(|known| &known.value)
    }

    /// How many projects there are.
    pub fn len(&self) -> usize {
        self.projects.size()
    }

    /// Whether no project is known.
    pub fn is_empty(&self) -> bool {
        self.projects.is_empty()
    }

    /// The project that a request is for, and the path prefix that is taken off before it is handed
    /// on (empty when the host named the project). `host` and `path` are as
    /// [`target::canonical`](crate::target::canonical) gives them.
    pub fn find<'p>(&self, host: &str, path: &'p str) -> Option<(&T, &'p str)> {
        let by_host = || {
            let label = host.split('.').next().unwrap_or(host);
            let name = self.hosts.get(host).and_then(Claimants::first).map_or(label, ProjectName::as_str);
            Some((self.get(name)?, ""))
        };
        let by_prefix = || {
            let (name, length) = self.prefixes.longest(path)?;
            Some((self.get(name.as_str())?, &path[..length]))
        };
        let by_segment = || {
            let name = path.strip_prefix('/')?.split('/').next()?;
            Some((self.get(name)?, &path[..=name.len()]))
        };
        by_host().or_else(by_prefix).or_else(by_segment)
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
