//! The crons of projects, as runs see them.

use std::sync::Arc;

use switchyard_contract::project::ProjectName;
use switchyard_contract::run::RunId;
use switchyard_contract::task::TaskSpec;

use crate::live::{CronRuns, Crons, LiveTable};
use crate::runs::{CronEnd, CronStarter};

/// Handlers of `Deno.cron` in the cells of live versions.
#[derive(Debug)]
pub(super) struct ProjectCrons {
    pub(super) live: Arc<LiveTable>,
    pub(super) crons: Arc<Crons>,
    pub(super) runs: CronRuns,
}

impl CronStarter for ProjectCrons {
    fn tasks(&self, project: &ProjectName) -> Vec<TaskSpec> {
        let table = self.live.load();
        let live = table.get(project.as_str()).and_then(|entry| entry.live.as_ref());
        live.map(|live| self.crons.specs(&live.version, &live.launch.entry.path)).unwrap_or_default()
    }

    fn start(&self, project: &ProjectName, name: &str, run: RunId) -> CronEnd {
        let (runs, project, name) = (self.runs.clone(), project.clone(), name.to_owned());
        Box::pin(async move { runs.start(&project, &name, &run.to_string()).await })
    }
}
