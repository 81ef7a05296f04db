//! The calls by which a deploy holds, builds and publishes projects, and their answers.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ReloadOutcome;
use crate::commit::CommitInfo;
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
    /// The commits that the deployed files came from, by project. Absent unless a git source deploys
    /// them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub commits: BTreeMap<ProjectName, CommitInfo>,
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
    /// `commits` has a project that is not held.
    #[error("invalid \"commits\": {0} is not in \"projects\"")]
    NotHeld(ProjectName),
    /// `commits` has an id that is none.
    #[error("invalid \"commits\": the commit of {project} is {commit:?}, expected 40 or 64 of 0-9 and a-f")]
    Commit {
        /// The project.
        project: ProjectName,
        /// The invalid id.
        commit: String,
    },
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
        let Self { id, projects, lease_ms, commits } = self;
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
        for (project, commit) in commits {
            if !seen.contains(project) {
                return Err(InvalidHold::NotHeld(project.clone()));
            }
            if !commit.has_valid_id() {
                let (project, commit) = (project.clone(), commit.commit.clone());
                return Err(InvalidHold::Commit { project, commit });
            }
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
        let projects = vec![name("a"), name("b")];
        let good = Hold { id: "d-1".into(), projects, lease_ms: 100, commits: BTreeMap::new() };
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

    #[test]
    fn a_hold_names_a_real_commit_of_a_project_that_it_holds() {
        let name = |name| ProjectName::parse(name).unwrap();
        let commit = |commit: &str| CommitInfo {
            source: "shop".into(),
            commit: commit.into(),
            ref_name: Some("refs/heads/main".into()),
        };
        let hold = |project, id: &str| Hold {
            id: "d".into(),
            projects: vec![name("a")],
            lease_ms: 100,
            commits: [(name(project), commit(id))].into(),
        };
        for good in ["a".repeat(40), "0".repeat(64)] {
            assert_eq!(hold("a", &good).check(), Ok(()));
        }
        assert_eq!(hold("b", &"a".repeat(40)).check(), Err(InvalidHold::NotHeld(name("b"))));
        for bad in ["", "main", &"a".repeat(39), &"A".repeat(40), &format!("{}\r\nx: y", "a".repeat(34))] {
            let wrong = InvalidHold::Commit { project: name("a"), commit: bad.to_owned() };
            assert_eq!(hold("a", bad).check(), Err(wrong));
        }
    }

    #[test]
    fn a_hold_of_an_older_bridge_has_no_commits() {
        let old = r#"{"id": "d", "projects": ["a"], "lease_ms": 100}"#;
        let hold: Hold = serde_json::from_str(old).unwrap();
        assert!(hold.commits.is_empty());
        assert!(!serde_json::to_string(&hold).unwrap().contains("commits"));
    }
}
