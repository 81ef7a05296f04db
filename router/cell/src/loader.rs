//! The module loader of a version: it resolves with Deno's resolver and takes modules from the checkout and its
//! node_modules only, whatever names them.

use std::borrow::Cow;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use deno_ast::ModuleKind;
use deno_core::futures::FutureExt as _;
use deno_core::url::Url;
use deno_core::{
    FastString, ModuleLoadOptions, ModuleLoadReferrer, ModuleLoadResponse, ModuleLoader,
    ModuleResolveResponse, ModuleSource, ModuleSourceCode, ModuleType, RequestedModuleType, ResolutionKind,
    SourceCodeCacheInfo, v8,
};
use deno_error::JsErrorBox;
use deno_media_type::MediaType;
use deno_media_type::data_url::RawDataUrl;
use deno_resolver::{DenoResolveError, DenoResolveErrorKind};
use deno_runtime::deno_node::{
    NodeRequireLoader, create_host_defined_options, default_resolve_require_node_module_paths,
};
use deno_runtime::deno_permissions::PermissionsContainer;
use deno_runtime::deno_web::{Blob, BlobStoreTrait};
use node_resolver::NodeResolutionKind;
use node_resolver::errors::PackageJsonLoadError;

use crate::cache::Maker;
use crate::code_cache::CodeCache;
use crate::failures::Place;
use crate::hints::BUN;
use crate::imports;
use crate::project::{Project, ProjectSlot};
use crate::source::{self, Code, Loaded};
use crate::workers;

/// What is smaller (in bytes) V8 has compiled by the time that an entry of the cache is read: it leaves functions for when
/// they are called.
const WORTH_KEEPING: usize = 8 << 10;

pub(crate) struct Loader {
    pub(crate) project: ProjectSlot,
    pub(crate) blobs: Arc<dyn BlobStoreTrait>,
    /// A worker's own main module: its blob may be revoked before it is loaded.
    pub(crate) main_blob: Option<(Url, Arc<Blob>)>,
    pub(crate) compiled: Rc<CodeCache>,
}

impl Loader {
    fn project(&self) -> &Arc<Project> {
        self.project.get().expect("no module is loaded before the version is known")
    }

    fn load_file(
        &self,
        specifier: &Url,
        referrer: Option<&ModuleLoadReferrer>,
        requested: &RequestedModuleType,
    ) -> ModuleLoadResponse {
        let project = Arc::clone(self.project());
        match source::load(&project, specifier, requested) {
            Ok(Loaded::Code(code)) => {
                ModuleLoadResponse::Sync(Ok(cached(&project, &self.compiled, module(specifier, code))))
            }
            Ok(Loaded::CommonJs(text)) => {
                let (specifier, compiled) = (specifier.clone(), Rc::clone(&self.compiled));
                ModuleLoadResponse::Async(
                    async move {
                        let code = source::wrap_common_js(&project, &specifier, text).await?;
                        Ok(cached(&project, &compiled, module(&specifier, code)))
                    }
                    .boxed_local(),
                )
            }
            Err(error) => {
                note_import(&project, specifier, referrer, &error);
                ModuleLoadResponse::Sync(Err(error))
            }
        }
    }

    fn load_data_url(
        &self,
        specifier: &Url,
        requested: &RequestedModuleType,
    ) -> Result<ModuleSource, JsErrorBox> {
        let url = RawDataUrl::parse(specifier).map_err(JsErrorBox::from_err)?;
        let media_type = url.media_type();
        let (bytes, _) = url.into_bytes_and_mime_type();
        Ok(module(specifier, from_memory(self.project(), specifier, media_type, requested, bytes)?))
    }

    fn load_remote(
        &self,
        specifier: &Url,
        requested: &RequestedModuleType,
    ) -> Result<ModuleSource, JsErrorBox> {
        let project = self.project();
        let vendored = project.vendor.as_ref().map(|vendor| vendor.load(specifier)).transpose()?.flatten();
        let fetched = || project.remote.as_ref().map(|remote| remote.load(specifier)).transpose();
        let found = if vendored.is_some() { vendored } else { fetched()?.flatten() };
        let Some(file) = found else {
            let error = not_here(project, specifier);
            if matches!(specifier.scheme(), "http" | "https" | "jsr" | "npm") {
                project.failures.note_lack(&error.to_string());
            }
            return Err(error);
        };
        let (media_type, _) = file.resolve_media_type_and_charset();
        let (kind, code) = from_memory(project, &file.url, media_type, requested, file.source.to_vec())?;
        Ok(ModuleSource::new_with_redirect(kind, code, specifier, &file.url, None))
    }

