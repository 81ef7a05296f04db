//! Walks a project's directory: which files count, and what the file system says of each.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;
use switchyard_contract::digest;
use switchyard_contract::event::Diagnostic;

use super::bounds::{Bounds, Counts, Interrupted};
use super::tops::{Location, Tops};
use crate::project::{Include, Included, MAX_DEPTH, NODE_MODULES, diagnostic, included, is_beside};

/// The most `node_modules` folders of a project: its process has a rule of the kernel's for each,
/// and its permissions name each.
const MAX_NODE_MODULES: usize = 1000;

/// The longest path below a project, in bytes. With that of the checkout before it, a path of the kernel has 4096.
const MAX_PATH: usize = 2048;

/// All that counts of a project, at one moment.
#[derive(Debug)]
pub(super) struct Listing {
    /// By path relative to the project, `/` between, in bytewise order. What is included begins with `../`.
    pub(super) files: BTreeMap<String, Listed>,
    /// The `node_modules` folders, likewise relative.
    pub(super) node_modules: Vec<String>,
    /// The folders that all of it was found in.
    pub(super) tops: Tops,
}

impl Listing {
    /// Returns `true` when both found the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (&self.files, &self.node_modules) == (&other.files, &other.node_modules)
    }
}

/// A file that counts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) stamp: Stamp,
    pub(super) at: Location,
}

/// What changes when a file does. The change time is there because it cannot be set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) size: u64,
    pub(super) modified: (i64, i64),
    changed: (i64, i64),
    device: u64,
    inode: u64,
}

impl Stamp {
    fn of(status: &Stat) -> Self {
        #[allow(clippy::unnecessary_cast, reason = "the types differ between architectures")]
        Self {
            size: u64::try_from(status.st_size).unwrap_or(0),
            modified: (status.st_mtime as i64, status.st_mtime_nsec as i64),
            changed: (status.st_ctime as i64, status.st_ctime_nsec as i64),
            device: status.st_dev as u64,
            inode: status.st_ino as u64,
        }
    }
}

/// Says why a project may not include this from the projects root, if it may not. Asked at each reading, of just what is read.
pub(crate) type Gate<'a> = &'a dyn Fn(&Path, &Include) -> Result<(), String>;

/// What is read of the folder around a project.
#[derive(Clone, Copy)]
pub(crate) enum Beside<'a> {
    /// What the project includes, as far as the gate lets it.
    Included(Gate<'a>),
    /// All that is there: the project is in a checkout, which was made with it.
    Made,
}

/// Why a directory cannot be listed.
#[derive(Debug)]
pub(super) enum ListError {
    /// It is not there (any more).
    Gone,
    /// It changed under the walk; to be read again.
    Moved,
    /// It is no valid project.
    Invalid(Diagnostic),
    Interrupted,
}

impl From<Interrupted> for ListError {
    fn from(_: Interrupted) -> Self {
        Self::Interrupted
    }
}

impl From<Diagnostic> for ListError {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Invalid(diagnostic)
    }
}

/// Lists the project in `root` and what belongs to it `beside` it, following symbolic links that stay inside.
pub(super) fn list(root: &Path, beside: Beside<'_>, bounds: Bounds<'_>) -> Result<Listing, ListError> {
    let volume = root.parent().map(Path::to_owned);
    let root = match root.canonicalize() {
        Ok(root) if root.is_dir() => root,
        Ok(_) => return Err(ListError::Gone),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ListError::Gone),
        Err(error) => return Err(invalid(format!("the project's folder cannot be read: {error}"))),
    };
    let mut tops = Tops::default();
    let project = tops.add(root.clone()).map_err(|error| unreadable("", &error))?;
    let mut included = Vec::new();
    for (include, volume) in permitted(volume, &root, beside)? {
        let at = tops.add_below(&volume, include.below_root());
        included.push((at.map_err(|error| unreadable(include.as_str(), &error))?, include));
    }
    let mut walk = Walk::new(bounds, &tops);
    walk.top(&project, "")?;
    for (at, include) in &included {
        walk.beside(at, include)?;
    }
    let Walk { files, mut node_modules, .. } = walk;
    node_modules.sort();
    node_modules.dedup();
    Ok(Listing { files, node_modules, tops })
}

