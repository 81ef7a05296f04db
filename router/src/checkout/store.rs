//! The checkouts on disk: `<state>/checkouts/<tenant>@<12 hex>/<project>/…`.

mod links;

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::fs::{self, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use switchyard_contract::digest::Digest;
use switchyard_contract::event::Diagnostic;
use switchyard_contract::project::ProjectName;

use super::bounds::{Bounds, Interrupted, Pace};
use super::packages::{self, LinkError, NodeModules};
use super::scan::Beside;
use super::snapshot::{
    FileHash, Files, HashCache, ReadError, Snapshot, SnapshotError, hash, own_digest, snapshot,
};
use super::times;
use crate::folder::{NOT_SHARED, remove};
use crate::policy::ReadLimits;
use crate::project::{Include, NODE_MODULES, diagnostic};
use crate::version::{Tenant, Version};

/// Marks a checkout that is not finished; nothing but its own making reads it.
const UNFINISHED: &str = ".new-";

/// Beside the project's directory in a checkout: a link to what was fetched for it.
const PACKAGES: &str = ".packages";

/// The `node_modules` of a workspace that a project is in, relative to that.
const WORKSPACE: &str = "../node_modules";

/// Bytes that are copied between two looks at whether to go on: some milliseconds. The kernel shares whole pieces with the
/// original where the file system can.
const PIECE: u64 = 8 << 20;

/// So few pins are not worth a look at all of them.
const PINS: usize = 64;

/// A version's read-only copy. It is not pruned while somebody has one of these.
#[derive(Debug, Clone)]
pub(crate) struct Checkout {
    /// The project's directory in it: what its cell imports from.
    pub(crate) dir: PathBuf,
    pin: Arc<Pin>,
}

#[derive(Debug, Default)]
struct Pin {
    /// The packages of the volume with which it was found to need nothing else.
    complete_with: Mutex<Option<NodeModules>>,
}

impl Checkout {
    /// What was fetched for it, when that is still there.
    pub(crate) fn packages(&self) -> Option<PathBuf> {
        linked_packages(&self.dir).filter(|folder| folder.is_dir())
    }

    /// Its `node_modules` folders on the volume.
    pub(crate) fn node_modules(&self) -> NodeModules {
        NodeModules::of(&self.dir)
    }

    /// Where the `node_modules` that was fetched for it is, when the project has that in place of
    /// one of its own.
    pub(crate) fn fetched_node_modules(&self) -> Option<PathBuf> {
        let fetched = linked_packages(&self.dir)?.join(NODE_MODULES);
        let is_used = fs::read_link(self.dir.join(NODE_MODULES)).is_ok_and(|target| target == fetched);
        // Not by a link that somebody has put there since.
        (is_used && fetched.canonicalize().is_ok_and(|real| real == fetched)).then_some(fetched)
    }

    /// Where the packages are that the checkout has a folder of links to, which the router has
    /// made.
    pub(crate) fn laid_out(&self) -> Option<PathBuf> {
        let is_folder = links::is_folder(&self.dir.join(NODE_MODULES));
        self.packages().filter(|_| is_folder).map(|packages| packages.join(NODE_MODULES))
    }

    /// Returns `true` if it is known to need nothing that is not there.
    pub(crate) fn is_complete(&self) -> bool {
        let complete_with = self.pin.complete_with.lock().unwrap_or_else(PoisonError::into_inner);
        // Packages may have gone since.
        complete_with.as_ref().is_some_and(|found| *found == self.node_modules())
    }

    /// Notes that it needs nothing that is not there.
    pub(crate) fn set_complete(&self) {
        let mut complete_with = self.pin.complete_with.lock().unwrap_or_else(PoisonError::into_inner);
        *complete_with = Some(self.node_modules());
    }

    /// Makes `folder` what was fetched for it; its `node_modules` is the project's if that has none.
    ///
    /// # Errors
    /// The links cannot be made.
    pub(crate) fn attach(&self, folder: &Path) -> io::Result<()> {
        let node_modules = self.dir.join(NODE_MODULES);
        let earlier = linked_packages(&self.dir).map(|earlier| earlier.join(NODE_MODULES));
        let of_volume = self.node_modules();
        // One of the volume's may be a folder of links too.
        let is_laid_out = of_volume.own.is_none() && links::is_folder(&node_modules);
        let is_earlier =
            is_laid_out || fs::read_link(&node_modules).is_ok_and(|target| Some(target) == earlier);
        let fetched = folder.join(NODE_MODULES);
        let links = links::read(folder)?;
        // It would stand before those of a workspace that the project is in.
        let has_workspace = || of_volume.others.contains_key(WORKSPACE);
        let is_wanted = !node_modules.is_dir()
            && !has_workspace()
            && (!links.is_empty() || fs::read_dir(&fetched)?.next().is_some());
        if is_earlier || is_wanted {
            if links.is_empty() {
                links::clear(&node_modules)?;
                self.relink(&fetched, &node_modules)?;
            } else {
                links::lay_out(&self.dir, folder, &links, &of_volume)?;
            }
        }
        self.relink(folder, &self.dir.with_file_name(PACKAGES))
    }

    /// Takes away what was fetched for it, as the volume has other packages now. The next build
    /// attaches what it needs beside those.
    fn detach(&self, files: &Files) -> io::Result<()> {
        packages::clear_fetched(&self.dir, files)?;
        links::clear(&self.dir.with_file_name(PACKAGES))
    }

    /// Has `link` lead to `target`, in one step.
    fn relink(&self, target: &Path, link: &Path) -> io::Result<()> {
        let beside = self.dir.with_file_name(".link");
        let _ = fs::remove_file(&beside);
        symlink(target, &beside)?;
        fs::rename(beside, link)
    }
}

fn linked_packages(dir: &Path) -> Option<PathBuf> {
    fs::read_link(dir.with_file_name(PACKAGES)).ok()
}

/// A checkout that is still there, and what is in it.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) version: Version,
    pub(crate) files: Arc<Files>,
    pub(crate) checkout: Checkout,
}