    fn load_blob(&self, specifier: &Url, requested: &RequestedModuleType) -> ModuleLoadResponse {
        let own = self.main_blob.as_ref().filter(|(url, _)| url == specifier);
        let blob = match own {
            Some((_, blob)) => Some(Arc::clone(blob)),
            None => self.blobs.get_object_url(specifier.clone()),
        };
        let Some(blob) = blob else {
            let error = JsErrorBox::type_error(format!("Blob URL not found: {specifier}"));
            return ModuleLoadResponse::Sync(Err(error));
        };
        let (project, specifier, requested) =
            (Arc::clone(self.project()), specifier.clone(), requested.clone());
        ModuleLoadResponse::Async(
            async move {
                let bytes = blob.read_all().await;
                let media_type = MediaType::from_content_type(&specifier, &blob.media_type);
                let code = from_memory(&project, &specifier, media_type, &requested, bytes)?;
                Ok(module(&specifier, code))
            }
            .boxed_local(),
        )
    }
}

impl ModuleLoader for Loader {
    fn resolve(&self, raw: &str, referrer: &str, kind: ResolutionKind) -> ModuleResolveResponse {
        // A root of the graph: the main module, or one that is required.
        if kind == ResolutionKind::MainModule || referrer == "." {
            return Url::parse(raw).map_err(JsErrorBox::from_err);
        }
        let project = self.project();
        let referrer = Url::parse(referrer).map_err(JsErrorBox::from_err)?;
        resolve(project, raw, &referrer).map_err(|Unresolved { message, is_there }| {
            let is_wanted =
                raw.starts_with("npm:") || project.depends_on(raw) || message.starts_with(NO_MATCH);
            if is_wanted && !is_there {
                project.failures.note_lack(&message);
            }
            project.failures.note(&message, place_of_import(project, &referrer, |text| text == raw));
            JsErrorBox::type_error(message)
        })
    }

    /// As Deno does, a specifier of a package is its own answer, whether or not that is there.
    fn import_meta_resolve(&self, raw: &str, referrer: &str) -> ModuleResolveResponse {
        let own = Url::parse(raw).ok().filter(|url| matches!(url.scheme(), "npm" | "jsr"));
        own.map_or_else(|| self.resolve(raw, referrer, ResolutionKind::DynamicImport), Ok)
    }

    fn load(
        &self,
        specifier: &Url,
        referrer: Option<&ModuleLoadReferrer>,
        options: ModuleLoadOptions,
    ) -> ModuleLoadResponse {
        let requested = &options.requested_module_type;
        match specifier.scheme() {
            "file" => self.load_file(specifier, referrer, requested),
            "data" => ModuleLoadResponse::Sync(self.load_data_url(specifier, requested)),
            "blob" => self.load_blob(specifier, requested),
            _ => {
                let loaded = self.load_remote(specifier, requested);
                if let Err(error) = &loaded {
                    note_import(self.project(), specifier, referrer, error);
                }
                ModuleLoadResponse::Sync(loaded)
            }
        }
    }

    fn get_code_cache(&self, _specifier: &Url, source: &str) -> Option<SourceCodeCacheInfo> {
        // A spare has no cache: what it compiles is compiled when the version comes.
        self.compiled.find(&self.project.get()?.cache, Maker::Builtin, source.as_bytes())
    }

    fn code_cache_ready(&self, _specifier: Url, hash: u64, code: &[u8]) -> Pin<Box<dyn Future<Output = ()>>> {
        self.compiled.keep(hash, code);
        Box::pin(std::future::ready(()))
    }

