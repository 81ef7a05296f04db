//! Packages that are fetched for versions, below `<state>/packages`: `<tenant>/<key>.<n>` holds
//! what versions of a project
//! need that name the same dependencies, `.downloads` the tarballs that all projects share. Knows folders and the process
//! that fills them; which version uses which folder is for others to know.

mod downloads;
mod installer;
mod key;
mod manifests;
mod mentions;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context as _, Result};
use switchyard_contract::event::Diagnostic;
use switchyard_protocol::{InstallRequest, fetched};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use self::downloads::Downloads;
use crate::folder::{names, remove, take_over};
use crate::project::diagnostic;
use crate::user::{Outside, User, UserError, Users};
use crate::version::Tenant;

pub(crate) use self::key::Key;
pub(crate) use self::manifests::{dev_dependencies, has_dependencies};
pub(crate) use self::mentions::Mentions;

/// Bytes of the list of what could not be fetched.
const MAX_FAILED: u64 = 8 << 20;

/// Marks a folder that is not finished.
const UNFINISHED: &str = ".new-";

/// At once: each may use a gigabyte of memory for a while, and most wait for the network.
const INSTALLATIONS: usize = 2;

/// How packages are fetched, where they are.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// `switchyard-cell`
    pub(crate) binary: PathBuf,
    /// How long one installation may take.
    pub(crate) patience: Duration,
    /// The users that it is done as.
    pub(crate) users: Arc<Users>,
    /// What the operator's own environment says of registries: their URLs.
    pub(crate) registries: Vec<(String, String)>,
    /// Certificates (PEM) of authorities that are trusted besides Mozilla's.
    pub(crate) authorities: Authorities,
}

/// Certificates (PEM) that may be read again while the router runs. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Authorities(Arc<RwLock<Option<String>>>);

impl Authorities {
    pub(crate) fn new(certificates: Option<String>) -> Self {
        Self(Arc::new(RwLock::new(certificates)))
    }

    pub(crate) fn set(&self, certificates: Option<String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certificates;
    }

    fn get(&self) -> Option<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// All folders of packages.
#[derive(Debug)]
pub(crate) struct Packages {
    root: PathBuf,
    /// `None`: nothing is fetched.
    settings: Option<Settings>,
    downloads: Downloads,
    permits: Semaphore,
    next: AtomicU64,
    /// Between the making of a folder and its first use, it is not pruned.
    settling: Mutex<()>,
}

/// For whom.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) tenant: Tenant,
    /// Its folder of packages is left out: it is made here.
    pub(crate) install: InstallRequest,
    pub(crate) key: Key,
    /// The mentions of the version's modules.
    pub(crate) mentions: Mentions,
}