impl Kept {
    /// The digest of the project's own files, when the version has others: included ones.
    pub(crate) fn own(&self) -> Option<Digest> {
        own_digest(&self.files)
    }
}

/// Why a checkout was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckoutError {
    /// A file on the volume is no longer what the snapshot saw: snapshot again.
    #[error("the project changed while it was copied")]
    Moved,
    #[error("{}", .0.message)]
    Invalid(Diagnostic),
    #[error("the copying was interrupted")]
    Interrupted,
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

/// The folder of all checkouts.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
    known: Mutex<Known>,
    next: AtomicU64,
}

/// What this process knows of the checkouts, by folder.
#[derive(Debug, Default)]
struct Known {
    /// Those that it made or has compared with their digest, and what is in them.
    trusted: HashMap<PathBuf, (Digest, Arc<Files>)>,
    pins: HashMap<PathBuf, Weak<Pin>>,
    /// Pins that nobody has any more are let go of when there are so many.
    most_pins: usize,
    /// The names of all folders.
    folders: BTreeSet<String>,
    /// Of which times the files have: see [`times::fingerprint`].
    timed: HashMap<PathBuf, u64>,
}

impl Store {
    /// Opens the store below `state` and clears away what a killed router left half made.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub(crate) fn open(state: &Path) -> Result<Self> {
        let root = state.join("checkouts");
        fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
        let mut folders: BTreeSet<_> = names(&root)?.into_iter().collect();
        for name in folders.extract_if(.., |name| name.starts_with(UNFINISHED)) {
            remove(&root.join(name));
        }
        let root = root.canonicalize().context("resolve the state folder")?;
        let known = Known { folders, ..Known::default() };
        Ok(Self { root, known: Mutex::new(known), next: AtomicU64::new(0) })
    }

    /// Reads the project in `root` as [`snapshot`] does.
    ///
    /// # Errors
    /// Also when it includes what it may not: the router's own folder, in which are all projects' data, or a project's that
    /// does not share.
    pub(crate) fn snapshot(
        &self,
        root: &Path,
        bounds: Bounds<'_>,
        cache: &mut HashCache,
    ) -> Result<Snapshot, SnapshotError> {
        let project = root.file_name().unwrap_or_default().to_string_lossy();
        let state = self.root.parent().unwrap_or(&self.root);
        let gate = |volume: &Path, include: &Include| {
            let path = volume.join(include.below_root());
            if path.starts_with(state) || state.starts_with(&path) {
                return Err("is the router's own (--state), or has it inside: take it out".to_owned());
            }
            include.leave(volume, &project)
        };
        let snapshot = snapshot(root, Beside::Included(&gate), bounds, cache)?;
        // A cell may read what its packages really are: by a link that would be anything.
        let linked = snapshot.node_modules().iter().find(|path| snapshot.place(path).is_symlink());
        match linked {
            Some(path) => {
                let error = format!("{path} is a symbolic link: install the packages in its place");
                Err(SnapshotError::Invalid(diagnostic(error)))
            }
            None => Ok(snapshot),
        }
    }

    /// The checkout of `version`, when it is there and holds what its digest says.
    /// None also when `pace` refuses.
    pub(crate) fn find(&self, version: &Version, pace: Pace<'_>) -> Option<Checkout> {
        let kept = self.kept_within(&version.tenant(), &version.digest.short(), pace)?;
        (kept.version == *version).then_some(kept.checkout)
    }

    /// The checkout of the tenant's version that is shown with these digits, when it is there and
    /// holds
    /// what its digest says.
    pub(crate) fn kept(&self, tenant: &Tenant, short: &str) -> Option<Kept> {
        self.kept_within(tenant, short, &|_| Ok(()))
    }

    fn kept_within(&self, tenant: &Tenant, short: &str, pace: Pace<'_>) -> Option<Kept> {
        let is_digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if !short.bytes().all(is_digit) {
            return None;
        }
        let folder = self.folder(tenant, short);
        let checkout = self.pinned(&folder, &tenant.project);
        let trusted = self.known().trusted.get(&folder).cloned();
        let (digest, files) = match trusted {
            Some(trusted) if checkout.dir.is_dir() => trusted,
            _ => self.compare(&folder, &checkout.dir, short, pace)?,
        };
        Some(Kept { version: Version::new(tenant, digest), files, checkout })
    }

    /// A power cut can leave names without their content: what an earlier process made is believed only
    /// when it hashes to its name.
    fn compare(
        &self,
        folder: &Path,
        dir: &Path,
        short: &str,
        pace: Pace<'_>,
    ) -> Option<(Digest, Arc<Files>)> {
        let bounds = Bounds { limits: ReadLimits::NONE, pace };
        // What is in it was let in when it was made.
        let found = match snapshot(dir, Beside::Made, bounds, &mut HashCache::default()) {
            Ok(found) if found.digest.short() == short => found,
            Err(SnapshotError::Gone) => {
                self.known().folders.remove(name(folder));
                return None;
            }
            Err(SnapshotError::Interrupted) => return None,
            _ => {
                remove(folder);
                self.known().folders.remove(name(folder));
                return None;
            }
        };
        let trusted = (found.digest, found.files);
        self.known().trusted.insert(folder.to_owned(), trusted.clone());
        Some(trusted)
    }

    /// The files in a checkout that was found or made.
    pub(crate) fn contents(&self, checkout: &Checkout) -> Arc<Files> {
        let folder = checkout.dir.parent().unwrap_or(&checkout.dir);
        self.known().trusted.get(folder).map(|(_, files)| files.clone()).unwrap_or_default()
    }

    /// The checkout in `folder`, whether it is there or not yet; from now on it is not pruned.
    fn pinned(&self, folder: &Path, project: &ProjectName) -> Checkout {
        let mut known = self.known();
        if known.pins.len() >= known.most_pins {
            known.pins.retain(|_, pin| pin.strong_count() > 0);
            // Looking at all of them costs each no more than twice.
            known.most_pins = 2 * known.pins.len().max(PINS);
        }
        let pin = known.pins.get(folder).and_then(Weak::upgrade).unwrap_or_default();
        known.pins.insert(folder.to_owned(), Arc::downgrade(&pin));
        Checkout { dir: folder.join(project.as_str()), pin }
    }

    /// The digits of the checkouts of `tenant`, and when each was made. The newest first.
    pub(crate) fn list(&self, tenant: &Tenant) -> Vec<(String, SystemTime)> {
        let prefix = format!("{tenant}@");
        let shorts: Vec<_> = {
            let known = self.known();
            let names = known.folders.range(prefix.clone()..);
            names.map_while(|name| name.strip_prefix(&prefix)).map(str::to_owned).collect()
        };
        let made = |short: String| {
            let made = made(&self.folder(tenant, &short))?;
            Some((short, made))
        };
        let mut found: Vec<_> = shorts.into_iter().filter_map(made).collect();
        found.sort_by_key(|(_, made)| Reverse(*made));
        found
    }

    /// The checkout of `snapshot`, made if it is not there. What is unchanged since `previous`
    /// is linked to it; the rest is copied (a reflink where the file system can).
    pub(crate) fn make(
        &self,
        version: &Version,
        snapshot: &Snapshot,
        previous: Option<&Version>,
        pace: Pace<'_>,
    ) -> Result<Checkout, CheckoutError> {
        if let Some(found) = self.find(version, pace) {
            if packages::are_others(&found.dir, snapshot) {
                found.detach(&snapshot.files).context("take away what was fetched")?;
            }
            packages::link(&found.dir, &found.dir, snapshot, None, pace)?;
            self.retime(version, snapshot);
            return Ok(found);
        }
        let folder = self.folder(&version.tenant(), &version.digest.short());
        let checkout = self.pinned(&folder, &version.project);
        let unfinished = self.unfinished(&version.project);
        let made = self.fill(&unfinished, version, snapshot, previous, pace);
        if made.is_err() {
            remove(&unfinished);
        }
        made?;
        let mut known = self.known();
        known.folders.insert(name(&folder).to_owned());
        known.trusted.insert(folder, (version.digest, snapshot.files.clone()));
        drop(known);
        self.retime(version, snapshot);
        Ok(checkout)
    }

    /// Gives the files of the version's checkout the times that they have on the volume now: somebody may
    /// have written the same content again.
    pub(crate) fn retime(&self, version: &Version, snapshot: &Snapshot) {
        let (folder, wanted) =
            (self.folder(&version.tenant(), &version.digest.short()), times::fingerprint(snapshot));
        if self.known().timed.get(&folder) == Some(&wanted) {
            return;
        }
        match times::apply(&folder.join(version.project.as_str()), snapshot) {
            Ok(()) => {
                self.known().timed.insert(folder, wanted);
            }
            Err(error) => tracing::debug!("the files of {version} keep other times: {error}"),
        }
    }

    /// A new name for what is no checkout (yet, or any more).
    fn unfinished(&self, project: &ProjectName) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join(format!("{UNFINISHED}{number}-{project}"));
        remove(&path);
        path
    }

    fn fill(
        &self,
        unfinished: &Path,
        version: &Version,
        snapshot: &Snapshot,
        previous: Option<&Version>,
        pace: Pace<'_>,
    ) -> Result<(), CheckoutError> {
        let previous = previous.filter(|previous| previous.tenant() == version.tenant());
        let previous =
            previous.and_then(|version| self.kept_within(&version.tenant(), &version.digest.short(), pace));
        let dir = unfinished.join(version.project.as_str());
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        fs::set_permissions(unfinished, Permissions::from_mode(NOT_SHARED))
            .with_context(|| format!("protect {}", unfinished.display()))?;
        for (path, hash) in &*snapshot.files {
            pace(0)?;
            let to = dir.join(path);
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
            }
            let unchanged = previous.as_ref().filter(|kept| kept.files.get(path) == Some(hash));
            let linked =
                unchanged.is_some_and(|kept| fs::hard_link(kept.checkout.dir.join(path), &to).is_ok());
            if !linked {
                copy(snapshot, path, &to, hash, pace)?;
            }
        }
        let folder = self.folder(&version.tenant(), &version.digest.short());
        let checkout = folder.join(version.project.as_str());
        let previous = previous.as_ref().map(|kept| kept.checkout.dir.as_path());
        packages::link(&dir, &checkout, snapshot, previous, pace)?;
        fs::rename(unfinished, &folder).with_context(|| format!("name {}", folder.display()))?;
        Ok(())
    }

    /// Removes the checkouts of `tenant` but the `keep` newest, those with the digits in `used`,
    /// and those that somebody has.
    pub(crate) fn prune(&self, tenant: &Tenant, keep: usize, used: &HashSet<String>) {
        let mut found = self.list(tenant);
        found.retain(|(short, _)| !used.contains(short));
        for (short, _) in found.into_iter().skip(keep) {
            let folder = self.folder(tenant, &short);
            let gone = self.unfinished(&tenant.project);
            // Named out of the way first: who looks for it from now on finds nothing, not the half.
            let taken = {
                let mut known = self.known();
                let pinned = known.pins.get(&folder).is_some_and(|pin| pin.strong_count() > 0);
                if !pinned {
                    known.trusted.remove(&folder);
                    known.timed.remove(&folder);
                }
                let taken = !pinned && fs::rename(&folder, &gone).is_ok();
                if taken {
                    known.folders.remove(name(&folder));
                }
                taken
            };
            if taken {
                remove(&gone);
            }
        }
    }

    /// The packages that were fetched for the checkouts of `tenant`.
    pub(crate) fn packages(&self, tenant: &Tenant) -> Vec<PathBuf> {
        let found = self.list(tenant).into_iter().filter_map(|(short, _)| {
            linked_packages(&self.folder(tenant, &short).join(tenant.project.as_str()))
        });
        found.collect()
    }

    /// The tenants that have checkouts.
    pub(crate) fn tenants(&self) -> BTreeSet<Tenant> {
        let known = self.known();
        known.folders.iter().filter_map(|name| Tenant::of_folder(name.split_once('@')?.0)).collect()
    }

    fn folder(&self, tenant: &Tenant, short: &str) -> PathBuf {
        self.root.join(format!("{tenant}@{short}"))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no holder of this lock panics")
    }
}

