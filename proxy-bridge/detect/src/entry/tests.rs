//! Projects of many forms, and the entry that each has.

use std::path::Path;

use tempfile::TempDir;

use super::*;

/// A project of these files. A file with an empty text gets a program.
fn project(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

fn search(dir: &Path) -> Result<Entry, Diagnostic> {
    let read = |file: &'static str| {
        let text = std::fs::read_to_string(dir.join(file)).ok()?;
        Some((file, crate::config::parse(file, &text).unwrap()))
    };
    let (config, package) = (read("deno.json"), read("package.json"));
    let [config, package] =
        [&config, &package].map(|read| read.as_ref().map(|(file, value)| Config { file, value }));
    find(dir, config, package)
}

fn entry(files: &[(&str, &str)]) -> Entry {
    search(project(files).path()).unwrap_or_else(|error| panic!("{files:?}: {}", error.message))
}

fn error(files: &[(&str, &str)]) -> Diagnostic {
    search(project(files).path()).map(|found| panic!("{files:?}: {found:?}")).unwrap_err()
}

fn package(fields: &str) -> (&'static str, String) {
    ("package.json", format!("{{{fields}}}"))
}

/// The path of the entry of a package with these scripts and files.
fn started(script: &str, files: &[&str]) -> String {
    let text = serde_json::json!({ "scripts": { "start": script } }).to_string();
    let all: Vec<_> = files.iter().map(|file| (*file, "")).chain([("package.json", text.as_str())]).collect();
    entry(&all).path
}

#[test]
fn each_location_takes_precedence_over_later_ones() {
    let files =
        ["own.ts", "deploy.ts", "task.ts", "web.js", "start.js", "worker.ts", "mod.ts", "lib.js", "main.ts"];
    let locations = [
        ("own.ts", "switchyard.entry in deno.json"),
        ("deploy.ts", "deploy.entrypoint in deno.json"),
        ("task.ts", "tasks.start in deno.json"),
        ("web.js", "web in Procfile"),
        ("start.js", "scripts.start in package.json"),
        ("worker.ts", "main in wrangler.toml"),
        ("mod.ts", "exports in deno.json"),
        ("lib.js", "main in package.json"),
        ("main.ts", "its name"),
    ];
    for (first, (path, reason)) in locations.iter().enumerate() {
        let is_there = |location: usize| location >= first;
        let mut deno = serde_json::Map::new();
        let mut put = |location, name: &str, value| {
            is_there(location).then(|| deno.insert(name.to_owned(), value));
        };
        put(0, "switchyard", serde_json::json!({ "entry": "./own.ts" }));
        put(1, "deploy", serde_json::json!({ "entrypoint": "deploy.ts" }));
        put(2, "tasks", serde_json::json!({ "start": { "command": "deno run -A task.ts" } }));
        put(6, "exports", "./mod.ts".into());
        let mut node = serde_json::Map::new();
        is_there(4).then(|| node.insert("scripts".into(), serde_json::json!({ "start": "node start.js" })));
        is_there(7).then(|| node.insert("main".into(), "lib".into()));
        let (deno, node) =
            (serde_json::Value::from(deno).to_string(), serde_json::Value::from(node).to_string());
        let mut all: Vec<_> = files.iter().map(|file| (*file, "")).collect();
        all.extend([("deno.json", deno.as_str()), ("package.json", node.as_str())]);
        all.extend(is_there(3).then_some(("Procfile", "release: x\nweb: node web.js\n")));
        all.extend(
            is_there(5)
                .then_some(("wrangler.toml", "name = \"x\"\nmain = \"worker.ts\"\n[vars]\nmain = \"no\"")),
        );
        let found = entry(&all);
        assert_eq!((found.path.as_str(), found.reason.as_str()), (*path, *reason));
        assert_eq!(found.warnings, [""; 0], "{path}");
    }
}

#[test]
fn the_usual_names_are_tried_at_the_root_and_then_in_src() {
    for name in ["main.ts", "index.tsx", "mod.mts", "server.cts", "app.js", "app.jsx", "main.mjs", "app.cjs"]
    {
        assert_eq!(entry(&[(name, "")]).path, name);
        let below = format!("src/{name}");
        assert_eq!(entry(&[(&below, "")]).path, below);
    }
    assert_eq!(entry(&[("app.js", ""), ("src/main.ts", "")]).path, "app.js");
    assert_eq!(entry(&[("app.js", ""), ("server.js", ""), ("index.ts", "")]).path, "index.ts");
    assert_eq!(entry(&[("bin/www", ""), ("src/x.ts", "")]).path, "bin/www");
}

