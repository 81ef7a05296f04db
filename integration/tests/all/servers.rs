//! `Deno.serve` in all that it gives back, more servers than one, and work that goes on between requests.

use std::net::TcpStream;

use serde_json::json;
use switchyard_integration::client::{Reply, request, with_header};
use switchyard_integration::eventually;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

/// What a project has printed.
async fn printed(router: &Router, project: &str) -> String {
    router.admin.client.get(&format!("/projects/{project}/logs")).await.text()
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}

#[tokio::test]
async fn a_server_is_told_that_it_listens_where_it_asked_to() {
    let volume = Volume::new();
    for (name, options) in [
        ("nothing", ""),
        ("port", "port: 3000"),
        ("any", "port: 0"),
        ("host", "hostname: '127.0.0.1', port: 3000"),
        ("path", "path: '/tmp/own.sock'"),
    ] {
        let main = format!(
            "let told;
             const onListen = (addr) => told = addr;
             const server = Deno.serve({{ onListen, {options} }}, () => Response.json({{ told, addr: server.addr }}));"
        );
        volume.project(name).file("main.ts", main).write();
    }
    let router = Router::start(&volume).await;
    let tcp = |hostname: &str, port: u16| json!({ "transport": "tcp", "hostname": hostname, "port": port });
    for (name, addr) in [
        ("nothing", tcp("0.0.0.0", 8000)),
        ("port", tcp("0.0.0.0", 3000)),
        ("any", tcp("0.0.0.0", 8000)),
        ("host", tcp("127.0.0.1", 3000)),
        ("path", json!({ "transport": "unix", "path": "/tmp/own.sock" })),
    ] {
        let told = router.public.get(&format!("/{name}/")).await;
        assert_eq!(told.status, 200, "{name}: {:?}", router.admin.project(name).await.error);
        assert_eq!(told.json(), json!({ "told": addr, "addr": addr }), "{name}");
    }
}

#[tokio::test]
async fn errors_go_to_on_error_and_what_is_no_handler_is_refused() {
    let on_error = "Deno.serve({ onError: (error) => new Response(error.message, { status: 418 }) }, () => {
        throw new Error('told');
    });";
    let volume = Volume::with("own", on_error);
    volume.project("none").file("main.ts", "Deno.serve({ port: 3000 });").write();
    let router = Router::start(&volume).await;
    let reply = router.public.get("/own/").await;
    assert_eq!((reply.status, reply.text().as_str()), (418, "told"));
    let error = router.admin.project("none").await.error.unwrap();
    assert!(error.message.contains("handler must be a function"), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_shut_down_answers_what_is_under_way_and_is_finished() {
    let volume = Volume::new();
    for (name, options, stop) in [
        ("shutdown", "", "server.shutdown()"),
        ("signal", "signal: controller.signal,", "controller.abort()"),
        ("dispose", "", "server[Symbol.asyncDispose]()"),
    ] {
        let main = format!(
            "const controller = new AbortController();
             const server = Deno.serve({{ {options} onListen() {{}} }}, () => {{
                 setTimeout(() => {stop}, 50);
                 return new Response('last');
             }});
             server.finished.then(() => console.log('finished'));"
        );
        volume.project(name).file("main.ts", main).write();
    }
    let router = Router::start(&volume).await;
    for name in ["shutdown", "signal", "dispose"] {
        assert_eq!(router.public.get(&format!("/{name}/")).await.text(), "last", "{name}");
        eventually(name, || async { printed(&router, name).await.contains("finished") }).await;
    }
}

#[tokio::test]
async fn the_first_server_is_served_and_that_a_further_one_is_not_is_said_once() {
    let (first, second, third) = (free_port(), free_port(), free_port());
    let deno =
        |port: u16, label: &str| format!("Deno.serve({{ port: {port} }}, () => new Response('{label}'));");
    let node = |port: u16, label: &str| {
        format!(
            "await new Promise((done) => http.createServer((_, r) => r.end('{label}')).listen({port}, done));"
        )
    };
    let volume = Volume::new();
    let http = "import http from 'node:http';\n";
    for (name, main) in [
        ("deno-deno", [deno(first, "first"), deno(second, "second"), deno(third, "third")]),
        ("deno-node", [deno(first, "first"), node(second, "second"), deno(third, "third")]),
        ("node-deno", [node(first, "first"), deno(second, "second"), node(third, "third")]),
        ("node-node", [node(first, "first"), node(second, "second"), node(third, "third")]),
    ] {
        volume.project(name).file("main.mjs", format!("{http}{}", main.join("\n"))).write();
    }
    let router = Router::start(&volume).await;
    for name in ["deno-deno", "deno-node", "node-deno", "node-node"] {
        let reply = router.public.get(&format!("/{name}/")).await;
        let error = router.admin.project(name).await.error;
        assert_eq!((reply.status, reply.text().as_str()), (200, "first"), "{name}: {error:?}");
        let said = "only the first server of a project";
        eventually(name, || async { printed(&router, name).await.contains(said) }).await;
        let lines = printed(&router, name).await;
        assert!(lines.matches(said).count() == 1 && lines.contains(&format!("port {second}")), "{lines}");
    }
    for port in [first, second, third] {
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "{port} was opened");
    }
}