fn name(folder: &Path) -> &str {
    folder.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn made(folder: &Path) -> Option<SystemTime> {
    folder.metadata().and_then(|metadata| metadata.modified()).ok()
}

fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect::<io::Result<_>>().with_context(|| format!("read {}", dir.display()))
}

/// Copies a file of the snapshot, and makes sure that it is what it was.
fn copy(
    snapshot: &Snapshot,
    path: &str,
    to: &Path,
    expected: &FileHash,
    pace: Pace<'_>,
) -> Result<(), CheckoutError> {
    let failed = |what: &'static str| move |error| Unwritten { what, to, error };
    let (source, size) = snapshot.open(path)?;
    let target = File::create_new(to).map_err(failed("create"))?;
    let mut left = size;
    while left > 0 {
        let piece =
            io::copy(&mut (&source).take(left.min(PIECE)), &mut &target).map_err(failed("copy to"))?;
        if piece == 0 {
            return Err(CheckoutError::Moved);
        }
        left -= piece;
        pace(piece)?;
    }
    let copied = File::open(to).map_err(failed("read"))?;
    if hash(path, &copied, size, pace)? != *expected {
        return Err(CheckoutError::Moved);
    }
    let read_only = Permissions::from_mode(0o444);
    Ok(target.set_permissions(read_only).map_err(failed("protect"))?)
}

/// A file of a checkout that could not be made.
struct Unwritten<'a> {
    what: &'static str,
    to: &'a Path,
    error: io::Error,
}

impl From<Unwritten<'_>> for CheckoutError {
    fn from(Unwritten { what, to, error }: Unwritten<'_>) -> Self {
        Self::Failed(anyhow::Error::new(error).context(format!("{what} {}", to.display())))
    }
}

impl From<ReadError> for CheckoutError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Moved => Self::Moved,
            ReadError::Invalid(diagnostic) => Self::Invalid(diagnostic),
            ReadError::Interrupted => Self::Interrupted,
        }
    }
}

impl From<LinkError> for CheckoutError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Failed(error) => Self::Failed(anyhow::Error::new(error).context("link node_modules")),
            LinkError::Interrupted => Self::Interrupted,
        }
    }
}

impl From<Interrupted> for CheckoutError {
    fn from(_: Interrupted) -> Self {
        Self::Interrupted
    }
}

#[cfg(test)]
mod tests;
