//! The place of a project: its folder, and the folders that its includes lie in.

use std::path::{Path, PathBuf};

/// The place that a project is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The project's folder.
    pub(crate) dir: PathBuf,
    /// The folder of the volume, if `dir` is an override: it has the includes that are not beside
    /// `dir`. `None`: the project lies on the volume.
    pub(crate) volume: Option<PathBuf>,
}

impl Place {
    /// The place of a project on the volume.
    pub(crate) fn on_volume(dir: PathBuf) -> Self {
        Self { dir, volume: None }
    }

    pub(crate) fn is_override(&self) -> bool {
        self.volume.is_some()
    }

    /// The folders that includes are looked for in; the first that has one counts.
    pub(crate) fn include_folders(&self) -> impl Iterator<Item = &Path> {
        self.dir.parent().into_iter().chain(self.volume.as_deref())
    }

    /// Returns the one of [`Self::include_folders`] that has `below`, or else the first.
    pub(crate) fn folder_with(&self, below: &Path) -> Option<&Path> {
        find_with(self.include_folders(), below)
    }
}

/// Returns the first of `folders` that has an entry at `below`, or else the first of all.
pub(crate) fn find_with<'a>(folders: impl IntoIterator<Item = &'a Path>, below: &Path) -> Option<&'a Path> {
    let mut folders = folders.into_iter().peekable();
    let first = *folders.peek()?;
    let mut others = folders.skip(1);
    // Without another folder the file system is not asked.
    let Some(second) = others.next() else { return Some(first) };
    let mut all = [first, second].into_iter().chain(others);
    all.find(|folder| folder.join(below).symlink_metadata().is_ok()).or(Some(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_include_lies_beside_the_project_or_else_on_the_volume() {
        let dir = tempfile::tempdir().unwrap();
        let [local, volume] = ["local", "volume"].map(|name| dir.path().join(name));
        for folder in [local.join("api"), local.join("_both"), volume.join("_both"), volume.join("_one")] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let place = Place { dir: local.join("api"), volume: Some(volume.clone()) };
        for (below, folder) in [("_both", &local), ("_one", &volume), ("_none", &local)] {
            assert_eq!(place.folder_with(Path::new(below)), Some(folder.as_path()), "{below}");
        }
        let place = Place::on_volume(volume.join("api"));
        assert_eq!(place.folder_with(Path::new("_none")), Some(volume.as_path()));
    }
}
