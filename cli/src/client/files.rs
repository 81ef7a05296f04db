//! Files of a folder that are sent: all except history, editors' leftovers and those that the [`Rules`] leave
//! out.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

pub(super) use self::rules::{IGNORE_FILE, Reason, Rules};

use self::rules::Candidate;
use switchyard_contract::digest::{self, Digest};
use switchyard_detect::config::{self, MAX_CONFIG};
use switchyard_detect::entry::{self, CONFIG_FILES, Config, Entry, PACKAGE_FILE};
use switchyard_detect::site;

mod rules;

/// Fifty times what a bridge takes by default. Links within a project can make a small folder very large.
const MAX_FILES: usize = 1_000_000;

/// Output folders of frameworks and compilers. The one that holds the entry, or that the entry
/// names, is sent whole.
const OUTPUT_FOLDERS: [&str; 7] = ["dist", "build", ".output", ".next", "out", "_site", "public"];

const PACKAGES: &str = "node_modules";

/// The files of one project.
#[derive(Debug)]
pub(super) struct Files {
    /// By path relative to the project, `/` between, in bytewise order.
    pub(super) files: BTreeMap<String, Source>,
    /// Symbolic links in `node_modules` to what is sent of the project: the path from the link's
    /// folder, by the link's path.
    pub(super) links: BTreeMap<String, String>,
    /// Digest of the files that belong to a version.
    pub(super) digest: Digest,
    /// Paths that are not sent, in bytewise order.
    pub(super) left_out: BTreeMap<String, Reason>,
}

/// One file.
#[derive(Debug)]
pub(super) struct Source {
    /// Path without symbolic links.
    pub(super) path: PathBuf,
    /// In bytes.
    pub(super) size: u64,
    /// The SHA-256 of its content. `None` where that does not count, as in `node_modules`.
    pub(super) hash: Option<[u8; 32]>,
}

/// Handling of `node_modules`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Packages {
    #[default]
    Send,
    /// Left out where a configuration beside it names the packages: the routers install them.
    Install,
}

/// The reason why a folder cannot be sent: a sentence with the file and the fix.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct FilesError(pub(super) String);

impl Files {
    pub(super) fn bytes(&self) -> u64 {
        self.files.values().map(|source| source.size).sum()
    }

    /// Returns true if packages are left for the routers to install.
    pub(super) fn leaves_packages(&self) -> bool {
        self.left_out.values().any(|reason| *reason == Reason::Packages)
    }
}

/// Lists and hashes what is sent of the project in `root`. Links may lead anywhere `within`, which is `root` or a
/// folder around it. Both are real paths. `rules` are those of the folders around `root`.
///
/// # Errors
/// Nothing to send, an entry that would be left out, a name or a link that no project may have, an unreadable file
/// or ignore file.
pub(super) fn list(
    root: &Path,
    within: &Path,
    rules: &Rules,
    packages: Packages,
) -> Result<Files, FilesError> {
    let mut walk = Walk {
        root,
        within,
        packages,
        needed: needed(root),
        ancestors: vec![root.to_owned()],
        rules: rules.clone(),
        files: BTreeMap::new(),
        links: BTreeMap::new(),
        packages_linked: Vec::new(),
        left_out: BTreeMap::new(),
    };
    walk.directory(root, "", false)?;
    walk.link_packages()?;
    walk.check()?;
    let counted = walk.files.iter().filter_map(|(path, source)| Some((path, source.hash?)));
    let digest = Digest::of_files(counted);
    Ok(Files { files: walk.files, links: walk.links, digest, left_out: walk.left_out })
}

/// Returns true if the configuration of the project in `root` names packages, which routers may install.
pub(super) fn has_packages(root: &Path) -> bool {
    root.join(PACKAGES).is_dir() && names_packages(root)
}

fn names_packages(folder: &Path) -> bool {
    CONFIG_FILES.into_iter().chain([PACKAGE_FILE]).any(|file| folder.join(file).is_file())
}

