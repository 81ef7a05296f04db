//! `switchyard-cell --install`: fetches what one version needs into a folder, and ends. It walks the modules of the entry
//! with Deno's own resolver and installer, runs nothing of what it fetches, and is confined as a cell is.

mod client;
mod graph;
mod links;
mod npm;
mod optional;
mod package_names;
mod strings;
mod written;

use std::fs;
use std::io::{self, BufRead as _, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use deno_config::deno_json::{NodeModulesDirMode, NodeModulesLinkerMode};
use deno_core::url::Url;
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
use switchyard_contract::event::Diagnostic;
use switchyard_protocol::{Install, Installed, Limits, fetched};
use sys_traits::impls::RealSys;

use crate::bounds;
use crate::diagnose::misconfigured;
use crate::log;
use crate::paths::Names;
use crate::process;
use crate::project::is_typescript_of_node;
use crate::project::{ImportMap, Sys, find_configuration};
use crate::roots::Roots;
use crate::sandbox;
use client::Client;
use graph::Walk;
use npm::Npm;
use written::Written;

/// Large registries' lists of versions and the largest packages are held in memory, several at once.
const LIMITS: Limits =
    Limits { memory: 1 << 30, event_loop: 0, workers: 0, files: 1024, disk: 512 << 20, disk_files: u64::MAX };

/// Several tarballs are unpacked at once; more would only wait for the same disk.
const BLOCKING_THREADS: usize = 8;

/// Where Deno puts the packages that only other packages need.
const HOISTED: &str = "node_modules/.deno/node_modules";

type Installer = NpmInstallerFactory<Client, LogReporter, Sys>;

/// Reads one [`Install`] and answers with one [`Installed`].
pub(crate) fn run() -> anyhow::Result<()> {
    // Before the process is closed to others of its user, and so to that user itself.
    let written = Arc::new(Written::open());
    process::prepare_install()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let request: Install = serde_json::from_str(&line)?;
    sandbox::become_user(request.identity.clone())?;
    log::start();
    set_environment(&request);
    bounds::set(&LIMITS)?;
    sandbox::confine_install(&request)?;
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().max_blocking_threads(BLOCKING_THREADS).build()?;
    let installed = runtime.block_on(async {
        tokio::select! {
            installed = install(&request, &written) => installed.unwrap_or_else(Installed::Failed),
            message = written.too_much() => {
                Installed::Failed(Diagnostic { message, ..Diagnostic::default() })
            }
        }
    });
    let installed = match installed {
        Installed::Failed(diagnostic) => Installed::Failed(diagnostic.bounded()),
        done => done,
    };
    serde_json::to_writer(io::stdout(), &installed)?;
    io::stdout().flush()?;
    // What still unpacks is not waited for.
    process::exit_now(0)
}

/// The folder is also where settings of the user's own would be: there are none.
fn set_environment(request: &Install) {
    let home = ("HOME", request.folder.to_string_lossy());
    let given = request.env.iter().map(|(name, value)| (name.as_str(), value.as_str().into()));
    process::set_environment(given.chain([home]));
}

async fn install(request: &Install, written: &Arc<Written>) -> Result<Installed, Diagnostic> {
    let roots = Roots {
        checkout: request.checkout.clone(),
        root: request.root.clone(),
        node_modules: request.node_modules.clone(),
        other_node_modules: request.other_node_modules.clone(),
    };
    let names = Names::of_install(&roots, &request.folder);
    log::show_paths_as(names.clone());
    let client = Client::new(request.downloads.clone(), request.authorities.as_deref(), Arc::clone(written));
    let client = Arc::new(client.map_err(|error| told(&names, &error))?);
    let done = fetch(request, &roots, &names, &client).await;
    let finished = done.and_then(|()| finish(request).map_err(|error| told(&names, &error.into())));
    if finished.is_err() {
        client.forget_downloads();
    }
    finished.map(|()| Installed::Done { requests: client.requests() })
}

fn told(names: &Names, error: &anyhow::Error) -> Diagnostic {
    let mut diagnostic = misconfigured(names, error);
    // What Deno advises is not possible here.
    if let Some((_, changes)) = diagnostic.message.split_once("The lockfile is out of date.") {
        let changes = changes.split_once("changes:").map_or("", |(_, changes)| changes);
        diagnostic = Diagnostic {
            message: format!(
                "deno.lock does not fit the project: run `deno install` in it and save the new deno.lock. It would change:{changes}"
            ),
            file: Some("deno.lock".into()),
            ..Diagnostic::default()
        };
    }
    diagnostic
}

/// Fetches everything, and without the optional packages that cannot be had.
async fn fetch(
    request: &Install,
    roots: &Roots,
    names: &Names,
    client: &Arc<Client>,
) -> Result<(), Diagnostic> {
    loop {
        let Err(mut error) = fetch_all(request, roots, names, client).await else { return Ok(()) };
        let Some(name) = optional::unavailable(&error.message, &request.folder) else {
            name_dependent(&mut error, client, request);
            return Err(error);
        };
        if !client.leave_out(&name) {
            return Err(error);
        }
        ::log::warn!("an optional package is left out: {}", error.message);
        empty(&request.folder).map_err(|error| told(names, &error.into()))?;
    }
}

/// Adds the package that depends on one whose name is refused.
fn name_dependent(error: &mut Diagnostic, client: &Client, request: &Install) {
    let refused = client.refused().filter(|name| error.message.contains(name.as_str()));
    let dependent = refused.and_then(|name| optional::dependent(&name, &request.folder));
    if let Some(dependent) = dependent {
        error.message = format!("{} (npm:{dependent} depends on it)", error.message);
    }
}

/// Removes all that an attempt has left.
fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.symlink_metadata()?.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    Ok(())
}

