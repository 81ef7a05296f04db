//! Deno's resolver set up for a project: its configuration files, import map, and conditions.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use deno_config::deno_json::NodeModulesDirMode;
use deno_config::workspace::{
    VendorEnablement, WorkspaceDirectory, WorkspaceDirectoryEmptyOptions, WorkspaceDirectoryRc,
    WorkspaceDiscoverOptions, WorkspaceDiscoverStart,
};
use deno_core::url::Url;
use deno_resolver::cjs::IsCjsResolutionMode;
use deno_resolver::cjs::analyzer::NodeAnalysisCacheRc;
use deno_resolver::factory::{
    ConfigDiscoveryOption, ResolverFactory, ResolverFactoryOptions, SpecifiedImportMapProvider,
    WorkspaceFactory, WorkspaceFactoryOptions,
};
use deno_resolver::workspace::SpecifiedImportMap;
use node_resolver::{NodeConditionOptions, NodeResolverOptions, PackageJsonThreadLocalCache};
use switchyard_detect::entry::{PACKAGE_FILE, SLOPPY_IMPORTS, is_in_package};
use sys_traits::impls::RealSys;

use super::package_files::PackageFiles;
use super::roots::{RootedFs, Roots};
use crate::deno::Sys;

/// A path below which nothing can be created, in place of the directory for Deno's caches: a cell
/// has a cache of its own.
pub(crate) const NO_CACHE: &str = "/dev/null/deno";

/// Conditions of `exports` in package.json for the packages of a Worker, besides Deno's and Node's.
/// Without `browser`: packages for Node have a stub behind it.
const WORKER_CONDITIONS: [&str; 2] = ["workerd", "worker"];

/// The settings of one project's resolver besides its configuration files.
pub(super) struct ResolverSettings {
    pub(super) import_map: Option<ImportMap>,
    /// The project is a Worker, whose modules are found as wrangler's bundler finds them.
    pub(super) is_worker: bool,
    pub(super) is_node_typescript: bool,
    pub(super) package_files: Arc<PackageFiles>,
    pub(super) exports: NodeAnalysisCacheRc,
}

/// Returns the factory of the project's resolver.
pub(super) fn factory(
    roots: &Roots,
    configuration: WorkspaceDirectoryRc,
    settings: ResolverSettings,
) -> ResolverFactory<Sys> {
    let mut workspace = WorkspaceFactory::new(
        RealSys,
        roots.checkout.clone(),
        WorkspaceFactoryOptions {
            // `find_configuration` has made the search: this only repeats its start.
            config_discovery: ConfigDiscoveryOption::DiscoverCwd,
            lockfile_skip_write: true,
            maybe_custom_deno_dir_root: Some(PathBuf::from(NO_CACHE)),
            no_lock: true,
            // Packages are taken from an existing node_modules, as Node does.
            node_modules_dir: Some(NodeModulesDirMode::Manual),
            root_node_modules_dir_override: Some(
                roots.own_node_modules().map_or_else(|| roots.checkout.join("node_modules"), Path::to_owned),
            ),
            vendor: Some(false),
            ..WorkspaceFactoryOptions::default()
        },
    );
    workspace.set_workspace_directory(configuration);
    ResolverFactory::new(
        Arc::new(workspace),
        ResolverFactoryOptions {
            // A script in a package without "type" is CommonJS, as it is for Node.
            is_cjs_resolution_mode: IsCjsResolutionMode::ImplicitTypeCommonJs,
            node_analysis_cache: Some(settings.exports),
            specified_import_map: settings.import_map.map(ImportMap::boxed),
            node_resolver_options: node_resolver_options(settings.is_worker),
            package_json_cache: Some(settings.package_files),
            // Lets `./a` and `./a.js` be a.ts, as wrangler's bundler and the tools that run
            // TypeScript for Node do.
            unstable_sloppy_imports: settings.is_worker
                || settings.is_node_typescript
                || is_set("DENO_COMPAT")
                || is_set(SLOPPY_IMPORTS),
            ..ResolverFactoryOptions::default()
        },
    )
}

