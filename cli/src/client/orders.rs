//! What changes a project: deploys, rollbacks and removals. All are asked for and answered alike.

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
use switchyard_contract::deploy::{DeployRecord, DeployedProject};

/// Before a broken request is sent once more: a bridge that is started again is back about then.
const BEFORE_AGAIN: Duration = Duration::from_millis(500);

/// What is asked for.
#[derive(Debug)]
pub(super) struct Order<'a> {
    pub(super) method: Method,
    pub(super) path: Vec<&'a str>,
    pub(super) query: Vec<(&'a str, &'a str)>,
    pub(super) upload: Option<Arc<Upload>>,
    /// Whether the answer is to tell how it ended.
    pub(super) wait: bool,
}

/// Carries out `order` and tells what came of it. Returns the exit status.
pub(super) async fn carry_out(
    bridge: &Bridge,
    order: &Order<'_>,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let answer = ask(bridge, order, &mut Progress::new(console, json)).await?;
    if !answer.status.is_success() || answer.status == StatusCode::NO_CONTENT {
        return report::tell(console, json, &answer);
    }
    let record = report::record(&answer)?;
    if json {
        report::tell(console, json, &answer)?;
    } else {
        report::success(console, &record)?;
    }
    match order.upload.as_deref().and_then(|upload| other_content(upload, &record)) {
        Some(why) => Err(Failure::new(REFUSED, why)),
        None => Ok(DONE),
    }
}

/// Sends the order, once more where the connection broke: the key keeps it from being carried out twice.
async fn ask(bridge: &Bridge, order: &Order<'_>, progress: &mut Progress<'_>) -> Result<Answer, Failure> {
    let key = Uuid::new_v4().to_string();
    match attempt(bridge, order, &key, progress).await? {
        Err(CallError::Broke(why)) => {
            progress.say(&format!("the connection broke ({why}); once more"));
            tokio::time::sleep(BEFORE_AGAIN).await;
            Ok(attempt(bridge, order, &key, progress).await??)
        }
        other => Ok(other?),
    }
}

async fn attempt(
    bridge: &Bridge,
    order: &Order<'_>,
    key: &str,
    progress: &mut Progress<'_>,
) -> Result<Result<Answer, CallError>, FilesError> {
    let accept = if order.wait { "text/event-stream" } else { "application/json" };
    let request = bridge.request(order.method.clone(), &order.path, &order.query);
    let request = request.header(ACCEPT, accept).header("idempotency-key", key);
    let Some(upload) = &order.upload else {
        let (_, no_body) = watch::channel(Flow::default());
        return Ok(exchange(bridge, request, no_body, progress).await);
    };
    progress.begin(upload.projects.iter().map(|(_, files)| files.bytes()).sum());
    let boundary = pack::boundary();
    let (packing, body, flow) = Packing::start(upload.clone(), &boundary);
    let kind = format!("multipart/form-data; boundary={boundary}");
    let answer = exchange(bridge, request.header(CONTENT_TYPE, kind).body(body), flow, progress).await;
    // Files that cannot be sent are the cause of whatever the other end made of it.
    packing.end().await?;
    Ok(answer)
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

/// Says so when what the bridge has is not what was sent.
fn other_content(upload: &Upload, record: &DeployRecord) -> Option<String> {
    let differs = |(project, files): &&(_, super::files::Files)| {
        let project: &switchyard_contract::project::ProjectName = project;
        let deployed = record.projects.iter().find(|deployed| deployed.project == *project);
        deployed.and_then(DeployedProject::files_digest).is_some_and(|digest| digest != files.digest)
    };
    let (project, files) = upload.projects.iter().find(differs)?;
    Some(format!(
        "the bridge stored something else than {project}@{}, which was sent: deploy again, with a client and a \
         bridge of the same version",
        files.digest.short()
    ))
}