/// The files and folders that the project in `root` is served from, the entry first. Empty if there is no entry: the
/// router reports why.
fn needed(root: &Path) -> Vec<String> {
    let Some(Entry { path, outputs, .. }) = find_entry(root) else { return Vec::new() };
    let is_own = !entry::is_in_package(&path);
    let text = if is_own { read_start(&root.join(&path)) } else { String::new() };
    // "./build/server/index.js", or "build" alone.
    let names = |folder: &str| {
        let around = |before: char| ['/', '"', '\'', '`'].map(|after| format!("{before}{folder}{after}"));
        ['/', '"', '\'', '`'].into_iter().flat_map(around).any(|named| text.contains(&named))
    };
    let named = OUTPUT_FOLDERS.into_iter().filter(|folder| names(folder)).map(str::to_owned);
    [path].into_iter().chain(outputs).chain(named).collect()
}

/// The beginning of a program's text. Generated code may be longer.
fn read_start(path: &Path) -> String {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_CONFIG).read_to_end(&mut text));
    read.map(|_| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
}

/// The entry, or the first page of a static site, as a router would find it.
fn find_entry(root: &Path) -> Option<Entry> {
    let config = CONFIG_FILES.into_iter().find(|file| root.join(file).is_file());
    let package = Some(PACKAGE_FILE).filter(|file| root.join(file).is_file());
    let read = |file: Option<&'static str>| match file {
        Some(file) => configuration(root, file).map(|value| Some((file, value))),
        None => Some(None),
    };
    let (config, package) = (read(config)?, read(package)?);
    let [config, package] =
        [&config, &package].map(|read| read.as_ref().map(|(file, value)| Config { file, value }));
    site::find(root, config, package).ok().map(|served| served.entry())
}

/// `None` where it does not parse.
fn configuration(root: &Path, file: &'static str) -> Option<serde_json::Value> {
    let mut text = String::new();
    File::open(root.join(file)).ok()?.take(MAX_CONFIG).read_to_string(&mut text).ok()?;
    config::parse(file, &text).ok()
}

struct Walk<'a> {
    root: &'a Path,
    within: &'a Path,
    packages: Packages,
    /// The entry and what else is needed to serve it.
    needed: Vec<String>,
    /// The real directories from the root down to where the walk is: a link to one of them is a loop.
    ancestors: Vec<PathBuf>,
    rules: Rules,
    files: BTreeMap<String, Source>,
    links: BTreeMap<String, String>,
    packages_linked: Vec<PackageLink>,
    left_out: BTreeMap<String, Reason>,
}

/// A link in a `node_modules` to something in the project. Whether that is sent is known when all
/// has been listed.
struct PackageLink {
    path: String,
    real: PathBuf,
    whole: bool,
    /// See [`Walk`].
    ancestors: Vec<PathBuf>,
}