/// Returns `true` if modules are found as tsx, ts-node and Bun find them, where `./a` and `./a.js`
/// may be a.ts. These tools run the TypeScript of a project with a package.json; Node itself
/// compiles none with such imports.
pub(crate) fn is_node_typescript(checkout: &Path, entry: &str) -> bool {
    let is_typescript = [".ts", ".tsx", ".mts", ".cts"].iter().any(|extension| entry.ends_with(extension));
    is_typescript && !is_in_package(entry) && checkout.join(PACKAGE_FILE).is_file()
}

/// Returns `true` if a variable enables something, in the form of Deno's own variables.
fn is_set(variable: &str) -> bool {
    std::env::var(variable).is_ok_and(|value| value == "1" || value == "true")
}

/// Conditions of packages' `exports` and `imports` besides Deno's own: those of Workers, and those
/// that the environment names.
fn node_resolver_options(is_worker: bool) -> NodeResolverOptions {
    let named = std::env::var("DENO_CONDITIONS").unwrap_or_default();
    let named = named.split(',').map(str::trim).filter(|name| !name.is_empty());
    let of_workers = WORKER_CONDITIONS.into_iter().filter(|_| is_worker).map(Cow::Borrowed);
    NodeResolverOptions {
        conditions: NodeConditionOptions {
            conditions: of_workers.chain(named.map(|name| name.to_owned().into())).collect(),
            ..NodeConditionOptions::default()
        },
        ..NodeResolverOptions::default()
    }
}

/// The path of an import map that no deno.json names.
#[derive(Debug)]
pub(crate) struct ImportMap(pub(crate) PathBuf);

impl ImportMap {
    /// Returns the import map as Deno's resolver takes it.
    pub(crate) fn boxed(self) -> Box<dyn SpecifiedImportMapProvider> {
        Box::new(self)
    }
}

#[async_trait::async_trait(?Send)]
impl SpecifiedImportMapProvider for ImportMap {
    async fn get(&self) -> anyhow::Result<Option<SpecifiedImportMap>> {
        let name = || self.0.file_name().unwrap_or_default().to_string_lossy();
        let text = fs::read_to_string(&self.0).with_context(|| format!("{} cannot be read", name()))?;
        let value = serde_json::from_str(&text);
        let value = value.with_context(|| format!("{} does not parse", name()))?;
        let base_url = Url::from_file_path(&self.0)
            .map_err(|()| anyhow::anyhow!("the checkout's path is not absolute"))?;
        Ok(Some(SpecifiedImportMap { base_url, value }))
    }
}

/// Finds deno.json and package.json. Deno would search all parent directories; those above the root
/// do not belong to the project.
///
/// # Errors
/// An invalid configuration file.
pub(crate) fn find_configuration(roots: &Roots) -> anyhow::Result<WorkspaceDirectoryRc> {
    let checkout: &Path = &roots.checkout;
    // A project without a configuration of its own uses the one beside it.
    let folders = [checkout, &roots.root];
    let names = ["deno.json", "deno.jsonc", "package.json"];
    if !folders.iter().any(|folder| names.iter().any(|name| folder.join(name).exists())) {
        let root_dir = Url::from_directory_path(checkout)
            .map_err(|()| anyhow::anyhow!("the checkout's path is not absolute"))?;
        return Ok(WorkspaceDirectory::empty(WorkspaceDirectoryEmptyOptions {
            root_dir: Arc::new(root_dir),
            use_vendor_dir: VendorEnablement::Disable,
        }));
    }
    let options = WorkspaceDiscoverOptions {
        deno_json_cache: None,
        pkg_json_cache: Some(&PackageJsonThreadLocalCache),
        workspace_cache: None,
        additional_config_file_names: &[],
        discover_pkg_json: true,
        maybe_vendor_override: Some(VendorEnablement::Disable),
    };
    let start = [roots.checkout.clone()];
    Ok(WorkspaceDirectory::discover(&RootedFs(roots), WorkspaceDiscoverStart::Paths(&start), &options)?)
}
