//! What must survive a restart: the last good version of each project, and since when its folder is
//! gone.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use switchyard_bridge::digest::Digest;
use switchyard_bridge::incarnation::Incarnation;
use switchyard_bridge::project::ProjectName;

use crate::version::{Tenant, Version};

const EXTENSION: &str = "json";
const UNFINISHED: &str = "new";

/// `<state>/last-good/<project>.json`, one file a project.
#[derive(Debug, Clone)]
pub(super) struct Record {
    dir: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct LastGood {
    digest: Digest,
    #[serde(default)]
    incarnation: Incarnation,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gone: Option<Timestamp>,
}

/// The last good version of a project whose folder is gone.
pub(super) struct Gone {
    pub(super) version: Version,
    pub(super) since: Timestamp,
}

impl Record {
    /// # Errors
    /// The folder cannot be made.
    pub(super) fn open(state: &Path) -> Result<Self> {
        let dir = state.join("last-good");
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// The last good versions of the projects that are there. A file that does not parse is told
    /// and passed over: what is on the
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
                Ok((_, Some(_))) => {}
                Ok((version, None)) => {
                    all.insert(version.project.clone(), version);
                }
                Err(error) => tracing::warn!("{} is passed over: {error:#}", path.display()),
            }
        }
        Ok(all)
    }

    /// Remembers a version that became live. At every instant the file is whole, before or after.
    pub(super) fn put(&self, version: &Version) -> Result<()> {
        self.write(version, None)
    }

    /// Notes that the folder of `project` is gone, unless that was noted before.
    pub(super) fn set_gone(&self, project: &ProjectName) {
        let Ok((version, None)) = read(&self.path(project)) else { return };
        if let Err(error) = self.write(&version, Some(Timestamp::now())) {
            tracing::warn!(project.name = %project, "it is not noted that its folder is gone: {error:#}");
        }
    }

    /// The last good version of `project`, when its folder was gone at the last look.
    pub(super) fn gone(&self, project: &ProjectName) -> Option<Gone> {
        let (version, since) = read(&self.path(project)).ok()?;
        Some(Gone { version, since: since? })
    }

    /// The projects that are remembered, whether their folders are there or not.
    pub(super) fn projects(&self) -> Vec<ProjectName> {
        let names = crate::folder::names(&self.dir).into_iter();
        names.filter_map(|name| ProjectName::parse(name.strip_suffix(".json")?).ok()).collect()
    }

    fn write(&self, version: &Version, gone: Option<Timestamp>) -> Result<()> {
        let path = self.path(&version.project);
        let unfinished = path.with_extension(UNFINISHED);
        let last_good = LastGood { digest: version.digest, incarnation: version.incarnation, gone };
        let text = serde_json::to_vec(&last_good).context("write a digest")?;
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

fn read(path: &Path) -> Result<(Version, Option<Timestamp>)> {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let project = ProjectName::parse(name)?;
    let text = fs::read(path).context("read it")?;
    let last_good: LastGood = serde_json::from_slice(&text).context("parse it")?;
    let tenant = Tenant::new(&project, last_good.incarnation);
    Ok((Version::new(&tenant, last_good.digest), last_good.gone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_there_after_a_restart_and_damage_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let version = Version::new(
            &Tenant::first(&ProjectName::parse("a").unwrap()),
            Digest::of_files([("main.ts", [1; 32])]),
        );
        Record::open(dir.path()).unwrap().put(&version).unwrap();
        fs::write(dir.path().join("last-good/b.json"), "{\"dig").unwrap();
        let record = Record::open(dir.path()).unwrap();
        assert_eq!(record.all().unwrap().into_values().collect::<Vec<_>>(), std::slice::from_ref(&version));
        record.set_gone(&version.project);
        assert!(record.all().unwrap().is_empty());
        let since = record.gone(&version.project).unwrap().since;
        record.set_gone(&version.project);
        assert_eq!(record.gone(&version.project).unwrap().since, since, "it is gone since the first look");
        record.put(&version).unwrap();
        assert!(record.gone(&version.project).is_none());
        record.remove(&version.project);
        assert!(record.all().unwrap().is_empty());
    }
}
