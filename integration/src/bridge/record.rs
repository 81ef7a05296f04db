//! Records of deploys, with accessors that panic where a test expects a value.

use std::ops::Deref;

use serde::Deserialize;
use switchyard_contract::deploy::{DeployRecord, DeployedProject};

use crate::client::Reply;

/// A deploy's record: `GET /deploys/{id}`, and the 200 and 202 of a deploy.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Record(DeployRecord);

impl Deref for Record {
    type Target = DeployRecord;

    fn deref(&self) -> &DeployRecord {
        &self.0
    }
}

impl Record {
    /// Reads the record in an answer.
    ///
    /// # Panics
    /// The answer is a problem, or has no record.
    pub fn of(reply: &Reply) -> Self {
        assert!(matches!(reply.status, 200 | 202), "{}: {}", reply.status, reply.text());
        serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error} in {}", reply.text()))
    }

    /// Returns the entry of one project.
    ///
    /// # Panics
    /// The record does not name the project.
    pub fn project(&self, name: &str) -> &DeployedProject {
        let found = self.projects.iter().find(|deployed| deployed.project.as_str() == name);
        found.unwrap_or_else(|| panic!("no {name} in {self:#?}"))
    }

    /// Returns the version of the only project.
    ///
    /// # Panics
    /// The record names several projects, or no version.
    pub fn version(&self) -> &str {
        assert_eq!(self.projects.len(), 1, "{self:#?}");
        self.projects[0].version.as_deref().unwrap_or_else(|| panic!("no version in {self:#?}"))
    }

    /// Returns the digest of the only project, as text.
    ///
    /// # Panics
    /// The record names several projects, or no digest.
    pub fn digest(&self) -> String {
        assert_eq!(self.projects.len(), 1, "{self:#?}");
        let digest = self.projects[0].digest.unwrap_or_else(|| panic!("no digest in {self:#?}"));
        digest.to_string()
    }
}
