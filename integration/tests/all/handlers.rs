//! The ways in which an entry hands over its handler.

use switchyard_integration::client::post;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

const HANDLERS: &[(&str, &str)] = &[
    ("fetch", "export default { fetch: () => new Response('fetch') };"),
    (
        "fetch-this",
        "class App { name = 'fetch-this'; fetch() { return new Response(this.name); } }
         export default new App();",
    ),
    ("fetch-async", "export default { async fetch() { await null; return new Response('fetch-async'); } };"),
    ("function", "export default function (_: Request) { return new Response('function'); }"),
    ("arrow", "export default () => new Response('arrow');"),
    ("serve", "Deno.serve(() => new Response('serve'));"),
    ("serve-port", "Deno.serve({ port: 8123, hostname: '0.0.0.0' }, () => new Response('serve-port'));"),
    ("serve-object", "Deno.serve({ port: 8123, handler: () => new Response('serve-object') });"),
    (
        "serve-late",
        "await new Promise((resolve) => setTimeout(resolve, 20));
         Deno.serve(() => new Response('serve-late'));",
    ),
    (
        "node",
        "import http from 'node:http';
         http.createServer((_, response) => response.end('node')).listen(3000);",
    ),
    (
        "node-callback",
        "import { createServer } from 'node:http';
         const server = createServer((_, response) => response.end('node-callback'));
         server.listen({ port: 3000, host: '::' }, () => console.log('listening'));",
    ),
];

#[tokio::test]
async fn every_form_of_handler_is_served() {
    let volume = Volume::new();
    for (name, main) in HANDLERS {
        volume.project(name).file("main.ts", *main).write();
    }
    let router = Router::start(&volume).await;
    for (name, _) in HANDLERS {
        let reply = router.public.get(&format!("/{name}/")).await;
        let error = router.admin.project(name).await.error;
        assert_eq!((reply.status, reply.text().as_str()), (200, *name), "{error:?}");
    }
}

#[tokio::test]
async fn no_port_is_opened_whatever_the_code_names() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let volume = Volume::with("deno", format!("Deno.serve({{ port: {port} }}, () => new Response('one'));"));
    let node =
        format!("import http from 'node:http';\nhttp.createServer((_, r) => r.end('one')).listen({port});");
    volume.project("node").file("main.mjs", node).write();
    let router = Router::start(&volume).await;
    for name in ["deno", "node"] {
        assert_eq!(router.public.get(&format!("/{name}/")).await.text(), "one");
    }
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[tokio::test]
async fn the_request_and_where_it_came_from_reach_the_handler() {
    let handler = "async (r, info) => new Response(`${await r.text()} ${info.remoteAddr.hostname}`)";
    let volume = Volume::with("a", format!("export default {{ fetch: {handler} }};"));
    volume.project("b").file("main.ts", format!("export default {handler};")).write();
    volume.project("c").file("main.ts", format!("Deno.serve({handler});")).write();
    let router = Router::start(&volume).await;
    for name in ["a", "b", "c"] {
        let reply = router.public.send(post(&format!("/{name}/"), "hi")).await;
        assert_eq!(reply.text(), "hi 127.0.0.1", "{name}");
    }
}

#[tokio::test]
async fn a_handler_that_throws_answers_500_and_keeps_serving() {
    let main = "function fetch(request) {
            if (request.url.endsWith('/throw')) throw new Error('no');
            return new Response('one');
        }
        export default { fetch };";
    let volume = Volume::with("a", main);
    let router = Router::start(&volume).await;
    let reply = router.public.get("/a/throw").await;
    assert_eq!(reply.status, 500);
    assert!(reply.version().is_some());
    assert_eq!(router.public.get("/a/").await.text(), "one");
}

#[tokio::test]
async fn the_entry_is_found_by_config_then_by_name() {
    let volume = Volume::new();
    let entry = |text: &str| format!("export default {{ fetch: () => new Response({text:?}) }};");
    let all = |name: &str| {
        ["main.ts", "index.js", "mod.ts", "server.mjs", "src/app.ts"]
            .iter()
            .fold(volume.project(name), |project, file| project.file(file, entry(file)))
    };
    all("own")
        .file("deno.json", r#"{"switchyard": {"entry": "./src/app.ts"}, "exports": "./mod.ts"}"#)
        .write();
    all("exports").file("deno.json", r#"{"exports": "./mod.ts"}"#).write();
    all("package").file("package.json", r#"{"main": "index.js", "type": "module"}"#).write();
    all("named").write();
    volume.project("server").file("server.mjs", entry("server.mjs")).write();
    let router = Router::start(&volume).await;
    for (name, file) in [
        ("own", "src/app.ts"),
        ("exports", "mod.ts"),
        ("package", "index.js"),
        ("named", "main.ts"),
        ("server", "server.mjs"),
    ] {
        assert_eq!(router.public.get(&format!("/{name}/")).await.text(), file, "{name}");
    }
}