/// The includes of the project whose real directory is `root`, and the real directory of the `volume`.
fn permitted(
    volume: Option<PathBuf>,
    root: &Path,
    beside: Beside<'_>,
) -> Result<Vec<(Include, PathBuf)>, ListError> {
    let included = match beside {
        Beside::Included(_) => included(root).map_err(ListError::Invalid)?,
        Beside::Made => Included::made(root),
    };
    let Some(volume) = volume.filter(|_| !included.entries.is_empty()) else { return Ok(Vec::new()) };
    let volume = volume.canonicalize().map_err(|_| ListError::Moved)?;
    let check = |include: &Include| {
        let wrong = |why: &str| Err(ListError::Invalid(included.wrong(include, why)));
        if let Beside::Included(gate) = beside
            && let Err(why) = gate(&volume, include)
        {
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
        Ok((include.clone(), volume.clone()))
    };
    // The project does without what belongs to it unasked and cannot be had.
    let is_wanted =
        |include: &Include, checked: &Result<_, _>| checked.is_ok() || !included.is_implied(include);
    let checked = included.entries.iter().map(|include| (include, check(include)));
    checked.filter(|(include, checked)| is_wanted(include, checked)).map(|(_, checked)| checked).collect()
}

struct Walk<'a> {
    bounds: Bounds<'a>,
    tops: &'a Tops,
    /// The folders from a top down to where the walk is: a link to one of them is a loop.
    ancestors: Vec<(u64, u64)>,
    counts: Counts,
    files: BTreeMap<String, Listed>,
    node_modules: Vec<String>,
}

/// A name in a folder that the walk is in.
struct Entry<'a> {
    folder: BorrowedFd<'a>,
    name: &'a CStr,
    at: Location,
    /// Relative to the project.
    path: String,
}

impl Entry<'_> {
    fn status(&self, flags: AtFlags) -> Result<Stat, ListError> {
        statat(self.folder, self.name, flags).map_err(|error| unreadable(&self.path, &error.into()))
    }

    /// Returns `true` for a folder, or a symbolic link to one.
    fn is_folder(&self) -> bool {
        statat(self.folder, self.name, AtFlags::empty()).is_ok_and(|status| is_folder(&status))
    }

    fn open(&self) -> Result<OwnedFd, ListError> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(self.folder, self.name, flags, Mode::empty());
        opened.map_err(|error| unreadable(&self.path, &error.into()))
    }
}

impl<'a> Walk<'a> {
    fn new(bounds: Bounds<'a>, tops: &'a Tops) -> Self {
        Self {
            bounds,
            tops,
            ancestors: Vec::new(),
            counts: Counts::default(),
            files: BTreeMap::new(),
            node_modules: Vec::new(),
        }
    }

    fn top(&mut self, at: &Location, prefix: &str) -> Result<(), ListError> {
        let folder = self.tops.folder(at).map_err(|error| unreadable(prefix, &error.into()))?;
        let status = fstat(&folder).map_err(|error| unreadable(prefix, &error.into()))?;
        self.ancestors = vec![identity(&status)];
        self.folder(folder, at, prefix)
    }

    fn beside(&mut self, at: &Location, include: &Include) -> Result<(), ListError> {
        let path = include.as_str();
        let status = self.look(at, path)?;
        if !is_folder(&status) {
            return self.file_beside(at, include, &status);
        }
        let before = self.files.len();
        self.top(at, path)?;
        if self.files.len() == before {
            return Err(invalid(format!("the included {path} has no files: take it out")));
        }
        Ok(())
    }

    /// A workspace's root, for one: the packages beside it are its members' too.
    fn file_beside(&mut self, at: &Location, include: &Include, status: &Stat) -> Result<(), ListError> {
        self.counts.name(&self.bounds.limits)?;
        self.file(include.as_str().to_owned(), at.clone(), status)?;
        let [_, packages] = include.packages();
        if self.tops.path(at).with_file_name(NODE_MODULES).is_dir() {
            self.packages(packages.to_string_lossy().into_owned())?;
        }
        Ok(())
    }

    fn packages(&mut self, path: String) -> Result<(), ListError> {
        if self.node_modules.len() >= MAX_NODE_MODULES {
            return Err(invalid(format!(
                "has more than {MAX_NODE_MODULES} node_modules folders, such as {path}: let its members share one (npm and yarn \
                 do; pnpm: nodeLinker: hoisted), or make projects of them"
            )));
        }
        self.node_modules.push(path);
        Ok(())
    }

    fn look(&self, at: &Location, path: &str) -> Result<Stat, ListError> {
        self.tops.look(at).and_then(fstat).map_err(|error| unreadable(path, &error.into()))
    }

