//! The admin listener, with its JSON as types.

use std::collections::BTreeMap;
use std::path::Path;

use http::Method;
use serde::de::DeserializeOwned;
use switchyard_contract::admin::{Checkouts, Hold, ProjectOverride, Projects, Report, Reports, Status};
use switchyard_contract::project::ProjectName;

use crate::client::{Client, Reply, json_body, post, with_method};

#[derive(Debug, Clone)]
pub struct Admin {
    pub client: Client,
}

impl Admin {
    /// Reloads one project and gives what happened.
    pub async fn reload(&self, project: &str) -> Report {
        parse(self.client.post(&format!("/_reload/{project}")).await)
    }

    /// Reloads all projects.
    pub async fn reload_all(&self) -> BTreeMap<String, Report> {
        let all: Reports = parse(self.client.post("/_reload").await);
        all.projects.into_iter().map(|project| (project.project.clone(), project)).collect()
    }

    pub async fn project(&self, name: &str) -> Status {
        parse(self.client.get(&format!("/projects/{name}")).await)
    }

    pub async fn projects(&self) -> BTreeMap<String, Status> {
        let all: Projects = parse(self.client.get("/projects").await);
        all.projects.into_iter().map(|project| (project.name.clone(), project)).collect()
    }

    /// Returns the changes since an earlier answer.
    pub async fn changes(&self, earlier: &Projects) -> Projects {
        let Projects { router, revision, .. } = earlier;
        parse(self.client.get(&format!("/projects?since={revision}&router={router}")).await)
    }

    /// Returns all projects, with the revision to ask for changes after.
    pub async fn all(&self) -> Projects {
        parse(self.client.get("/projects").await)
    }

    /// Asks for a hold of projects, on a lease that outlasts any test.
    pub async fn try_hold(&self, id: &str, projects: &[&str]) -> Reply {
        self.try_hold_for(id, projects, 600_000).await
    }

    pub async fn try_hold_for(&self, id: &str, projects: &[&str], lease_ms: u64) -> Reply {
        let projects = projects.iter().map(|name| ProjectName::parse(name).expect("it is a name"));
        let commits = BTreeMap::new();
        self.send_hold(&Hold { id: id.to_owned(), projects: projects.collect(), lease_ms, commits }).await
    }

    /// Asks for a hold as it is.
    pub async fn send_hold(&self, hold: &Hold) -> Reply {
        let body = serde_json::to_vec(hold).expect("a hold is plain data");
        self.client.send(json_body(post("/_deploys", body))).await
    }

    /// Holds projects for a deploy.
    pub async fn hold(&self, id: &str, projects: &[&str]) {
        let reply = self.try_hold(id, projects).await;
        assert_eq!(reply.status, 204, "{}", reply.text());
    }

    /// Builds what a deploy holds.
    pub async fn build(&self, id: &str) -> Vec<Report> {
        parse::<Reports>(self.client.post(&format!("/_deploys/{id}/build")).await).projects
    }

    pub async fn try_publish(&self, id: &str) -> Reply {
        self.client.post(&format!("/_deploys/{id}/publish")).await
    }

    /// Publishes what a deploy had built.
    pub async fn publish(&self, id: &str) -> Vec<Report> {
        parse::<Reports>(self.try_publish(id).await).projects
    }

    pub async fn release(&self, id: &str) -> Reply {
        self.client.send(with_method(Method::DELETE, &format!("/_deploys/{id}"))).await
    }

    /// Asks for a project to be read from a local folder.
    pub async fn try_override(&self, project: &str, folder: &str) -> Reply {
        let body =
            serde_json::to_vec(&ProjectOverride { path: folder.to_owned() }).expect("it is plain data");
        let path = format!("/projects/{project}/override");
        let mut request = json_body(post(&path, body));
        *request.method_mut() = Method::PUT;
        self.client.send(request).await
    }

    /// Has a project read from a local folder.
    pub async fn set_override(&self, project: &str, folder: &Path) -> Report {
        parse(self.try_override(project, folder.to_str().expect("it is text")).await)
    }

    /// Has a project read from the volume again.
    pub async fn end_override(&self, project: &str) -> Report {
        parse(self.client.send(with_method(Method::DELETE, &format!("/projects/{project}/override"))).await)
    }

    pub async fn checkouts(&self, project: &str) -> Checkouts {
        parse(self.client.get(&format!("/projects/{project}/checkouts")).await)
    }

    /// The value of a metric: the sum over all lines with that name whose labels contain `label`.
    pub async fn metric(&self, name: &str, label: &str) -> Option<f64> {
        let text = self.client.get("/metrics").await.text();
        let values = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let named = series == name || series.starts_with(&format!("{name}{{"));
            (named && series.contains(label)).then(|| value.parse::<f64>().ok())?
        });
        values.reduce(|sum, value| sum + value)
    }
}

fn parse<T: DeserializeOwned>(reply: Reply) -> T {
    assert_eq!(reply.status, 200, "{}", reply.text());
    serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error} in {}", reply.text()))
}
