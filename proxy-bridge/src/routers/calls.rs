//! The calls to routers' admin listeners. Each has a time limit.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, future};
use http::header::{CONTENT_TYPE, HeaderName};
use http::{Method, StatusCode};
use reqwest::{Client, RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::Router;
use switchyard_contract::admin::{
    Checkouts, DIGEST, Hold, OWN_DIGEST, ProjectOverride, Projects, Report, Reports, Status,
};
use switchyard_contract::bounds;
use switchyard_contract::digest::Digest;
use switchyard_contract::https;
use switchyard_contract::incarnation::Incarnation;
use switchyard_edge::sse::{self, SseError, SseEvent, SseItem};

/// Time limit for answers that a router has in memory.
pub(super) const SOON: Duration = Duration::from_secs(5);

/// Between two pieces of a checkout, which a router reads from its disk.
const PIECE: Duration = Duration::from_secs(30);

/// A router says something every 15 s on a stream of events; one that misses two turns is gone.
pub(super) const QUIET: Duration = Duration::from_secs(40);

/// A call that failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// No connection could be made: it has not got the call.
    #[error("it cannot be reached: {0}")]
    NotConnected(String),
    /// The connection ended before the answer did: it may have done it.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("it did not answer in time")]
    TimedOut,
    /// The router answered with another status than expected. `problem` is null when the answer was
    /// not JSON.
    #[error("it answered {}{}", status.as_u16(), reason(problem))]
    Answered { status: StatusCode, problem: Value },
    /// The answer is malformed; the text says how.
    #[error("its answer is not understood: {0}")]
    NotUnderstood(String),
}

fn reason(problem: &Value) -> String {
    problem["detail"].as_str().map(|detail| format!(": {detail}")).unwrap_or_default()
}

impl From<reqwest::Error> for CallError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() && !error.is_connect() {
            return Self::TimedOut;
        }
        let is_connect = error.is_connect();
        let cause = https::reason(error);
        if is_connect { Self::NotConnected(cause) } else { Self::Unreachable(cause) }
    }
}

impl From<SseError> for CallError {
    fn from(error: SseError) -> Self {
        Self::Unreachable(error.to_string())
    }
}

impl Router {
    /// Has the router hold the deploy's projects. It answers when no attempt at them is under way
    /// any more, which is waited for as long as the lease: later the hold would be over.
    ///
    /// # Errors
    /// The router was not reached, did not answer in time, or did not answer 204.
    pub async fn hold(&self, hold: &Hold) -> Result<(), CallError> {
        let body = serde_json::to_vec(hold).expect("a hold is plain data");
        let request = self.request(Method::POST, &["_deploys"]);
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        whole(request, Duration::from_millis(hold.lease_ms)).await.map(drop)
    }

    /// Has the router build the files on the volume, and publish nothing.
    ///
    /// # Errors
    /// The call failed. A version that does not build is not an error: its report says so.
    pub async fn build(&self, deploy: &str, within: Duration) -> Result<Reports, CallError> {
        json(self.request(Method::POST, &["_deploys", deploy, "build"]), within).await
    }

    /// Has the router publish the versions that it has built.
    ///
    /// # Errors
    /// The call failed.
    pub async fn publish(&self, deploy: &str, within: Duration) -> Result<Reports, CallError> {
        json(self.request(Method::POST, &["_deploys", deploy, "publish"]), within).await
    }

    /// Lets the deploy's projects go.
    ///
    /// # Errors
    /// The call failed.
    pub async fn release(&self, deploy: &str) -> Result<(), CallError> {
        whole(self.request(Method::DELETE, &["_deploys", deploy]), SOON).await.map(drop)
    }

    /// Returns the status of the project.
    ///
    /// # Errors
    /// The call failed. The router answers 404 for a project that the router does not have.
    pub async fn project(&self, project: &str) -> Result<Status, CallError> {
        json(self.request(Method::GET, &["projects", project]), SOON).await
    }

    /// Has the router read the project now, and returns the result.
    ///
    /// # Errors
    /// The call failed.
    pub async fn reload(&self, project: &str, within: Duration) -> Result<Report, CallError> {
        json(self.request(Method::POST, &["_reload", project]), within).await
    }

