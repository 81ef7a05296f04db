//! Modules of Cloudflare Workers, resolved like wrangler's bundler does; and build failures.

use serde_json::{Value, json};
use switchyard_contract::event::Diagnostic;
use switchyard_integration::registry::Registry;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

const TOML: &str = "name = \"x\"\nmain = \"src/index.ts\"\n";

/// Adds one number to another, as `add`.
const WASM: [u8; 41] = [
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x07, 0x01, 0x60, 0x02, 0x7f, 0x7f, 0x01, 0x7f,
    0x03, 0x02, 0x01, 0x00, 0x07, 0x07, 0x01, 0x03, 0x61, 0x64, 0x64, 0x00, 0x00, 0x0a, 0x09, 0x01, 0x07,
    0x00, 0x20, 0x00, 0x20, 0x01, 0x6a, 0x0b,
];

async fn answer(router: &Router) -> Value {
    assert_eq!(router.admin.project("a").await.error, None);
    let reply = router.public.get("/a/").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// Returns the reason why a Worker with this configuration and code is not built.
async fn error(toml: &str, code: &str) -> Diagnostic {
    let volume = Volume::new();
    volume.project("a").file("wrangler.toml", format!("{TOML}{toml}")).file("src/index.ts", code).write();
    let router = Router::start(&volume).await;
    router.admin.project("a").await.error.expect("it is not built")
}

#[tokio::test]
async fn files_are_text_data_webassembly_and_json_by_their_names() {
    let volume = Volume::new();
    let code = r#"import html from "./page.html";
        import sql from "./query.sql";
        import note from "./note.md";
        import data from "./data.bin";
        import add from "./add.wasm";
        import again from "./add.wasm?module";
        import pkg, { version, "odd-key" as odd } from "../package.json";
        export default { async fetch() {
            const { exports } = await WebAssembly.instantiate(add, {});
            const text = (await import("./late.txt")).default;
            return Response.json([html, sql, note, text, data instanceof ArrayBuffer && data.byteLength, exports.add(2, 3),
                again instanceof WebAssembly.Module, pkg.name, version, odd]);
        } };"#;
    volume
        .project("a")
        .file(
            "wrangler.toml",
            format!("{TOML}rules = [{{ type = \"Text\", globs = [\"**/*.md\"], fallthrough = true }}]\n"),
        )
        .file("package.json", r#"{"name": "a", "version": "1.2.3", "odd-key": 7}"#)
        .file("src/index.ts", code)
        .file("src/page.html", "<p>")
        .file("src/query.sql", "select 1")
        .file("src/note.md", "# note")
        .file("src/late.txt", "late")
        .file("src/data.bin", "123")
        .write();
    volume.write("a/src/add.wasm", WASM);
    let router = Router::start(&volume).await;
    let expected = json!(["<p>", "select 1", "# note", "late", 3, 5, true, "a", "1.2.3", 7]);
    assert_eq!(answer(&router).await, expected);
}

#[tokio::test]
async fn modules_are_found_without_extensions_by_aliases_and_by_tsconfig() {
    let volume = Volume::new();
    let code = r#"import { one } from "./one";
        import { one as same } from "./one.js";
        import folder from "./folder";
        import { mapped } from "@/mapped";
        import { based } from "src/based";
        import old from "old-name";
        import deep from "old-name/deep";
        export default { fetch: () => Response.json([one, same === one, folder, mapped, based, old, deep, VERSION, FLAGS.on]) };"#;
    let toml =
        "[alias]\n\"old-name\" = \"./src/new\"\n[define]\nVERSION = \"'1.0'\"\n\"FLAGS.on\" = \"true\"\n";
    volume
        .project("a")
        .file("wrangler.toml", format!("{TOML}{toml}"))
        .file("package.json", "{}")
        .file("tsconfig.json", r#"{"compilerOptions": {"baseUrl": ".", "paths": {"@/*": ["./src/*"]}}}"#)
        .file("src/index.ts", code)
        .file("src/one.ts", "export const one = {};")
        .file("src/folder/index.ts", "export default 'folder';")
        .file("src/mapped.ts", "export const mapped = 'mapped';")
        .file("src/based.ts", "export const based = 'based';")
        .file("src/new/index.ts", "export default 'new';")
        .file("src/new/deep.ts", "export default 'deep';")
        .write();
    let router = Router::start(&volume).await;
    assert_eq!(
        answer(&router).await,
        json!([{}, true, "folder", "mapped", "based", "new", "deep", "1.0", true])
    );
}

#[tokio::test]
async fn packages_have_their_code_for_workers() {
    let volume = Volume::new();
    let exports =
        r#"{"name": "p", "exports": {"browser": "./no.js", "workerd": "./w.js", "default": "./no.js"}}"#;
    volume
        .project("a")
        .file("wrangler.toml", TOML)
        .file("src/index.ts", "import text from 'p';\nexport default { fetch: () => Response.json(text) };")
        .file("node_modules/p/package.json", exports)
        .file("node_modules/p/no.js", "module.exports = 'no';")
        .file("node_modules/p/w.js", "module.exports = 'for workers';")
        .write();
    let router = Router::start(&volume).await;
    assert_eq!(answer(&router).await, json!("for workers"));
}

#[tokio::test]
async fn packages_of_a_worker_are_fetched() {
    let registry = Registry::start().await;
    registry.publish("greeting", "1.0.0", json!({}), &[("index.js", "module.exports = 'hello';\n")]);
    let volume = Volume::new();
    let code = "import greeting from 'greeting';
        import { env } from 'cloudflare:workers';
        import page from './page.html';
        import { late } from './late';
        export default { fetch: () => Response.json([greeting, env.NAME, page, late]) };";
    volume
        .project("a")
        .file("wrangler.toml", format!("{TOML}[vars]\nNAME = \"n\"\n"))
        .file("package.json", r#"{"dependencies": {"greeting": "^1.0.0"}}"#)
        .file("src/index.ts", code)
        .file("src/page.html", "<p>")
        .file("src/late.ts", "export const late = true;")
        .write();
    let router = registry.router(&volume).start().await;
    assert_eq!(answer(&router).await, json!(["hello", "n", "<p>", true]));
}

#[tokio::test]
async fn a_binding_that_does_not_exist_fails_the_build_by_name() {
    let toml = "[[kv_namespaces]]\nbinding = \"CACHE\"\nid = \"1\"\n[[d1_databases]]\nbinding = \"DB\"\n";
    let error = error(toml, "export default { fetch: () => new Response() };").await;
    assert_eq!((error.file.as_deref(), error.line), (Some("wrangler.toml"), Some(3)));
    for says in ["CACHE", "Deno.openKv()", "DB", "node:sqlite"] {
        assert!(error.message.contains(says), "{}", error.message);
    }
}

#[tokio::test]
async fn modules_of_cloudflares_that_do_not_exist_say_what_they_are() {
    for (name, says) in [
        ("cloudflare:email", "mail is not received here"),
        ("cloudflare:test", "tests with vitest"),
        ("cloudflare:workflows", "Workflows"),
        ("cloudflare:other", "does not support"),
    ] {
        let code =
            format!("import * as it from \"{name}\";\nexport default {{ fetch: () => Response.json(it) }};");
        let error = error("", &code).await;
        assert!(error.message.contains(name) && error.message.contains(says), "{}", error.message);
        assert_eq!((error.file.as_deref(), error.line), (Some("src/index.ts"), Some(1)), "{name}");
    }
    // Elsewhere than in a Worker.
    let volume =
        Volume::with("a", "import { env } from 'cloudflare:workers';\nDeno.serve(() => Response.json(env));");
    let router = Router::start(&volume).await;
    let error = router.admin.project("a").await.error.expect("it is not built");
    assert!(error.message.contains("\"platform\": \"workers\""), "{}", error.message);
}

#[tokio::test]
async fn a_missing_output_of_a_build_is_requested() {
    let volume = Volume::new();
    let toml = "main = \"dist/index.js\"\n[build]\ncommand = \"npm run build\"\n";
    volume.project("a").file("wrangler.toml", toml).write();
    let router = Router::start(&volume).await;
    let error = router.admin.project("a").await.error.expect("it is not built");
    assert!(
        error.message.contains("npm run build") && error.message.contains("dist/index.js"),
        "{}",
        error.message
    );
    let error =
        self::error("[define]\nX = \"no such thing\"\n", "export default { fetch: () => new Response() };")
            .await;
    assert!(error.message.contains("\"define.X\" in wrangler.toml"), "{}", error.message);
    let volume = Volume::new();
    volume.project("a").file("wrangler.toml", "name = \"x\"\n").write();
    let router = Router::start(&volume).await;
    let none = router.admin.project("a").await.error.expect("it is not built");
    assert!(none.message.starts_with("wrangler.toml names neither \"main\""), "{}", none.message);
    let error = self::error("rules = [{ type = \"Text\", globs = [\"***\"] }]\n", "").await;
    assert!(error.message.contains("rules"), "{}", error.message);
}

#[tokio::test]
async fn a_project_can_declare_that_it_is_a_worker_or_that_it_is_not() {
    let volume = Volume::new();
    let code =
        "export default { fetch: (request, env, third) => Response.json([typeof third, request.method]) };";
    volume
        .project("a")
        .file("deno.json", r#"{"switchyard": {"platform": "workers"}}"#)
        .file("main.ts", code)
        .write();
    volume
        .project("b")
        .file("deno.json", r#"{"switchyard": {"platform": "plain"}}"#)
        .file("wrangler.toml", "kv_namespaces = 1")
        .file("main.ts", code)
        .write();
    let router = Router::start(&volume).await;
    assert_eq!(answer(&router).await, json!(["object", "GET"]));
    assert_eq!(router.admin.project("b").await.error, None);
    assert_eq!(router.public.get("/b/").await.json(), json!(["undefined", "GET"]));
}
