//! Deno's installer and resolver, set up for one installation.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use deno_config::deno_json::{NodeModulesDirMode, NodeModulesLinkerMode};
use deno_npm_cache::NpmCacheSetting;
use deno_npm_installer::graph::NpmCachingStrategy;
use deno_npm_installer::lifecycle_scripts::NullLifecycleScriptsExecutor;
use deno_npm_installer::{
    LifecycleScriptsConfig, LogReporter, NpmInstallerFactory, NpmInstallerFactoryOptions,
    PackagesAllowedScripts,
};
use deno_resolver::cjs::IsCjsResolutionMode;
use deno_resolver::factory::{
    ConfigDiscoveryOption, ResolverFactory, ResolverFactoryOptions, WorkspaceFactory, WorkspaceFactoryOptions,
};
use node_resolver::PackageJsonThreadLocalCache;
use switchyard_protocol::{InstallRequest, fetched};
use sys_traits::impls::RealSys;

use super::client::Client;
use crate::deno::Sys;
use crate::modules::resolver::{ImportMap, find_configuration, is_node_typescript};
use crate::modules::roots::Roots;

/// Deno's installer with the client of this installation.
pub(super) type Installer = NpmInstallerFactory<Client, LogReporter, Sys>;

/// Returns the installer for a request.
///
/// # Errors
/// An invalid configuration file of the project.
pub(super) fn installer(
    request: &InstallRequest,
    roots: &Roots,
    client: &Arc<Client>,
) -> anyhow::Result<Installer> {
    let factory = Arc::new(resolver_factory(request, roots)?);
    let options = NpmInstallerFactoryOptions {
        cache_setting: NpmCacheSetting::Use,
        caching_strategy: NpmCachingStrategy::Manual,
        clean_on_install: false,
        dedup_lockfile_peer_variants: false,
        lifecycle_scripts_config: LifecycleScriptsConfig {
            allowed: PackagesAllowedScripts::None,
            initial_cwd: request.checkout.clone(),
            root_dir: request.checkout.clone(),
            ..LifecycleScriptsConfig::default()
        },
        production: true,
        skip_types: false,
        resolve_npm_resolution_snapshot: Box::new(|| Ok(None)),
    };
    // A project may allow scripts in its deno.json: here they never run.
    let scripts = Arc::new(NullLifecycleScriptsExecutor);
    Ok(NpmInstallerFactory::new(factory, Arc::clone(client), scripts, LogReporter, None, options))
}

fn resolver_factory(request: &InstallRequest, roots: &Roots) -> anyhow::Result<ResolverFactory<Sys>> {
    let workspace_directory = find_configuration(roots)?;
    let lock_path = workspace_directory.workspace.resolve_lockfile_path()?;
    let own = lock_path.as_ref().filter(|lock| lock.exists());
    let earlier = request.lock.as_ref().filter(|lock| own.is_none() && lock.exists());
    let lock = match earlier {
        Some(lock) => Some(seed(lock, request)?),
        // A project without any manifest has no path for a lock file.
        None => lock_path.is_none().then(|| request.folder.join(fetched::LOCK)),
    };
    let own_node_modules = roots.own_node_modules().map(Path::to_owned);
    let mut workspace = WorkspaceFactory::new(
        RealSys,
        request.checkout.clone(),
        WorkspaceFactoryOptions {
            config_discovery: ConfigDiscoveryOption::DiscoverCwd,
            frozen_lockfile: Some(own.is_some()),
            import_npm_lockfile: earlier.is_none(),
            lock_arg: lock,
            lockfile_skip_write: true,
            maybe_custom_deno_dir_root: Some(request.folder.clone()),
            node_modules_dir: Some(match own_node_modules {
                Some(_) => NodeModulesDirMode::Manual,
                None => NodeModulesDirMode::Auto,
            }),
            node_modules_linker: Some(NodeModulesLinkerMode::Isolated),
            root_node_modules_dir_override: Some(
                own_node_modules.unwrap_or_else(|| request.folder.join(fetched::NODE_MODULES)),
            ),
            vendor: Some(false),
            ..WorkspaceFactoryOptions::default()
        },
    );
    workspace.set_workspace_directory(workspace_directory);
    Ok(ResolverFactory::new(
        Arc::new(workspace),
        ResolverFactoryOptions {
            is_cjs_resolution_mode: IsCjsResolutionMode::ImplicitTypeCommonJs,
            package_json_cache: Some(Arc::new(PackageJsonThreadLocalCache)),
            specified_import_map: request
                .import_map
                .as_ref()
                .map(|path| ImportMap(request.checkout.join(path)).boxed()),
            unstable_sloppy_imports: request.as_workers || has_node_typescript(request),
            ..ResolverFactoryOptions::default()
        },
    ))
}

/// Returns `true` if the entry or the module of a task is TypeScript of a project for Node.
fn has_node_typescript(InstallRequest { checkout, entry, modules, .. }: &InstallRequest) -> bool {
    modules.iter().chain([entry]).any(|module| is_node_typescript(checkout, module))
}

/// Copies the lock file of an earlier version, so that its versions of packages are chosen again.
fn seed(lock: &PathBuf, request: &InstallRequest) -> io::Result<PathBuf> {
    let seeded = request.folder.join(fetched::LOCK);
    fs::copy(lock, &seeded)?;
    Ok(seeded)
}
