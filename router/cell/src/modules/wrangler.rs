//! Modules as wrangler's bundler finds them: aliases, `cloudflare:` modules, and files that are
//! text, data, WebAssembly or JSON.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use deno_config::glob::{GlobPattern, PathGlobMatch};
use deno_core::url::Url;
use deno_core::{ModuleSourceCode, ModuleType};
use deno_media_type::MediaType;
use serde_json::Value;
use switchyard_detect::wrangler::{ModuleKind, Worker};

use super::code::Code;

/// The scheme of Cloudflare's own modules.
pub(super) const SCHEME: &str = "cloudflare:";

/// The specifier of each of Cloudflare's modules in this runtime, by its name behind [`SCHEME`].
/// Only internal modules, such as those of `node:`, may import the cell's own.
const INTERNAL: [(&str, &str); 3] = [
    ("workers", "node:_cloudflare_workers"),
    ("node", "node:_cloudflare_node"),
    ("sockets", "node:_cloudflare_sockets"),
];

/// Names that a JSON module exports besides its default: more than any module imports.
const MAX_NAMES: usize = 1000;

/// Wrangler's default kinds of modules.
const DEFAULT_RULES: [(ModuleKind, &[&str]); 3] = [
    (ModuleKind::Text, &["**/*.txt", "**/*.html", "**/*.sql"]),
    (ModuleKind::Data, &["**/*.bin"]),
    (ModuleKind::CompiledWasm, &["**/*.wasm"]),
];

/// Returns `true` if a specifier is that of a Cloudflare module in this runtime.
pub(super) fn is_internal(raw: &str) -> bool {
    INTERNAL.iter().any(|(_, specifier)| *specifier == raw)
}

/// The rules by which a Worker's modules are found.
#[derive(Debug)]
pub(crate) struct WorkerModules {
    /// Specifiers and their replacements, the longest specifier first.
    alias: Vec<(String, String)>,
    rules: Vec<(ModuleKind, Vec<GlobPattern>)>,
    checkout: PathBuf,
}

impl WorkerModules {
    /// # Errors
    /// An invalid pattern in `rules`.
    pub(super) fn new(worker: &Worker, checkout: &Path) -> anyhow::Result<Self> {
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
        for (kind, globs) in DEFAULT_RULES.into_iter().filter(|(kind, _)| !replaced(*kind)) {
            let globs = globs.iter().map(|glob| pattern("", glob, &worker.file));
            rules.push((kind, globs.collect::<anyhow::Result<_>>()?));
        }
        Ok(Self { alias, rules, checkout: checkout.to_owned() })
    }

    /// Returns the specifier that an alias or a name of Cloudflare's stands for, if it is either.
    ///
    /// # Errors
    /// A module of Cloudflare's that does not exist here.
    pub(super) fn rename(&self, raw: &str) -> Result<Option<String>, UnknownModule> {
        if let Some(name) = raw.strip_prefix(SCHEME) {
            let internal = INTERNAL.iter().find(|(known, _)| *known == name);
            let internal = internal.map(|(_, specifier)| (*specifier).to_owned());
            return internal.map(Some).ok_or_else(|| UnknownModule::new(raw));
        }
        let found = self.alias.iter().find_map(|(from, to)| {
            let rest = raw.strip_prefix(from.as_str())?;
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("{to}{rest}"))
        });
        Ok(found)
    }

    /// Returns the kind of module that a file is by the rules.
    fn kind(&self, path: &Path) -> ModuleKind {
        let path = path.strip_prefix(&self.checkout).unwrap_or(path);
        let path = without_hidden(&path.to_string_lossy());
        let matches = |glob: &GlobPattern| glob.matches_path(Path::new(&path)) == PathGlobMatch::Matched;
        let found = self.rules.iter().find(|(_, globs)| globs.iter().any(matches));
        found.map_or(ModuleKind::Code, |(kind, _)| *kind)
    }

    /// Returns the JavaScript module that stands for a file that is not code, or `None` for code.
    /// `json` parses the file.
    pub(super) fn replacement(&self, specifier: &Url, json: impl FnOnce() -> Option<Value>) -> Option<Code> {
        let path = specifier.to_file_path().ok()?;
        let own = Value::from(specifier.as_str());
        let code = match self.kind(&path) {
            ModuleKind::Text => format!("export {{ default }} from {own} with {{ type: \"text\" }};\n"),
            ModuleKind::Data => {
                format!("import data from {own} with {{ type: \"bytes\" }};\nexport default data.buffer;\n")
            }
            ModuleKind::CompiledWasm => format!(
                "import code from {own} with {{ type: \"bytes\" }};\n\
                 export default new WebAssembly.Module(code);\n"
            ),
            ModuleKind::Code if MediaType::from_specifier(specifier) == MediaType::Json => {
                with_names(&own, json().as_ref())
            }
            ModuleKind::Code => return None,
        };
        Some((ModuleType::JavaScript, ModuleSourceCode::String(code.into())))
    }
}

