//! The files of a version that are served without its code: which of them answers a path. Pure, so
//! that router and cell find the same.

mod ignored;

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use switchyard_detect::site::{Fallback, Site};

/// The page of a folder.
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

/// Files directly in the root that tell tools how to build or host the site: no page refers to them.
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

/// The one hidden folder that is public (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

/// The files of a version that are served as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Assets {
    /// The folder that paths are looked up in, relative to the project, with `/` between. Empty: the
    /// project itself.
    pub root: String,
    pub html: HtmlHandling,
    /// The page that answers 200 to navigations that nothing else answers: of a single-page
    /// application.
    pub fallback: Fallback,
    /// The name of the page that answers 404, looked for in the folder of the path and in those
    /// above it.
    pub not_found: Option<String>,
    /// Folders, relative to `root`, whose files never change under their names.
    pub immutable: Vec<String>,
    /// The paths that the version's code answers although there is a file. Empty for files without
    /// code.
    pub code_first: Patterns,
    /// Has navigations (`Sec-Fetch-Mode: navigate`) to paths without a file answered by `fallback` or
    /// `not_found` and not by the code. Without code that is always so.
    pub navigations: bool,
    /// Files that are not served, as the lines of a .gitignore in the root have them.
    pub ignored: Vec<String>,
}

/// The spellings of a page's path. The variants but the first one are those of Cloudflare's
/// `html_handling`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HtmlHandling {
    /// `about.html` has its own path and `/about`; a folder's page ends with a slash.
    #[default]
    Lenient,
    /// `about.html` is `/about`, `about/index.html` is `/about/`; other spellings are redirected.
    AutoTrailingSlash,
    /// Both are `/about/`.
    ForceTrailingSlash,
    /// Both are `/about`.
    DropTrailingSlash,
    /// Pages have the paths of their files alone.
    None,
}

/// Paths, with `*` for any characters (also slashes).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Patterns {
    pub include: Vec<String>,
    /// These win.
    pub exclude: Vec<String>,
}

impl Patterns {
    /// All paths.
    pub fn all() -> Self {
        Self { include: vec!["/*".to_owned()], exclude: Vec::new() }
    }

    /// Returns `true` when one of them is this path.
    pub fn cover(&self, path: &str) -> bool {
        let one = |patterns: &[String]| patterns.iter().any(|pattern| is_covered(pattern, path));
        one(&self.include) && !one(&self.exclude)
    }
}

/// Compares by the pieces between the stars, each at its first place: that takes no longer than the
/// product of both lengths.
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
pub enum Found {
    /// A file, relative to the project.
    File(String),
    /// Another path has it: percent-encoded, from the root, beginning with one slash.
    Redirect {
        to: String,
        permanent: bool,
    },
    Nothing,
}

impl From<Site> for Assets {
    fn from(site: Site) -> Self {
        let Site { root, fallback, not_found, immutable, .. } = site;
        Self { root, fallback, not_found, immutable, ..Self::default() }
    }
}

impl Assets {
    /// Finds the file for `path`: that of a URL, without query, percent-encoded. `has` says whether
    /// the project has a file, given relative to it.
    pub fn find(&self, path: &str, has: impl Fn(&str) -> bool) -> Found {
        let Some(path) = Wanted::parse(path) else { return Found::Nothing };
        let has = |path: &str| self.is_public(path) && has(&self.file(path));
        match self.html {
            HtmlHandling::None if path.is_folder => Found::Nothing,
            HtmlHandling::None => self.exact(&path.name, has),
            HtmlHandling::Lenient => self.lenient(&path, has),
            handling => self.strict(&path, handling, has),
        }
    }

    /// The page that answers 200 to a navigation to `path`, for which there is nothing. Not for the
    /// path of a file, which is missing then.
    pub fn fallback(&self, path: &str) -> Option<String> {
        let Fallback::Page(page) = &self.fallback else { return None };
        (!is_of_file(path)).then(|| self.file(page))
    }