#[tokio::test]
async fn a_further_server_ends_when_it_is_told_to() {
    let main = "Deno.serve(() => Response.json(seen));
        const seen = [];
        const controller = new AbortController();
        const further = Deno.serve({ port: 9000, signal: controller.signal, onListen: ({ port }) => seen.push(port) }, () => {});
        seen.push(further.addr.port);
        controller.abort();
        await further.finished;
        await further.shutdown();
        seen.push('finished');";
    let volume = Volume::with("a", main);
    let router = Router::start(&volume).await;
    assert_eq!(router.public.get("/a/").await.json(), json!([9000, 9000, "finished"]));
}

#[tokio::test]
async fn a_server_in_a_worker_is_served() {
    let volume = Volume::new();
    let main = "new Worker(import.meta.resolve('./worker.ts'), { type: 'module' });";
    let worker = "Deno.serve(() => new Response('of the worker'));";
    volume.project("a").file("main.ts", main).file("worker.ts", worker).write();
    let router = Router::start(&volume).await;
    let reply = router.public.get("/a/").await;
    let error = router.admin.project("a").await.error;
    assert_eq!((reply.status, reply.text().as_str()), (200, "of the worker"), "{error:?}");
}

#[tokio::test]
async fn port_is_there_and_is_the_projects_to_set() {
    let main = "export default { fetch: () => new Response(Deno.env.get('PORT')) };";
    let volume = Volume::with("a", main);
    let config = r#"{ "switchyard": { "env": { "PORT": "4000" } } }"#;
    volume.project("own").file("main.ts", main).file("deno.json", config).write();
    let router = Router::start(&volume).await;
    assert_eq!(router.public.get("/a/").await.text(), "8000");
    assert_eq!(router.public.get("/own/").await.text(), "4000");
    let granted = router.admin.project("own").await.grants.unwrap().granted.env;
    assert_eq!(granted.iter().filter(|name| *name == "PORT").count(), 1, "{granted:?}");
}

#[tokio::test]
async fn work_goes_on_after_the_answer() {
    let main = "let done = 0;
        async function later() {
            await new Promise((next) => setTimeout(next, 20));
            queueMicrotask(() => done++);
        }
        export default { fetch: ({ url }) => {
            if (url.endsWith('/done')) return new Response(String(done));
            later();
            return new Response('taken');
        } };";
    let volume = Volume::with("a", main);
    let router = Router::start(&volume).await;
    assert_eq!(router.public.get("/a/").await.text(), "taken");
    eventually("it is done", || async { router.public.get("/a/done").await.text() == "1" }).await;
}

#[tokio::test]
async fn nothing_is_compressed_unless_the_code_asks_for_it() {
    let text = "const text = 'all work and no play '.repeat(1000);\n";
    let headers = "{ headers: { 'content-type': 'text/plain' } }";
    let volume = Volume::new();
    let plain = format!("{text}export default {{ fetch: () => new Response(text, {headers}) }};");
    volume.project("plain").file("main.ts", plain).write();
    let asked =
        format!("{text}Deno.serve({{ automaticCompression: true }}, () => new Response(text, {headers}));");
    volume.project("asked").file("main.ts", asked).write();
    let own = "const body = new Blob([text]).stream().pipeThrough(new CompressionStream('gzip'));
        return new Response(body, { headers: { 'content-encoding': 'gzip' } });";
    volume.project("own").file("main.ts", format!("{text}Deno.serve(() => {{ {own} }});")).write();
    let router = Router::start(&volume).await;
    let get = async |name: &str| -> Reply {
        let asking = with_header(request(&format!("/{name}/")), "accept-encoding", "gzip");
        router.public.send(asking).await
    };
    let plain = get("plain").await;
    assert_eq!((plain.header("content-encoding"), plain.body.len()), (None, 21_000));
    for name in ["asked", "own"] {
        let compressed = get(name).await;
        assert_eq!(compressed.header("content-encoding"), Some("gzip"), "{name}");
        assert!(compressed.body.len() < 1000, "{name}: {} bytes", compressed.body.len());
    }
}
