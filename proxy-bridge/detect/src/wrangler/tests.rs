use super::*;

fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

fn read_in(files: &[(&str, &str)], environment: Option<&str>) -> Result<Option<Worker>, Diagnostic> {
    read(project(files).path(), environment)
}

fn worker(file: &str, text: &str) -> Worker {
    read_in(&[(file, text)], None).unwrap().unwrap()
}

fn error(file: &str, text: &str) -> Diagnostic {
    read_in(&[(file, text)], None).unwrap_err()
}

#[test]
fn json_and_toml_say_the_same() {
    let toml = r#"
        main = "./src/index.ts"
        compatibility_flags = ["nodejs_compat"]
        [vars]
        NAME = "a"
        NUMBER = 3
        LIST = [1, { deep = true }]
        [assets]
        directory = "./public/"
        binding = "ASSETS"
        not_found_handling = "404-page"
        run_worker_first = ["/api/*", "!/api/docs/*"]
        [triggers]
        crons = ["* * * * *"]
        [[rules]]
        type = "Text"
        globs = ["**/*.md"]
        fallthrough = true
        [[ratelimits]]
        name = "LIMIT"
        namespace_id = "1"
        simple = { limit = 2, period = 60 }
    "#;
    let json = r#"{ // comment
        "main": "src/index.ts", "compatibility_flags": ["nodejs_compat"],
        "vars": {"NAME": "a", "NUMBER": 3, "LIST": [1, {"deep": true}]},
        "assets": {"directory": "public", "binding": "ASSETS", "not_found_handling": "404-page",
            "run_worker_first": ["/api/*", "!/api/docs/*"]},
        "triggers": {"crons": ["* * * * *"]},
        "rules": [{"type": "Text", "globs": ["**/*.md"], "fallthrough": true}],
        "ratelimits": [{"name": "LIMIT", "namespace_id": "1", "simple": {"limit": 2, "period": 60}}],
    }"#;
    let toml = worker("wrangler.toml", toml);
    assert_eq!(worker("wrangler.jsonc", json), Worker { file: "wrangler.jsonc".into(), ..toml.clone() });
    assert_eq!(toml.main.as_deref(), Some("src/index.ts"));
    assert!(toml.node_compat);
    assert_eq!(toml.vars["LIST"][1]["deep"], true);
    let assets = toml.assets.unwrap();
    assert_eq!((assets.directory.as_str(), assets.binding.as_deref()), ("public", Some("ASSETS")));
    assert_eq!(assets.not_found_handling, NotFoundHandling::NotFoundPage);
    assert_eq!(assets.html_handling, HtmlHandling::AutoTrailingSlash);
    assert!(matches!(assets.run_worker_first, WorkerFirst::Paths(paths) if paths.len() == 2));
    assert_eq!(toml.crons, ["* * * * *"]);
    assert_eq!((toml.rate_limits[0].limit, toml.rate_limits[0].period), (2, 60));
}

