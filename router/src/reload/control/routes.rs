//! Claims of routes, judged: a claim that comes too late fails its build, and every conflict is
//! shown at both projects.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use switchyard_contract::event::{Diagnostic, EventType, RouteConflict, Trigger};
use switchyard_contract::project::ProjectName;
use switchyard_contract::route::Route;
use switchyard_edge::routes::{Reason, Rival};

use super::Control;
use super::public_effect::PublicEffect;
use crate::build::{Candidate, Plan};
use crate::live::{EventDetails, Table, TableChange};
use crate::policy::{ClaimVerdict, Policy};
use crate::project::diagnostic;
use crate::reload::attempt::Look;
use crate::reload::claims::{RefusedClaim, describe};
use crate::reload::machine::Event;
use crate::reload::project::Project;

/// Conflicts of one project that are shown, and reported in events. The limit is there because
/// others can claim a project's routes as often as they like.
const MAX_CONFLICTS: usize = 20;

impl Control {
    /// The time since which the routes of a version that becomes live now are claimed. Projects
    /// that are first seen by the scan at start all have the same time: it is unknown which of them
    /// was first.
    pub(super) fn claim_time(&mut self) -> Timestamp {
        if self.scan.is_running() { self.claims.last() } else { self.claims.next() }
    }

    /// Puts the current state of a project into the table.
    pub(super) fn put_in_table(&mut self, name: &ProjectName) {
        let entry = self.projects.of(name).entry();
        self.change_table(vec![(name.clone(), TableChange::put(entry))]);
    }

    pub(super) fn remove_from_table(&mut self, name: &ProjectName) {
        self.change_table(vec![(name.clone(), TableChange::Remove)]);
    }

    /// Changes the table that requests see, and updates the conflicts that this causes or ends.
    pub(super) fn change_table(&mut self, changes: Vec<(ProjectName, TableChange)>) {
        let before = Table::clone(&self.parts.live.load());
        let is_moved = |project: &ProjectName, change: &TableChange| {
            let name = project.as_str();
            match change {
                TableChange::Put(entry) => {
                    before.get(name).is_none() || before.claims(name) != &*entry.claims
                }
                TableChange::Remove => before.get(name).is_some(),
            }
        };
        let moved = changes.iter().filter(|(project, change)| is_moved(project, change));
        let moved: BTreeSet<_> = moved.map(|(project, _)| project.clone()).collect();
        self.parts.live.change(changes);
        self.update_conflicts(&before, &moved);
    }

    /// Applies the policy's assignments of routes, together with these changes.
    pub(super) fn assign(&mut self, policy: &Policy, changes: Vec<(ProjectName, TableChange)>) {
        let before = Table::clone(&self.parts.live.load());
        let moved = changes.iter().map(|(project, _)| project.clone()).collect();
        self.parts.live.assign(Arc::clone(policy.assignments()), changes);
        self.update_conflicts(&before, &moved);
    }

    /// Judges all claims by another policy.
    pub(super) fn judge_again(&mut self, policy: &Policy) {
        let table = Table::clone(&self.parts.live.load());
        let mut changes = Vec::new();
        for project in self.projects.iter_mut() {
            let is_changed = project.claims.claimed.apply(&project.name, policy);
            if is_changed && table.get(project.name.as_str()).is_some() {
                changes.push((project.name.clone(), TableChange::put(project.entry())));
            }
        }
        let judged: Vec<_> = self.projects.names().cloned().collect();
        self.assign(policy, changes);
        for project in &judged {
            self.index_refusals(project);
            self.show(project);
        }
        self.retry_refused(judged);
    }

    /// Updates the conflicts of the projects that `moved` (they have come, gone, or claim other
    /// routes than `before`) and of their neighbours.
    fn update_conflicts(&mut self, before: &Table, moved: &BTreeSet<ProjectName>) {
        if moved.is_empty() {
            return;
        }
        let after = Table::clone(&self.parts.live.load());
        let neighbours =
            moved.iter().flat_map(|project| [before, &after].map(|table| table.neighbours(project)));
        let touched: BTreeSet<_> = neighbours.flatten().chain(moved.iter().cloned()).collect();
        for project in &touched {
            let is_changed = self.review(project);
            // A project that has moved is shown at the end of the step that moved it.
            if is_changed && !moved.contains(project) {
                self.put_on_board(project);
            }
        }
        let waiting = moved.iter().flat_map(|project| self.claims.claimants(project)).cloned().collect();
        self.retry_refused(waiting);
    }