impl Packages {
    /// Opens the folder below `state` and clears away what a killed router left half made.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub(crate) fn open(state: &Path, settings: Option<Settings>) -> Result<Self> {
        let root = state.join("packages");
        fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
        let root = root.canonicalize().context("resolve the state folder")?;
        let downloads = Downloads::open(&root, settings.as_ref().map(|settings| &*settings.users))?;
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
            settling: Mutex::default(),
        })
    }

    /// Whether the operator allows that packages are fetched.
    pub(crate) fn may_install(&self) -> bool {
        self.settings.is_some()
    }

    /// Hands the newest folder of these dependencies to `attach`, which makes it a version's.
    /// Returns whether there is one that was filled for all of `mentions`.
    ///
    /// # Errors
    /// Those of `attach`.
    pub(crate) fn reuse(
        &self,
        tenant: &Tenant,
        key: &Key,
        mentions: &Mentions,
        attach: impl FnOnce(&Path) -> io::Result<()>,
    ) -> io::Result<bool> {
        let _settling = self.settling();
        // A router that fetches nothing has nothing better.
        let is_enough = |folder: &Path| !self.may_install() || covered(folder).cover(mentions);
        let found = self.newest(tenant, key).filter(|(_, folder)| is_enough(folder));
        found.map(|(_, folder)| attach(&folder)).transpose().map(|done| done.is_some())
    }

    /// Makes a folder with what `order` needs and hands it to `attach`. Dropped, it ends what it has begun.
    ///
    /// # Errors
    /// Why there is none, for the project's author to read.
    pub(crate) async fn install(
        self: &Arc<Self>,
        mut order: Order,
        attach: impl FnOnce(&Path) -> io::Result<()> + Send + 'static,
    ) -> Result<(), Diagnostic> {
        let failed = |error: anyhow::Error| diagnostic(format!("no packages could be fetched: {error:#}"));
        let Some(settings) = &self.settings else {
            return Err(diagnostic("packages are not fetched here (--allow-install)"));
        };
        let _permit = self.permits.acquire().await.map_err(|error| failed(error.into()))?;
        let (packages, users) = (self.clone(), settings.users.clone());
        let prepared = spawn_blocking(move || {
            let unfinished = packages.prepare(&mut order, &users)?;
            Ok((order, unfinished))
        });
        let prepared = prepared.await.map_err(|error| UserError::Failed(error.into())).flatten();
        let (order, unfinished) = prepared.map_err(|error| match error {
            UserError::Refused(message) => diagnostic(message),
            UserError::Failed(error) => failed(error),
        })?;
        installer::run(settings, &order.tenant.project, order.install.clone()).await?;
        let packages = self.clone();
        let kept = spawn_blocking(move || {
            let Unfinished(written) = &unfinished;
            // Archives say of their files what they like.
            take_over(written).context("take over what was fetched")?;
            let mentions = order.mentions.clone().without(&unfetched(written)?);
            let mentions = serde_json::to_vec(&mentions).context("write what was asked for")?;
            fs::write(written.join(fetched::MENTIONS), mentions)?;
            // A folder that is there after a power cut is whole.
            rustix::fs::syncfs(fs::File::open(written)?)?;
            packages.settle(&order, written, attach)?;
            packages.downloads.prune();
            anyhow::Ok(())
        });
        kept.await.map_err(anyhow::Error::from).flatten().map_err(failed)
    }

    /// Makes the folder to be filled, and says in `order` what there is to fill it with.
    fn prepare(&self, order: &mut Order, users: &Users) -> Result<Unfinished, UserError> {
        let user = users.of(&order.tenant)?;
        let unfinished = self.unfinished(&order.tenant, users, user)?;
        let checkout = order.install.checkout.parent().unwrap_or(&order.install.checkout);
        users.share_checkout(checkout, user).with_context(|| format!("share {}", checkout.display()))?;
        order.install.folder.clone_from(&unfinished.0);
        order.install.lock =
            self.newest(&order.tenant, &order.key).map(|(_, folder)| folder.join(fetched::LOCK));
        // What a project's own proxy says is for that project.
        let is_proxy = |name: &String| name.to_ascii_lowercase().ends_with("_proxy");
        if !order.install.env.keys().any(is_proxy) {
            order.install.downloads = Some(self.downloads.of(&order.install.private_net)?);
        }
        let packages = order.install.node_modules.iter().chain(order.install.other_node_modules.values());
        let outside = Outside { read: packages.map(PathBuf::as_path).collect(), write: Vec::new() };
        let mut identity = users.identity(user, &order.tenant.project, &outside)?;
        if let Some(identity) = &mut identity {
            identity.groups.extend(users.shared_group());
        }
        order.install.identity = identity;
        Ok(unfinished)
    }

    fn settle(
        &self,
        order: &Order,
        unfinished: &Path,
        attach: impl FnOnce(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let _settling = self.settling();
        let next = self.newest(&order.tenant, &order.key).map_or(0, |(number, _)| number + 1);
        let folder = self.root.join(order.tenant.to_string()).join(format!("{}.{next}", order.key));
        fs::rename(unfinished, &folder)?;
        attach(&folder)
    }

    /// Removes the folders of `tenant` that are not `used`, which is asked while no new one is
    /// made.
    pub(crate) fn prune(&self, tenant: &Tenant, used: impl FnOnce() -> Vec<PathBuf>) {
        let dir = self.root.join(tenant.to_string());
        let mut gone = Vec::new();
        {
            let _settling = self.settling();
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
        // One that still has something in it stays.
        let _ = fs::remove_dir(dir);
    }

    /// The tenants for whom something was fetched.
    pub(crate) fn tenants(&self) -> BTreeSet<Tenant> {
        names(&self.root).iter().filter_map(|name| Tenant::of_folder(name)).collect()
    }

    fn newest(&self, tenant: &Tenant, key: &Key) -> Option<(u64, PathBuf)> {
        let dir = self.root.join(tenant.to_string());
        let prefix = format!("{key}.");
        let numbers = names(&dir).into_iter().filter_map(|name| name.strip_prefix(&prefix)?.parse().ok());
        numbers.max().map(|number: u64| (number, dir.join(format!("{prefix}{number}"))))
    }

    fn unfinished(&self, tenant: &Tenant, users: &Users, user: User) -> Result<Unfinished> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let folder = self.root.join(tenant.to_string());
        let path = folder.join(format!("{UNFINISHED}{number}"));
        fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        let unfinished = Unfinished(path);
        users.share_packages(&folder, user).with_context(|| format!("share {}", folder.display()))?;
        give(&unfinished.0, user)?;
        Ok(unfinished)
    }

    fn settling(&self) -> MutexGuard<'_, ()> {
        self.settling.lock().expect("no holder of this lock panics")
    }
}

