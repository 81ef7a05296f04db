//! Packages that are fetched for versions, in `<state>/packages`: `<tenant>/<key>.<n>` holds the
//! packages of a project's versions that name the same dependencies, `.downloads` the tarballs that
//! all projects share. Knows the folders and the process that fills them, but not which version
//! uses which folder.

mod downloads;
mod installer;
mod key;
mod manifests;
mod settings;
mod specifiers;
mod staging;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use switchyard_contract::event::Diagnostic;
use switchyard_protocol::{InstallRequest, fetched};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use self::downloads::DownloadCache;
use self::staging::StagingFolder;
use crate::folder::{names, remove, take_over};
use crate::project::diagnostic;
use crate::user::{ExternalPaths, User, UserError, Users};
use crate::version::Tenant;

pub(crate) use self::key::DependencyKey;
pub(crate) use self::manifests::{dev_dependencies, has_dependencies};
pub(crate) use self::settings::{Authorities, InstallerSettings};
pub(crate) use self::specifiers::Specifiers;

/// Maximum size in bytes of the list of specifiers that could not be fetched.
const MAX_FAILED: u64 = 8 << 20;

/// Prefix of folders that are not complete, or are being removed.
const UNFINISHED: &str = ".new-";

/// Maximum number of installations at once: each may use a gigabyte of memory for a while, and most
/// of them wait for the network.
const INSTALLATIONS: usize = 2;

/// All folders of packages.
#[derive(Debug)]
pub(crate) struct Packages {
    root: PathBuf,
    /// `None`: packages are not fetched.
    settings: Option<InstallerSettings>,
    downloads: DownloadCache,
    permits: Semaphore,
    /// Number of the next unfinished folder.
    next: AtomicU64,
    /// Held from the time when a folder gets its name, or is found, until a checkout is linked to
    /// it, so that the folder is not pruned in between.
    attaching: Mutex<()>,
}

/// The packages that a version needs.
#[derive(Debug)]
pub(crate) struct InstallSpec {
    pub(crate) tenant: Tenant,
    /// The request to the installer. [`Packages::install`] fills in the folders and the identity.
    pub(crate) install: InstallRequest,
    /// The key of the version's dependencies.
    pub(crate) key: DependencyKey,
    /// The specifiers in the version's modules.
    pub(crate) specifiers: Specifiers,
}

