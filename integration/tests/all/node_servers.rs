//! Servers of node:http, on which Express, Fastify, ws and others are built: their own address,
//! their clients, and the data that passes.

use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use serde_json::json;
use switchyard_integration::client::{Upload, post, request, with_header, with_method};
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};

/// A project with a node:http server that has this listener for requests.
fn node(listener: &str) -> Volume {
    let main = format!(
        "import http from 'node:http';\n\
         const server = http.createServer({listener});\nserver.listen(3000);\n"
    );
    let volume = Volume::new();
    volume.write("a/main.mjs", main);
    volume
}

#[tokio::test]
async fn the_clients_address_is_the_sockets_and_cannot_be_forged() {
    let volume = node(
        "({ socket, headers, rawHeaders }, response) => {
            const { remoteAddress, remotePort, remoteFamily } = socket;
            response.end(JSON.stringify({ remoteAddress, remotePort, remoteFamily, headers, rawHeaders }));
        }",
    );
    let router = Router::builder(&volume).flag("trusted-proxy", "127.0.0.1").start().await;
    let forged = with_header(request("/a/"), "x-deno-client-address", "6.6.6.6:6");
    let reply = router.public.send(forged).await.json();
    assert_eq!(reply["remoteAddress"], "127.0.0.1", "{reply}");
    assert!(reply["remotePort"].as_u64().is_some_and(|port| port > 0), "{reply}");
    assert_eq!(reply["remoteFamily"], "IPv4", "{reply}");
    assert!(!reply.to_string().contains("x-deno-client-address"), "{reply}");
    // One connection to the cell carries requests of many.
    for (client, family) in [("2001:db8::7", "IPv6"), ("192.0.2.7", "IPv4")] {
        let reply = router.public.send(with_header(request("/a/"), "x-forwarded-for", client)).await.json();
        assert_eq!((&reply["remoteAddress"], &reply["remoteFamily"]), (&json!(client), &json!(family)));
        assert_eq!(reply["headers"]["x-forwarded-for"], format!("{client}, 127.0.0.1"), "{reply}");
    }
}

#[tokio::test]
async fn a_server_sees_the_address_that_it_requested() {
    let volume = Volume::new();
    for (name, arguments) in [
        ("number", "3000"),
        ("text", "'3000', '127.0.0.1'"),
        ("options", "{ port: 3000, host: '::1' }"),
        ("name", "{ port: 3000, host: 'localhost' }"),
        ("any", "0"),
        ("nothing", ""),
        ("environment", "process.env.PORT"),
        ("path", "'/tmp/own.sock'"),
    ] {
        let main = format!(
            "import http from 'node:http';
             const server = http.createServer((_, response) => {{
                 response.end(JSON.stringify({{ before, now: server.address(), listening: server.listening }}));
             }});
             const before = server.address();
             server.listen({arguments});"
        );
        volume.write(&format!("{name}/main.mjs"), main);
    }
    let router = Router::start(&volume).await;
    let at = |address: &str, family: &str, port: u16| json!({ "address": address, "family": family, "port": port });
    for (name, address) in [
        ("number", at("::", "IPv6", 3000)),
        ("text", at("127.0.0.1", "IPv4", 3000)),
        ("options", at("::1", "IPv6", 3000)),
        ("name", at("127.0.0.1", "IPv4", 3000)),
        ("any", at("::", "IPv6", 8000)),
        ("nothing", at("::", "IPv6", 8000)),
        ("environment", at("::", "IPv6", 8000)),
        ("path", json!("/tmp/own.sock")),
    ] {
        let reply = router.public.get(&format!("/{name}/")).await;
        assert_eq!(reply.status, 200, "{name}: {:?}", router.admin.project(name).await.error);
        assert_eq!(reply.json(), json!({ "before": null, "now": address, "listening": true }), "{name}");
    }
}

