//! What must survive a restart: the last good version of each project.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use switchyard_bridge::digest::Digest;
use switchyard_bridge::project::ProjectName;

use crate::version::Version;

const EXTENSION: &str = "json";
const UNFINISHED: &str = "new";

/// `<state>/last-good/<project>.json`, one file a project.
#[derive(Debug)]
pub(super) struct Record {
    dir: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct LastGood {
    digest: Digest,
}

impl Record {
    /// # Errors
    /// The folder cannot be made.
    pub(super) fn open(state: &Path) -> Result<Self> {
        let dir = state.join("last-good");
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// What is remembered. A file that does not parse is told and passed over: what is on the
    /// volume is built anyway.
    pub(super) fn all(&self) -> Result<BTreeMap<ProjectName, Version>> {
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(&self.dir).with_context(|| format!("read {}", self.dir.display()))? {
            let path = entry.context("read the last good versions")?.path();
            if path.extension().is_some_and(|extension| extension == UNFINISHED) {
                let _ = fs::remove_file(&path);
                continue;
            }
            match read(&path) {
                Ok(version) => {
                    all.insert(version.project.clone(), version);
                }
                Err(error) => tracing::warn!("{} is passed over: {error:#}", path.display()),
            }
        }
        Ok(all)
    }

    /// Remembers a version that became live. At every instant the file is whole, before or after.
    pub(super) fn put(&self, version: &Version) -> Result<()> {
        let path = self.path(&version.project);
        let unfinished = path.with_extension(UNFINISHED);
        let text = serde_json::to_vec(&LastGood { digest: version.digest }).context("write a digest")?;
        let mut file =
            fs::File::create(&unfinished).with_context(|| format!("create {}", unfinished.display()))?;
        file.write_all(&text).with_context(|| format!("write {}", unfinished.display()))?;
        fs::rename(&unfinished, &path).with_context(|| format!("name {}", path.display()))
    }

    pub(super) fn remove(&self, project: &ProjectName) {
        match fs::remove_file(self.path(project)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(project.name = %project, "its last good version cannot be forgotten: {error}");
            }
            _ => {}
        }
    }

    fn path(&self, project: &ProjectName) -> PathBuf {
        self.dir.join(project.as_str()).with_extension(EXTENSION)
    }
}

fn read(path: &Path) -> Result<Version> {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let project = ProjectName::parse(name)?;
    let text = fs::read(path).context("read it")?;
    let last_good: LastGood = serde_json::from_slice(&text).context("parse it")?;
    Ok(Version::new(&project, last_good.digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_there_after_a_restart_and_damage_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let version =
            Version::new(&ProjectName::parse("a").unwrap(), Digest::of_files([("main.ts", [1; 32])]));
        Record::open(dir.path()).unwrap().put(&version).unwrap();
        fs::write(dir.path().join("last-good/b.json"), "{\"dig").unwrap();
        let record = Record::open(dir.path()).unwrap();
        assert_eq!(record.all().unwrap().into_values().collect::<Vec<_>>(), std::slice::from_ref(&version));
        record.remove(&version.project);
        assert!(record.all().unwrap().is_empty());
    }
}
