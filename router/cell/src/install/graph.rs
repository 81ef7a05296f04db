//! The graph of the modules that an entry imports: those of the project are read, remote ones
//! fetched.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use deno_cache_dir::GlobalOrLocalHttpCache;
use deno_cache_dir::file_fetcher::{CacheSetting, NullBlobStore};
use deno_core::url::Url;
use deno_graph::source::{JsrUrlProvider, LoadFuture, LoadOptions, Loader};
use deno_graph::{
    BuildOptions, CheckJsOption, GraphKind, Module, ModuleGraph, ModuleGraphError, ResolutionError,
    SpecifierError, WalkOptions,
};
use deno_resolver::deno_json::JsxImportSourceConfigResolver;
use deno_resolver::file_fetcher::{
    DenoGraphLoader, DenoGraphLoaderOptions, PermissionedFileFetcher, PermissionedFileFetcherOptions,
};
use deno_resolver::graph::NpmTypesResolutionMode;
use deno_resolver::loader::MemoryFiles;
use deno_resolver::lockfile::LockfileLock;
use deno_semver::jsr::JsrDepPackageReq;
use deno_semver::npm::NpmPackageReqReference;
use switchyard_contract::event::Diagnostic;
use sys_traits::impls::RealSys;

use super::client::{Client, ModuleClient};
use super::diagnostic::{diagnostic, with_causes};
use super::factory::Installer;
use super::npm::NpmPackages;
use super::strings;
use crate::deno::Sys;
use crate::errors::frame::frame;
use crate::modules::names::PathNames;
use crate::modules::roots::Roots;

/// The largest number of modules of one version. Further ones are not fetched.
const MAX_MODULES: usize = 20_000;

/// A walk over the modules of a version.
pub(super) struct ModuleWalk<'a> {
    installer: &'a Installer,
    roots: &'a Roots,
    names: &'a PathNames,
    client: &'a Client,
    npm: &'a NpmPackages,
    loader: ConfinedLoader<'a>,
    graph: ModuleGraph,
    /// Modules with known lazy imports.
    scanned: HashSet<Url>,
    /// Modules that were requested.
    requested: HashSet<Url>,
}

impl<'a> ModuleWalk<'a> {
    /// Prepares a walk that has no modules yet.
    ///
    /// # Errors
    /// An invalid configuration or lock file.
    pub(super) async fn new(
        installer: &'a Installer,
        roots: &'a Roots,
        names: &'a PathNames,
        client: &'a Arc<Client>,
        npm: &'a NpmPackages,
    ) -> anyhow::Result<Self> {
        let mut graph = ModuleGraph::new(GraphKind::CodeOnly);
        if let Some(lock) = installer.maybe_lockfile().await? {
            lock.fill_graph(&mut graph);
        }
        let loader = ConfinedLoader { loader: loader(installer, client)?, roots };
        let (scanned, requested) = Default::default();
        Ok(Self { installer, roots, names, client, npm, loader, graph, scanned, requested })
    }

    /// Returns the modules that were found so far.
    pub(super) fn graph(&self) -> &ModuleGraph {
        &self.graph
    }

    /// Fetches the static imports of `main_modules`. A Worker (`as_workers`) also imports files that
    /// are not modules elsewhere: errors in its own modules are left to its cell.
    ///
    /// # Errors
    /// A module or package cannot be fetched.
    pub(super) async fn walk_from(
        &mut self,
        main_modules: Vec<Url>,
        as_workers: bool,
    ) -> Result<(), Diagnostic> {
        let built = self.build(main_modules, false).await;
        built.map_err(|error| diagnostic(self.names, &error))?;
        let options = WalkOptions {
            check_js: CheckJsOption::True,
            follow_dynamic: false,
            kind: GraphKind::CodeOnly,
            prefer_fast_check_graph: false,
        };
        // A package that no manifest names may exist for another package, which the cell finds out.
        let mut errors = self.graph.walk(self.graph.roots.iter(), options).errors();
        if let Some(error) = errors.find(|error| !as_workers && !is_unnamed(error)) {
            return Err(invalid(self.roots, self.names, self.client, &error));
        }
        match &self.graph.npm_dep_graph_result {
            Err(error) => Err(diagnostic(self.names, &anyhow::anyhow!("{error}"))),
            Ok(()) => Ok(()),
        }
    }

