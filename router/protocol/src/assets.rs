//! The lookup of static files: which file of a version answers a path. Pure, so that router and
//! cell find the same file.

mod ignored;

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use switchyard_detect::site::{Fallback, Site};

/// The name of a folder's page.
pub const INDEX: &str = "index.html";

/// Bytes of a path that cannot stand in the path of a URL as they are (RFC 3986, 3.3), and `%`.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Files and folders directly in the root that configure the build or the host. They are not
/// served. Sorted, for a binary search.
const CONFIGURATION: [&str; 29] = [
    "Dockerfile",
    "Makefile",
    "_headers",
    "_redirects",
    "_routes.json",
    "_worker.js",
    "bun.lock",
    "bun.lockb",
    "compose.yaml",
    "compose.yml",
    "deno.json",
    "deno.jsonc",
    "deno.lock",
    "docker-compose.yaml",
    "docker-compose.yml",
    "firebase.json",
    "jsconfig.json",
    "netlify.toml",
    "npm-shrinkwrap.json",
    "package-lock.json",
    "package.json",
    "pnpm-lock.yaml",
    "pnpm-workspace.yaml",
    "tsconfig.json",
    "vercel.json",
    "wrangler.json",
    "wrangler.jsonc",
    "wrangler.toml",
    "yarn.lock",
];

/// The only hidden folder that is public (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

/// The static files of a version, and how paths lead to them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Assets {
    /// The folder that paths are looked up in, relative to the project, with `/` as separator.
    /// Empty: the project itself.
    pub root: String,
    /// The spelling of pages' paths.
    pub html: HtmlHandling,
    /// The page that answers 200 to navigations that nothing else answers, as in a single-page
    /// application.
    pub fallback: Fallback,
    /// The name of the page that answers 404, looked for in the folder of the path and in those
    /// above it.
    pub not_found: Option<String>,
    /// Folders, relative to `root`, with files that never change under their names.
    pub immutable: Vec<String>,
    /// The paths that the version's code answers even if a file exists. Empty for a site without
    /// code.
    pub code_first: Patterns,
    /// `true`: `fallback` or `not_found` answers navigations (`Sec-Fetch-Mode: navigate`) to paths
    /// without a file, and not the code. A site without code always does so.
    pub navigations: bool,
    /// Files that are not served, as lines of a .gitignore in the root.
    pub ignored: Vec<String>,
}

/// The spelling of a page's path. All variants but the first are those of Cloudflare's
/// `html_handling`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HtmlHandling {
    /// `about.html` has its own path and `/about`; a folder's page ends with a slash.
    #[default]
    Lenient,
    /// `about.html` is `/about`, `about/index.html` is `/about/`; other spellings are redirected.
    AutoTrailingSlash,
    /// Both kinds of pages are `/about/`.
    ForceTrailingSlash,
    /// Both kinds of pages are `/about`.
    DropTrailingSlash,
    /// Pages have the paths of their files alone.
    None,
}

/// Patterns of paths, with `*` for any characters, slashes included.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Patterns {
    /// Patterns of paths that are covered.
    pub include: Vec<String>,
    /// Patterns of paths that are not covered. They win.
    pub exclude: Vec<String>,
}

impl Patterns {
    /// Returns the patterns that cover all paths.
    pub fn all() -> Self {
        Self { include: vec!["/*".to_owned()], exclude: Vec::new() }
    }

    /// Returns `true` if an included pattern matches the path and no excluded one does.
    pub fn cover(&self, path: &str) -> bool {
        let one = |patterns: &[String]| patterns.iter().any(|pattern| is_covered(pattern, path));
        one(&self.include) && !one(&self.exclude)
    }
}

/// Compares the pieces between the stars, each at its first occurrence, so that the time is bounded
/// by the product of both lengths.
fn is_covered(pattern: &str, path: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = path.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

/// The answer to a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssetMatch {
    /// A file, relative to the project.
    File(String),
    /// Another path of the same site.
    Redirect {
        /// The path, percent-encoded, from the root, beginning with one slash.
        to: String,
        /// `true`: clients may remember the redirect.
        permanent: bool,
    },
    /// No file.
    Nothing,
}

