//! The configuration of a Cloudflare Worker: wrangler.json, wrangler.jsonc or wrangler.toml, read
//! and checked.

mod assets;
mod bindings;
mod document;
mod fields;
mod pages;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::assets::{Assets, HtmlHandling, NotFoundHandling, WorkerFirst};
use self::document::Document;
use crate::config::{MAX_CONFIG, in_file};
use switchyard_contract::event::Diagnostic;

/// The names of the file, in wrangler's order of precedence.
pub const FILES: [&str; 3] = ["wrangler.json", "wrangler.jsonc", "wrangler.toml"];

/// The file in which a framework's build names the configuration that it has generated.
const REDIRECT: &str = ".wrangler/deploy/config.json";

/// The file that lists the non-assets in a folder of assets.
const IGNORED: &str = ".assetsignore";

/// Lines of that file. Each request for a file is compared with them.
const MAX_IGNORED: usize = 100;

/// A Worker as its configuration describes it. All paths are relative to the project, with `/`
/// between.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Worker {
    /// The configuration file that errors name: `wrangler.toml`. Empty if none exists.
    pub file: String,
    /// The folder of the configuration, with `/` behind; empty: the project.
    pub base: String,
    /// The module that is run. `None`: assets only, or the configuration does not name one.
    pub main: Option<String>,
    /// The command that builds `main`.
    pub build: Option<String>,
    /// Node's modules are found without `node:`, and `process.env` has the variables.
    pub node_compat: bool,
    /// Variables of `env`, by name.
    pub vars: BTreeMap<String, Value>,
    /// Secrets that the Worker wants to have.
    pub secrets: Vec<String>,
    /// JavaScript expressions that stand for names in the code.
    pub define: BTreeMap<String, String>,
    /// Replacements of module specifiers.
    pub alias: BTreeMap<String, String>,
    /// Rules for the kinds of modules; the first match applies, before the default rules.
    pub rules: Vec<Rule>,
    pub assets: Option<Assets>,
    /// Cron expressions for `scheduled`.
    pub crons: Vec<String>,
    /// The name of the binding with the version's metadata in `env`.
    pub version_metadata: Option<String>,
    pub rate_limits: Vec<RateLimit>,
}

/// Files that are modules of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub kind: ModuleKind,
    /// Patterns such as `**/*.md`.
    pub globs: Vec<String>,
    /// The default rules for this kind still apply.
    pub fallthrough: bool,
}

/// The default export of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModuleKind {
    /// A string.
    Text,
    /// An `ArrayBuffer`.
    Data,
    /// A `WebAssembly.Module`.
    CompiledWasm,
    /// An ECMAScript or CommonJS module.
    Code,
}

/// A limit that `env.NAME.limit({ key })` counts towards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    pub name: String,
    /// Calls for one key in a period.
    pub limit: u64,
    /// Seconds.
    pub period: u64,
}

/// Reads the configuration of the Worker in `dir`, if the project is one. `environment` names the
/// section of `env` that takes precedence over the top level. Nothing else may write to the folder
/// during the call.
///
/// # Errors
/// A file that does not parse, a field of a wrong type, or a binding that does not exist here; with
/// file, line and what to do instead.
pub fn read(dir: &Path, environment: Option<&str>) -> Result<Option<Worker>, Diagnostic> {
    let Some(file) = find(dir)? else { return Ok(None) };
    let text = read_text(dir, &file)?;
    let document = Document::parse(&file, &text)?;
    // The build has selected the environment already.
    let environment = environment.filter(|_| FILES.contains(&file.as_str()));
    let mut worker = fields::worker(&document, dir, environment)?;
    if let Some(assets) = &mut worker.assets {
        assets.ignored = ignored(dir, &assets.directory)?;
    }
    Ok(Some(worker))
}

/// Returns the lines of the file that lists non-assets.
fn ignored(dir: &Path, directory: &str) -> Result<Vec<String>, Diagnostic> {
    let file = if directory.is_empty() { IGNORED.to_owned() } else { format!("{directory}/{IGNORED}") };
    if !dir.join(&file).is_file() {
        return Ok(Vec::new());
    }
    let text = read_text(dir, &file)?;
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    match lines.len() {
        0..=MAX_IGNORED => Ok(lines),
        _ => Err(in_file(&file, format!("{file} is too long: at most {MAX_IGNORED} lines are possible"))),
    }
}

/// The configuration's path in the project.
fn find(dir: &Path) -> Result<Option<String>, Diagnostic> {
    let own = FILES.into_iter().find(|file| dir.join(file).is_file()).map(str::to_owned);
    if !dir.join(REDIRECT).is_file() {
        return Ok(own);
    }
    let text = read_text(dir, REDIRECT)?;
    let document = Document::parse(REDIRECT, &text)?;
    let Some(path) = document.text("configPath")? else { return Ok(own) };
    let folder = REDIRECT.rsplit_once('/').map_or("", |(folder, _)| folder);
    let path = document::join(folder, &path).filter(|path| document::is_named_as_configuration(path));
    let Some(path) = path else {
        let fix = "must lead to a wrangler.json in the project";
        return Err(document.wrong("configPath", fix));
    };
    // The output is gone and the source exists.
    Ok(if dir.join(&path).is_file() { Some(path) } else { own })
}

fn read_text(dir: &Path, file: &str) -> Result<String, Diagnostic> {
    let wrong = |message| in_file(file, message);
    let mut text = String::new();
    File::open(dir.join(file))
        .and_then(|opened| opened.take(MAX_CONFIG + 1).read_to_string(&mut text))
        .map_err(|error| wrong(format!("{file} cannot be read: {error}")))?;
    if text.len() as u64 > MAX_CONFIG {
        return Err(wrong(format!("{file} is too large: at most {MAX_CONFIG} bytes are possible")));
    }
    // A byte order mark, which editors on Windows write.
    Ok(text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), str::to_owned))
}

impl Worker {
    /// The module that is run, if the configuration names one.
    ///
    /// # Errors
    /// The module does not exist, or is not JavaScript.
    pub fn entry(&self, dir: &Path) -> Result<Option<&str>, Diagnostic> {
        let Some(main) = &self.main else { return Ok(None) };
        let wrong = |message: String| Err(in_file(&self.file, message));
        if main.ends_with(".py") {
            return wrong(format!(
                "main {main:?} in {} is Python: only JavaScript and TypeScript run here",
                self.file
            ));
        }
        if dir.join(main).is_file() {
            return Ok(Some(main));
        }
        let fix = match &self.build {
            Some(command) => format!("run the build first (`{command}`): Switchyard does not build it"),
            None => "fix \"main\", or run the build that makes it: Switchyard does not build it".to_owned(),
        };
        wrong(format!("main {main:?} in {} does not exist: {fix}", self.file))
    }
}

#[cfg(test)]
mod tests;
