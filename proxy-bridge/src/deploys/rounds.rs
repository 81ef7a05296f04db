//! Calls to all routers at once, and the answers that a deploy needs.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ConstantBuilder};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::StatusCode;
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::routers::{CallError, Presence, Router, Routers};

/// Delays between attempts at a router that does not answer, without end: it may be starting, and is
/// called again soon enough that a deploy does not notice.
const RETRIES: ConstantBuilder =
    ConstantBuilder::new().with_delay(Duration::from_millis(100)).without_max_times();

/// The number of routers that must answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quorum {
    /// All that can be reached, and at least one. Routers that are starting or stopping count only
    /// when no other one can be reached: they serve no requests, and read the volume before they do.
    Reachable,
    /// This many. The others are waited for as long as they are ready.
    Number(usize),
}

/// The conditions under which a round ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct RoundTerms {
    pub(super) quorum: Quorum,
    /// The number of routers that answered in an earlier round.
    pub(super) before: usize,
    /// The time limit.
    pub(super) until: Instant,
    /// `true`: the round also ends when none of the routers can be reached any more.
    pub(super) needs_any: bool,
}

/// The answers to one round of calls.
#[derive(Debug)]
pub(super) struct RoundResult<T> {
    pub(super) answers: Vec<(Arc<Router>, T)>,
    pub(super) unreachable: Vec<UnreachableRouter>,
}

/// A router that did not answer.
#[derive(Debug)]
pub(super) struct UnreachableRouter {
    pub(super) router: Arc<Router>,
    /// The last failure.
    pub(super) why: NoAnswer,
    /// `true`: the quorum includes the router, see [`Quorum::Reachable`].
    pub(super) counts: bool,
}

/// The reason for a missing answer, as the rest of a sentence about the router.
#[derive(Debug, Clone)]
pub(super) struct NoAnswer {
    why: String,
    /// `true`: the router answered, and refused.
    is_refusal: bool,
}

impl NoAnswer {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_refusal: false }
    }

    pub(super) fn refusal(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_refusal: true }
    }

    /// A word for the progress of a deploy.
    pub(super) fn outcome(&self) -> &'static str {
        if self.is_refusal { "refused" } else { "unreachable" }
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl Quorum {
    /// Returns a predicate that is true for the routers whose answers are worth waiting for, given the
    /// presence of all `called` routers.
    fn waits_for(self, called: &[Arc<Router>]) -> impl Fn(&Router) -> bool {
        let serves = |router: &Router| matches!(router.presence(), Presence::Ready | Presence::Unknown);
        let any_serves = called.iter().any(|router| serves(router));
        move |router| match self {
            Self::Number(_) => router.is_ready(),
            Self::Reachable => serves(router) || (!any_serves && router.presence() == Presence::NotReady),
        }
    }

    /// Returns the least number of further answers, after `before` earlier ones.
    fn at_least(self, before: usize) -> usize {
        match self {
            Self::Reachable => 1_usize.saturating_sub(before),
            Self::Number(number) => number.saturating_sub(before),
        }
    }

    /// Returns the number of answers that `round` needed.
    pub(super) fn of<T>(self, round: &RoundResult<T>) -> usize {
        match self {
            Self::Number(number) => number,
            Self::Reachable => {
                let missing = round.unreachable.iter().filter(|router| router.counts).count();
                (round.answers.len() + missing).max(1)
            }
        }
    }
}

