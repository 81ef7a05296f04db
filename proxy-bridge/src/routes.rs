//! Which project a request is for: by its host, by a path prefix that a project claims, or by the
//! first segment of its path. One rule for the routers and for whoever forwards to them.

use std::borrow::Cow;
use std::collections::HashMap;
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

/// The projects that are known, each with what is held of it, and the ways to them.
#[derive(Debug, Clone)]
pub struct Routes<T> {
    projects: HashMap<ProjectName, T>,
    hosts: HashMap<String, ProjectName>,
    /// The longest first.
    prefixes: Vec<(String, ProjectName)>,
}

impl<T> Default for Routes<T> {
    fn default() -> Self {
        Self { projects: HashMap::new(), hosts: HashMap::new(), prefixes: Vec::new() }
    }
}

impl<T> Routes<T> {
    /// `routes` gives the routes that a project claims. Of two that claim the same one, the first by
    /// name has it.
    pub fn new(projects: HashMap<ProjectName, T>, routes: impl Fn(&T) -> &[Route]) -> Self {
        let mut claims: Vec<_> = projects.iter().map(|(name, project)| (name, routes(project))).collect();
        claims.retain(|(_, routes)| !routes.is_empty());
        claims.sort_by(|(a, _), (b, _)| b.cmp(a));
        let mut hosts = HashMap::new();
        let mut prefixes = HashMap::new();
        for (name, routes) in claims {
            for route in routes {
                match route {
                    Route::Host(host) => hosts.insert(host.clone(), name.clone()),
                    Route::Prefix(prefix) => prefixes.insert(prefix.clone(), name.clone()),
                };
            }
        }
        let mut prefixes: Vec<_> = prefixes.into_iter().collect();
        prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Self { projects, hosts, prefixes }
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
            let name = self.hosts.get(host).map_or(label, ProjectName::as_str);
            Some((self.projects.get(name)?, ""))
        };
        let by_prefix = || {
            let (prefix, name) = self.prefixes.iter().find(|(prefix, _)| is_below(path, prefix))?;
            Some((self.projects.get(name)?, &path[..prefix.len()]))
        };
        let by_segment = || {
            let name = path.strip_prefix('/')?.split('/').next()?;
            Some((self.projects.get(name)?, &path[..=name.len()]))
        };
        by_host().or_else(by_prefix).or_else(by_segment)
    }
}

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
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
