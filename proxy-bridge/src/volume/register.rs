//! The incarnations of all names that were ever removed: a file each on the volume, which routers
//! read, and a copy here.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::VolumeError;
use switchyard_contract::incarnation::{EndedIncarnation, Incarnations};
use switchyard_contract::project::ProjectName;
use switchyard_program::atomic_file;

/// Written by this process alone. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Register(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    projects: PathBuf,
    known: Mutex<BTreeMap<ProjectName, RegisterEntry>>,
}

/// The content of a file, or the reason why it cannot be read: an error for its project alone.
type RegisterEntry = Result<Incarnations, UnreadableFile>;

/// A file of the register that cannot be read or parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
struct UnreadableFile(String);

impl Register {
    /// Creates the folder if it does not exist, and reads every file in it.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub(super) fn open(projects: &Path) -> io::Result<Self> {
        let folder = Incarnations::folder(projects);
        fs::create_dir_all(&folder)?;
        let mut known = BTreeMap::new();
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let Some(name) = name.strip_suffix(".json") else {
                // A bridge was killed while it wrote this file. The previous content is in a file
                // of its own.
                let _ = fs::remove_file(&path);
                continue;
            };
            let Ok(project) = ProjectName::parse(name) else { continue };
            let read = Incarnations::read(projects, &project).map(Option::unwrap_or_default);
            if let Err(error) = &read {
                tracing::error!(project = name, "the project can neither be deployed nor removed: {error}");
            }
            known.insert(project, read.map_err(|error| UnreadableFile(error.to_string())));
        }
        Ok(Self(Arc::new(Shared { projects: projects.to_owned(), known: Mutex::new(known) })))
    }

    /// Returns the incarnations of `project`: the first one alone if nothing is recorded.
    ///
    /// # Errors
    /// The project's file cannot be read.
    pub fn of(&self, project: &ProjectName) -> Result<Incarnations, VolumeError> {
        match self.known().get(project) {
            None => Ok(Incarnations::default()),
            Some(Ok(incarnations)) => Ok(incarnations.clone()),
            Some(Err(error)) => {
                Err(VolumeError::io("read which data is the project's", io::Error::other(error.clone())))
            }
        }
    }

    /// The names that were removed and not deployed since, with their removals.
    pub fn removed(&self) -> Vec<(ProjectName, EndedIncarnation)> {
        let known = self.known();
        let removed = known.iter().filter_map(|(project, entry)| {
            Some((project.clone(), entry.as_ref().ok()?.last_removal()?.clone()))
        });
        removed.collect()
    }

    /// Writes the file of `project`: whole or not at all, and durably.
    pub(super) fn put(&self, project: &ProjectName, incarnations: &Incarnations) -> io::Result<()> {
        // Held over the write: of two writers the later one's file is the later one's copy.
        let mut known = self.known();
        if known.get(project).is_some_and(|entry| entry.as_ref() == Ok(incarnations)) {
            return Ok(());
        }
        let path = Incarnations::path(&self.0.projects, project);
        atomic_file::write(&path, &serde_json::to_vec(incarnations)?, atomic_file::READABLE)?;
        known.insert(project.clone(), Ok(incarnations.clone()));
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<ProjectName, RegisterEntry>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use switchyard_contract::incarnation::DataFate;

    use super::*;

    fn until(hours: i64) -> Timestamp {
        Timestamp::now() + jiff::SignedDuration::from_hours(hours)
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error_for_its_project_alone() {
        let projects = tempfile::tempdir().unwrap();
        let folder = Incarnations::folder(projects.path());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("blog.json"), "{").unwrap();
        fs::write(folder.join("shop.new"), "{").unwrap();
        let register = Register::open(projects.path()).unwrap();
        let [blog, shop] = ["blog", "shop"].map(|name| ProjectName::parse(name).unwrap());
        assert!(register.of(&blog).unwrap_err().to_string().contains("blog.json"));
        let mut ended = register.of(&shop).unwrap();
        ended.end("d1", None, DataFate::Keep, until(1));
        register.put(&shop, &ended).unwrap();
        let again = Register::open(projects.path()).unwrap();
        assert_eq!(again.of(&shop).unwrap(), ended);
        assert_eq!(again.removed().len(), 1);
        assert!(!folder.join("shop.new").exists());
    }
}