/// Calls all of `called` at once. Ends when each has answered, when the time is over, with an answer
/// that is `enough` to stop, or with as many answers as the quorum needs when the remaining routers are
/// not worth waiting for.
pub(super) async fn call_all<T, F: Future<Output = Result<T, NoAnswer>>>(
    routers: &Routers,
    called: Vec<Arc<Router>>,
    terms: RoundTerms,
    call: impl Fn(Arc<Router>) -> F,
    enough: impl Fn(&T) -> bool,
) -> RoundResult<T> {
    let mut waiting = called.clone();
    let mut calls: FuturesUnordered<_> = waiting
        .iter()
        .map(|router| {
            let answer = call(router.clone());
            let router = router.clone();
            async move { (router, answer.await) }
        })
        .collect();
    let mut round = RoundResult { answers: Vec::new(), unreachable: Vec::new() };
    let mut changed = routers.changed();
    let RoundTerms { quorum, before, until, needs_any } = terms;
    let is_away = |router: &Arc<Router>| router.presence() == Presence::Away;
    while !waiting.is_empty() {
        let waits_for = quorum.waits_for(&called);
        let is_waited_for = waiting.iter().any(|router| waits_for(router));
        if round.answers.len() >= quorum.at_least(before) && !is_waited_for {
            break;
        }
        if needs_any && round.answers.is_empty() && waiting.iter().all(is_away) {
            break;
        }
        tokio::select! {
            Some((router, answer)) = calls.next() => {
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
                        round.unreachable.push(UnreachableRouter { router, why, counts });
                    }
                }
            }
            // The registry outlives every deploy; without it the time limit remains.
            Ok(()) = changed.changed() => {}
            () = sleep_until(until) => break,
        }
    }
    let waits_for = quorum.waits_for(&called);
    round.unreachable.extend(waiting.into_iter().map(|router| {
        let counts = waits_for(&router);
        UnreachableRouter { why: absence(&router), counts, router }
    }));
    round
}

/// Returns the reason why a router has given no answer yet.
fn absence(router: &Router) -> NoAnswer {
    NoAnswer::new(match router.presence() {
        Presence::Away => format!("is away: {}", router.why_away()),
        Presence::NotReady => "takes no requests: it is starting or stopping".to_owned(),
        Presence::Ready | Presence::Unknown => "gave no answer in time".to_owned(),
    })
}

/// Waits as long as the router is known to be away. A call that it cannot answer is not sent.
pub(super) async fn while_away(routers: &Routers, router: &Router) {
    let mut changed = routers.changed();
    while router.presence() == Presence::Away && changed.changed().await.is_ok() {}
}

/// Waits until one of `called` can be reached, or `until` has come. Returns true if there may be one.
pub(super) async fn any_reachable(routers: &Routers, called: &[Arc<Router>], until: Instant) -> bool {
    let mut changed = routers.changed();
    let reached = async {
        while !called.iter().any(|router| router.is_reachable()) && changed.changed().await.is_ok() {}
    };
    timeout_at(until, reached).await.is_ok()
}

/// A call that is not repeated.
#[derive(Debug)]
pub(super) enum CallFailure {
    /// The router answered, and would give the same answer again.
    Answered { status: StatusCode, problem: Value },
    /// The router gave no answer within the time.
    NoAnswer(NoAnswer),
}

impl CallFailure {
    pub(super) fn is_unknown_deploy(&self) -> bool {
        matches!(self, Self::Answered { status: StatusCode::NOT_FOUND, .. })
    }

    /// Returns the router's sentence, if its answer was a problem of this kind.
    pub(super) fn detail_of(&self, slug: &str) -> Option<&str> {
        let Self::Answered { problem, .. } = self else { return None };
        problem["detail"].as_str().filter(|_| is_kind(problem, slug))
    }

    pub(super) fn into_reason(self) -> NoAnswer {
        match self {
            Self::Answered { status, problem } => {
                let detail = problem["detail"].as_str().unwrap_or("without a reason");
                NoAnswer::refusal(format!("answered {}: {detail}", status.as_u16()))
            }
            Self::NoAnswer(why) => why,
        }
    }
}

/// Repeats a call until the router gives a final answer, or `until` has come.
pub(super) async fn retry_until<T, F: Future<Output = Result<T, CallError>>>(
    until: Instant,
    call: impl Fn() -> F,
) -> Result<T, CallFailure> {
    let mut last = "gave no answer in time".to_owned();
    for pause in RETRIES.build() {
        match timeout_at(until, call()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(CallError::Answered { status, problem })) if !is_temporary(status, &problem) => {
                return Err(CallFailure::Answered { status, problem });
            }
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => break,
        }
        if timeout_at(until, sleep(pause)).await.is_err() {
            break;
        }
    }
    Err(CallFailure::NoAnswer(NoAnswer::new(last)))
}

/// Returns true if the same call may have another answer soon.
fn is_temporary(status: StatusCode, problem: &Value) -> bool {
    status == StatusCode::SERVICE_UNAVAILABLE || is_kind(problem, "held")
}

fn is_kind(problem: &Value, slug: &str) -> bool {
    problem["type"].as_str().is_some_and(|kind| kind.rsplit(':').next() == Some(slug))
}
