//! The end of a preview: its projects with their data, its commits and its state go.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::sleep;

use super::super::Context;
use super::super::deploy::stage;
use crate::deploys::{DeployNotes, DeployRequest, Submission};
use crate::sources::settings::SourceSettings;
use crate::volume::Change;
use switchyard_contract::deploy::{Action, DeployOutcome};
use switchyard_contract::project::ProjectName;
use switchyard_edge::problem::Problem;

/// The time between two attempts to remove the projects, while routers do not answer.
const PACE: Duration = Duration::from_secs(30);

/// Removes all that a preview has, however long that takes. The state goes last: a bridge that is
/// started again ends the preview then.
pub(in super::super) async fn remove(
    context: &Arc<Context>,
    settings: &SourceSettings,
    projects: Vec<ProjectName>,
) {
    let name = settings.name.as_str();
    while let Err(problem) = remove_projects(context, settings, &projects).await {
        let reason = problem.detail();
        tracing::warn!(source = name, "the projects of the preview {name} are not removed yet: {reason}");
        sleep(PACE).await;
    }
    let released = async {
        let _permit = context.gits.acquire().await;
        context.mirrors.open(settings).await?.retain(name, &[]).await
    };
    if let Err(error) = released.await {
        tracing::warn!(source = name, "old commits stay in the mirror: {error}");
    }
    context.store.remove(name).await;
    context.metrics.forget(name);
    tracing::info!(event = "source.preview-ended", source = name, "the preview {name} has ended");
}

async fn remove_projects(
    context: &Arc<Context>,
    settings: &SourceSettings,
    projects: &[ProjectName],
) -> Result<(), Problem> {
    if projects.is_empty() {
        return Ok(());
    }
    let by = Some(format!("source {}", settings.name));
    let request = DeployRequest { action: Action::Delete, by, project: None, idempotency_key: None };
    let Submission::New(ticket) = context.deploys.begin(request)? else {
        unreachable!("a request without a key is never a known one")
    };
    let staging = stage(context, &ticket).await?;
    let fate = settings.data_fate();
    let changes = projects.iter().map(|project| Change::Remove(project.clone(), fate)).collect();
    let job = ticket.start(staging, changes, DeployNotes::default())?;
    let record = job.done().await;
    if matches!(record.outcome, Some(DeployOutcome::Removed | DeployOutcome::Live)) {
        return Ok(());
    }
    let detail = record.problem.as_ref().and_then(|problem| problem.get("detail")?.as_str());
    let detail = detail.unwrap_or("the deploy has no reason").to_owned();
    Err(Problem::new(StatusCode::BAD_GATEWAY, "not-removed", detail))
}
