//! The version that this cell runs: where it may load from, and Deno's own resolver, emitter and CommonJS translation
//! set up for it. Shared by the main thread and its web workers.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use anyhow::Context as _;
use deno_config::deno_json::NodeModulesDirMode;
use deno_config::workspace::{
    VendorEnablement, WorkspaceDirectory, WorkspaceDirectoryEmptyOptions, WorkspaceDirectoryRc,
    WorkspaceDiscoverOptions, WorkspaceDiscoverStart,
};
use deno_core::url::Url;
use deno_resolver::DefaultRawDenoResolverRc;
use deno_resolver::cjs::{CjsTrackerRc, IsCjsResolutionMode};
use deno_resolver::factory::{
    ConfigDiscoveryOption, ResolverFactory, ResolverFactoryOptions, SpecifiedImportMapProvider,
    WorkspaceFactory, WorkspaceFactoryOptions,
};
use deno_resolver::npm::{DenoInNpmPackageChecker, NpmResolver};
use deno_resolver::workspace::SpecifiedImportMap;
use node_resolver::{NodeConditionOptions, NodeResolverOptions, PackageJsonThreadLocalCache};
use sys_traits::impls::RealSys;

use crate::cache::Cache;
use crate::entry::Entry;
use crate::exports::Exports;
use crate::failures::Failures;
use crate::features::Features;
use crate::package_files::PackageFiles;
use crate::paths::Names;
use crate::phantoms::Phantoms;
use crate::remote::Remote;
use crate::roots::{Inside, Roots};
use crate::vendor::Vendor;
use crate::workers::Modules;
use crate::written::Written;
use switchyard_detect::entry::{PACKAGE_FILE, SLOPPY_IMPORTS, is_in_package};
use switchyard_protocol::assets::Assets;
use switchyard_protocol::{Limits, PlatformApi, Start};

pub(crate) type Sys = RealSys;
pub(crate) type Checker = DenoInNpmPackageChecker;
pub(crate) type Npm = NpmResolver<Sys>;

/// Filled when the cell is given its version.
pub(crate) type ProjectSlot = Arc<OnceLock<Arc<Project>>>;

/// Deno keeps caches in a directory of its own, for who may write there. A cell has another: nothing can be made below a
/// file.
const NO_CACHE: &str = "/dev/null/deno";

/// Conditions of `exports` in package.json that a Worker's packages are asked for, besides Deno's and Node's. Without
/// `browser`, which packages for Node have an excuse behind.
const WORKERS: [&str; 2] = ["workerd", "worker"];

pub(crate) struct Project {
    pub(crate) roots: Roots,
    written: Written,
    pub(crate) limits: Limits,
    /// Where it is served.
    pub(crate) socket: PathBuf,
    /// Where the router's probe is answered.
    pub(crate) probe: PathBuf,
    /// The port whose server is served, if its configuration names one.
    pub(crate) port: Option<u16>,
    /// How paths are shown to the project's author.
    pub(crate) names: Names,
    pub(crate) entry: Entry,
    /// Whether debuggers may attach, who want to see the source.
    pub(crate) inspected: bool,
    pub(crate) resolver: DefaultRawDenoResolverRc<Sys>,
    pub(crate) cjs: CjsTrackerRc<Checker, Sys>,
    /// Makes the rest when it is first needed.
    pub(crate) factory: ResolverFactory<Sys>,
    /// Modules that were fetched for the version.
    pub(crate) remote: Option<Remote>,
    /// Remote modules that the project brings along.
    pub(crate) vendor: Option<Vendor>,
    pub(crate) features: Features,
    pub(crate) package_files: Arc<PackageFiles>,
    /// Packages that were fetched for others.
    pub(crate) phantoms: Phantoms,
    pub(crate) failures: Failures,
    pub(crate) cache: Cache,
    /// The files that the code asks for by `env.ASSETS`.
    pub(crate) assets: Option<Assets>,
    /// How modules are found where wrangler's bundler would find them.
    pub(crate) modules: Option<Modules>,
    /// The file that was last required; V8 compiles it next.
    pub(crate) last_required: Mutex<Option<Url>>,
}

impl Project {
    /// Reads deno.json and package.json, and nothing else.
    pub(crate) async fn open(start: &Start, roots: Roots, names: Names) -> anyhow::Result<Self> {
        let entry = Entry::of(start, &roots)?;
        let configuration = find_configuration(&roots)?;
        let unstable = configuration.workspace.unstable_features();
        Features::warn_of_unknown(unstable);
        let features = Features::of(unstable);
        let deno_json = configuration.workspace.root_deno_json();
        let is_vendored = deno_json.is_some_and(|file| file.json.vendor == Some(true));
        let vendor = is_vendored.then(|| Vendor::open(&roots.checkout, NO_CACHE));
        let cache = Cache::open(start.cache.as_ref());
        let exports = Arc::new(Exports::new(cache.clone()));
        let worker = match &start.api {
            PlatformApi::Workers(worker) => Some(worker),
            _ => None,
        };
        let modules = worker.map(|worker| Modules::new(worker, &roots.checkout)).transpose()?;
        let assets = worker.and_then(|worker| worker.assets.as_ref()).map(Assets::from);
        let import_map = start.import_map.as_ref().map(|path| ImportMap(roots.checkout.join(path)));
        let package_files = Arc::new(PackageFiles::new(roots.clone()));
        let own = Own {
            import_map,
            as_workers: modules.is_some(),
            is_typescript_of_node: is_typescript_of_node(&roots.checkout, &start.entry),
            package_files: package_files.clone(),
        };
        let factory = resolver_factory(&roots, configuration, exports.clone(), own);
        let cjs = factory.cjs_tracker()?.clone();
        exports.told_by(&cjs);
        Ok(Self {
            names,
            written: Written::of(start),
            limits: start.limits,
            socket: start.socket.clone(),
            probe: start.probe.clone(),
            port: start.port,
            entry,
            inspected: start.inspect.is_some(),
            resolver: factory.raw_deno_resolver().await?.clone(),
            cjs,
            factory,
            remote: start.packages.as_deref().map(Remote::open).transpose()?,
            vendor,
            features,
            package_files,
            phantoms: Phantoms::of(start.packages.as_deref(), &roots),
            failures: Failures::default(),
            cache,
            assets,
            modules,
            last_required: Mutex::default(),
            roots,
        })
    }

