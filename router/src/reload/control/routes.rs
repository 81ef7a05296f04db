//! Claims of routes judged: those that come too late fail their build, and what is in conflict all the same
//! is shown at both projects.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use switchyard_contract::event::{Diagnostic, EventType, RouteConflict, Trigger};
use switchyard_contract::project::ProjectName;
use switchyard_contract::route::Route;
use switchyard_edge::routes::{Reason, Rival};

use super::Control;
use crate::live::{Entry, Happened, Table};
use crate::policy::{ClaimVerdict, Policy};
use crate::project::diagnostic;
use crate::reload::claims::{Refused, shown};
use crate::reload::machine::{Effect, Event};
use crate::reload::project::Project;

/// Conflicts that are shown of one project, and told in events: others can claim what is its own as
/// often as they like.
const MAX_CONFLICTS: usize = 20;

impl Control {
    /// The moment since which what becomes live now is claimed: later than all claims before it, whatever the
    /// clock says. All that is first seen at the start was there before it, nobody knows in which order.
    pub(super) fn claimed_at(&mut self) -> Timestamp {
        if self.scanning.is_none() {
            self.claimed_last = Timestamp::now().max(after(self.claimed_last));
        }
        self.claimed_last
    }

    /// Has what is claimed from now on be later than what earlier routers have recorded.
    pub(super) fn claim_after<'a>(&mut self, recorded: impl Iterator<Item = &'a Timestamp>) {
        let last = recorded.max().copied().map(after);
        self.claimed_last = Timestamp::now().max(last.unwrap_or(Timestamp::MIN));
    }

    /// Changes the table that requests see, and what is shown of conflicts in it.
    pub(super) fn change_table(&mut self, changes: Vec<(ProjectName, Option<Entry>)>) {
        let before = Table::clone(&self.parts.live.load());
        let is_moved = |project: &ProjectName, entry: &Option<Entry>| {
            let name = project.as_str();
            match entry {
                Some(entry) => before.get(name).is_none() || before.claims(name) != &*entry.claims,
                None => before.get(name).is_some(),
            }
        };
        let moved = changes.iter().filter(|(project, entry)| is_moved(project, entry));
        let moved: BTreeSet<_> = moved.map(|(project, _)| project.clone()).collect();
        self.parts.live.change(changes);
        self.moved(&before, &moved);
    }

    /// Has the policy's assignments hold, together with these changes.
    pub(super) fn assign(&mut self, policy: &Policy, changes: Vec<(ProjectName, Option<Entry>)>) {
        let before = Table::clone(&self.parts.live.load());
        let moved = changes.iter().map(|(project, _)| project.clone()).collect();
        self.parts.live.assign(Arc::clone(policy.assignments()), changes);
        self.moved(&before, &moved);
    }

    /// Judges all claims by another policy.
    pub(super) fn judge_again(&mut self, policy: &Policy) {
        let table = Table::clone(&self.parts.live.load());
        let (mut changes, mut judged) = (Vec::new(), Vec::new());
        for project in self.projects.values_mut() {
            if project.claimed.apply(&project.name, policy) && table.get(project.name.as_str()).is_some() {
                changes.push((project.name.clone(), Some(project.entry())));
            }
            judged.push(project.name.clone());
        }
        self.assign(policy, changes);
        for project in &judged {
            self.index_refusals(project);
            self.show(project.as_str());
        }
        self.retry_refused(judged);
    }

    /// Shows what is otherwise because these projects have come, gone or claim other routes than `before`.
    fn moved(&mut self, before: &Table, moved: &BTreeSet<ProjectName>) {
        if moved.is_empty() {
            return;
        }
        let after = Table::clone(&self.parts.live.load());
        let neighbours =
            moved.iter().flat_map(|project| [before, &after].map(|table| table.neighbours(project)));
        let touched: BTreeSet<_> = neighbours.flatten().chain(moved.iter().cloned()).collect();
        for project in &touched {
            let is_changed = self.review(project);
            // Whoever has moved a project shows it when all of it is done.
            if is_changed && !moved.contains(project) {
                self.put_on_board(project);
            }
        }
        let waiting = moved.iter().filter_map(|project| self.refusals.get(project)).flatten();
        let waiting: Vec<_> = waiting.cloned().collect();
        self.retry_refused(waiting);
    }

    /// Finds the conflicts of a project anew, and tells of those that are new. Returns whether they are others
    /// than before.
    fn review(&mut self, name: &ProjectName) -> bool {
        let conflicts = self.conflicts(name);
        let Some(project) = self.projects.get_mut(name.as_str()) else { return false };
        if project.conflicts == conflicts {
            return false;
        }
        let before = std::mem::replace(&mut project.conflicts, conflicts.clone());
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
            let version = project.machine.live.clone();
            let happened = Happened { version, conflict: Some(conflict), ..Happened::default() };
            project.sequence = self.parts.events.tell(EventType::RouteConflict, name, happened);
        }
        true
    }

    /// The conflicts that a project is a part of: its own claims first.
    fn conflicts(&self, name: &ProjectName) -> Vec<RouteConflict> {
        let refused = |claimant: &ProjectName| {
            let project = self.projects.get(claimant.as_str());
            let refused = project.into_iter().flat_map(|project| project.refused_claims());
            refused.cloned().collect::<Vec<_>>()
        };
        let own = refused(name).into_iter().map(|refused| refused.conflict(name));
        let claimants = self.refusals.get(name).into_iter().flatten();
        let others = claimants.flat_map(|claimant| {
            let refused =
                refused(claimant).into_iter().filter(|refused| refused.rival.as_ref() == Some(name));
            refused.map(|refused| refused.conflict(claimant))
        });
        let table = self.parts.live.load().conflicts(name, MAX_CONFLICTS);
        own.chain(table.iter().map(shown)).chain(others).take(MAX_CONFLICTS).collect()
    }

    fn put_on_board(&self, name: &ProjectName) {
        let project = self.projects.get(name.as_str()).filter(|project| !project.machine.is_absent());
        if let Some(project) = project {
            self.parts.board.put(project.shown());
        }
    }

    /// Checks the claims of the version that is to be built or published. One that comes too late
    /// fails it: the diagnostic is what its build comes to.
    pub(super) fn check_claims(&mut self, name: &str) -> Option<Diagnostic> {
        let project = self.projects.get(name)?;
        let live = project.machine.live.as_ref();
        let refused = match project.plan.as_ref()? {
            Err(_) => None,
            // It is live with them: what is refused of them does not count, and is no reason to go on with
            // what an older policy gave.
            Ok(plan) if live == Some(&plan.order.version) => None,
            Ok(_) if let Some(refused) = self.namesake(project) => {
                Some((diagnostic(refused.why.clone()), refused))
            }
            Ok(plan) => {
                let routes = plan.routes.named().iter().enumerate();
                let mut refused = routes.map(|(index, route)| (index, self.refusal(project, route)));
                refused.find_map(|(index, refused)| {
                    let refused = refused?;
                    Some((plan.routes.refused(index, &refused.why), refused))
                })
            }
        };
        let (error, refused) = refused.unzip();
        let is_held = project.machine.hold.is_some();
        if let Some(error) = &error {
            self.projects.get_mut(name)?.plan = Some(Err(error.clone()));
        }
        // What a deploy tries is said to whoever deploys, and is over then.
        if !is_held {
            self.set_refused(name, refused);
        }
        error
    }

    /// The refusal of a project that has another one's host label and was not there first. Of two that are new neither is
    /// served.
    fn namesake(&self, project: &Project) -> Option<Refused> {
        let table = self.parts.live.load();
        let other = table.namesake(&project.name).filter(|_| !project.claimed.was_live())?;
        Some(Refused::by_label(&project.name, other))
    }

    /// Why `project` may not claim a route, if it does not have it.
    fn refusal(&self, project: &Project, route: &Route) -> Option<Refused> {
        match self.parts.policy.judge(&project.name, route) {
            ClaimVerdict::Assigned => None,
            ClaimVerdict::Refused(owner) => Some(Refused::by_policy(&project.name, route, owner)),
            ClaimVerdict::Open if project.claimed.has(route, project.incarnation) => None,
            ClaimVerdict::Open => {
                let rival = self.parts.live.load().rival(&project.name, route)?;
                self.was_first(project, &rival).then(|| Refused::by(&project.name, route, &rival))
            }
        }
    }

    /// Whether the right of `rival` is older than a claim that `project` makes now.
    fn was_first(&self, project: &Project, rival: &Rival) -> bool {
        let (Reason::Claimed(since) | Reason::Contested(since)) = rival.reason else { return true };
        let other = self.projects.get(rival.project.as_str());
        // The other one may give it up in the same moment: they are published together.
        let together = project.deploy.is_some() && other.is_some_and(|other| other.deploy == project.deploy);
        let is_of_the_start = self.scanning.is_some() && since == self.claimed_last;
        !is_of_the_start && !together
    }

    /// Notes that the newest version of a project failed for a claim, or did not.
    pub(super) fn set_refused(&mut self, name: &str, refused: Option<Refused>) {
        let Some(project) = self.projects.get_mut(name) else { return };
        if project.refused != refused {
            project.refused = refused;
            let name = project.name.clone();
            self.index_refusals(&name);
        }
    }

    /// Shows the refused claims of a project at the projects that are in their way, and no others.
    pub(super) fn index_refusals(&mut self, name: &ProjectName) {
        let Some(project) = self.projects.get_mut(name.as_str()) else { return };
        let rivals: BTreeSet<_> =
            project.refused_claims().filter_map(|refused| refused.rival.clone()).collect();
        let before = std::mem::replace(&mut project.rivals, rivals.clone());
        for rival in before.difference(&rivals) {
            if let Some(claimants) = self.refusals.get_mut(rival) {
                claimants.remove(name);
                if claimants.is_empty() {
                    self.refusals.remove(rival);
                }
            }
        }
        for rival in &rivals {
            self.refusals.entry(rival.clone()).or_default().insert(name.clone());
        }
        self.review(name);
        for rival in before.union(&rivals) {
            if self.review(rival) {
                self.put_on_board(rival);
            }
        }
    }

    /// Whether the claim for which the newest version of `project` failed would be granted now.
    pub(super) fn is_granted_now(&self, project: &Project) -> bool {
        let refused = project.refused.as_ref();
        refused.is_some_and(|refused| self.refusal(project, &refused.route).is_none())
    }

    /// Has projects tried once more whose claims were refused and are not any more.
    fn retry_refused(&mut self, names: Vec<ProjectName>) {
        for name in names {
            let project = self.projects.get(name.as_str());
            if project.is_some_and(|project| self.is_granted_now(project)) {
                self.step(name.as_str(), Event::Changed(Trigger::Scan), Instant::now());
            }
        }
    }

    /// Takes over what the end of an attempt changes in a project's claims.
    pub(super) fn claim(&mut self, name: &str, effect: &Effect, now: Timestamp) {
        let Some(project) = self.projects.get_mut(name) else { return };
        match effect {
            Effect::Publish { version, .. } => {
                let routes = project.live_plan.as_ref().map(|plan| &plan.routes.routes[..]);
                project.claimed.publish(version, routes.unwrap_or_default(), now);
                project.claimed.apply(&project.name, &self.parts.policy);
            }
            Effect::Remove { .. } => project.claimed.clear(),
            Effect::Settle => {}
            _ => return,
        }
        project.refused = None;
        let name = project.name.clone();
        self.index_refusals(&name);
    }
}

/// The next moment that can be told from `moment`.
fn after(moment: Timestamp) -> Timestamp {
    moment.checked_add(SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MAX)
}