    fn folder(&mut self, folder: OwnedFd, at: &Location, prefix: &str) -> Result<(), ListError> {
        let wrong = |error: Errno| unreadable(prefix, &error.into());
        let mut entries = Dir::new(folder).map_err(wrong)?;
        while let Some(found) = entries.next() {
            (self.bounds.pace)(0)?;
            let found = found.map_err(wrong)?;
            let name = found.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let Ok(text) = name.to_str() else {
                let name = name.to_string_lossy();
                return Err(invalid(format!(
                    "{name:?} in {prefix:?} has a name that is not UTF-8: rename it"
                )));
            };
            let path = if prefix.is_empty() { text.to_owned() } else { format!("{prefix}/{text}") };
            let folder = entries.fd().map_err(wrong)?;
            self.entry(&Entry { folder, name, at: at.join(text), path }, text)?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry<'_>, name: &str) -> Result<(), ListError> {
        let path = &entry.path;
        if !digest::is_entered(name) {
            if name == NODE_MODULES && entry.is_folder() {
                self.counts.folder(&self.bounds.limits)?;
                self.packages(path.clone())?;
            }
            return Ok(());
        }
        if !digest::is_counted(path) && !entry.is_folder() {
            return Ok(self.counts.name(&self.bounds.limits)?);
        }
        digest::check_path(path).map_err(|error| invalid(error.to_string()))?;
        if path.len() > MAX_PATH {
            let begin: String = path.chars().take(80).collect();
            return Err(invalid(format!("a path has more than {MAX_PATH} bytes: shorten {begin}…")));
        }
        let status = entry.status(AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::Symlink => self.link(entry),
            FileType::Directory => self.enter(entry.open()?, &entry.at, path, false),
            _ => self.other(entry, entry.at.clone(), &status),
        }
    }

    fn link(&mut self, entry: &Entry<'_>) -> Result<(), ListError> {
        let at = self.target(entry)?;
        let status = self.look(&at, &entry.path)?;
        if !is_folder(&status) {
            return self.other(entry, at, &status);
        }
        let folder = self.tops.folder(&at).map_err(|error| unreadable(&entry.path, &error.into()))?;
        self.enter(folder, &at, &entry.path, true)
    }

    fn other(&mut self, entry: &Entry<'_>, at: Location, status: &Stat) -> Result<(), ListError> {
        self.counts.name(&self.bounds.limits)?;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile => self.file(entry.path.clone(), at, status),
            // Sockets, pipes and devices are no code: they are left out as if they were not there.
            _ => Ok(()),
        }
    }

    fn file(&mut self, path: String, at: Location, status: &Stat) -> Result<(), ListError> {
        let stamp = Stamp::of(status);
        self.counts.file(&path, stamp.size, &self.bounds.limits)?;
        self.files.insert(path, Listed { stamp, at });
        Ok(())
    }

    fn enter(&mut self, folder: OwnedFd, at: &Location, path: &str, is_link: bool) -> Result<(), ListError> {
        let status = fstat(folder.as_fd()).map_err(|error| unreadable(path, &error.into()))?;
        let identity = identity(&status);
        if is_link && self.ancestors.contains(&identity) {
            return Err(invalid(format!(
                "the symbolic link {path} points to a folder that it is in: remove it"
            )));
        }
        if self.ancestors.len() > MAX_DEPTH {
            return Err(invalid(format!(
                "has folders more than {MAX_DEPTH} deep, counting symbolic links: keep data outside the project"
            )));
        }
        self.counts.folder(&self.bounds.limits)?;
        self.ancestors.push(identity);
        self.folder(folder, at, path)?;
        self.ancestors.pop();
        Ok(())
    }