    /// Finds the conflicts of a project again and reports the new ones. Returns true if they are
    /// not the same as before.
    fn review(&mut self, name: &ProjectName) -> bool {
        if !self.projects.contains(name.as_str()) {
            return false;
        }
        let conflicts = self.conflicts(name);
        let project = self.projects.of(name);
        if project.claims.conflicts == conflicts {
            return false;
        }
        let before = std::mem::replace(&mut project.claims.conflicts, conflicts.clone());
        for conflict in conflicts.into_iter().filter(|conflict| !before.contains(conflict)) {
            if conflict.claimant == name.as_str() {
                tracing::warn!(
                    project.name = %name,
                    route = conflict.route,
                    rival = conflict.rival,
                    holder = conflict.holder,
                    "a conflict of routes: {}",
                    conflict.message
                );
            }
            let version = project.machine.live_version().cloned();
            let commit = project.live().and_then(|live| live.commit.clone());
            let conflict = Some(conflict);
            let details = EventDetails { version, commit, conflict, ..EventDetails::default() };
            project.sequence = self.parts.events.emit(EventType::RouteConflict, name, details);
        }
        true
    }

    /// The conflicts that a project is a part of: its own claims first.
    fn conflicts(&self, name: &ProjectName) -> Vec<RouteConflict> {
        let refused = |claimant: &ProjectName| {
            let project = self.projects.get(claimant.as_str());
            let refused = project.into_iter().flat_map(|project| project.claims.all_refused());
            refused.cloned().collect::<Vec<_>>()
        };
        let own = refused(name).into_iter().map(|refused| refused.conflict(name));
        let others = self.claims.claimants(name).flat_map(|claimant| {
            let refused =
                refused(claimant).into_iter().filter(|refused| refused.rival.as_ref() == Some(name));
            refused.map(|refused| refused.conflict(claimant))
        });
        let table = self.parts.live.load().conflicts(name, MAX_CONFLICTS);
        own.chain(table.iter().map(describe)).chain(others).take(MAX_CONFLICTS).collect()
    }

    fn put_on_board(&self, name: &ProjectName) {
        let project = self.projects.get(name.as_str()).filter(|project| !project.machine.is_absent());
        if let Some(project) = project {
            self.parts.board.put(project.status());
        }
    }

    /// Checks the claims of a version that is to be built or published. Returns the error with
    /// which its build fails if one of them comes too late.
    pub(super) fn check_claims(&mut self, name: &ProjectName, candidate: &Candidate) -> Option<Diagnostic> {
        let project = self.projects.of(name);
        let is_held = project.machine.is_held();
        let project = &*project;
        let refused = match candidate {
            Err(_) => None,
            // The version is live with its claims: those that are refused do not count, and are no
            // reason to keep the grant of an older policy.
            Ok(plan) if project.machine.live_version() == Some(plan.version()) => None,
            Ok(plan) => self.refused_claim(self.projects.get(name.as_str())?, plan),
        };
        let (error, refused) = refused.unzip();
        // Only the deploy gets the reports of its builds, and it may release the project.
        if !is_held {
            self.set_refused(name, refused);
        }
        error
    }

    /// The first claim of `plan` that is refused, with the error that says so.
    fn refused_claim(&self, project: &Project, plan: &Plan) -> Option<(Diagnostic, RefusedClaim)> {
        if let Some(refused) = self.namesake(project) {
            return Some((diagnostic(refused.why.clone()), refused));
        }
        let routes = plan.routes.named().iter().enumerate();
        let mut refused = routes.map(|(index, route)| (index, self.refusal(project, route)));
        refused.find_map(|(index, refused)| {
            let refused = refused?;
            Some((plan.routes.refused(index, &refused.why), refused))
        })
    }

