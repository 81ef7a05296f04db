//! The crons of versions on disk: one file for each project.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use switchyard_contract::digest::Digest;
use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::project::ProjectName;
use switchyard_program::atomic_file;
use switchyard_protocol::CronRegistration;

use super::VersionCrons;
use crate::version::{Tenant, Version};

/// The end of the files' names.
const ENDING: &str = ".json";

/// The folder of the files.
#[derive(Debug)]
pub(super) struct CronFiles(PathBuf);

#[derive(Serialize, Deserialize)]
struct Kept {
    incarnation: Incarnation,
    digest: Digest,
    crons: Vec<CronRegistration>,
}

impl CronFiles {
    /// Opens the folder, and reads what is in it.
    ///
    /// # Errors
    /// The folder cannot be created or read.
    pub(super) fn open(dir: &Path) -> Result<(Self, BTreeMap<ProjectName, Vec<VersionCrons>>)> {
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let mut known = BTreeMap::new();
        for entry in fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))? {
            let path = entry.with_context(|| format!("list {}", dir.display()))?.path();
            match read(&path) {
                Ok(Some((project, versions))) => _ = known.insert(project, versions),
                Ok(None) => {}
                // The first cell of each version reports them again.
                Err(error) => tracing::warn!("{} cannot be read: {error}", path.display()),
            }
        }
        Ok((Self(dir.to_owned()), known))
    }

    /// Writes the crons of a project's versions.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn keep(&self, project: &ProjectName, versions: &[VersionCrons]) -> io::Result<()> {
        let path = self.0.join(format!("{project}{ENDING}"));
        let kept = versions.iter().filter(|known| !known.crons.is_empty());
        let kept: Vec<_> = kept
            .map(|known| Kept {
                incarnation: known.version.incarnation,
                digest: known.version.digest,
                crons: known.crons.to_vec(),
            })
            .collect();
        if kept.is_empty() {
            return match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        atomic_file::write(&path, &serde_json::to_vec(&kept)?, 0o600)
    }
}

/// Reads a file. Returns `None` if it is not one of a project.
fn read(path: &Path) -> io::Result<Option<(ProjectName, Vec<VersionCrons>)>> {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(ENDING));
    let Some(project) = name.and_then(|name| ProjectName::parse(name).ok()) else { return Ok(None) };
    let kept: Vec<Kept> = serde_json::from_slice(&fs::read(path)?)?;
    let versions = kept.into_iter().map(|kept| VersionCrons {
        version: Version::new(&Tenant::new(&project, kept.incarnation), kept.digest),
        cell: None,
        crons: kept.crons.into(),
    });
    let versions = versions.collect();
    Ok(Some((project, versions)))
}
