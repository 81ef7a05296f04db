//! Walks a project's directory: which files count, and what the file system says of each.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use switchyard_bridge::digest;
use switchyard_bridge::event::Diagnostic;

use crate::project::{Include, MAX_DEPTH, diagnostic, included, is_beside};

/// A project of more files is a mistake (a data set, a package folder by another name), and
/// reading it would hold up its own reloads for minutes.
const MAX_FILES: usize = 50_000;

/// Folders are counted each time that a symbolic link leads to them: by links there may be more paths to one than
/// anybody could walk.
const MAX_FOLDERS: usize = 50_000;

/// All that counts of a project, at one moment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    /// By path relative to the project, `/` between, in bytewise order. What is included begins with `../`.
    pub(crate) files: BTreeMap<String, Stamp>,
    /// The `node_modules` folders, likewise relative.
    pub(crate) node_modules: Vec<String>,
}

/// What changes when a file does. The change time is there because it cannot be set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) size: u64,
    pub(crate) modified: (i64, i64),
    changed: (i64, i64),
    device: u64,
    inode: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// Says why a project may not include this from the projects root, if it may not. Asked at each reading, of just what is read.
pub(crate) type Gate<'a> = &'a dyn Fn(&Path, &Include) -> Result<(), String>;

/// Why a directory cannot be listed.
#[derive(Debug)]
pub(crate) enum ListError {
    /// It is not there (any more).
    Gone,
    /// It changed under the walk; to be read again.
    Moved,
    /// It is no valid project.
    Invalid(Diagnostic),
}

/// Lists the project in `root` and what `gate` lets it include from beside itself, following symbolic links that stay inside.
pub(crate) fn list(root: &Path, gate: Gate<'_>) -> Result<Listing, ListError> {
    let volume = root.parent().map(Path::to_owned);
    let root = match root.canonicalize() {
        Ok(root) if root.is_dir() => root,
        Ok(_) => return Err(ListError::Gone),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ListError::Gone),
        Err(error) => return Err(invalid(format!("the project's folder cannot be read: {error}"))),
    };
    let beside = beside(volume, &root, gate)?;
    let mut walk = Walk {
        listing: Listing { files: BTreeMap::new(), node_modules: Vec::new() },
        roots: beside.iter().map(|(_, real)| real).chain([&root]).cloned().collect(),
        ancestors: Vec::new(),
        folders: 0,
    };
    walk.top(root, "")?;
    for (include, real) in beside {
        if real.is_dir() {
            let before = walk.listing.files.len();
            walk.top(real, include.as_str())?;
            if walk.listing.files.len() == before {
                return Err(invalid(format!("the included {} has no files: take it out", include.as_str())));
            }
        } else {
            walk.file_beside(&include, &real)?;
        }
    }
    walk.listing.node_modules.sort();
    walk.listing.node_modules.dedup();
    Ok(walk.listing)
}

/// What the project whose real directory is `root` includes, and where that is on the `volume`.
fn beside(
    volume: Option<PathBuf>,
    root: &Path,
    gate: Gate<'_>,
) -> Result<Vec<(Include, PathBuf)>, ListError> {
    let included = included(root).map_err(ListError::Invalid)?;
    let Some(volume) = volume.filter(|_| !included.entries.is_empty()) else { return Ok(Vec::new()) };
    let volume = volume.canonicalize().map_err(|_| ListError::Moved)?;
    let place = |include: &Include| {
        let wrong = |why: &str| Err(ListError::Invalid(included.wrong(include, why)));
        if let Err(why) = gate(&volume, include) {
            return wrong(&why);
        }
        let path = volume.join(include.below_root());
        let real = match path.canonicalize() {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return wrong("is not there: make it, or take it out");
            }
            Err(error) => return wrong(&format!("cannot be read: {error}")),
        };
        if real != path {
            return wrong("leads through a symbolic link: name what that points to, below the projects root");
        }
        if real.starts_with(root) || root.starts_with(&real) {
            return wrong("is the project itself, or part of it: take it out");
        }
        if !real.is_dir() && !real.is_file() {
            return wrong("is neither a folder nor a file: take it out");
        }
        Ok((include.clone(), real))
    };
    included.entries.iter().map(place).collect()
}

struct Walk {
    /// The real places of the project and of what it includes.
    roots: Vec<PathBuf>,
    /// The real directories from one of them down to where the walk is: a link to one of them is a loop.
    ancestors: Vec<PathBuf>,
    /// Those entered so far.
    folders: usize,
    listing: Listing,
}

