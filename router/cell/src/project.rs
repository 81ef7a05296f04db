//! The version that this cell runs: where it may load from, and Deno's own resolver, emitter and CommonJS translation
//! set up for it. Shared by the main thread and its web workers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use deno_config::deno_json::NodeModulesDirMode;
use deno_config::workspace::{
    VendorEnablement, WorkspaceDirectory, WorkspaceDirectoryEmptyOptions, WorkspaceDirectoryRc,
    WorkspaceDiscoverOptions, WorkspaceDiscoverStart,
};
use deno_core::url::Url;
use deno_resolver::DefaultRawDenoResolverRc;
use deno_resolver::cjs::{CjsTrackerRc, IsCjsResolutionMode};
use deno_resolver::factory::{
    ConfigDiscoveryOption, ResolverFactory, ResolverFactoryOptions, WorkspaceFactory, WorkspaceFactoryOptions,
};
use deno_resolver::npm::{DenoInNpmPackageChecker, NpmResolver};
use node_resolver::PackageJsonThreadLocalCache;
use sys_traits::impls::RealSys;

use crate::cache::Cache;
use crate::exports::Exports;
use crate::failures::Failures;
use crate::paths::Names;
use crate::phantoms::Phantoms;
use crate::remote::Remote;
use crate::roots::{Inside, Roots};
use switchyard_protocol::{Limits, Start};

pub(crate) type Sys = RealSys;
pub(crate) type Checker = DenoInNpmPackageChecker;
pub(crate) type Npm = NpmResolver<Sys>;

/// Filled when the cell is given its version.
pub(crate) type ProjectSlot = Arc<OnceLock<Arc<Project>>>;

/// Deno keeps caches in a directory of its own, for who may write there. A cell has another: nothing can be made below a
/// file.
const NO_CACHE: &str = "/dev/null/deno";

pub(crate) struct Project {
    pub(crate) roots: Roots,
    pub(crate) limits: Limits,
    /// Where it is served.
    pub(crate) socket: PathBuf,
    /// Where the router's probe is answered.
    pub(crate) probe: PathBuf,
    /// How paths are shown to the project's author.
    pub(crate) names: Names,
    pub(crate) main_module: Url,
    /// Whether debuggers may attach, who want to see the source.
    pub(crate) inspected: bool,
    pub(crate) resolver: DefaultRawDenoResolverRc<Sys>,
    pub(crate) cjs: CjsTrackerRc<Checker, Sys>,
    /// Makes the rest when it is first needed.
    pub(crate) factory: ResolverFactory<Sys>,
    /// Modules that were fetched for the version.
    pub(crate) remote: Option<Remote>,
    /// Packages that were fetched for others.
    pub(crate) phantoms: Phantoms,
    /// Name and folder of the packages of an npm workspace.
    members: Vec<(String, PathBuf)>,
    pub(crate) failures: Failures,
    pub(crate) cache: Cache,
    /// The file that was last required; V8 compiles it next.
    pub(crate) last_required: Mutex<Option<Url>>,
}

impl Project {
    /// Reads deno.json and package.json, and nothing else.
    pub(crate) async fn open(start: &Start, roots: Roots, names: Names) -> anyhow::Result<Self> {
        let main_module = Url::from_file_path(roots.checkout.join(&start.entry))
            .map_err(|()| anyhow::anyhow!("the checkout's path is not absolute"))?;
        let configuration = find_configuration(&roots)?;
        let packages = configuration.workspace.package_jsons();
        let members =
            packages.filter_map(|package| Some((package.name.clone()?, package.dir_path().to_owned())));
        let members = members.collect();
        let cache = Cache::open(start.cache.as_ref());
        let exports = Arc::new(Exports::new(cache.clone()));
        let factory = resolver_factory(&roots, configuration, exports.clone());
        let cjs = factory.cjs_tracker()?.clone();
        exports.told_by(&cjs);
        Ok(Self {
            names,
            limits: start.limits,
            socket: start.socket.clone(),
            probe: start.probe.clone(),
            main_module,
            inspected: start.inspect.is_some(),
            resolver: factory.raw_deno_resolver().await?.clone(),
            cjs,
            factory,
            remote: start.packages.as_deref().map(Remote::open).transpose()?,
            phantoms: Phantoms::of(start.packages.as_deref()),
            members,
            failures: Failures::default(),
            cache,
            last_required: Mutex::default(),
            roots,
        })
    }

    /// Whether the project's package.json names what `raw` imports.
    pub(crate) fn depends_on(&self, raw: &str) -> bool {
        let Ok(directory) = self.factory.workspace_factory().workspace_directory() else { return false };
        let Some(package) = directory.workspace.root_pkg_json() else { return false };
        let parts = if raw.starts_with('@') { 2 } else { 1 };
        let name = raw.match_indices('/').nth(parts - 1).map_or(raw, |(end, _)| &raw[..end]);
        let dependencies = package.dependencies.iter().chain(&package.dev_dependencies);
        dependencies.into_iter().any(|named| named.contains_key(name))
    }

    /// The member of the npm workspace that a module of the project names, and what of it. Its link in node_modules leads to
    /// the volume, where nothing but packages is read.
    pub(crate) fn member<'a>(&self, name: &'a str, referrer: &Url) -> Option<(&Path, Option<&'a str>)> {
        let (folder, rest) = self.members.iter().find_map(|(member, folder)| {
            let rest = name.strip_prefix(member.as_str())?;
            (rest.is_empty() || rest.starts_with('/')).then_some((folder, rest))
        })?;
        let within = rest.strip_prefix('/').filter(|within| !within.is_empty());
        (!self.in_package(referrer)).then_some((folder.as_path(), within))
    }

    /// Whether the module is part of a package in node_modules.
    pub(crate) fn in_package(&self, specifier: &Url) -> bool {
        use node_resolver::InNpmPackageChecker as _;
        self.factory.in_npm_package_checker().is_ok_and(|checker| checker.in_npm_package(specifier))
    }
}

fn resolver_factory(
    roots: &Roots,
    configuration: WorkspaceDirectoryRc,
    exports: Arc<Exports>,
) -> ResolverFactory<Sys> {
    let mut workspace = WorkspaceFactory::new(
        RealSys,
        roots.checkout.clone(),
        WorkspaceFactoryOptions {
            // The search has been made below; from here on this only says what it was.
            config_discovery: ConfigDiscoveryOption::DiscoverCwd,
            lockfile_skip_write: true,
            maybe_custom_deno_dir_root: Some(PathBuf::from(NO_CACHE)),
            no_lock: true,
            // Packages are taken from the node_modules that is there, as Node does.
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
            node_analysis_cache: Some(exports),
            package_json_cache: Some(Arc::new(PackageJsonThreadLocalCache)),
            ..ResolverFactoryOptions::default()
        },
    )
}

/// Deno would search all parent directories; those above the root are none of the project's business.
pub(crate) fn find_configuration(roots: &Roots) -> anyhow::Result<WorkspaceDirectoryRc> {
    let checkout: &Path = &roots.checkout;
    if !["deno.json", "deno.jsonc", "package.json"].iter().any(|name| checkout.join(name).exists()) {
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
    Ok(WorkspaceDirectory::discover(&Inside(roots), WorkspaceDiscoverStart::Paths(&start), &options)?)
}