#[tokio::test]
async fn a_connection_has_the_address_and_port_that_the_server_requested() {
    let volume = Volume::new();
    for (name, arguments) in [
        ("port", "process.env.PORT"),
        ("own", "3000, '127.0.0.1'"),
        ("all", "{ port: 3000, host: '0.0.0.0' }"),
        ("ipv6", "3000, '::1'"),
        ("path", "'/tmp/own.sock'"),
    ] {
        let main = format!(
            "import http from 'node:http';
             http.createServer(({{ socket }}, response) => {{
                 const {{ localAddress, localPort, localFamily }} = socket;
                 response.end(JSON.stringify({{ localAddress, localPort, localFamily, address: socket.address() }}));
             }}).listen({arguments});"
        );
        volume.write(&format!("{name}/main.mjs"), main);
    }
    let router = Router::start(&volume).await;
    let at = |address: &str, port: u16, family: &str| {
        json!({
            "localAddress": address, "localPort": port, "localFamily": family,
            "address": { "address": address, "port": port, "family": family },
        })
    };
    for (name, ends) in [
        ("port", at("127.0.0.1", 8000, "IPv4")),
        ("own", at("127.0.0.1", 3000, "IPv4")),
        ("all", at("127.0.0.1", 3000, "IPv4")),
        ("ipv6", at("::1", 3000, "IPv6")),
        ("path", json!({ "address": {} })),
    ] {
        assert_eq!(router.public.get(&format!("/{name}/")).await.json(), ends, "{name}");
    }
}

#[tokio::test]
async fn a_server_that_listens_again_elsewhere_knows_its_clients() {
    let volume = node(
        "function ({ socket, url }, response) {
            response.end(`${socket.remoteAddress} ${socket.localPort}`);
            if (url !== '/move') return;
            this.close(() => this.listen(4000));
            this.closeIdleConnections();
        }",
    );
    let router = Router::start(&volume).await;
    assert_eq!(router.public.get("/a/move").await.text(), "127.0.0.1 3000");
    eventually("it has moved", || async { router.public.get("/a/").await.text() == "127.0.0.1 4000" }).await;
}

#[tokio::test]
async fn servers_of_https_and_http2_are_reached_without_tls() {
    let volume = Volume::new();
    for (name, server) in [
        ("https", "https.createServer({}, listener)"),
        ("both", "http2.createSecureServer({ allowHTTP1: true }).on('request', listener)"),
        ("secure", "http2.createSecureServer({}, listener)"),
        ("plain", "http2.createServer(listener)"),
    ] {
        let main = format!(
            "import http2 from 'node:http2';
             import https from 'node:https';
             const listener = ({{ method, url, httpVersion, socket, headers }}, response) => {{
                 const {{ localPort, remoteAddress }} = socket;
                 response.writeHead(201, {{ 'x-port': localPort, 'x-host': headers.host ?? headers[':authority'] }});
                 response.end([method, url, httpVersion, remoteAddress].join(' '));
             }};
             const server = {server};
             server.listen(8443, () => console.log(server.address().port));"
        );
        volume.write(&format!("{name}/main.mjs"), main);
    }
    let router = Router::start(&volume).await;
    for (name, version) in [("https", "1.1"), ("both", "1.1"), ("secure", "2.0"), ("plain", "2.0")] {
        let reply = router.public.get(&format!("/{name}/p")).await;
        let error = router.admin.project(name).await.error;
        assert_eq!(reply.status, 201, "{name}: {error:?}");
        assert_eq!(reply.text(), format!("GET /p {version} 127.0.0.1"), "{name}");
        assert_eq!(reply.header("x-port"), Some("8443"), "{name}");
        assert_eq!(reply.header("x-host"), Some(router.public.address.to_string().as_str()), "{name}");
    }
}

#[tokio::test]
async fn streams_of_http2_are_answered_whole_and_are_closed_with_their_clients() {
    let main = "import http2 from 'node:http2';
        let closed = 0;
        const server = http2.createSecureServer({ allowHTTP1: true });
        server.on('stream', (stream, headers) => {
            const path = headers[':path'];
            stream.on('close', () => path === '/never' && closed++);
            stream.respond({ ':status': 202, 'set-cookie': ['a=1', 'b=2'] });
            if (headers[':method'] === 'POST') return stream.pipe(stream);
            if (path === '/never') return stream.write('1');
            stream.end(`${path} ${closed}`);
        });
        server.listen(8443);";
    let volume = Volume::new();
    volume.write("a/main.mjs", main);
    let router = Router::start(&volume).await;
    let body = vec![b'x'; 1 << 20];
    for _ in 0..2 {
        let reply = router.public.send(post("/a/p", body.clone())).await;
        assert!(
            reply.status == 202 && reply.body == body,
            "{} with {} bytes",
            reply.status,
            reply.body.len()
        );
        assert_eq!(reply.headers.get_all("set-cookie").iter().count(), 2);
    }
    let offered = with_header(request("/a/p"), "upgrade", "websocket");
    let reply = router.public.send(with_header(offered, "connection", "upgrade")).await;
    assert_eq!((reply.status, reply.text().as_str()), (202, "/p 0"));
    let mut connection = router.public.connect().await;
    let mut stream = connection.stream(request("/a/never")).await;
    assert_eq!(stream.next().await.as_deref(), Some("1"));
    drop((stream, connection));
    eventually("the stream is closed", || async { router.public.get("/a/p").await.text() == "/p 1" }).await;
}

