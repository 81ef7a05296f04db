//! The local overrides: folders of a developer's own that projects are read from, in place of their
//! folders on the volume. They survive a restart of the router.

mod allowed;
mod place;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use switchyard_contract::project::ProjectName;
use switchyard_program::atomic_file;

pub(crate) use self::allowed::{AllowedFolders, OverrideRefusal};
pub(crate) use self::place::{Place, find_with};

/// The file with the overrides, in the state folder.
const FILE: &str = "overrides.json";

/// All overrides of a router. Clones share one state. Without [`Overrides::open`] there are none,
/// and none is allowed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides(Arc<OverrideState>);

#[derive(Debug, Default)]
struct OverrideState {
    table: Mutex<OverrideTable>,
    /// Held while the file is written, so that the newest content is written last.
    writer: Mutex<()>,
}

#[derive(Debug, Default)]
struct OverrideTable {
    allowed: AllowedFolders,
    state: PathBuf,
    /// The real folder of each project that has an override.
    folders: BTreeMap<ProjectName, PathBuf>,
    /// The projects whose override the watch has yet to follow.
    changed: BTreeSet<ProjectName>,
    /// The projects whose override was dropped at the start.
    dropped: BTreeSet<ProjectName>,
}

impl Overrides {
    /// Reads the overrides of the last run from the state folder `state`. Those that `allowed` does
    /// not cover any more are dropped, with a warning. Blocks.
    pub(crate) fn open(&self, allowed: AllowedFolders, state: &Path) {
        let recorded = read(&state.join(FILE));
        let mut table = OverrideTable { allowed, state: state.to_owned(), ..OverrideTable::default() };
        for (project, folder) in recorded {
            match table.allowed.confirm(&folder, state) {
                Ok(folder) => {
                    tracing::info!(
                        project.name = %project,
                        folder = %folder.display(),
                        "{project} is read from a local folder instead of the volume (an override)"
                    );
                    table.folders.insert(project, folder);
                }
                Err(refusal) => {
                    tracing::warn!(
                        project.name = %project,
                        "the override of {project} is dropped, and the volume is served: {refusal}"
                    );
                    table.dropped.insert(project);
                }
            }
        }
        let is_changed = !table.dropped.is_empty();
        *self.table() = table;
        if is_changed {
            self.save();
        }
    }

    /// Records these overrides in the state folder `state`, in place of those of the last run, for
    /// [`Overrides::open`]. Blocks.
    pub(crate) fn record(folders: &BTreeMap<ProjectName, PathBuf>, state: &Path) {
        write(folders, &state.join(FILE));
    }

    /// Returns the real folder at `path`, if a project may be read from it. Blocks.
    ///
    /// # Errors
    /// [`OverrideRefusal`].
    pub(crate) fn resolve(&self, path: &Path) -> Result<PathBuf, OverrideRefusal> {
        let (allowed, state) = {
            let table = self.table();
            (table.allowed.clone(), table.state.clone())
        };
        allowed.resolve(path, &state)
    }

    /// Has `project` read from `folder`, or from the volume again. Returns the folder before. The
    /// change lasts until the next start unless [`Overrides::save`] follows.
    pub(crate) fn set(&self, project: &ProjectName, folder: Option<PathBuf>) -> Option<PathBuf> {
        let mut table = self.table();
        table.changed.insert(project.clone());
        match folder {
            Some(folder) => table.folders.insert(project.clone(), folder),
            None => table.folders.remove(project),
        }
    }

    /// The folder that the project `name` is read from instead of the volume.
    pub(crate) fn folder(&self, name: &str) -> Option<PathBuf> {
        self.table().folders.get(name).cloned()
    }

    /// The names of the projects that have an override.
    pub(crate) fn names(&self) -> Vec<ProjectName> {
        self.table().folders.keys().cloned().collect()
    }

    /// The place of the project `name`, on the volume in the folder `volume` or elsewhere.
    pub(crate) fn place(&self, volume: &Path, name: &str) -> Place {
        match self.folder(name) {
            Some(dir) => Place { dir, volume: Some(volume.to_owned()) },
            None => Place::on_volume(volume.join(name)),
        }
    }

    /// The projects whose overrides have changed since the last call. For the watch.
    pub(crate) fn take_changed(&self) -> BTreeSet<ProjectName> {
        std::mem::take(&mut self.table().changed)
    }

    /// The projects whose overrides were dropped at the start. Their last good versions are not those
    /// of the volume.
    pub(crate) fn dropped(&self) -> BTreeSet<ProjectName> {
        self.table().dropped.clone()
    }