    fn get_source_map(&self, file_name: &str) -> Option<Cow<'_, [u8]>> {
        let specifier = Url::parse(file_name).ok().filter(|url| url.scheme() == "file")?;
        source::source_map(self.project.get()?, &specifier).map(Cow::Owned)
    }

    fn get_source_mapped_source_line(&self, file_name: &str, line: usize) -> Option<String> {
        let specifier = Url::parse(file_name).ok()?;
        let text = source::decode(source::read(self.project.get()?, &specifier).ok()?);
        text.split('\n').nth(line).map(str::to_owned)
    }

    fn get_host_defined_options<'s, 'i>(
        &self,
        scope: &mut v8::PinScope<'s, 'i>,
        name: &str,
    ) -> Option<v8::Local<'s, v8::Data>> {
        let name = Url::parse(name).ok()?;
        self.project.get()?.in_package(&name).then(|| create_host_defined_options(scope))
    }
}

impl NodeRequireLoader for Loader {
    fn ensure_read_permission<'a>(
        &self,
        _permissions: &mut PermissionsContainer,
        path: Cow<'a, Path>,
    ) -> Result<Cow<'a, Path>, JsErrorBox> {
        let project = self.project();
        project.phantoms.note(&path);
        match project.admit(&path) {
            Ok(file) if project.has_written(&file) => Ok(Cow::Owned(file)),
            Ok(real) => source::check_package(project, &real).map(|()| path),
            Err(error) => {
                let is_denied = error.kind() == std::io::ErrorKind::PermissionDenied;
                let real = path.canonicalize().ok().filter(|_| is_denied);
                if let Some(own) = real.and_then(|real| project.roots.in_checkout(&real)) {
                    return Ok(Cow::Owned(own));
                }
                // The search for a module's package.json goes upwards until it finds one. Nothing is found outside,
                // whether there is something or not.
                let is_package_file = path.file_name().is_some_and(|name| name == "package.json");
                if is_denied && is_package_file || !project.roots.name(&path) {
                    Ok(Cow::Borrowed(Path::new("/dev/null/package.json")))
                } else if is_denied {
                    Err(source::unreadable(project, &path, &error))
                } else {
                    // That there is no such file is for the caller to find out.
                    Ok(path)
                }
            }
        }
    }

    fn load_text_file_lossy(&self, path: &Path) -> Result<FastString, JsErrorBox> {
        let project = self.project();
        let specifier = deno_path_util::url_from_file_path(path).map_err(JsErrorBox::from_err)?;
        let text = source::decode(source::read(project, &specifier)?);
        let media_type = MediaType::from_path(path);
        if !project.in_package(&specifier) {
            let mut last = project.last_required.lock().expect("no panic while it is held");
            *last = Some(specifier.clone());
        }
        Ok(source::emit(project, &specifier, media_type, ModuleKind::Cjs, text)?.into())
    }

    fn is_maybe_cjs(&self, specifier: &Url) -> Result<bool, PackageJsonLoadError> {
        self.project().cjs.is_maybe_cjs(specifier, MediaType::from_specifier(specifier))
    }

    fn is_maybe_cjs_from_require(&self, specifier: &Url) -> Result<bool, PackageJsonLoadError> {
        self.project().cjs.is_maybe_cjs_from_require(specifier, MediaType::from_specifier(specifier))
    }

    fn resolve_require_node_module_paths(&self, from: &Path) -> Vec<String> {
        let mut paths = default_resolve_require_node_module_paths(from);
        let project = self.project();
        paths.retain(|path| project.roots.contain(Path::new(path)));
        let is_package =
            project.roots.node_modules.as_ref().is_some_and(|packages| from.starts_with(packages));
        let hoisted = project.phantoms.folder().filter(|_| !is_package);
        paths.extend(hoisted.map(|folder| folder.to_string_lossy().into_owned()));
        paths
    }
}

/// The reason why an import does not resolve.
struct Unresolved {
    message: String,
    /// A package of that name is there, and cannot be used: to fetch it would not help.
    is_there: bool,
}