    /// Has the router read the project from `folder` instead of the volume, and returns the result of
    /// the first reading.
    ///
    /// # Errors
    /// The call failed. A folder that does not build is not an error: the report says so.
    pub async fn set_override(
        &self,
        project: &str,
        folder: &str,
        within: Duration,
    ) -> Result<Report, CallError> {
        let body =
            serde_json::to_vec(&ProjectOverride { path: folder.to_owned() }).expect("it is plain data");
        let request = self.request(Method::PUT, &["projects", project, "override"]);
        json(request.header(CONTENT_TYPE, "application/json").body(body), within).await
    }

    /// Has the router read the project from the volume again, and returns the result.
    ///
    /// # Errors
    /// The call failed.
    pub async fn end_override(&self, project: &str, within: Duration) -> Result<Report, CallError> {
        json(self.request(Method::DELETE, &["projects", project, "override"]), within).await
    }

    /// Returns the folders from which the router reads projects instead of the volume, by project.
    ///
    /// # Errors
    /// The call failed.
    pub async fn overrides(&self) -> Result<BTreeMap<String, String>, CallError> {
        let projects: Projects = json(self.request(Method::GET, &["projects"]), SOON).await?;
        let overridden =
            projects.projects.into_iter().filter_map(|status| Some((status.name, status.overridden?)));
        Ok(overridden.collect())
    }

    /// Returns the versions of the project whose files the router still has.
    ///
    /// # Errors
    /// The call failed.
    pub async fn checkouts(&self, project: &str, incarnation: Incarnation) -> Result<Checkouts, CallError> {
        json(self.of_incarnation(&["projects", project, "checkouts"], incarnation), SOON).await
    }

    /// Returns the project's own files of a version as a tar, after the version's digest and that
    /// of these files. `short` is the first 12 digits of the version's digest. The stream ends with
    /// an error when the router falls silent.
    ///
    /// # Errors
    /// The call failed.
    pub async fn checkout(
        &self,
        project: &str,
        incarnation: Incarnation,
        short: &str,
    ) -> Result<
        (Digest, Digest, impl Stream<Item = Result<Bytes, CallError>> + Send + Unpin + 'static + use<>),
        CallError,
    > {
        let request = self.of_incarnation(&["projects", project, "checkouts", short], incarnation);
        let response = head(request, PIECE).await?;
        let digest = |name: &HeaderName| response.headers().get(name)?.to_str().ok()?.parse::<Digest>().ok();
        let of_version = digest(&DIGEST).ok_or_else(|| {
            CallError::NotUnderstood("it has no x-switchyard-digest of 64 hex digits".to_owned())
        })?;
        let of_files = digest(&OWN_DIGEST).unwrap_or(of_version);
        Ok((of_version, of_files, pieces(response, PIECE)))
    }

    /// Returns what the router answers to a GET, in JSON.
    ///
    /// # Errors
    /// The call failed.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&'static str, String)],
    ) -> Result<T, CallError> {
        json(self.query(path, query), SOON).await
    }

