//! The bridge's answers about a deploy.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use switchyard_contract::admin::Report;

use crate::client::Reply;

/// A deploy's record: `GET /deploys/{id}`, and the 200 and 202 of a deploy.
#[derive(Debug, Clone, Deserialize)]
pub struct Record {
    pub deploy: String,
    /// `deploy`, `rollback` or `delete`.
    pub action: String,
    /// `receive`, `store`, `hold`, `build`, `publish` or `done`.
    pub phase: String,
    /// `live`, `removed`, `failed`, `refused`, `unreachable` or `superseded`; none until it is done.
    pub outcome: Option<String>,
    pub by: Option<String>,
    pub at: String,
    pub message: Option<String>,
    pub projects: Vec<Deployed>,
    pub routers: Vec<Told>,
    /// Routers (admin URLs) that did not serve it yet when it was answered 200.
    pub behind: Vec<String>,
    pub timings_ms: BTreeMap<String, f64>,
    pub status: Option<u16>,
    pub problem: Option<Value>,
}

/// One project of it.
#[derive(Debug, Clone, Deserialize)]
pub struct Deployed {
    pub project: String,
    pub digest: Option<String>,
    pub version: Option<String>,
    pub previous: Option<String>,
    pub files: u64,
    pub bytes: u64,
}

/// The report of one router.
#[derive(Debug, Clone, Deserialize)]
pub struct Told {
    /// The router's admin URL.
    pub router: String,
    pub reports: Vec<Report>,
    pub error: Option<String>,
}

impl Record {
    /// # Panics
    /// The answer is not a record.
    pub fn of(reply: &Reply) -> Self {
        assert!(matches!(reply.status, 200 | 202), "{}: {}", reply.status, reply.text());
        serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error} in {}", reply.text()))
    }

    /// Returns the part about one project.
    ///
    /// # Panics
    /// The record has no part about it.
    pub fn project(&self, name: &str) -> &Deployed {
        let found = self.projects.iter().find(|deployed| deployed.project == name);
        found.unwrap_or_else(|| panic!("no {name} in {self:#?}"))
    }

    /// The version of the one project that it is about.
    pub fn version(&self) -> &str {
        assert_eq!(self.projects.len(), 1, "{self:#?}");
        self.projects[0].version.as_deref().unwrap_or_else(|| panic!("no version in {self:#?}"))
    }

    /// The digest of the one project that it is about.
    pub fn digest(&self) -> &str {
        assert_eq!(self.projects.len(), 1, "{self:#?}");
        self.projects[0].digest.as_deref().unwrap_or_else(|| panic!("no digest in {self:#?}"))
    }
}
