//! The admin listener, with its JSON as types.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use switchyard_bridge::event::{Diagnostic, Timings};

use crate::client::{Client, Reply};

#[derive(Debug, Clone)]
pub struct Admin {
    pub client: Client,
}

/// What `POST /_reload/{name}` answers.
#[derive(Debug, Clone, Deserialize)]
pub struct Reloaded {
    pub project: String,
    /// `live`, `failed`, `unchanged` or `removed`.
    pub outcome: String,
    pub digest: Option<String>,
    pub version: Option<String>,
    pub error: Option<Diagnostic>,
    pub timings_ms: Timings,
}

/// What `GET /projects/{name}` answers; in `GET /projects` some fields may be left out.
#[derive(Debug, Clone, Deserialize)]
pub struct ProjectState {
    pub name: String,
    /// `building`, `live`, `failed`, `invalid` or `idle`.
    pub state: String,
    pub on_disk: Option<VersionState>,
    pub live: Option<VersionState>,
    pub last_good: Option<VersionState>,
    pub error: Option<Diagnostic>,
    #[serde(default)]
    pub in_flight: u64,
    #[serde(default)]
    pub draining: Vec<serde_json::Value>,
    #[serde(default)]
    pub reloads: Vec<serde_json::Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct VersionState {
    pub digest: String,
    pub version: String,
}

#[derive(Deserialize)]
struct Projects<T> {
    projects: Vec<T>,
}

impl Admin {
    /// Reloads one project and gives what happened.
    pub async fn reload(&self, project: &str) -> Reloaded {
        parse(self.client.post(&format!("/_reload/{project}")).await)
    }

    /// Reloads all projects.
    pub async fn reload_all(&self) -> BTreeMap<String, Reloaded> {
        let all: Projects<Reloaded> = parse(self.client.post("/_reload").await);
        all.projects.into_iter().map(|project| (project.project.clone(), project)).collect()
    }

    pub async fn project(&self, name: &str) -> ProjectState {
        parse(self.client.get(&format!("/projects/{name}")).await)
    }

    pub async fn projects(&self) -> BTreeMap<String, ProjectState> {
        let all: Projects<ProjectState> = parse(self.client.get("/projects").await);
        all.projects.into_iter().map(|project| (project.name.clone(), project)).collect()
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
