//! Locks of projects: `<projects>/.switchyard-bridge/locks/<project>.json`. Nothing changes a locked
//! project but a save on the volume, which the bridge does not see.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use http::StatusCode;

use switchyard_contract::project::ProjectName;
use switchyard_contract::versions::ProjectLock;
use switchyard_edge::problem::Problem;
use switchyard_program::atomic_file;

/// The folder of all locks. Its calls block, each for one small file.
#[derive(Debug, Clone)]
pub struct Locks(PathBuf);

impl Locks {
    /// The locks in the bridge's own folder on the volume.
    pub fn of(bridge: &Path) -> Self {
        Self(bridge.join("locks"))
    }

    /// Returns the lock of a project.
    ///
    /// # Errors
    /// The volume fails, or the file is damaged.
    pub fn get(&self, project: &ProjectName) -> io::Result<Option<ProjectLock>> {
        match fs::read(self.path(project)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns all locks, by name.
    ///
    /// # Errors
    /// The volume fails.
    pub fn all(&self) -> io::Result<Vec<ProjectLock>> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut locks = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(".json"));
            let Some(Ok(project)) = name.map(ProjectName::parse) else { continue };
            locks.extend(self.get(&project)?);
        }
        locks.sort_by(|one, other| one.project.cmp(&other.project));
        Ok(locks)
    }

    /// Locks a project, or replaces its lock.
    ///
    /// # Errors
    /// The volume fails.
    pub fn put(&self, lock: &ProjectLock) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        atomic_file::write(&self.path(&lock.project), &serde_json::to_vec(lock)?, atomic_file::READABLE)
    }

    /// Takes a lock away. Returns false if there was none.
    ///
    /// # Errors
    /// The volume fails.
    pub fn remove(&self, project: &ProjectName) -> io::Result<bool> {
        match fs::remove_file(self.path(project)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Checks that a project is not locked.
    ///
    /// # Errors
    /// 409 if it is, or if its lock cannot be read.
    pub fn check(&self, project: &ProjectName) -> Result<(), Problem> {
        let detail = match self.get(project) {
            Ok(None) => return Ok(()),
            Ok(Some(lock)) => {
                let by = lock.by.map(|by| format!(" by {by}")).unwrap_or_default();
                let reason = lock.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
                format!(
                    "{project} is locked{by} since {}{reason}: unlock it first (switchyard unlock {project})",
                    lock.at.strftime("%Y-%m-%d %H:%M UTC")
                )
            }
            Err(error) => format!("the lock of {project} cannot be read: {error}; lock or unlock it again"),
        };
        Err(Problem::new(StatusCode::CONFLICT, "locked", detail).with("project", project.as_str()))
    }

    fn path(&self, project: &ProjectName) -> PathBuf {
        self.0.join(format!("{project}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_project_is_not_changed_until_the_lock_is_gone_and_others_are() {
        let dir = tempfile::tempdir().unwrap();
        let locks = Locks::of(dir.path());
        let [blog, shop] = ["blog", "shop"].map(|name| ProjectName::parse(name).unwrap());
        assert!(locks.check(&blog).is_ok() && locks.all().unwrap().is_empty());
        let at = "2026-03-01T12:00:00Z".parse().unwrap();
        let lock = ProjectLock {
            project: blog.clone(),
            by: Some("ops".into()),
            at,
            reason: Some("the sale".into()),
        };
        locks.put(&lock).unwrap();
        let problem = locks.check(&blog).unwrap_err();
        assert_eq!((problem.slug(), problem.status), ("locked", StatusCode::CONFLICT));
        for part in ["by ops", "2026-03-01 12:00 UTC", "(the sale)", "switchyard unlock blog"] {
            assert!(problem.detail().contains(part), "{}", problem.detail());
        }
        assert!(locks.check(&shop).is_ok());
        assert_eq!(locks.all().unwrap(), [lock]);
        fs::write(dir.path().join("locks/shop.json"), "{").unwrap();
        assert!(locks.check(&shop).is_err(), "a damaged lock is a lock");
        assert!(locks.remove(&blog).unwrap() && !locks.remove(&blog).unwrap());
        assert!(locks.check(&blog).is_ok());
    }
}
