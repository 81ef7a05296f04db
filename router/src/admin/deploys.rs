//! The calls of deploys, and of reloads: what is asked of the control flow.

use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use switchyard_contract::admin::{Hold, ReloadOutcome, Reports};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::answer::{Answer, done, json, problem};
use super::{Admin, unknown};
use crate::live::{self, Command, Refusal};

/// In bytes. A deploy of a thousand projects with long names still fits.
const MAX_BODY: usize = 64 * 1024;

/// A body of that size that takes longer does not come from a deployer.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

impl Admin {
    pub(super) async fn hold(&self, body: Incoming) -> Answer {
        let hold = match read_hold(body).await {
            Ok(hold) => hold,
            Err(problem) => return problem,
        };
        match self.ask(|answer| Command::Hold { hold, answer }).await {
            Ok(()) => done(),
            Err(problem) => problem,
        }
    }

    pub(super) async fn build(&self, id: &str) -> Answer {
        self.reports(|answer| Command::Build { deploy: id.to_owned(), answer }).await
    }

    pub(super) async fn publish(&self, id: &str) -> Answer {
        self.reports(|answer| Command::Publish { deploy: id.to_owned(), answer }).await
    }

    pub(super) async fn release(&self, id: &str) -> Answer {
        match self.ask(|answer| Command::Release { deploy: id.to_owned(), answer }).await {
            Ok(()) => done(),
            Err(problem) => problem,
        }
    }

    pub(super) async fn reload(&self, name: &str) -> Answer {
        let (answer, report) = oneshot::channel();
        let sent = self.commands.send(Command::Reload { project: name.to_owned(), answer }).await;
        match (sent, report.await) {
            (Ok(()), Ok(report)) if report.outcome == ReloadOutcome::Unknown => unknown(name),
            (Ok(()), Ok(report)) => json(StatusCode::OK, &report),
            _ => stopping(),
        }
    }

    pub(super) async fn reload_all(&self) -> Answer {
        let (answer, reports) = oneshot::channel();
        let sent = self.commands.send(Command::ReloadAll { answer }).await;
        match (sent, reports.await) {
            (Ok(()), Ok(projects)) => json(StatusCode::OK, &Reports { projects }),
            _ => stopping(),
        }
    }

    async fn reports(
        &self,
        command: impl FnOnce(live::Answer<Vec<switchyard_contract::admin::Report>>) -> Command,
    ) -> Answer {
        match self.ask(command).await {
            Ok(projects) => json(StatusCode::OK, &Reports { projects }),
            Err(problem) => problem,
        }
    }

    /// Asks the control flow, and waits for its answer.
    async fn ask<T>(&self, command: impl FnOnce(live::Answer<T>) -> Command) -> Result<T, Answer> {
        let (answer, answered) = oneshot::channel();
        let sent = self.commands.send(command(answer)).await;
        match (sent, answered.await) {
            (Ok(()), Ok(result)) => result.map_err(|refusal| refused(&refusal)),
            _ => Err(stopping()),
        }
    }
}

fn refused(refusal: &Refusal) -> Answer {
    let (status, slug) = match refusal {
        Refusal::Held { .. } => (StatusCode::CONFLICT, "held"),
        Refusal::NotBuilt(_) => (StatusCode::CONFLICT, "not-built"),
        Refusal::OtherProjects(_) => (StatusCode::BAD_REQUEST, "bad-request"),
        Refusal::Unknown(_) => (StatusCode::NOT_FOUND, "unknown-deploy"),
        Refusal::Busy(_) => return busy(&refusal.to_string()),
    };
    problem(status, slug, &refusal.to_string())
}

/// Too much of something is under way.
pub(super) fn busy(detail: &str) -> Answer {
    let mut answer = problem(StatusCode::SERVICE_UNAVAILABLE, "busy", detail);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

fn stopping() -> Answer {
    problem(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the router is stopping")
}

async fn read_hold(body: impl Body<Error = hyper::Error>) -> Result<Hold, Answer> {
    let collected = match timeout(BODY_PATIENCE, Limited::new(body, MAX_BODY).collect()).await {
        Ok(collected) => collected,
        Err(_) => {
            let detail = format!("the body did not come within {} seconds", BODY_PATIENCE.as_secs());
            return Err(problem(StatusCode::REQUEST_TIMEOUT, "timeout", &detail));
        }
    };
    let body = collected.map_err(|error| {
        if error.is::<LengthLimitError>() {
            let detail = format!("the body is larger than {MAX_BODY} bytes");
            return problem(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", &detail);
        }
        bad_request(&format!("the body broke off: {error}"))
    })?;
    let hold: Hold = serde_json::from_slice(&body.to_bytes()).map_err(|error| {
        bad_request(&format!(
            "the body does not describe a hold: {error}; send {{\"id\": …, \"projects\": [\"blog\"], \"lease_ms\": 30000}}"
        ))
    })?;
    hold.check().map_err(|error| bad_request(&error.to_string()))?;
    Ok(hold)
}

pub(super) fn bad_request(detail: &str) -> Answer {
    problem(StatusCode::BAD_REQUEST, "bad-request", detail)
}
