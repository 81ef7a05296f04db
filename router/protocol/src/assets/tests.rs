use super::*;

const FILES: [&str; 12] = [
    "site/index.html",
    "site/about.html",
    "site/docs/index.html",
    "site/both.html",
    "site/both/index.html",
    "site/app.js",
    "site/a b/ü.txt",
    "site/.env",
    "site/.well-known/security.txt",
    "site/.well-known/.secret",
    "site/package.json",
    "secret.txt",
];

fn has(path: &str) -> bool {
    FILES.contains(&path)
}

fn assets(html: HtmlHandling) -> Assets {
    Assets { root: "site".to_owned(), html, ..Assets::default() }
}

/// A file without its root, `-> path` for a redirect, or nothing.
fn found(html: HtmlHandling, path: &str) -> String {
    match assets(html).find(path, has) {
        AssetMatch::File(file) => file.strip_prefix("site/").expect("files are below the root").to_owned(),
        AssetMatch::Redirect { to, .. } => format!("-> {to}"),
        AssetMatch::Nothing => String::new(),
    }
}

#[test]
fn a_file_a_page_without_extension_and_a_folders_page_are_found_by_their_paths() {
    for (path, file) in [
        ("/", "index.html"),
        ("", "index.html"),
        ("/index.html", "index.html"),
        ("/about.html", "about.html"),
        ("/about", "about.html"),
        ("/about/", "-> /about"),
        ("/docs/", "docs/index.html"),
        ("/docs", "-> /docs/"),
        ("/both", "both.html"),
        ("/both/", "both/index.html"),
        ("/app.js", "app.js"),
        ("/app.js/", "-> /app.js"),
        ("//docs//", "docs/index.html"),
        ("/a%20b/%C3%BC.txt", "a b/ü.txt"),
        ("/a%20b%2F%C3%BC.txt", "a b/ü.txt"),
        ("/.well-known/security.txt", ".well-known/security.txt"),
    ] {
        assert_eq!(found(HtmlHandling::Lenient, path), file, "{path}");
    }
}

#[test]
fn nothing_hidden_no_configuration_and_nothing_outside_is_found() {
    for path in [
        "/gone",
        "/.env",
        "/.well-known/.secret",
        "/docs/.well-known/security.txt",
        "/package.json",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/docs/..%2f..%2fsecret.txt",
        "/app.js%00",
        "/%ff",
        "/secret.txt",
        "/site/app.js",
    ] {
        for html in [HtmlHandling::Lenient, HtmlHandling::AutoTrailingSlash, HtmlHandling::None] {
            assert_eq!(found(html, path), "", "{path}");
        }
    }
}

#[test]
fn a_redirect_leads_to_a_path_of_the_same_site() {
    let has = |path: &str| path == "\\evil.example/index.html" || path == "a?b#c/index.html";
    let redirect = |path: &str| Assets::default().find(path, has);
    let to = |to: &str| AssetMatch::Redirect { to: to.to_owned(), permanent: true };
    assert_eq!(redirect("//%5Cevil.example"), to("/%5Cevil.example/"));
    assert_eq!(redirect("/a%3Fb%23c"), to("/a%3Fb%23c/"));
}

#[test]
fn a_page_has_one_path_in_the_way_that_was_chosen() {
    use HtmlHandling::{AutoTrailingSlash, DropTrailingSlash, ForceTrailingSlash, None};
    for (path, auto, force, drop, none) in [
        ("/", "index.html", "index.html", "index.html", ""),
        ("/index.html", "-> /", "-> /", "-> /", "index.html"),
        ("/index", "-> /", "-> /", "-> /", ""),
        ("/about", "about.html", "-> /about/", "about.html", ""),
        ("/about/", "-> /about", "about.html", "-> /about", ""),
        ("/about.html", "-> /about", "-> /about/", "-> /about", "about.html"),
        ("/docs", "-> /docs/", "-> /docs/", "docs/index.html", ""),
        ("/docs/", "docs/index.html", "docs/index.html", "-> /docs", ""),
        ("/docs/index.html", "-> /docs/", "-> /docs/", "-> /docs", "docs/index.html"),
        ("/docs/index", "-> /docs/", "-> /docs/", "-> /docs", ""),
        ("/both", "both.html", "-> /both/", "both.html", ""),
        ("/both/", "both/index.html", "both/index.html", "-> /both", ""),
        ("/both.html", "-> /both", "-> /both/", "-> /both", "both.html"),
        ("/app.js", "app.js", "app.js", "app.js", "app.js"),
        ("/app.js/", "", "", "", ""),
        ("/gone", "", "", "", ""),
    ] {
        let all = [AutoTrailingSlash, ForceTrailingSlash, DropTrailingSlash, None];
        assert_eq!(all.map(|html| found(html, path)), [auto, force, drop, none], "{path}");
    }
}

