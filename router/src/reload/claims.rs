//! The routes that a project claims, the times since which it claims them, and those that the
//! operator's policy refuses.

use std::sync::Arc;

use jiff::Timestamp;
use switchyard_contract::event::RouteConflict;
use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::project::ProjectName;
use switchyard_contract::route::{Claim, Route};
use switchyard_edge::routes::{Conflict, Owner, Reason, Rival};

use super::record::{ClaimTimes, LastGood};
use crate::policy::{ClaimVerdict, Policy};
use crate::version::Version;

/// The claims of a project's live version.
#[derive(Debug, Default)]
pub(super) struct ClaimSet {
    /// The incarnation of the live version. `None`: nothing was live yet.
    incarnation: Option<Incarnation>,
    since: ClaimTimes,
    /// `true`: an earlier router has recorded a version without the times of its claims. They are
    /// older than all that this router sees.
    is_oldest: bool,
    allowed: Arc<[Claim]>,
    refused: Vec<RefusedClaim>,
}

/// A claim that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RefusedClaim {
    pub(super) route: Route,
    /// The project that holds the route.
    pub(super) rival: Option<ProjectName>,
    /// The reason, with what can be done.
    pub(super) why: String,
}

impl ClaimSet {
    /// The claims as an earlier router has recorded them.
    pub(super) fn from_record(last_good: &LastGood) -> Self {
        Self {
            incarnation: Some(last_good.version.incarnation),
            since: last_good.claims.clone().unwrap_or_default(),
            is_oldest: last_good.claims.is_none(),
            ..Self::default()
        }
    }

    /// Replaces the routes with those of a version that becomes live `now`. Routes that were
    /// claimed before keep their times.
    pub(super) fn publish(&mut self, version: &Version, routes: &[Route], now: Timestamp) {
        if self.incarnation.is_some_and(|incarnation| incarnation != version.incarnation) {
            *self = Self::default();
        }
        let first = if self.is_oldest { Timestamp::UNIX_EPOCH } else { now };
        let since = |route: &Route| (route.clone(), self.since.get(route).copied().unwrap_or(first));
        self.since = routes.iter().map(since).collect();
        (self.incarnation, self.is_oldest) = (Some(version.incarnation), false);
    }

    /// Returns all claims.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Applies `policy`. Returns true if the granted claims are not the same as before.
    pub(super) fn apply(&mut self, project: &ProjectName, policy: &Policy) -> bool {
        let mut allowed = Vec::new();
        self.refused.clear();
        for (route, since) in &self.since {
            let assigned = match policy.judge(project, route) {
                ClaimVerdict::Assigned => true,
                ClaimVerdict::Open => false,
                ClaimVerdict::Refused(owner) => {
                    self.refused.push(RefusedClaim::by_policy(project, route, owner));
                    continue;
                }
            };
            allowed.push(Claim { route: route.clone(), since: *since, assigned });
        }
        let is_same = *self.allowed == *allowed;
        self.allowed = allowed.into();
        !is_same
    }

    /// The granted claims.
    pub(super) fn allowed(&self) -> &Arc<[Claim]> {
        &self.allowed
    }

    /// The claims that the policy refuses.
    pub(super) fn refused(&self) -> &[RefusedClaim] {
        &self.refused
    }

    pub(super) fn since(&self) -> &ClaimTimes {
        &self.since
    }

    /// Returns true if a version of the project was live, in this run or an earlier one.
    pub(super) fn was_live(&self) -> bool {
        self.incarnation.is_some()
    }

    /// Returns true if the project has claimed this route before, in this incarnation.
    pub(super) fn has(&self, route: &Route, incarnation: Option<Incarnation>) -> bool {
        self.since.contains_key(route) && self.incarnation == incarnation
    }
}

impl RefusedClaim {
    /// The refusal by the policy. Without an owner, the project may claim no such route.
    pub(super) fn by_policy(project: &ProjectName, route: &Route, owner: Option<Owner>) -> Self {
        let text = route.to_string();
        let (rival, why) = match owner {
            Some(Owner::Project(owner)) => {
                let why = format!(
                    "the operator's policy gives {text:?} to the project {owner}; claim another one, or \
                     change \"routes\" of [projects.{owner}] in the policy"
                );
                (Some(owner), why)
            }
            Some(Owner::Shared) => {
                let why = format!(
                    "{text:?} is a shared host (shared_hosts in the operator's policy), by which requests find \
                     projects by path; claim another one"
                );
                (None, why)
            }
            None => {
                let why = format!(
                    "the operator's policy does not give {text:?} to {project}; claim another one, or add it to \
                     \"routes\" of [projects.{project}] in the policy"
                );
                (None, why)
            }
        };
        Self { route: route.clone(), rival, why }
    }

    /// The refusal of a claim that comes after the right of `rival`.
    pub(super) fn by(project: &ProjectName, route: &Route, rival: &Rival) -> Self {
        let why = reason_text(project, route, rival);
        Self { route: route.clone(), rival: Some(rival.project.clone()), why }
    }