    /// Returns the events that the router answers to a GET: lines, or requests. The stream ends when
    /// the router's does, or when it is dropped; one that breaks off ends with an event `error`.
    ///
    /// # Errors
    /// The call failed.
    pub async fn follow(
        &self,
        path: &[&str],
        query: &[(&'static str, String)],
    ) -> Result<impl Stream<Item = SseEvent> + Send + Unpin + 'static + use<>, CallError> {
        let items = sse::items(pieces(head(self.query(path, query), SOON).await?, QUIET));
        Ok(Box::pin(items.filter_map(|item| {
            future::ready(match item {
                Ok(SseItem::Event(event)) => Some(event),
                Ok(SseItem::Comment(_)) => None,
                Err(broken) => {
                    let data = serde_json::json!({ "error": broken.to_string() }).to_string();
                    Some(SseEvent { kind: "error".to_owned(), data, id: None })
                }
            })
        })))
    }

    /// The events after number `last`.
    pub(super) async fn events(
        &self,
        last: u64,
    ) -> Result<impl Stream<Item = Result<SseItem, SseError>> + Send + Unpin + use<>, CallError> {
        let request = self.request(Method::GET, &["events"]).header("last-event-id", last);
        Ok(Box::pin(sse::items(pieces(head(request, SOON).await?, QUIET))))
    }

    /// The projects that have changed since that revision of the router with that id, or all of
    /// them.
    pub(super) async fn pull(&self, since: Option<(String, u64)>) -> Result<Projects, CallError> {
        let mut url = self.url(&["projects"]);
        if let Some((router, revision)) = since {
            url.query_pairs_mut().append_pair("since", &revision.to_string()).append_pair("router", &router);
        }
        let projects: Projects = json(self.client().get(url), SOON).await?;
        self.statuses.fetch_add(projects.projects.len() as u64, Relaxed);
        Ok(projects)
    }

    /// Returns true if the router reports that it takes requests.
    pub(super) async fn probe(&self, within: Duration) -> Result<bool, CallError> {
        match whole(self.request(Method::GET, &["readyz"]), within).await {
            Ok(_) => Ok(true),
            Err(CallError::Answered { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        self.client().request(method, self.url(path))
    }

    pub(super) fn client(&self) -> Client {
        self.common.client(&self.address)
    }

    fn query(&self, path: &[&str], query: &[(&'static str, String)]) -> RequestBuilder {
        let mut url = self.url(path);
        url.query_pairs_mut().extend_pairs(query);
        self.client().get(url)
    }

    fn of_incarnation(&self, path: &[&str], incarnation: Incarnation) -> RequestBuilder {
        self.query(path, &[("incarnation", incarnation.to_string())])
    }

    pub(super) fn url(&self, path: &[&str]) -> Url {
        let mut url = self.address.admin();
        url.path_segments_mut().expect("an http URL has a path").clear().extend(path);
        url
    }
}

/// Returns the head of a successful answer.
pub(super) async fn head(request: RequestBuilder, within: Duration) -> Result<Response, CallError> {
    timeout(within, async {
        let response = request.send().await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = match body(response, bounds::ROUTER_PROBLEM).await {
            // The status is sufficient.
            Err(CallError::NotUnderstood(_)) => Bytes::new(),
            body => body?,
        };
        Err(CallError::Answered { status, problem: problem(&body) })
    })
    .await
    .unwrap_or(Err(CallError::TimedOut))
}

pub(super) async fn whole(request: RequestBuilder, within: Duration) -> Result<Bytes, CallError> {
    let whole = async { body(head(request, within).await?, bounds::ROUTER_ANSWER).await };
    timeout(within, whole).await.unwrap_or(Err(CallError::TimedOut))
}

pub(super) async fn json<T: DeserializeOwned>(
    request: RequestBuilder,
    within: Duration,
) -> Result<T, CallError> {
    let body = whole(request, within).await?;
    serde_json::from_slice(&body).map_err(|error| {
        // The error may repeat parts of the answer.
        CallError::NotUnderstood(bounds::cut(error.to_string(), bounds::QUOTED))
    })
}

/// Returns the problem in a router's answer; null when it is not JSON. Its text goes into records
/// and logs.
fn problem(body: &[u8]) -> Value {
    let mut problem: Value = serde_json::from_slice(body).unwrap_or_default();
    if let Some(Value::String(detail)) = problem.get_mut("detail") {
        *detail = bounds::cut(std::mem::take(detail), bounds::DIAGNOSTIC_MESSAGE);
    }
    problem
}

async fn body(mut response: Response, most: usize) -> Result<Bytes, CallError> {
    let mut body = BytesMut::new();
    while let Some(piece) = response.chunk().await? {
        if body.len() + piece.len() > most {
            return Err(CallError::NotUnderstood(format!("it is larger than {most} bytes")));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

/// The rest of an answer, piece by piece, each within the time.
pub(super) fn pieces(
    response: Response,
    within: Duration,
) -> impl Stream<Item = Result<Bytes, CallError>> + Send + Unpin + 'static {
    Box::pin(futures_util::stream::unfold(Some(response), move |response| async move {
        let mut response = response?;
        match timeout(within, response.chunk()).await {
            Ok(Ok(Some(piece))) => Some((Ok(piece), Some(response))),
            Ok(Ok(None)) => None,
            Ok(Err(error)) => Some((Err(error.into()), None)),
            Err(_) => Some((Err(CallError::TimedOut), None)),
        }
    }))
}
