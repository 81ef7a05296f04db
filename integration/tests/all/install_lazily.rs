//! Packages and modules that are imported during a request, and are fetched before the version
//! serves.

use serde_json::json;
use switchyard_contract::admin::ReloadOutcome;
use switchyard_integration::registry::Registry;
use switchyard_integration::router::State;
use switchyard_integration::volume::Volume;

use crate::install::{exports, fails, registry, serves};

/// Paths and texts.
type Files = &'static [(&'static str, &'static str)];

/// A server that answers with the value of `expression`, or with the error that it throws.
fn answers(expression: &str) -> String {
    format!(
        "const answer = async () => String({expression});\n\
         Deno.serve(() => answer().then((text) => new Response(text), (error) => new Response(error.message, {{ status: 500 }})));\n"
    )
}

/// Answers with the message of the worker at `url`.
fn asks_worker(url: &str) -> String {
    answers(&format!(
        "await new Promise((resolve, reject) => {{\n\
           const worker = new Worker({url}, {{ type: 'module' }});\n\
           worker.onmessage = (event) => {{ resolve(event.data); worker.terminate(); }};\n\
           worker.onerror = (event) => {{ event.preventDefault(); reject(new Error(event.message)); }};\n\
         }})"
    ))
}

/// Uses `node:http` and worker threads.
const THREADS: &str = "const http = require('http'), path = require('path'), { Worker } = require('worker_threads');\n\
    http.createServer((request, response) => {\n\
      const worker = new Worker(path.join(__dirname, 'work.mjs'));\n\
      worker.on('message', (text) => { response.end(text); worker.terminate(); });\n\
      worker.on('error', (error) => { response.statusCode = 500; response.end(String(error)); });\n\
    }).listen(3000);\n";

/// A module that answers with the export of the package `greeting`.
const TEXT: &str = "export { default } from 'npm:greeting@1';\n";

const WORK: &str = "import text from 'npm:greeting@1';\nself.postMessage(text);\n";

const THREAD: &str = "import { parentPort } from 'node:worker_threads';\n\
    parentPort.postMessage((await import('npm:greeting@1')).default);\n";

const MAP: &str = r#"{"imports": {"g": "npm:greeting@1", "@/": "./src/"}}"#;