    /// The page that answers 404 to `path`.
    pub fn not_found(&self, path: &str, has: impl Fn(&str) -> bool) -> Option<String> {
        let page = self.not_found.as_deref()?;
        let wanted = Wanted::parse(path);
        let mut folder = wanted.as_ref().map_or("", Wanted::folder);
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

    /// Returns `true` when the content of a file, relative to the project, never changes.
    pub fn is_immutable(&self, file: &str) -> bool {
        let below = |folder: &String| {
            let rest = file.strip_prefix(&self.file(folder));
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        self.immutable.iter().any(below)
    }

    /// The path relative to the project of one relative to the root.
    pub fn file(&self, path: &str) -> String {
        join(&self.root, path)
    }

    /// Returns `true` for what may be served: nothing hidden, no configuration.
    fn is_public(&self, path: &str) -> bool {
        let hidden = |(at, name): (usize, &str)| name.starts_with('.') && (at > 0 || name != WELL_KNOWN);
        // With what is below, where it is a folder: some frameworks write a server into the root.
        let top = path.split('/').next().unwrap_or(path);
        !path.split('/').enumerate().any(hidden)
            && CONFIGURATION.binary_search(&top).is_err()
            && !ignored::covers(&self.ignored, path)
    }

    fn exact(&self, name: &str, has: impl Fn(&str) -> bool) -> Found {
        if has(name) { Found::File(self.file(name)) } else { Found::Nothing }
    }

    fn lenient(&self, path: &Wanted, has: impl Fn(&str) -> bool) -> Found {
        let (index, page) = (join(&path.name, INDEX), format!("{}.html", path.name));
        let redirect = |to: &str, slash: bool| redirect(to, slash, true);
        if path.is_folder {
            return match () {
                () if has(&index) => Found::File(self.file(&index)),
                () if has(&path.name) => redirect(&path.name, false),
                () if has(&page) => redirect(&path.name, false),
                () => Found::Nothing,
            };
        }
        let file = [path.name.as_str(), &page].into_iter().find(|file| has(file));
        match file {
            Some(file) => Found::File(self.file(file)),
            None if has(&index) => redirect(&path.name, true),
            None => Found::Nothing,
        }
    }

    /// Each page has one path, and its other spellings lead there.
    fn strict(&self, path: &Wanted, handling: HtmlHandling, has: impl Fn(&str) -> bool) -> Found {
        let name = path.name.as_str();
        let is_page = name.ends_with(".html");
        if !path.is_folder && !is_page && has(name) {
            return Found::File(self.file(name));
        }
        let stem = stem(name);
        let (index, page) = (join(stem, INDEX), format!("{stem}.html"));
        // Of the two pages that a path may have, the one that is written like it.
        let pages: [&str; 2] = match name {
            name if is_page => [name, ""],
            _ if path.is_folder => [&index, &page],
            _ => [&page, &index],
        };
        let Some(file) = pages.into_iter().find(|file| has(file)) else { return Found::Nothing };
        let slash = match handling {
            HtmlHandling::ForceTrailingSlash => true,
            HtmlHandling::DropTrailingSlash => false,
            _ => file == index,
        };
        let slash = slash || stem.is_empty();
        let is_right = stem == name && path.is_folder == slash;
        if is_right { Found::File(self.file(file)) } else { redirect(stem, slash, false) }
    }
}

/// The path of a request, decoded, without slashes at its ends or twice in a row.
struct Wanted {
    name: String,
    is_folder: bool,
}

impl Wanted {
    /// `None` when no file has such a path.
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

/// The path of the page in a file: without `.html`, `index.html` and `index`.
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

fn redirect(name: &str, slash: bool, permanent: bool) -> Found {
    let encoded = utf8_percent_encode(name, ENCODED);
    let end = if slash && !name.is_empty() { "/" } else { "" };
    Found::Redirect { to: format!("/{encoded}{end}"), permanent }
}

/// Returns `true` when the last name of `path` has the extension of a kind of file that is no page.
fn is_of_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    mime_guess::from_path(name).first_raw().is_some_and(|kind| kind != "text/html")
}

/// The media type of a file by its name.
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