#[test]
fn the_fallback_is_no_answer_to_the_path_of_a_file() {
    let assets =
        Assets { fallback: Fallback::Page("index.html".to_owned()), ..assets(HtmlHandling::Lenient) };
    for path in ["/users/7", "/users/john.doe", "/v1.2", "/old.html"] {
        assert_eq!(assets.fallback(path).as_deref(), Some("site/index.html"), "{path}");
    }
    for path in ["/assets/gone.js", "/favicon.ico", "/gone.PNG", "/data.json"] {
        assert_eq!(assets.fallback(path), None, "{path}");
    }
    assert_eq!(Assets::default().fallback("/users/7"), None);
}

#[test]
fn the_nearest_page_for_a_missing_path_is_found() {
    let assets = Assets { not_found: Some("404.html".to_owned()), ..assets(HtmlHandling::Lenient) };
    let has = |path: &str| ["site/404.html", "site/fr/404.html"].contains(&path);
    for (path, page) in [
        ("/gone", "site/404.html"),
        ("/fr/a/b/gone", "site/fr/404.html"),
        ("/fr/", "site/fr/404.html"),
        ("/../x", "site/404.html"),
        ("/%ff", "site/404.html"),
    ] {
        assert_eq!(assets.not_found(path, has).as_deref(), Some(page), "{path}");
    }
    assert_eq!(assets.not_found("/gone", |_| false), None);
}

#[test]
fn patterns_cover_paths_and_what_is_excluded_wins() {
    let patterns =
        Patterns { include: vec!["/api/*".into(), "/x*z".into()], exclude: vec!["/api/docs/*".into()] };
    for (path, is_covered) in [
        ("/api/a/b", true),
        ("/api/", true),
        ("/api", false),
        ("/api/docs/x", false),
        ("/xyz", true),
        ("/xz", true),
        ("/xy", false),
    ] {
        assert_eq!(patterns.cover(path), is_covered, "{path}");
    }
    assert!(Patterns::all().cover("/") && !Patterns::default().cover("/"));
    assert!(!is_covered("/aa*aa", "/aaa"), "the pieces do not overlap");
}

#[test]
fn files_below_a_folder_of_unchanging_names_are_immutable() {
    let assets = Assets { immutable: vec!["_astro".to_owned()], ..assets(HtmlHandling::Lenient) };
    assert!(assets.is_immutable("site/_astro/a.js"));
    assert!(!assets.is_immutable("site/_astro.js") && !assets.is_immutable("_astro/a.js"));
}

#[test]
fn a_file_has_the_media_type_of_its_name_and_text_is_utf_8() {
    for (file, kind) in [
        ("a/index.html", "text/html; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.JS", "text/javascript; charset=utf-8"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.json", "application/json; charset=utf-8"),
        ("a.js.map", "application/json; charset=utf-8"),
        ("a.svg", "image/svg+xml; charset=utf-8"),
        ("a.webmanifest", "application/manifest+json; charset=utf-8"),
        ("a.xml", "text/xml; charset=utf-8"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.wasm", "application/wasm"),
        ("a.woff2", "font/woff2"),
        ("a.avif", "image/avif"),
        ("a.webp", "image/webp"),
        ("favicon.ico", "image/x-icon"),
        ("a.mp4", "video/mp4"),
        ("a.ts", "video/mp2t"),
        ("a.pdf", "application/pdf"),
        ("a.gz", "application/gzip"),
        ("LICENSE", "application/octet-stream"),
        ("js", "application/octet-stream"),
        ("a.unknown", "application/octet-stream"),
        (".well-known/apple-app-site-association", "application/json; charset=utf-8"),
    ] {
        assert_eq!(content_type(file), kind, "{file}");
    }
}
