//! The npm packages of a version: those that it needs to start, those that it may import later, and
//! their installation into the folder.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use deno_error::{JsErrorBox, JsErrorClass};
use deno_graph::NpmLoadError;
use deno_graph::source::{NpmResolvePkgReqsResult, NpmResolver};
use deno_npm_installer::lifecycle_scripts::NullLifecycleScriptsExecutor;
use deno_npm_installer::package_json::NpmInstallDepsProvider;
use deno_npm_installer::{LogReporter, NpmInstaller, NpmInstallerOptions, PackageCaching};
use deno_semver::VersionReq;
use deno_semver::npm::NpmPackageReqReference;
use deno_semver::package::PackageReq;

use super::client::Client;
use super::factory::Installer;
use super::{checks, optional, package_names};
use crate::deno::Sys;

type Requirements = BTreeSet<PackageReq>;

/// The npm packages of one version.
#[derive(Debug)]
pub(super) struct NpmPackages {
    /// `None`: the project's own node_modules is used unchanged.
    installer: Option<Arc<NpmInstaller<Client, Sys>>>,
    client: Arc<Client>,
    folder: PathBuf,
    /// `true`: the project's own lock file decides, and is not extended.
    is_frozen: bool,
    /// Packages that the version needs to start.
    needed: RefCell<Requirements>,
    /// Packages that the version may import later.
    lazy: RefCell<Requirements>,
    /// Optional and peer dependencies in package.json.
    optional: Requirements,
    /// Development dependencies and their names.
    dev: BTreeMap<PackageReq, String>,
    /// `true`: the modules that are walked may never be imported.
    is_lazy: Cell<bool>,
}

impl NpmPackages {
    /// Reads the project's manifests.
    ///
    /// # Errors
    /// An invalid manifest.
    pub(super) async fn new(
        packages: &Installer,
        client: &Arc<Client>,
        folder: PathBuf,
    ) -> anyhow::Result<Self> {
        let workspace = &packages.workspace_factory().workspace_directory()?.workspace;
        let named = |production| NpmInstallDepsProvider::from_workspace(workspace, production, false);
        let (served, all) = (named(true), named(false));
        let from_package_json = served.remote_pkgs().iter().filter(|package| package.alias.is_some());
        let needed: Requirements = from_package_json.map(|package| package.req.clone()).collect();
        let from_deno_json = served.remote_pkgs().iter().filter(|package| package.alias.is_none());
        let mut lazy: Requirements = from_deno_json.map(|package| package.req.clone()).collect();
        let mut optional = Requirements::new();
        for package in workspace.package_jsons() {
            let own = package.optional_dependencies.iter().flatten();
            let is_wanted = |name: &String| {
                let meta =
                    package.peer_dependencies_meta.as_ref().and_then(|meta| meta.get(name)?.get("optional"));
                meta.and_then(serde_json::Value::as_bool) != Some(true)
            };
            let peers = package.peer_dependencies.iter().flatten().filter(|(name, _)| is_wanted(name));
            optional.extend(own.chain(peers).filter_map(|(name, version)| requirement(name, version)));
        }
        lazy.extend(optional.iter().cloned());
        let for_development = all.remote_pkgs().iter().filter(|package| !needed.contains(&package.req));
        let dev = for_development.filter_map(|it| Some((it.req.clone(), it.alias.as_ref()?.to_string())));
        Ok(Self {
            installer: packages.npm_installer_if_managed().await?.cloned(),
            client: Arc::clone(client),
            folder,
            is_frozen: workspace.resolve_lockfile_path()?.is_some_and(|lock| lock.exists()),
            dev: dev.collect(),
            optional,
            needed: needed.into(),
            lazy: lazy.into(),
            is_lazy: Cell::new(false),
        })
    }

    /// Returns `true` if packages are fetched.
    pub(super) fn is_managed(&self) -> bool {
        self.installer.is_some()
    }

