//! Claims that do not lead to the project that makes them, and the project that is in the way.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{By, Claimants, Route, Routes, Way, label};
use switchyard_contract::project::ProjectName;

/// The project that keeps another one from a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rival {
    /// The project in the way.
    pub project: ProjectName,
    /// Its right to the route.
    pub reason: Reason,
}

/// The reason why a route is not another project's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The operator's policy gives it to the rival.
    Assigned,
    /// It is the rival's by its name.
    Name,
    /// The rival has claimed it, or a shorter prefix, since then, which is earlier.
    Claimed(Timestamp),
    /// The rival has claimed it at the same moment: neither has it.
    Contested(Timestamp),
}

/// A claim that does not lead to its project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The claimed host or prefix.
    pub route: Route,
    /// The project that claims it and does not have it.
    pub claimant: ProjectName,
    /// The project that is in the way.
    pub rival: Rival,
}

impl Conflict {
    /// The project that gets the requests; `None` when nobody does.
    pub fn holder(&self) -> Option<&ProjectName> {
        (!matches!(self.rival.reason, Reason::Contested(_))).then_some(&self.rival.project)
    }
}

impl<T> Routes<T> {
    /// The project that keeps `project` from the requests of `route`, whether that claims it or not.
    /// `None` when nobody does.
    pub fn rival(&self, project: &ProjectName, route: &Route) -> Option<Rival> {
        let rival = |project: &ProjectName, reason| Some(Rival { project: project.clone(), reason });
        match self.at(route) {
            Way::To { project: holder, .. } if holder == project => None,
            Way::To { project: holder, by, .. } => rival(
                holder,
                match by {
                    By::Assignment => Reason::Assigned,
                    By::Name => Reason::Name,
                    By::Claim(since) => Reason::Claimed(since),
                },
            ),
            Way::Contested { one, other, since } => {
                rival(if one == project { other } else { one }, Reason::Contested(since))
            }
            // The policy says more of it than the table.
            Way::Reserved | Way::Open => None,
        }
    }

    /// The conflicts that a project is a part of, on either side; at most `limit` of them.
    pub fn conflicts(&self, project: &ProjectName, limit: usize) -> Vec<Conflict> {
        let own = self.claims(project.as_str()).iter().map(|claim| (claim.route.clone(), project.clone()));
        let others = self.near(project, |route| self.is_in_the_way(project, route));
        let others = others.filter(|(_, claimant)| claimant != project);
        let conflicts = own.chain(others).filter_map(|(route, claimant)| {
            let rival = self.rival(&claimant, &route)?;
            let concerns = claimant == *project || rival.project == *project;
            concerns.then_some(Conflict { route, claimant, rival })
        });
        let mut seen = BTreeSet::new();
        let first = |conflict: &Conflict| seen.insert((conflict.route.clone(), conflict.claimant.clone()));
        conflicts.filter(first).take(limit).collect()
    }

    /// The projects whose conflicts may be others when this one is changed, or comes or goes.
    pub fn neighbours(&self, project: &ProjectName) -> BTreeSet<ProjectName> {
        let mut all: BTreeSet<_> = self.near(project, |_| true).map(|(_, claimant)| claimant).collect();
        for claim in self.claims(project.as_str()) {
            let named = match &claim.route {
                Route::Host(host) => label::of(host).and_then(|label| self.labelled(label)),
                Route::Prefix(prefix) => {
                    all.extend(self.prefixes.above(prefix).cloned());
                    prefix.split('/').nth(1).and_then(|name| self.name(name))
                }
            };
            all.extend(named.map(|(name, _)| name.clone()));
        }
        all
    }

    /// Whether `project` keeps anybody else from `route`. Of the projects that have claimed it at the same moment two do,
    /// however many these are.
    pub(super) fn is_in_the_way(&self, project: &ProjectName, route: &Route) -> bool {
        match self.at(route) {
            Way::To { project: holder, .. } => holder == project,
            Way::Contested { one, other, .. } => one == project || other == project,
            Way::Reserved | Way::Open => false,
        }
    }

    /// The claims of the routes at and below what a project has by its name, and at and below what it claims, as far as
    /// `is_wanted` says so: of one route there may be as many as there are projects.
    pub(super) fn near<'a>(
        &'a self,
        project: &'a ProjectName,
        is_wanted: impl Fn(&Route) -> bool + 'a,
    ) -> impl Iterator<Item = (Route, ProjectName)> {
        let name = project.as_str();
        let claims = self.claims(name).iter().map(|claim| claim.route.clone());
        let label = project.label();
        let own: Vec<_> = label::of(&label).into_iter().flat_map(|label| self.hosts_of(label)).collect();
        let own = own.into_iter().chain([Route::Prefix(format!("/{name}"))]);
        let routes = own.chain(claims).flat_map(|route| self.within(route));
        let wanted = routes.filter(move |(route, _)| is_wanted(route));
        wanted.flat_map(|(route, claimants)| {
            claimants.projects().map(move |project| (route.clone(), project.clone()))
        })
    }

    /// The claimed hosts whose first label this is.
    fn hosts_of(&self, label: &str) -> impl Iterator<Item = Route> {
        // What is behind a dot is before what is behind a slash, which no host has.
        let (from, to) = (format!("{label}."), format!("{label}/"));
        let below = self.ordered.range::<String, _>(from..to).cloned();
        let alone = self.ordered.get(label).cloned();
        alone.into_iter().chain(below.collect::<Vec<_>>()).map(Route::Host)
    }

    /// A route and the prefixes below it, each with the projects that claim it.
    fn within(&self, route: Route) -> Vec<(Route, &Claimants)> {
        match route {
            Route::Host(host) => {
                let claimants = self.hosts.get(&host);
                claimants.map(|claimants| (Route::Host(host), claimants)).into_iter().collect()
            }
            Route::Prefix(prefix) => {
                let within = self.prefixes.within(&prefix);
                within.map(|(prefix, claimants)| (Route::Prefix(prefix), claimants)).collect()
            }
        }
    }
}