impl Walk {
    fn top(&mut self, dir: PathBuf, prefix: &str) -> Result<(), ListError> {
        self.ancestors = vec![dir.clone()];
        self.directory(&dir, prefix)
    }

    /// A workspace's root, for one: the packages beside it are its members' too.
    fn file_beside(&mut self, include: &Include, real: &Path) -> Result<(), ListError> {
        let path = include.as_str();
        let metadata = real.metadata().map_err(|error| unreadable(path, &error))?;
        self.listing.files.insert(path.to_owned(), Stamp::of(&metadata));
        let [_, packages] = include.packages();
        if real.with_file_name("node_modules").is_dir() {
            self.listing.node_modules.push(packages.to_string_lossy().into_owned());
        }
        Ok(())
    }

    fn directory(&mut self, dir: &Path, prefix: &str) -> Result<(), ListError> {
        let entries = std::fs::read_dir(dir).map_err(|error| unreadable(prefix, &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(prefix, &error))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                return Err(invalid(format!(
                    "{:?} in {prefix:?} has a name that is not UTF-8: rename it",
                    name
                )));
            };
            let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
            self.entry(&entry.path(), name, path)?;
        }
        Ok(())
    }

    fn entry(&mut self, absolute: &Path, name: &str, path: String) -> Result<(), ListError> {
        if !digest::is_entered(name) {
            if name == "node_modules" && absolute.is_dir() {
                self.listing.node_modules.push(path);
            }
            return Ok(());
        }
        if !digest::is_counted(&path) && !absolute.is_dir() {
            return Ok(());
        }
        digest::check_path(&path).map_err(|error| invalid(error.to_string()))?;
        let mut metadata = absolute.symlink_metadata().map_err(|error| unreadable(&path, &error))?;
        let mut real = absolute.to_owned();
        if metadata.is_symlink() {
            real = self.target(absolute, &path)?;
            metadata = real.metadata().map_err(|error| unreadable(&path, &error))?;
        }
        if metadata.is_dir() {
            if self.ancestors.contains(&real) && real != *absolute {
                return Err(invalid(format!(
                    "the symbolic link {path} points to a folder that it is in: remove it"
                )));
            }
            self.enter(real, &path)?;
        } else if metadata.is_file() {
            if self.listing.files.len() == MAX_FILES {
                return Err(invalid(format!(
                    "has more than {MAX_FILES} files: keep data outside the project"
                )));
            }
            self.listing.files.insert(path, Stamp::of(&metadata));
        }
        // Sockets, pipes and devices are no code: they are left out as if they were not there.
        Ok(())
    }

    fn enter(&mut self, real: PathBuf, path: &str) -> Result<(), ListError> {
        if self.ancestors.len() > MAX_DEPTH {
            return Err(invalid(format!(
                "has folders more than {MAX_DEPTH} deep, counting symbolic links: keep data outside the project"
            )));
        }
        self.folders += 1;
        if self.folders > MAX_FOLDERS {
            return Err(invalid(format!(
                "has more than {MAX_FOLDERS} folders, counting each by every symbolic link to it: keep data outside \
                 the project"
            )));
        }
        self.ancestors.push(real.clone());
        self.directory(&real, path)?;
        self.ancestors.pop();
        Ok(())
    }

    fn target(&self, link: &Path, path: &str) -> Result<PathBuf, ListError> {
        match link.canonicalize() {
            Ok(target) if self.roots.iter().any(|root| target.starts_with(root)) => Ok(target),
            Ok(_) => {
                let place = if is_beside(path) { "what is included" } else { "the project" };
                Err(invalid(format!(
                    "the symbolic link {path} leaves {place}: replace it by what it points to"
                )))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && link.symlink_metadata().is_ok() => {
                Err(invalid(format!("the symbolic link {path} points to nothing: mend or remove it")))
            }
            Err(error) => Err(unreadable(path, &error)),
        }
    }
}

fn invalid(message: String) -> ListError {
    ListError::Invalid(diagnostic(message))
}