impl Walk<'_> {
    /// Walks the folder at `real`, which is called `prefix` in the project. With `whole`, files
    /// that git ignores are included.
    fn directory(&mut self, real: &Path, prefix: &str, whole: bool) -> Result<(), FilesError> {
        let layers = self.rules.enter(real, &self.root.join(prefix))?;
        for entry in fs::read_dir(real).map_err(|error| unreadable(prefix, &error))? {
            let entry = entry.map_err(|error| unreadable(prefix, &error))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                return Err(FilesError(format!(
                    "{name:?} in {prefix:?} has a name that is not UTF-8: rename it"
                )));
            };
            let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
            self.entry(&entry.path(), path, whole)?;
        }
        self.rules.leave(layers);
        Ok(())
    }

    fn entry(&mut self, absolute: &Path, path: String, whole: bool) -> Result<(), FilesError> {
        let (is_link, is_dir) = (absolute.is_symlink(), absolute.is_dir());
        let is_output = whole;
        let whole = whole || self.is_sent_whole(&path, is_dir);
        let shown = self.root.join(&path);
        let candidate = Candidate { path: &shown, is_dir, is_link, whole };
        let never = is_never_sent(&path, is_link, is_dir).then_some(Reason::Never);
        let reason = never
            .or_else(|| self.rules.reason(candidate))
            .or_else(|| self.installed(&shown, is_dir, is_output));
        if let Some(reason) = reason {
            return self.leave_out(path, is_dir, reason);
        }
        digest::check_path(&path).map_err(|error| FilesError(error.to_string()))?;
        let real = if is_link { self.target(absolute, &path)? } else { absolute.to_owned() };
        let target = Candidate { path: &real, is_dir, is_link: false, whole };
        if is_link && self.rules.reason(target) == Some(Reason::Env) {
            return self.leave_out(path, is_dir, Reason::Env);
        }
        // Routers refuse a link in the place of packages.
        let may_stay = is_link && path.rsplit('/').skip(1).any(|name| name == PACKAGES);
        if may_stay && real.starts_with(self.root) {
            self.bound(self.packages_linked.len())?;
            let ancestors = self.ancestors.clone();
            self.packages_linked.push(PackageLink { path, real, whole, ancestors });
            return Ok(());
        }
        self.follow(path, real, is_link, whole)
    }

    /// Lists what is `real`ly there as `path`.
    fn follow(&mut self, path: String, real: PathBuf, is_link: bool, whole: bool) -> Result<(), FilesError> {
        let metadata = real.metadata().map_err(|error| unreadable(&path, &error))?;
        if metadata.is_dir() {
            if is_link && self.ancestors.contains(&real) {
                return Err(FilesError(format!(
                    "the symbolic link {path} points to a folder that it is in: remove it"
                )));
            }
            self.ancestors.push(real.clone());
            self.directory(&real, &path, whole)?;
            self.ancestors.pop();
            return Ok(());
        }
        if metadata.is_file() {
            return self.file(path, real, metadata.len());
        }
        // Sockets, pipes and devices are no code.
        self.leave_out(path, false, Reason::Never)
    }

    /// Returns true if git's rules do not apply to a file or to a folder with everything in it: the
    /// entry and its folder, and packages, which git ignores because they can be installed again.
    fn is_sent_whole(&self, path: &str, is_dir: bool) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        let is_below = |needed: &String| needed.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        let holds_entry = || self.needed.iter().any(is_below);
        let is_output = || {
            let candidate = Candidate { path: &self.root.join(path), is_dir, is_link: false, whole: false };
            OUTPUT_FOLDERS.contains(&name) || self.rules.reason(candidate) == Some(Reason::Gitignore)
        };
        let is_needed = self.needed.iter().any(|needed| needed == path);
        is_needed || (is_dir && (name == PACKAGES || (holds_entry() && is_output())))
    }

    /// Packages that a build has put beside its output are part of that; the routers install what
    /// the project's own files name.
    fn installed(&self, shown: &Path, is_dir: bool, is_output: bool) -> Option<Reason> {
        let are_packages = is_dir && shown.ends_with(PACKAGES) && shown.parent().is_some_and(names_packages);
        let is_installed = are_packages && !is_output && names_packages(self.root);
        (self.packages == Packages::Install && is_installed).then_some(Reason::Packages)
    }

    /// Keeps the links among packages to what is sent, and sends what others lead to in their
    /// place.
    fn link_packages(&mut self) -> Result<(), FilesError> {
        while let Some(PackageLink { path, real, whole, ancestors }) = self.packages_linked.pop() {
            let below = real.strip_prefix(self.root).ok().and_then(Path::to_str);
            match below.filter(|below| self.is_sent(below)) {
                Some(below) => {
                    self.bound(self.links.len())?;
                    self.links.insert(path.clone(), relative(&path, below));
                }
                None => {
                    self.ancestors = ancestors;
                    self.follow(path, real, true, whole)?;
                }
            }
        }
        Ok(())
    }

    /// Returns `true` when something is sent of the file or folder at `path`.
    fn is_sent(&self, path: &str) -> bool {
        let prefix = format!("{path}/");
        let first = self.files.range(prefix.clone()..).next();
        path.is_empty()
            || self.files.contains_key(path)
            || first.is_some_and(|(file, _)| file.starts_with(&prefix))
    }

    fn leave_out(&mut self, mut path: String, is_dir: bool, reason: Reason) -> Result<(), FilesError> {
        self.bound(self.left_out.len())?;
        if is_dir {
            path.push('/');
        }
        self.left_out.insert(path, reason);
        Ok(())
    }

    fn file(&mut self, path: String, real: PathBuf, size: u64) -> Result<(), FilesError> {
        self.bound(self.files.len())?;
        let hash = digest::is_counted(&path).then(|| hash_file(&real)).transpose();
        let hash = hash.map_err(|error| unreadable(&path, &error))?;
        self.files.insert(path, Source { path: real, size, hash });
        Ok(())
    }

    fn bound(&self, files: usize) -> Result<(), FilesError> {
        if files < MAX_FILES {
            return Ok(());
        }
        Err(FilesError(format!(
            "{} has more than {MAX_FILES} files: leave some out in {IGNORE_FILE}",
            self.root.display()
        )))
    }

    fn target(&self, link: &Path, path: &str) -> Result<PathBuf, FilesError> {
        match link.canonicalize() {
            Ok(target) if target.starts_with(self.within) => Ok(target),
            Ok(_) => Err(FilesError(format!(
                "the symbolic link {path} leaves {}: replace it with its target",
                self.within.display()
            ))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(FilesError(format!("the symbolic link {path} points to nothing: fix or remove it")))
            }
            Err(error) => Err(unreadable(path, &error)),
        }
    }

    /// Refuses what no router could serve, while it can be said why.
    fn check(&self) -> Result<(), FilesError> {
        let holds_entry = |(left, _): &(&String, &Reason)| {
            let holds =
                |entry: &String| *left == entry || (left.ends_with('/') && entry.starts_with(left.as_str()));
            self.needed.first().is_some_and(holds)
        };
        let entry = self.left_out.iter().find(holds_entry);
        let by_rule = |reason: Reason| !matches!(reason, Reason::Packages | Reason::Never);
        if let Some((left, reason)) = entry.filter(|(_, reason)| by_rule(**reason)) {
            return Err(FilesError(format!(
                "the entry {} would be left out with {left} ({}): include it with a line \"!{left}\" in {IGNORE_FILE}",
                self.needed.first().map(String::as_str).unwrap_or_default(),
                reason.why(),
            )));
        }
        if !self.files.is_empty() {
            return Ok(());
        }
        let root = self.root.display();
        let left = self.left_out.iter().find(|(_, reason)| **reason != Reason::Never);
        Err(FilesError(match left {
            Some((left, reason)) => format!(
                "{root} has no files to deploy: all are left out, such as {left} ({}); list in {IGNORE_FILE} what \
                 is to be left out instead",
                reason.why()
            ),
            None => format!("{root} has no files to deploy"),
        }))
    }
}

/// History and leftovers never count; packages do not either, but the version needs them. What a package
/// manager links in `.bin` is for shells.
fn is_never_sent(path: &str, is_link: bool, is_dir: bool) -> bool {
    let mut up = path.rsplit('/');
    let (name, folder, above) = (up.next().unwrap_or(path), up.next(), up.next());
    if name == ".git" || (is_link && folder == Some(".bin") && above == Some(PACKAGES)) {
        return true;
    }
    let in_packages = path.split('/').any(|part| part == PACKAGES);
    !in_packages && !is_dir && !digest::is_counted(path)
}

/// The path to `to` from the folder that `link` is in; both are relative to the project.
fn relative(link: &str, to: &str) -> String {
    "../".repeat(link.matches('/').count()) + to
}

fn unreadable(path: &str, error: &io::Error) -> FilesError {
    let shown = if path.is_empty() { "the folder" } else { path };
    FilesError(format!("{shown} cannot be read: {error}"))
}

fn hash_file(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().into()),
            n => hash.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests;
