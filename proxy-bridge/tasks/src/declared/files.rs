//! Files of a project: bounded, plain, and never beyond its folder.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use switchyard_contract::event::Diagnostic;
use switchyard_detect::config::{MAX_CONFIG, in_file};

/// Names of a folder that are looked at.
const MAX_NAMES: usize = 10_000;

/// A project's folder.
pub(super) struct Folder {
    dir: PathBuf,
}

impl Folder {
    /// # Errors
    /// The folder cannot be read.
    pub(super) fn open(dir: &Path) -> Result<Self, Diagnostic> {
        let opened = fs::canonicalize(dir).and_then(|dir| fs::read_dir(&dir).map(|_| dir));
        opened.map(|dir| Self { dir }).map_err(|error| Diagnostic {
            message: format!("the folder cannot be read: {error}"),
            ..Diagnostic::default()
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.dir
    }

    /// The plain file at this path, unless a link leads out of the folder.
    fn find(&self, path: &str) -> Option<PathBuf> {
        let found = self.resolve(path)?;
        (found.starts_with(&self.dir) && found.is_file()).then_some(found)
    }

    /// The real path of what is at `path`, if something is. Most paths lead to nothing, and to see that
    /// takes one call of the system; to resolve it takes one for each of its folders.
    fn resolve(&self, path: &str) -> Option<PathBuf> {
        let path = self.dir.join(path);
        fs::symlink_metadata(&path).ok()?;
        fs::canonicalize(path).ok()
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.find(path).is_some()
    }

    /// The first of these files that exists.
    pub(super) fn first_of(&self, paths: impl IntoIterator<Item = String>) -> Option<String> {
        paths.into_iter().find(|path| self.has(path))
    }

    /// The text of a file, or `None` if there is no such file.
    ///
    /// # Errors
    /// The file is too large, or is not text.
    pub(super) fn text(&self, path: &str) -> Result<Option<String>, Diagnostic> {
        let Some(found) = self.find(path) else { return Ok(None) };
        let mut text = String::new();
        File::open(found)
            .and_then(|opened| opened.take(MAX_CONFIG + 1).read_to_string(&mut text))
            .map_err(|error| in_file(path, format!("{path} cannot be read: {error}")))?;
        if text.len() as u64 > MAX_CONFIG {
            let message = format!("{path} is too large: at most {MAX_CONFIG} bytes are possible");
            return Err(in_file(path, message));
        }
        Ok(Some(text))
    }

    /// The names in a folder, sorted; none if there is no such folder.
    pub(super) fn names(&self, folder: &str) -> Vec<String> {
        let inside = self.resolve(folder).filter(|path| path.starts_with(&self.dir));
        let Some(entries) = inside.and_then(|path| fs::read_dir(path).ok()) else { return Vec::new() };
        let names = entries.take(MAX_NAMES).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}

/// The path in the project that a file in `folder` names: `None` if it leads out of the project.
pub(super) fn join(folder: &str, path: &str) -> Option<String> {
    if path.starts_with('/') || path.contains(['\\', '\0']) {
        return None;
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// The folder of a file.
pub(super) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_in_the_project() {
        for (folder, path, joined) in [
            ("", "./tasks/a.ts", Some("tasks/a.ts")),
            ("tasks/a", "../b/task.yaml", Some("tasks/b/task.yaml")),
            ("tasks", "../../x", None),
            ("", "/etc/passwd", None),
            ("", ".", None),
        ] {
            assert_eq!(join(folder, path).as_deref(), joined, "{path}");
        }
        assert_eq!((folder_of("a/b/c.yaml"), folder_of("c.yaml")), ("a/b", ""));
    }

    #[test]
    fn a_link_out_of_the_folder_is_no_file() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("x.yaml"), "kind: Task").unwrap();
        std::os::unix::fs::symlink(outside.path().join("x.yaml"), dir.path().join("x.yaml")).unwrap();
        fs::write(dir.path().join("y.yaml"), "a: 1").unwrap();
        std::os::unix::fs::symlink("y.yaml", dir.path().join("z.yaml")).unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        assert_eq!(folder.text("x.yaml"), Ok(None));
        assert_eq!(folder.text("z.yaml"), Ok(Some("a: 1".into())));
        assert_eq!(folder.names(""), ["x.yaml", "y.yaml", "z.yaml"]);
        assert_eq!(folder.names("../.."), [""; 0]);
    }
}