    /// Fetches modules that may be imported later: by the modules of the graph, by workers, and
    /// those that deno.json maps names to.
    ///
    /// # Errors
    /// An invalid configuration file.
    pub(super) async fn walk_lazily(&mut self) -> anyhow::Result<()> {
        self.npm.begin_lazily();
        let mut more = self.mapped().await?;
        loop {
            more.extend(self.mentioned());
            more.retain(|module| self.requested.insert(module.clone()));
            if more.is_empty() || self.graph.specifiers_count() > MAX_MODULES {
                return Ok(());
            }
            self.build(std::mem::take(&mut more), true).await?;
        }
    }

    /// Returns the graph, and the modules that could not be fetched, with the reasons.
    pub(super) fn end(self) -> (ModuleGraph, BTreeMap<String, String>) {
        let is_remote = |url: &Url| matches!(url.scheme(), "http" | "https" | "jsr");
        let modules = self.graph.specifiers().filter(|(url, _)| is_remote(url));
        let failed = modules.filter_map(|(url, module)| {
            let error = module.err()?;
            let mut reason = with_causes(error);
            if let Some(cause) = self.client.reason(&reason) {
                reason = format!("{reason} ({cause})");
            }
            Some((url.to_string(), self.names.clean(&reason)))
        });
        let failed: BTreeMap<_, _> = failed.collect();
        for (module, reason) in &failed {
            log::warn!("{module} is not fetched, and fails when it is imported: {reason}");
        }
        (self.graph, failed)
    }

    async fn build(&mut self, modules: Vec<Url>, is_lazy: bool) -> anyhow::Result<()> {
        let factory = self.installer.resolver_factory();
        let workspace = factory.workspace_factory();
        let lock = self.installer.maybe_lockfile().await?;
        let compiler_options = factory.compiler_options_resolver()?;
        let jsx = JsxImportSourceConfigResolver::from_compiler_options_resolver(compiler_options)?;
        let resolver = factory.deno_resolver().await?.as_graph_resolver(
            factory.cjs_tracker()?,
            &jsx,
            None,
            NpmTypesResolutionMode::FallbackToExecution,
        );
        let mut locker = lock.map(|lock| lock.as_deno_graph_locker());
        let options = BuildOptions {
            is_dynamic: is_lazy,
            skip_dynamic_deps: !is_lazy,
            unstable_bytes_imports: true,
            file_system: &RealSys,
            jsr_url_provider: &JsrRegistry(workspace.jsr_url().clone()),
            jsr_version_resolver: Cow::Borrowed(factory.jsr_version_resolver()?.as_ref()),
            locker: locker.as_mut().map(|locker| locker as _),
            npm_resolver: Some(self.npm),
            resolver: Some(&resolver),
            ..BuildOptions::default()
        };
        self.graph.build(modules, Vec::new(), &self.loader, options).await;
        Ok(())
    }

    /// Returns the modules that deno.json, or the import map that it names, maps names to.
    async fn mapped(&self) -> anyhow::Result<Vec<Url>> {
        let resolver = self.installer.resolver_factory().workspace_resolver().await?;
        let Some(map) = resolver.maybe_import_map() else { return Ok(Vec::new()) };
        let mut modules = Vec::new();
        let scopes = map.scopes().flat_map(|scope| scope.imports.entries());
        for target in map.imports().entries().chain(scopes).filter_map(|entry| entry.value) {
            if let Ok(reference) = NpmPackageReqReference::from_specifier(target) {
                self.npm.add_lazily(reference);
            } else if matches!(target.scheme(), "http" | "https" | "jsr") && !target.path().ends_with('/') {
                modules.push(target.clone());
            }
        }
        Ok(modules)
    }

    /// Returns the modules that new modules in the graph import lazily or name in strings.
    fn mentioned(&mut self) -> Vec<Url> {
        let parser = self.installer.resolver_factory().parsed_source_cache();
        let mut modules = Vec::new();
        for module in self.graph.modules() {
            let Module::Js(module) = module else { continue };
            if !self.scanned.insert(module.specifier.clone()) {
                continue;
            }
            let lazy = module.dependencies.values().filter(|import| import.is_dynamic);
            modules.extend(lazy.filter_map(|import| import.get_code().cloned()));
            let text = module.source.text.clone();
            let parsed = parser.get_matching_parsed_source(&module.specifier, module.media_type, text);
            modules.extend(parsed.iter().flat_map(|parsed| strings::modules(parsed, self.roots)));
        }
        modules
    }
}

