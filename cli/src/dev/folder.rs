//! The folder of `dev`: one project or several, and where what is kept of it lies.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use switchyard_contract::project::{ProjectName, is_ignored};
use switchyard_detect::signs::is_sign_of_project;
use switchyard_program::settings::Problem;

/// Digits of a state folder's name.
const DIGITS: usize = 12;

/// The folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DevFolder {
    /// Without symbolic links.
    path: PathBuf,
    state: PathBuf,
    /// The project that the folder is. `None`: each folder in it is one.
    one: Option<ProjectName>,
}

/// The folders in a folder of projects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) projects: BTreeMap<ProjectName, PathBuf>,
    /// Folders whose names no project can have.
    pub(crate) misnamed: Vec<String>,
}

impl DevFolder {
    /// Finds out what `folder` is. `all`: a folder of projects, whatever is in it. `state`: the state
    /// folder, if it is chosen.
    ///
    /// # Errors
    /// There is no such folder, it has no place for what is kept, or lies around that place.
    pub(crate) fn find(folder: &Path, all: bool, state: Option<&Path>) -> Result<Self, Problem> {
        let path = folder.canonicalize().and_then(|path| fs::read_dir(&path).map(|_| path));
        let path =
            path.map_err(|error| Problem::new("DIR", format!("cannot read {}: {error}", folder.display())))?;
        let state = match state {
            Some(state) => {
                std::path::absolute(state).map_err(|error| Problem::flag("state", error.to_string()))?
            }
            None => state_home(|name| std::env::var_os(name))?.join("switchyard").join(id(&path)),
        };
        if resolved(&state).starts_with(&path) {
            let (path, state) = (path.display(), state.display());
            let message = format!(
                "{path} contains the state folder {state}, and everything else below it would be taken for projects: \
                 name the folder of your projects, or another folder with --state"
            );
            return Err(Problem::new("DIR", message));
        }
        let one = (!all && is_project(&path)).then(|| name_of(&path)).transpose()?;
        Ok(Self { path, state, one })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    /// The folder that deploys write to. The user's own folder is never written to.
    pub(crate) fn volume(&self) -> PathBuf {
        self.state.join("volume")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.state.join("dev.log")
    }

    /// The folder itself, if each folder in it is a project.
    pub(crate) fn of_all(&self) -> Option<&Path> {
        self.one.is_none().then_some(&self.path)
    }

    /// The one project.
    pub(crate) fn one(&self) -> Option<&ProjectName> {
        self.one.as_ref()
    }

    /// The folder of each project. One that cannot be read has none.
    pub(crate) fn projects(&self) -> BTreeMap<ProjectName, PathBuf> {
        self.list().map(|listing| listing.projects).unwrap_or_default()
    }

    /// Lists the projects.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(crate) fn list(&self) -> io::Result<Listing> {
        let mut listing = Listing::default();
        if let Some(name) = &self.one {
            listing.projects.insert(name.clone(), self.path.clone());
            return Ok(listing);
        }
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // An empty folder is about to be filled.
            let is_filled =
                |path: &Path| fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
            if is_ignored(&name) || !is_filled(&entry.path()) {
                continue;
            }
            match (ProjectName::parse(&name), entry.path().canonicalize()) {
                (Ok(name), Ok(real)) if real.starts_with(&self.path) => {
                    _ = listing.projects.insert(name, real)
                }
                _ => listing.misnamed.push(name),
            }
        }
        listing.misnamed.sort();
        Ok(listing)
    }
}

/// Returns true if the folder has a file by which a project is known. Folders in it do not count: they
/// may be projects themselves.
fn is_project(path: &Path) -> bool {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut files = entries.filter(|entry| entry.path().is_file());
    files.any(|entry| is_sign_of_project(&entry.file_name().to_string_lossy()))
}