/// Returns the mentions for which a folder was filled.
fn covered(folder: &Path) -> Mentions {
    let text = fs::read(folder.join(fetched::MENTIONS)).ok();
    text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// The specifiers that could not be fetched.
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

/// Goes when it was not finished.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.0);
        // It may be large, and this may be the control flow's thread.
        if path.exists() {
            std::thread::spawn(move || remove(&path));
        }
    }
}

/// Makes a folder one that only `user` can enter.
fn give(dir: &Path, user: User) -> Result<()> {
    let is_own = user == User::own();
    fs::set_permissions(dir, Permissions::from_mode(0o700))
        .and_then(|()| if is_own { Ok(()) } else { user.give(dir) })
        .with_context(|| format!("protect {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use switchyard_contract::project::ProjectName;

    use super::*;

    fn packages(state: &Path) -> (Packages, Tenant, Key) {
        let checkout = state.join("checkout");
        fs::create_dir_all(&checkout).unwrap();
        let key = Key::of(&checkout, &checkout, "3f9a1c2b7d4e").unwrap();
        let blog = Tenant::first(&ProjectName::parse("blog").unwrap());
        (Packages::open(state, None).unwrap(), blog, key)
    }

    fn make(packages: &Packages, tenant: &Tenant, name: &str) -> PathBuf {
        let folder = packages.root.join(tenant.to_string()).join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn the_newest_folder_of_the_same_dependencies_is_used() {
        let state = tempfile::tempdir().unwrap();
        let (packages, project, key) = packages(state.path());
        let mut used = None;
        assert!(!packages.reuse(&project, &key, &Mentions::default(), |_| Ok(())).unwrap());
        make(&packages, &project, "other.11");
        make(&packages, &project, &format!("{key}.9"));
        let newest = make(&packages, &project, &format!("{key}.10"));
        let attach = |folder: &Path| {
            used = Some(folder.to_owned());
            Ok(())
        };
        assert!(packages.reuse(&project, &key, &Mentions::default(), attach).unwrap());
        assert_eq!(used, Some(newest));
    }

    #[test]
    fn what_nobody_uses_goes_and_the_last_takes_the_projects_folder_with_it() {
        let state = tempfile::tempdir().unwrap();
        let (packages, project, _) = packages(state.path());
        let (one, other) = (make(&packages, &project, "a.0"), make(&packages, &project, "a.1"));
        packages.prune(&project, || vec![other.clone()]);
        assert!(!one.exists() && other.exists());
        packages.prune(&project, Vec::new);
        assert!(!other.parent().unwrap().exists());
    }

    #[test]
    fn the_tenants_are_those_for_whom_something_was_fetched() {
        let state = tempfile::tempdir().unwrap();
        let (packages, tenant, _) = packages(state.path());
        assert_eq!(packages.tenants(), BTreeSet::new(), "downloads are nobody's");
        make(&packages, &tenant, "a.0");
        assert_eq!(packages.tenants(), [tenant].into());
    }

    #[test]
    fn what_a_killed_router_left_half_made_goes() {
        let state = tempfile::tempdir().unwrap();
        let (first, project, _) = packages(state.path());
        let half = make(&first, &project, ".new-3");
        let whole = make(&first, &project, "a.0");
        packages(state.path());
        assert!(!half.exists() && whole.exists());
    }
}