    /// The refusal of a project whose host label belongs to another project too.
    pub(super) fn by_label(project: &ProjectName, other: &ProjectName) -> Self {
        let label = project.label().into_owned();
        let why = format!(
            "{project} and {other} have the same host label, {label:?} (a name in lower case, with - for _): rename the \
             folder of one of them"
        );
        Self { route: Route::Host(label), rival: Some(other.clone()), why }
    }

    /// The conflict as the admin listener shows it; `claimant` is one side of it.
    pub(super) fn conflict(&self, claimant: &ProjectName) -> RouteConflict {
        let rival = self.rival.as_ref().map(ToString::to_string);
        RouteConflict {
            route: self.route.to_string(),
            claimant: claimant.to_string(),
            holder: rival.clone(),
            rival,
            message: self.why.clone(),
        }
    }
}

/// A conflict of the table, as the admin listener shows it.
pub(super) fn describe(conflict: &Conflict) -> RouteConflict {
    let Conflict { route, claimant, rival } = conflict;
    RouteConflict {
        route: route.to_string(),
        claimant: claimant.to_string(),
        rival: Some(rival.project.to_string()),
        holder: conflict.holder().map(ToString::to_string),
        message: reason_text(claimant, route, rival),
    }
}

/// The reason why `claimant` does not have `route`, with what can be done.
fn reason_text(claimant: &ProjectName, route: &Route, Rival { project, reason }: &Rival) -> String {
    let route = route.to_string();
    let reason = match reason {
        Reason::Assigned => format!("the operator's policy gives {route:?} to the project {project}"),
        Reason::Name => format!("{route:?} belongs to the project {project} by its name"),
        Reason::Claimed(since) => {
            format!("the project {project} has claimed {route:?}, or a prefix of it, since {since:.0}")
        }
        Reason::Contested(_) => format!(
            "the project {project} claims {route:?} too, or a prefix of it, and this router cannot determine which claim \
             was first: neither has it"
        ),
    };
    format!(
        "{reason}; {claimant} can claim another one, or the operator can give it to {claimant} (\"routes\" of \
         [projects.{claimant}] in the policy)"
    )
}

#[cfg(test)]
mod tests {
    use switchyard_contract::digest::Digest;

    use super::*;
    use crate::policy::{ReadLimits, RequestLimits};
    use crate::version::Tenant;

    fn version(incarnation: Incarnation) -> Version {
        let tenant = Tenant::new(&ProjectName::parse("a").unwrap(), incarnation);
        Version::new(&tenant, Digest::of_files([("main.ts", [1; 32])]))
    }

    fn routes(texts: &[&str]) -> Vec<Route> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_claim_keeps_its_time_until_it_is_given_up_or_the_project_is_another() {
        let times: Vec<Timestamp> = (1..5).map(|second| Timestamp::from_second(second).unwrap()).collect();
        let mut claimed = ClaimSet::default();
        let since = |claimed: &ClaimSet| -> Vec<(String, i64)> {
            let all = claimed.since().iter();
            all.map(|(route, since)| (route.to_string(), since.as_second())).collect()
        };
        claimed.publish(&version(Incarnation::FIRST), &routes(&["/a", "/b"]), times[0]);
        claimed.publish(&version(Incarnation::FIRST), &routes(&["/b", "/c"]), times[1]);
        assert_eq!(since(&claimed), [("/b".to_owned(), 1), ("/c".to_owned(), 2)]);
        claimed.publish(&version(Incarnation::FIRST), &routes(&["/a", "/b", "/b"]), times[2]);
        assert_eq!(since(&claimed), [("/a".to_owned(), 3), ("/b".to_owned(), 1)]);
        let next = Incarnation::from_number(7);
        assert!(claimed.has(&routes(&["/b"])[0], Some(Incarnation::FIRST)));
        assert!(!claimed.has(&routes(&["/b"])[0], Some(next)));
        claimed.publish(&version(next), &routes(&["/b"]), times[3]);
        assert_eq!(since(&claimed), [("/b".to_owned(), 4)]);
        claimed.clear();
        assert!(since(&claimed).is_empty());
    }

    #[test]
    fn a_record_without_times_is_older_than_all_that_is_claimed_later() {
        let (version, now) = (version(Incarnation::FIRST), Timestamp::now());
        let mut claimed = ClaimSet::from_record(&LastGood {
            version: version.clone(),
            claims: None,
            function: None,
            commit: None,
        });
        claimed.publish(&version, &routes(&["/a"]), now);
        claimed.publish(&version, &routes(&["/a", "/b"]), now);
        let since: Vec<_> = claimed.since().values().copied().collect();
        assert_eq!(since, [Timestamp::UNIX_EPOCH, now]);
        let name = ProjectName::parse("a").unwrap();
        let policy = Policy::new(RequestLimits::default(), ReadLimits::default());
        assert!(claimed.apply(&name, &policy) && !claimed.apply(&name, &policy));
        assert_eq!(claimed.allowed().len(), 2);
    }
}
