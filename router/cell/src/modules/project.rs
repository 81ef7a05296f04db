//! The version that this cell runs: the files that it may load, and Deno's resolver, emitter and
//! CommonJS translation set up for it. Shared by the main thread and its web workers.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use deno_core::url::Url;
use deno_resolver::DefaultRawDenoResolverRc;
use deno_resolver::cjs::CjsTrackerRc;
use deno_resolver::factory::ResolverFactory;
use switchyard_protocol::assets::Assets;
use switchyard_protocol::{Limits, PlatformApi, Start};

use super::entry::Program;
use super::failures::Failures;
use super::features::Features;
use super::names::PathNames;
use super::package_files::PackageFiles;
use super::phantoms::Phantoms;
use super::remote::RemoteModules;
use super::resolver::{self, ImportMap, NO_CACHE, ResolverSettings, find_configuration, is_node_typescript};
use super::roots::Roots;
use super::vendor::Vendor;
use super::wrangler::WorkerModules;
use super::written::WritableFolders;
use crate::cache::exports::ExportsCache;
use crate::cache::store::Cache;
use crate::deno::{Checker, Sys};

/// The project of this process. Empty until the cell is assigned a version.
pub(crate) type ProjectSlot = Arc<OnceLock<Arc<Project>>>;

/// The version of this process.
pub(crate) struct Project {
    pub(crate) roots: Roots,
    writable: WritableFolders,
    pub(crate) limits: Limits,
    /// The path of the socket on which the project is served.
    pub(crate) socket: PathBuf,
    /// The path of the socket on which the project is served in frames.
    pub(crate) transport: PathBuf,
    /// The path of the socket on which the router's probe is answered.
    pub(crate) probe: PathBuf,
    /// The port whose server is served, if the project's configuration names one.
    pub(crate) port: Option<u16>,
    /// `true`: responses are compressed for clients that accept it.
    pub(crate) compress: bool,
    /// The names of paths in what the project's author reads.
    pub(crate) names: PathNames,
    pub(crate) entry: Program,
    /// `true`: debuggers may attach, and are shown the source.
    pub(crate) is_inspected: bool,
    pub(crate) resolver: DefaultRawDenoResolverRc<Sys>,
    pub(crate) cjs: CjsTrackerRc<Checker, Sys>,
    /// Creates the other parts of Deno's resolver when they are first needed.
    pub(crate) factory: ResolverFactory<Sys>,
    /// Modules that were fetched for the version.
    pub(crate) remote: Option<RemoteModules>,
    /// Remote modules in the project's own `vendor` folder.
    pub(crate) vendor: Option<Vendor>,
    pub(crate) features: Features,
    pub(crate) package_files: Arc<PackageFiles>,
    /// Packages that were fetched for other packages.
    pub(crate) phantoms: Phantoms,
    pub(crate) failures: Failures,
    pub(crate) cache: Cache,
    /// The files that a Worker reads through `env.ASSETS`.
    pub(crate) assets: Option<Assets>,
    /// Module resolution as in wrangler's bundler, for a Worker.
    pub(crate) worker_modules: Option<WorkerModules>,
    /// The file that was required last; V8 compiles it next.
    pub(crate) last_required: Mutex<Option<Url>>,
}

