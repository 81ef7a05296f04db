//! The code of a file of the project, or of a package in its node_modules: TypeScript and JSX are
//! emitted, CommonJS is wrapped, JSON is checked.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use deno_ast::diagnostics::{Diagnostic as _, DiagnosticLocation, DiagnosticSourcePos};
use deno_ast::{FoldProgramError, ModuleKind, ParseDiagnostic, TranspileError};
use deno_core::url::Url;
use deno_core::{ModuleType, RequestedModuleType};
use deno_error::JsErrorBox;
use deno_media_type::MediaType;
use deno_resolver::emit::EmitParsedSourceHelperError;
use deno_resolver::graph::maybe_additional_sloppy_imports_message;
use node_resolver::analyze::CjsAnalysisSourceProvider;
use serde_json::{Map, Value};
use sys_traits::impls::RealSys;

use super::code::{self, Code, decode};
use super::failures::SourceLocation;
use super::project::Project;
use crate::cache::store::{Producer, StoreEntry};

/// A module whose file was read.
pub(crate) enum LoadedModule {
    Code(Code),
    /// The source of a module that is, or looks like, CommonJS. [`wrap_common_js`] finds its
    /// exports, and reads more files for that.
    CommonJs(String),
}

/// Loads the module of a file.
///
/// # Errors
/// The file cannot be read, does not parse, or is not a module of the requested type.
pub(crate) fn load(
    project: &Project,
    specifier: &Url,
    requested: &RequestedModuleType,
) -> Result<LoadedModule, JsErrorBox> {
    let bytes = read(project, specifier)?;
    let code = match requested {
        RequestedModuleType::Bytes => (ModuleType::Bytes, code::bytes(bytes)),
        RequestedModuleType::Text => (ModuleType::Text, code::text(decode(bytes))),
        RequestedModuleType::Other(kind) => (ModuleType::Other(kind.clone()), code::text(decode(bytes))),
        RequestedModuleType::None | RequestedModuleType::Json => {
            let modules = project.worker_modules.as_ref().filter(|_| *requested == RequestedModuleType::None);
            let json = || serde_json::from_slice(&bytes).ok();
            match modules.and_then(|modules| modules.replacement(specifier, json)) {
                Some(code) => code,
                None => return by_media_type(project, specifier, requested, bytes),
            }
        }
    };
    Ok(LoadedModule::Code(code))
}

fn by_media_type(
    project: &Project,
    specifier: &Url,
    requested: &RequestedModuleType,
    bytes: Vec<u8>,
) -> Result<LoadedModule, JsErrorBox> {
    let media_type = MediaType::from_specifier(specifier);
    let code = match media_type {
        MediaType::Wasm => (ModuleType::Wasm, code::bytes(bytes)),
        MediaType::Json if *requested == RequestedModuleType::Json => {
            let json = decode(bytes);
            check_json(project, specifier, &json)?;
            (ModuleType::Json, code::text(json))
        }
        MediaType::Json => {
            let name = project.names.clean(specifier.as_str());
            return Err(JsErrorBox::type_error(format!(
                "\"{name}\" is JSON: import it `with {{ type: \"json\" }}`"
            )));
        }
        MediaType::Css | MediaType::Html | MediaType::Markdown | MediaType::Sql => {
            let name = project.names.clean(specifier.as_str());
            return Err(JsErrorBox::type_error(format!(
                "\"{name}\" is not a module: import it `with {{ type: \"text\" }}`"
            )));
        }
        _ => {
            let source = decode(bytes);
            return if is_common_js(project, specifier, media_type, &source)? {
                Ok(LoadedModule::CommonJs(source))
            } else {
                let source = emit(project, specifier, media_type, ModuleKind::Esm, source)?;
                Ok(LoadedModule::Code((ModuleType::JavaScript, code::text(source))))
            };
        }
    };
    Ok(LoadedModule::Code(code))
}

