//! The answers of routers to a hold.

use http::StatusCode;

use crate::deploys::rounds::{CallFailure, NoAnswer, RoundResult, UnreachableRouter};
use switchyard_edge::problem::Problem;

/// The answer to a hold.
#[derive(Debug)]
pub(super) enum HoldAnswer {
    Held,
    /// The router reads a project of the deploy from a local folder. The text names both, and the way
    /// to end that.
    Overridden(String),
}

impl HoldAnswer {
    pub(super) fn of(result: Result<(), CallFailure>) -> Result<Self, NoAnswer> {
        match result {
            Ok(()) => Ok(Self::Held),
            Err(refusal) => {
                let overridden = refusal.detail_of("overridden").map(str::to_owned);
                overridden.map(Self::Overridden).ok_or_else(|| refusal.into_reason())
            }
        }
    }
}

/// Counts routers with an override as ones that did not answer. Returns the problem of the first one,
/// too.
pub(super) fn sort(round: RoundResult<HoldAnswer>) -> (RoundResult<()>, Option<Problem>) {
    let mut sorted = RoundResult { answers: Vec::new(), unreachable: round.unreachable };
    let mut overridden = None;
    for (router, answer) in round.answers {
        match answer {
            HoldAnswer::Held => sorted.answers.push((router, ())),
            HoldAnswer::Overridden(detail) => {
                let why = NoAnswer::refusal(detail.clone());
                overridden.get_or_insert_with(|| {
                    let detail = format!("{detail}; the volume is as it was");
                    Problem::new(StatusCode::CONFLICT, "overridden", detail).with("router", router.name())
                });
                sorted.unreachable.push(UnreachableRouter { router, why, counts: true });
            }
        }
    }
    (sorted, overridden)
}
