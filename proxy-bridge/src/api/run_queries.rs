//! Parameters of queries about tasks and runs.

use std::time::Duration;

use jiff::Timestamp;
use utoipa::IntoParams;

use super::bodies::wait;
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::{RunFilter, RunId, RunState};
use switchyard_contract::suggest::did_you_mean;
use switchyard_contract::task::TaskId;
use switchyard_edge::api::query::{FromQuery, QueryPairs, invalid};
use switchyard_edge::problem::Problem;

/// The longest cursor and name of a step, in bytes.
pub(super) const MAX_TEXT: usize = 512;

/// The form of a time, as in messages.
pub(super) const TIME: &str = "a time with its zone, as in 2026-03-01T08:00:00Z";

/// Reads the parameter `project`.
///
/// # Errors
/// 400 for text that is no project's name.
pub(super) fn project(pairs: &QueryPairs) -> Result<Option<ProjectName>, Problem> {
    let parse = |name: &str| {
        ProjectName::parse(name)
            .map_err(|error| Problem::bad_request(error.to_string()).with("field", "project"))
    };
    pairs.get("project").map(parse).transpose()
}

/// The parameters of the history.
#[derive(Debug, PartialEq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RunsQuery {
    /// Runs of this task or pipeline, as in `blog:digest`.
    #[param(required = false, value_type = String)]
    pub(super) task: Option<TaskId>,
    /// Runs of this project's tasks and pipelines.
    #[param(required = false, value_type = String)]
    pub(super) project: Option<ProjectName>,
    /// Runs in one of these states, separated by commas.
    #[param(required = false, value_type = String)]
    state: Vec<RunState>,
    /// Runs that were accepted then or later.
    #[param(required = false, value_type = String)]
    since: Option<Timestamp>,
    /// Runs that were accepted before then.
    #[param(required = false, value_type = String)]
    until: Option<Timestamp>,
    /// Runs of versions from this commit: at least its first 7 digits.
    #[param(required = false)]
    commit: Option<String>,
    /// Steps of this run, retries of it, and runs that its end started.
    #[param(required = false, value_type = String)]
    parent: Option<RunId>,
    /// The most runs of a page: 1 to 1,000.
    #[param(required = false, default = 50)]
    limit: u32,
    /// The `next` of the page before.
    #[param(required = false)]
    cursor: Option<String>,
}

impl FromQuery for RunsQuery {
    const KEYS: &'static [&'static str] =
        &["task", "project", "state", "since", "until", "commit", "parent", "limit", "cursor"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        let limit = match pairs.get("limit") {
            None => RunFilter::DEFAULT_LIMIT,
            Some(text) => {
                let limit = text.parse().ok().filter(|limit| (1..=RunFilter::MAX_LIMIT).contains(limit));
                limit.ok_or_else(|| invalid("limit", text, "1 to 1000"))?
            }
        };
        let cursor = pairs.get("cursor");
        if let Some(cursor) = cursor.filter(|cursor| cursor.len() > MAX_TEXT) {
            let shown: String = cursor.chars().take(20).collect();
            return Err(invalid("cursor", &format!("{shown}…"), "the \"next\" of the page before"));
        }
        Ok(Self {
            task: pairs.value("task", "PROJECT:TASK, as in blog:digest")?,
            project: project(pairs)?,
            state: states(pairs)?,
            since: pairs.value("since", TIME)?,
            until: pairs.value("until", TIME)?,
            commit: commit(pairs)?,
            parent: pairs.value("parent", "the id of a run")?,
            limit,
            cursor: cursor.map(str::to_owned),
        })
    }
}

impl RunsQuery {
    pub(super) fn filter(self) -> RunFilter {
        RunFilter {
            task: self.task,
            project: self.project,
            states: self.state,
            since: self.since,
            until: self.until,
            commit: self.commit,
            parent: self.parent,
            limit: self.limit,
            cursor: self.cursor,
        }
    }
}

fn states(pairs: &QueryPairs) -> Result<Vec<RunState>, Problem> {
    let names = RunState::ALL.map(RunState::as_str);
    let parse = |name: &str| {
        RunState::parse(name).ok_or_else(|| {
            let expected = format!("{}, separated by commas{}", names.join(", "), did_you_mean(name, &names));
            invalid("state", name, &expected)
        })
    };
    let given = pairs.get("state").unwrap_or_default().split(',').map(str::trim);
    given.filter(|name| !name.is_empty()).map(parse).collect()
}

fn commit(pairs: &QueryPairs) -> Result<Option<String>, Problem> {
    let Some(text) = pairs.get("commit") else { return Ok(None) };
    let is_commit = (7..=64).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    if is_commit {
        Ok(Some(text.to_ascii_lowercase()))
    } else {
        Err(invalid("commit", text, "at least 7 hex digits of a commit"))
    }
}

/// The parameter of requests that can wait for the end of a run.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct WaitQuery {
    /// Seconds for which the answer waits for the end of the run: at most 600. Default: it does not.
    #[param(required = false, value_type = u32)]
    pub(super) wait: Option<Duration>,
}

impl FromQuery for WaitQuery {
    const KEYS: &'static [&'static str] = &["wait"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        Ok(Self { wait: wait(pairs)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(query: &str) -> Result<RunFilter, Problem> {
        let pairs = QueryPairs::parse(Some(query));
        pairs.check(RunsQuery::KEYS)?;
        RunsQuery::from_query(&pairs).map(RunsQuery::filter)
    }

    #[test]
    fn a_query_without_conditions_asks_for_the_newest_runs() {
        assert_eq!(filter(""), Ok(RunFilter::default()));
    }

    #[test]
    fn each_condition_is_read() {
        let id = RunId::new_now();
        let query = format!(
            "task=blog:reports%2Fdigest&project=blog&state=failed,timed-out&since=2026-03-01T08:00:00Z\
             &until=2026-03-02T08:00:00%2B01:00&commit=ABCDEF0&parent={id}&limit=1000&cursor=x"
        );
        let filter = filter(&query).unwrap();
        assert_eq!(filter.task.unwrap().to_string(), "blog:reports/digest");
        assert_eq!(filter.project.unwrap().as_str(), "blog");
        assert_eq!(filter.states, [RunState::Failed, RunState::TimedOut]);
        assert_eq!(filter.until.unwrap().to_string(), "2026-03-02T07:00:00Z");
        assert_eq!((filter.commit.as_deref(), filter.parent), (Some("abcdef0"), Some(id)));
        assert_eq!((filter.limit, filter.cursor.as_deref()), (1000, Some("x")));
    }

    #[test]
    fn a_wrong_condition_is_named_with_what_is_right() {
        for (query, field, says) in [
            ("task=blog", "task", "PROJECT:TASK"),
            ("project=b%2Fc", "project", "invalid"),
            ("state=faild", "state", "did you mean \"failed\"?"),
            ("state=failed,done", "state", "\"done\""),
            ("since=yesterday", "since", "2026-03-01T08:00:00Z"),
            ("commit=main", "commit", "7 hex digits"),
            ("parent=1", "parent", "the id of a run"),
            ("limit=0", "limit", "1 to 1000"),
            ("limit=1001", "limit", "1 to 1000"),
            ("stat=failed", "stat", "did you mean \"state\"?"),
        ] {
            let problem = filter(query).unwrap_err();
            let of = problem.member("field");
            assert_eq!(of, Some(field), "{query}");
            assert!(problem.detail().contains(says), "{query}: {}", problem.detail());
        }
        assert!(filter(&format!("cursor={}", "x".repeat(MAX_TEXT + 1))).is_err());
    }
}
