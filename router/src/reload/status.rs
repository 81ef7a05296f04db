//! A project as the status board shows it.

use switchyard_contract::admin::{ProjectState, Setting, Status, VersionName};
use switchyard_contract::event::Diagnostic;
use switchyard_contract::incarnation::Incarnation;
use switchyard_protocol::PlatformApi;

use super::live_state::LiveState;
use super::machine::Work;
use super::project::Project;
use crate::build::Plan;
use crate::live::{CellState, ProjectStatus};
use crate::policy::Policy;
use crate::project::{diagnostic, with_defaults};
use crate::version::Version;

impl Project {
    pub(super) fn status(&self) -> ProjectStatus {
        let live = self.live();
        let cells = live.map(|live| live.running.as_slice()).unwrap_or_default();
        let name = self.machine.live_version().map(|version| self.shown(version));
        let error = self.machine.failed().map(|failed| failed.failure.error.clone());
        let status = Status {
            name: self.name.to_string(),
            state: self.state(),
            incarnation: self.shown_incarnation(),
            on_disk: self.files.on_disk.as_ref().map(|version| self.shown(version)),
            live: name,
            // The live one, filled in when it is read.
            last_good: None,
            error: error.or_else(|| self.why_stopped()),
            pid: cells.first().map(|running| running.cell.pid()),
            pids: cells.iter().map(|running| running.cell.pid()).collect(),
            in_flight: 0,
            waiting: 0,
            draining: Vec::new(),
            reloads: self.history.reloads(),
            routes: live
                .into_iter()
                .flat_map(|live| &live.plan.routes.routes)
                .map(ToString::to_string)
                .collect(),
            claims: self.claims.claimed.allowed().to_vec(),
            conflicts: self.claims.conflicts.clone(),
            held_by: self.deploy.as_ref().map(ToString::to_string),
            overridden: self.overridden.as_ref().map(|folder| folder.display().to_string()),
            sequence: self.sequence,
            // Filled in when it is read: it is large.
            grants: None,
            crashes: self.history.crashes(),
            entry: self.shown_plan().and_then(Plan::entry).map(Into::into),
            crons: live.map(crons).unwrap_or_default(),
            tasks: live.and_then(|live| live.tasks.hash()).map(str::to_owned),
        };
        ProjectStatus {
            status,
            grant: self.grant().cloned(),
            in_flight: live.map(LiveState::counters).unwrap_or_default(),
            slots: Some(self.shared.slots.clone()),
            draining: self.draining.clone(),
        }
    }

    /// The settings of the version that is shown, and those of the operator.
    pub(super) fn settings(&self, policy: &Policy) -> Vec<Setting> {
        let plan = self.shown_plan();
        let own = plan.map(|plan| &*plan.settings).unwrap_or_default();
        let mut settings = with_defaults(own, plan.map(|plan| plan.prefix).unwrap_or_default());
        settings.extend(policy.settings(&self.name));
        settings
    }

    /// The name of a version, with its commit if it is the live one.
    fn shown(&self, version: &Version) -> VersionName {
        let commit = self.live_commit(version);
        VersionName { commit: commit.as_deref().cloned(), ..VersionName::from(version) }
    }

    fn state(&self) -> ProjectState {
        match (self.machine.work(), self.live(), self.machine.failed()) {
            (Work::Building(..) | Work::Restoring(..), ..) => ProjectState::Building,
            (_, Some(live), _) if live.is_stopped() => ProjectState::Stopped,
            (_, _, Some(failed)) if failed.failure.version.is_none() => ProjectState::Invalid,
            (_, _, Some(_)) => ProjectState::Failed,
            (_, None, None) => ProjectState::Building,
            (_, Some(live), None) if matches!(live.cell_state(), CellState::Idle) => ProjectState::Idle,
            (_, Some(_), None) => ProjectState::Live,
        }
    }

    /// The incarnation of the live version or, without one, the one that was read last.
    fn shown_incarnation(&self) -> Incarnation {
        let live = self.machine.live_version().map(|version| version.incarnation);
        live.or(self.files.incarnation).unwrap_or_default()
    }

    /// The reason why the live version is stopped, for operators.
    fn why_stopped(&self) -> Option<Diagnostic> {
        let live = self.live().filter(|live| live.is_stopped())?;
        let last = self.history.last_crash()?;
        Some(diagnostic(format!(
            "its process crashed {} times in a row, at last with: {}; it is not started until its code or its \
             policy changes, or `switchyard reload {}` asks for it",
            live.restarts.crashes(),
            last.death.message,
            self.name,
        )))
    }
}

/// The schedules of the live version's jobs.
fn crons(live: &LiveState) -> Vec<String> {
    match &live.plan.launch.api {
        PlatformApi::Workers(worker) => worker.crons.clone(),
        _ => Vec::new(),
    }
}
