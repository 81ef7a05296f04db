//! Claims that do not lead to their project, and the projects in the way.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Claimants, Resolution, Route, Routes, Rule, label};
use switchyard_contract::project::ProjectName;

/// The project that keeps another one from a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rival {
    /// The project in the way.
    pub project: ProjectName,
    /// The right of the project to the route.
    pub reason: Reason,
}

/// The rival's right to a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The operator's policy assigns the route to the rival.
    Assigned,
    /// The route is the rival's by its name.
    Name,
    /// The rival claimed the route, or a shorter prefix, earlier: at this time.
    Claimed(Timestamp),
    /// The rival claimed the route at the same moment: neither gets the requests.
    Contested(Timestamp),
}

/// A claim that does not lead to its project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The claimed host or prefix.
    pub route: Route,
    /// The project that claims the route without effect.
    pub claimant: ProjectName,
    /// The project that is in the way.
    pub rival: Rival,
}

impl Conflict {
    /// Returns the project that gets the requests. `None` if no project does.
    pub fn holder(&self) -> Option<&ProjectName> {
        (!matches!(self.rival.reason, Reason::Contested(_))).then_some(&self.rival.project)
    }
}

impl<T> Routes<T> {
    /// Returns the project that gets the requests of `route` instead of `project`, which need not
    /// claim it. `None` if no other project does.
    pub fn rival(&self, project: &ProjectName, route: &Route) -> Option<Rival> {
        let rival = |project: &ProjectName, reason| Some(Rival { project: project.clone(), reason });
        match self.at(route) {
            Resolution::To { project: holder, .. } if holder == project => None,
            Resolution::To { project: holder, by, .. } => rival(
                holder,
                match by {
                    Rule::Assignment => Reason::Assigned,
                    Rule::Name => Reason::Name,
                    Rule::Claim(since) => Reason::Claimed(since),
                },
            ),
            Resolution::Contested { one, other, since } => {
                rival(if one == project { other } else { one }, Reason::Contested(since))
            }
            // The policy decides, which knows more about the route than the table.
            Resolution::Reserved | Resolution::Open => None,
        }
    }

    /// Returns the conflicts of a project, on either side. At most `limit` of them.
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

    /// Returns the projects with conflicts that may change when this one changes, appears or
    /// disappears.
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

    /// Returns true if `project` keeps another project from `route`. Of all projects that have
    /// claimed it at the same moment, only two do.
    pub(super) fn is_in_the_way(&self, project: &ProjectName, route: &Route) -> bool {
        match self.at(route) {
            Resolution::To { project: holder, .. } => holder == project,
            Resolution::Contested { one, other, .. } => one == project || other == project,
            Resolution::Reserved | Resolution::Open => false,
        }
    }

    /// Returns the claims at and below the routes that a project has by its name, and at and below
    /// those that it claims. `is_wanted` filters routes, because each may have as many claims as
    /// there are projects.
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

    /// Returns the claimed hosts with this first label.
    fn hosts_of(&self, label: &str) -> impl Iterator<Item = Route> {
        // The range from dot to slash, which no host has, holds all hosts with the label and more
        // labels behind it.
        let (from, to) = (format!("{label}."), format!("{label}/"));
        let below = self.ordered.range::<String, _>(from..to).cloned();
        let alone = self.ordered.get(label).cloned();
        alone.into_iter().chain(below.collect::<Vec<_>>()).map(Route::Host)
    }

    /// Returns a route and the prefixes below it, each with its claimants.
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
