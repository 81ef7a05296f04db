//! The packages of a checkout: links to the `node_modules` folders on the volume. A package that is
//! a link back into the project (a workspace's member, a `file:` dependency) leads to the checkout
//! instead: a version runs no code but its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::bounds::{Interrupted, Pace};
use super::snapshot::{Files, Snapshot};
use crate::folder::remove;
use crate::links::Steps;
use crate::project::{MAX_PACKAGES, NODE_MODULES, is_of_packages, is_store};

/// Beside the project's directory in a checkout: the record of its `node_modules` folders.
const RECORD: &str = ".node_modules";

/// Beside the project's directory in a checkout: what is put in its place next.
const UNFINISHED: &str = ".new-packages";

/// The `node_modules` folders of a version by their paths relative to the project, and where each
/// really is on the volume.
type Record = BTreeMap<String, PathBuf>;

/// The reason why the packages of a checkout were not linked.
#[derive(Debug)]
pub(super) enum LinkError {
    Failed(io::Error),
    Interrupted,
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Interrupted> for LinkError {
    fn from(_: Interrupted) -> Self {
        Self::Interrupted
    }
}

/// The `node_modules` folders of a version, where they really are on the volume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NodeModules {
    /// The one in the project's own folder.
    pub(crate) own: Option<PathBuf>,
    /// Those of folders below and beside it, by their paths relative to the project.
    pub(crate) others: BTreeMap<String, PathBuf>,
}

impl NodeModules {
    /// Reads those of the project in `dir`, which is in a checkout. One in whose place somebody has
    /// put a symbolic link since is left out.
    pub(super) fn of(dir: &Path) -> Self {
        let mut others = read(dir);
        others.retain(|_, place| place.canonicalize().is_ok_and(|real| real == *place));
        Self { own: others.remove(NODE_MODULES), others }
    }

    /// Returns `true` when one of them lies in a folder that holds `entry`, as in the output of a
    /// build.
    pub(crate) fn serve(&self, entry: &str) -> bool {
        let folders = self.others.keys().filter_map(|path| path.strip_suffix(NODE_MODULES));
        self.own.is_some() || folders.into_iter().any(|folder| entry.starts_with(folder))
    }
}

/// Makes the packages of `snapshot` those of the project in `dir`, which is or will be `checkout`.
/// Links that are the same in the `previous` version's are shared with it: to make one costs as
/// much as to make a file.
///
/// # Errors
/// The links cannot be made, or there are too many.
pub(super) fn link(
    dir: &Path,
    checkout: &Path,
    snapshot: &Snapshot,
    previous: Option<&Path>,
    pace: Pace<'_>,
) -> Result<(), LinkError> {
    let found = find(snapshot);
    let before = read(dir);
    for path in before.keys().filter(|path| !found.contains_key(*path)) {
        clear(&dir.join(path))?;
    }
    let unfinished = dir.with_file_name(UNFINISHED);
    for (path, place) in &found {
        let link = dir.join(path);
        let back = links_back(place, checkout, snapshot, pace)?;
        if back.is_empty() && fs::read_link(&link).is_ok_and(|target| target == *place) {
            continue;
        }
        clear(&unfinished)?;
        if back.is_empty() {
            symlink(place, &unfinished)?;
        } else {
            let earlier =
                [Some(dir), previous].into_iter().flatten().map(|project| project.join(path)).collect();
            let links = Links { place, back: &back, earlier };
            mirror(&links, &unfinished)
                .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
        }
        if let Some(parent) = link.parent() {
            fs::create_dir_all(parent)?;
        }
        replace(&unfinished, &link)?;
    }
    if found == before {
        return Ok(());
    }
    fs::write(&unfinished, serde_json::to_vec(&found).map_err(io::Error::from)?)?;
    Ok(fs::rename(&unfinished, dir.with_file_name(RECORD))?)
}

/// Returns `true` when the checkout in `dir` has packages of other folders than `snapshot` finds on
/// the volume.
pub(super) fn are_others(dir: &Path, snapshot: &Snapshot) -> bool {
    read(dir) != find(snapshot)
}

/// Clears the `node_modules` folders of the project in `dir` that are not of the volume: what was
/// fetched for it and is laid out in them.
///
/// # Errors
/// One cannot be removed.
pub(super) fn clear_fetched(dir: &Path, files: &Files) -> io::Result<()> {
    let of_volume = read(dir);
    let folders: BTreeSet<&Path> =
        files.keys().flat_map(|path| Path::new(path).ancestors().skip(1)).collect();
    // In a folder beside the project, but not right beside it: nothing is made there.
    let may_have_links = |folder: &&Path| *folder != Path::new("..");
    for path in folders.into_iter().filter(may_have_links).map(|folder| folder.join(NODE_MODULES)) {
        let is_fetched = path.to_str().is_none_or(|path| !of_volume.contains_key(path));
        if is_fetched {
            clear(&dir.join(path))?;
        }
    }
    Ok(())
}

fn read(dir: &Path) -> Record {
    let record = fs::read(dir.with_file_name(RECORD)).ok();
    record.and_then(|record| serde_json::from_slice(&record).ok()).unwrap_or_default()
}