    /// The location that a symbolic link leads to.
    fn target(&self, entry: &Entry<'_>) -> Result<Location, ListError> {
        let (link, path) = (self.tops.path(&entry.at), &entry.path);
        match link.canonicalize() {
            Ok(real) => self.tops.locate(&real).ok_or_else(|| {
                let place = if is_beside(path) { "what is included" } else { "the project" };
                invalid(format!("the symbolic link {path} leaves {place}: replace it with what it points to"))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound && link.symlink_metadata().is_ok() => {
                Err(invalid(format!("the symbolic link {path} points to nothing: fix or remove it")))
            }
            Err(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) => {
                Err(invalid(format!("the symbolic link {path} leads back to itself: remove it")))
            }
            Err(error) => Err(unreadable(path, &error)),
        }
    }
}

#[allow(clippy::unnecessary_cast, reason = "the types differ between architectures")]
fn identity(status: &Stat) -> (u64, u64) {
    (status.st_dev as u64, status.st_ino as u64)
}

fn is_folder(status: &Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::Directory
}

fn invalid(message: String) -> ListError {
    ListError::Invalid(diagnostic(message))
}

/// The reason for a failed look at `path`. What is gone, or something else than it was, has moved.
pub(super) fn unreadable(path: &str, error: &io::Error) -> ListError {
    let is_other = || {
        let others = [Errno::LOOP, Errno::XDEV, Errno::NOTDIR, Errno::AGAIN, Errno::NXIO];
        Errno::from_io_error(error).is_some_and(|error| others.contains(&error))
    };
    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) || is_other() {
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
    use crate::policy::ReadLimits;

    fn list_within(root: &Path, limits: ReadLimits) -> Result<Listing, ListError> {
        super::list(root, Beside::Included(&|_, _| Ok(())), Bounds { limits, pace: &|_| Ok(()) })
    }

    fn list(root: &Path) -> Result<Listing, ListError> {
        list_within(root, ReadLimits::default())
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
        for (target, why) in
            [("/etc/passwd", "leaves"), (".", "is in"), ("gone", "nothing"), ("link", "itself")]
        {
            let dir = tempfile::tempdir().unwrap();
            symlink(target, dir.path().join("link")).unwrap();
            assert!(refused(dir.path()).contains(why), "{target}");
        }
    }

    #[test]
    fn folders_that_are_too_deep_or_too_many_by_way_of_links_make_the_project_invalid() {
        for (links, why) in [(1, "more than 128 deep"), (2, "more than 20000 folders")] {
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
    fn more_folders_of_packages_than_a_process_is_given_make_the_project_invalid() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..MAX_NODE_MODULES {
            std::fs::create_dir_all(dir.path().join(format!("{n}/node_modules/x"))).unwrap();
        }
        assert_eq!(list(dir.path()).unwrap().node_modules.len(), MAX_NODE_MODULES);
        std::fs::create_dir(dir.path().join("node_modules")).unwrap();
        let error = refused(dir.path());
        assert!(error.starts_with("has more than 1000 node_modules folders, such as "), "{error}");
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
        let bounds = Bounds { limits: ReadLimits::default(), pace: &|_| Ok(()) };
        let closed = super::list(
            &project,
            Beside::Included(&|_, include| Err(format!("is {}", include.as_str()))),
            bounds,
        );
        let Err(ListError::Invalid(error)) = closed else { panic!("{closed:?}") };
        assert!(error.message.ends_with("names \"../_shared\", which is ../_shared"), "{}", error.message);
    }

    #[test]
    fn what_is_not_there_is_gone() {
        assert!(matches!(list(Path::new("/nonexistent/project")), Err(ListError::Gone)));
    }

    #[test]
    fn a_limit_that_is_passed_is_named_with_its_value_and_the_settings_that_raise_it() {
        let dir = tempfile::tempdir().unwrap();
        let limits = ReadLimits { files: 10, folders: 10, bytes: 1000, file_bytes: 600, ..ReadLimits::NONE };
        let within = || list_within(dir.path(), limits);
        let refused = |what: [&str; 3]| match within() {
            Err(ListError::Invalid(diagnostic)) => {
                for what in what {
                    assert!(diagnostic.message.contains(what), "{what}: {}", diagnostic.message);
                }
            }
            other => panic!("{other:?}"),
        };
        let sparse = |name: &str, size| {
            let file = std::fs::File::create(dir.path().join(name)).unwrap();
            file.set_len(size).unwrap();
        };
        sparse("a", 600);
        sparse("b", 400);
        assert!(within().is_ok());
        sparse("b", 401);
        refused(["more than 1000 bytes", "--max-project-size", "limits.project_size"]);
        sparse("b", 1 << 40);
        refused(["b has 1099511627776 bytes", "600", "limits.file_size"]);
        sparse("b", 0);
        for name in 0..8 {
            sparse(&name.to_string(), 0);
        }
        assert!(within().is_ok());
        // Counted, though it does not count.
        sparse("leftover~", 0);
        refused(["more than 10 files", "--max-project-files", "limits.project_files"]);
        std::fs::remove_file(dir.path().join("leftover~")).unwrap();
        for name in 0..11 {
            std::fs::create_dir_all(dir.path().join(format!("d{name}"))).unwrap();
        }
        refused(["more than 10 folders", "--max-project-folders", "limits.project_folders"]);
    }

    #[test]
    fn hard_links_and_long_paths_count_each_time() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), [0; 100]).unwrap();
        for name in 0..10 {
            std::fs::hard_link(dir.path().join("a"), dir.path().join(name.to_string())).unwrap();
        }
        let limits = ReadLimits { bytes: 1000, ..ReadLimits::NONE };
        assert!(matches!(list_within(dir.path(), limits), Err(ListError::Invalid(_))));
        let deep = dir.path().join(vec!["n".repeat(250); 12].join("/"));
        std::fs::create_dir_all(&deep).unwrap();
        assert!(refused(dir.path()).contains("more than 2048 bytes"));
    }

    #[test]
    fn a_walk_ends_when_it_is_to_end() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "").unwrap();
        let bounds = Bounds { limits: ReadLimits::default(), pace: &|_| Err(Interrupted) };
        let listed = super::list(dir.path(), Beside::Included(&|_, _| Ok(())), bounds);
        assert!(matches!(listed, Err(ListError::Interrupted)));
    }
}