pub(super) fn unreadable(path: &str, error: &io::Error) -> ListError {
    if error.kind() == io::ErrorKind::NotFound {
        return ListError::Moved;
    }
    let shown = if path.is_empty() { "the project's folder" } else { path };
    let file = (!path.is_empty()).then(|| path.to_owned());
    let message = format!("{shown} cannot be read: {error}; give the router's user the right to read it");
    ListError::Invalid(Diagnostic { file, ..diagnostic(message) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn list(root: &Path) -> Result<Listing, ListError> {
        super::list(root, &|_, _| Ok(()))
    }

    fn paths(root: &Path) -> Vec<String> {
        list(root).unwrap().files.into_keys().collect()
    }

    fn refused(root: &Path) -> String {
        match list(root) {
            Err(ListError::Invalid(diagnostic)) => diagnostic.message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn editors_leftovers_git_and_packages_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        for path in [
            "main.ts",
            "lib/a.ts",
            ".git/HEAD",
            "node_modules/x/i.js",
            "lib/node_modules/y.js",
            "a~",
            ".DS_Store",
        ] {
            std::fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
            std::fs::write(dir.path().join(path), path).unwrap();
        }
        assert_eq!(paths(dir.path()), ["lib/a.ts", "main.ts"]);
        assert_eq!(list(dir.path()).unwrap().node_modules, ["lib/node_modules", "node_modules"]);
    }

    #[test]
    fn links_count_as_what_they_point_to_while_they_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("lib")).unwrap();
        std::fs::write(dir.path().join("lib/a.ts"), "1").unwrap();
        symlink("lib", dir.path().join("also")).unwrap();
        symlink("lib/a.ts", dir.path().join("b.ts")).unwrap();
        assert_eq!(paths(dir.path()), ["also/a.ts", "b.ts", "lib/a.ts"]);
    }

    #[test]
    fn a_link_that_leaves_loops_or_dangles_makes_the_project_invalid() {
        for (target, why) in [("/etc/passwd", "leaves"), (".", "is in"), ("gone", "nothing")] {
            let dir = tempfile::tempdir().unwrap();
            symlink(target, dir.path().join("link")).unwrap();
            assert!(refused(dir.path()).contains(why), "{target}");
        }
    }

    #[test]
    fn folders_that_are_too_deep_or_too_many_by_way_of_links_make_the_project_invalid() {
        for (links, why) in [(1, "more than 128 deep"), (2, "more than 50000 folders")] {
            let dir = tempfile::tempdir().unwrap();
            // With one link each they are a chain, with two there are 2^20 ways through them.
            let levels = if links == 1 { 5000 } else { 20 };
            for level in 0..levels {
                std::fs::create_dir(dir.path().join(format!("d{level}"))).unwrap();
            }
            for level in 1..levels {
                for link in 0..links {
                    let link = dir.path().join(format!("d{}/{link}", level - 1));
                    symlink(format!("../d{level}"), link).unwrap();
                }
            }
            assert!(refused(dir.path()).contains(why), "{why}");
        }
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join(["d"; 128].join("/"));
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("a.ts"), "").unwrap();
        assert_eq!(paths(dir.path()).len(), 1);
        std::fs::create_dir(deep.join("d")).unwrap();
        assert!(refused(dir.path()).contains("more than 128 deep"));
    }

    #[test]
    fn a_control_character_in_a_name_makes_the_project_invalid() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a\nb"), "").unwrap();
        assert!(refused(dir.path()).contains("control character"));
    }

    #[test]
    fn what_is_included_is_listed_by_its_path_from_the_project() {
        let dir = tempfile::tempdir().unwrap();
        let config = r#"{"switchyard": {"include": ["../_shared", "../deno.json"]}}"#;
        for (path, text) in [
            ("a/deno.json", config),
            ("a/main.ts", ""),
            ("_shared/mod.ts", ""),
            ("_shared/node_modules/x/i.js", ""),
            ("_other/mod.ts", ""),
            ("node_modules/x/i.js", ""),
            ("deno.json", "{}"),
        ] {
            std::fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
            std::fs::write(dir.path().join(path), text).unwrap();
        }
        symlink("../a/main.ts", dir.path().join("_shared/link.ts")).unwrap();
        let project = dir.path().join("a");
        let included = ["../_shared/link.ts", "../_shared/mod.ts", "../deno.json"];
        assert_eq!(paths(&project), [&included[..], &["deno.json", "main.ts"]].concat());
        assert_eq!(list(&project).unwrap().node_modules, ["../_shared/node_modules", "../node_modules"]);
        symlink("../_other/mod.ts", dir.path().join("_shared/out.ts")).unwrap();
        assert!(refused(&project).starts_with("the symbolic link ../_shared/out.ts leaves what is included"));
        let closed = super::list(&project, &|_, include| Err(format!("is {}", include.as_str())));
        let Err(ListError::Invalid(error)) = closed else { panic!("{closed:?}") };
        assert!(error.message.ends_with("names \"../_shared\", which is ../_shared"), "{}", error.message);
    }

    #[test]
    fn what_is_not_there_is_gone() {
        assert!(matches!(list(Path::new("/nonexistent/project")), Err(ListError::Gone)));
    }
}