fn resolve(project: &Project, raw: &str, referrer: &Url) -> Result<Url, Unresolved> {
    let wrong = |message: String| Unresolved { message, is_there: true };
    let renamed = match &project.modules {
        Some(modules) => modules.rename(raw).map_err(wrong)?,
        None if raw.starts_with("cloudflare:") => return Err(wrong(workers::missing(raw))),
        None => None,
    };
    let raw = renamed.as_deref().unwrap_or(raw);
    if workers::is_own(raw) {
        return Url::parse(raw).map_err(|error| wrong(error.to_string()));
    }
    if let Some(found) = workers::find_by_tsconfig(project, raw, referrer) {
        return Ok(found);
    }
    let mode = project.cjs.get_referrer_kind(referrer);
    let resolved = project.resolver.resolve(raw, referrer, mode, NodeResolutionKind::Execution);
    if let Ok(resolution) = &resolved
        && let Some(url) = inside(project, &resolution.url)
    {
        return Ok(url);
    }
    let there = |message: String| Unresolved { message: project.names.clean(&message), is_there: true };
    if let Some(error) = project.unusable(raw, referrer) {
        return Err(there(format!("The package \"{raw}\" cannot be used: {error}")));
    }
    match resolved {
        Ok(resolution) => Ok(resolution.url),
        Err(error) => {
            let hoisted = Some(raw)
                .filter(|_| !project.in_package(referrer))
                .and_then(|raw| project.phantoms.find(raw));
            let found =
                hoisted.and_then(|(folder, within)| within_package(project, &folder, within, referrer).ok());
            found.ok_or_else(|| {
                let message = project.names.clean(&unresolved(project, raw, &error));
                let is_there = message.contains(INVALID_CONFIG);
                Unresolved { message, is_there }
            })
        }
    }
}

/// A module of the version for a URL, if it is one. What a link in a package leads to on the volume
/// is the version's copy of it.
fn inside(project: &Project, url: &Url) -> Option<Url> {
    let path = url.to_file_path().ok().filter(|path| !project.roots.contain(path));
    match path {
        Some(path) => Url::from_file_path(project.roots.in_checkout(&path)?).ok(),
        None => Some(url.clone()),
    }
}

/// The code of Node's error for a package.json that does not parse.
const INVALID_CONFIG: &str = "ERR_INVALID_PACKAGE_CONFIG";

/// The module `within` the package in `folder`.
fn within_package(
    project: &Project,
    folder: &Path,
    within: Option<&str>,
    referrer: &Url,
) -> Result<Url, String> {
    let mode = project.cjs.get_referrer_kind(referrer);
    let kind = NodeResolutionKind::Execution;
    let resolver = project.factory.node_resolver().map_err(|error| error.to_string())?;
    let found = resolver.resolve_package_subpath_from_deno_module(folder, within, Some(referrer), mode, kind);
    found.map_err(|error| error.to_string())?.into_url().map_err(|error| error.to_string())
}

/// How Deno begins to say that what an `npm:` specifier, or what is mapped to one, asks for is not in node_modules.
const NO_MATCH: &str = "Could not find a matching package for 'npm:";

/// What Deno would advise is not possible here.
fn unresolved(project: &Project, raw: &str, error: &DenoResolveError) -> String {
    match error.as_kind() {
        DenoResolveErrorKind::MappedResolution(error)
            if error.is_unmapped_bare_specifier() && raw == "bun" =>
        {
            format!("\"bun\" cannot be imported: {BUN}")
        }
        DenoResolveErrorKind::MappedResolution(error) if error.is_unmapped_bare_specifier() => {
            format!(
                "There is no package \"{raw}\": install it into the project's node_modules \
                 (npm install {raw}), or give its place in the \"imports\" of deno.json"
            )
        }
        _ => {
            let text = error.to_string();
            if text.starts_with("Blocked by null entry") {
                return format!(
                    "\"{raw}\" leads nowhere: its entry in the \"imports\" of deno.json has to begin with \"./\", \"../\", \"npm:\" or \
                     the like"
                );
            }
            let advice = [" Ensure you have ", " Deno expects "];
            match advice.iter().find_map(|advice| text.split_once(advice)) {
                Some((what, _)) => format!("{what} {}", why_not(project, what)),
                None => text,
            }
        }
    }
}

