//! The modules that an entry imports, all of them: those of the project are read, those from elsewhere fetched.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use deno_cache_dir::GlobalOrLocalHttpCache;
use deno_cache_dir::file_fetcher::{CacheSetting, NullBlobStore};
use deno_core::url::Url;
use deno_graph::source::{JsrUrlProvider, LoadFuture, LoadOptions, Loader};
use deno_graph::{BuildOptions, GraphKind, ModuleGraph, ModuleGraphError};
use deno_resolver::deno_json::JsxImportSourceConfigResolver;
use deno_resolver::file_fetcher::{
    DenoGraphLoader, DenoGraphLoaderOptions, PermissionedFileFetcher, PermissionedFileFetcherOptions,
};
use deno_resolver::graph::NpmTypesResolutionMode;
use deno_resolver::loader::MemoryFiles;
use deno_resolver::lockfile::LockfileLock;
use deno_semver::jsr::JsrDepPackageReq;
use switchyard_bridge::event::Diagnostic;
use sys_traits::impls::RealSys;

use super::client::{Client, Modules};
use super::{Installer, told};
use crate::frame::frame;
use crate::paths::Names;
use crate::project::Sys;
use crate::roots::Roots;

/// Fetches what `main_module` leads to; without one, nothing. What only a dynamic import names may be missing.
pub(super) async fn walk(
    packages: &Installer,
    roots: &Roots,
    names: &Names,
    client: &Arc<Client>,
    main_module: Option<Url>,
    as_workers: bool,
) -> Result<ModuleGraph, Diagnostic> {
    let graph = build(packages, roots, client, main_module).await.map_err(|error| told(names, &error))?;
    // A Worker imports what is no module elsewhere: its cell says what is wrong with that.
    if !as_workers {
        graph.valid().map_err(|error| invalid(roots, names, client, &error))?;
    }
    if let Err(error) = &graph.npm_dep_graph_result {
        return Err(told(names, &anyhow::anyhow!("{error}")));
    }
    Ok(graph)
}

async fn build(
    packages: &Installer,
    roots: &Roots,
    client: &Arc<Client>,
    main_module: Option<Url>,
) -> anyhow::Result<ModuleGraph> {
    let factory = packages.resolver_factory();
    let workspace = factory.workspace_factory();
    let mut graph = ModuleGraph::new(GraphKind::CodeOnly);
    let lock = packages.maybe_lockfile().await?;
    if let Some(lock) = lock {
        lock.fill_graph(&mut graph);
    }
    let compiler_options = factory.compiler_options_resolver()?;
    let jsx = JsxImportSourceConfigResolver::from_compiler_options_resolver(compiler_options)?;
    let resolver = factory.deno_resolver().await?.as_graph_resolver(
        factory.cjs_tracker()?,
        &jsx,
        None,
        NpmTypesResolutionMode::FallbackToExecution,
    );
    let npm = packages.npm_deno_graph_resolver().await?;
    let loader = Confined { loader: loader(packages, client)?, roots };
    let mut locker = lock.map(|lock| lock.as_deno_graph_locker());
    let options = BuildOptions {
        unstable_bytes_imports: true,
        jsr_url_provider: &Jsr(workspace.jsr_url().clone()),
        jsr_version_resolver: Cow::Borrowed(factory.jsr_version_resolver()?.as_ref()),
        locker: locker.as_mut().map(|locker| locker as _),
        npm_resolver: Some(npm.as_ref()),
        resolver: Some(&resolver),
        ..BuildOptions::default()
    };
    graph.build(main_module.into_iter().collect(), Vec::new(), &loader, options).await;
    Ok(graph)
}

type Fetcher = DenoGraphLoader<NullBlobStore, Sys, Modules>;

fn loader(packages: &Installer, client: &Arc<Client>) -> anyhow::Result<Fetcher> {
    let factory = packages.resolver_factory();
    let cache = factory.workspace_factory().global_http_cache()?;
    let fetcher = PermissionedFileFetcher::new(
        NullBlobStore,
        Arc::new(GlobalOrLocalHttpCache::from(cache.clone())),
        Modules(Arc::clone(client)),
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

/// Of this machine's files it knows those of the project only, as the cell does.
struct Confined<'a> {
    loader: Fetcher,
    roots: &'a Roots,
}

impl Loader for Confined<'_> {
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

struct Jsr(Url);

impl JsrUrlProvider for Jsr {
    fn url(&self) -> &Url {
        &self.0
    }
}

/// The import that cannot be had, where it is written.
fn invalid(roots: &Roots, names: &Names, client: &Client, error: &ModuleGraphError) -> Diagnostic {
    let mut message = chain(error);
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

/// What went wrong, and why.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        if !text.contains(&reason) {
            text.push_str(": ");
            text.push_str(&reason);
        }
        cause = error.source();
    }
    text
}

/// Puts into the lock what was found out of remote modules.
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

/// The URL of each `jsr:` specifier.
pub(super) fn jsr(graph: &ModuleGraph) -> BTreeMap<&str, &str> {
    let from_jsr = graph.redirects.keys().filter(|from| from.scheme() == "jsr");
    from_jsr.map(|from| (from.as_str(), graph.resolve(from).as_str())).collect()
}