/// Reads a file that the version may load.
///
/// # Errors
/// The file cannot be read, or the version may not load it.
pub(crate) fn read(project: &Project, specifier: &Url) -> Result<Vec<u8>, JsErrorBox> {
    let path = specifier
        .to_file_path()
        .map_err(|()| JsErrorBox::type_error(format!("\"{specifier}\" is not the URL of a file")))?;
    let real = project.admit(&path).map_err(|error| unreadable(project, &path, &error))?;
    check_package(project, &real)?;
    std::fs::read(real).map_err(|error| unreadable(project, &path, &error))
}

/// Refuses a file of a package whose package.json may not be read: the kind of its modules would be
/// a guess.
///
/// # Errors
/// The package.json may not be read.
pub(crate) fn check_package(project: &Project, real: &Path) -> Result<(), JsErrorBox> {
    match project.package_files.denied(real) {
        Some(file) => {
            let error = io::Error::from_raw_os_error(libc::EACCES);
            Err(unreadable(project, &file, &error))
        }
        None => Ok(()),
    }
}

/// Returns the error for a file that cannot be read.
pub(crate) fn unreadable(project: &Project, path: &Path, error: &io::Error) -> JsErrorBox {
    let name = project.names.clean(&path.to_string_lossy());
    let sloppy = || sloppy_hint(project, path);
    JsErrorBox::type_error(match error.kind() {
        io::ErrorKind::NotFound if name.starts_with("../") => format!(
            "Module not found: \"{name}\" does not exist in this version: a folder or file beside the project has to be \
             named in \"switchyard\": {{\"include\": […]}} in deno.json"
        ),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            format!("Module not found: \"{name}\" does not exist{}", sloppy())
        }
        io::ErrorKind::IsADirectory => {
            format!("\"{name}\" is a directory: import a file in it, such as \"{name}/mod.ts\"{}", sloppy())
        }
        _ if error.raw_os_error() == Some(libc::EACCES) => format!(
            "Cannot read \"{name}\": permission denied: let the user that projects run as read it (chmod -R a+rX)"
        ),
        _ => format!("Cannot read \"{name}\": {}", project.names.clean(&error.to_string())),
    })
}

/// Returns Deno's hint at the file that an import without an extension, or with the extension of
/// compiled code, may mean. Deno's text ends with a flag, which is replaced.
fn sloppy_hint(project: &Project, path: &Path) -> String {
    let Ok(specifier) = Url::from_file_path(path) else { return String::new() };
    let hint = maybe_additional_sloppy_imports_message(&RealSys, &specifier).unwrap_or_default();
    match hint.split_once(" or run with ") {
        Some((hint, _)) if project.roots.contain(path) => {
            format!(". {}, or set \"unstable\": [\"sloppy-imports\"] in deno.json", project.names.clean(hint))
        }
        _ => String::new(),
    }
}

/// Returns `true` if a module is CommonJS. Parses only sources that contain a word of CommonJS,
/// which few other modules do.
fn is_common_js(
    project: &Project,
    specifier: &Url,
    media_type: MediaType,
    source: &str,
) -> Result<bool, JsErrorBox> {
    // Modules that a version writes belong to no package.
    let path = specifier.to_file_path().unwrap_or_default();
    if !project.roots.contain(&path) && project.admit(&path).is_ok_and(|file| project.has_written(&file)) {
        return Ok(media_type == MediaType::Cjs);
    }
    let maybe = project.cjs.is_maybe_cjs(specifier, media_type).map_err(JsErrorBox::from_err)?;
    if !maybe || media_type == MediaType::Cjs || project.in_package(specifier) {
        return Ok(maybe);
    }
    let is_script =
        ["require", "exports", "__dirname", "__filename"].iter().any(|word| source.contains(word))
            && project
                .factory
                .parsed_source_cache()
                .get_matching_parsed_source(specifier, media_type, source.into())
                .map_err(|error| syntax_error(project, &error))?
                .compute_is_script();
    project.cjs.is_cjs_with_known_is_script(specifier, media_type, is_script).map_err(JsErrorBox::from_err)
}