impl Packages {
    /// Opens the folder in the state folder `state`, and removes the unfinished folders of a router
    /// that was killed.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub(crate) fn open(state: &Path, settings: Option<InstallerSettings>) -> Result<Self> {
        let root = state.join("packages");
        fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
        let root = root.canonicalize().context("resolve the state folder")?;
        let downloads = DownloadCache::open(&root, settings.as_ref().map(|settings| &*settings.users))?;
        for project in names(&root) {
            for name in names(&root.join(&project)) {
                if name.starts_with(UNFINISHED) {
                    remove(&root.join(&project).join(name));
                }
            }
        }
        Ok(Self {
            root,
            settings,
            downloads,
            permits: Semaphore::new(INSTALLATIONS),
            next: AtomicU64::new(0),
            attaching: Mutex::default(),
        })
    }

    /// Returns `true` if the operator allows fetching packages.
    pub(crate) fn may_install(&self) -> bool {
        self.settings.is_some()
    }

    /// Calls `attach` with the newest folder of these dependencies, if it was filled for all of
    /// `specifiers`. `attach` links a version's checkout to it. Returns `false` if there is no such
    /// folder. Blocking.
    ///
    /// # Errors
    /// Those of `attach`.
    pub(crate) fn reuse(
        &self,
        tenant: &Tenant,
        key: &DependencyKey,
        specifiers: &Specifiers,
        attach: impl FnOnce(&Path) -> io::Result<()>,
    ) -> io::Result<bool> {
        let _attaching = self.attaching();
        // A router that does not fetch packages uses an incomplete folder, too.
        let is_enough = |folder: &Path| !self.may_install() || filled_for(folder).contains_all(specifiers);
        let found = self.newest(tenant, key).filter(|(_, folder)| is_enough(folder));
        found.map(|(_, folder)| attach(&folder)).transpose().map(|attached| attached.is_some())
    }

    /// Fetches the packages of `spec` into a new folder, and calls `attach` with it. Dropping the
    /// future ends the installation.
    ///
    /// # Errors
    /// The packages could not be fetched. The diagnostic is for the project's author.
    pub(crate) async fn install(
        self: &Arc<Self>,
        mut spec: InstallSpec,
        attach: impl FnOnce(&Path) -> io::Result<()> + Send + 'static,
    ) -> Result<(), Diagnostic> {
        let failed = |error: anyhow::Error| diagnostic(format!("no packages could be fetched: {error:#}"));
        let Some(settings) = &self.settings else {
            return Err(diagnostic("packages are not fetched here (--allow-install)"));
        };
        let _permit = self.permits.acquire().await.map_err(|error| failed(error.into()))?;
        let (packages, users) = (self.clone(), settings.users.clone());
        let prepared = spawn_blocking(move || {
            let staging = packages.prepare(&mut spec, &users)?;
            Ok((spec, staging))
        });
        let prepared = prepared.await.map_err(|error| UserError::Failed(error.into())).flatten();
        let (spec, staging) = prepared.map_err(|error| match error {
            UserError::Refused(message) => diagnostic(message),
            UserError::Failed(error) => failed(error),
        })?;
        installer::run(settings, &spec.tenant.project, spec.install.clone()).await?;
        let packages = self.clone();
        let published = spawn_blocking(move || {
            let folder = staging.path();
            // Archives give their files any owner and mode.
            take_over(folder).context("take over the fetched packages")?;
            let specifiers = spec.specifiers.clone().without(&unfetched(folder)?);
            let specifiers = serde_json::to_vec(&specifiers).context("encode the specifiers")?;
            fs::write(folder.join(fetched::MENTIONS), specifiers)?;
            // The folder gets its name only after its content is on disk.
            rustix::fs::syncfs(fs::File::open(folder)?)?;
            packages.publish(&spec, staging, attach)?;
            packages.downloads.prune();
            anyhow::Ok(())
        });
        published.await.map_err(anyhow::Error::from).flatten().map_err(failed)
    }

    /// Makes the folder to be filled, and completes the request to the installer.
    fn prepare(&self, spec: &mut InstallSpec, users: &Users) -> Result<StagingFolder, UserError> {
        let user = users.of(&spec.tenant)?;
        let staging = self.stage(&spec.tenant, users, user)?;
        let checkout = spec.install.checkout.parent().unwrap_or(&spec.install.checkout);
        users.share_checkout(checkout, user).with_context(|| format!("share {}", checkout.display()))?;
        spec.install.folder = staging.path().to_owned();
        spec.install.lock =
            self.newest(&spec.tenant, &spec.key).map(|(_, folder)| folder.join(fetched::LOCK));
        // Downloads through a project's own proxy are not shared with other projects.
        let is_proxy = |name: &String| name.to_ascii_lowercase().ends_with("_proxy");
        if !spec.install.env.keys().any(is_proxy) {
            spec.install.downloads = Some(self.downloads.of(&spec.install.private_net)?);
        }
        let packages = spec.install.node_modules.iter().chain(spec.install.other_node_modules.values());
        let external = ExternalPaths { read: packages.map(PathBuf::as_path).collect(), write: Vec::new() };
        let mut identity = users.identity(user, &spec.tenant.project, &external)?;
        if let Some(identity) = &mut identity {
            identity.groups.extend(users.shared_group());
        }
        spec.install.identity = identity;
        Ok(staging)
    }

    /// Gives the folder its name, and calls `attach` with it.
    fn publish(
        &self,
        spec: &InstallSpec,
        staging: StagingFolder,
        attach: impl FnOnce(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let _attaching = self.attaching();
        let next = self.newest(&spec.tenant, &spec.key).map_or(0, |(number, _)| number + 1);
        let folder = self.root.join(spec.tenant.to_string()).join(format!("{}.{next}", spec.key));
        staging.rename(&folder)?;
        attach(&folder)
    }

    /// Removes the folders of `tenant` that are not in the list that `used` returns, which is
    /// called while no folder can be attached.
    pub(crate) fn prune(&self, tenant: &Tenant, used: impl FnOnce() -> Vec<PathBuf>) {
        let dir = self.root.join(tenant.to_string());
        let mut gone = Vec::new();
        {
            let _attaching = self.attaching();
            let used = used();
            for name in names(&dir).into_iter().filter(|name| !name.starts_with(UNFINISHED)) {
                let folder = dir.join(name);
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                let away = dir.join(format!("{UNFINISHED}gone-{number}"));
                if !used.contains(&folder) && fs::rename(&folder, &away).is_ok() {
                    gone.push(away);
                }
            }
        }
        gone.iter().for_each(|folder| remove(folder));
        // Fails, as intended, if the folder is not empty.
        let _ = fs::remove_dir(dir);
    }

    /// Returns the tenants that packages were fetched for.
    pub(crate) fn tenants(&self) -> BTreeSet<Tenant> {
        names(&self.root).iter().filter_map(|name| Tenant::of_folder(name)).collect()
    }

    /// Returns the newest folder of these dependencies, and its number.
    fn newest(&self, tenant: &Tenant, key: &DependencyKey) -> Option<(u64, PathBuf)> {
        let dir = self.root.join(tenant.to_string());
        let prefix = format!("{key}.");
        let numbers = names(&dir).into_iter().filter_map(|name| name.strip_prefix(&prefix)?.parse().ok());
        numbers.max().map(|number: u64| (number, dir.join(format!("{prefix}{number}"))))
    }

    /// Makes a folder that `user` can fill.
    fn stage(&self, tenant: &Tenant, users: &Users, user: User) -> Result<StagingFolder> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let folder = self.root.join(tenant.to_string());
        let staging = StagingFolder::create(folder.join(format!("{UNFINISHED}{number}")))?;
        users.share_packages(&folder, user).with_context(|| format!("share {}", folder.display()))?;
        staging.give(user)?;
        Ok(staging)
    }

    fn attaching(&self) -> MutexGuard<'_, ()> {
        self.attaching.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the specifiers that a folder was filled for.
fn filled_for(folder: &Path) -> Specifiers {
    let text = fs::read(folder.join(fetched::MENTIONS)).ok();
    text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Returns the specifiers that could not be fetched into a folder.
fn unfetched(folder: &Path) -> io::Result<BTreeSet<String>> {
    let text = match fs::File::open(folder.join(fetched::FAILED)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(error),
    };
    let mut list = Vec::new();
    text.take(MAX_FAILED).read_to_end(&mut list)?;
    let failed: BTreeMap<String, String> = serde_json::from_slice(&list)?;
    Ok(failed.into_keys().collect())
}

#[cfg(test)]
mod tests;