async fn fetch_all(
    request: &Install,
    roots: &Roots,
    names: &Names,
    client: &Arc<Client>,
) -> Result<(), Diagnostic> {
    let told = |error: anyhow::Error| told(names, &error);
    // What a package brings needs what that package depends on.
    let is_own = !switchyard_detect::entry::is_in_package(&request.entry);
    let main_module = is_own.then(|| Url::from_file_path(request.checkout.join(&request.entry)));
    let main_module =
        main_module.transpose().map_err(|()| told(anyhow::anyhow!("the checkout's path is not absolute")))?;
    client.set_lazy(false);
    let packages = packages(request, roots, client).map_err(told)?;
    check_names(&packages).map_err(told)?;
    packages.initialize_npm_resolution_if_managed().await.map_err(told)?;
    let npm = Npm::new(&packages, client, request.folder.clone()).await.map_err(told)?;
    npm.resolve_dependencies().await.map_err(told)?;
    let mut walk = Walk::new(&packages, roots, names, client, &npm).await.map_err(told)?;
    walk.walk_from(main_module, request.as_workers).await?;
    let lock = packages.maybe_lockfile().await.map_err(told)?;
    if let Some(lock) = lock {
        graph::remember(walk.graph(), lock);
        lock.error_if_changed().map_err(|error| told(error.into()))?;
    }
    client.set_lazy(true);
    walk.lazily().await.map_err(told)?;
    let (graph, mut failed) = walk.end();
    failed.extend(npm.cache(&packages).await.map_err(told)?);
    let links = links::make(&packages, request, &npm).map_err(told)?;
    if let Some(lock) = lock {
        graph::remember(&graph, lock);
        let text = lock.lock().as_json_string();
        fs::write(request.folder.join(fetched::LOCK), text).map_err(|error| told(error.into()))?;
    }
    let write = |name: &str, text: serde_json::Result<Vec<u8>>| {
        fs::write(request.folder.join(name), text?).map_err(anyhow::Error::from)
    };
    write(fetched::JSR, serde_json::to_vec(&graph::jsr(&graph))).map_err(told)?;
    write(fetched::FAILED, serde_json::to_vec(&failed)).map_err(told)?;
    write(fetched::LINKS, serde_json::to_vec(&links)).map_err(told)
}

/// What only the installation itself has needed goes, and what a cell looks for is there.
fn finish(request: &Install) -> io::Result<()> {
    for cache in ["npm", "gen"] {
        match fs::remove_dir_all(request.folder.join(cache)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::create_dir_all(request.folder.join(fetched::NODE_MODULES))?;
    symlink(HOISTED, request.folder.join(fetched::HOISTED))?;
    // A remote module's packages are looked up beside node_modules.
    match fs::read(request.checkout.join("package.json")) {
        Ok(text) => fs::write(request.folder.join("package.json"), text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn packages(request: &Install, roots: &Roots, client: &Arc<Client>) -> anyhow::Result<Installer> {
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
    // A project may allow scripts by its deno.json: there is nobody here to run them.
    let scripts = Arc::new(NullLifecycleScriptsExecutor);
    Ok(NpmInstallerFactory::new(factory, Arc::clone(client), scripts, LogReporter, None, options))
}

fn check_names(packages: &Installer) -> anyhow::Result<()> {
    package_names::check_manifests(&packages.workspace_factory().workspace_directory()?.workspace)
}

fn resolver_factory(request: &Install, roots: &Roots) -> anyhow::Result<ResolverFactory<Sys>> {
    let workspace_directory = find_configuration(roots)?;
    let place = workspace_directory.workspace.resolve_lockfile_path()?;
    let own = place.as_ref().filter(|lock| lock.exists());
    let earlier = request.lock.as_ref().filter(|lock| own.is_none() && lock.exists());
    let lock = match earlier {
        Some(lock) => Some(seed(lock, request)?),
        // A project without any manifest has nowhere to have one.
        None => place.is_none().then(|| request.folder.join(fetched::LOCK)),
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
            unstable_sloppy_imports: request.as_workers
                || is_typescript_of_node(&request.checkout, &request.entry),
            ..ResolverFactoryOptions::default()
        },
    ))
}

/// What was chosen for an earlier version of the project stays chosen.
fn seed(lock: &PathBuf, request: &Install) -> io::Result<PathBuf> {
    let seeded = request.folder.join(fetched::LOCK);
    fs::copy(lock, &seeded)?;
    Ok(seeded)
}