/// Emits TypeScript and JSX as JavaScript, and returns other sources unchanged. The source map is
/// not kept: [`source_map`] makes it again in the rare case that it is needed.
///
/// # Errors
/// The source does not parse, or is TypeScript in a package.
pub(crate) fn emit(
    project: &Project,
    specifier: &Url,
    media_type: MediaType,
    kind: ModuleKind,
    source: String,
) -> Result<String, JsErrorBox> {
    if media_type.is_declaration() {
        return Ok(String::new());
    }
    if !media_type.is_emittable() {
        return Ok(source);
    }
    if project.in_package(specifier) {
        let name = project.names.clean(specifier.as_str());
        return Err(JsErrorBox::type_error(format!(
            "\"{name}\" is TypeScript in a package: packages in node_modules have to be JavaScript"
        )));
    }
    // Debuggers are shown the source, which cached code does not contain.
    if project.is_inspected {
        let shown = source.clone();
        let (code, map) = emit_with_map(project, specifier, media_type, kind, source)
            .map_err(|error| emit_error(project, &error))?;
        return Ok(with_source(code, &map, &shown));
    }
    let entry = cached_emit(project, specifier, media_type, kind, &source);
    if let Some(code) = entry.as_ref().and_then(StoreEntry::read_text) {
        return Ok(code);
    }
    let emitted = emit_with_map(project, specifier, media_type, kind, source);
    let (code, _map) = emitted.map_err(|error| emit_error(project, &error))?;
    // JSX for development contains the file's path, which differs in each version.
    if let Some(entry) = entry
        && !project.roots.checkout.to_str().is_some_and(|checkout| code.contains(checkout))
    {
        entry.write(code.as_bytes());
    }
    Ok(code)
}

/// Returns the cache entry for the emitted code of a module, or `None` for a source that the
/// project's code makes at run time.
fn cached_emit(
    project: &Project,
    specifier: &Url,
    media_type: MediaType,
    kind: ModuleKind,
    source: &str,
) -> Option<StoreEntry> {
    if specifier.scheme() != "file" {
        return None;
    }
    let options = project.factory.compiler_options_resolver().ok()?.for_specifier(specifier);
    let options = options.transpile_options().ok()?.pre_computed_hash.to_le_bytes();
    let how = format!("{media_type:?} {kind:?}");
    project.cache.entry(Producer::Emitter, &[&options, how.as_bytes(), source.as_bytes()])
}

/// Appends a source map with the source in a comment, where debuggers read it.
fn with_source(code: String, map: &str, source: &str) -> String {
    let Ok(mut map) = serde_json::from_str::<Map<String, Value>>(map) else { return code };
    map.insert("sourcesContent".to_owned(), [source].into());
    let map = BASE64_STANDARD.encode(Value::from(map).to_string());
    format!("{code}\n//# sourceMappingURL=data:application/json;base64,{map}\n")
}

/// Returns the source map of an emitted module.
pub(crate) fn source_map(project: &Project, specifier: &Url) -> Option<Vec<u8>> {
    let media_type = MediaType::from_specifier(specifier);
    if !media_type.is_emittable() || project.in_package(specifier) {
        return None;
    }
    let source = decode(read(project, specifier).ok()?);
    let is_cjs = project.cjs.get_referrer_kind(specifier) == node_resolver::ResolutionMode::Require;
    let kind = ModuleKind::from_is_cjs(is_cjs);
    let (_code, map) = emit_with_map(project, specifier, media_type, kind, source).ok()?;
    Some(map.into_bytes())
}

fn emit_with_map(
    project: &Project,
    specifier: &Url,
    media_type: MediaType,
    kind: ModuleKind,
    source: String,
) -> anyhow::Result<(String, String)> {
    let source: Arc<str> = source.into();
    project.factory.emitter()?.emit_source_for_deno_compile(specifier, media_type, kind, &source)
}

/// Returns the ES module that stands for a CommonJS one where it is imported.
///
/// # Errors
/// The module, or one that it re-exports, does not parse.
pub(crate) async fn wrap_common_js(
    project: &Project,
    specifier: &Url,
    source: String,
) -> Result<Code, JsErrorBox> {
    let media_type = MediaType::from_specifier(specifier);
    let source = emit(project, specifier, media_type, ModuleKind::Cjs, source)?;
    let re_exported = ReExportReader(project);
    let translator = project.factory.node_code_translator().map_err(generic)?;
    let wrapped = translator
        .translate_cjs_to_esm_with_source_provider(specifier, Some(Cow::Owned(source)), Some(&re_exported))
        .await
        .map_err(JsErrorBox::from_err)?;
    Ok((ModuleType::JavaScript, code::text(wrapped.into_owned())))
}