#[tokio::test]
async fn packages_are_fetched_however_they_are_imported_lazily() {
    let (registry, volume) = (registry().await, Volume::new());
    registry.file("/mod.ts", "text/typescript", "export { default } from 'npm:greeting@1';\n");
    registry.publish_jsr("@x/word", "1.0.0", &[("mod.ts", "export default 'hello';\n")]);
    let (url, lazily) = (registry.url("/mod.ts"), "(await import('./lazy.ts')).default");
    let projects: [(&str, String, Files); 12] = [
        ("specifier", answers("(await import('npm:greeting@1')).default"), &[]),
        ("file", answers(lazily), &[("lazy.ts", TEXT)]),
        ("url", answers(&format!("(await import('{url}')).default")), &[]),
        ("jsr", answers("(await import('jsr:@x/word@1')).default"), &[]),
        ("behind", answers(lazily), &[("lazy.ts", "export { default } from './b.ts';\n"), ("b.ts", TEXT)]),
        ("map", answers("(await import('g')).default"), &[("deno.json", MAP)]),
        ("alias", answers("(await import('@/a.ts')).default"), &[("src/a.ts", TEXT), ("deno.json", MAP)]),
        (
            "variable",
            format!("const name = 'npm:greeting@1';\n{}", answers("(await import(name)).default")),
            &[],
        ),
        ("template", answers("(await import(`./all/${['a'][0]}.ts`)).default"), &[("all/a.ts", TEXT)]),
        ("worker", asks_worker("new URL('./w.ts', import.meta.url)"), &[("w.ts", WORK)]),
        (
            "thread",
            THREADS.to_owned(),
            &[("work.mjs", THREAD), ("package.json", r#"{"main": "server.cjs"}"#)],
        ),
        (
            "elided",
            format!(
                "import * as g from 'npm:greeting@1';\n{}",
                answers("(await import(import.meta.resolve('npm:greeting@1'))).default")
            ),
            &[],
        ),
    ];
    for (name, main, files) in &projects {
        let main_file = if *name == "thread" { "server.cjs" } else { "main.ts" };
        let mut project = volume.project(name).file(main_file, main.as_str());
        for (path, text) in files.iter() {
            project = project.file(path, *text);
        }
        project.write();
    }
    let router = registry.router(&volume).start().await;
    for (name, ..) in &projects {
        assert_eq!(router.admin.project(name).await.error, None, "{name}");
        assert_eq!(router.public.get(&format!("/{name}/")).await.text(), "hello", "{name}");
    }
}

#[tokio::test]
async fn import_meta_resolve_answers_with_the_specifier_as_in_deno() {
    let (registry, volume) = (registry().await, Volume::new());
    volume.write("a/main.ts", answers("import.meta.resolve('npm:greeting@1')"));
    let router = registry.router(&volume).start().await;
    serves(&router, "npm:greeting@1").await;
}

#[tokio::test]
async fn packages_that_deno_json_names_are_fetched_before_anything_imports_them() {
    let (registry, volume, state) = (registry().await, Volume::new(), State::new());
    registry.file("/mod.ts", "text/typescript", "export default 'hello';\n");
    let main = answers(
        "(await import(['gree', 'ting'].join(''))).default + (await import(['m', 'od'].join(''))).default",
    );
    volume.write("a/main.ts", main);
    let map = json!({"imports": {"greeting": "npm:greeting@1"}, "scopes": {"./": {"mod": registry.url("/mod.ts")}}});
    volume.write("a/deno.json", map.to_string());
    let router = registry.router(&volume).state(&state).start().await;
    serves(&router, "hellohello").await;
}

#[tokio::test]
async fn a_lazy_import_that_cannot_be_fetched_fails_when_it_is_made() {
    let (registry, volume) = (registry().await, Volume::new());
    let url = registry.url("/gone.ts");
    let main = format!(
        "const ways = [() => import('npm:gone@1'), () => import('{url}'), () => import('npm:greeting@1')];\n{}",
        answers(
            "(await Promise.allSettled(ways.map((way) => way()))).map((it) => it.reason?.message ?? 'ok').join('\\n')"
        )
    );
    volume.write("a/main.ts", main.as_str());
    let router = registry.router(&volume).start().await;
    assert_eq!(router.admin.project("a").await.error, None);
    let answer = router.public.get("/a/").await.text().to_owned();
    let lines: Vec<_> = answer.lines().collect();
    assert!(lines[0].contains("was not fetched") && lines[0].contains("'gone' does not exist"), "{answer}");
    assert!(lines[1].contains(&format!("\"{url}\" was not fetched")), "{answer}");
    assert_eq!(lines.last(), Some(&"ok"), "{answer}");
    let log = router.log.text();
    assert!(log.contains("npm:gone@1 is not fetched, and fails when it is imported"), "{log}");
    // The next version tries again.
    registry.publish("gone", "1.0.0", json!({}), &[("index.js", "")]);
    volume.write("a/main.ts", format!("{main}// changed\n"));
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    assert_eq!(router.public.get("/a/").await.text().lines().next(), Some("ok"));
    // A static import fails the build.
    volume.write("a/main.ts", "import 'npm:lost@1';\n");
    router.admin.reload("a").await;
    assert!(fails(&router).await.message.contains("lost"));
}

#[tokio::test]
async fn a_computed_name_is_not_known_in_advance_and_the_error_says_what_to_do() {
    let (registry, volume) = (registry().await, Volume::new());
    volume.write("a/main.ts", answers("await import(['npm:', 'greeting@1'].join(''))"));
    let router = registry.router(&volume).start().await;
    let answer = router.public.get("/a/").await;
    assert_eq!(answer.status, 500);
    assert!(
        answer.text().contains("name it in \"dependencies\" of package.json or \"imports\" of deno.json"),
        "{}",
        answer.text()
    );
}

fn takes(registry: &Registry) -> bool {
    !registry.take_requests().is_empty()
}

#[tokio::test]
async fn a_lazy_import_that_a_later_version_adds_is_fetched_and_then_kept() {
    let (registry, volume) = (registry().await, Volume::new());
    let lazy = "export { default } from 'npm:greeting@1';\n";
    volume.project("a").file("main.ts", answers("'none'")).file("lazy.ts", lazy).write();
    let router = registry.router(&volume).start().await;
    serves(&router, "none").await;
    assert!(!takes(&registry), "nothing leads to what names it");
    volume.write("a/main.ts", answers("(await import('./lazy.ts')).default"));
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    serves(&router, "hello").await;
    assert!(takes(&registry));
    volume.write("a/main.ts", answers("(await import('./lazy.ts')).default + '!'"));
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    serves(&router, "hello!").await;
    assert!(!takes(&registry));
}

#[tokio::test]
async fn a_lock_file_also_pins_lazy_imports() {
    let (registry, volume, state) = (registry().await, Volume::new(), State::new());
    volume
        .project("a")
        .file("main.ts", answers("(await import('npm:word@1')).default"))
        .file("deno.json", "{}")
        .write();
    let router = registry.router(&volume).state(&state).start().await;
    serves(&router, "hello").await;
    let folder = std::fs::read_dir(state.path().join("packages/a")).unwrap().flatten().next().unwrap().path();
    volume.write("a/deno.lock", std::fs::read_to_string(folder.join("deno.lock")).unwrap());
    registry.publish("word", "1.1.0", json!({}), &[("index.js", &exports("newer"))]);
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    serves(&router, "hello").await;
    // Packages that it does not name are left out.
    volume.write("a/main.ts", answers("(await import('npm:greeting@1')).default"));
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    let answer = router.public.get("/a/").await.text().to_owned();
    assert!(answer.contains("deno.lock does not name it"), "{answer}");
}
