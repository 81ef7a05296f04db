//! The entry of a project: its file, arguments, variables and preloaded modules.

use serde_json::{Value, json};
use switchyard_contract::admin::{ChosenEntry, ReloadOutcome};
use switchyard_integration::registry::Registry;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

/// A node:http server that answers with the way it was started.
const TELLS: &str = "
const { createServer } = require('node:http');
createServer((request, response) => response.end(JSON.stringify({
  argv: process.argv.slice(2),
  file: process.argv[1].split('/').slice(-2).join('/'),
  is_main: require.main === module,
  mode: process.env.MODE,
  other: process.env.OTHER,
  port: process.env.PORT,
  before: globalThis.before,
}))).listen(process.env.PORT);
";

/// A program that serves the export of the module in its first argument, as `react-router-serve`
/// does.
const SERVES: &str = "#!/usr/bin/env node
const { createServer } = require('node:http');
const { resolve } = require('node:path');
const dependency = require('word');
import(resolve(process.argv[2])).then(({ text }) =>
  createServer((request, response) => response.end(text + dependency)).listen(3000));
";

async fn description(router: &Router, project: &str) -> Value {
    let status = router.admin.project(project).await;
    assert_eq!(status.error, None);
    serde_json::from_str(&router.public.get(&format!("/{project}/")).await.text())
        .expect("the answer is JSON")
}

async fn entry(router: &Router, project: &str) -> ChosenEntry {
    router.admin.project(project).await.entry.expect("its files were read")
}

fn scripts(start: &str) -> String {
    json!({ "scripts": { "start": start } }).to_string()
}

/// Returns the number of log lines with this text.
fn count(router: &Router, text: &str) -> usize {
    router.log.lines().iter().filter(|line| line.contains(text)).count()
}