/// Reads modules that a CommonJS module re-exports, for the names of their exports.
struct ReExportReader<'a>(&'a Project);

impl CjsAnalysisSourceProvider for ReExportReader<'_> {
    fn load_source<'a>(&'a self, specifier: &Url) -> Option<Cow<'a, str>> {
        Some(Cow::Owned(decode(read(self.0, specifier).ok()?)))
    }
}

/// Checks JSON and records the location of an error, which V8's own error does not contain.
fn check_json(project: &Project, specifier: &Url, json: &str) -> Result<(), JsErrorBox> {
    let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(json) else {
        return Ok(());
    };
    let position = (u32::try_from(error.line()), u32::try_from(error.column()));
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or(&text);
    // V8 parses deeper nesting than serde_json.
    if reason == "recursion limit exceeded" {
        return Ok(());
    }
    let name = project.names.clean(specifier.as_str());
    let message = format!("SyntaxError: \"{name}\" is not valid JSON: {reason}");
    project.failures.note(
        &message,
        SourceLocation { file: specifier.to_string(), line: position.0.ok(), column: position.1.ok() },
    );
    Err(JsErrorBox::new("SyntaxError", message))
}

fn emit_error(project: &Project, error: &anyhow::Error) -> JsErrorBox {
    if let Some(error) = error.downcast_ref::<ParseDiagnostic>() {
        return syntax_error(project, error);
    }
    let of_helper = error.downcast_ref::<EmitParsedSourceHelperError>();
    let found = match (of_helper, error.downcast_ref::<TranspileError>()) {
        (Some(EmitParsedSourceHelperError::ParseDiagnostic(error)), _) => Some(error),
        (Some(EmitParsedSourceHelperError::Transpile(error)), _) | (_, Some(error)) => first_of(error),
        _ => None,
    };
    match found {
        Some(found) => syntax_error(project, found),
        None => JsErrorBox::type_error(project.names.clean(&error.to_string())),
    }
}

/// Returns the first syntax error that the emitter has found, such as a string without an end.
fn first_of(error: &TranspileError) -> Option<&ParseDiagnostic> {
    match error {
        TranspileError::ParseErrors(errors)
        | TranspileError::FoldProgram(FoldProgramError::ParseDiagnostics(errors)) => errors.0.first(),
        _ => None,
    }
}

/// Returns an error without the code frame in Deno's text: the cell makes its own from the
/// location.
fn syntax_error(project: &Project, error: &ParseDiagnostic) -> JsErrorBox {
    let message = format!("SyntaxError: {}", error.message());
    project.failures.note(&message, location_of(error));
    JsErrorBox::new("SyntaxError", message)
}

/// Returns the location of the syntax error in a script that V8 did not compile.
pub(crate) fn location_of_syntax_error(project: &Project, specifier: &Url) -> Option<SourceLocation> {
    let text = decode(read(project, specifier).ok()?);
    let media_type = MediaType::from_specifier(specifier);
    let parsed =
        project.factory.parsed_source_cache().get_matching_parsed_source(specifier, media_type, text.into());
    parsed.err().map(|error| location_of(&error))
}

fn location_of(error: &ParseDiagnostic) -> SourceLocation {
    let mut location = SourceLocation { file: error.specifier().to_string(), line: None, column: None };
    if let DiagnosticLocation::ModulePosition {
        source_pos: DiagnosticSourcePos::SourcePos(position),
        text_info,
        ..
    } = error.location()
    {
        let at = text_info.line_and_column_index(position);
        let before = text_info.line_text(at.line_index).chars().take(at.column_index);
        let column = before.map(char::len_utf16).sum::<usize>() + 1;
        location.line = u32::try_from(at.line_index + 1).ok();
        location.column = u32::try_from(column).ok();
    }
    location
}

fn generic(error: anyhow::Error) -> JsErrorBox {
    JsErrorBox::generic(format!("{error:#}"))
}
