//! `GET /projects` and `GET /projects/{name}`: the status of projects, and its changes.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::{Serialize, Serializer};
use switchyard_contract::admin::{Projects, Status};
use switchyard_edge::api::answer::json;
use switchyard_edge::api::path::Path;
use switchyard_edge::api::query::{FromQuery, Query, QueryPairs};
use switchyard_edge::problem::Problem;
use utoipa::IntoParams;

use super::{AdminState, unknown_project};
use crate::live::{BoardChanges, ProjectStatus};

/// The parameters of `GET /projects`, both from one earlier answer.
#[derive(Debug, Default, PartialEq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ChangesQuery {
    /// The `revision` of an earlier answer: only the changes after it are sent.
    since: Option<u64>,
    /// The `router` of that answer. Another router sends all projects.
    router: Option<String>,
}

impl FromQuery for ChangesQuery {
    const KEYS: &'static [&'static str] = &["since", "router"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        let since = pairs.value("since", "the \"revision\" of an earlier answer")?;
        let router = pairs.get("router").map(str::to_owned);
        if since.is_some() != router.is_some() {
            let detail = "since and router go together: use both from one earlier answer";
            return Err(Problem::bad_request(detail).with("field", "since"));
        }
        Ok(Self { since, router })
    }
}

impl ChangesQuery {
    /// The revision, unless it is another router's.
    fn at(&self, router: &str) -> Option<u64> {
        self.since.filter(|_| self.router.as_deref() == Some(router))
    }
}

/// [`Projects`], as they are sent: one status after the other, as thousands of them at once would
/// take more memory than all that is kept of the projects.
#[derive(Serialize)]
struct SentProjects {
    router: String,
    installs: bool,
    revision: u64,
    since: Option<u64>,
    #[serde(serialize_with = "counted")]
    projects: Vec<Arc<ProjectStatus>>,
    removed: Vec<String>,
}

fn counted<S: Serializer>(projects: &[Arc<ProjectStatus>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(projects.iter().map(|shown| shown.counted()))
}

/// All projects, or those whose status has changed
#[utoipa::path(get, path = "/projects", tag = "projects", params(ChangesQuery), responses(
    (status = 200, description = "The projects", body = Projects),
))]
pub(super) async fn projects(
    State(admin): AdminState,
    Query(query): Query<ChangesQuery>,
) -> Result<Response, Problem> {
    let make = move |admin: &super::Admin| {
        let router = admin.events.router().to_owned();
        let BoardChanges { revision, since, projects, removed } = admin.board.changed(query.at(&router));
        let installs = admin.installs;
        json(StatusCode::OK, &SentProjects { router, installs, revision, since, projects, removed })
    };
    admin.blocking(make).await
}

/// One project
#[utoipa::path(get, path = "/projects/{name}", tag = "projects",
    params(("name" = String, Path, description = "The name of the project's folder")),
    responses(
        (status = 200, description = "The project", body = Status),
        (status = 404, description = "unknown-project"),
    ),
)]
pub(super) async fn project(State(admin): AdminState, Path(name): Path<String>) -> Result<Response, Problem> {
    let status = admin.board.one(&name).ok_or_else(|| unknown_project(&name))?;
    Ok(json(StatusCode::OK, &status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<ChangesQuery, Problem> {
        let pairs = QueryPairs::parse(Some(query));
        pairs.check(ChangesQuery::KEYS)?;
        ChangesQuery::from_query(&pairs)
    }

    #[test]
    fn a_revision_counts_only_at_the_router_that_it_came_from() {
        let since = parse("since=17&router=r1").unwrap();
        assert_eq!((since.at("r1"), since.at("r2")), (Some(17), None));
        assert_eq!(parse("").unwrap().at("r1"), None);
    }

    #[test]
    fn projects_are_sent_as_a_client_reads_them() {
        let status = Status { name: "Bad name".to_owned(), ..Status::default() };
        let shown =
            ProjectStatus { status: status.clone(), ..ProjectStatus::invalid("", Default::default()) };
        let (router, installs, revision, since) = ("r1".to_owned(), true, 7, Some(3));
        let (projects, removed) = (vec![status], vec!["gone".to_owned()]);
        let sent = SentProjects {
            router: router.clone(),
            installs,
            revision,
            since,
            projects: vec![Arc::new(shown)],
            removed: removed.clone(),
        };
        let read: Projects = serde_json::from_value(serde_json::to_value(sent).unwrap()).unwrap();
        assert_eq!(read, Projects { router, installs, revision, since, projects, removed });
    }

    #[test]
    fn an_invalid_query_is_refused_with_the_invalid_field() {
        for (query, says) in [
            ("since=x&router=r1", "invalid since \"x\": expected the \"revision\""),
            ("since=-1&router=r1", "invalid since \"-1\": expected the \"revision\""),
            ("since=1", "go together"),
            ("router=r1", "go together"),
            ("from=1", "unknown query parameter \"from\""),
        ] {
            let problem = parse(query).unwrap_err();
            assert!(problem.detail().contains(says), "{query}: {}", problem.detail());
        }
    }
}
