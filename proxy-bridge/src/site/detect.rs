//! A static site found by its files: the folder with an index.html that browsers can show.

use std::path::Path;

use super::{Fallback, INDEX, Site, below, page};
use crate::entry::Config;
use crate::event::Diagnostic;

/// The folders that site generators and bundlers write to, the more specific ones first.
const OUTPUTS: [&str; 12] = [
    ".output/public",
    "dist/client",
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
];

/// Folders that are served by their names, and hold what generators or authors have written.
const NAMED: [&str; 2] = ["public", "docs"];

/// Angular builds into `dist/NAME/browser`, before release 17 into `dist/NAME`.
const ANGULAR: &str = "dist";

/// The most names in `dist` that are looked at: a workspace has a project for each.
const MAX_NAMES: usize = 64;

/// Commands of package.json's `start` that serve a folder and do nothing else.
const SERVERS: [&str; 3] = ["serve", "http-server", "sirv"];

/// Words before the name of a command that run it from a package.
const RUNNERS: [&str; 6] = ["npx", "--yes", "-y", "pnpm", "yarn", "exec"];

/// Finds the site in `dir`.
///
/// # Errors
/// There is none; with a diagnostic when there is one that has to be built first.
pub(super) fn find(dir: &Path, package: Option<Config<'_>>) -> Result<Site, Option<Diagnostic>> {
    if let Some(site) = package.and_then(|package| started(dir, package)) {
        return Ok(site);
    }
    let own = String::new();
    let outputs = OUTPUTS.map(str::to_owned).into_iter().chain(angular(dir));
    // With a package.json the page at the root may be what the output is built from.
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
            None => return Ok(Site::new(root, format!("{index} is there"))),
            Some(why) => unbuilt = unbuilt.or(Some((index, why))),
        }
    }
    Err(unbuilt.map(|(index, why)| to_build(index, &why)))
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
