//! The incarnations of all names that were ever removed: a file each on the volume, which routers
//! read, and a copy here.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use uuid::Uuid;

use super::{VolumeError, sync_folder};
use crate::incarnation::{Data, Ended, Incarnation, Incarnations};
use crate::project::ProjectName;

/// Removals that one name's file tells of: some ten kilobytes. Routers delete the data of an
/// incarnation only while it is named, so of these the oldest makes room for a new one only when
/// its data was to be deleted.
pub const MAX_ENDED: usize = 50;

/// Written by this process alone. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Register(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    projects: PathBuf,
    known: Mutex<BTreeMap<ProjectName, Entry>>,
}

/// A file that cannot be read is an error for its project alone.
type Entry = Result<Incarnations, String>;

impl Register {
    /// Makes the folder if it is not there, and reads every file in it.
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
                // A bridge was killed while it wrote this; what there was before is beside it.
                let _ = fs::remove_file(&path);
                continue;
            };
            let Ok(project) = ProjectName::parse(name) else { continue };
            let read = Incarnations::read(projects, &project).map(Option::unwrap_or_default);
            if let Err(error) = &read {
                tracing::error!(project = name, "the project can neither be deployed nor removed: {error}");
            }
            known.insert(project, read.map_err(|error| error.to_string()));
        }
        Ok(Self(Arc::new(Shared { projects: projects.to_owned(), known: Mutex::new(known) })))
    }

    /// The incarnations of `project`: the first one alone where nothing is known of it.
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
    pub fn removed(&self) -> Vec<(ProjectName, Ended)> {
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
        let unfinished = path.with_extension("new");
        let mut file = File::create(&unfinished)?;
        file.write_all(&serde_json::to_vec(incarnations)?)?;
        file.sync_all()?;
        fs::rename(unfinished, &path)?;
        // Routers see it from here on, whether or not it would outlive a power cut.
        known.insert(project.clone(), Ok(incarnations.clone()));
        sync_folder(&Incarnations::folder(&self.0.projects))
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<ProjectName, Entry>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns an incarnation that nothing belongs to yet.
fn fresh() -> Incarnation {
    // Never 0, which is the first one: a UUID of version 4 has bits that are set.
    Incarnation::from_number(Uuid::new_v4().as_u64_pair().0)
}

impl Incarnations {
    /// Ends the current incarnation and begins the next one.
    pub(super) fn end(&mut self, deploy: &str, version: Option<String>, data: Data, until: Timestamp) {
        let ended = Ended {
            incarnation: self.current,
            deploy: deploy.to_owned(),
            at: Timestamp::now(),
            until,
            version,
            data,
        };
        self.ended.insert(0, ended);
        self.current = fresh();
        self.removed = true;
        self.set_data(data);
        self.make_room();
    }

    /// Notes what becomes of the data of all incarnations that have ended: to delete a name's data
    /// means all of it.
    pub(super) fn set_data(&mut self, data: Data) {
        if data == Data::Delete {
            self.ended.iter_mut().for_each(|ended| ended.data = Data::Delete);
        }
    }

    /// Makes `incarnation`, which had ended, the current one again.
    pub(super) fn bring_back(&mut self, incarnation: Incarnation, deploy: &str) {
        let Some(index) = self.ended.iter().position(|ended| ended.incarnation == incarnation) else {
            return;
        };
        let ended = self.ended.remove(index);
        // Somebody may have put files there meanwhile, which wrote data: that goes when this would
        // have gone.
        let meanwhile = Ended {
            incarnation: self.current,
            deploy: deploy.to_owned(),
            at: ended.at,
            until: ended.until,
            version: None,
            data: Data::Keep,
        };
        self.ended.insert(0, meanwhile);
        self.current = incarnation;
        self.removed = false;
        self.make_room();
    }

    /// Returns `true` while one more removal that keeps its data can be noted.
    pub fn has_room(&self) -> bool {
        self.ended.len() < MAX_ENDED || self.ended.iter().any(is_spent)
    }

    fn make_room(&mut self) {
        while self.ended.len() > MAX_ENDED {
            let Some(oldest) = self.ended.iter().rposition(is_spent) else { break };
            self.ended.remove(oldest);
        }
    }
}

/// Returns `true` when nothing is kept for it any more.
fn is_spent(ended: &Ended) -> bool {
    ended.data == Data::Delete || ended.until < Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(hours: i64) -> Timestamp {
        Timestamp::now() + jiff::SignedDuration::from_hours(hours)
    }

    #[test]
    fn a_removal_ends_an_incarnation_and_a_rollback_brings_it_back() {
        let mut blog = Incarnations::default();
        blog.end("d1", Some("blog@1".into()), Data::Keep, until(1));
        let second = blog.current;
        assert!(!second.is_first() && blog.removed);
        assert_eq!(blog.last_removal().unwrap().incarnation, Incarnation::FIRST);
        blog.bring_back(Incarnation::FIRST, "d2");
        assert_eq!((blog.current, blog.removed), (Incarnation::FIRST, false));
        assert!(blog.end_of(second).is_some() && blog.end_of(Incarnation::FIRST).is_none());
        blog.end("d3", None, Data::Delete, until(1));
        assert!(blog.current != second && !blog.current.is_first());
        assert!(blog.ended.iter().all(|ended| ended.data == Data::Delete));
    }

    #[test]
    fn data_that_is_kept_is_never_forgotten_for_want_of_room() {
        let mut blog = Incarnations::default();
        for _ in 0..MAX_ENDED {
            assert!(blog.has_room());
            blog.end("d", None, Data::Keep, until(1));
        }
        assert!(!blog.has_room());
        blog.end("d", None, Data::Delete, until(1));
        assert!(blog.has_room() && blog.ended.len() == MAX_ENDED);
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
        ended.end("d1", None, Data::Keep, until(1));
        register.put(&shop, &ended).unwrap();
        let again = Register::open(projects.path()).unwrap();
        assert_eq!(again.of(&shop).unwrap(), ended);
        assert_eq!(again.removed().len(), 1);
        assert!(!folder.join("shop.new").exists());
    }
}
