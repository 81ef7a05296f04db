//! The packages of a version: found on the volume or among fetched ones, or fetched now.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use switchyard_protocol::{InstallRequest, PlatformApi};
use tokio::task::spawn_blocking;

use super::builder::{BuildError, Builder};
use crate::cells::LaunchSpec;
use crate::packages::{self, DependencyKey, Specifiers};
use crate::project::diagnostic;

impl Builder {
    /// Returns true if the version has the packages that its package.json names, as far as that can
    /// be known from outside: on the volume, or fetched before for it or for another version.
    ///
    /// # Errors
    /// The packages that were fetched before cannot be used.
    pub(super) async fn find_packages(&self, launch: &Arc<LaunchSpec>) -> Result<bool, BuildError> {
        let packages = Arc::clone(&self.packages);
        let launch = launch.clone();
        let found = spawn_blocking(move || {
            let LaunchSpec { version, checkout, .. } = &*launch;
            if checkout.packages().is_some() || checkout.is_complete() {
                return Ok(true);
            }
            // A router that fetches nothing uses what is there as it is.
            let may_install = packages.may_install();
            let specifiers = if may_install { specifiers(&launch) } else { Specifiers::default() };
            let attach = |folder: &_| checkout.attach(folder);
            if packages.reuse(&version.tenant(), &key(&launch)?, &specifiers, attach)? {
                return Ok(true);
            }
            let is_complete = !needs_more(&launch, &specifiers);
            if is_complete && may_install {
                checkout.set_complete();
            }
            Ok(is_complete)
        });
        let found = found.await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        found.map_err(|error| {
            BuildError::Failed(diagnostic(format!(
                "the packages that were fetched for it cannot be used: {error}"
            )))
        })
    }

    /// Fetches the packages that the version needs.
    ///
    /// # Errors
    /// They cannot be fetched, or it cannot be determined which they are.
    pub(super) async fn install(&self, launch: &Arc<LaunchSpec>) -> Result<(), BuildError> {
        let LaunchSpec { version, checkout, .. } = &**launch;
        let own = launch.clone();
        let wanted = spawn_blocking(move || Ok((installation(&own), key(&own)?, specifiers(&own)))).await;
        let (install, key, specifiers) =
            wanted.unwrap_or_else(|panic| Err(io::Error::other(panic))).map_err(|error| {
                BuildError::Failed(diagnostic(format!("its packages cannot be determined: {error}")))
            })?;
        let checkout = checkout.clone();
        let spec = packages::InstallSpec { tenant: version.tenant(), install, key, specifiers };
        tokio::select! {
            installed = self.packages.install(spec, move |folder| checkout.attach(folder)) => {
                installed.map_err(BuildError::Failed)
            }
            () = self.slow.report(&version.project) => unreachable!("this future never ends"),
        }
    }
}

fn key(launch: &LaunchSpec) -> io::Result<DependencyKey> {
    let version = launch.version.digest.short();
    DependencyKey::of(&launch.checkout.dir, launch.root(), &version)
}

fn specifiers(launch: &LaunchSpec) -> Specifiers {
    Specifiers::search(launch.root(), &launch.checkout.dir, entries(launch))
}

/// The modules that the version's code begins with: its entry and those of its tasks.
fn entries(launch: &LaunchSpec) -> impl Iterator<Item = &str> {
    code_entry(launch).into_iter().chain(launch.modules.iter().map(String::as_str))
}

/// The entry. `None`: it is the page of a site, or there is none.
fn code_entry(launch: &LaunchSpec) -> Option<&str> {
    let path = launch.entry.path.as_str();
    let is_code = !path.is_empty() && !path.ends_with(".html") && !path.ends_with(".htm");
    is_code.then_some(path)
}

/// Returns true if the version names a package that is not on the volume, as far as that can be
/// known from outside.
fn needs_more(launch: &LaunchSpec, specifiers: &Specifiers) -> bool {
    let dir = &launch.checkout.dir;
    let found = launch.checkout.node_modules();
    let has_packages =
        entries(launch).all(|entry| found.cover_entry(entry)) || found.others.contains_key("../node_modules");
    let needs_packages = || {
        specifiers.have_npm()
            || packages::has_dependencies(dir)
            || specifiers.have_any(&packages::dev_dependencies(dir))
    };
    specifiers.have_modules() || (!has_packages && needs_packages())
}

/// The request to the process that fetches packages.
fn installation(launch: &LaunchSpec) -> InstallRequest {
    let LaunchSpec { checkout, grant, import_map, modules, .. } = launch;
    let node_modules = checkout.node_modules();
    InstallRequest {
        checkout: checkout.dir.clone(),
        root: launch.root().to_owned(),
        node_modules: node_modules.own,
        other_node_modules: node_modules.others,
        entry: code_entry(launch).unwrap_or_default().to_owned(),
        modules: modules.to_vec(),
        import_map: import_map.clone(),
        folder: PathBuf::new(),
        downloads: None,
        lock: None,
        env: grant.env.clone(),
        private_net: grant.permissions.private_net.clone(),
        authorities: None,
        as_workers: matches!(launch.api, PlatformApi::Workers(_)),
        identity: None,
    }
}
