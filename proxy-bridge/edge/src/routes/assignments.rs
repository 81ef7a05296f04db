//! The hosts and prefixes that the operator's policy assigns to projects.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::str::FromStr;

use switchyard_contract::project::ProjectName;
use switchyard_contract::route::{InvalidRoute, Route};

/// A set of routes in a policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// One host, or one prefix with everything below it.
    One(Route),
    /// All hosts below this one, written `*.example.com`.
    Below(String),
}

/// The owner of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// One project. No other project gets requests by the route.
    Project(ProjectName),
    /// All projects: requests to the host find their projects by path.
    Shared,
}

/// All assignments of a policy. A route belongs to the owner of the most specific pattern.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assignments {
    hosts: HashMap<String, Owner>,
    below: HashMap<String, Owner>,
    prefixes: HashMap<String, Owner>,
}

impl FromStr for Pattern {
    type Err = InvalidRoute;

    fn from_str(text: &str) -> Result<Self, InvalidRoute> {
        let Some(host) = text.strip_prefix("*.") else { return text.parse().map(Self::One) };
        match host.parse() {
            Ok(Route::Host(host)) => Ok(Self::Below(host)),
            _ => Err(InvalidRoute::Neither(text.to_owned())),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(route) => route.fmt(f),
            Self::Below(host) => write!(f, "*.{host}"),
        }
    }
}

impl Assignments {
    /// Assigns the routes of `pattern` to `owner`.
    ///
    /// # Errors
    /// The pattern is assigned to another owner, which is returned.
    pub fn assign(&mut self, pattern: Pattern, owner: Owner) -> Result<(), Owner> {
        let (map, key) = match pattern {
            Pattern::One(Route::Host(host)) => (&mut self.hosts, host),
            Pattern::Below(host) => (&mut self.below, host),
            Pattern::One(Route::Prefix(prefix)) => (&mut self.prefixes, prefix),
        };
        match map.entry(key) {
            Entry::Occupied(entry) if *entry.get() != owner => Err(entry.get().clone()),
            Entry::Occupied(_) => Ok(()),
            Entry::Vacant(entry) => {
                entry.insert(owner);
                Ok(())
            }
        }
    }

    /// Returns the owner of a route. `None` if the policy does not assign it.
    pub fn owner(&self, route: &Route) -> Option<&Owner> {
        match route {
            Route::Host(host) => self.host(host),
            Route::Prefix(prefix) => self.prefix(prefix),
        }
    }

    /// Returns the owner of a host. Takes one step per label.
    pub(super) fn host(&self, host: &str) -> Option<&Owner> {
        if self.hosts.is_empty() && self.below.is_empty() {
            return None;
        }
        let above = std::iter::successors(host.split_once('.'), |(_, above)| above.split_once('.'));
        self.hosts.get(host).or_else(|| above.into_iter().find_map(|(_, above)| self.below.get(above)))
    }

    fn prefix(&self, prefix: &str) -> Option<&Owner> {
        let shorter = std::iter::successors(Some(prefix), |prefix| Some(&prefix[..prefix.rfind('/')?]));
        shorter.into_iter().find_map(|prefix| self.prefixes.get(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(patterns: &[(&str, &str)]) -> Assignments {
        let mut all = Assignments::default();
        for (pattern, project) in patterns {
            let owner = Owner::Project(ProjectName::parse(project).unwrap());
            all.assign(pattern.parse().unwrap(), owner).unwrap();
        }
        all
    }

    #[test]
    fn the_most_specific_pattern_decides_the_owner_of_a_route() {
        let all = assigned(&[
            ("*.example.com", "a"),
            ("*.eu.example.com", "b"),
            ("www.eu.example.com", "c"),
            ("/store", "d"),
            ("/store/eu", "e"),
        ]);
        let owner = |route: &str| match all.owner(&route.parse().unwrap()) {
            Some(Owner::Project(project)) => project.as_str().to_owned(),
            _ => String::new(),
        };
        for (route, project) in [
            ("www.example.com", "a"),
            ("x.y.example.com", "a"),
            ("x.eu.example.com", "b"),
            ("www.eu.example.com", "c"),
            ("eu.example.com", "a"),
            ("example.com", ""),
            ("notexample.com", ""),
            ("/store", "d"),
            ("/store/us", "d"),
            ("/store/eu/x", "e"),
            ("/stores", ""),
        ] {
            assert_eq!(owner(route), project, "{route}");
        }
    }

    #[test]
    fn a_pattern_has_one_owner() {
        let mut all = assigned(&[("*.example.com", "a")]);
        let [a, b] = ["a", "b"].map(|name| Owner::Project(ProjectName::parse(name).unwrap()));
        let pattern: Pattern = "*.Example.com".parse().unwrap();
        assert_eq!(pattern.to_string(), "*.example.com");
        assert_eq!(all.assign(pattern.clone(), b), Err(a.clone()));
        assert_eq!(all.assign(pattern, a), Ok(()));
        for wrong in ["*", "*.", "*./x", "*.*.a", "a.*", "*.127.0.0.1", "*.localhost"] {
            assert!(wrong.parse::<Pattern>().is_err(), "{wrong}");
        }
    }
}
