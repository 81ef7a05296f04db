//! The calls to routers about tasks and runs.

use std::io;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, future};
use http::Method;
use http::header::CONTENT_TYPE;
use serde::Serialize;

use super::calls::{CallError, QUIET, SOON, head, json, pieces, whole};
use super::router::Router;
use reqwest::{Body, RequestBuilder};
use switchyard_contract::admin::{
    CancelRequest, DIGEST, FileInput, FileOffer, FileOutcome, HookCheck, KnownRuns, RunAccepted, RunEvent,
    RunRequest, StepReply,
};
use switchyard_contract::bounds;
use switchyard_contract::digest::Digest;
use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::RunId;
use switchyard_contract::task::ProjectTasks;
use switchyard_edge::sse::{self, SseEvent, SseItem};

/// The first pause before a router is asked again to forget a run. Each further one is twice as long.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// The number of times that it is asked again: 31 s of pauses in all.
const ASKED_AGAIN: usize = 6;

/// The time in which a router starts a run: it may have to make a process, and to verify a
/// checkout.
const START: Duration = Duration::from_secs(30);

/// The time in which a router takes the files of a version.
const KEEP: Duration = Duration::from_secs(240);

impl Router {
    /// Returns the tasks of the project's live version.
    ///
    /// # Errors
    /// The call failed.
    pub async fn tasks(&self, project: &str) -> Result<ProjectTasks, CallError> {
        json(self.request(Method::GET, &["projects", project, "tasks"]), SOON).await
    }

    /// Returns the tasks of a version of the project.
    ///
    /// # Errors
    /// The call failed. The router answers 404 for a version that the router does not keep.
    pub async fn tasks_of(&self, project: &str, version: Digest) -> Result<ProjectTasks, CallError> {
        let mut url = self.url(&["projects", project, "tasks"]);
        url.query_pairs_mut().append_pair("version", &version.to_string());
        json(self.client().get(url), START).await
    }

