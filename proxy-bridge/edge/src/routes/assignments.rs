//! The hosts and prefixes that the operator's policy gives to projects.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::str::FromStr;

use switchyard_contract::project::ProjectName;
use switchyard_contract::route::{InvalidRoute, Route};

/// A set of routes, as a policy names them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// One host, or one prefix with all that is below it.
    One(Route),
    /// `*.example.com`: all hosts below that one.
    Below(String),
}

/// The project to which a route is given, or all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// Nobody else gets requests by it.
    Project(ProjectName),
    /// A host by which requests find projects by their paths: no project has it for itself.
    Shared,
}

/// All that a policy gives: each route belongs to the owner of the most precise pattern.
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
    /// Gives what `pattern` stands for to `owner`.
    ///
    /// # Errors
    /// The same pattern is given to another owner, who keeps it.
    pub fn give(&mut self, pattern: Pattern, owner: Owner) -> Result<(), Owner> {
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

    /// The owner of a route; `None` when the policy gives it to nobody.
    pub fn owner(&self, route: &Route) -> Option<&Owner> {
        match route {
            Route::Host(host) => self.host(host),
            Route::Prefix(prefix) => self.prefix(prefix),
        }
    }

    /// The owner of a host. Takes as long as the host has labels.
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

    fn given(patterns: &[(&str, &str)]) -> Assignments {
        let mut all = Assignments::default();
        for (pattern, project) in patterns {
            let owner = Owner::Project(ProjectName::parse(project).unwrap());
            all.give(pattern.parse().unwrap(), owner).unwrap();
        }
        all
    }

    #[test]
    fn the_most_precise_pattern_says_whose_a_route_is() {
        let all = given(&[
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
        let mut all = given(&[("*.example.com", "a")]);
        let [a, b] = ["a", "b"].map(|name| Owner::Project(ProjectName::parse(name).unwrap()));
        let pattern: Pattern = "*.Example.com".parse().unwrap();
        assert_eq!(pattern.to_string(), "*.example.com");
        assert_eq!(all.give(pattern.clone(), b), Err(a.clone()));
        assert_eq!(all.give(pattern, a), Ok(()));
        for wrong in ["*", "*.", "*./x", "*.*.a", "a.*", "*.127.0.0.1", "*.localhost"] {
            assert!(wrong.parse::<Pattern>().is_err(), "{wrong}");
        }
    }
}