    /// Writes the overrides into the state folder. A failure is logged. Blocks.
    pub(crate) fn save(&self) {
        let _writing = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, folders) = {
            let table = self.table();
            (table.state.join(FILE), table.folders.clone())
        };
        write(&folders, &file);
    }

    fn table(&self) -> MutexGuard<'_, OverrideTable> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(folders: &BTreeMap<ProjectName, PathBuf>, file: &Path) {
    let text = serde_json::to_vec_pretty(folders).map_err(io::Error::from);
    let written = text.and_then(|text| atomic_file::write(file, &text, atomic_file::PRIVATE));
    if let Err(error) = written {
        tracing::error!(
            "overrides are lost at the next start: {} cannot be written: {error}",
            file.display()
        );
    }
}

fn read(file: &Path) -> BTreeMap<ProjectName, PathBuf> {
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return BTreeMap::new(),
        Err(error) => {
            tracing::error!("overrides are lost: {} cannot be read: {error}", file.display());
            return BTreeMap::new();
        }
    };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        tracing::error!("overrides are lost: {} does not parse: {error}", file.display());
        BTreeMap::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scene(tempfile::TempDir);

    impl Scene {
        fn new(folders: &[&str]) -> Self {
            let scene = Self(tempfile::tempdir().unwrap());
            for folder in folders.iter().chain(&["state"]) {
                fs::create_dir_all(scene.path(folder)).unwrap();
            }
            scene
        }

        fn path(&self, path: &str) -> PathBuf {
            self.0.path().canonicalize().unwrap().join(path)
        }

        fn open(&self, allowed: &[&str]) -> Overrides {
            let allowed: Vec<_> = allowed.iter().map(|folder| self.path(folder)).collect();
            let overrides = Overrides::default();
            overrides.open(AllowedFolders::open(&allowed).unwrap(), &self.path("state"));
            overrides
        }
    }

    fn name(text: &str) -> ProjectName {
        ProjectName::parse(text).unwrap()
    }

    #[test]
    fn an_override_survives_a_restart_until_it_ends() {
        let scene = Scene::new(&["dev/blog"]);
        let overrides = scene.open(&["dev"]);
        let folder = overrides.resolve(&scene.path("dev/blog")).unwrap();
        assert_eq!(overrides.set(&name("blog"), Some(folder.clone())), None);
        overrides.save();
        let overrides = scene.open(&["dev"]);
        assert_eq!(overrides.folder("blog"), Some(folder.clone()));
        assert_eq!(overrides.set(&name("blog"), None), Some(folder));
        assert_eq!(overrides.take_changed(), BTreeSet::from([name("blog")]));
        assert!(overrides.take_changed().is_empty());
        overrides.save();
        assert_eq!(scene.open(&["dev"]).folder("blog"), None);
    }

    #[test]
    fn an_override_that_is_not_allowed_any_more_is_dropped_for_good() {
        let scene = Scene::new(&["dev/blog", "other"]);
        let overrides = scene.open(&["dev"]);
        overrides.set(&name("blog"), Some(scene.path("dev/blog")));
        overrides.save();
        let overrides = scene.open(&["other"]);
        assert_eq!((overrides.folder("blog"), overrides.dropped()), (None, BTreeSet::from([name("blog")])));
        let overrides = scene.open(&["dev"]);
        assert_eq!((overrides.folder("blog"), overrides.dropped()), (None, BTreeSet::new()));
    }

    #[test]
    fn an_override_whose_folder_is_missing_at_the_start_is_kept() {
        let scene = Scene::new(&["dev/blog"]);
        let overrides = scene.open(&["dev"]);
        overrides.set(&name("blog"), Some(scene.path("dev/blog")));
        overrides.save();
        fs::remove_dir(scene.path("dev/blog")).unwrap();
        assert_eq!(scene.open(&["dev"]).folder("blog"), Some(scene.path("dev/blog")));
        std::os::unix::fs::symlink("/etc", scene.path("dev/blog")).unwrap();
        assert_eq!(scene.open(&["dev"]).folder("blog"), None, "it leads out of the allowed folder now");
    }

    #[test]
    fn a_damaged_file_costs_the_overrides_and_not_the_start() {
        let scene = Scene::new(&["dev"]);
        fs::write(scene.path("state").join(FILE), "{\"blog\": ").unwrap();
        assert!(scene.open(&["dev"]).names().is_empty());
    }

    #[test]
    fn a_project_is_in_its_override_or_on_the_volume() {
        let overrides = Overrides::default();
        overrides.set(&name("blog"), Some("/dev/blog".into()));
        let volume = Path::new("/projects");
        let place = overrides.place(volume, "blog");
        assert_eq!((place.dir.as_path(), place.is_override()), (Path::new("/dev/blog"), true));
        let place = overrides.place(volume, "shop");
        assert_eq!((place.dir.as_path(), place.is_override()), (Path::new("/projects/shop"), false));
    }
}