impl From<Site> for Assets {
    fn from(site: Site) -> Self {
        let Site { root, fallback, not_found, immutable, .. } = site;
        Self { root, fallback, not_found, immutable, ..Self::default() }
    }
}

impl Assets {
    /// Finds the file for `path`: the path of a URL, without query, percent-encoded. `has` returns
    /// `true` if the project has a file, given relative to it.
    pub fn find(&self, path: &str, has: impl Fn(&str) -> bool) -> AssetMatch {
        let Some(path) = RequestPath::parse(path) else { return AssetMatch::Nothing };
        let has = |path: &str| self.is_public(path) && has(&self.file(path));
        match self.html {
            HtmlHandling::None if path.is_folder => AssetMatch::Nothing,
            HtmlHandling::None => self.exact(&path.name, has),
            HtmlHandling::Lenient => self.lenient(&path, has),
            handling => self.strict(&path, handling, has),
        }
    }

    /// Returns the page that answers 200 to a navigation to `path`, which has no file. `None` if
    /// the path looks like that of a file.
    pub fn fallback(&self, path: &str) -> Option<String> {
        let Fallback::Page(page) = &self.fallback else { return None };
        (!is_path_of_file(path)).then(|| self.file(page))
    }

    /// Returns the page that answers 404 to `path`, relative to the project.
    pub fn not_found(&self, path: &str, has: impl Fn(&str) -> bool) -> Option<String> {
        let page = self.not_found.as_deref()?;
        let wanted = RequestPath::parse(path);
        let mut folder = wanted.as_ref().map_or("", RequestPath::folder);
        loop {
            let file = self.file(&join(folder, page));
            if has(&file) {
                return Some(file);
            }
            if folder.is_empty() {
                return None;
            }
            folder = above(folder);
        }
    }

    /// Returns `true` if the content of a file, given relative to the project, never changes.
    pub fn is_immutable(&self, file: &str) -> bool {
        let below = |folder: &String| {
            let rest = file.strip_prefix(&self.file(folder));
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        self.immutable.iter().any(below)
    }

    /// Makes a path relative to the root relative to the project.
    pub fn file(&self, path: &str) -> String {
        join(&self.root, path)
    }

    /// Returns `true` if a file may be served: it is neither hidden nor configuration.
    fn is_public(&self, path: &str) -> bool {
        let hidden = |(at, name): (usize, &str)| name.starts_with('.') && (at > 0 || name != WELL_KNOWN);
        // Including the files below it if it is a folder: some frameworks write a server into the
        // root.
        let top = path.split('/').next().unwrap_or(path);
        !path.split('/').enumerate().any(hidden)
            && CONFIGURATION.binary_search(&top).is_err()
            && !ignored::covers(&self.ignored, path)
    }

    fn exact(&self, name: &str, has: impl Fn(&str) -> bool) -> AssetMatch {
        if has(name) { AssetMatch::File(self.file(name)) } else { AssetMatch::Nothing }
    }

    fn lenient(&self, path: &RequestPath, has: impl Fn(&str) -> bool) -> AssetMatch {
        let (index, page) = (join(&path.name, INDEX), format!("{}.html", path.name));
        let redirect = |to: &str, slash: bool| redirect(to, slash, true);
        if path.is_folder {
            return match () {
                () if has(&index) => AssetMatch::File(self.file(&index)),
                () if has(&path.name) => redirect(&path.name, false),
                () if has(&page) => redirect(&path.name, false),
                () => AssetMatch::Nothing,
            };
        }
        let file = [path.name.as_str(), &page].into_iter().find(|file| has(file));
        match file {
            Some(file) => AssetMatch::File(self.file(file)),
            None if has(&index) => redirect(&path.name, true),
            None => AssetMatch::Nothing,
        }
    }

    /// Finds a file where each page has one path, and its other spellings redirect there.
    fn strict(&self, path: &RequestPath, handling: HtmlHandling, has: impl Fn(&str) -> bool) -> AssetMatch {
        let name = path.name.as_str();
        let is_page = name.ends_with(".html");
        if !path.is_folder && !is_page && has(name) {
            return AssetMatch::File(self.file(name));
        }
        let stem = stem(name);
        let (index, page) = (join(stem, INDEX), format!("{stem}.html"));
        // A path may name two pages: the one that is spelled like it comes first.
        let pages: [&str; 2] = match name {
            name if is_page => [name, ""],
            _ if path.is_folder => [&index, &page],
            _ => [&page, &index],
        };
        let Some(file) = pages.into_iter().find(|file| has(file)) else { return AssetMatch::Nothing };
        let slash = match handling {
            HtmlHandling::ForceTrailingSlash => true,
            HtmlHandling::DropTrailingSlash => false,
            _ => file == index,
        };
        let slash = slash || stem.is_empty();
        let is_right = stem == name && path.is_folder == slash;
        if is_right { AssetMatch::File(self.file(file)) } else { redirect(stem, slash, false) }
    }
}

/// The path of a request, decoded, without leading, trailing and repeated slashes.
struct RequestPath {
    name: String,
    is_folder: bool,
}

impl RequestPath {
    /// Returns `None` if no file can have such a path.
    fn parse(path: &str) -> Option<Self> {
        let decoded = percent_decode_str(path).decode_utf8().ok()?;
        let is_folder = decoded.ends_with('/') || decoded.is_empty();
        let names: Vec<_> = decoded.split('/').filter(|name| !name.is_empty()).collect();
        let is_plain = |name: &&str| *name != "." && *name != ".." && !name.contains('\0');
        names.iter().all(is_plain).then(|| Self { name: names.join("/"), is_folder })
    }

