//! The search for static sites: projects of files without code, found by their files, or named by
//! `"switchyard": {"platform": "static"}` and `"static"`. The router and the client that uploads a
//! project share it.

mod detect;
mod hosts;
mod own;
mod page;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::entry::{self, Config, Entry};
use switchyard_contract::event::Diagnostic;
use switchyard_contract::platform::Platform;

/// The page of a folder.
const INDEX: &str = "index.html";

/// A folder of a project that is served as files, and the pages for other paths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Site {
    /// Relative to the project, with `/` between. Empty: the project itself.
    pub root: String,
    pub fallback: Fallback,
    /// The page that answers 404, if there is one.
    pub not_found: Option<String>,
    /// Folders below the root with files that never change under their names.
    pub immutable: Vec<String>,
    /// The source that chose the root, as text for the log: `the build output of vite`.
    pub reason: String,
}

/// The page that answers navigations to paths without a file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    /// Chosen from the files: see `docs/static.md`.
    #[default]
    Auto,
    Off,
    /// This one, relative to the root.
    Page(String),
}

/// The parts of a project that answer requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Served {
    Code(Entry),
    Files(Site),
    /// Files, and code for paths without a file.
    Both(Entry, Site),
}

impl Site {
    /// The site in the folder `root`, without any configuration.
    fn new(root: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            root: root.into(),
            fallback: Fallback::Auto,
            not_found: Some("404.html".to_owned()),
            immutable: IMMUTABLE.map(str::to_owned).to_vec(),
            reason: reason.into(),
        }
    }
}

/// The folders in which frameworks put files that have a hash of their content in their names, and
/// nothing else: Astro's, Next.js's, SvelteKit's.
const IMMUTABLE: [&str; 3] = ["_astro", "_next/static", "_app/immutable"];

impl Served {
    /// Returns the entry, or the page at the site's root, which may not exist.
    pub fn entry(&self) -> Entry {
        match self {
            Self::Code(entry) | Self::Both(entry, _) => entry.clone(),
            Self::Files(site) => {
                let path = below(&site.root, INDEX);
                Entry { path, reason: site.reason.clone(), ..Entry::default() }
            }
        }
    }
}

/// Finds the served part of the project in `dir`, given its Deno configuration and package.json if
/// it has them: the configured one, else its entry, else a folder with an index.html. A script that
/// the pages of the site load is not an entry.
///
/// # Errors
/// Those of [`entry::find`]; a static root that is not there or is malformed; a site that has to be
/// built.
pub fn find(
    dir: &Path,
    config: Option<Config<'_>>,
    package: Option<Config<'_>>,
) -> Result<Served, Diagnostic> {
    let own = config.map(|config| own::read(dir, config, package)).transpose()?.flatten();
    let named = config.is_some_and(|config| own_key(config, "entry").is_some());
    let of_code = config.and_then(platform).is_some_and(|platform| platform != Platform::Static);
    match own {
        Some(site) if named || of_code => Ok(Served::Both(entry::find(dir, config, package)?, site)),
        Some(site) => Ok(Served::Files(site)),
        None if named || of_code => entry::find(dir, config, package).map(served),
        None => detect_site(dir, config, package),
    }
}

/// Finds the served part of a project as [`find`] does. Returns `None` where nothing names an entry
/// and no file looks like a program or a site: a project may have nothing but tasks.
///
/// # Errors
/// Those of [`find`], but for the one that there is nothing.
pub fn find_any(
    dir: &Path,
    config: Option<Config<'_>>,
    package: Option<Config<'_>>,
) -> Result<Option<Served>, Diagnostic> {
    match find(dir, config, package) {
        Err(error) if is_no_entry(&error) && is_without_site(dir, config, package) => Ok(None),
        found => found.map(Some),
    }
}

fn is_without_site(dir: &Path, config: Option<Config<'_>>, package: Option<Config<'_>>) -> bool {
    matches!(detect::find(dir, config, package, false), Err(None))
}

/// Finds the served part of a project without such a configuration.
fn detect_site(
    dir: &Path,
    config: Option<Config<'_>>,
    package: Option<Config<'_>>,
) -> Result<Served, Diagnostic> {
    let entry = entry::find(dir, config, package);
    if let Err(error) = &entry
        && !is_no_entry(error)
    {
        return entry.map(served);
    }
    let site = detect::find(dir, config, package, false);
    let root = site.as_ref().ok().map(|site| site.root.clone());
    let is_of_browsers = |entry: &Entry| is_of_browsers(dir, entry, root.as_deref(), [config, package]);
    match (entry, site) {
        (Ok(entry), Err(None)) => Ok(served(entry)),
        (Ok(entry), _) if !is_page(&entry.path) && !is_of_browsers(&entry) => Ok(Served::Code(entry)),
        (_, Ok(site)) => match entry::start_of_program(dir, package) {
            // Otherwise sources would be public, or pages would be served without their server.
            Some(start) if !detect::is_output(&site.root) => Err(detect::to_name(&site.root, &start)),
            _ => Ok(Served::Files(site)),
        },
        (_, Err(Some(unbuilt))) => Err(unbuilt),
        (Err(error), Err(None)) => Err(error),
    }
}

/// Returns true for the path of a file, relative to a project, by which a site may be found.
pub(crate) fn is_sign(path: &str) -> bool {
    detect::is_page(path)
}

/// Treats a page as the entry as a site.
fn served(entry: Entry) -> Served {
    if !is_page(&entry.path) {
        return Served::Code(entry);
    }
    let root = entry.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    Served::Files(Site::new(root, entry.reason))
}

/// Returns true if nothing names an entry. A named entry that does not exist is another error.
fn is_no_entry(error: &Diagnostic) -> bool {
    error.file.is_none()
}

/// Returns `true` for an entry that is a script for browsers: one that a page of the site or of its
/// source loads, or one in `src` that nothing names, where the site is built or has to be.
fn is_of_browsers(dir: &Path, entry: &Entry, root: Option<&str>, configs: [Option<Config<'_>>; 2]) -> bool {
    let pages = ["", "src", "public", root.unwrap_or_default()].map(|folder| below(folder, INDEX));
    if pages.iter().any(|page| page::loads(dir, page, &entry.path)) {
        return true;
    }
    let names = |config: Config<'_>| config.value.to_string().contains(&entry.path);
    let is_built = root.is_none_or(detect::is_output);
    entry.path.starts_with("src/") && is_built && !configs.into_iter().flatten().any(names)
}

fn is_page(path: &str) -> bool {
    path.ends_with(".html") || path.ends_with(".htm")
}

fn below(root: &str, name: &str) -> String {
    if root.is_empty() { name.to_owned() } else { format!("{root}/{name}") }
}

fn platform(config: Config<'_>) -> Option<Platform> {
    own_key(config, "platform")?.as_str()?.parse().ok()
}

fn own_key<'a>(config: Config<'a>, name: &str) -> Option<&'a serde_json::Value> {
    config.value.get("switchyard")?.get(name)
}

#[cfg(test)]
mod tests;
