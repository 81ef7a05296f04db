//! The store of all checkouts: `<state>/checkouts/<tenant>@<12 hex>/<project>/…`.

mod copy;
mod entry;
mod error;
mod fill;
mod links;
mod prepared;
mod received;

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use switchyard_contract::digest::Digest;
use switchyard_contract::event::ChangedFiles;
use switchyard_contract::project::ProjectName;

pub(crate) use self::entry::{Checkout, StoredVersion};
use self::entry::{Pin, linked_packages};
pub(crate) use self::error::CheckoutError;
use self::prepared::PreparedFolder;
pub(crate) use self::received::{ReceiveError, ReceivedFiles};
use super::bounds::{Pace, ReadBounds};
use super::hashes::{FileHashes, HashCache};
use super::node_modules;
use super::scan::{IncludeRefusal, IncludeSource};
use super::snapshot::{Snapshot, SnapshotError, snapshot};
use super::times::{self, FileTimes};
use crate::folder::remove;
use crate::policy::ReadLimits;
use crate::project::{Include, check_shared, diagnostic};
use crate::root::Place;
use crate::version::{Tenant, Version};

/// Prefix of folders that are not complete checkouts: being made, or being removed.
const UNFINISHED: &str = ".new-";

/// Number of pins below which unused ones are not searched for.
const MIN_PINS: usize = 64;

/// The folder of all checkouts.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
    state: Mutex<StoreState>,
    /// Number of the next unfinished folder.
    next: AtomicU64,
}

/// The checkouts that this process knows, by folder.
#[derive(Debug, Default)]
struct StoreState {
    /// The digest and files of each checkout that this process has made, or compared with its
    /// digest.
    trusted: HashMap<PathBuf, (Digest, Arc<FileHashes>)>,
    pins: HashMap<PathBuf, Weak<Pin>>,
    /// Number of pins at which those are removed that have no handle any more.
    max_pins: usize,
    /// The names of all folders.
    folders: BTreeSet<String>,
    /// The times that the files of a checkout have.
    timed: HashMap<PathBuf, FileTimes>,
    /// The folders that were prepared for the next version of a tenant.
    prepared: HashMap<Tenant, PreparedFolder>,
}

impl StoreState {
    /// The digits of the checkouts of `tenant`.
    fn digits_of(&self, tenant: &Tenant) -> Vec<String> {
        let prefix = format!("{tenant}@");
        let names = self.folders.range(prefix.clone()..);
        names.map_while(|name| name.strip_prefix(&prefix)).map(str::to_owned).collect()
    }
}