/// Requests over many new connections at once, so that sessions begin and end within one another.
const CROWD: usize = 24;
const ROUNDS: usize = 12;

/// Answers with the number of bytes received.
const COUNTS_BY_REQUEST: &str = "import http2 from 'node:http2';
    http2.createServer((request, response) => {
        let size = 0;
        request.on('data', (piece) => size += piece.length);
        request.on('end', () => response.end(`${size}`));
    }).listen(8443);";

/// The same with streams.
const COUNTS_BY_STREAM: &str = "import http2 from 'node:http2';
    http2.createServer().on('stream', (stream) => {
        let size = 0;
        stream.on('data', (piece) => size += piece.length);
        stream.on('end', () => stream.end(`${size}`));
    }).listen(8443);";

#[tokio::test]
async fn a_crowd_of_short_connections_loses_no_answer_of_a_server_of_http2() {
    let volume = Volume::new();
    volume.write("request/main.mjs", COUNTS_BY_REQUEST);
    volume.write("stream/main.mjs", COUNTS_BY_STREAM);
    let router = Router::start(&volume).await;
    for name in ["request", "stream"] {
        let path = format!("/{name}/");
        for _ in 0..ROUNDS {
            let replies = (0..CROWD).map(|_| async {
                let mut gone = router.public.open().await;
                gone.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
                drop(gone);
                router.public.send(post(&path, vec![b'x'; 1000])).await
            });
            for reply in join_all(replies).await {
                assert_eq!((reply.status, reply.text().as_str()), (200, "1000"), "{name}");
            }
        }
        assert_eq!(router.admin.project(name).await.crashes, [], "{name}");
    }
}

#[tokio::test]
async fn a_session_of_http2_serves_one_connection_after_the_other() {
    let main = "import http2 from 'node:http2';
        let sessions = 0, asked = 0, gone = 0;
        http2.createServer().on('session', () => sessions++).on('stream', (stream, headers) => {
            if (headers[':path'] === '/waits') return asked++, stream.on('close', () => gone++);
            stream.end(JSON.stringify([sessions, asked, gone]));
        }).listen(8443);";
    let volume = Volume::with("a", main);
    let router = Router::start(&volume).await;
    let seen = async || {
        let seen: [usize; 3] = serde_json::from_value(router.public.get("/a/").await.json()).unwrap();
        seen
    };
    for round in 1..=ROUNDS {
        // A client that hangs up ends the connection to the cell.
        let mut waits = router.public.open().await;
        waits.send("GET /a/waits HTTP/1.1\r\nHost: h\r\n\r\n").await;
        eventually("it is asked", || async { seen().await[1] == round }).await;
        drop(waits);
        eventually("its stream is closed", || async { seen().await[2] == round }).await;
    }
    assert!(seen().await[0] < ROUNDS, "each connection had another session");
}

/// Code that throws during a request, and the request that triggers it.
const THROWS: [(&str, &str, &str); 9] = [
    ("request", "http.createServer(() => { throw new Error('thrown'); }).listen(3000);", ""),
    ("missing", "http.createServer(() => require('thrown')).listen(3000);", ""),
    (
        "body",
        "http.createServer((r) => r.on('data', () => { throw new Error('thrown'); })).listen(3000);",
        "Content-Length: 4\r\n",
    ),
    (
        "readable",
        "http.createServer((r) => r.on('readable', () => { throw new Error('thrown'); })).listen(3000);",
        "Content-Length: 4\r\n",
    ),
    (
        "connection",
        "http.createServer().on('connection', () => { throw new Error('thrown'); }).listen(3000);",
        "",
    ),
    (
        "upgrade",
        "http.createServer().on('upgrade', () => { throw new Error('thrown'); }).listen(3000);",
        "Connection: Upgrade\r\nUpgrade: websocket\r\n",
    ),
    (
        "expect",
        "http.createServer().on('checkExpectation', () => { throw new Error('thrown'); }).listen(3000);",
        "Expect: own\r\n",
    ),
    ("https", "https.createServer({}, () => { throw new Error('thrown'); }).listen(3000);", ""),
    ("http2", "http2.createSecureServer({}, () => { throw new Error('thrown'); }).listen(3000);", ""),
];

