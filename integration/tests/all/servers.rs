//! `Deno.serve`: all its return values, several servers, and work that continues between requests.

use std::net::TcpStream;

use serde_json::json;
use switchyard_integration::client::{Reply, request, with_header};
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

/// Returns the output of a project.
async fn printed(router: &Router, project: &str) -> String {
    router.admin.client.get(&format!("/projects/{project}/logs")).await.text()
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}

#[tokio::test]
async fn a_server_sees_the_address_that_it_requested() {
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
        let reply = router.public.get(&format!("/{name}/")).await;
        assert_eq!(reply.status, 200, "{name}: {:?}", router.admin.project(name).await.error);
        assert_eq!(reply.json(), json!({ "told": addr, "addr": addr }), "{name}");
    }
}

#[tokio::test]
async fn errors_go_to_on_error_and_an_invalid_handler_is_refused() {
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
async fn a_server_that_is_shut_down_answers_requests_in_flight_and_finishes() {
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

fn deno(port: u16, label: &str) -> String {
    format!("Deno.serve({{ port: {port} }}, () => new Response('{label}'));\n")
}

fn node(port: u16, label: &str) -> String {
    format!(
        "await new Promise((done) => http.createServer((_, r) => r.end('{label}')).listen({port}, done));\n"
    )
}

#[tokio::test]
async fn the_first_server_is_served_and_a_further_one_is_reported_once() {
    let (first, second, third) = (free_port(), free_port(), free_port());
    let volume = Volume::new();
    let http = "import http from 'node:http';\n";
    for (name, main) in [
        ("deno-deno", [deno(first, "first"), deno(second, "second"), deno(third, "third")]),
        ("deno-node", [deno(first, "first"), node(second, "second"), deno(third, "third")]),
        ("node-deno", [node(first, "first"), deno(second, "second"), node(third, "third")]),
        ("node-node", [node(first, "first"), node(second, "second"), node(third, "third")]),
    ] {
        volume.project(name).file("main.mjs", format!("{http}{}", main.join(""))).write();
    }
    let router = Router::start(&volume).await;
    for name in ["deno-deno", "deno-node", "node-deno", "node-node"] {
        let reply = router.public.get(&format!("/{name}/")).await;
        let error = router.admin.project(name).await.error;
        assert_eq!((reply.status, reply.text().as_str()), (200, "first"), "{name}: {error:?}");
        let warning =
            format!("The server on port {first} is served; the one on port {second} gets no requests");
        eventually(name, || async { printed(&router, name).await.contains(&warning) }).await;
        let lines = printed(&router, name).await;
        assert_eq!(lines.matches("gets no requests").count(), 1, "{lines}");
    }
    for port in [first, second, third] {
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "{port} was opened");
    }
}

/// Projects with a server for metrics that listens first, and one for the rest.
fn with_metrics(volume: &Volume, config: &str, app: u16) {
    for (name, metrics, app) in [
        ("deno-deno", deno(9090, "metrics"), deno(app, "app")),
        ("deno-node", deno(9090, "metrics"), node(app, "app")),
        ("node-deno", node(9090, "metrics"), deno(app, "app")),
        ("node-node", node(9090, "metrics"), node(app, "app")),
        ("later", node(9090, "metrics"), format!("setTimeout(() => {{ {} }})", deno(app, "app"))),
        (
            "awaited",
            node(9090, "metrics"),
            format!("await new Promise((r) => setTimeout(r, 50)); {}", deno(app, "app")),
        ),
        ("last", deno(app, "app"), node(9090, "metrics")),
    ] {
        let main = format!("import http from 'node:http';\n{metrics}{app}");
        volume.project(name).file("main.mjs", main).file("deno.json", config).write();
    }
}

async fn serve_app(router: &Router, app: u16) {
    for name in ["deno-deno", "deno-node", "node-deno", "node-node", "later", "awaited", "last"] {
        let reply = router.public.get(&format!("/{name}/")).await;
        let error = router.admin.project(name).await.error;
        assert_eq!((reply.status, reply.text().as_str()), (200, "app"), "{name}: {error:?}");
        let warning = format!(
            "The server on port {app} is served; the one on port 9090 gets no requests, \
             unless deno.json says \\\"switchyard\\\": {{\\\"port\\\": 9090}}"
        );
        eventually(name, || async { printed(router, name).await.contains(&warning) }).await;
    }
}

#[tokio::test]
async fn the_server_on_port_is_served_though_another_one_listens_first() {
    let volume = Volume::new();
    with_metrics(&volume, "{}", 8000);
    let router = Router::start(&volume).await;
    serve_app(&router, 8000).await;
}

#[tokio::test]
async fn the_server_on_port_takes_over_if_it_starts_late() {
    let volume = Volume::new();
    for (name, app) in [
        ("deno", "Deno.serve(() => new Response('app'))"),
        ("node", "http.createServer((_, r) => r.end('app')).listen(process.env.PORT)"),
    ] {
        let main = format!(
            "import http from 'node:http';
             http.createServer((_, r) => (r.end('metrics'), setTimeout(() => {{ {app}; }}, 20))).listen(9090);"
        );
        volume.project(name).file("main.mjs", main).write();
    }
    let router = Router::start(&volume).await;
    for name in ["deno", "node"] {
        let mut connection = router.public.connect().await;
        assert_eq!(connection.get(&format!("/{name}/")).await.text(), "metrics", "{name}");
        eventually(name, || async { router.public.get(&format!("/{name}/")).await.text() == "app" }).await;
        assert_eq!(connection.get(&format!("/{name}/")).await.text(), "app", "{name}");
        let warning = "The server on port 8000 is served; the one on port 9090 gets no requests";
        eventually(name, || async { printed(&router, name).await.contains(warning) }).await;
    }
}

#[tokio::test]
async fn deno_json_names_the_port_of_the_server_that_is_served() {
    let volume = Volume::new();
    with_metrics(&volume, r#"{ "switchyard": { "port": 3000 } }"#, 3000);
    let router = Router::start(&volume).await;
    serve_app(&router, 3000).await;
}

#[tokio::test]
async fn port_may_be_set_by_the_project_itself() {
    let main = "import http from 'node:http';
        http.createServer((_, r) => r.end('metrics')).listen(9090);
        process.env.PORT = '4000';
        http.createServer((_, r) => r.end('app')).listen(process.env.PORT);";
    let volume = Volume::new();
    volume.write("a/main.mjs", main);
    let router = Router::start(&volume).await;
    assert_eq!(router.public.get("/a/").await.text(), "app");
}

#[tokio::test]
async fn an_invalid_port_fails_the_build() {
    let volume = Volume::new();
    for (name, port) in [("zero", "0"), ("large", "65536"), ("text", "\"3000\""), ("broken", "80.5")] {
        let config = format!("{{ \"switchyard\": {{ \"port\": {port} }} }}");
        volume.project(name).file("main.ts", hello("one")).file("deno.json", config).write();
    }
    let router = Router::start(&volume).await;
    for name in ["zero", "large", "text", "broken"] {
        let error = router.admin.project(name).await.error.expect("it fails");
        assert_eq!(error.file.as_deref(), Some("deno.json"), "{error:?}");
        assert!(
            error.message.contains("switchyard.port") && error.message.contains("1 to 65535"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_waits_is_closed_or_shut_down_as_any_other() {
    let main = "import http from 'node:http';
        const seen = [];
        const server = http.createServer().listen(9090, () => seen.push(server.listening));
        const further = Deno.serve({ port: 9091, onListen: ({ port }) => seen.push(port) }, () => {});
        await new Promise((done) => server.on('listening', done));
        await new Promise((done) => server.close(done));
        await further.shutdown();
        await further.finished;
        seen.push(server.listening);
        Deno.serve({ port: 9092 }, () => Response.json(seen));";
    let volume = Volume::new();
    volume.write("a/main.mjs", main);
    let router = Router::start(&volume).await;
    let reply = router.public.get("/a/").await;
    assert_eq!(reply.status, 200, "{:?}", router.admin.project("a").await.error);
    let mut seen: Vec<String> = serde_json::from_value::<Vec<serde_json::Value>>(reply.json())
        .expect("it is a list")
        .iter()
        .map(ToString::to_string)
        .collect();
    seen.sort();
    assert_eq!(seen, ["9091", "false", "true"]);
}

#[tokio::test]
async fn a_server_that_waited_reports_once_that_it_listens_and_ends_on_request() {
    let main = "const seen = [];
        const server = Deno.serve({ port: 3000, onListen: ({ port }) => seen.push(port) }, () => {
            setTimeout(() => server.shutdown(), 20);
            return Response.json([...seen, server.addr.port]);
        });
        server.finished.then(() => console.log('finished'));";
    let node = "import http from 'node:http';
        let count = 0;
        const server = http.createServer((_, r) => r.end(String(count)));
        server.on('listening', () => count++);
        server.listen(3000, () => count += 10);";
    let volume = Volume::new();
    volume.project("deno").file("main.ts", main).write();
    volume.project("node").file("main.mjs", node).write();
    let router = Router::start(&volume).await;
    assert_eq!(router.public.get("/node/").await.text(), "11");
    assert_eq!(router.public.get("/deno/").await.json(), json!([3000, 3000]));
    eventually("it is finished", || async { printed(&router, "deno").await.contains("finished") }).await;
}

#[tokio::test]
async fn an_entry_that_awaits_the_end_of_its_server_is_served() {
    let volume = Volume::new();
    for (name, main) in [
        ("on-port", "await Deno.serve(() => new Response('served')).finished;"),
        ("elsewhere", "await Deno.serve({ port: 3000 }, () => new Response('served')).finished;"),
        (
            "interval",
            "setInterval(() => {}, 1); await Deno.serve({ port: 3000 }, () => new Response('served')).finished;",
        ),
    ] {
        volume.project(name).file("main.ts", main).write();
    }
    let failing = "Deno.serve(() => new Response('served'));
        await new Promise((done) => setTimeout(done, 300));
        throw new Error('after all');";
    volume.project("failing").file("main.ts", failing).write();
    let router = Router::start(&volume).await;
    for name in ["on-port", "elsewhere", "interval"] {
        let reply = router.public.get(&format!("/{name}/")).await;
        let error = router.admin.project(name).await.error;
        assert_eq!((reply.status, reply.text().as_str()), (200, "served"), "{name}: {error:?}");
    }
    let error = router.admin.project("failing").await.error.expect("it fails");
    assert!(error.message.contains("after all"), "{error:?}");
}

#[tokio::test]
async fn a_further_server_ends_when_it_is_shut_down() {
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
async fn port_is_set_and_the_project_may_change_it() {
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
async fn work_continues_after_the_answer() {
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
async fn nothing_is_compressed_unless_the_code_requests_it() {
    let text = "const text = 'all work and no play '.repeat(1000);\n";
    let headers = "{ headers: { 'content-type': 'text/plain' } }";
    let volume = Volume::new();
    let plain = format!("{text}export default {{ fetch: () => new Response(text, {headers}) }};");
    volume.project("plain").file("main.ts", plain).write();
    let second_main =
        format!("{text}Deno.serve({{ automaticCompression: true }}, () => new Response(text, {headers}));");
    volume.project("asked").file("main.ts", second_main).write();
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