#[test]
fn the_first_of_the_files_counts() {
    let files = [("wrangler.toml", "main = \"a.js\""), ("wrangler.json", r#"{"main": "b.js"}"#)];
    assert_eq!(read_in(&files, None).unwrap().unwrap().main.as_deref(), Some("b.js"));
    assert_eq!(read_in(&[], None).unwrap(), None);
}

#[test]
fn an_environment_has_its_own_variables_and_bindings_and_inherits_the_rest() {
    let text = r#"
        main = "a.js"
        vars = { A = "top" }
        kv_namespaces = [{ binding = "CACHE", id = "1" }]
        [triggers]
        crons = ["0 0 * * *"]
        [env.production]
        vars = { B = "own" }
        [env.other]
        main = "b.js"
    "#;
    let read = |name| read_in(&[("wrangler.toml", text)], name);
    let production = read(Some("production")).unwrap().unwrap();
    assert_eq!(production.main.as_deref(), Some("a.js"));
    assert_eq!(production.vars.keys().collect::<Vec<_>>(), ["B"]);
    assert_eq!(production.crons, ["0 0 * * *"]);
    assert_eq!(read(Some("other")).unwrap().unwrap().main.as_deref(), Some("b.js"));
    assert!(read(None).unwrap_err().message.contains("CACHE"));
    let error = read(Some("staging")).unwrap_err();
    assert!(
        ["\"staging\"", "other", "production"].iter().all(|name| error.message.contains(name)),
        "{}",
        error.message
    );
}

#[test]
fn each_missing_binding_is_named_with_its_location_and_an_alternative() {
    for (key, value, name, says) in [
        ("kv_namespaces", r#"[{"binding": "CACHE", "id": "x"}]"#, "CACHE", "Deno.openKv()"),
        ("d1_databases", r#"[{"binding": "DB", "database_name": "x"}]"#, "DB", "node:sqlite"),
        ("r2_buckets", r#"[{"binding": "FILES"}]"#, "FILES", "DATA_DIR"),
        (
            "durable_objects",
            r#"{"bindings": [{"name": "ROOM", "class_name": "Room"}]}"#,
            "ROOM",
            "Durable Objects",
        ),
        ("queues", r#"{"producers": [{"binding": "JOBS", "queue": "x"}]}"#, "JOBS", "listenQueue"),
        ("queues", r#"{"consumers": [{"queue": "x"}]}"#, "Queues", "listenQueue"),
        ("ai", r#"{"binding": "AI"}"#, "AI", "fetch"),
        ("vectorize", r#"[{"binding": "INDEX"}]"#, "INDEX", "Vectorize"),
        ("hyperdrive", r#"[{"binding": "PG"}]"#, "PG", "database"),
        ("services", r#"[{"binding": "AUTH", "service": "auth"}]"#, "AUTH", "fetch"),
        ("browser", r#"{"binding": "BROWSER"}"#, "BROWSER", "Browser Rendering"),
        ("analytics_engine_datasets", r#"[{"binding": "EVENTS"}]"#, "EVENTS", "Analytics"),
        ("send_email", r#"[{"name": "MAIL"}]"#, "MAIL", "Email"),
        ("mtls_certificates", r#"[{"binding": "CERT"}]"#, "CERT", "createHttpClient"),
        ("workflows", r#"[{"binding": "FLOW", "name": "x", "class_name": "X"}]"#, "FLOW", "Workflows"),
        ("images", r#"{"binding": "IMAGES"}"#, "IMAGES", "Images"),
        ("dispatch_namespaces", r#"[{"binding": "TENANTS"}]"#, "TENANTS", "Dispatch"),
        ("secrets_store_secrets", r#"[{"binding": "KEY"}]"#, "KEY", "policy"),
        ("pipelines", r#"[{"binding": "PIPE"}]"#, "PIPE", "Pipelines"),
        ("containers", r#"[{"class_name": "Box", "name": "BOX"}]"#, "BOX", "Containers"),
        ("unsafe", r#"{"bindings": [{"name": "ODD", "type": "x"}]}"#, "ODD", "does not have"),
        ("wasm_modules", r#"{"MODULE": "a.wasm"}"#, "MODULE", "import"),
        ("site", r#"{"bucket": "./public"}"#, "Workers Sites", "assets"),
    ] {
        let error = error("wrangler.json", &format!("{{\n  \"main\": \"a.js\",\n  \"{key}\": {value}\n}}"));
        assert_eq!((error.file.as_deref(), error.line), (Some("wrangler.json"), Some(3)), "{key}");
        assert!(error.message.contains(name) && error.message.contains(says), "{}", error.message);
        assert!(error.message.contains(key), "{}", error.message);
    }
    // In TOML, in a table of an environment.
    let text = "main = \"a.js\"\n[env.production]\n[[env.production.kv_namespaces]]\nbinding = \"CACHE\"\n";
    let error = read_in(&[("wrangler.toml", text)], Some("production")).unwrap_err();
    assert_eq!(error.file.as_deref(), Some("wrangler.toml"));
    assert!(error.line.is_some() && error.message.contains("env.production.kv_namespaces"), "{error:?}");
}

#[test]
fn lists_without_bindings_and_unknown_keys_are_nothing() {
    let text = r#"{"main": "a.js", "kv_namespaces": [], "queues": {}, "durable_objects": {"bindings": []},
        "unsafe": {"bindings": [{"name": "LIMIT", "type": "ratelimit", "namespace_id": "1",
            "simple": {"limit": 1, "period": 10}}]},
        "observability": {"enabled": true}, "migrations": [], "something_new": 1}"#;
    assert_eq!(worker("wrangler.json", text).rate_limits.len(), 1);
}

#[test]
fn fields_of_the_wrong_type_are_named_with_their_location() {
    let long = format!("{{\n\"triggers\": {{\"crons\": [\"{}\"]}}}}", "*".repeat(257));
    for (text, says) in [
        ("{\n\"main\": 1}", "\"main\" in wrangler.json must be a string"),
        ("{\n\"main\": \"../a.js\"}", "\"main\" in wrangler.json must be a file inside the project"),
        ("{\n\"vars\": []}", "\"vars\" in wrangler.json must be a table"),
        ("{\n\"compatibility_flags\": \"x\"}", "must be a list of strings"),
        ("{\n\"rules\": [{\"type\": \"Png\", \"globs\": []}]}", "CompiledWasm"),
        ("{\n\"assets\": {}}", "\"assets.directory\" in wrangler.json is needed"),
        ("{\n\"assets\": {\"directory\": \"/etc\"}}", "inside the project"),
        ("{\n\"assets\": {\"directory\": \"a\", \"html_handling\": \"x\"}}", "`force-trailing-slash`"),
        ("{\n\"assets\": {\"directory\": \"a\", \"run_worker_first\": [\"api\"]}}", "/api/*"),
        ("{\n\"triggers\": {\"crons\": [1]}}", "\"triggers.crons\""),
        (long.as_str(), "at most 250"),
        ("{\n\"ratelimits\": [{\"name\": \"A\"}]}", "simple"),
        ("{\n\"alias\": {\"a\": 1}}", "\"alias\""),
    ] {
        let error = error("wrangler.json", text);
        assert_eq!((error.file.as_deref(), error.line), (Some("wrangler.json"), Some(2)), "{text}");
        assert!(error.message.contains(says), "{}", error.message);
    }
}

#[test]
fn values_of_variables_have_a_limited_depth() {
    let nested = |levels| format!("{{\"vars\": {{\"A\": {}{}}}}}", "[".repeat(levels), "]".repeat(levels));
    worker("wrangler.json", &nested(32));
    assert!(error("wrangler.json", &nested(33)).message.contains("\"vars\""));
}

#[test]
fn a_byte_order_mark_is_not_part_of_the_configuration() {
    assert_eq!(worker("wrangler.json", "\u{feff}{\"vars\": {\"A\": 1}}").vars["A"], 1);
}

#[test]
fn invalid_syntax_is_reported_with_its_location() {
    for (file, text, line) in
        [("wrangler.toml", "main = \"a.js\"\nvars = {", 2), ("wrangler.json", "{\n  \"main\": }", 2)]
    {
        let error = error(file, text);
        assert_eq!((error.file.as_deref(), error.line), (Some(file), Some(line)), "{}", error.message);
    }
    for (file, text) in [
        ("wrangler.json", "[".repeat(100_000)),
        ("wrangler.json", format!("{}1{}", "{\"a\":".repeat(50_000), "}".repeat(50_000))),
        ("wrangler.toml", format!("a = {}", "[".repeat(100_000))),
        ("wrangler.toml", format!("a = \"{}\"", "x".repeat(1 << 20))),
        ("wrangler.json", "1".to_owned()),
        ("wrangler.json", String::new()),
    ] {
        assert_eq!(error(file, &text).file.as_deref(), Some(file));
    }
}

#[test]
fn a_main_that_has_to_be_built_is_requested() {
    let entry = |text: &str, files: &[(&str, &str)]| {
        let dir = project(&[&[("wrangler.toml", text)], files].concat());
        let worker = read(dir.path(), None).unwrap().unwrap();
        worker.entry(dir.path()).map(|main| main.map(str::to_owned))
    };
    let built = "main = \"dist/a.js\"\n[build]\ncommand = \"npm run build\"\n";
    let error = entry(built, &[]).unwrap_err();
    assert!(
        error.message.contains("npm run build") && error.message.contains("dist/a.js"),
        "{}",
        error.message
    );
    assert_eq!(entry(built, &[("dist/a.js", "")]).unwrap().as_deref(), Some("dist/a.js"));
    assert!(entry("main = \"a.py\"", &[("a.py", "")]).unwrap_err().message.contains("Python"));
    assert_eq!(entry("[assets]\ndirectory = \"a\"", &[]).unwrap(), None);
}

#[test]
fn the_configuration_of_a_build_is_used_if_it_exists() {
    let redirect = (".wrangler/deploy/config.json", r#"{"configPath": "../../dist/app/wrangler.json"}"#);
    let own = ("wrangler.jsonc", r#"{"main": "src/index.ts"}"#);
    let built = ("dist/app/wrangler.json", r#"{"main": "index.js", "assets": {"directory": "../client"}}"#);
    let worker = read_in(&[redirect, own, built], Some("production")).unwrap().unwrap();
    assert_eq!((worker.file.as_str(), worker.main.as_deref()), (built.0, Some("dist/app/index.js")));
    assert_eq!(worker.assets.unwrap().directory, "dist/client");
    assert_eq!(read_in(&[redirect, own], None).unwrap().unwrap().main.as_deref(), Some("src/index.ts"));
    for path in ["../../../x/wrangler.json", "/etc/wrangler.json", "../../deno.json"] {
        let redirect = (redirect.0, format!("{{\"configPath\": {path:?}}}"));
        let error = read_in(&[(redirect.0, &redirect.1), own], None).unwrap_err();
        assert_eq!(error.file.as_deref(), Some(redirect.0), "{path}");
    }
}

#[test]
fn files_that_are_not_assets_are_named_beside_them() {
    let own = ("wrangler.toml", "[assets]\ndirectory = \"./dist\"");
    let worker = read_in(&[own, ("dist/.assetsignore", "_worker.js\n*.map\n")], None).unwrap().unwrap();
    assert_eq!(worker.assets.unwrap().ignored, ["_worker.js", "*.map"]);
    let error = read_in(&[own, ("dist/.assetsignore", &"x\n".repeat(101))], None).unwrap_err();
    assert_eq!(error.file.as_deref(), Some("dist/.assetsignore"));
}

#[test]
fn a_pages_project_is_the_output_of_its_build() {
    let own = ("wrangler.toml", "pages_build_output_dir = \"./dist\"");
    assert!(read_in(&[own], None).unwrap_err().message.contains("run the build"));
    let files = [own, ("dist/index.html", "")];
    let worker = read_in(&files, None).unwrap().unwrap();
    let assets = worker.assets.unwrap();
    assert_eq!((worker.main, assets.directory.as_str()), (None, "dist"));
    assert_eq!(assets.not_found_handling, NotFoundHandling::SinglePageApplication);
    let worker = read_in(&[own, ("dist/_worker.js", "")], None).unwrap().unwrap();
    assert_eq!(worker.main.as_deref(), Some("dist/_worker.js"));
    assert_eq!(worker.assets.unwrap().run_worker_first, WorkerFirst::Always(true));
    let error = read_in(&[own, ("dist/a", ""), ("functions/a.ts", "")], None).unwrap_err();
    assert!(error.message.contains("functions"), "{}", error.message);
}
