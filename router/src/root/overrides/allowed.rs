//! The folders below which overrides may lie (`--allow-override`).

use std::io;
use std::path::{Path, PathBuf};

/// The real paths of the folders. Empty: no override is allowed.
#[derive(Debug, Clone, Default)]
pub(crate) struct AllowedFolders {
    /// Folders below which an override may lie.
    above: Vec<PathBuf>,
    /// Folders that may be an override themselves.
    exact: Vec<PathBuf>,
}

/// The reason why a folder of `--allow-override` cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidFolder {
    #[error("{} is not an absolute path: begin it with /", .0.display())]
    Relative(PathBuf),
    #[error("{}: {}; create it, or name the folder that holds the local projects", .0.display(), .1)]
    Missing(PathBuf, io::Error),
}

/// The reason why a project cannot be read from a folder.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OverrideRefusal {
    #[error("the router allows no overrides: start it with --allow-override and a folder above {}", .0.display())]
    Off(PathBuf),
    #[error("{} is not below a folder of the router's --allow-override ({})", .0.display(), .1)]
    Outside(PathBuf, String),
    #[error("{} contains the router's state folder (--state), or lies in it: name another folder", .0.display())]
    State(PathBuf),
    #[error("{} is not an absolute path: begin it with /", .0.display())]
    Relative(PathBuf),
    #[error("{} cannot be read as a folder: {}", .0.display(), .1)]
    NoFolder(PathBuf, io::Error),
}

impl AllowedFolders {
    /// Resolves the folders that the flag names.
    ///
    /// # Errors
    /// A path is not absolute, or leads to no folder.
    pub(crate) fn open(folders: &[PathBuf]) -> Result<Self, InvalidFolder> {
        let open = |path: &PathBuf| match path.is_absolute() {
            false => Err(InvalidFolder::Relative(path.clone())),
            true => real_folder(path).map_err(|error| InvalidFolder::Missing(path.clone(), error)),
        };
        let above = folders.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { above, exact: Vec::new() })
    }

    /// Allows these folders too, but not those in them.
    pub(crate) fn with_exactly(self, folders: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { exact: folders.into_iter().collect(), ..self }
    }

    /// Returns the real folder at `path`, which lies below an allowed one. `state`: the router's
    /// state folder.
    ///
    /// # Errors
    /// [`OverrideRefusal`].
    pub(super) fn resolve(&self, path: &Path, state: &Path) -> Result<PathBuf, OverrideRefusal> {
        if self.above.is_empty() && self.exact.is_empty() {
            return Err(OverrideRefusal::Off(path.to_owned()));
        }
        if !path.is_absolute() {
            return Err(OverrideRefusal::Relative(path.to_owned()));
        }
        let real = path.canonicalize();
        // What lies outside is not told apart.
        if let Ok(real) = &real {
            self.check(real, state)?;
        }
        match real {
            Ok(real) => real_folder(&real).map_err(|error| OverrideRefusal::NoFolder(path.to_owned(), error)),
            Err(error) if self.covers(path) => Err(OverrideRefusal::NoFolder(path.to_owned(), error)),
            Err(_) => Err(self.outside(path)),
        }
    }

    /// Returns the real folder of an override of the last run. One that is missing is kept: it may
    /// come back.
    ///
    /// # Errors
    /// It is not allowed any more, or leads elsewhere now.
    pub(super) fn confirm(&self, folder: &Path, state: &Path) -> Result<PathBuf, OverrideRefusal> {
        if self.above.is_empty() && self.exact.is_empty() {
            return Err(OverrideRefusal::Off(folder.to_owned()));
        }
        let real = match folder.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => folder.to_owned(),
            Err(error) => return Err(OverrideRefusal::NoFolder(folder.to_owned(), error)),
            Ok(real) => real,
        };
        self.check(&real, state)?;
        Ok(real)
    }

    fn check(&self, real: &Path, state: &Path) -> Result<(), OverrideRefusal> {
        if !self.covers(real) {
            return Err(self.outside(real));
        }
        if real.starts_with(state) || state.starts_with(real) {
            return Err(OverrideRefusal::State(real.to_owned()));
        }
        Ok(())
    }

    /// Returns true if `path` lies below an allowed folder. Includes lie beside an override, so an
    /// allowed folder itself is none.
    fn covers(&self, path: &Path) -> bool {
        let is_below = self.above.iter().any(|allowed| path != allowed && path.starts_with(allowed));
        is_below || self.exact.iter().any(|allowed| path == allowed)
    }

    fn outside(&self, path: &Path) -> OverrideRefusal {
        let allowed: Vec<_> = self.above.iter().map(|folder| folder.display().to_string()).collect();
        OverrideRefusal::Outside(path.to_owned(), allowed.join(", "))
    }
}

fn real_folder(path: &Path) -> io::Result<PathBuf> {
    let real = path.canonicalize()?;
    if real.is_dir() { Ok(real) } else { Err(io::ErrorKind::NotADirectory.into()) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_folder_is_allowed_by_where_it_really_is() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for folder in ["dev/api", "dev2/api", "secret"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(root.join("dev/file"), "").unwrap();
        symlink("../secret", root.join("dev/out")).unwrap();
        symlink("dev/api", root.join("in")).unwrap();
        let allowed = AllowedFolders::open(&[root.join("dev")]).unwrap();
        let state = root.join("dev/state");
        let resolve = |path: &str| allowed.resolve(&root.join(path), &state);
        assert_eq!(resolve("dev/api").unwrap(), root.join("dev/api"));
        assert_eq!(resolve("in").unwrap(), root.join("dev/api"));
        for path in ["dev", "dev/out", "dev2/api", "secret", "secret/gone", "dev/../secret"] {
            assert!(matches!(resolve(path), Err(OverrideRefusal::Outside(..))), "{path}");
        }
        for path in ["dev/gone", "dev/file"] {
            assert!(matches!(resolve(path), Err(OverrideRefusal::NoFolder(..))), "{path}");
        }
        fs::create_dir_all(state.join("x")).unwrap();
        assert!(matches!(resolve("dev/state/x"), Err(OverrideRefusal::State(_))));
        let relative = allowed.resolve(Path::new("dev/api"), &state);
        assert!(matches!(relative, Err(OverrideRefusal::Relative(_))));
        let off = AllowedFolders::default().resolve(&root.join("dev/api"), &state).unwrap_err();
        assert!(off.to_string().contains("--allow-override"), "{off}");
    }

    #[test]
    fn the_flag_names_absolute_folders_that_exist() {
        let dir = tempfile::tempdir().unwrap();
        let gone = AllowedFolders::open(&[dir.path().to_owned(), dir.path().join("gone")]).unwrap_err();
        assert!(gone.to_string().contains("gone: No such file"), "{gone}");
        let relative = AllowedFolders::open(&["dev".into()]).unwrap_err();
        assert!(relative.to_string().contains("not an absolute path"), "{relative}");
    }
}
