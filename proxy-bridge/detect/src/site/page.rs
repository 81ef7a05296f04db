//! The scripts that a site's first page loads, and signs that the site has to be built first.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::below;

/// Bytes of a page that are read: its head.
const LOOKED_AT: u64 = 256 << 10;

/// Sources that no browser runs.
pub(super) const SOURCES: [&str; 8] = [".ts", ".tsx", ".mts", ".jsx", ".vue", ".svelte", ".scss", ".coffee"];

/// Placeholders of build tools: Create React App, SvelteKit, and templates of webpack's plugin.
const TEMPLATES: [&str; 3] = ["%PUBLIC_URL%", "%sveltekit.", "<%="];

/// Returns `true` when the page at `path` loads `script`, both relative to `dir`.
pub(super) fn loads(dir: &Path, path: &str, script: &str) -> bool {
    let Some(page) = read(dir, path) else { return false };
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let is_it = |source: &str| {
        let source = source.split(['?', '#']).next().unwrap_or_default();
        let source = source.trim_start_matches("./").trim_start_matches('/');
        [below(folder, source).as_str(), source].contains(&script)
    };
    sources(&page).into_iter().any(is_it)
}

/// Returns the reason why browsers cannot show the page at `path`. `None`: they can, or it does not
/// exist.
pub(super) fn unbuilt(dir: &Path, path: &str) -> Option<String> {
    let page = read(dir, path)?;
    if page.starts_with("---\n") || page.starts_with("---\r\n") {
        return Some("begins with the front matter of a template".to_owned());
    }
    if let Some(template) = TEMPLATES.into_iter().find(|template| page.contains(template)) {
        return Some(format!("is a template ({template} in it)"));
    }
    let name = |source: &str| source.split(['?', '#']).next().unwrap_or_default().to_owned();
    let is_local = |source: &String| !source.contains("//");
    let is_source = |source: &String| SOURCES.iter().any(|end| source.ends_with(end));
    let source = sources(&page).into_iter().map(name).find(|source| is_local(source) && is_source(source))?;
    Some(format!("loads {source}, which browsers do not run"))
}

pub(super) fn read(dir: &Path, path: &str) -> Option<String> {
    let path = dir.join(path);
    // Opening a pipe would block.
    if !path.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(LOOKED_AT).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The values of `src` in the page's script tags.
fn sources(page: &str) -> Vec<&str> {
    let lower = page.to_ascii_lowercase();
    let tags = lower.match_indices("<script").filter_map(|(at, tag)| {
        let begin = at + tag.len();
        let end = begin + lower[begin..].find('>')?;
        Some(&page[begin..end])
    });
    tags.filter_map(source).collect()
}

/// The value of `src` among the attributes of a tag.
fn source(attributes: &str) -> Option<&str> {
    let lower = attributes.to_ascii_lowercase();
    let begins = |at: &usize| lower[..*at].ends_with(|c: char| c.is_ascii_whitespace());
    let at = lower.match_indices("src").map(|(at, _)| at).find(begins)?;
    let value = attributes[at + "src".len()..].trim_start().strip_prefix('=')?.trim_start();
    match value.chars().next()? {
        quote @ ('"' | '\'') => value[1..].split(quote).next(),
        _ => value.split_ascii_whitespace().next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_of_a_page_are_found_however_they_are_written() {
        let page =
            "<!doctype html><SCRIPT type=module\n SRC = './a.js?v=1'></SCRIPT><script>src=\"no.js\"</script>
            <script src=/b.js async></script><script data-src=\"c.js\"></script><script src=\"";
        assert_eq!(sources(page), ["./a.js?v=1", "/b.js"]);
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("public")).unwrap();
        std::fs::write(dir.path().join("public/index.html"), page).unwrap();
        let loads = |script: &str| loads(dir.path(), "public/index.html", script);
        assert!(loads("public/a.js") && loads("public/b.js") && loads("b.js"));
        assert!(!loads("public/no.js") && !loads("public/c.js") && !loads("public/x/a.js"));
    }

    #[test]
    fn a_page_that_has_to_be_built_is_distinguished_from_one_that_a_browser_shows() {
        let dir = tempfile::tempdir().unwrap();
        let unbuilt = |page: &str| {
            std::fs::write(dir.path().join("index.html"), page).unwrap();
            unbuilt(dir.path(), "index.html")
        };
        for (page, says) in [
            ("<script type=module src=/src/main.tsx></script>", "loads /src/main.tsx"),
            ("<link href=%PUBLIC_URL%/favicon.ico>", "%PUBLIC_URL%"),
            ("---\nlayout: default\n---\n", "front matter"),
            ("<title><%= title %></title>", "template"),
        ] {
            let why = unbuilt(page).unwrap();
            assert!(why.contains(says), "{page}: {why}");
        }
        for page in
            ["", "<script src=/assets/index-x.js></script>", "<script src=https://a.example/x.ts></script>"]
        {
            assert_eq!(unbuilt(page), None, "{page}");
        }
    }
}