/// The error for a module of Cloudflare's that does not exist here.
#[derive(Debug)]
pub(super) struct UnknownModule(String);

impl UnknownModule {
    /// The error for the specifier `raw`, with [`SCHEME`].
    pub(super) fn new(raw: &str) -> Self {
        Self(raw.to_owned())
    }
}

impl fmt::Display for UnknownModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.0.as_str() {
            "cloudflare:email" => "is for Email Workers, and mail is not received here",
            "cloudflare:test" | "cloudflare:test-internal" => {
                "is for tests with vitest: it is not part of a Worker that runs"
            }
            "cloudflare:workflows" => "is for Workflows, which Switchyard does not support",
            "cloudflare:workers" | "cloudflare:node" | "cloudflare:sockets" => {
                "is a module of Cloudflare Workers: add a wrangler.toml, or \"switchyard\": \
                 {\"platform\": \"workers\"} in deno.json"
            }
            _ => "is a module of Cloudflare's that Switchyard does not support",
        };
        write!(f, "\"{}\" {reason}", self.0)
    }
}

impl Error for UnknownModule {}

fn absolute(base: &Path, to: &str) -> String {
    let is_path = to.starts_with("./") || to.starts_with("../");
    let url = is_path.then(|| Url::from_file_path(base.join(to)).ok()).flatten();
    url.map_or_else(|| to.to_owned(), Into::into)
}

/// Parses a pattern. `base` is the folder that it is relative to, with a trailing `/`.
fn pattern(base: &str, glob: &str, file: &str) -> anyhow::Result<GlobPattern> {
    // Packages lie outside of the project.
    let base = if glob.starts_with("**/") { "" } else { base };
    let whole = without_hidden(&format!("{base}{}", glob.trim_start_matches("./")));
    GlobPattern::new(&whole)
        .map_err(|error| anyhow::anyhow!("\"rules\" in {file}: invalid pattern {glob:?}: {error}"))
}

/// Replaces the leading dot of each name in a path or pattern: `*` does not match hidden names, and
/// frameworks build into hidden folders.
fn without_hidden(path: &str) -> String {
    format!("/{path}").replace("/.", "/_").split_off(1)
}

/// Returns a module that exports a JSON file and each of its keys, as wrangler's bundler makes it.
fn with_names(own: &Value, json: Option<&Value>) -> String {
    let mut code = format!("import json from {own} with {{ type: \"json\" }};\nexport default json;\n");
    let keys = json.and_then(Value::as_object).into_iter().flat_map(|json| json.keys());
    for (number, key) in keys.filter(|key| *key != "default").take(MAX_NAMES).enumerate() {
        let key = Value::from(key.as_str());
        _ = writeln!(code, "const v{number} = json[{key}];\nexport {{ v{number} as {key} }};");
    }
    code
}