    /// Where a module's file really is, if the version may load it: in what it was made of, or in a
    /// folder that it writes to itself.
    pub(crate) fn admit(&self, path: &Path) -> io::Result<PathBuf> {
        let inside = self.roots.admit(path);
        match self.written.admit(path).filter(|_| inside.is_err()) {
            Some(written) => Ok(written),
            None if inside.is_ok() || self.roots.name(path) || self.written.place(path).is_none() => inside,
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Returns `true` if the version has written the file, by its real path.
    pub(crate) fn has_written(&self, file: &Path) -> bool {
        self.written.contain(file)
    }

    /// Whether the project's package.json names what `raw` imports.
    pub(crate) fn depends_on(&self, raw: &str) -> bool {
        let Ok(directory) = self.factory.workspace_factory().workspace_directory() else { return false };
        let Some(package) = directory.workspace.root_pkg_json() else { return false };
        let Some(name) = package_of(raw) else { return false };
        let dependencies = package.dependencies.iter().chain(&package.dev_dependencies);
        dependencies.into_iter().any(|named| named.contains_key(name))
    }

    /// The reason why the package `raw` that a module names cannot be used, when it is in a
    /// `node_modules`.
    pub(crate) fn unusable(&self, raw: &str, referrer: &Url) -> Option<io::Error> {
        let name = package_of(raw)?;
        let from = referrer.to_file_path().ok()?;
        let places = from.ancestors().skip(1).map(|folder| folder.join("node_modules").join(name));
        let mut places = places.filter(|place| self.roots.contain(place));
        let place = places.find(|place| place.symlink_metadata().is_ok())?;
        match self.roots.admit(&place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(io::Error::other(format!(
                "the symbolic link {} leads to nothing, to {}: install the packages again",
                place.display(),
                place.read_link().unwrap_or_default().display(),
            ))),
            result => result.err(),
        }
    }

    /// Whether the module is part of a package in node_modules.
    pub(crate) fn in_package(&self, specifier: &Url) -> bool {
        use node_resolver::InNpmPackageChecker as _;
        self.factory.in_npm_package_checker().is_ok_and(|checker| checker.in_npm_package(specifier))
    }
}

/// The name of the package that a bare specifier begins with.
fn package_of(raw: &str) -> Option<&str> {
    if raw.is_empty() || raw.starts_with(['.', '/', '#']) || raw.contains(':') {
        return None;
    }
    let parts = if raw.starts_with('@') { 2 } else { 1 };
    Some(raw.match_indices('/').nth(parts - 1).map_or(raw, |(end, _)| &raw[..end]))
}

/// What the resolver of one project has beside its files.
struct Own {
    import_map: Option<ImportMap>,
    as_workers: bool,
    is_typescript_of_node: bool,
    package_files: Arc<PackageFiles>,
}

fn resolver_factory(
    roots: &Roots,
    configuration: WorkspaceDirectoryRc,
    exports: Arc<Exports>,
    own: Own,
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
            specified_import_map: own.import_map.map(ImportMap::boxed),
            node_resolver_options: node_resolver_options(own.as_workers),
            package_json_cache: Some(own.package_files),
            // As wrangler's bundler, and as what runs TypeScript of Node's: `./a` and `./a.js` may be a.ts.
            unstable_sloppy_imports: own.as_workers
                || own.is_typescript_of_node
                || is_set("DENO_COMPAT")
                || is_set(SLOPPY_IMPORTS),
            ..ResolverFactoryOptions::default()
        },
    )
}

/// Returns `true` if the modules are found as tsx, ts-node and Bun find them: `./a` and `./a.js` may be a.ts. They are
/// what runs TypeScript in a project with a package.json; Node itself compiles none with such imports.
pub(crate) fn is_typescript_of_node(checkout: &Path, entry: &str) -> bool {
    let is_typescript = [".ts", ".tsx", ".mts", ".cts"].iter().any(|extension| entry.ends_with(extension));
    is_typescript && !is_in_package(entry) && checkout.join(PACKAGE_FILE).is_file()
}

/// Returns `true` if a variable switches something on, as Deno reads those of its own.
fn is_set(variable: &str) -> bool {
    std::env::var(variable).is_ok_and(|value| value == "1" || value == "true")
}

/// Conditions of packages' `exports` and `imports` besides Deno's own: those of Workers, and those that the environment names.
fn node_resolver_options(as_workers: bool) -> NodeResolverOptions {
    let named = std::env::var("DENO_CONDITIONS").unwrap_or_default();
    let named = named.split(',').map(str::trim).filter(|name| !name.is_empty());
    let of_workers = WORKERS.into_iter().filter(|_| as_workers).map(Cow::Borrowed);
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

/// Deno would search all parent directories; those above the root are none of the project's business.
pub(crate) fn find_configuration(roots: &Roots) -> anyhow::Result<WorkspaceDirectoryRc> {
    let checkout: &Path = &roots.checkout;
    // The configuration beside the project holds for one that has none of its own.
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
    Ok(WorkspaceDirectory::discover(&Inside(roots), WorkspaceDiscoverStart::Paths(&start), &options)?)
}