    fn folder(&self) -> &str {
        if self.is_folder { &self.name } else { above(&self.name) }
    }
}

fn above(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(above, _)| above)
}

/// Returns the path of the page in a file: without `.html`, `index.html` and `index`.
fn stem(name: &str) -> &str {
    let stem = name.strip_suffix(".html").unwrap_or(name);
    match stem.strip_suffix("index") {
        Some("") => "",
        Some(folder) => folder.strip_suffix('/').unwrap_or(stem),
        None => stem,
    }
}

fn join(folder: &str, name: &str) -> String {
    match (folder, name) {
        ("", name) => name.to_owned(),
        (folder, name) => format!("{folder}/{name}"),
    }
}

fn redirect(name: &str, slash: bool, permanent: bool) -> AssetMatch {
    let encoded = utf8_percent_encode(name, ENCODED);
    let end = if slash && !name.is_empty() { "/" } else { "" };
    AssetMatch::Redirect { to: format!("/{encoded}{end}"), permanent }
}

/// Returns `true` if the last name of `path` has the extension of a file that is not a page.
fn is_path_of_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    mime_guess::from_path(name).first_raw().is_some_and(|kind| kind != "text/html")
}

/// Returns the media type of a file by its name.
pub fn content_type(file: &str) -> Cow<'static, str> {
    let name = file.rsplit('/').next().unwrap_or(file);
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    let kind = match (name, extension.as_deref()) {
        ("apple-app-site-association", _) | (_, Some("map")) => "application/json",
        // RFC 9239; the table has older names.
        (_, Some("js" | "mjs" | "cjs")) => "text/javascript",
        // A segment of HLS, as nginx has it.
        (_, Some("ts")) => "video/mp2t",
        _ => mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream"),
    };
    if is_text(kind) { format!("{kind}; charset=utf-8").into() } else { kind.into() }
}

fn is_text(kind: &str) -> bool {
    let texts = ["application/javascript", "application/json", "application/xml"];
    kind.starts_with("text/") || texts.contains(&kind) || kind.ends_with("+xml") || kind.ends_with("+json")
}

#[cfg(test)]
mod tests;
