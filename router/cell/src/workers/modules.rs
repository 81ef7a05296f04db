//! Modules as wrangler's bundler finds them: aliases, `cloudflare:` modules, and files that are
//! text, data, WebAssembly or JSON.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use deno_ast::{ModuleItemRef, swc::ast::ModuleDecl};
use deno_config::glob::{GlobPattern, PathGlobMatch};
use deno_core::url::Url;
use deno_core::{ModuleSourceCode, ModuleType};
use deno_media_type::MediaType;
use serde_json::Value;
use switchyard_detect::wrangler::{ModuleKind, Worker};

use crate::project::Project;
use crate::source::{self, Code};

/// What modules of Cloudflare's are called here. Only internal modules may import the glue.
pub(crate) const MODULES: [(&str, &str); 3] = [
    ("node:_cloudflare_workers", include_str!("cloudflare_workers.js")),
    ("node:_cloudflare_node", include_str!("cloudflare_node.js")),
    ("node:_cloudflare_sockets", include_str!("cloudflare_sockets.js")),
];

/// Returns `true` if a specifier is the name here of a module of Cloudflare's.
pub(crate) fn is_own(raw: &str) -> bool {
    MODULES.iter().any(|(name, _)| *name == raw)
}

const SCHEME: &str = "cloudflare:";

/// Names that a JSON module exports besides its default: as many as anybody imports.
const MAX_NAMES: usize = 1000;

/// The usual kinds of modules, as wrangler has them.
const USUAL: [(ModuleKind, &[&str]); 3] = [
    (ModuleKind::Text, &["**/*.txt", "**/*.html", "**/*.sql"]),
    (ModuleKind::Data, &["**/*.bin"]),
    (ModuleKind::CompiledWasm, &["**/*.wasm"]),
];

/// How the modules of a Worker are found.
#[derive(Debug)]
pub(crate) struct Modules {
    /// Specifiers and what they stand for, the longest first.
    alias: Vec<(String, String)>,
    rules: Vec<(ModuleKind, Vec<GlobPattern>)>,
    checkout: PathBuf,
}

impl Modules {
    /// # Errors
    /// A pattern of `rules` that is none, or an alias that leads out of the project.
    pub(crate) fn new(worker: &Worker, checkout: &Path) -> anyhow::Result<Self> {
        let base = checkout.join(&worker.base);
        let mut alias: Vec<_> =
            worker.alias.iter().map(|(from, to)| (from.clone(), absolute(&base, to))).collect();
        alias.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        let mut rules = Vec::new();
        for rule in &worker.rules {
            let globs = rule.globs.iter().map(|glob| pattern(&worker.base, glob, &worker.file));
            rules.push((rule.kind, globs.collect::<anyhow::Result<_>>()?));
        }
        let replaced = |kind| worker.rules.iter().any(|rule| rule.kind == kind && !rule.fallthrough);
        for (kind, globs) in USUAL.into_iter().filter(|(kind, _)| !replaced(*kind)) {
            let globs = globs.iter().map(|glob| pattern("", glob, &worker.file));
            rules.push((kind, globs.collect::<anyhow::Result<_>>()?));
        }
        Ok(Self { alias, rules, checkout: checkout.to_owned() })
    }

    /// What a specifier stands for, if that is something else.
    ///
    /// # Errors
    /// A module of Cloudflare's that does not exist here.
    pub(crate) fn rename(&self, raw: &str) -> Result<Option<String>, String> {
        if let Some(name) = raw.strip_prefix(SCHEME) {
            return match name {
                "workers" | "node" | "sockets" => Ok(Some(format!("node:_cloudflare_{name}"))),
                _ => Err(missing(raw)),
            };
        }
        let found = self.alias.iter().find_map(|(from, to)| {
            let rest = raw.strip_prefix(from.as_str())?;
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("{to}{rest}"))
        });
        Ok(found)
    }

    /// The kind of module that a file is by the rules.
    fn kind(&self, path: &Path) -> ModuleKind {
        let path = path.strip_prefix(&self.checkout).unwrap_or(path);
        let path = visible(&path.to_string_lossy());
        let matches = |glob: &GlobPattern| glob.matches_path(Path::new(&path)) == PathGlobMatch::Matched;
        let found = self.rules.iter().find(|(_, globs)| globs.iter().any(matches));
        found.map_or(ModuleKind::Code, |(kind, _)| *kind)
    }

    /// The module that stands for a file that is no code; `None` for any other. `json` reads the
    /// file.
    pub(crate) fn stand_in(&self, specifier: &Url, json: impl FnOnce() -> Option<Value>) -> Option<Code> {
        let path = specifier.to_file_path().ok()?;
        let own = Value::from(specifier.as_str());
        let code = match self.kind(&path) {
            ModuleKind::Text => format!("export {{ default }} from {own} with {{ type: \"text\" }};\n"),
            ModuleKind::Data => {
                format!("import data from {own} with {{ type: \"bytes\" }};\nexport default data.buffer;\n")
            }
            ModuleKind::CompiledWasm => format!(
                "import code from {own} with {{ type: \"bytes\" }};\nexport default new WebAssembly.Module(code);\n"
            ),
            ModuleKind::Code if MediaType::from_specifier(specifier) == MediaType::Json => {
                with_names(&own, json().as_ref())
            }
            ModuleKind::Code => return None,
        };
        Some((ModuleType::JavaScript, ModuleSourceCode::String(code.into())))
    }
}

