//! The newest reloads and crashes of a project, as the admin listener lists them.

use std::collections::VecDeque;

use jiff::Timestamp;
use switchyard_contract::admin::{CellCrash, Reload, Report};
use switchyard_contract::bounds::{KEPT_DEATHS, KEPT_RELOADS};
use switchyard_contract::event::{ChangedFiles, Death, Trigger};

use crate::version::Version;

/// The newest first.
#[derive(Debug, Default)]
pub(super) struct History {
    reloads: VecDeque<Reload>,
    crashes: VecDeque<CellCrash>,
}

impl History {
    pub(super) fn add_reload(&mut self, trigger: Trigger, changed: Option<ChangedFiles>, report: &Report) {
        self.reloads.truncate(KEPT_RELOADS - 1);
        // Most projects have one.
        self.reloads.reserve_exact(1);
        self.reloads.push_front(Reload {
            at: Timestamp::now(),
            trigger,
            outcome: report.outcome,
            version: report.version.clone(),
            changed,
            timings_ms: report.timings_ms,
        });
    }

    pub(super) fn add_crash(&mut self, version: &Version, death: Death) {
        self.crashes.truncate(KEPT_DEATHS - 1);
        self.crashes.push_front(CellCrash { at: Timestamp::now(), version: version.to_string(), death });
    }

    pub(super) fn reloads(&self) -> Vec<Reload> {
        self.reloads.iter().cloned().collect()
    }

    pub(super) fn crashes(&self) -> Vec<CellCrash> {
        self.crashes.iter().cloned().collect()
    }

    pub(super) fn last_crash(&self) -> Option<&CellCrash> {
        self.crashes.front()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