impl Project {
    /// Reads deno.json, package.json and what they name.
    ///
    /// # Errors
    /// A configuration file is invalid.
    pub(crate) async fn open(start: &Start, roots: Roots, names: PathNames) -> anyhow::Result<Self> {
        let entry = Program::new(start, &roots)?;
        let configuration = find_configuration(&roots)?;
        let unstable = configuration.workspace.unstable_features();
        Features::warn_of_unknown(unstable);
        let features = Features::new(unstable);
        let deno_json = configuration.workspace.root_deno_json();
        let is_vendored = deno_json.is_some_and(|file| file.json.vendor == Some(true));
        let vendor = is_vendored.then(|| Vendor::open(&roots.checkout, NO_CACHE));
        let cache = Cache::open(start.cache.as_ref());
        let exports = Arc::new(ExportsCache::new(cache.clone()));
        let worker = match &start.api {
            PlatformApi::Workers(worker) => Some(worker),
            _ => None,
        };
        let worker_modules = worker.map(|worker| WorkerModules::new(worker, &roots.checkout)).transpose()?;
        let assets = worker.and_then(|worker| worker.assets.as_ref()).map(Assets::from);
        let import_map = start.import_map.as_ref().map(|path| ImportMap(roots.checkout.join(path)));
        let package_files = Arc::new(PackageFiles::new(roots.clone()));
        let settings = ResolverSettings {
            import_map,
            is_worker: worker_modules.is_some(),
            is_node_typescript: is_node_typescript(&roots.checkout, &start.entry),
            package_files: package_files.clone(),
            exports: exports.clone(),
        };
        let factory = resolver::factory(&roots, configuration, settings);
        let cjs = factory.cjs_tracker()?.clone();
        exports.set_tracker(&cjs);
        Ok(Self {
            names,
            writable: WritableFolders::new(start),
            limits: start.limits,
            socket: start.socket.clone(),
            transport: start.transport.clone(),
            probe: start.probe.clone(),
            port: start.port,
            compress: start.compress,
            entry,
            is_inspected: start.inspect.is_some(),
            resolver: factory.raw_deno_resolver().await?.clone(),
            cjs,
            factory,
            remote: start.packages.as_deref().map(RemoteModules::open).transpose()?,
            vendor,
            features,
            package_files,
            phantoms: Phantoms::new(start.packages.as_deref(), &roots),
            failures: Failures::default(),
            cache,
            assets,
            worker_modules,
            last_required: Mutex::default(),
            roots,
        })
    }

    /// Resolves a module's path without symbolic links, if the version may load it: from the
    /// folders that it was made of, or from one that it writes to itself.
    ///
    /// # Errors
    /// No such file, or the path leads out of these folders.
    pub(crate) fn admit(&self, path: &Path) -> io::Result<PathBuf> {
        let inside = self.roots.admit(path);
        match self.writable.admit(path).filter(|_| inside.is_err()) {
            Some(written) => Ok(written),
            None if inside.is_ok() || self.roots.name(path) || self.writable.locate(path).is_none() => inside,
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Returns `true` if a file, given by its real path, lies in a folder that the version writes
    /// to.
    pub(crate) fn has_written(&self, file: &Path) -> bool {
        self.writable.contain(file)
    }

    /// Returns `true` if the project's package.json names the package of a bare specifier.
    pub(crate) fn depends_on(&self, raw: &str) -> bool {
        let Ok(directory) = self.factory.workspace_factory().workspace_directory() else { return false };
        let Some(package) = directory.workspace.root_pkg_json() else { return false };
        let Some(name) = package_of(raw) else { return false };
        let dependencies = package.dependencies.iter().chain(&package.dev_dependencies);
        dependencies.into_iter().any(|named| named.contains_key(name))
    }

    /// Returns the reason why a package that is in a `node_modules` cannot be used, or `None` if it
    /// can, or is in none.
    pub(crate) fn unusable_reason(&self, raw: &str, referrer: &Url) -> Option<io::Error> {
        let name = package_of(raw)?;
        let from = referrer.to_file_path().ok()?;
        let folders = from.ancestors().skip(1).map(|folder| folder.join("node_modules").join(name));
        let mut folders = folders.filter(|folder| self.roots.contain(folder));
        let folder = folders.find(|folder| folder.symlink_metadata().is_ok())?;
        match self.roots.admit(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(io::Error::other(format!(
                "the symbolic link {} leads to nothing, to {}: install the packages again",
                folder.display(),
                folder.read_link().unwrap_or_default().display(),
            ))),
            result => result.err(),
        }
    }

    /// Returns `true` if the module is part of a package in node_modules.
    pub(crate) fn in_package(&self, specifier: &Url) -> bool {
        use node_resolver::InNpmPackageChecker as _;
        self.factory.in_npm_package_checker().is_ok_and(|checker| checker.in_npm_package(specifier))
    }
}

/// Returns the name of the package that a bare specifier begins with.
fn package_of(raw: &str) -> Option<&str> {
    if raw.is_empty() || raw.starts_with(['.', '/', '#']) || raw.contains(':') {
        return None;
    }
    let parts = if raw.starts_with('@') { 2 } else { 1 };
    Some(raw.match_indices('/').nth(parts - 1).map_or(raw, |(end, _)| &raw[..end]))
}
