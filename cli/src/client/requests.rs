//! Requests that change a project: deploys, rollbacks and removals. All are sent and answered alike.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use tokio::sync::watch;
use uuid::Uuid;

use super::Console;
use super::bridge::{Answer, Bridge, CallError};
use super::failure::{DONE, Failure, REFUSED};
use super::files::FilesError;
use super::pack::{self, Flow, Packing, Upload};
use super::progress::Progress;
use super::report;
use switchyard_contract::deploy::{Action, DeployRecord};

/// Pause before a broken request is sent again: a bridge that restarts is back about then.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// A request to the bridge's API.
#[derive(Debug)]
pub(super) struct ApiRequest<'a> {
    pub(super) method: Method,
    pub(super) path: Vec<&'a str>,
    pub(super) query: Vec<(&'a str, &'a str)>,
    pub(super) upload: Option<Arc<Upload>>,
    /// `true`: the answer comes once the outcome is known.
    pub(super) wait: bool,
}

/// Sends the request and reports its outcome. Returns the exit status.
///
/// # Errors
/// There is no answer, or it is not of the request.
pub(super) async fn send(
    bridge: &Bridge,
    request: &ApiRequest<'_>,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let answer = ask(bridge, request, &mut Progress::new(console, json)).await?;
    if !answer.status.is_success() || answer.status == StatusCode::NO_CONTENT {
        return report::print_answer(console, json, &answer);
    }
    let record = report::record(&answer)?;
    if json {
        report::print_answer(console, json, &answer)?;
    } else {
        report::success(console, &record)?;
    }
    match request.upload.as_deref().and_then(|upload| stored_difference(upload, &record)) {
        Some(why) => Err(Failure::new(REFUSED, why)),
        None => Ok(DONE),
    }
}

/// The failure of one attempt.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Files(#[from] FilesError),
}

impl From<AttemptError> for Failure {
    fn from(error: AttemptError) -> Self {
        match error {
            AttemptError::Call(error) => error.into(),
            AttemptError::Files(error) => error.into(),
        }
    }
}

/// Sends the request, and again if the connection broke: the idempotency key keeps it from being executed
/// twice.
///
/// # Errors
/// There is no answer, or the files of an upload cannot be sent.
pub(super) async fn ask(
    bridge: &Bridge,
    request: &ApiRequest<'_>,
    progress: &mut Progress<'_>,
) -> Result<Answer, Failure> {
    let key = Uuid::new_v4().to_string();
    progress.expect(match (&request.method, request.path.last()) {
        (&Method::DELETE, _) => Action::Delete,
        (_, Some(&"rollback")) => Action::Rollback,
        _ => Action::Deploy,
    });
    match attempt(bridge, request, &key, progress).await {
        Err(AttemptError::Call(CallError::Broke(why))) => {
            progress.line(&format!("the connection broke ({why}); trying again"));
            tokio::time::sleep(RETRY_DELAY).await;
            Ok(attempt(bridge, request, &key, progress).await?)
        }
        other => Ok(other?),
    }
}

async fn attempt(
    bridge: &Bridge,
    api: &ApiRequest<'_>,
    key: &str,
    progress: &mut Progress<'_>,
) -> Result<Answer, AttemptError> {
    let accept = if api.wait { "text/event-stream" } else { "application/json" };
    let request = bridge.request(api.method.clone(), &api.path, &api.query);
    let request = request.header(ACCEPT, accept).header("idempotency-key", key);
    let Some(upload) = &api.upload else {
        let (_, no_body) = watch::channel(Flow::default());
        return Ok(exchange(bridge, request, no_body, progress).await?);
    };
    progress.begin(upload.projects.iter().map(|(_, files)| files.bytes()).sum());
    let boundary = pack::boundary();
    let (packing, body, flow) = Packing::start(upload.clone(), &boundary);
    let kind = format!("multipart/form-data; boundary={boundary}");
    let answer = exchange(bridge, request.header(CONTENT_TYPE, kind).body(body), flow, progress).await;
    // Files that cannot be sent are the cause of any error at the other end.
    packing.end().await?;
    Ok(answer?)
}

async fn exchange(
    bridge: &Bridge,
    request: reqwest::RequestBuilder,
    flow: watch::Receiver<Flow>,
    progress: &mut Progress<'_>,
) -> Result<Answer, CallError> {
    let response = bridge.send(request, flow, |flow| progress.flow(flow)).await?;
    bridge.done(response, |event| progress.phase(event)).await
}

/// Returns a message if the bridge stored other content than was sent.
fn stored_difference(upload: &Upload, record: &DeployRecord) -> Option<String> {
    let differs = |(project, files): &&(_, super::files::Files)| {
        let project: &switchyard_contract::project::ProjectName = project;
        let deployed = record.projects.iter().find(|deployed| deployed.project == *project);
        let digest = deployed.and_then(|deployed| deployed.own_digest.or(deployed.digest));
        digest.is_some_and(|digest| digest != files.digest)
    };
    let (project, files) = upload.projects.iter().find(differs)?;
    Some(format!(
        "the bridge stored other content than {project}@{}, which was sent: deploy again, with client and bridge of \
         the same version",
        files.digest.short()
    ))
}
