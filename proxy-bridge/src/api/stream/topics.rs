//! The topics of a stream, as its query names them.

use utoipa::IntoParams;

use switchyard_contract::project::ProjectName;
use switchyard_edge::api::query::{FromQuery, QueryPairs, invalid};
use switchyard_edge::problem::Problem;

/// The log, and the requests, of each project are a stream at every router.
const MAX_PROJECTS: usize = 8;

const EXPECTED: &str = "projects, deploys, events, loads, logs:PROJECT or requests:PROJECT, with commas \
    between, and at most 8 projects of each kind";

/// The parameters of the stream.
#[derive(Debug, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct StreamQuery {
    /// The topics: `projects`, `deploys`, `events`, `loads`, `logs:PROJECT` and `requests:PROJECT`, with
    /// commas between.
    #[param(value_type = String)]
    pub(super) topics: Topics,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Topics {
    pub(super) projects: bool,
    pub(super) deploys: bool,
    pub(super) events: bool,
    pub(super) loads: bool,
    pub(super) logs: Vec<ProjectName>,
    pub(super) requests: Vec<ProjectName>,
}

impl FromQuery for StreamQuery {
    const KEYS: &'static [&'static str] = &["topics"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        let text = pairs.get("topics").unwrap_or_default();
        let topics = Topics::parse(text).ok_or_else(|| invalid("topics", text, EXPECTED))?;
        Ok(Self { topics })
    }
}

impl Topics {
    fn parse(text: &str) -> Option<Self> {
        let mut topics = Self::default();
        for topic in text.split(',') {
            match (topic, topic.split_once(':')) {
                ("projects", _) => topics.projects = true,
                ("deploys", _) => topics.deploys = true,
                ("events", _) => topics.events = true,
                ("loads", _) => topics.loads = true,
                (_, Some(("logs", project))) => topics.logs.push(ProjectName::parse(project).ok()?),
                (_, Some(("requests", project))) => topics.requests.push(ProjectName::parse(project).ok()?),
                _ => return None,
            }
        }
        (topics.logs.len().max(topics.requests.len()) <= MAX_PROJECTS).then_some(topics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<StreamQuery, Problem> {
        StreamQuery::from_query(&QueryPairs::parse(Some(text)))
    }

    #[test]
    fn topics_are_a_list_in_which_each_log_and_the_requests_name_their_project() {
        let blog = ProjectName::parse("blog").unwrap();
        let (logs, requests) = (vec![blog.clone()], vec![blog]);
        let topics =
            Topics { projects: true, events: true, loads: true, logs, requests, ..Topics::default() };
        let text = "topics=projects,logs:blog,events,requests:blog,loads";
        assert_eq!(parse(text).unwrap(), StreamQuery { topics });
        for wrong in ["", "topics=", "topics=all", "topics=logs:", "topics=requests", "topics=logs:No%20Name"]
        {
            assert_eq!(parse(wrong).unwrap_err().member("field"), Some("topics"), "{wrong}");
        }
        for kind in ["logs", "requests"] {
            let many = |count: usize| format!("topics={}", vec![format!("{kind}:a"); count].join(","));
            assert!(parse(&many(MAX_PROJECTS)).is_ok() && parse(&many(MAX_PROJECTS + 1)).is_err(), "{kind}");
        }
    }
}