/// Makes a name of a folder's: other characters than those of names become `-`.
fn name_of(path: &Path) -> Result<ProjectName, Problem> {
    let folder = path.file_name().unwrap_or_default().to_string_lossy();
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let name: String = folder.chars().map(plain).take(ProjectName::MAX_LEN).collect();
    ProjectName::parse(name.trim_matches(['-', '_'])).map_err(|error| {
        Problem::new("DIR", format!("{error}: {} has the name of no project; rename it", path.display()))
    })
}

/// A name for the state of `path`, short since sockets lie below it.
fn id(path: &Path) -> String {
    let hash = Sha256::digest(path.as_os_str().as_bytes());
    hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>()[..DIGITS].to_owned()
}

/// The user's folder for state, by the XDG base directory specification.
fn state_home(env: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, Problem> {
    let absolute = |name| env(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
    let home = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    home.ok_or_else(|| Problem::flag("state", "is required: neither XDG_STATE_HOME nor HOME names a folder"))
}

/// `path` without symbolic links, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let mut missing = Vec::new();
    let mut present = path;
    loop {
        if let Ok(real) = present.canonicalize() {
            return missing.iter().rev().fold(real, |path, name| path.join(name));
        }
        let (Some(above), Some(name)) = (present.parent(), present.file_name()) else {
            return path.to_owned();
        };
        missing.push(name);
        present = above;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        dir
    }

    fn find(dir: &Path, all: bool) -> DevFolder {
        DevFolder::find(dir, all, Some(Path::new("/nowhere/state"))).unwrap()
    }

    #[test]
    fn a_folder_with_a_program_is_one_project_and_any_other_is_a_folder_of_them() {
        let dir =
            folder(&["My App/main.ts", "My App/lib/main.ts", "_shared/a.ts", ".git/x", "empty/../README.md"]);
        let one = find(&dir.path().join("My App"), false);
        assert_eq!(one.one().map(ProjectName::as_str), Some("My-App"));
        assert_eq!(
            one.projects().into_values().collect::<Vec<_>>(),
            [dir.path().canonicalize().unwrap().join("My App")]
        );
        let many = find(dir.path(), false);
        assert_eq!((many.one(), many.projects().len()), (None, 0));
        assert_eq!(many.list().unwrap().misnamed, ["My App"]);
        let all = find(&dir.path().join("My App"), true);
        assert_eq!(all.projects().keys().map(ProjectName::as_str).collect::<Vec<_>>(), ["lib"]);
    }

    #[test]
    fn an_empty_folder_and_one_that_leads_elsewhere_are_no_projects() {
        let (dir, other) = (folder(&["a/main.ts"]), folder(&["main.ts"]));
        fs::create_dir(dir.path().join("empty")).unwrap();
        std::os::unix::fs::symlink(other.path(), dir.path().join("b")).unwrap();
        let listing = find(dir.path(), false).list().unwrap();
        assert_eq!(listing.projects.keys().map(ProjectName::as_str).collect::<Vec<_>>(), ["a"]);
        assert_eq!(listing.misnamed, ["b"]);
    }

    #[test]
    fn a_folder_around_its_own_state_is_refused() {
        let dir = folder(&["a/main.ts"]);
        let state = dir.path().join("new/state");
        let problem = DevFolder::find(dir.path(), false, Some(&state)).unwrap_err();
        assert!(problem.message.contains("contains the state folder"), "{problem}");
        assert!(DevFolder::find(&dir.path().join("gone"), false, Some(&state)).is_err());
    }

    #[test]
    fn the_state_lies_in_the_users_state_folder() {
        let home = |pairs: &'static [(&str, &str)]| {
            state_home(|name| pairs.iter().find(|(own, _)| *own == name).map(|(_, value)| value.into()))
        };
        assert_eq!(home(&[("XDG_STATE_HOME", "/x"), ("HOME", "/h")]).unwrap(), Path::new("/x"));
        assert_eq!(home(&[("XDG_STATE_HOME", "x"), ("HOME", "/h")]).unwrap(), Path::new("/h/.local/state"));
        assert!(home(&[]).is_err());
        assert_ne!(id(Path::new("/a")), id(Path::new("/b")));
    }
}