#[tokio::test]
async fn an_exception_of_a_listener_ends_the_process_and_is_logged() {
    let volume = Volume::new();
    for (name, main, _) in THROWS {
        let main = format!(
            "const http = require('http'), https = require('https'), http2 = require('http2');\n{main}"
        );
        volume.project(name).file("index.js", main).file("package.json", "{}").write();
    }
    let router = Router::start(&volume).await;
    for (name, _, headers) in THROWS {
        let method = if headers.starts_with("Content-Length") { "POST" } else { "GET" };
        let mut raw = router.public.open().await;
        raw.send(format!("{method} /{name}/ HTTP/1.1\r\nHost: h\r\n{headers}\r\nbody")).await;
        let answer = raw.until("\r\n\r\n").await;
        let error = router.admin.project(name).await.error;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{name}: {answer} {error:?}");
        eventually(name, || async {
            let lines = router.admin.client.get(&format!("/projects/{name}/logs")).await.text();
            lines.contains("error: Uncaught") && lines.contains("thrown") && lines.contains("index.js:2")
        })
        .await;
        eventually(name, || async { !router.admin.project(name).await.crashes.is_empty() }).await;
    }
}

#[tokio::test]
async fn an_exception_of_a_listener_can_be_caught_by_the_process() {
    let main = "import http from 'node:http';
        process.on('uncaughtException', (error) => console.log(`caught ${error.message}`));
        http.createServer((_, response) => {
            setTimeout(() => response.end('answered'), 20);
            throw new Error('thrown');
        }).listen(3000);";
    let volume = Volume::new();
    volume.write("a/main.mjs", main);
    let router = Router::start(&volume).await;
    assert_eq!(router.public.get("/a/").await.text(), "answered");
    let logs = || async { router.admin.client.get("/projects/a/logs").await.text() };
    eventually("it is caught", || async { logs().await.contains("caught thrown") }).await;
    assert!(router.admin.project("a").await.crashes.is_empty());
}

