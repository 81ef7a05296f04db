//! Asking all routers the same at once, and who answered.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::StatusCode;
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::routers::{CallError, Presence, Router, Routers};

/// Between two tries at a router that does not answer: it may be starting.
const PAUSE: Duration = Duration::from_millis(100);

/// How many routers must answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quorum {
    /// All that can be reached, and one at least. Routers that are starting or stopping count only
    /// when no other one can be reached: they serve nobody, and read the volume before they do.
    Reachable,
    /// So many. The others are waited for as long as they are ready.
    Number(usize),
}

/// For how long a round goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) quorum: Quorum,
    /// Routers that have answered in an earlier round.
    pub(super) before: usize,
    pub(super) until: Instant,
    /// It ends when none of the routers can be reached any more.
    pub(super) needs_any: bool,
}

/// What a round of questions came to.
#[derive(Debug)]
pub(super) struct Round<T> {
    pub(super) answers: Vec<(Arc<Router>, T)>,
    pub(super) silent: Vec<Silent>,
}

/// A router that did not answer.
#[derive(Debug)]
pub(super) struct Silent {
    pub(super) router: Arc<Router>,
    /// The last that was heard of it.
    pub(super) why: String,
    /// It had to answer: see [`Quorum::Reachable`].
    pub(super) counts: bool,
}

impl Quorum {
    /// Which of the routers that are waited for are worth it, by what is known of all that were
    /// asked (`who`).
    fn waits_for(self, who: &[Arc<Router>]) -> impl Fn(&Router) -> bool {
        let serves = |router: &Router| matches!(router.presence(), Presence::Ready | Presence::Unknown);
        let any_serves = who.iter().any(|router| serves(router));
        move |router| match self {
            Self::Number(_) => router.is_ready(),
            Self::Reachable => serves(router) || (!any_serves && router.presence() == Presence::NotReady),
        }
    }

    /// How many answers it takes at least when there have been `before` already.
    fn at_least(self, before: usize) -> usize {
        match self {
            Self::Reachable => 1_usize.saturating_sub(before),
            Self::Number(number) => number.saturating_sub(before),
        }
    }

    /// How many routers have to answer in a round that has come to `answers` and `silent`.
    pub(super) fn of<T>(self, round: &Round<T>) -> usize {
        match self {
            Self::Number(number) => number,
            Self::Reachable => {
                let missing = round.silent.iter().filter(|silent| silent.counts).count();
                (round.answers.len() + missing).max(1)
            }
        }
    }
}

/// Asks `who` until each has answered, the time is over, an answer is `enough` to stop, or there
/// are as many answers as the quorum takes and the rest is not worth waiting for.
pub(super) async fn ask<T, F: Future<Output = Result<T, String>>>(
    routers: &Routers,
    who: Vec<Arc<Router>>,
    terms: Terms,
    question: impl Fn(Arc<Router>) -> F,
    enough: impl Fn(&T) -> bool,
) -> Round<T> {
    let mut waiting = who.clone();
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
    let Terms { quorum, before, until, needs_any } = terms;
    let is_away = |router: &Arc<Router>| router.presence() == Presence::Away;
    while !waiting.is_empty() {
        let waits_for = quorum.waits_for(&who);
        let is_waited_for = waiting.iter().any(|router| waits_for(router));
        if round.answers.len() >= quorum.at_least(before) && !is_waited_for {
            break;
        }
        if needs_any && round.answers.is_empty() && waiting.iter().all(is_away) {
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
                    Err(why) => {
                        let counts = waits_for(&router);
                        round.silent.push(Silent { router, why, counts });
                    }
                }
            }
            // The registry outlives every deploy; without it the time limit is what is left.
            Ok(()) = changed.changed() => {}
            () = sleep_until(until) => break,
        }
    }
    let waits_for = quorum.waits_for(&who);
    round.silent.extend(waiting.into_iter().map(|router| {
        let counts = waits_for(&router);
        Silent { why: absence(&router), counts, router }
    }));
    round
}

/// Why a router has given no answer yet.
fn absence(router: &Router) -> String {
    match router.presence() {
        Presence::Away => format!("is away: {}", router.why_away()),
        Presence::NotReady => "takes no requests: it is starting or stopping".to_owned(),
        Presence::Ready | Presence::Unknown => "gave no answer in time".to_owned(),
    }
}

/// Waits as long as the router is known to be away: a call that it cannot answer is not sent.
pub(super) async fn while_away(routers: &Routers, router: &Router) {
    let mut changed = routers.changed();
    while router.presence() == Presence::Away && changed.changed().await.is_ok() {}
}

/// Waits until one of `who` can be reached, or `until` has come. Returns whether there may be one.
pub(super) async fn any_reachable(routers: &Routers, who: &[Arc<Router>], until: Instant) -> bool {
    let mut changed = routers.changed();
    let reached =
        async { while !who.iter().any(|router| router.is_reachable()) && changed.changed().await.is_ok() {} };
    timeout_at(until, reached).await.is_ok()
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