#[test]
fn a_start_script_names_a_file_as_node_resolves_it() {
    for (script, files, expected) in [
        ("node src/server.js", &["src/server.js", "index.js"][..], "src/server.js"),
        ("node ./bin/www", &["bin/www", "app.js"], "bin/www"),
        ("node build", &["build/index.js"], "build/index.js"),
        ("node app", &["app.js"], "app.js"),
        ("node lib/app", &["lib/app.mjs"], "lib/app.mjs"),
        ("node .", &["index.js", "server.js"], "index.js"),
        ("node dist/main", &["dist/main.js"], "dist/main.js"),
        ("nest start", &["dist/main.js", "src/main.ts"], "dist/main.js"),
        ("npm run build && node dist", &["dist/index.js"], "dist/index.js"),
        ("cd server && node index.js", &["server/index.js"], "server/index.js"),
        ("nodemon", &["index.js"], "index.js"),
        ("deno run -A app.ts", &["app.ts"], "app.ts"),
        ("tsx src/index", &["src/index.ts"], "src/index.ts"),
    ] {
        assert_eq!(started(script, files), expected, "{script}");
    }
    let main = package(r#""main": "lib/server", "scripts": {"start": "node ."}"#);
    assert_eq!(entry(&[("lib/server.js", ""), ("index.js", ""), (main.0, &main.1)]).path, "lib/server.js");
}

#[test]
fn a_main_is_resolved_as_node_does() {
    for (main, files, expected) in [
        ("lib/app", &["lib/app.js"][..], "lib/app.js"),
        ("lib", &["lib/index.js"], "lib/index.js"),
        ("./lib/", &["lib/index.cjs"], "lib/index.cjs"),
        ("./server", &["server.js", "server/index.js"], "server.js"),
        ("x.y", &["x.y.js"], "x.y.js"),
    ] {
        let package = serde_json::json!({ "main": main }).to_string();
        let all: Vec<_> =
            files.iter().map(|file| (*file, "")).chain([("package.json", package.as_str())]).collect();
        let found = entry(&all);
        assert_eq!((found.path.as_str(), found.reason.as_str()), (expected, "main in package.json"));
    }
    let exports =
        r#"{"exports": {".": {"types": "./x.d.ts", "import": {"default": "./x.mjs"}}}, "main": "y.js"}"#;
    assert_eq!(entry(&[("package.json", exports), ("x.mjs", ""), ("y.js", "")]).path, "x.mjs");
}

#[test]
fn scripts_lead_to_scripts_and_never_round() {
    let scripts = r#"{"scripts": {"start": "yarn serve", "serve": "A=1 npm run go -- x", "go": "A=2 B=3 node app.js y"}}"#;
    let found = entry(&[("package.json", scripts), ("app.js", "")]);
    assert_eq!(found.args, ["y", "x"]);
    assert_eq!(
        found.env,
        [("A", "2"), ("B", "3")].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    );
    assert_eq!(found.reason, "scripts.go in package.json");
    let round = r#"{"scripts": {"start": "npm run a", "a": "npm run b", "b": "npm run a"}}"#;
    assert_eq!(entry(&[("package.json", round), ("server.js", "")]).path, "server.js");
    let tasks = r#"{"tasks": {"start": "deno task serve", "serve": {"command": "deno serve -A src/x.ts"}}}"#;
    assert_eq!(entry(&[("deno.json", tasks), ("src/x.ts", "")]).path, "src/x.ts");
    let mixed = r#"{"tasks": {"start": "npm run serve"}}"#;
    let scripts = r#"{"scripts": {"serve": "node x.js"}}"#;
    assert_eq!(entry(&[("deno.json", mixed), ("package.json", scripts), ("x.js", "")]).path, "x.js");
}

#[test]
fn arguments_variables_and_modules_before_it_are_the_entrys() {
    let script = "A=1 PORT=3000 DENO_DIR=x node -r dotenv/config --env-file=.env.prod app.js --port $PORT";
    let text = serde_json::json!({ "scripts": { "start": script } }).to_string();
    let env = ".env.prod";
    let found = entry(&[("package.json", &text), ("app.js", ""), (env, "A=0\nB=2\nTMPDIR=x")]);
    assert_eq!(found.args, ["--port", "$PORT"]);
    assert_eq!(found.preload, ["dotenv/config"]);
    assert_eq!(
        found.env,
        [("A", "1"), ("B", "2")].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    );
    assert!(found.warnings.is_empty());
    let found = entry(&[("package.json", &text), ("app.js", "")]);
    assert!(found.warnings[0].contains("reads variables from .env.prod, which does not exist"), "{found:?}");
    let own = r#"{"switchyard": {"args": ["--own"]}}"#;
    assert_eq!(entry(&[("package.json", &text), ("app.js", ""), ("deno.json", own)]).args, ["--own"]);
    let deploy = r#"{"deploy": {"runtime": {"type": "dynamic", "entrypoint": "./app.js", "args": ["x"]}}}"#;
    assert_eq!(entry(&[("deno.json", deploy), ("app.js", "")]).args, ["x"]);
    for wrong in [r#""x""#, "[1]", r#"["\u0000"]"#, &format!("[{}\"x\"]", "\"x\",".repeat(200))] {
        let own = format!("{{\"switchyard\": {{\"args\": {wrong}}}}}");
        let error = error(&[("deno.json", &own), ("app.js", "")]);
        assert!(
            error.message.starts_with("\"switchyard.args\" in deno.json must be a list"),
            "{}",
            error.message
        );
    }
}

#[test]
fn missing_files_are_passed_over_with_a_warning() {
    let text = r#"{"main": "index.js", "scripts": {"start": "node gone.js"}}"#;
    let found = entry(&[("package.json", text), ("server.js", "")]);
    assert_eq!((found.path.as_str(), found.reason.as_str()), ("server.js", "its name"));
    assert_eq!(
        found.warnings,
        [
            "scripts.start in package.json runs gone.js, which does not exist",
            "main in package.json names index.js, which does not exist"
        ]
    );
    let error = error(&[("package.json", text)]);
    assert!(
        error.message.starts_with("no entry: scripts.start in package.json runs gone.js"),
        "{}",
        error.message
    );
    assert_eq!(error.file.as_deref(), Some("package.json"));
}

#[test]
fn defaults_of_npm_init_and_development_commands_name_no_entry() {
    let text = r#"{"main": "index.js", "scripts": {"start": "vite", "test": "exit 1"}}"#;
    let error = error(&[("package.json", text)]);
    assert_eq!(error.file, None, "a folder of pages may have it: {}", error.message);
    let text = r#"{"scripts": {"start": "wrangler dev"}}"#;
    let worker = r#"{"main": "src/worker.ts" /* why */}"#;
    let found = entry(&[("package.json", text), ("wrangler.jsonc", worker), ("src/worker.ts", "")]);
    assert_eq!((found.path.as_str(), found.warnings.len()), ("src/worker.ts", 0));
    let fresh = r#"{"tasks": {"start": "deno run -A --watch=static/ dev.ts"}}"#;
    assert_eq!(entry(&[("deno.json", fresh), ("dev.ts", ""), ("main.ts", "")]).path, "main.ts");
}

#[test]
fn the_development_command_is_tried_last() {
    let text = r#"{"scripts": {"dev": "tsx watch lib/x.ts"}}"#;
    assert_eq!(entry(&[("package.json", text), ("lib/x.ts", "")]).path, "lib/x.ts");
    assert_eq!(entry(&[("package.json", text), ("lib/x.ts", ""), ("src/app.ts", "")]).path, "src/app.ts");
}

#[test]
fn of_several_commands_the_last_that_serves_counts() {
    for (script, expected) in [
        ("node server.js && open http://localhost:3000", "server.js"),
        ("node migrate.js && node server.js", "server.js"),
        // A command before a missing server is not the server.
        ("node migrate.js && serve dist", "index.js"),
    ] {
        assert_eq!(started(script, &["migrate.js", "server.js", "index.js"]), expected, "{script}");
    }
}

#[test]
fn a_script_called_server_counts_only_without_another_entry() {
    let text =
        r#"{"main": "index.js", "scripts": {"start": "react-scripts start", "server": "node api/x.js"}}"#;
    assert_eq!(
        entry(&[("package.json", text), ("api/x.js", ""), ("public/index.html", "")]).path,
        "api/x.js"
    );
    assert_eq!(entry(&[("package.json", text), ("api/x.js", ""), ("index.js", "")]).path, "index.js");
    let unbuilt = r#"{"scripts": {"build": "tsc", "serve": "node dist/x.js"}}"#;
    assert_eq!(entry(&[("package.json", unbuilt), ("src/app.ts", "")]).path, "src/app.ts");
}

#[test]
fn the_own_entry_is_never_passed_over() {
    for (own, says) in [
        ("\"gone.ts\"", "\"gone.ts\" does not exist: fix \"switchyard.entry\" in deno.json"),
        ("\"../x.ts\"", "is outside the project"),
        ("\"/etc/passwd\"", "is outside the project"),
        ("\"dist/x.js\"", "has not been built: run its build command"),
        ("1", "must be a string"),
    ] {
        let text = format!("{{\"switchyard\": {{\"entry\": {own}}}}}");
        let error = error(&[("deno.json", &text), ("main.ts", ""), ("index.html", ""), ("src/y.ts", "")]);
        assert!(error.message.contains(says), "{}", error.message);
        assert_eq!(error.file.as_deref(), Some("deno.json"));
    }
    let page = r#"{"switchyard": {"entry": "index.html"}}"#;
    assert_eq!(
        entry(&[("deno.json", page), ("index.html", "")]).path,
        "index.html",
        "a site, for its own reason"
    );
    let main = r#"{"main": "index.html"}"#;
    let error = error(&[("package.json", main), ("index.html", "")]);
    assert!(
        error.message.contains("names index.html, an HTML page, which cannot be run"),
        "{}",
        error.message
    );
    assert_eq!(error.file, None);
    let text = r#"{"switchyard": {"entry": "./server"}}"#;
    assert_eq!(entry(&[("deno.json", text), ("server/index.ts", "")]).path, "server/index.ts");
}

#[test]
fn a_project_that_has_not_been_built_names_its_build_command() {
    let text = r#"{"main": "dist/index.js", "scripts": {"build": "tsc -p ."}}"#;
    let error = error(&[("package.json", text), ("src/index.ts", "")]);
    for says in [
        "main in package.json names dist/index.js, which does not exist",
        "run npm run build (\"tsc -p .\") in it",
        "\"entry\": \"src/index.ts\"",
    ] {
        assert!(error.message.contains(says), "{}", error.message);
    }
    assert_eq!(error.file.as_deref(), Some("package.json"));
}

#[test]
fn an_unbuilt_project_of_a_framework_says_how() {
    for (name, dependency, files) in [
        ("Next.js", "next", &["app/page.jsx"][..]),
        ("Nuxt", "nuxt", &["app/app.vue"]),
        ("SvelteKit", "@sveltejs/kit", &["src/app.html"]),
        ("Astro", "astro", &["src/pages/index.astro"]),
        ("SolidStart", "@solidjs/start", &["src/app.tsx"]),
        ("TanStack Start", "@tanstack/react-start", &["src/server.ts"]),
        ("Vite", "vite", &["index.html", "src/main.tsx"]),
        ("Create React App", "react-scripts", &["public/index.html", "src/index.js"]),
    ] {
        let text =
            serde_json::json!({ "scripts": { "build": "make it" }, "devDependencies": { dependency: "*" } });
        let text = text.to_string();
        let all: Vec<_> =
            files.iter().map(|file| (*file, "")).chain([("package.json", text.as_str())]).collect();
        let error = error(&all);
        assert!(
            error.message.contains(&format!("that {name} builds, and it has not been built")),
            "{}",
            error.message
        );
        assert!(error.message.contains("npm run build (\"make it\")"), "{}", error.message);
        assert_eq!(error.file, None);
    }
    let text =
        r#"{"scripts": {"build": "next build", "start": "next start"}, "dependencies": {"next": "1"}}"#;
    let error = error(&[("package.json", text), ("app/page.jsx", "")]);
    assert!(
        error.message.contains("scripts.start in package.json serves .next, which does not exist"),
        "{}",
        error.message
    );
    assert!(
        entry(&[("src/index.ts", ""), ("package.json", r#"{"devDependencies": {"vite": "1"}}"#)])
            .args
            .is_empty()
    );
}

#[test]
fn outputs_of_frameworks_are_found() {
    let next = r#"{"relativeAppDir": ""}"#;
    let standalone = "process.env.__NEXT_PRIVATE_STANDALONE_CONFIG = 1";
    for (expected, files) in [
        ("build/index.js", &[("build/index.js", ""), ("build/handler.js", ""), ("src/app.html", "")][..]),
        ("index.js", &[("index.js", ""), ("handler.js", "")]),
        (
            ".output/server/index.mjs",
            &[(".output/server/index.mjs", ""), (".output/nitro.json", "{}"), ("server/x.ts", "")],
        ),
        ("server/index.mjs", &[("server/index.mjs", ""), ("nitro.json", "{}")]),
        ("dist/server/entry.mjs", &[("dist/server/entry.mjs", ""), ("dist/client/x", "")]),
        ("server/entry.mjs", &[("server/entry.mjs", ""), ("client/x", "")]),
        ("dist/shop/server/server.mjs", &[("dist/shop/server/server.mjs", "")]),
        ("_fresh/server.js", &[("_fresh/server.js", ""), ("main.ts", "")]),
        (
            ".next/standalone/server.js",
            &[
                (".next/BUILD_ID", ""),
                (".next/required-server-files.json", next),
                (".next/standalone/server.js", standalone),
            ],
        ),
        (
            ".next/standalone/apps/web/server.js",
            &[
                (".next/BUILD_ID", ""),
                (".next/required-server-files.json", r#"{"relativeAppDir": "apps/web"}"#),
                (".next/standalone/apps/web/server.js", standalone),
            ],
        ),
        (
            "server.js",
            &[
                (".next/BUILD_ID", ""),
                (".next/required-server-files.json", next),
                ("server.js", standalone),
                ("package.json", r#"{"scripts": {"start": "next start"}}"#),
            ],
        ),
        // A server of the project imports the output of Astro.
        ("server.mjs", &[("server.mjs", ""), ("dist/server/entry.mjs", ""), ("dist/client/x", "")]),
    ] {
        let found = entry(files);
        assert_eq!((found.path.as_str(), found.warnings.len()), (expected, 0));
    }
}

#[test]
fn a_standalone_build_of_next_without_its_files_is_reported_or_passed_over() {
    let mut files = vec![
        (".next/BUILD_ID", ""),
        (".next/static/x.js", ""),
        ("public/x.txt", ""),
        (".next/required-server-files.json", "{}"),
        (".next/standalone/server.js", "__NEXT_PRIVATE_STANDALONE_CONFIG"),
        ("package.json", r#"{"dependencies": {"next": "1"}, "scripts": {"start": "next start -p $PORT"}}"#),
    ];
    let found = entry(&files);
    assert_eq!(found.path, ".next/standalone/server.js");
    assert!(found.warnings[0].contains("cp -r .next/static .next/standalone/.next/"), "{:?}", found.warnings);
    assert!(found.args.is_empty());
    files.extend([
        ("node_modules/next/package.json", r#"{"bin": {"next": "./dist/bin/next"}}"#),
        ("node_modules/next/dist/bin/next", ""),
    ]);
    let found = entry(&files);
    assert_eq!((found.path.as_str(), found.warnings.len()), ("node_modules/next/dist/bin/next", 0));
    assert_eq!(found.args, ["start", "-p", "$PORT"]);
    assert_eq!(found.outputs, [".next", "public"]);
    files.extend([(".next/standalone/.next/static/x.js", ""), (".next/standalone/public/x.txt", "")]);
    assert_eq!(entry(&files).path, ".next/standalone/server.js");
}

#[test]
fn a_program_of_a_package_is_found_through_its_package_json() {
    let script = r#"{"scripts": {"start": "react-router-serve ./build/server/index.js"}, "dependencies": {"@react-router/serve": "7"}}"#;
    let serve = r#"{"bin": {"react-router-serve": "bin.js"}}"#;
    let mut files = vec![("package.json", script), ("build/server/index.js", "")];
    let found = entry(&files);
    assert_eq!(found.path, "node_modules/.bin/react-router-serve", "it is not installed yet");
    assert!(is_in_package(&found.path));
    files.extend([
        ("node_modules/@react-router/serve/package.json", serve),
        ("node_modules/@react-router/serve/bin.js", ""),
    ]);
    let found = entry(&files);
    assert_eq!(found.path, "node_modules/@react-router/serve/bin.js");
    assert_eq!(found.args, ["./build/server/index.js"]);
    assert_eq!(found.outputs, ["build"]);
    let dir = project(&files);
    let program = |name: &str| program(dir.path(), &format!("node_modules/.bin/{name}"));
    assert_eq!(program("react-router-serve").as_deref(), Some("node_modules/@react-router/serve/bin.js"));
    assert_eq!(program("gone"), None);
    for bin in [r#"{"bin": {"x": "../../../etc/passwd"}}"#, r#"{"bin": "x.js"}"#, "[]", "{"] {
        let script = r#"{"scripts": {"start": "x"}, "dependencies": {"y": "1"}}"#;
        let found =
            entry(&[("package.json", script), ("node_modules/y/package.json", bin), ("server.js", "")]);
        assert_eq!(found.path, "server.js", "{bin}");
        assert!(found.warnings[0].contains("no installed package provides"), "{:?}", found.warnings);
    }
}

#[test]
fn unreadable_files_are_survived() {
    let deep = format!("{}1{}", "{\"import\":".repeat(100), "}".repeat(100));
    let long = format!("node {}", "x".repeat(100_000));
    for text in [
        format!("{{\"exports\": {deep}}}"),
        serde_json::json!({ "scripts": { "start": long } }).to_string(),
        serde_json::json!({ "scripts": { "start": "node \u{0}" } }).to_string(),
        serde_json::json!({ "scripts": { "start": ["node", "x"], "prod": { "command": 1 } } }).to_string(),
        r#"{"scripts": "node x", "main": ["x"], "exports": [1], "dependencies": 7}"#.to_owned(),
    ] {
        assert_eq!(entry(&[("package.json", &text), ("main.ts", "")]).path, "main.ts");
    }
}

#[test]
fn scripts_that_run_each_other_many_times_over_end() {
    let many = |name: &str| format!("npm run {name}; ").repeat(500);
    let names = ["start", "a", "b", "c", "d", "e", "f", "g", "h"];
    let scripts: serde_json::Map<_, _> =
        names.windows(2).map(|pair| (pair[0].to_owned(), many(pair[1]).into())).collect();
    let mut text = serde_json::json!({ "scripts": scripts, "dependencies": { "x": "1" } });
    text["scripts"]["h"] = "gone ".repeat(2).into();
    let text = text.to_string();
    let found = entry(&[("package.json", &text), ("node_modules/x/package.json", "{}"), ("app.js", "")]);
    assert_eq!(found.path, "app.js");
}

#[test]
fn texts_of_a_project_are_bounded_wherever_they_are_shown() {
    let long = "x".repeat(500_000);
    let command = format!("node {}app.js", "-r x --env-file=gone ".repeat(300));
    let scripts = serde_json::json!({ "main": long, "scripts": { "start": command } }).to_string();
    let found = entry(&[("package.json", &scripts), ("app.js", "")]);
    assert_eq!((found.preload.len(), found.warnings.len()), (16, 4));
    let scripts = serde_json::json!({ "main": long, "exports": long }).to_string();
    let found = entry(&[("package.json", &scripts), ("main.ts", "")]);
    assert!(found.warnings.iter().all(|warning| warning.len() < 500));
    let own = serde_json::json!({ "switchyard": { "entry": format!("dist/{long}") } }).to_string();
    assert!(error(&[("deno.json", &own), ("src/x", "")]).message.len() < 500);
}

#[test]
fn no_link_in_packages_leads_the_search_out_of_the_project() {
    let script = r#"{"scripts": {"start": "x"}, "dependencies": {"x": "1"}}"#;
    let other = project(&[("package.json", r#"{"bin": "x.js"}"#), ("x.js", "")]);
    let files = [("package.json", script), ("server.js", ""), ("node_modules/y/x.js", "")];
    let dir = project(&files);
    let link = |to: &Path, at: &str| std::os::unix::fs::symlink(to, dir.path().join(at)).unwrap();
    link(other.path(), "node_modules/x");
    assert_eq!(search(dir.path()).unwrap().path, "server.js");
    std::fs::remove_file(dir.path().join("node_modules/x")).unwrap();
    std::fs::create_dir(dir.path().join("node_modules/x")).unwrap();
    link(&other.path().join("package.json"), "node_modules/x/package.json");
    std::fs::write(dir.path().join("node_modules/x/x.js"), "").unwrap();
    assert_eq!(search(dir.path()).unwrap().path, "server.js");
    // Another folder of the project's own, as a workspace's member is.
    std::fs::remove_dir_all(dir.path().join("node_modules/x")).unwrap();
    std::fs::create_dir(dir.path().join("member")).unwrap();
    std::fs::write(dir.path().join("member/package.json"), r#"{"bin": {"x": "./x.js"}}"#).unwrap();
    std::fs::write(dir.path().join("member/x.js"), "").unwrap();
    link(Path::new("../member"), "node_modules/x");
    assert_eq!(search(dir.path()).unwrap().path, "node_modules/x/x.js");
}

#[test]
fn the_start_script_of_a_workspace_runs_that_of_a_member() {
    let member = r#"{"name": "@a/api", "scripts": {"start": "node --env-file=.env -r ./pre server.js"}}"#;
    for start in [
        "npm start -w @a/api",
        "npm run start --workspace=packages/backend",
        "npm run start --workspace @a/api",
        "pnpm --filter @a/api start",
        "yarn workspace @a/api start",
        "cd packages/backend && npm start",
        "npm --prefix packages/backend start",
        "concurrently 'npm start -w @a/api' 'vite'",
    ] {
        let text = serde_json::json!({ "workspaces": ["packages/*"], "scripts": { "start": start } });
        let found = entry(&[
            ("package.json", &text.to_string()),
            ("packages/backend/package.json", member),
            ("packages/backend/server.js", ""),
            ("packages/backend/pre.js", ""),
            ("packages/backend/.env", "A=b"),
            ("packages/web/package.json", r#"{"name": "@a/web"}"#),
        ]);
        assert_eq!(found.path, "packages/backend/server.js", "{start}");
        assert_eq!(found.preload, ["./packages/backend/pre.js"], "{start}");
        assert_eq!(found.env["A"], "b", "{start}");
        assert_eq!(found.reason, "scripts.start in package.json");
    }
}

#[test]
fn members_that_run_each_other_end() {
    let text = |scripts: &str| format!(r#"{{"name": "a", "scripts": {{"start": "{scripts}"}}}}"#);
    let found = error(&[
        ("package.json", &text("npm start -w a; npm start --prefix b")),
        ("a/package.json", &text("npm --prefix .. start")),
        ("b/package.json", &text("npm start --prefix ../b || cd . && npm start")),
    ]);
    assert!(found.message.contains("scripts.start in package.json"), "{}", found.message);
    let found = error(&[("package.json", &text("cd a && npm start")), ("a/package.json", "[")]);
    assert!(found.file.is_none());
    let text =
        r#"{"scripts": {"start": "npm run a; npm run a", "a": "npm run b; npm run b", "b": "npm run a"}}"#;
    let found = error(&[("package.json", text)]);
    assert_eq!(found.message.matches("scripts.b in package.json").count(), 1, "{}", found.message);
}

#[test]
fn of_programs_that_run_beside_each_other_the_server_is_the_entry() {
    assert_eq!(started("concurrently 'node api.js' 'tailwindcss -w'", &["api.js"]), "api.js");
    for start in ["run-p web api", "run-p api web"] {
        let scripts = serde_json::json!({ "start": start, "web": "vite", "api": "node api.js" });
        let text = serde_json::json!({ "scripts": scripts }).to_string();
        assert_eq!(entry(&[("package.json", &text), ("api.js", "")]).path, "api.js", "{start}");
    }
}

#[test]
fn a_missing_script_is_named() {
    let found = error(&[("package.json", r#"{"scripts": {"start": "npm run gone"}}"#)]);
    assert!(found.message.contains("runs the script \"gone\""), "{}", found.message);
}

#[test]
fn imports_are_taken_as_a_compiler_takes_them_where_one_runs_the_program() {
    let sloppy = "DENO_UNSTABLE_SLOPPY_IMPORTS";
    for (start, expected) in [("tsx a.ts", true), ("npm run x", true), ("node a.ts", false)] {
        let text = serde_json::json!({ "scripts": { "start": start, "x": "ts-node a.ts" } }).to_string();
        let found = entry(&[("package.json", &text), ("a.ts", "")]);
        assert_eq!(found.env.contains_key(sloppy), expected, "{start}");
    }
    let own = "DENO_UNSTABLE_SLOPPY_IMPORTS=1 node a.ts";
    let text = serde_json::json!({ "scripts": { "start": own } }).to_string();
    assert!(entry(&[("package.json", &text), ("a.ts", "")]).env.is_empty());
}