    /// The refusal of a project that has another project's host label and was not there first. Of
    /// two new projects with one label neither is served.
    fn namesake(&self, project: &Project) -> Option<RefusedClaim> {
        let table = self.parts.live.load();
        let other = table.namesake(&project.name).filter(|_| !project.claims.claimed.was_live())?;
        Some(RefusedClaim::by_label(&project.name, other))
    }

    /// The refusal of a claim of `project`. `None`: it has the route, or may claim it.
    fn refusal(&self, project: &Project, route: &Route) -> Option<RefusedClaim> {
        match self.parts.policy.judge(&project.name, route) {
            ClaimVerdict::Assigned => None,
            ClaimVerdict::Refused(owner) => Some(RefusedClaim::by_policy(&project.name, route, owner)),
            ClaimVerdict::Open if project.claims.claimed.has(route, project.files.incarnation) => None,
            ClaimVerdict::Open => {
                let rival = self.parts.live.load().rival(&project.name, route)?;
                self.was_first(project, &rival).then(|| RefusedClaim::by(&project.name, route, &rival))
            }
        }
    }

    /// Returns true if the right of `rival` is older than a claim that `project` makes now.
    fn was_first(&self, project: &Project, rival: &Rival) -> bool {
        let (Reason::Claimed(since) | Reason::Contested(since)) = rival.reason else { return true };
        let other = self.projects.get(rival.project.as_str());
        // Projects of one deploy are published together, so the other one may give the route up.
        let together = project.deploy.is_some() && other.is_some_and(|other| other.deploy == project.deploy);
        let is_of_the_start = self.scan.is_running() && since == self.claims.last();
        !is_of_the_start && !together
    }

    /// Notes the claim for which the newest version of a project failed. `None`: it did not fail
    /// for a claim.
    fn set_refused(&mut self, name: &ProjectName, refused: Option<RefusedClaim>) {
        let project = self.projects.of(name);
        let refused = refused.map(Box::new);
        if project.claims.refused != refused {
            project.claims.refused = refused;
            self.index_refusals(name);
        }
    }

    /// Shows the refused claims of a project at the projects that hold the routes, and at no
    /// others.
    pub(super) fn index_refusals(&mut self, name: &ProjectName) {
        let project = self.projects.of(name);
        let rivals: BTreeSet<_> =
            project.claims.all_refused().filter_map(|refused| refused.rival.clone()).collect();
        let before = std::mem::replace(&mut project.claims.rivals, rivals.clone());
        self.claims.update(name, &before, &rivals);
        self.review(name);
        for rival in before.union(&rivals) {
            if self.review(rival) {
                self.put_on_board(rival);
            }
        }
    }

    /// Returns true if the claim for which the newest version of `project` failed would be granted
    /// now.
    pub(super) fn is_granted_now(&self, project: &Project) -> bool {
        let refused = project.claims.refused.as_ref();
        refused.is_some_and(|refused| self.refusal(project, &refused.route).is_none())
    }

    /// Tries the projects again whose claims were refused and would be granted now.
    fn retry_refused(&mut self, names: Vec<ProjectName>) {
        for name in names {
            let project = self.projects.get(name.as_str());
            if project.is_some_and(|project| self.is_granted_now(project)) {
                self.step(&name, Event::Changed(Look::from(Trigger::Scan)));
            }
        }
    }

    /// Applies the end of an attempt to the claims of a project.
    pub(super) fn claim(&mut self, name: &ProjectName, effect: &PublicEffect, now: Timestamp) {
        let project = self.projects.of(name);
        match effect {
            PublicEffect::Publish { version, .. } => {
                let routes = project.machine.live().map(|live| &live.data.plan.routes.routes[..]);
                project.claims.claimed.publish(version, routes.unwrap_or_default(), now);
                project.claims.claimed.apply(name, &self.parts.policy);
            }
            PublicEffect::Remove { .. } => project.claims.claimed.clear(),
            PublicEffect::ClearStale(_) => {}
            PublicEffect::Relabel(_) | PublicEffect::Unchanged(_) => return,
        }
        project.claims.refused = None;
        self.index_refusals(name);
    }
}