/// Returns `true` if an error is about a name that no manifest has.
fn is_unnamed(error: &ModuleGraphError) -> bool {
    let unmapped = |error: &SpecifierError| matches!(error, SpecifierError::ImportPrefixMissing { .. });
    match error {
        ModuleGraphError::ResolutionError(ResolutionError::InvalidSpecifier { error, .. }) => unmapped(error),
        ModuleGraphError::ResolutionError(ResolutionError::ResolverError { specifier, .. }) => {
            !specifier.starts_with(['.', '/']) && Url::parse(specifier).is_err()
        }
        _ => false,
    }
}

type Fetcher = DenoGraphLoader<NullBlobStore, Sys, ModuleClient>;

fn loader(installer: &Installer, client: &Arc<Client>) -> anyhow::Result<Fetcher> {
    let factory = installer.resolver_factory();
    let cache = factory.workspace_factory().global_http_cache()?;
    let fetcher = PermissionedFileFetcher::new(
        NullBlobStore,
        Arc::new(GlobalOrLocalHttpCache::from(cache.clone())),
        ModuleClient(Arc::clone(client)),
        Arc::new(MemoryFiles::default()),
        RealSys,
        PermissionedFileFetcherOptions { allow_remote: true, cache_setting: CacheSetting::Use },
    );
    let options = DenoGraphLoaderOptions {
        file_header_overrides: HashMap::new(),
        include_npm_sources: false,
        permissions: None,
        file_permission_api_name: None,
        reporter: None,
    };
    let checker = factory.in_npm_package_checker()?.clone();
    Ok(DenoGraphLoader::new(Arc::new(fetcher), cache.clone(), checker, RealSys, options))
}

/// A loader that reads only the project's files of this machine, as a cell does.
struct ConfinedLoader<'a> {
    loader: Fetcher,
    roots: &'a Roots,
}

impl Loader for ConfinedLoader<'_> {
    fn load(&self, specifier: &Url, options: LoadOptions) -> LoadFuture {
        let outside = specifier
            .to_file_path()
            .is_ok_and(|path| specifier.scheme() == "file" && self.roots.admit(&path).is_err());
        if outside {
            return Box::pin(std::future::ready(Ok(None)));
        }
        self.loader.load(specifier, options)
    }
}

/// The URL of the JSR registry.
struct JsrRegistry(Url);

impl JsrUrlProvider for JsrRegistry {
    fn url(&self) -> &Url {
        &self.0
    }
}

/// Returns the diagnostic of an import that cannot be fetched, with its location.
fn invalid(roots: &Roots, names: &PathNames, client: &Client, error: &ModuleGraphError) -> Diagnostic {
    let mut message = with_causes(error);
    if let Some(reason) = client.reason(&message) {
        message = format!("{message} ({reason})");
    }
    let mut diagnostic = Diagnostic { message: names.clean(&message), ..Diagnostic::default() };
    let Some(range) = error.maybe_range() else { return diagnostic };
    let number = |index: usize| u32::try_from(index + 1).ok();
    diagnostic.file = names.file(range.specifier.as_str());
    diagnostic.line = number(range.range.start.line);
    diagnostic.column = number(range.range.start.character);
    let source = range.specifier.to_file_path().ok().and_then(|path| roots.admit(&path).ok());
    let source = source.and_then(|path| std::fs::read_to_string(path).ok());
    diagnostic.frame =
        source.zip(diagnostic.line).and_then(|(source, line)| frame(&source, line, diagnostic.column));
    diagnostic
}

/// Adds redirects and packages of remote modules to the lock file.
pub(super) fn remember(graph: &ModuleGraph, lock: &LockfileLock<Sys>) {
    let mut lock = lock.lock();
    let redirects = graph.redirects.iter();
    for (from, to) in redirects.filter(|(from, _)| matches!(from.scheme(), "http" | "https")) {
        lock.insert_redirect(from.to_string(), to.to_string());
    }
    for (requirement, found) in graph.packages.mappings() {
        let version = found.version.to_custom_string();
        lock.insert_package_specifier(JsrDepPackageReq::jsr(requirement.clone()), version);
    }
    for (package, dependencies) in graph.packages.packages_with_deps() {
        lock.add_package_deps(package, dependencies.cloned());
    }
}

/// Returns the URL of each `jsr:` specifier.
pub(super) fn jsr(graph: &ModuleGraph) -> BTreeMap<&str, &str> {
    let from_jsr = graph.redirects.keys().filter(|from| from.scheme() == "jsr");
    from_jsr.map(|from| (from.as_str(), graph.resolve(from).as_str())).collect()
}