/// Says why what a text names is not in `node_modules`: there was an error, or nothing named it
/// when packages were fetched.
fn why_not(project: &Project, text: &str) -> String {
    const INSTALL: &str = "Install it into the project's node_modules (npm install)";
    match project.remote.as_ref().map(|remote| remote.reason(text)) {
        Some(Some(reason)) => format!("It was not fetched: {reason}"),
        Some(None) => format!(
            "{INSTALL}, or name it in \"dependencies\" of package.json or \"imports\" of deno.json: what is imported by a \
             name that is computed is not known before"
        ),
        None => INSTALL.to_owned(),
    }
}

fn not_here(project: &Project, specifier: &Url) -> JsErrorBox {
    if workers::is_own(specifier.as_str()) {
        return JsErrorBox::type_error("Cloudflare's modules are not there in web workers");
    }
    if let Some(reason) = project.remote.as_ref().and_then(|remote| remote.reason(specifier.as_str())) {
        return JsErrorBox::type_error(format!("\"{specifier}\" was not fetched: {reason}"));
    }
    if specifier.scheme() == "bun" {
        return JsErrorBox::type_error(format!("\"{specifier}\" cannot be imported: {BUN}"));
    }
    let fix = match specifier.scheme() {
        "jsr" | "http" | "https" if project.vendor.is_some() => {
            "it is not in vendor/: run `deno install --entrypoint` with the project's entry, and bring the folder along"
        }
        "npm" => "install the package into the project's node_modules",
        "jsr" => "install it into the project's node_modules (npx jsr add), or copy it into the project",
        _ => "copy the file into the project, or install a package into its node_modules",
    };
    // Fetched was what was known when the version was built.
    let unknown = match project.remote {
        Some(_) => {
            ", or name it in \"imports\" of deno.json: what is imported by a name that is computed is not known before"
        }
        None => "",
    };
    JsErrorBox::type_error(format!("\"{specifier}\" is not loaded over the network: {fix}{unknown}"))
}

/// The error is the importing module's: that is where it can be mended.
fn note_import(
    project: &Project,
    specifier: &Url,
    referrer: Option<&ModuleLoadReferrer>,
    error: &JsErrorBox,
) {
    let message = error.to_string();
    // A syntax error has been noted with a better place already.
    if let (Some(referrer), None) = (referrer, project.failures.place_of(&message)) {
        let is_it = |text: &str| {
            !text.contains(char::is_whitespace)
                && resolve(project, text, &referrer.specifier).is_ok_and(|url| url == *specifier)
        };
        let place = place_of_import(project, &referrer.specifier, is_it);
        project.failures.note(&message, place);
    }
}

fn place_of_import(project: &Project, referrer: &Url, is_it: impl Fn(&str) -> bool) -> Place {
    let source = source::read(project, referrer).ok().map(source::decode);
    let found = source.and_then(|source| imports::find(&source, is_it));
    Place {
        file: referrer.to_string(),
        line: found.map(|(line, _)| line),
        column: found.map(|(_, column)| column),
    }
}

fn from_memory(
    project: &Project,
    specifier: &Url,
    media_type: MediaType,
    requested: &RequestedModuleType,
    bytes: Vec<u8>,
) -> Result<Code, JsErrorBox> {
    Ok(match (requested, media_type) {
        (RequestedModuleType::Bytes, _) => (ModuleType::Bytes, source::raw(bytes)),
        (RequestedModuleType::Text, _) => (ModuleType::Text, source::text(source::decode(bytes))),
        (_, MediaType::Wasm) => (ModuleType::Wasm, source::raw(bytes)),
        (_, MediaType::Json) => (ModuleType::Json, source::text(source::decode(bytes))),
        _ => {
            let text = source::decode(bytes);
            let text = source::emit(project, specifier, media_type, ModuleKind::Esm, text)?;
            (ModuleType::JavaScript, source::text(text))
        }
    })
}

fn cached(project: &Project, compiled: &CodeCache, mut module: ModuleSource) -> ModuleSource {
    if let (ModuleType::JavaScript, ModuleSourceCode::String(text)) = (&module.module_type, &module.code)
        && text.len() >= WORTH_KEEPING
    {
        module.code_cache = compiled.find(&project.cache, Maker::Module, text.as_bytes());
    }
    module
}

fn module(specifier: &Url, (kind, code): Code) -> ModuleSource {
    ModuleSource::new(kind, code, specifier, None)
}
