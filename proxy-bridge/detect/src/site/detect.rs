//! The detection of a static site by its files: a folder with an index.html that browsers can show.

use std::path::Path;

use serde_json::{Map, Value};

use super::page::SOURCES;
use super::{Fallback, INDEX, Site, below, hosts, page};
use crate::entry::Config;
use switchyard_contract::event::Diagnostic;

/// The folders that site generators and bundlers write to, the more specific ones first.
const OUTPUTS: [&str; 12] = [
    ".output/public",
    "dist/browser",
    "dist",
    "build/client",
    "build",
    "out",
    "_site",
    "docs/.vitepress/dist",
    ".vitepress/dist",
    "storybook-static",
    "book",
    "browser",
];

/// Folders that are served if they have these names; generators or authors write them.
const NAMED: [&str; 2] = ["public", "docs"];

/// Angular builds into `dist/NAME/browser`, before release 17 into `dist/NAME`.
const ANGULAR: &str = "dist";

/// The most names in `dist` that are read: a workspace has one for each project.
const MAX_NAMES: usize = 64;

/// Commands of package.json's `start` that serve a folder and do nothing else.
const SERVERS: [&str; 3] = ["serve", "http-server", "sirv"];

/// Words before the name of a command that run it from a package.
const RUNNERS: [&str; 6] = ["npx", "--yes", "-y", "pnpm", "yarn", "exec"];

/// Keys of deno.json that indicate code.
const OF_CODE: [&str; 10] = [
    "compilerOptions",
    "exports",
    "importMap",
    "imports",
    "nodeModulesDir",
    "permissions",
    "scopes",
    "tasks",
    "unstable",
    "workspace",
];

/// Extensions of programs for other servers, which may contain passwords.
const OF_OTHERS: [&str; 1] = [".php"];

/// The most names in the project's folder that are read in the search for code.
const MAX_LOOKED_AT: usize = 4096;

/// Finds the site in `dir`. `named`: the configuration declares that the project is one.
///
/// # Errors
/// No site is found. With a diagnostic if the site has to be built first, or if the folder may
/// belong to a program whose entry is missing and whose sources must not become public.
pub(super) fn find(
    dir: &Path,
    config: Option<Config<'_>>,
    package: Option<Config<'_>>,
    named: bool,
) -> Result<Site, Option<Diagnostic>> {
    let functions = || if named { None } else { hosts::functions(dir) };
    let site = package.and_then(|package| started(dir, package)).or_else(|| hosts::published(dir));
    if let Some(site) = site {
        return functions().map_or(Ok(site), |functions| Err(Some(functions)));
    }
    let own = String::new();
    let outputs = OUTPUTS.map(str::to_owned).into_iter().chain(angular(dir));
    // With a package.json, the page at the root may be the source of the output.
    let roots: Vec<_> = match package {
        Some(_) => outputs.chain([own]).collect(),
        None => [own].into_iter().chain(outputs).collect(),
    };
    let mut unbuilt = None;
    for root in roots.into_iter().chain(NAMED.map(str::to_owned)) {
        let index = below(&root, INDEX);
        if !dir.join(&index).is_file() {
            continue;
        }
        match page::unbuilt(dir, &index) {
            None => {
                let code = if named || !root.is_empty() { None } else { code(dir, config, package) };
                let wrong = code.map(|code| to_name(&root, &code)).or_else(functions);
                return wrong.map_or_else(|| Ok(Site::new(root, "its page")), |wrong| Err(Some(wrong)));
            }
            Some(why) => unbuilt = unbuilt.or(Some((index, why))),
        }
    }
    Err(unbuilt.map(|(index, why)| to_build(index, &why)))
}

/// Returns true for the path of a page that a site is found by.
pub(super) fn is_page(path: &str) -> bool {
    let is_root = |root: &str| OUTPUTS.iter().chain(&NAMED).any(|folder| *folder == root);
    path == INDEX || path.rsplit_once('/').is_some_and(|(root, name)| name == INDEX && is_root(root))
}

/// Returns the sign that the folder holds a program rather than a site.
fn code(dir: &Path, config: Option<Config<'_>>, package: Option<Config<'_>>) -> Option<String> {
    let has = |config: Config<'_>, keys: &[&'static str]| {
        let key = keys.iter().find(|key| config.value.get(**key).is_some_and(|value| !is_empty(value)));
        key.map(|key| format!("\"{key}\" in {}", config.file))
    };
    let source = || {
        let names = std::fs::read_dir(dir).into_iter().flatten().flatten().take(MAX_LOOKED_AT);
        let mut names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let is_source = |name: &str| SOURCES.iter().chain(&OF_OTHERS).any(|end| name.ends_with(end));
        names.find(|name| is_source(name) && !name.contains(".config."))
    };
    let config = config.and_then(|config| has(config, &OF_CODE));
    config.or_else(|| has(package?, &["dependencies"])).or_else(source)
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty)
}

/// Returns the error for a folder that may be a site or a program, with the sign of the latter.
pub(super) fn to_name(root: &str, code: &str) -> Diagnostic {
    let index = below(root, INDEX);
    let message = format!(
        "no entry: {index} and {code} are there, so this may be a program or a static site; name the file that is \
         run in deno.json as \"switchyard\": {{\"entry\": …}}, or write \"switchyard\": {{\"platform\": \"static\"}} to have \
         all files served"
    );
    Diagnostic { message, ..Diagnostic::default() }
}

/// Returns `true` for a folder of files that something else was built into.
pub(super) fn is_output(root: &str) -> bool {
    !root.is_empty() && !NAMED.contains(&root)
}

fn to_build(index: String, why: &str) -> Diagnostic {
    let message = format!(
        "{index} {why}: build the site (npm run build) and have its output folder (dist, build, out) on the \
         volume too, or name the folder in deno.json as \"switchyard\": {{\"static\": {{\"root\": …}}}}"
    );
    Diagnostic { file: Some(index), message, ..Diagnostic::default() }
}

fn angular(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir.join(ANGULAR)).into_iter().flatten().flatten().take(MAX_NAMES);
    let mut names: Vec<_> = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    let roots = |name: String| [format!("{ANGULAR}/{name}/browser"), format!("{ANGULAR}/{name}")];
    names.into_iter().flat_map(roots).collect()
}

/// The folder that package.json's `start` serves.
fn started(dir: &Path, package: Config<'_>) -> Option<Site> {
    let command = package.value.get("scripts")?.get("start")?.as_str()?;
    let mut words = command.split_ascii_whitespace().skip_while(|word| RUNNERS.contains(word));
    words.next().filter(|name| SERVERS.contains(name))?;
    let words: Vec<_> = words.collect();
    let is_folder = |word: &&&str| !word.starts_with('-') && !word.bytes().all(|c| c.is_ascii_digit());
    let named = words.iter().find(is_folder).copied().unwrap_or(".");
    let names: Vec<_> = named.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    let root = names.join("/");
    let is_plain = !names.contains(&"..") && !named.starts_with('/') && !named.contains(['&', '$', '|', '"']);
    if !is_plain || !dir.join(below(&root, INDEX)).is_file() {
        return None;
    }
    let single = words.iter().any(|word| matches!(*word, "-s" | "--single"));
    let fallback = if single { Fallback::Page(INDEX.to_owned()) } else { Fallback::Auto };
    let reason = format!("scripts.start in {}", package.file);
    Some(Site { fallback, ..Site::new(root, reason) })
}
