//! `GET /runs/{run}/logs`: the lines that a run printed, as a page or as server-sent events.

use std::convert::Infallible;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderMap, StatusCode};
use utoipa::IntoParams;

use super::Shared;
use super::deploy::accepts_events;
use super::openapi_parts::RunInPath;
use crate::runs::{LogFollower, Runs};
use crate::tokens::Caller;
use switchyard_contract::deploy::Action;
use switchyard_contract::run::{RunId, RunLine, RunLog};
use switchyard_edge::api::answer::json;
use switchyard_edge::api::path::RunPath;
use switchyard_edge::api::query::{FromQuery, Query, QueryPairs, invalid};
use switchyard_edge::api::{sse, stopped};
use switchyard_edge::problem::Problem;

/// The lines of a page, unless another number is asked for, and the most: each has at most 64 KiB.
const DEFAULT_LINES: usize = 1_000;
const MAX_LINES: usize = 10_000;

/// The parameters of a log.
#[derive(Debug, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RunLogQuery {
    /// The number of lines that are left out at the beginning. With events, the header
    /// `last-event-id` is the same.
    #[param(required = false, default = 0)]
    from: u64,
    /// The most lines of a page: 1 to 10,000.
    #[param(required = false, default = 1000)]
    lines: usize,
    /// If set, the answer is events, and new lines follow until the run has ended.
    #[param(required = false, default = false)]
    follow: bool,
}

impl FromQuery for RunLogQuery {
    const KEYS: &'static [&'static str] = &["from", "lines", "follow"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        let lines = pairs.value("lines", "1 to 10000")?.unwrap_or(DEFAULT_LINES);
        if !(1..=MAX_LINES).contains(&lines) {
            return Err(invalid("lines", &lines.to_string(), "1 to 10000"));
        }
        Ok(Self {
            from: pairs.value("from", "a whole number")?.unwrap_or_default(),
            lines,
            follow: pairs.switch("follow")?.unwrap_or(false),
        })
    }
}

/// The lines that a run printed
///
/// With `follow`, or with `accept: text/event-stream`, the answer is server-sent events: `line` with
/// each line, and `end` with the run once it has ended. A stream without `end` was cut off: its
/// reader goes on with the number of lines that it has as `from`.
#[utoipa::path(get, path = "/runs/{run}/logs", tag = "runs",
    params(RunInPath, RunLogQuery),
    responses(
        (status = 200, description = "The lines", content(
            (RunLog = "application/json"), (RunLine = "text/event-stream"),
        )),
        (status = 404, description = "unknown-run"),
    ),
)]
pub(super) async fn run_log(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    RunPath(id): RunPath,
    Query(query): Query<RunLogQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    api.checked_run(&caller, Action::Read, id).await?;
    if !query.follow && !accepts_events(&headers) {
        let log: RunLog = api.runs.log(id, query.from, query.lines).await?;
        return Ok(json(StatusCode::OK, &log));
    }
    let from = last_event(&headers).unwrap_or(query.from);
    let follower = api.runs.logs(id, from).await?;
    let events = lines(follower, from).chain(end(api.runs.clone(), id));
    let mut stop = api.stopping.clone();
    let events = events.take_until(async move { stopped(&mut stop).await });
    Ok(sse::answer(events.map(Ok::<_, Infallible>)))
}

/// The number of lines that a client had which comes back.
fn last_event(headers: &HeaderMap) -> Option<u64> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}

/// An event for each line. Its id is the `from` of the one after it.
fn lines(follower: LogFollower, from: u64) -> impl Stream<Item = Event> + Send {
    let batches = stream::unfold((follower, from), |(mut follower, from)| async move {
        let lines = follower.next().await?;
        let events: Vec<_> = lines
            .iter()
            .scan(from, |next, line| {
                *next += line.count();
                Some(sse::event_with_id(*next, "line", line))
            })
            .collect();
        let next = from + lines.iter().map(RunLine::count).sum::<u64>();
        Some((events, (follower, next)))
    });
    batches.flat_map(stream::iter)
}

/// An event with the run, if it has ended.
fn end(runs: Runs, id: RunId) -> impl Stream<Item = Event> + Send {
    stream::once(async move { runs.run(id).await.ok() }).filter_map(|detail| async move {
        let run = detail?.run;
        run.state.is_end().then(|| sse::event("end", &run.shown()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_bounded_and_begins_anywhere() {
        let read = |query: &str| RunLogQuery::from_query(&QueryPairs::parse(Some(query)));
        assert_eq!(read(""), Ok(RunLogQuery { from: 0, lines: 1_000, follow: false }));
        assert_eq!(
            read("from=7&lines=10000&follow"),
            Ok(RunLogQuery { from: 7, lines: 10_000, follow: true })
        );
        for (bad, field) in
            [("lines=0", "lines"), ("lines=10001", "lines"), ("from=-1", "from"), ("follow=2", "follow")]
        {
            assert_eq!(read(bad).unwrap_err().member("field"), Some(field), "{bad}");
        }
    }

    #[test]
    fn a_client_that_comes_back_names_the_last_event() {
        let mut headers = HeaderMap::new();
        assert_eq!(last_event(&headers), None);
        headers.insert("last-event-id", "12".parse().unwrap());
        assert_eq!(last_event(&headers), Some(12));
        headers.insert("last-event-id", "x".parse().unwrap());
        assert_eq!(last_event(&headers), None);
    }
}
