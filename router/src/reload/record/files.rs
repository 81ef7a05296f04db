//! The files of the record: one a project, each whole at every instant.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use switchyard_contract::commit::CommitInfo;
use switchyard_contract::digest::Digest;
use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::project::ProjectName;
use switchyard_program::atomic_file;

use super::LastGood;
use crate::project::SupabaseFunction;
use crate::version::{Tenant, Version};

/// The extension of a record.
const EXTENSION: &str = "json";

/// The folder of the files.
#[derive(Debug, Clone)]
pub(super) struct RecordFiles(pub(super) PathBuf);

/// The content of a file.
#[derive(Serialize, Deserialize)]
struct RecordFile {
    digest: Digest,
    #[serde(default)]
    incarnation: Incarnation,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claims: Option<BTreeMap<String, Timestamp>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gone: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    function: Option<SupabaseFunction>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commit: Option<CommitInfo>,
}

impl RecordFiles {
    pub(super) fn all(&self) -> Result<BTreeMap<ProjectName, LastGood>> {
        let Self(dir) = self;
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
            let path = entry.context("read the last good versions")?.path();
            if is_unfinished(&path) {
                let _ = fs::remove_file(&path);
                continue;
            }
            match read(&path) {
                Ok((_, Some(_))) => {}
                Ok((last_good, None)) => {
                    all.insert(last_good.version.project.clone(), last_good);
                }
                Err(error) => tracing::warn!("{} is passed over: {error:#}", path.display()),
            }
        }
        Ok(all)
    }

    pub(super) fn put(&self, last_good: &LastGood, gone: Option<Timestamp>) -> Result<()> {
        let LastGood { version, claims, function, commit } = last_good;
        let path = self.path(&version.project);
        // A project that is gone returns its claims.
        let claims = claims.as_ref().filter(|_| gone.is_none());
        let claims = claims.map(|all| all.iter().map(|(route, since)| (route.to_string(), *since)).collect());
        let recorded = RecordFile {
            digest: version.digest,
            incarnation: version.incarnation,
            claims,
            gone,
            function: function.clone(),
            commit: commit.as_deref().cloned(),
        };
        let text = serde_json::to_vec(&recorded).context("write a digest")?;
        if fs::read(&path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        // A crash that loses the new name costs one build at the next start.
        atomic_file::replace(&path, &text, atomic_file::READABLE)
            .with_context(|| format!("write {}", path.display()))
    }

    pub(super) fn set_gone(&self, project: &ProjectName, since: Timestamp) -> Result<()> {
        match read(&self.path(project)) {
            Ok((last_good, None)) => self.put(&last_good, Some(since)),
            _ => Ok(()),
        }
    }

    pub(super) fn remove(&self, project: &ProjectName) -> Result<()> {
        match fs::remove_file(self.path(project)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub(super) fn path(&self, project: &ProjectName) -> PathBuf {
        self.0.join(project.as_str()).with_extension(EXTENSION)
    }
}

/// Returns true for a file that a router was writing when it was killed.
fn is_unfinished(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(atomic_file::UNFINISHED))
}

/// Reads the record of a project, and the time since which its folder is gone.
pub(super) fn read(path: &Path) -> Result<(LastGood, Option<Timestamp>)> {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let project = ProjectName::parse(name)?;
    let text = fs::read(path).context("read it")?;
    let recorded: RecordFile = serde_json::from_slice(&text).context("parse it")?;
    let version = Version::new(&Tenant::new(&project, recorded.incarnation), recorded.digest);
    // A text that is not a valid route any more is not a claim.
    let claim = |(route, since): (String, Timestamp)| Some((route.parse().ok()?, since));
    let claims = recorded.claims.map(|claims| claims.into_iter().filter_map(claim).collect());
    let commit = recorded.commit.filter(CommitInfo::has_valid_id).map(Arc::new);
    Ok((LastGood { version, claims, function: recorded.function, commit }, recorded.gone))
}