impl Store {
    /// Opens the store in the state folder `state`, and removes the unfinished checkouts of a
    /// router that was killed.
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
        let state = StoreState { folders, ..StoreState::default() };
        Ok(Self { root, state: Mutex::new(state), next: AtomicU64::new(0) })
    }

    /// Takes a snapshot of `project` at `place`.
    ///
    /// # Errors
    /// Those of [`snapshot`]. A project is also invalid if it includes the state folder, which
    /// holds the data of all projects, or a folder of a project that does not share it, or if its
    /// packages are a symbolic link, or its override is one.
    pub(crate) fn snapshot(
        &self,
        project: &ProjectName,
        place: &Place,
        bounds: ReadBounds<'_>,
        cache: &mut HashCache,
    ) -> Result<Snapshot, SnapshotError> {
        let project = project.as_str();
        let state = self.root.parent().unwrap_or(&self.root);
        let check = |volume: &Path, include: &Include| {
            let path = volume.join(include.below_root());
            if path.starts_with(state) || state.starts_with(&path) {
                let reason = "is the router's own state folder (--state), or contains it: remove the entry";
                return Err(IncludeRefusal::from(reason.to_owned()));
            }
            if include.owner() == project {
                let reason = "is the project itself, or part of it: remove the entry";
                return Err(IncludeRefusal::from(reason.to_owned()));
            }
            check_shared(include, volume, project)
                .map_err(|refusal| IncludeRefusal::from(refusal.to_string()))
        };
        let includes = match &place.volume {
            Some(volume) => IncludeSource::Override(&check, volume),
            None => IncludeSource::Configuration(&check),
        };
        let snapshot = snapshot(&place.dir, includes, bounds, cache)?;
        if place.is_override() && snapshot.root() != place.dir {
            let error = "the folder of its override is a symbolic link now, or below one: set the override \
                         again (switchyard source dev NAME --local-path DIR)";
            return Err(SnapshotError::Invalid(diagnostic(error)));
        }
        // A cell may read the real folder of its packages, which a link could make any folder.
        let linked = snapshot.node_modules().iter().find(|path| snapshot.volume_path(path).is_symlink());
        match linked {
            Some(path) => {
                let error = format!("{path} is a symbolic link: install the packages in its place");
                Err(SnapshotError::Invalid(diagnostic(error)))
            }
            None => Ok(snapshot),
        }
    }

    /// Returns the checkout of `version`, if it exists and its files have the version's digest.
    /// Also `None` if `pace` has interrupted the comparison.
    pub(crate) fn find(&self, version: &Version, pace: Pace<'_>) -> Option<Checkout> {
        let stored = self.find_paced(&version.tenant(), &version.digest.short(), pace)?;
        (stored.version == *version).then_some(stored.checkout)
    }

    /// Returns the tenant's version with the digits `short`, the beginning of its digest, if its
    /// checkout exists and has that digest.
    pub(crate) fn find_by_digits(&self, tenant: &Tenant, short: &str) -> Option<StoredVersion> {
        self.find_paced(tenant, short, &|_| Ok(()))
    }

    fn find_paced(&self, tenant: &Tenant, short: &str, pace: Pace<'_>) -> Option<StoredVersion> {
        let is_digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if !short.bytes().all(is_digit) {
            return None;
        }
        let folder = self.folder(tenant, short);
        let checkout = self.pin(&folder, &tenant.project);
        let trusted = self.state().trusted.get(&folder).cloned();
        let (digest, files) = match trusted {
            Some(trusted) if checkout.dir.is_dir() => trusted,
            _ => self.verify(&folder, &checkout.dir, short, pace)?,
        };
        Some(StoredVersion { version: Version::new(tenant, digest), files, checkout })
    }

    /// Compares a checkout with its name. A power cut can leave names without their content, so a
    /// checkout of an earlier process is trusted only if its digest begins with `short`; otherwise
    /// it is removed.
    fn verify(
        &self,
        folder: &Path,
        dir: &Path,
        short: &str,
        pace: Pace<'_>,
    ) -> Option<(Digest, Arc<FileHashes>)> {
        let bounds = ReadBounds { limits: ReadLimits::NONE, pace };
        // The checkout's includes were checked when it was made.
        let found = match snapshot(dir, IncludeSource::Checkout, bounds, &mut HashCache::default()) {
            Ok(found) if found.digest.short() == short => found,
            Err(SnapshotError::Gone) => {
                self.state().folders.remove(name(folder));
                return None;
            }
            Err(SnapshotError::Interrupted) => return None,
            _ => {
                remove(folder);
                self.state().folders.remove(name(folder));
                return None;
            }
        };
        let trusted = (found.digest, found.files);
        self.state().trusted.insert(folder.to_owned(), trusted.clone());
        Some(trusted)
    }

    /// The files of a checkout that was found or made by this process.
    pub(crate) fn contents(&self, checkout: &Checkout) -> Arc<FileHashes> {
        let folder = checkout.dir.parent().unwrap_or(&checkout.dir);
        self.state().trusted.get(folder).map(|(_, files)| files.clone()).unwrap_or_default()
    }

    /// Returns the files in which `version`, whose snapshot is given, differs from the version `earlier`.
    /// `None`: they are equal, or the files of the earlier one are not known.
    pub(crate) fn changes(
        &self,
        earlier: &Version,
        version: &Version,
        snapshot: &Snapshot,
    ) -> Option<ChangedFiles> {
        if earlier.tenant() != version.tenant() || earlier == version {
            return None;
        }
        let folder = self.folder(&earlier.tenant(), &earlier.digest.short());
        let before = self.state().trusted.get(&folder).map(|(_, files)| files.clone())?;
        snapshot.files.changes(&before)
    }

    /// Returns a handle to the checkout in `folder`, which need not exist yet. While it lives, the
    /// checkout is not pruned.
    fn pin(&self, folder: &Path, project: &ProjectName) -> Checkout {
        let mut state = self.state();
        if state.pins.len() >= state.max_pins {
            state.pins.retain(|_, pin| pin.strong_count() > 0);
            // Doubling the number keeps the cost for each pin constant.
            state.max_pins = 2 * state.pins.len().max(MIN_PINS);
        }
        let pin = state.pins.get(folder).and_then(Weak::upgrade).unwrap_or_default();
        state.pins.insert(folder.to_owned(), Arc::downgrade(&pin));
        Checkout { dir: folder.join(project.as_str()), pin }
    }

    /// Returns a handle to the checkout of `version`, which need not exist.
    #[cfg(test)]
    pub(crate) fn pinned(&self, version: &Version) -> Checkout {
        self.pin(&self.folder(&version.tenant(), &version.digest.short()), &version.project)
    }

    /// Returns the digits of the checkouts of `tenant`, and the time at which each was made, newest
    /// first.
    pub(crate) fn list(&self, tenant: &Tenant) -> Vec<(String, SystemTime)> {
        let shorts = self.state().digits_of(tenant);
        let with_time = |short: String| {
            let made = creation_time(&self.folder(tenant, &short))?;
            Some((short, made))
        };
        let mut found: Vec<_> = shorts.into_iter().filter_map(with_time).collect();
        found.sort_by_key(|(_, made)| Reverse(*made));
        found
    }

    /// Returns the checkout of `snapshot`, which is made if it does not exist. Files that are
    /// unchanged since the version `previous` are hard links to its checkout; the rest is copied
    /// (as a reflink, if the file system can).
    ///
    /// # Errors
    /// [`CheckoutError`].
    pub(crate) fn make(
        &self,
        version: &Version,
        snapshot: &Snapshot,
        previous: Option<&Version>,
        pace: Pace<'_>,
    ) -> Result<Checkout, CheckoutError> {
        if let Some(found) = self.find(version, pace) {
            if node_modules::differ(&found.dir, snapshot) {
                found.detach(&snapshot.files).context("remove the links to fetched packages")?;
            }
            node_modules::link(&found.dir, &found.dir, snapshot, None, pace)?;
            self.update_times(version, snapshot);
            return Ok(found);
        }
        let folder = self.folder(&version.tenant(), &version.digest.short());
        let checkout = self.pin(&folder, &version.project);
        self.fill(version, snapshot, previous, pace)?;
        let mut state = self.state();
        state.folders.insert(name(&folder).to_owned());
        state.trusted.insert(folder, (version.digest, snapshot.files.clone()));
        drop(state);
        self.set_times(version, snapshot, previous);
        Ok(checkout)
    }

    /// Gives the files of the version's checkout the times that they have on the volume now, where
    /// the same content may have been written again.
    pub(crate) fn update_times(&self, version: &Version, snapshot: &Snapshot) {
        self.set_times(version, snapshot, Some(version));
    }

    /// The same, where unchanged files are links to those of the version `base`.
    fn set_times(&self, version: &Version, snapshot: &Snapshot, base: Option<&Version>) {
        let folder_of = |version: &Version| self.folder(&version.tenant(), &version.digest.short());
        let (folder, times) = (folder_of(version), times::of(snapshot));
        let known = {
            let state = self.state();
            if state.timed.get(&folder) == Some(&times) {
                return;
            }
            base.map(folder_of)
                .and_then(|base| Some((state.trusted.get(&base)?.1.clone(), state.timed.get(&base)?.clone())))
        };
        let applied = times::apply(&folder.join(version.project.as_str()), snapshot, known);
        let mut state = self.state();
        // Other versions share the files whose times have changed.
        if !matches!(applied, Ok(false)) {
            for short in state.digits_of(&version.tenant()) {
                state.timed.remove(&self.folder(&version.tenant(), &short));
            }
        }
        match applied {
            Ok(_) => _ = state.timed.insert(folder, times),
            Err(error) => tracing::debug!("the files of {version} keep other times: {error}"),
        }
    }

    /// Returns the path of a new unfinished folder.
    fn unfinished(&self, project: &ProjectName) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join(format!("{UNFINISHED}{number}-{project}"));
        remove(&path);
        path
    }

    /// Removes the checkouts of `tenant`, except the `keep` newest, those with the digits in
    /// `used`, and those that have a handle.
    pub(crate) fn prune(&self, tenant: &Tenant, keep: usize, used: &HashSet<String>) {
        self.prune_prepared(tenant, used);
        let mut found = self.list(tenant);
        found.retain(|(short, _)| !used.contains(short));
        for (short, _) in found.into_iter().skip(keep) {
            let folder = self.folder(tenant, &short);
            let gone = self.unfinished(&tenant.project);
            // Renamed first, so that a search from now on finds nothing rather than a part of it.
            let is_renamed = {
                let mut state = self.state();
                let pinned = state.pins.get(&folder).is_some_and(|pin| pin.strong_count() > 0);
                if !pinned {
                    state.trusted.remove(&folder);
                    state.timed.remove(&folder);
                }
                let is_renamed = !pinned && fs::rename(&folder, &gone).is_ok();
                if is_renamed {
                    state.folders.remove(name(&folder));
                }
                is_renamed
            };
            if is_renamed {
                remove(&gone);
            }
        }
    }

    /// Returns the folders of packages that were fetched for the checkouts of `tenant`.
    pub(crate) fn packages(&self, tenant: &Tenant) -> Vec<PathBuf> {
        let found = self.list(tenant).into_iter().filter_map(|(short, _)| {
            linked_packages(&self.folder(tenant, &short).join(tenant.project.as_str()))
        });
        found.collect()
    }

    /// Returns the tenants that have checkouts.
    pub(crate) fn tenants(&self) -> BTreeSet<Tenant> {
        let state = self.state();
        state.folders.iter().filter_map(|name| Tenant::of_folder(name.split_once('@')?.0)).collect()
    }

    /// The folder of the tenant's checkout with the digits `short`.
    fn folder(&self, tenant: &Tenant, short: &str) -> PathBuf {
        self.root.join(format!("{tenant}@{short}"))
    }

    fn state(&self) -> MutexGuard<'_, StoreState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(folder: &Path) -> &str {
    folder.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn creation_time(folder: &Path) -> Option<SystemTime> {
    folder.metadata().and_then(|metadata| metadata.modified()).ok()
}

fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect::<io::Result<_>>().with_context(|| format!("read {}", dir.display()))
}

#[cfg(test)]
mod tests;
