//! Asking all routers the same at once, and who answered.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::StatusCode;
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::server::routers::{CallError, Router, Routers};

/// Between two tries at a router that does not answer: it may be starting.
const PAUSE: Duration = Duration::from_millis(100);

/// What a round of questions came to.
#[derive(Debug)]
pub(super) struct Round<T> {
    pub(super) answers: Vec<(Arc<Router>, T)>,
    /// Those who did not answer, and the last that was heard of them.
    pub(super) silent: Vec<(Arc<Router>, String)>,
}

/// Asks `who` until each has answered, `until` has come, an answer is `enough` to stop, or `quorum` have answered and the rest is known
/// to be away.
pub(super) async fn ask<T, F: Future<Output = Result<T, String>>>(
    routers: &Routers,
    who: Vec<Arc<Router>>,
    quorum: usize,
    until: Instant,
    question: impl Fn(Arc<Router>) -> F,
    enough: impl Fn(&T) -> bool,
) -> Round<T> {
    let mut waiting = who;
    let mut questions: FuturesUnordered<_> = waiting
        .iter()
        .map(|router| {
            let asked = question(router.clone());
            let router = router.clone();
            async move { (router, asked.await) }
        })
        .collect();
    let mut round = Round { answers: Vec::new(), silent: Vec::new() };
    let mut changed = routers.changed();
    while !waiting.is_empty() {
        if round.answers.len() >= quorum && waiting.iter().all(|router| !router.is_ready()) {
            break;
        }
        tokio::select! {
            Some((router, answer)) = questions.next() => {
                waiting.retain(|other| !Arc::ptr_eq(other, &router));
                match answer {
                    Ok(answer) => {
                        let stop = enough(&answer);
                        round.answers.push((router, answer));
                        if stop {
                            break;
                        }
                    }
                    Err(why) => round.silent.push((router, why)),
                }
            }
            // The registry outlives every deploy; without it the time limit is what is left.
            Ok(()) = changed.changed() => {}
            () = sleep_until(until) => break,
        }
    }
    round.silent.extend(waiting.into_iter().map(|router| {
        let why = if router.is_reachable() { "gave no answer in time" } else { "cannot be reached" };
        (router, why.to_owned())
    }));
    round
}

/// Why a call is of no use again.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The router answered, and will not answer otherwise.
    Answered {
        status: StatusCode,
        problem: Value,
    },
    Silent(String),
}

impl Refusal {
    pub(super) fn is_unknown_deploy(&self) -> bool {
        matches!(self, Self::Answered { status: StatusCode::NOT_FOUND, .. })
    }

    pub(super) fn into_text(self) -> String {
        match self {
            Self::Answered { status, problem } => {
                let detail = problem["detail"].as_str().unwrap_or("without a reason").to_owned();
                format!("answered {}: {detail}", status.as_u16())
            }
            Self::Silent(why) => why,
        }
    }
}

/// Calls until the router gives an answer that stands, or `until` has come.
pub(super) async fn insist<T, F: Future<Output = Result<T, CallError>>>(
    until: Instant,
    call: impl Fn() -> F,
) -> Result<T, Refusal> {
    let mut last = "gave no answer in time".to_owned();
    loop {
        match timeout_at(until, call()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(CallError::Answered { status, problem })) if !is_passing(status, &problem) => {
                return Err(Refusal::Answered { status, problem });
            }
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => return Err(Refusal::Silent(last)),
        }
        if timeout_at(until, sleep(PAUSE)).await.is_err() {
            return Err(Refusal::Silent(last));
        }
    }
}

/// Whether the same call may be answered otherwise soon.
fn is_passing(status: StatusCode, problem: &Value) -> bool {
    let held = problem["type"].as_str().is_some_and(|kind| kind.ends_with(":held"));
    status == StatusCode::SERVICE_UNAVAILABLE || held
}
