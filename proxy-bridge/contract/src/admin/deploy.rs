//! The calls by which a deploy holds, builds and publishes projects, and their answers.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ReloadOutcome;
use crate::event::{Diagnostic, Timings};
use crate::project::ProjectName;

/// The result for one project: `POST /_reload/{name}`, and in the answers to calls of a deploy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// The name of the folder: not always a project name.
    pub project: String,
    /// The result.
    pub outcome: ReloadOutcome,
    /// The version's digest, 64 hex digits. `null` without a version.
    pub digest: Option<String>,
    /// The version's name. `null` without a version.
    pub version: Option<String>,
    /// The digest of the project's own files. Absent unless `digest` covers included files too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_digest: Option<String>,
    /// The reason for a failure. `null` otherwise.
    pub error: Option<Diagnostic>,
    /// The time that each phase took.
    #[serde(default)]
    pub timings_ms: Timings,
}

impl Report {
    /// Returns a report without a version.
    pub fn of(project: &str, outcome: ReloadOutcome) -> Self {
        Self {
            project: project.to_owned(),
            outcome,
            digest: None,
            version: None,
            own_digest: None,
            error: None,
            timings_ms: Timings::default(),
        }
    }
}

/// `POST /_reload`, `POST /_deploys/{id}/build` and `…/publish`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reports {
    /// One report per project.
    pub projects: Vec<Report>,
}

/// `POST /_deploys`: has the router hold projects for a deploy. From the answer (204) on the router
/// reads, builds and publishes them only when the deploy asks for it. The hold ends with the deploy's
/// `publish`, with `DELETE /_deploys/{id}`, or when no call of the deploy came for the length of the
/// lease. Sent again with the same id it renews the lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hold {
    /// The deploy's id, chosen by the caller: 1 to 64 letters, digits and `-`.
    pub id: String,
    /// The projects, each once and at least one.
    pub projects: Vec<ProjectName>,
    /// The lease in milliseconds, 100 to 600,000. Each call of the deploy renews it.
    pub lease_ms: u64,
}

/// A [`Hold`] with an invalid field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHold {
    /// `id` has other characters, or the wrong length.
    #[error("invalid \"id\" {0:?}: expected 1 to 64 letters, digits and -")]
    Id(String),
    /// `projects` is empty.
    #[error("invalid \"projects\": expected at least one name")]
    NoProjects,
    /// `projects` has a name twice.
    #[error("invalid \"projects\": {0} is named twice")]
    Twice(ProjectName),
    /// `lease_ms` is out of range.
    #[error("invalid \"lease_ms\" {0}: expected 100 to 600000 milliseconds")]
    Lease(u64),
}

impl Hold {
    /// A shorter lease would expire between two calls over a busy network.
    const MIN_LEASE_MS: u64 = 100;
    /// A longer lease would keep other deploys out after the deployer has crashed.
    pub const MAX_LEASE_MS: u64 = 600_000;
    const MAX_ID: usize = 64;

    /// Checks the fields.
    ///
    /// # Errors
    /// A field is invalid; the error says which one, and what was expected.
    pub fn check(&self) -> Result<(), InvalidHold> {
        let Self { id, projects, lease_ms } = self;
        let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
        if id.is_empty() || id.len() > Self::MAX_ID || !id.bytes().all(plain) {
            return Err(InvalidHold::Id(id.clone()));
        }
        if projects.is_empty() {
            return Err(InvalidHold::NoProjects);
        }
        let mut seen = HashSet::new();
        if let Some(twice) = projects.iter().find(|project| !seen.insert(*project)) {
            return Err(InvalidHold::Twice(twice.clone()));
        }
        if !(Self::MIN_LEASE_MS..=Self::MAX_LEASE_MS).contains(lease_ms) {
            return Err(InvalidHold::Lease(*lease_ms));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_says_which_field_is_wrong() {
        let name = |name| ProjectName::parse(name).unwrap();
        let good = Hold { id: "d-1".into(), projects: vec![name("a"), name("b")], lease_ms: 100 };
        assert_eq!(good.check(), Ok(()));
        for id in ["", "a b", "a/b", &"x".repeat(65)] {
            let wrong = Hold { id: id.into(), ..good.clone() };
            assert_eq!(wrong.check(), Err(InvalidHold::Id(id.into())));
        }
        let wrong = Hold { projects: vec![], ..good.clone() };
        assert_eq!(wrong.check(), Err(InvalidHold::NoProjects));
        let wrong = Hold { projects: vec![name("a"), name("a")], ..good.clone() };
        assert_eq!(wrong.check(), Err(InvalidHold::Twice(name("a"))));
        for lease_ms in [0, 99, 600_001] {
            assert_eq!(Hold { lease_ms, ..good.clone() }.check(), Err(InvalidHold::Lease(lease_ms)));
        }
    }
}