#[tokio::test]
async fn each_chunk_is_echoed_before_the_next_is_sent() {
    let volume = node("(request, response) => request.pipe(response)");
    let router = Router::start(&volume).await;
    let (upload, request) = Upload::post("/a/");
    let mut connection = router.public.connect().await;
    upload.send("0").await;
    let mut stream = connection.stream(request).await;
    assert_eq!(stream.next().await.as_deref(), Some("0"));
    for index in 1..20 {
        upload.send(index.to_string()).await;
        assert_eq!(stream.next().await, Some(index.to_string()));
    }
    upload.end();
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn large_bodies_arrive_whole_both_ways() {
    let volume = node("(request, response) => request.pipe(response)");
    let router = Router::start(&volume).await;
    let body: Vec<u8> =
        (0..8 << 20).map(|index: u32| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let reply = router.public.send(post("/a/", body.clone())).await;
    assert!(reply.status == 200 && reply.body == body, "{} with {} bytes", reply.status, reply.body.len());
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let volume = node("(_, response) => response.setHeader('content-length', 5).end('hello')");
    let router = Router::start(&volume).await;
    let mut connection = router.public.connect().await;
    for _ in 0..3 {
        let head = connection.send(with_method(Method::HEAD, "/a/")).await;
        assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("5"), 0));
        assert_eq!(connection.get("/a/").await.text(), "hello");
    }
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_receives_it() {
    let volume = node("(request, response) => request.pipe(response)");
    let router = Router::start(&volume).await;
    let mut raw = router.public.open().await;
    raw.send("POST /a/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n").await;
    raw.until("HTTP/1.1 100 Continue\r\n\r\n").await;
    raw.send("hello").await;
    let answer = raw.until("hello").await;
    assert!(answer.contains("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn fields_behind_a_body_pass_both_ways() {
    let volume = node(
        "(request, response) => {
            request.resume().on('end', () => {
                response.writeHead(200, { trailer: 'x-sum' });
                response.write(JSON.stringify(request.trailers));
                response.addTrailers({ 'x-sum': '42' });
                response.end();
            });
        }",
    );
    let router = Router::start(&volume).await;
    let mut raw = router.public.open().await;
    raw.send("POST /a/ HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nTrailer: x-own\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    raw.send("5\r\nhello\r\n0\r\nx-own: 7\r\n\r\n").await;
    let answer = raw.until("x-sum: 42\r\n\r\n").await;
    assert!(answer.contains(r#"{"x-own":"7"}"#), "{answer}");
}

#[tokio::test]
async fn a_switch_of_protocols_passes_both_ways() {
    let volume = Volume::new();
    let main = "import http from 'node:http';
        const server = http.createServer((_, response) => response.end('plain'));
        server.on('upgrade', (request, socket, head) => {
            const { remoteAddress } = request.socket;
            socket.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\\r\\n');
            socket.write(`${remoteAddress} ${request.headers.upgrade}\\n`);
            if (head.length > 0) socket.write(head);
            socket.pipe(socket);
        });
        server.listen(3000);";
    volume.write("a/main.mjs", main);
    let router = Router::start(&volume).await;
    let mut raw = router.public.open().await;
    raw.send("GET /a/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    let head = raw.until("127.0.0.1 websocket\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    for text in ["one\n", "two\n"] {
        raw.send(text).await;
        raw.until(text).await;
    }
    assert_eq!(router.public.get("/a/").await.text(), "plain");
}

#[tokio::test]
async fn a_client_that_goes_away_closes_the_request() {
    let volume = node(
        "function (request, response) {
            if (request.url === '/closed') return response.end(String(this.closed ?? 0));
            response.on('close', () => this.closed = (this.closed ?? 0) + 1);
            response.write('1');
        }",
    );
    let router = Router::start(&volume).await;
    let mut connection = router.public.connect().await;
    let mut stream = connection.stream(request("/a/")).await;
    assert_eq!(stream.next().await.as_deref(), Some("1"));
    drop((stream, connection));
    eventually("the server is notified", || async { router.public.get("/a/closed").await.text() == "1" })
        .await;
}

#[tokio::test]
async fn requests_in_flight_finish_when_a_version_is_replaced() {
    let volume = node("(request, response) => request.resume().on('end', () => response.end('old'))");
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let (upload, request) = Upload::post("/a/");
    let mut connection = router.public.connect().await;
    let asking = tokio::spawn(async move { connection.try_send(request).await });
    upload.send("x").await;
    let waiting = || async { router.admin.project("a").await.in_flight == 1 };
    eventually("the request has arrived", waiting).await;
    let main = volume.read("a/main.mjs").replace("'old'", "'new'");
    volume.replace("a/main.mjs", main);
    events.wait_live("a").await;
    upload.end();
    let reply = within("an answer", asking).await.unwrap().unwrap();
    assert_eq!(reply.text(), "old");
    assert_eq!(router.public.send(post("/a/", "x")).await.text(), "new");
}

#[tokio::test]
async fn idle_connections_are_kept_by_both_for_the_next_request() {
    let volume =
        node("({ socket }, response) => response.end(String(socket.asked = (socket.asked ?? 0) + 1))");
    let router = Router::start(&volume).await;
    let mut connection = router.public.connect().await;
    assert_eq!(connection.get("/a/").await.text(), "1");
    assert_eq!(connection.get("/a/").await.text(), "2");
    // Longer than the router keeps an idle connection, and shorter than Node does.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(connection.get("/a/").await.status, 200);
}

#[tokio::test]
async fn listeners_of_faults_are_taken_as_by_node() {
    let volume = node(
        "(request, response) => {
            const faults = ['SIGILL', 'SIGFPE', 'SIGSEGV'];
            for (const signal of faults) process.on(signal, () => {}).once(signal, () => {});
            const counts = faults.map((signal) => process.listenerCount(signal));
            for (const signal of faults) process.removeAllListeners(signal);
            response.end(counts.join());
        }",
    );
    let router = Router::start(&volume).await;
    assert_eq!(router.public.get("/a/").await.text(), "2,2,2");
}
