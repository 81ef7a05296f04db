//! The static files of a Worker: the field `assets`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::document::{self, Document};
use switchyard_contract::event::Diagnostic;

/// The most patterns of `run_worker_first`, as in wrangler.
const MAX_PATTERNS: usize = 100;

/// Files that are served beside or before a Worker's code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assets {
    /// The folder, relative to the project; empty: the project itself.
    pub directory: String,
    /// The name of the binding in `env`.
    pub binding: Option<String>,
    pub html_handling: HtmlHandling,
    pub not_found_handling: NotFoundHandling,
    pub run_worker_first: WorkerFirst,
    /// Navigations without a file get the page of `not_found_handling` and not the code.
    pub navigations: bool,
    /// The lines of `.assetsignore`: files that are not assets, in the syntax of .gitignore.
    pub ignored: Vec<String>,
}

/// The form of URLs of HTML files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HtmlHandling {
    /// `/a` for a.html, `/a/` for a/index.html.
    #[default]
    AutoTrailingSlash,
    /// `/a/` for both.
    ForceTrailingSlash,
    /// `/a` for both.
    DropTrailingSlash,
    /// The names of the files.
    None,
}

/// The answer for a path without a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotFoundHandling {
    /// An empty 404.
    #[default]
    None,
    /// The nearest 404.html.
    #[serde(rename = "404-page")]
    NotFoundPage,
    /// /index.html with 200.
    SinglePageApplication,
}

/// The requests that go to the code although a file answers them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerFirst {
    /// All, or none.
    Always(bool),
    /// Requests with a path that matches one of the patterns (`/api/*`) and none of those with `!`.
    Paths(Vec<String>),
}

/// The compatibility date from which `navigations` needs no flag.
const NAVIGATIONS_SINCE: &str = "2025-04-01";

/// Returns true if pages answer navigations under these flags and this date.
fn navigations(document: &Document<'_>, flags: &[String]) -> bool {
    let date = document.get("compatibility_date").and_then(Value::as_str);
    let is_flag = |flag: &str| flags.iter().any(|given| given == flag);
    is_flag("assets_navigation_prefers_asset_serving")
        || (date.is_some_and(|date| date >= NAVIGATIONS_SINCE) && !is_flag("assets_navigation_has_no_effect"))
}

pub(super) fn read(
    document: &Document<'_>,
    path: &str,
    base: &str,
    flags: &[String],
) -> Result<Option<Assets>, Diagnostic> {
    if document.get(path).is_none() {
        return Ok(None);
    }
    let field = |name: &str| format!("{path}.{name}");
    let directory = document.text(&field("directory"))?;
    let Some(directory) = directory else {
        let fix = "is needed: a framework's plugin writes it at build; run the build, or name the folder";
        return Err(document.wrong(&field("directory"), fix));
    };
    let Some(directory) = document::join(base, &directory) else {
        return Err(document.wrong(&field("directory"), "must be a folder inside the project"));
    };
    let first = "must be true, false or a list of at most 100 patterns (\"/api/*\", \"!/api/docs/*\")";
    Ok(Some(Assets {
        directory,
        binding: document.text(&field("binding"))?,
        html_handling: named(document, &field("html_handling"))?,
        not_found_handling: named(document, &field("not_found_handling"))?,
        run_worker_first: document
            .read(&field("run_worker_first"), first, worker_first)?
            .unwrap_or(WorkerFirst::Always(false)),
        navigations: navigations(document, flags),
        ignored: Vec::new(),
    }))
}

fn named<T: Default + for<'de> Deserialize<'de> + Serialize>(
    document: &Document<'_>,
    path: &str,
) -> Result<T, Diagnostic> {
    let Some(value) = document.get(path) else { return Ok(T::default()) };
    serde_json::from_value(value.clone()).map_err(|error| {
        // "unknown variant `x`, expected one of `a`, `b`"
        let text = error.to_string();
        let expected = text.split_once("expected ").map_or("a known name", |(_, expected)| expected);
        document.wrong(path, &format!("must be {expected}"))
    })
}

fn worker_first(value: &Value) -> Option<WorkerFirst> {
    if let Some(always) = value.as_bool() {
        return Some(WorkerFirst::Always(always));
    }
    let patterns = document::strings(value)?;
    let is_pattern = |pattern: &String| pattern.strip_prefix('!').unwrap_or(pattern).starts_with('/');
    let is_right = patterns.len() <= MAX_PATTERNS && patterns.iter().all(is_pattern);
    is_right.then_some(WorkerFirst::Paths(patterns))
}
