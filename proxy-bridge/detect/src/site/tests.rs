use std::fs;

use serde_json::{Value, json};

use super::*;
use crate::entry::{CONFIG_FILES, PACKAGE_FILE};

const PAGE: &str = "<!doctype html><title>x</title>";

/// A search of a folder with the configurations that were read.
type Find<T> = fn(&Path, Option<Config<'_>>, Option<Config<'_>>) -> Result<T, Diagnostic>;

/// Searches a project with these files, configuration included.
fn search<T>(files: &[(&str, &str)], find: Find<T>) -> Result<T, Diagnostic> {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let read = |file: &'static str| -> Option<(&'static str, Value)> {
        let text = fs::read_to_string(dir.path().join(file)).ok()?;
        Some((file, crate::config::parse(file, &text).unwrap()))
    };
    let (config, package) = (read(CONFIG_FILES[0]), read(PACKAGE_FILE));
    let [config, package] =
        [&config, &package].map(|read| read.as_ref().map(|(file, value)| Config { file, value }));
    find(dir.path(), config, package)
}

/// Returns the served files of a project with these files.
fn served(files: &[(&str, &str)]) -> Result<Served, Diagnostic> {
    search(files, find)
}

/// The root of the site with these files.
fn root(files: &[(&str, &str)]) -> String {
    match served(files) {
        Ok(Served::Files(site)) => site.root,
        other => panic!("{files:?}: {other:?}"),
    }
}

fn error(files: &[(&str, &str)]) -> Diagnostic {
    served(files).unwrap_err()
}

fn entry_of(files: &[(&str, &str)]) -> String {
    match served(files) {
        Ok(Served::Code(entry)) => entry.path,
        other => panic!("{files:?}: {other:?}"),
    }
}

#[test]
fn a_folder_of_files_with_a_page_is_a_site() {
    assert_eq!(root(&[("index.html", PAGE), ("style.css", "")]), "");
    assert_eq!(root(&[("index.html", PAGE), ("assets/index-x.js", "")]), "", "Vite's output alone");
    assert_eq!(root(&[("index.html", PAGE), ("_next/static/x.js", ""), ("404.html", "")]), "", "Next.js");
    assert_eq!(root(&[("hugo.toml", ""), ("content/a.md", ""), ("public/index.html", PAGE)]), "public");
    assert_eq!(
        root(&[("_config.yml", ""), ("index.html", "---\n---\n"), ("_site/index.html", PAGE)]),
        "_site"
    );
    assert!(error(&[("readme.md", "")]).message.starts_with("no entry"));
}