    /// Chooses versions for the dependencies in package.json.
    ///
    /// # Errors
    /// A dependency has no version that fits.
    pub(super) async fn resolve_dependencies(&self) -> anyhow::Result<()> {
        let Some(installer) = &self.installer else { return Ok(()) };
        installer.ensure_no_pkg_json_dep_errors()?;
        let needed: Vec<_> = self.needed.borrow().iter().cloned().collect();
        Ok(installer.add_package_reqs_no_cache(&needed).await?)
    }

    /// Marks all further packages as not needed to start.
    pub(super) fn begin_lazily(&self) {
        self.is_lazy.set(true);
    }

    /// Adds a package that the version may import later.
    pub(super) fn add_lazily(&self, reference: NpmPackageReqReference) {
        self.lazy.borrow_mut().insert(reference.into_inner().req);
    }

    /// Installs all packages into the folder. Returns the packages that could not be fetched and
    /// are not needed to start, with the reasons.
    ///
    /// # Errors
    /// A package that is needed to start cannot be fetched.
    pub(super) async fn cache(&self, packages: &Installer) -> anyhow::Result<BTreeMap<String, String>> {
        let mut failed = BTreeMap::new();
        let Some(installer) = &self.installer else { return Ok(failed) };
        let mut chosen = self.choose_lazily(packages, installer, &mut failed).await?;
        self.client.set_lazy(false);
        chosen.retain(|requirement| !self.optional.contains(requirement) || runs_here(packages, requirement));
        checks::check_chosen(packages)?;
        let store = self.store(packages).await?;
        let needed: Vec<_> = self.needed.borrow().iter().cloned().collect();
        let mut all = needed.clone();
        all.extend(chosen.iter().cloned());
        if store.cache_packages(only(packages, &all)).await.is_err() {
            // A failure of a package that is needed to start is final.
            store.cache_packages(only(packages, &needed)).await?;
            all = needed;
            for requirement in std::mem::take(&mut chosen) {
                all.push(requirement.clone());
                match store.cache_packages(only(packages, &all)).await {
                    Ok(()) => chosen.push(requirement),
                    Err(error) => {
                        all.pop();
                        self.fail(&requirement, error.into(), &mut failed)?;
                    }
                }
            }
            store.cache_packages(only(packages, &all)).await?;
        }
        *self.needed.borrow_mut() = all.into_iter().collect();
        Ok(failed)
    }

    /// Returns the packages that [`Self::cache`] has installed.
    pub(super) fn cached(&self, packages: &Installer) -> Vec<PackageReq> {
        let needed: Vec<_> = self.needed.borrow().iter().cloned().collect();
        known(packages, &needed)
    }

    /// Chooses versions of the packages that may be imported later: all at once if that works.
    async fn choose_lazily(
        &self,
        packages: &Installer,
        installer: &NpmInstaller<Client, Sys>,
        failed: &mut BTreeMap<String, String>,
    ) -> anyhow::Result<Vec<PackageReq>> {
        let lazy = self.lazy.borrow().difference(&self.needed.borrow()).cloned().collect::<Vec<_>>();
        let lazy = self.without_invalid(lazy, failed)?;
        for requirement in &lazy {
            self.warn_of_dev(requirement);
        }
        if lazy.is_empty() {
            return Ok(lazy);
        }
        if !self.is_frozen && installer.add_package_reqs_no_cache(&lazy).await.is_ok() {
            return Ok(lazy);
        }
        let resolution = packages.resolver_factory().npm_resolution();
        let mut chosen = Vec::new();
        for requirement in lazy {
            let result = match self.is_frozen {
                true => resolution.resolve_pkg_id_from_pkg_req(&requirement).map(drop).map_err(|_| {
                    anyhow::anyhow!(
                        "deno.lock does not name it: run `deno install` in the project and save the new \
                         deno.lock"
                    )
                }),
                false => {
                    let one = std::slice::from_ref(&requirement);
                    installer.add_package_reqs_no_cache(one).await.map_err(anyhow::Error::from)
                }
            };
            match result {
                Ok(()) => chosen.push(requirement),
                // Deno does not write these to its lock files.
                Err(_) if self.is_frozen && self.optional.contains(&requirement) => {}
                Err(error) => self.fail(&requirement, error, failed)?,
            }
        }
        Ok(chosen)
    }

