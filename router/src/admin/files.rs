//! `/_files`: files that start tasks, offered to a bridge.

use std::convert::Infallible;

use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use switchyard_contract::admin::{FileInput, FileOffer, FileOutcome};
use switchyard_contract::run::RunId;
use switchyard_edge::api::answer::{json, no_content};
use switchyard_edge::api::path::Path;
use switchyard_edge::api::query::{FromQuery, Query, QueryPairs};
use switchyard_edge::api::sse::{answer, event};
use switchyard_edge::problem::Problem;
use utoipa::IntoParams;

use super::{AdminState, parse_run};
use crate::pickup::OfferFollower;

/// The parameters of the end of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OutcomeQuery {
    /// The outcome of the run: `succeeded` or `failed`.
    #[param(value_type = String)]
    outcome: FileOutcome,
}

impl FromQuery for OutcomeQuery {
    const KEYS: &'static [&'static str] = &["outcome"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        let outcome = pairs.value("outcome", "\"succeeded\" or \"failed\"")?;
        let missing =
            || Problem::bad_request("outcome is missing: succeeded or failed").with("field", "outcome");
        Ok(Self { outcome: outcome.ok_or_else(missing)? })
    }
}

/// Files that start tasks, as they are picked up
///
/// Server-sent events: first those whose runs have not ended, then each new one. Files are picked up
/// while somebody reads this.
#[utoipa::path(get, path = "/_files", tag = "runs", responses(
    (status = 200, description = "Each offer", body = FileOffer, content_type = "text/event-stream"),
))]
pub(super) async fn offers(State(admin): AdminState) -> Response {
    admin.bridge.note().await;
    let offers = stream::unfold(admin.pickups.follow(), next).flat_map(stream::iter);
    answer(offers.map(Ok::<_, Infallible>))
}

/// The input of the run that a file starts
#[utoipa::path(get, path = "/_files/{run}", tag = "runs",
    params(("run" = String, Path, description = "The run that the offer names")),
    responses(
        (status = 200, description = "The input", body = FileInput),
        (status = 404, description = "unknown-file"),
    ),
)]
pub(super) async fn input(State(admin): AdminState, Path(run): Path<String>) -> Result<Response, Problem> {
    let run = parse_run(&run)?;
    let input = admin.blocking(move |admin| admin.pickups.input(run)).await?;
    Ok(json(StatusCode::OK, &input.ok_or_else(|| unknown(run))?))
}

/// Moves a file on whose run has ended
#[utoipa::path(delete, path = "/_files/{run}", tag = "runs",
    params(("run" = String, Path, description = "The run that the offer names"), OutcomeQuery),
    responses(
        (status = 204, description = "The router forgets it"),
        (status = 404, description = "unknown-file"),
        (status = 500, description = "disk: it cannot be moved now"),
    ),
)]
pub(super) async fn settle(
    State(admin): AdminState,
    Path(run): Path<String>,
    Query(OutcomeQuery { outcome }): Query<OutcomeQuery>,
) -> Result<Response, Problem> {
    let run = parse_run(&run)?;
    match admin.blocking(move |admin| admin.pickups.settle(run, outcome)).await? {
        Ok(true) => Ok(no_content()),
        Ok(false) => Err(unknown(run)),
        Err(error) => {
            let detail = format!("the file of the run {run} cannot be moved: {error}");
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "disk", detail))
        }
    }
}

async fn next(mut follower: OfferFollower) -> Option<(Vec<Event>, OfferFollower)> {
    let offers = follower.next().await;
    Some((offers.iter().map(|offer| event("offer", offer)).collect(), follower))
}

fn unknown(run: RunId) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown-file", format!("no file is offered for the run {run}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_is_needed() {
        let read = |query| OutcomeQuery::from_query(&QueryPairs::parse(Some(query)));
        assert_eq!(read("outcome=failed").unwrap().outcome, FileOutcome::Failed);
        assert_eq!(read("").unwrap_err().member("field"), Some("outcome"));
        assert!(read("outcome=x").is_err());
    }
}
