//! The fallback page of a static site, for paths without a file.

use std::io::Read as _;
use std::path::Path;

use switchyard_detect::site::Fallback;
use switchyard_protocol::assets::{Assets, INDEX};

use super::files::open_file;
use super::include::is_beside;

/// The fallback page of some generators: SvelteKit's static adapter, Surge.
const FALLBACK: &str = "200.html";

/// The file of Netlify and Cloudflare with one rule on each line.
const REDIRECTS: &str = "_redirects";

/// Bytes that are read of `_redirects` and of the first page.
const MAX_READ: u64 = 256 << 10;

/// Chooses the fallback of `assets` from the files of the project in `dir`, given relative to it: `200.html`, the page that
/// `_redirects` has for all paths, or the only page if it has a script and there is no page for missing files.
pub(crate) fn choose_fallback<'f>(
    assets: &mut Assets,
    dir: &Path,
    files: impl Iterator<Item = &'f str> + Clone,
) {
    if assets.fallback != Fallback::Auto {
        return;
    }
    let prefix = assets.file("");
    let own = files.filter(|file| !is_beside(file));
    let below = own.filter_map(|file| file.strip_prefix(prefix.as_str()));
    let has = |name: &str| below.clone().any(|file| file == name);
    let read = |name: &str| read(&dir.join(assets.file(name))).unwrap_or_default();
    let is_page = |file: &&str| file.ends_with(".html");
    let page = if has(FALLBACK) {
        Some(FALLBACK.to_owned())
    } else if let Some(page) = rewrite(&read(REDIRECTS)).filter(|page| has(page)) {
        Some(page)
    } else {
        let is_single = below.clone().filter(is_page).eq([INDEX]);
        (is_single && read(INDEX).to_ascii_lowercase().contains("<script")).then(|| INDEX.to_owned())
    };
    assets.fallback = page.map_or(Fallback::Off, Fallback::Page);
}

/// Returns the page of the rule `/* /page.html 200`.
fn rewrite(redirects: &str) -> Option<String> {
    let rules = redirects.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    rules.into_iter().find_map(|rule| match rule.as_slice() {
        ["/*", page, "200" | "200!", ..] => match page.trim_start_matches('/') {
            "" => Some(INDEX.to_owned()),
            page => Some(page.to_owned()),
        },
        _ => None,
    })
}

fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    open_file(path).ok()?.take(MAX_READ).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fallback of a site in `dist` with these files.
    fn settled(files: &[(&str, &str)]) -> Fallback {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("dist")).unwrap();
        let mut paths = vec!["other.html".to_owned()];
        for (name, text) in files {
            let path = format!("dist/{name}");
            std::fs::write(dir.path().join(&path), text).unwrap();
            paths.push(path);
        }
        let mut assets = Assets { root: "dist".to_owned(), ..Assets::default() };
        choose_fallback(&mut assets, dir.path(), paths.iter().map(String::as_str));
        assets.fallback
    }

    fn page(page: &str) -> Fallback {
        Fallback::Page(page.to_owned())
    }

    #[test]
    fn the_only_page_with_a_script_answers_for_all_paths_unless_there_is_one_for_what_is_not_found() {
        let app = ("index.html", "<SCRIPT src=a.js></SCRIPT>");
        assert_eq!(settled(&[app, ("a.js", "")]), page("index.html"));
        assert_eq!(settled(&[app, ("404.html", "")]), Fallback::Off);
        assert_eq!(settled(&[app, ("about.html", "")]), Fallback::Off);
        assert_eq!(settled(&[("index.html", "<p>hello")]), Fallback::Off);
        assert_eq!(settled(&[("only.html", "<script>")]), Fallback::Off);
        assert_eq!(settled(&[]), Fallback::Off);
    }

    #[test]
    fn a_page_that_hosts_know_as_the_fallback_is_it_beside_others() {
        let pages = [("index.html", ""), ("about.html", "")];
        let with = |file| settled(&[pages[0], pages[1], file]);
        assert_eq!(with(("200.html", "")), page("200.html"));
        assert_eq!(with(("_redirects", "# all\n/old /new 301\n/*   /index.html  200\n")), page("index.html"));
        assert_eq!(with(("_redirects", "/* / 200")), page("index.html"));
        assert_eq!(with(("_redirects", "/* /gone.html 200")), Fallback::Off);
        assert_eq!(with(("_redirects", "/* https://a.example/:splat 301")), Fallback::Off);
    }
}