/// One that is found through a symbolic link of the project's is another one of its own.
fn find(snapshot: &Snapshot) -> Record {
    let paths = snapshot.node_modules();
    let found = paths.iter().filter_map(|path| {
        let place = snapshot.place(path);
        let real = place.canonicalize().ok().filter(|real| real.is_dir())?;
        let is_own = || paths.iter().any(|other| snapshot.place(other) == real);
        ((real == place || is_own()) && has_any(&real)).then(|| (path.clone(), real))
    });
    found.collect()
}

/// Returns `false` when the `node_modules` at `place` is empty but for caches of tools: what a
/// project needs is then fetched, as if it was not there.
fn has_any(place: &Path) -> bool {
    let is_package = |entry: fs::DirEntry| entry.file_name().to_str().is_none_or(is_of_packages);
    // The error of one that cannot be read is for the build.
    let Ok(mut entries) = fs::read_dir(place) else { return true };
    entries.any(|entry| entry.is_ok_and(is_package))
}

/// The packages that lead back to files of the version, by their names in the `node_modules` at
/// `place`, and where those files are in `checkout`.
fn links_back(
    place: &Path,
    checkout: &Path,
    snapshot: &Snapshot,
    pace: Pace<'_>,
) -> Result<BTreeMap<PathBuf, PathBuf>, Interrupted> {
    let (mut back, mut steps) = (BTreeMap::new(), Steps::default());
    let mut left = vec![PathBuf::new()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(place.join(&folder)).into_iter().flatten().flatten().take(MAX_PACKAGES) {
            pace(0)?;
            let name = entry.file_name();
            let Ok(kind) = entry.file_type() else { continue };
            let path = folder.join(&name);
            let begins = |with: u8| name.as_encoded_bytes().first() == Some(&with);
            if kind.is_dir() && folder.as_os_str().is_empty() && begins(b'@') {
                left.push(path);
            } else if kind.is_symlink()
                && !begins(b'.')
                && !is_in_store(&entry.path())
                && let Ok((real, _)) = steps.follow(&entry.path())
                && let Some(own) = snapshot.relative(&real)
            {
                let target = if own.is_empty() { checkout.to_owned() } else { checkout.join(own) };
                back.insert(path, target);
            }
        }
    }
    Ok(back)
}

/// Returns `true` when a link leads to a package in a store, as most of pnpm's do. Those are not
/// followed: nothing leads on from there.
fn is_in_store(link: &Path) -> bool {
    let target = link.read_link();
    target.is_ok_and(|target| target.iter().filter_map(|name| name.to_str()).any(is_store))
}

/// The links to the packages of one `node_modules`.
struct Links<'a> {
    /// Where it really is.
    place: &'a Path,
    /// Where those lead to that lead back into the project.
    back: &'a BTreeMap<PathBuf, PathBuf>,
    /// Folders that have links to the same packages, perhaps.
    earlier: Vec<PathBuf>,
}

impl Links<'_> {
    /// Makes the link to the package `name` in `folder`.
    fn make(&self, name: &Path, folder: &Path) -> io::Result<()> {
        let link = folder.join(name);
        if let Some(target) = self.back.get(name) {
            return symlink(target, link);
        }
        let target = self.place.join(name);
        let mut same = self.earlier.iter().map(|earlier| earlier.join(name));
        let same = same.find(|same| same.read_link().is_ok_and(|found| found == target));
        if same.is_some_and(|same| fs::hard_link(same, &link).is_ok()) {
            Ok(())
        } else {
            symlink(target, link)
        }
    }

    /// Returns `true` when `name` is a scope with a package that leads back.
    fn is_open(&self, name: &Path) -> bool {
        let next = self.back.range(name.to_owned()..).next();
        next.is_some_and(|(link, _)| link != name && link.starts_with(name))
    }
}

/// Makes `folder` one with a link to each package.
fn mirror(links: &Links<'_>, folder: &Path) -> io::Result<()> {
    let mut count = 0;
    let mut left = vec![PathBuf::new()];
    while let Some(at) = left.pop() {
        fs::create_dir(folder.join(&at))?;
        for entry in fs::read_dir(links.place.join(&at))? {
            let path = at.join(entry?.file_name());
            count += 1;
            if count > MAX_PACKAGES {
                return Err(io::Error::other(format!(
                    "has links into the project, and more than {MAX_PACKAGES} packages: remove what is not needed"
                )));
            }
            if links.is_open(&path) {
                left.push(path);
            } else {
                links.make(&path, folder)?;
            }
        }
    }
    Ok(())
}

/// Puts what is at `new` at `path`: in one step, where the file system can.
fn replace(new: &Path, path: &Path) -> io::Result<()> {
    let Ok(old) = path.symlink_metadata() else { return fs::rename(new, path) };
    if old.is_symlink() && new.is_symlink() {
        return fs::rename(new, path);
    }
    if renameat_with(CWD, new, CWD, path, RenameFlags::EXCHANGE).is_ok() {
        return clear(new);
    }
    clear(path)?;
    fs::rename(new, path)
}

/// Removes a link, or a folder of links, if it is there.
fn clear(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => {
            remove(path);
            Ok(())
        }
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