#[test]
fn the_output_of_a_build_is_found_from_the_projects_root() {
    let vite = ("index.html", "<script type=module src=/src/main.tsx></script>");
    let package = |text: &'static str| ("package.json", text);
    let build = package(r#"{"scripts": {"dev": "vite", "build": "vite build"}}"#);
    assert_eq!(root(&[build, vite, ("src/main.tsx", ""), ("dist/index.html", PAGE)]), "dist");
    let react = package(r#"{"scripts": {"start": "react-scripts start"}}"#);
    let template = ("public/index.html", "<link href=%PUBLIC_URL%/x>");
    assert_eq!(root(&[react, template, ("src/App.css", ""), ("build/index.html", PAGE)]), "build");
    for output in
        ["out", "_site", ".output/public", "build/client", "dist/app/browser", "docs/.vitepress/dist"]
    {
        assert_eq!(root(&[package("{}"), (&format!("{output}/index.html"), PAGE)]), output);
    }
    assert_eq!(root(&[package("{}"), ("index.html", PAGE), ("docs/index.html", PAGE)]), "");
}

#[test]
fn the_folder_that_a_static_server_is_started_for_is_the_site() {
    for (start, root_is, fallback) in [
        ("serve -s build", "build", Fallback::Page("index.html".to_owned())),
        ("npx serve ./site -p 3000", "site", Fallback::Auto),
        ("sirv public --single --no-clear", "public", Fallback::Page("index.html".to_owned())),
        ("http-server", "", Fallback::Auto),
    ] {
        let package = json!({"scripts": {"start": start}}).to_string();
        let index = format!("{root_is}/index.html");
        let files = [("package.json", package.as_str()), (index.trim_start_matches('/'), PAGE)];
        let Ok(Served::Files(site)) = served(&files) else { panic!("{start}") };
        assert_eq!((site.root.as_str(), site.fallback), (root_is, fallback), "{start}");
        assert_eq!(site.reason, "scripts.start in package.json");
    }
}

#[test]
fn a_site_that_has_to_be_built_is_named_with_the_way_to_do_it() {
    for (index, text, says) in [
        (
            "index.html",
            "<script src=/src/main.tsx></script>",
            "loads /src/main.tsx, which browsers do not run",
        ),
        ("public/index.html", "<link href=%PUBLIC_URL%/x>", "is a template"),
    ] {
        let error = error(&[("package.json", "{}"), (index, text), ("src/other.css", "")]);
        assert_eq!(error.file.as_deref(), Some(index));
        assert!(error.message.contains(says) && error.message.contains("npm run build"), "{}", error.message);
    }
}

#[test]
fn code_goes_before_files_unless_a_page_loads_it() {
    let (page, main) = (("index.html", PAGE), ("main.js", "export default {}"));
    assert_eq!(entry_of(&[page, main]), "main.js");
    assert_eq!(root(&[("index.html", "<script src=main.js></script>"), main]), "");
    assert_eq!(root(&[("index.html", "<script src='./main.js?2'></script>"), main]), "");
    assert_eq!(entry_of(&[("public/index.html", PAGE), ("server.js", "")]), "server.js");
    assert_eq!(
        entry_of(&[("package.json", "{}"), ("dist/index.html", PAGE), ("server.js", "")]),
        "server.js"
    );
    let named = ("deno.json", r#"{"switchyard": {"entry": "main.js"}}"#);
    assert_eq!(entry_of(&[("index.html", "<script src=main.js></script>"), main, named]), "main.js");
    let plain = ("deno.json", r#"{"switchyard": {"platform": "plain"}}"#);
    assert!(error(&[page, plain]).message.starts_with("no entry"));
    let named = ("deno.json", r#"{"switchyard": {"entry": "gone.js"}}"#);
    assert!(error(&[page, named]).message.contains("gone.js"));
}

#[test]
fn the_sources_of_a_program_whose_entry_is_missing_are_not_served() {
    let page = ("index.html", PAGE);
    let of_code = ("deno.json", r#"{"tasks": {"dev": "deno run serve.ts"}}"#);
    let packages = ("package.json", r#"{"dependencies": {"express": "5"}}"#);
    for (file, names) in [
        (of_code, "\"tasks\" in deno.json"),
        (packages, "\"dependencies\" in package.json"),
        (("db.ts", ""), "db.ts"),
    ] {
        let message = error(&[page, file]).message;
        assert!(message.starts_with("no entry: index.html and ") && message.contains(names), "{message}");
        assert!(message.contains("\"platform\": \"static\""), "{message}");
    }
    assert_eq!(root(&[page, ("package.json", r#"{"devDependencies": {"prettier": "3"}}"#)]), "");
    assert_eq!(root(&[page, ("tailwind.config.ts", ""), ("deno.json", r#"{"imports": {}}"#)]), "");
    assert_eq!(root(&[page, packages, ("dist/index.html", PAGE)]), "dist");
    let named = ("deno.json", r#"{"imports": {"a": "./a.js"}, "switchyard": {"platform": "static"}}"#);
    assert_eq!(root(&[page, named]), "");
}

#[test]
fn an_entry_that_is_a_page_is_a_site() {
    let named = ("deno.json", r#"{"switchyard": {"entry": "site/index.html"}}"#);
    assert_eq!(root(&[named, ("site/index.html", PAGE), ("main.ts", "")]), "site");
}

#[test]
fn a_configuration_names_the_site_and_its_pages() {
    let config = r#"{"switchyard": {"platform": "static", "static":
        {"root": "./www/", "fallback": "app.html", "notFound": false, "immutable": ["/assets/"]}}}"#;
    let files = [("deno.json", config), ("www/app.html", PAGE), ("main.ts", "")];
    let Ok(Served::Files(site)) = served(&files) else { panic!("{:?}", served(&files)) };
    assert_eq!(site.root, "www");
    assert_eq!(site.fallback, Fallback::Page("app.html".to_owned()));
    assert_eq!((site.not_found, site.immutable), (None, vec!["assets".to_owned()]));
    let files_alone = ("deno.json", r#"{"switchyard": {"platform": "static"}}"#);
    assert_eq!(root(&[files_alone, ("a.pdf", ""), ("main.ts", "")]), "", "no page is needed");
    let both = ("deno.json", r#"{"switchyard": {"entry": "a.js", "static": {"root": "public"}}}"#);
    let served = served(&[both, ("a.js", ""), ("public/x.css", "")]).unwrap();
    assert!(matches!(served, Served::Both(entry, site) if entry.path == "a.js" && site.root == "public"));
}

#[test]
fn errors_in_a_configuration_are_reported_with_file_and_field() {
    for (own, field, says) in [
        (json!({"static": "dist"}), "static", "must be an object"),
        (json!({"static": {"roots": "dist"}}), "static.roots", "is unknown: expected one of fallback, "),
        (json!({"static": {"root": 1}}), "static.root", "must be a folder"),
        (json!({"static": {"root": "gone"}}), "static.root", "which does not exist: build the site"),
        (json!({"static": {"root": "../x"}}), "static.root", "is outside the project"),
        (json!({"static": {"root": "www", "fallback": true}}), "static.fallback", "www/index.html"),
        (
            json!({"static": {"root": "www", "fallback": 1}}),
            "static.fallback",
            "must be true, false or a page",
        ),
        (json!({"static": {"root": "www", "notFound": "no.html"}}), "static.notFound", "www/no.html"),
        (json!({"static": {"root": "www", "immutable": "a"}}), "static.immutable", "must be a list"),
        (json!({"static": {"root": "www", "immutable": [1]}}), "static.immutable", "must be a list"),
        (json!({"platform": "static", "entry": "a.js"}), "entry", "contradict each other"),
    ] {
        let config = json!({"switchyard": own}).to_string();
        let error = error(&[("deno.json", &config), ("www/a.html", PAGE), ("a.js", "")]);
        assert_eq!(error.file.as_deref(), Some("deno.json"), "{own}");
        let begin = format!("\"switchyard.{field}\" in deno.json ");
        assert!(error.message.starts_with(&begin), "{}", error.message);
        assert!(error.message.contains(says), "{}", error.message);
    }
}

#[test]
fn a_program_with_an_unknown_start_command_is_not_a_site() {
    for start in ["pm2 start ecosystem.config.js", "turbo run start", "make serve", "npm run gone"] {
        let package = json!({ "scripts": { "start": start } }).to_string();
        for page in ["index.html", "public/index.html", "docs/index.html"] {
            let found = error(&[(PACKAGE_FILE, &package), (page, PAGE), ("lib/db.js", "secret")]);
            assert!(found.message.contains("scripts.start in package.json"), "{start}: {}", found.message);
            assert!(found.message.contains("\"platform\": \"static\""), "{}", found.message);
        }
        assert_eq!(root(&[(PACKAGE_FILE, &package), ("dist/index.html", PAGE)]), "dist", "{start}");
    }
    assert!(error(&[("Procfile", "web: gunicorn app"), ("index.html", PAGE)]).message.contains("Procfile"));
    assert!(error(&[("index.php", ""), ("index.html", PAGE)]).message.contains("index.php"));
}

#[test]
fn a_site_whose_start_is_a_tool_for_developers_is_a_site() {
    for start in [
        "live-server",
        "npx http-server . -p 3000",
        "npm run dev",
        "concurrently 'npm:dev' 'sass -w a b'",
        "python3 -m http.server",
        "echo \"no start\" && exit 1",
    ] {
        let scripts = json!({ "scripts": { "start": start, "dev": "browser-sync start --server" } });
        assert_eq!(root(&[(PACKAGE_FILE, &scripts.to_string()), ("index.html", PAGE)]), "", "{start}");
    }
    for start in ["craco start", "docusaurus start", "react-app-rewired start"] {
        let package = json!({ "dependencies": { "x": "1" }, "scripts": { "start": start } }).to_string();
        assert_eq!(root(&[(PACKAGE_FILE, &package), ("build/index.html", PAGE)]), "build", "{start}");
    }
}

#[test]
fn an_export_of_next_is_a_site_though_its_start_script_would_refuse_it() {
    let scripts = json!({ "start": "next start", "build": "next build" });
    let package = json!({ "dependencies": { "next": "1" }, "scripts": scripts }).to_string();
    assert_eq!(root(&[(PACKAGE_FILE, &package), ("out/index.html", PAGE)]), "out");
    let files = r#"{"config": {"output": "export"}}"#;
    let built = [(".next/BUILD_ID", "x"), (".next/required-server-files.json", files)];
    let all = [&[(PACKAGE_FILE, package.as_str()), ("out/index.html", PAGE)][..], &built].concat();
    assert_eq!(root(&all), "out");
}

#[test]
fn the_folder_that_a_host_publishes_is_the_site() {
    for (file, text) in [
        ("netlify.toml", "[build]\npublish = \"site/\"\n"),
        ("vercel.json", r#"{"outputDirectory": "./site"}"#),
        ("firebase.json", r#"{"hosting": {"public": "site"}}"#),
    ] {
        assert_eq!(root(&[(file, text), ("site/index.html", PAGE)]), "site", "{file}");
        assert_eq!(root(&[(file, text), ("site/a.txt", ""), ("index.html", PAGE)]), "", "{file}");
    }
    let base = "[build]\nbase = \"web\"\npublish = \"out/www\"\n";
    assert_eq!(root(&[("netlify.toml", base), ("web/out/www/index.html", PAGE)]), "web/out/www");
    let outside = r#"{"outputDirectory": "../other"}"#;
    assert_eq!(root(&[("vercel.json", outside), ("index.html", PAGE)]), "");
    let deep = format!("a = {}", "[".repeat(100_000));
    for broken in ["[build", "publish = 1", "build = 1", &deep] {
        assert_eq!(root(&[("netlify.toml", broken), ("index.html", PAGE)]), "", "{broken}");
    }
}

#[test]
fn functions_of_a_host_beside_a_site_are_an_error_that_names_one() {
    let site = ("index.html", PAGE);
    for (config, function) in [
        (("vercel.json", "{}"), "api/hello.js"),
        (("netlify.toml", ""), "netlify/functions/hi.mts"),
        (("netlify.toml", "[functions]\ndirectory = \"fn\""), "fn/hi.js"),
    ] {
        let files = [site, config, (function, "")];
        let error = error(&files);
        assert_eq!(error.file.as_deref(), Some(function));
        assert!(error.message.starts_with(function) && error.message.contains("\"entry\""), "{error:?}");
        let as_static = ("deno.json", r#"{"switchyard": {"platform": "static"}}"#);
        assert_eq!(root(&[files[0], files[1], files[2], as_static]), "");
        let code = [files[0], files[1], files[2], ("server.ts", "")];
        assert_eq!(entry_of(&code), "server.ts", "a program may import them");
    }
    assert_eq!(root(&[site, ("api/hello.js", "")]), "", "no host says that these are functions");
    assert_eq!(root(&[site, ("vercel.json", "{}"), ("api/spec.yml", "")]), "");
}

#[test]
fn a_project_may_have_nothing_to_serve_where_nothing_looks_like_a_program_or_a_site() {
    let any = |files: &[(&str, &str)]| search(files, find_any);
    let task = ("tasks/a/task.ts", "export default () => {}");
    assert_eq!(any(&[task]), Ok(None));
    assert_eq!(any(&[task, ("deno.json", r#"{"switchyard": {"platform": "plain"}}"#)]), Ok(None));
    assert!(matches!(any(&[task, ("main.ts", "")]), Ok(Some(Served::Code(_)))));
    assert!(matches!(any(&[("index.html", PAGE)]), Ok(Some(Served::Files(_)))));
    let named = ("deno.json", r#"{"switchyard": {"entry": "./gone.ts"}}"#);
    assert!(any(&[task, named]).is_err(), "a named entry that is missing");
    assert!(any(&[("index.html", PAGE), ("lib.ts", "")]).is_err(), "a page beside code of its own");
}