    /// Has the router keep a version whose files are made again: a tar of the project's files below its
    /// name, and of what it includes beside that folder.
    ///
    /// # Errors
    /// The call failed. The router answers 422 if they are not the files of the version.
    pub async fn keep_version(
        &self,
        project: &ProjectName,
        incarnation: Incarnation,
        digest: Digest,
        tar: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<(), CallError> {
        let mut url = self.url(&["projects", project.as_str(), "checkouts", &digest.short()]);
        url.query_pairs_mut().append_pair("incarnation", &incarnation.to_string());
        let request = self.client().put(url).header(CONTENT_TYPE, "application/x-tar");
        let request = request.header(DIGEST, digest.to_string()).body(Body::wrap_stream(tar));
        whole(request, KEEP).await.map(drop)
    }

    /// Starts a run. The same run and attempt again is answered in the same way.
    ///
    /// # Errors
    /// The call failed.
    pub async fn start_run(&self, run: &RunRequest) -> Result<RunAccepted, CallError> {
        json(self.with_body(Method::POST, &["_runs"], run), START).await
    }

    /// Returns the runs that the router knows.
    ///
    /// # Errors
    /// The call failed.
    pub async fn known_runs(&self) -> Result<KnownRuns, CallError> {
        json(self.request(Method::GET, &["_runs"]), SOON).await
    }

    /// Returns the events of a run after number `after`, each with its number. The stream ends after
    /// the run's end, and with an error when the router falls silent.
    ///
    /// # Errors
    /// The call failed. The router answers 404 for a run that the router does not know.
    pub async fn run_events(
        &self,
        run: RunId,
        after: u64,
    ) -> Result<
        impl Stream<Item = Result<(u64, RunEvent), CallError>> + Send + Unpin + 'static + use<>,
        CallError,
    > {
        let mut url = self.url(&["_runs", &run.to_string(), "events"]);
        url.set_query(Some(&format!("after={after}")));
        let items = sse::items(pieces(head(self.client().get(url), SOON).await?, QUIET));
        Ok(Box::pin(items.filter_map(|item| {
            future::ready(match item {
                Ok(SseItem::Event(event)) => Some(numbered(&event)),
                Ok(SseItem::Comment(_)) => None,
                Err(broken) => Some(Err(broken.into())),
            })
        })))
    }

    /// Cancels a run: its signal is aborted at once, and its cell is killed after the grace.
    ///
    /// # Errors
    /// The call failed.
    pub async fn cancel_run(&self, run: RunId, cancel: &CancelRequest) -> Result<(), CallError> {
        let request = self.with_body(Method::POST, &["_runs", &run.to_string(), "cancel"], cancel);
        whole(request, SOON).await.map(drop)
    }

    /// Answers a step of a run.
    ///
    /// # Errors
    /// The call failed.
    pub async fn reply_to_step(&self, run: RunId, reply: &StepReply) -> Result<(), CallError> {
        let request = self.with_body(Method::POST, &["_runs", &run.to_string(), "steps"], reply);
        whole(request, SOON).await.map(drop)
    }

    /// Has the router forget an attempt of a run that has ended. Asks again for half a minute: a
    /// router that is only busy would keep it until it was away.
    ///
    /// # Errors
    /// The errors of every call; 409 if the router has another attempt of the run.
    pub async fn forget_run(&self, run: RunId, attempt: u32) -> Result<(), CallError> {
        let mut url = self.url(&["_runs", &run.to_string()]);
        url.set_query(Some(&format!("attempt={attempt}")));
        let forget = || async { whole(self.client().delete(url.clone()), SOON).await.map(drop) };
        let is_final = |error: &CallError| match error {
            CallError::Answered { status, .. } => status.is_client_error(),
            _ => false,
        };
        forget
            .retry(ExponentialBuilder::default().with_min_delay(ASK_AGAIN).with_max_times(ASKED_AGAIN))
            .sleep(tokio::time::sleep)
            .when(|error| !is_final(error))
            .await
    }

    /// Returns the files that start tasks: those whose runs have not ended, then each new one. The
    /// router picks files up as long as the stream is read. It ends with an error when the router falls
    /// silent.
    ///
    /// # Errors
    /// The call failed.
    pub async fn file_offers(
        &self,
    ) -> Result<impl Stream<Item = Result<FileOffer, CallError>> + Send + Unpin + 'static + use<>, CallError>
    {
        let request = self.request(Method::GET, &["_files"]);
        let items = sse::items(pieces(head(request, SOON).await?, QUIET));
        Ok(Box::pin(items.filter_map(|item| {
            future::ready(match item {
                Ok(SseItem::Event(event)) => Some(serde_json::from_str(&event.data).map_err(|error| {
                    CallError::NotUnderstood(bounds::cut(error.to_string(), bounds::QUOTED))
                })),
                Ok(SseItem::Comment(_)) => None,
                Err(broken) => Some(Err(broken.into())),
            })
        })))
    }

    /// Returns the input of the run that a file starts.
    ///
    /// # Errors
    /// The call failed. The router answers 404 for a file that the router does not offer.
    pub async fn file_input(&self, run: RunId) -> Result<FileInput, CallError> {
        json(self.request(Method::GET, &["_files", &run.to_string()]), SOON).await
    }

    /// Has the router move a file on whose run has ended.
    ///
    /// # Errors
    /// The call failed. The router answers 404 for a file that the router does not offer any more.
    pub async fn settle_file(&self, run: RunId, outcome: FileOutcome) -> Result<(), CallError> {
        let mut url = self.url(&["_files", &run.to_string()]);
        url.set_query(Some(&format!("outcome={}", outcome.as_str())));
        whole(self.client().delete(url), SOON).await.map(drop)
    }

    /// Verifies a webhook with a secret of the project.
    ///
    /// # Errors
    /// The call failed. The router answers 401 for a request without the secret, 404 for a variable that
    /// the project does not have.
    pub async fn verify_hook(&self, check: &HookCheck) -> Result<(), CallError> {
        whole(self.with_body(Method::POST, &["_hooks", "verify"], check), SOON).await.map(drop)
    }

    fn with_body(&self, method: Method, path: &[&str], body: &impl Serialize) -> RequestBuilder {
        let body = serde_json::to_vec(body).expect("a call is plain data");
        self.request(method, path).header(CONTENT_TYPE, "application/json").body(body)
    }
}

/// The number and the content of an event.
fn numbered(event: &SseEvent) -> Result<(u64, RunEvent), CallError> {
    let number = event.id.as_deref().and_then(|id| id.parse().ok());
    let number = number.ok_or_else(|| CallError::NotUnderstood("an event has no number".to_owned()))?;
    let event = serde_json::from_str(&event.data)
        .map_err(|error| CallError::NotUnderstood(bounds::cut(error.to_string(), bounds::QUOTED)))?;
    Ok((number, event))
}