/// The error that a module of Cloudflare's is where it does not exist.
pub(crate) fn missing(raw: &str) -> String {
    let what = match raw {
        "cloudflare:email" => "is for Email Workers, and mail is not received here",
        "cloudflare:test" | "cloudflare:test-internal" => {
            "is for tests with vitest: it is not part of a Worker that runs"
        }
        "cloudflare:workflows" => "is for Workflows, which Switchyard does not have",
        "cloudflare:workers" | "cloudflare:node" | "cloudflare:sockets" => {
            "is a module of Cloudflare Workers: add a wrangler.toml, or \"switchyard\": {\"platform\": \"workers\"} \
             in deno.json"
        }
        _ => "is a module of Cloudflare's that Switchyard does not have",
    };
    format!("\"{raw}\" {what}")
}

/// Returns `true` if the entry uses the service-worker syntax: it exports nothing.
pub(super) fn is_service_worker(project: &Project) -> bool {
    let specifier = &project.entry.main_module;
    let Ok(bytes) = source::read(project, specifier) else { return false };
    let text = source::decode(bytes);
    if !text.contains("export") {
        return true;
    }
    let media_type = MediaType::from_specifier(specifier);
    let parsed =
        project.factory.parsed_source_cache().get_matching_parsed_source(specifier, media_type, text.into());
    // What does not parse fails later, with its place.
    parsed.is_ok_and(|parsed| !parsed.program_ref().body().any(|item| exports(&item)))
}

fn exports(item: &ModuleItemRef<'_>) -> bool {
    matches!(item, ModuleItemRef::ModuleDecl(decl) if !matches!(decl, ModuleDecl::Import(_) | ModuleDecl::TsImportEquals(_)))
}

fn absolute(base: &Path, to: &str) -> String {
    let is_path = to.starts_with("./") || to.starts_with("../");
    let url = is_path.then(|| Url::from_file_path(base.join(to)).ok()).flatten();
    url.map_or_else(|| to.to_owned(), Into::into)
}

/// `base` is the folder that the pattern is relative to, with `/` behind.
fn pattern(base: &str, glob: &str, file: &str) -> anyhow::Result<GlobPattern> {
    // Packages lie outside of the project.
    let base = if glob.starts_with("**/") { "" } else { base };
    let whole = visible(&format!("{base}{}", glob.trim_start_matches("./")));
    GlobPattern::new(&whole)
        .map_err(|error| anyhow::anyhow!("\"rules\" in {file}: invalid pattern {glob:?}: {error}"))
}

/// A path or a pattern with no hidden name in it: `*` does not stand for those, and frameworks
/// build into hidden folders.
fn visible(path: &str) -> String {
    format!("/{path}").replace("/.", "/_").split_off(1)
}

/// A JSON module with its keys as exports, as the bundler makes it.
fn with_names(own: &Value, json: Option<&Value>) -> String {
    let mut code = format!("import json from {own} with {{ type: \"json\" }};\nexport default json;\n");
    let keys = json.and_then(Value::as_object).into_iter().flat_map(|json| json.keys());
    for (number, key) in keys.filter(|key| *key != "default").take(MAX_NAMES).enumerate() {
        let key = Value::from(key.as_str());
        _ = writeln!(code, "const v{number} = json[{key}];\nexport {{ v{number} as {key} }};");
    }
    code
}