    fn without_invalid(
        &self,
        mut requirements: Vec<PackageReq>,
        failed: &mut BTreeMap<String, String>,
    ) -> anyhow::Result<Vec<PackageReq>> {
        for requirement in &requirements {
            if let Some(error) = invalid(requirement) {
                self.fail(requirement, error.into(), failed)?;
            }
        }
        requirements.retain(|requirement| invalid(requirement).is_none());
        Ok(requirements)
    }

    /// Records that a package cannot be fetched.
    ///
    /// # Errors
    /// The package may be fetched without an optional one.
    fn fail(
        &self,
        requirement: &PackageReq,
        error: anyhow::Error,
        failed: &mut BTreeMap<String, String>,
    ) -> anyhow::Result<()> {
        let reason = format!("{error:#}");
        let optional = optional::unavailable(&reason, &self.folder);
        if optional.is_some_and(|name| !self.client.has_left_out(&name)) {
            return Err(error);
        }
        log::warn!("npm:{requirement} is not fetched, and fails when it is imported: {reason}");
        failed.insert(format!("npm:{requirement}"), reason);
        Ok(())
    }

    fn warn_of_dev(&self, requirement: &PackageReq) {
        if let Some(name) = self.dev.get(requirement) {
            log::warn!(
                "\"{name}\" is one of the devDependencies and the program imports it: move it to \"dependencies\" in \
                 package.json"
            );
        }
    }

    /// Returns the installer for the folder. `links` makes the links of the project's own
    /// manifests later: Deno would make some of them in the project.
    async fn store(&self, packages: &Installer) -> anyhow::Result<Arc<NpmInstaller<Client, Sys>>> {
        let factory = packages.resolver_factory();
        let workspace = &packages.workspace_factory().workspace_directory()?.workspace;
        if workspace.link_pkg_jsons().next().is_some() {
            return Ok(packages.npm_installer().await?.clone());
        }
        Ok(Arc::new(NpmInstaller::new(
            None,
            Arc::new(NullLifecycleScriptsExecutor),
            packages.npm_cache()?.clone(),
            Arc::new(NpmInstallDepsProvider::empty()),
            packages.registry_info_provider()?.clone(),
            factory.npm_resolution().clone(),
            packages.npm_resolution_initializer().await?.clone(),
            packages.npm_resolution_installer().await?.clone(),
            &LogReporter,
            packages.workspace_factory().sys().clone(),
            packages.tarball_cache()?.clone(),
            NpmInstallerOptions {
                clean_on_install: false,
                maybe_lockfile: packages.maybe_lockfile().await?.cloned(),
                maybe_node_modules_path: packages
                    .workspace_factory()
                    .node_modules_dir_path()?
                    .map(Into::into),
                linker_mode: packages.workspace_factory().node_modules_linker_mode()?,
                lifecycle_scripts: packages.lifecycle_scripts_config()?.clone(),
                system_info: factory.npm_system_info().clone(),
                workspace_link_packages: packages.workspace_factory().workspace_npm_link_packages()?.clone(),
                jsr_deps_in_node_modules: false,
            },
        )))
    }
}

/// Returns the error for a requirement with an invalid name.
fn invalid(requirement: &PackageReq) -> Option<JsErrorBox> {
    package_names::error(&requirement.name).map(JsErrorBox::type_error)
}