#[tokio::test]
async fn a_start_script_names_the_entry_and_its_options() {
    let volume = Volume::new();
    let start =
        "MODE=script OTHER=own PORT=1 node -r ./before --env-file=.vars src/server.js --port=$PORT 'a b'";
    volume
        .project("a")
        .file("package.json", scripts(start))
        .file("src/server.js", TELLS)
        .file("before.js", "globalThis.before = process.argv.length;")
        .file(".vars", "MODE=file\nOTHER=file\n")
        .write();
    volume.write("_policy/policy.toml", "[defaults.env]\nOTHER = \"policy\"\n");
    let router =
        Router::builder(&volume).flag("policy", volume.path("_policy/policy.toml").display()).unwatched();
    let router = router.start().await;
    let expected = json!({
        "argv": ["--port=8000", "a b"],
        "file": "src/server.js",
        "is_main": true,
        "mode": "script",
        "other": "policy",
        "port": "8000",
        "before": 4,
    });
    assert_eq!(description(&router, "a").await, expected);
    let chosen = entry(&router, "a").await;
    assert_eq!(chosen.path, "src/server.js");
    assert_eq!(chosen.args, ["--port=$PORT", "a b"]);
    assert_eq!(chosen.reason, "scripts.start in package.json");
    let line = "the entry of a is src/server.js, chosen by scripts.start in package.json";
    assert_eq!(count(&router, line), 1);
    volume.write("a/other.txt", "x");
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    assert_eq!(count(&router, line), 1, "it has not changed");
    volume.write("a/deno.json", r#"{"switchyard": {"entry": "src/server.js", "args": ["own"]}}"#);
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    assert_eq!(description(&router, "a").await["argv"], json!(["own"]));
    assert_eq!(count(&router, "the entry of a is src/server.js, chosen by switchyard.entry in deno.json"), 1);
}

#[tokio::test]
async fn a_task_gives_its_arguments_to_deno_and_to_workers() {
    let main = "
        const answered = new Promise((resolve) => {
          const worker = new Worker(import.meta.resolve('./worker.ts'), { type: 'module' });
          worker.onmessage = ({ data }) => resolve(data);
        });
        Deno.serve(async () => Response.json([Deno.args, await answered]));
    ";
    let volume = Volume::new();
    let tasks = json!({ "tasks": { "start": { "command": "deno run -A --watch src/start.ts --level 3" } } });
    volume
        .project("a")
        .file("deno.json", tasks.to_string())
        .file("src/start.ts", main)
        .file("src/worker.ts", "postMessage(Deno.args);")
        .write();
    let router = Router::start(&volume).await;
    assert_eq!(description(&router, "a").await, json!([["--level", "3"], ["--level", "3"]]));
}

#[tokio::test]
async fn a_missing_file_is_a_warning_or_part_of_the_error() {
    let package = json!({ "main": "index.js", "scripts": { "start": "node gone.js" } }).to_string();
    let volume = Volume::new();
    volume.project("a").file("package.json", &package).file("server.js", TELLS).write();
    volume.project("b").file("package.json", &package).write();
    let built = json!({ "scripts": { "start": "node dist/server.js", "build": "tsc" } }).to_string();
    volume.project("c").file("package.json", built).file("src/server.ts", "").write();
    let router = Router::start(&volume).await;
    assert_eq!(description(&router, "a").await["file"], "a/server.js");
    let warnings = entry(&router, "a").await.warnings;
    assert_eq!(warnings[0], "scripts.start in package.json runs gone.js, which does not exist");
    assert_eq!(warnings[1], "main in package.json names index.js, which does not exist");
    assert_eq!(count(&router, &format!("a: {}", warnings[0])), 1);
    let error = router.admin.project("b").await.error.unwrap();
    assert!(error.message.starts_with("no entry: scripts.start in package.json runs gone.js"), "{error:?}");
    let error = router.admin.project("c").await.error.unwrap();
    assert!(error.message.contains("run npm run build (\"tsc\") in it"), "{error:?}");
    assert!(error.message.contains("\"entry\": \"src/server.ts\""), "{error:?}");
    assert_eq!(error.file.as_deref(), Some("package.json"));
}

#[tokio::test]
async fn a_built_server_is_found_from_the_root_and_from_the_output_alone() {
    let volume = Volume::new();
    for (project, folder) in [("root", "build/"), ("alone", "")] {
        volume
            .project(project)
            .file(
                &format!("{folder}index.js"),
                "import { handler } from './handler.js';\nDeno.serve(handler);\n",
            )
            .file(&format!("{folder}handler.js"), "export const handler = () => new Response('built');\n")
            .write();
    }
    volume.write("root/package.json", r#"{"type": "module", "devDependencies": {"@sveltejs/kit": "2"}}"#);
    volume.write("root/src/app.html", "<p>");
    volume
        .project("source")
        .file("package.json", volume.read("root/package.json"))
        .file("src/app.html", "")
        .write();
    // The output, with a copy of the project's package.json beside it.
    volume
        .project("copied")
        .file(
            "package.json",
            json!({ "scripts": { "build": "vite build", "start": "node build" } }).to_string(),
        )
        .file("index.js", volume.read("alone/index.js"))
        .file("handler.js", volume.read("alone/handler.js"))
        .write();
    let router = Router::start(&volume).await;
    for project in ["root", "alone", "copied"] {
        assert_eq!(router.public.get(&format!("/{project}/")).await.text(), "built");
        assert_eq!(entry(&router, project).await.reason, "the build of SvelteKit");
    }
    let error = router.admin.project("source").await.error.unwrap();
    assert!(error.message.contains("that SvelteKit builds, and it has not been built"), "{error:?}");
}

#[tokio::test]
async fn typescript_beside_a_package_json_is_imported_as_its_runners_find_it() {
    let volume = Volume::new();
    volume
        .project("a")
        .file("package.json", scripts("tsx watch src/server.ts"))
        .file(
            "src/server.ts",
            "import http from 'node:http';\nimport { a } from './a.js';\nimport { b } from './b';\n\
             http.createServer(async (q, r) => r.end(a + b + (await import('./lib')).c)).listen(3000);\n",
        )
        .file("src/a.ts", "export const a: string = 'a';\n")
        .file("src/b.ts", "export const b: string = 'b';\n")
        .file("src/lib/index.ts", "export const c: string = 'c';\n")
        .write();
    let router = Router::start(&volume).await;
    assert_eq!(router.admin.project("a").await.error, None);
    assert_eq!(router.public.get("/a/").await.text(), "abc");
}

/// A project that a program of the package `@x/serve` serves.
fn served_by_a_program(volume: &Volume) {
    let package = json!({
        "scripts": { "start": "x-serve ./build/server.mjs" },
        "dependencies": { "@x/serve": "^1.0.0" },
    });
    volume
        .project("a")
        .file("package.json", package.to_string())
        .file("build/server.mjs", "export const text = 'served by ';\n")
        .write();
}

#[tokio::test]
async fn a_program_of_an_installed_package_serves_what_its_arguments_name() {
    let volume = Volume::new();
    served_by_a_program(&volume);
    let router = Router::builder(&volume).unwatched().start().await;
    let error = router.admin.project("a").await.error.unwrap();
    assert!(
        error.message.contains("the program \"x-serve\" is not installed: install the package"),
        "{error:?}"
    );
    // The layout of pnpm: the dependencies lie beside the program's real path.
    let real = "a/node_modules/.store/serve/node_modules";
    volume.write(&format!("{real}/@x/serve/package.json"), r#"{"bin": {"x-serve": "bin"}}"#);
    volume.write(&format!("{real}/@x/serve/bin"), SERVES);
    volume.write(&format!("{real}/word/index.js"), "module.exports = 'a program';");
    std::fs::create_dir(volume.path("a/node_modules/@x")).unwrap();
    volume.link("../.store/serve/node_modules/@x/serve", "a/node_modules/@x/serve");
    router.admin.reload("a").await;
    assert_eq!(router.admin.project("a").await.error, None);
    assert_eq!(router.public.get("/a/").await.text(), "served by a program");
    let chosen = entry(&router, "a").await;
    assert_eq!(
        (chosen.path.as_str(), chosen.args.as_slice()),
        ("node_modules/@x/serve/bin", &["./build/server.mjs".to_owned()][..])
    );
}

#[tokio::test]
async fn a_program_of_a_package_that_is_fetched_serves() {
    let registry = Registry::start().await;
    registry.publish(
        "word",
        "1.0.0",
        json!({}),
        &[("index.js", "module.exports = 'the fetched packages';\n")],
    );
    let manifest = json!({ "bin": { "x-serve": "bin.js" }, "dependencies": { "word": "^1.0.0" } });
    registry.publish("@x/serve", "1.0.0", manifest.clone(), &[("bin.js", SERVES)]);
    let volume = Volume::new();
    served_by_a_program(&volume);
    let router = registry.router(&volume).start().await;
    assert_eq!(router.admin.project("a").await.error, None);
    assert_eq!(router.public.get("/a/").await.text(), "served by the fetched packages");
}
