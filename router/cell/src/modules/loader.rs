//! The module loader of a version. It takes modules from the version's own files, packages and
//! caches only, whichever module names them.

mod require;

use std::borrow::Cow;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use deno_ast::ModuleKind;
use deno_core::futures::FutureExt as _;
use deno_core::url::Url;
use deno_core::{
    ModuleLoadOptions, ModuleLoadReferrer, ModuleLoadResponse, ModuleLoader, ModuleResolveResponse,
    ModuleSource, ModuleSourceCode, ModuleType, RequestedModuleType, ResolutionKind, SourceCodeCacheInfo, v8,
};
use deno_error::JsErrorBox;
use deno_media_type::MediaType;
use deno_media_type::data_url::RawDataUrl;
use deno_runtime::deno_node::create_host_defined_options;
use deno_runtime::deno_web::{Blob, BlobStoreTrait};

use super::code::{self, Code, decode};
use super::import_errors::{note_unloadable, note_unresolved};
use super::project::{Project, ProjectSlot};
use super::resolve::{NO_MATCH, not_fetched, resolve};
use super::source::{self, LoadedModule};
use crate::cache::code::CodeCache;
use crate::cache::store::Producer;

/// The smallest source (in bytes) whose compiled code is cached. V8 compiles a smaller one in the
/// time that an entry takes to be read: it leaves functions for when they are called.
const MIN_CACHED_SOURCE: usize = 8 << 10;

/// The loader of one isolate.
pub(crate) struct Loader {
    pub(crate) project: ProjectSlot,
    pub(crate) blobs: Arc<dyn BlobStoreTrait>,
    /// A worker's own main module: its blob may be revoked before it is loaded.
    pub(crate) main_blob: Option<(Url, Arc<Blob>)>,
    pub(crate) code_cache: Rc<CodeCache>,
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
            Ok(LoadedModule::Code(code)) => ModuleLoadResponse::Sync(Ok(with_code_cache(
                &project,
                &self.code_cache,
                module(specifier, code),
            ))),
            Ok(LoadedModule::CommonJs(text)) => {
                let (specifier, code_cache) = (specifier.clone(), Rc::clone(&self.code_cache));
                ModuleLoadResponse::Async(
                    async move {
                        let code = source::wrap_common_js(&project, &specifier, text).await?;
                        Ok(with_code_cache(&project, &code_cache, module(&specifier, code)))
                    }
                    .boxed_local(),
                )
            }
            Err(error) => {
                note_unloadable(&project, specifier, referrer, &error);
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
            let error = not_fetched(project, specifier);
            if matches!(specifier.scheme(), "http" | "https" | "jsr" | "npm") {
                project.failures.note_fetchable(&error.to_string());
            }
            return Err(error);
        };
        let (media_type, _) = file.resolve_media_type_and_charset();
        let (kind, code) = from_memory(project, &file.url, media_type, requested, file.source.to_vec())?;
        Ok(ModuleSource::new_with_redirect(kind, code, specifier, &file.url, None))
    }

    fn load_blob(&self, specifier: &Url, requested: &RequestedModuleType) -> ModuleLoadResponse {
        let main_blob = self.main_blob.as_ref().filter(|(url, _)| url == specifier);
        let blob = match main_blob {
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
        resolve(project, raw, &referrer).map_err(|error| {
            let is_named =
                raw.starts_with("npm:") || project.depends_on(raw) || error.message.starts_with(NO_MATCH);
            note_unresolved(project, raw, &referrer, error, is_named)
        })
    }

    /// Resolves a package's specifier to itself, as Deno does, even if the package does not exist.
    fn import_meta_resolve(&self, raw: &str, referrer: &str) -> ModuleResolveResponse {
        let package = Url::parse(raw).ok().filter(|url| matches!(url.scheme(), "npm" | "jsr"));
        package.map_or_else(|| self.resolve(raw, referrer, ResolutionKind::DynamicImport), Ok)
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
                    note_unloadable(self.project(), specifier, referrer, error);
                }
                ModuleLoadResponse::Sync(loaded)
            }
        }
    }

    fn get_code_cache(&self, _specifier: &Url, source: &str) -> Option<SourceCodeCacheInfo> {
        // A spare has no cache: it compiles again once it is assigned a version.
        self.code_cache.find(&self.project.get()?.cache, Producer::Builtin, source.as_bytes())
    }

    fn code_cache_ready(&self, _specifier: Url, hash: u64, code: &[u8]) -> Pin<Box<dyn Future<Output = ()>>> {
        self.code_cache.keep(hash, code);
        Box::pin(std::future::ready(()))
    }

    fn get_source_map(&self, file_name: &str) -> Option<Cow<'_, [u8]>> {
        let specifier = Url::parse(file_name).ok().filter(|url| url.scheme() == "file")?;
        source::source_map(self.project.get()?, &specifier).map(Cow::Owned)
    }

    fn get_source_mapped_source_line(&self, file_name: &str, line: usize) -> Option<String> {
        let specifier = Url::parse(file_name).ok()?;
        let text = decode(source::read(self.project.get()?, &specifier).ok()?);
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

fn from_memory(
    project: &Project,
    specifier: &Url,
    media_type: MediaType,
    requested: &RequestedModuleType,
    bytes: Vec<u8>,
) -> Result<Code, JsErrorBox> {
    Ok(match (requested, media_type) {
        (RequestedModuleType::Bytes, _) => (ModuleType::Bytes, code::bytes(bytes)),
        (RequestedModuleType::Text, _) => (ModuleType::Text, code::text(decode(bytes))),
        (_, MediaType::Wasm) => (ModuleType::Wasm, code::bytes(bytes)),
        (_, MediaType::Json) => (ModuleType::Json, code::text(decode(bytes))),
        _ => {
            let text = source::emit(project, specifier, media_type, ModuleKind::Esm, decode(bytes))?;
            (ModuleType::JavaScript, code::text(text))
        }
    })
}

fn with_code_cache(project: &Project, code_cache: &CodeCache, mut module: ModuleSource) -> ModuleSource {
    if let (ModuleType::JavaScript, ModuleSourceCode::String(text)) = (&module.module_type, &module.code)
        && text.len() >= MIN_CACHED_SOURCE
    {
        module.code_cache = code_cache.find(&project.cache, Producer::Module, text.as_bytes());
    }
    module
}

fn module(specifier: &Url, (kind, code): Code) -> ModuleSource {
    ModuleSource::new(kind, code, specifier, None)
}
