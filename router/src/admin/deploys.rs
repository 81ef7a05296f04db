//! The calls of a deploy: hold projects, build them, publish them together, let them go.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use switchyard_contract::admin::{Hold, Reports};
use switchyard_edge::api::answer::{json, no_content};
use switchyard_edge::api::body::BodyLimits;
use switchyard_edge::api::path::Path;
use switchyard_edge::problem::Problem;
use tokio::sync::oneshot;

use super::{Admin, AdminState, HOLD};
use crate::live::{self, Command, DeployRefusal};

/// The limits on a hold. A thousand projects with long names fit in 1 MiB, each with its commit, which
/// no deployer needs more than a moment for.
const HOLD_LIMITS: BodyLimits = BodyLimits { bytes: 1024 * 1024, time: Duration::from_secs(10) };

/// Holds projects for a deploy, or renews its lease
#[utoipa::path(post, path = "/_deploys", tag = "deploys", request_body = Hold, responses(
    (status = 204, description = "The projects are held"),
    (status = 409, description = "held: another deploy holds one of them; overridden: one of them is read from a \
        local folder"),
))]
pub(super) async fn hold(State(admin): AdminState, body: Body) -> Result<Response, Problem> {
    let hold = read_hold(body).await?;
    admin.bridge.note().await;
    admin.deploy(|answer| Command::Hold { hold, answer }).await?;
    Ok(no_content())
}

/// Builds the projects of a deploy
#[utoipa::path(post, path = "/_deploys/{id}/build", tag = "deploys",
    params(("id" = String, Path, description = "The deploy")),
    responses(
        (status = 200, description = "The outcome of each project", body = Reports),
        (status = 404, description = "unknown-deploy: it has ended, or its lease has expired"),
    ),
)]
pub(super) async fn build(State(admin): AdminState, Path(deploy): Path<String>) -> Result<Response, Problem> {
    let projects = admin.deploy(|answer| Command::Build { deploy: deploy.as_str().into(), answer }).await?;
    Ok(json(StatusCode::OK, &Reports { projects }))
}

/// Publishes the projects of a deploy together
#[utoipa::path(post, path = "/_deploys/{id}/publish", tag = "deploys",
    params(("id" = String, Path, description = "The deploy")),
    responses(
        (status = 200, description = "The outcome of each project", body = Reports),
        (status = 404, description = "unknown-deploy: it has ended, or its lease has expired"),
        (status = 409, description = "not-built"),
    ),
)]
pub(super) async fn publish(
    State(admin): AdminState,
    Path(deploy): Path<String>,
) -> Result<Response, Problem> {
    let projects = admin.deploy(|answer| Command::Publish { deploy: deploy.as_str().into(), answer }).await?;
    Ok(json(StatusCode::OK, &Reports { projects }))
}

/// Ends a deploy: its projects are read again as they change
#[utoipa::path(delete, path = "/_deploys/{id}", tag = "deploys",
    params(("id" = String, Path, description = "The deploy")),
    responses(
        (status = 204, description = "The projects are released"),
        (status = 404, description = "unknown-deploy: it has ended, or its lease has expired"),
    ),
)]
pub(super) async fn release(
    State(admin): AdminState,
    Path(deploy): Path<String>,
) -> Result<Response, Problem> {
    admin.deploy(|answer| Command::Release { deploy: deploy.as_str().into(), answer }).await?;
    Ok(no_content())
}

impl Admin {
    /// Sends a command to the control flow, and waits for its answer.
    ///
    /// # Errors
    /// 503 if the router stops meanwhile.
    pub(super) async fn command<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Problem> {
        let (answer, answered) = oneshot::channel();
        // A command that is not taken drops its sender, which the receiver notices.
        let _ = self.commands.send(command(answer)).await;
        answered
            .await
            .map_err(|_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the router is stopping"))
    }

    /// Sends a call of a deploy to the control flow.
    async fn deploy<T>(&self, command: impl FnOnce(live::DeployReply<T>) -> Command) -> Result<T, Problem> {
        Ok(self.command(command).await??)
    }
}

impl From<DeployRefusal> for Problem {
    fn from(refusal: DeployRefusal) -> Self {
        let (status, slug) = match &refusal {
            DeployRefusal::Held { .. } => (StatusCode::CONFLICT, "held"),
            DeployRefusal::NotBuilt(_) => (StatusCode::CONFLICT, "not-built"),
            DeployRefusal::Overridden { .. } => (StatusCode::CONFLICT, "overridden"),
            DeployRefusal::OtherProjects(_) => (StatusCode::BAD_REQUEST, "bad-request"),
            DeployRefusal::Unknown(_) => (StatusCode::NOT_FOUND, "unknown-deploy"),
            DeployRefusal::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        };
        Self::new(status, slug, refusal.to_string())
    }
}

async fn read_hold(body: Body) -> Result<Hold, Problem> {
    let body = HOLD_LIMITS.read(body).await?;
    let hold: Hold = serde_json::from_slice(&body).map_err(|error| {
        Problem::bad_request(format!("the body does not describe a hold: {error}; send {HOLD}"))
    })?;
    hold.check().map_err(|error| Problem::bad_request(error.to_string()))?;
    Ok(hold)
}