/// Returns the requirement of a manifest for `name`, or `None` if it is not for a registry.
fn requirement(name: &str, version: &str) -> Option<PackageReq> {
    if version.starts_with("npm:") {
        return Some(NpmPackageReqReference::from_str(version).ok()?.into_inner().req);
    }
    let version_req = VersionReq::parse_from_npm(version).ok().filter(|_| !version.contains(':'))?;
    Some(PackageReq { name: name.into(), version_req })
}

/// Returns `true` if the chosen version is for this platform.
fn runs_here(packages: &Installer, requirement: &PackageReq) -> bool {
    let factory = packages.resolver_factory();
    let snapshot = factory.npm_resolution().snapshot();
    let package = snapshot.resolve_pkg_from_pkg_req(requirement);
    package.is_ok_and(|package| package.system.matches_system(factory.npm_system_info()))
}

fn only<'a>(packages: &Installer, requirements: &[PackageReq]) -> PackageCaching<'a> {
    PackageCaching::Only(Cow::Owned(known(packages, requirements)))
}

/// Returns the requirements as the resolution knows them. A requirement that a lock file meets with
/// the version of another one has no entry of its own.
fn known(packages: &Installer, requirements: &[PackageReq]) -> Vec<PackageReq> {
    let snapshot = packages.resolver_factory().npm_resolution().snapshot();
    let like = |requirement: &PackageReq| {
        if snapshot.package_reqs().contains_key(requirement) {
            return Some(requirement.clone());
        }
        let found = &snapshot.resolve_pkg_from_pkg_req(requirement).ok()?.id.nv;
        let mut reqs = snapshot.package_reqs().iter();
        reqs.find(|(_, version)| *version == found).map(|(requirement, _)| requirement.clone())
    };
    requirements.iter().filter_map(like).collect()
}

#[async_trait::async_trait(?Send)]
impl NpmResolver for NpmPackages {
    fn load_and_cache_npm_package_info(&self, package_name: &str) {
        let is_wanted = !self.is_frozen && package_names::error(package_name).is_none();
        if let Some(installer) = self.installer.clone().filter(|_| is_wanted) {
            let name = package_name.to_owned();
            deno_core::unsync::spawn(async move {
                // The resolution requests it again if this fails.
                let _ = installer.cache_package_info(&name).await;
            });
        }
    }

    async fn resolve_pkg_reqs(&self, requirements: &[PackageReq]) -> NpmResolvePkgReqsResult {
        let all = |result: fn() -> Result<(), NpmLoadError>| NpmResolvePkgReqsResult {
            results: requirements.iter().map(|_| result()).collect(),
            dep_graph_result: Ok(()),
        };
        let Some(installer) = &self.installer else {
            return all(|| Err(NpmLoadError::NotSupportedEnvironment));
        };
        if self.is_lazy.get() {
            self.lazy.borrow_mut().extend(requirements.iter().cloned());
            return all(|| Ok(()));
        }
        let failed = |error| NpmLoadError::PackageReqResolution(error);
        let is_valid = |requirement: &&PackageReq| invalid(requirement).is_none();
        let valid: Vec<_> = requirements.iter().filter(is_valid).cloned().collect();
        valid.iter().for_each(|requirement| self.warn_of_dev(requirement));
        self.needed.borrow_mut().extend(valid.iter().cloned());
        let resolved = installer.add_package_reqs_raw(&valid, None).await;
        let mut found = resolved
            .results
            .into_iter()
            .map(|result| result.map(drop).map_err(|error| failed(Arc::new(error))));
        let results = requirements.iter().map(|requirement| match invalid(requirement) {
            Some(error) => Err(failed(Arc::new(error))),
            None => found.next().unwrap_or(Ok(())),
        });
        NpmResolvePkgReqsResult {
            results: results.collect(),
            dep_graph_result: resolved
                .dependencies_result
                .map_err(|error| Arc::new(error) as Arc<dyn JsErrorClass>),
        }
    }
}
