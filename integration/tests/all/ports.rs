//! Ports that projects do not have: datagrams of strangers never arrive, answers do, QUIC does not
//! listen, servers of TCP only appear to; and projects' servers keep serving, whenever they start
//! to listen.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use serde_json::{Value, json};
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A project with a datagram socket of each kind. `/KIND` answers with the received datagrams,
/// `/KIND/port` with the port, `/KIND/send?PORT` sends to a port.
const LISTENS: &str = r#"import dgram from "node:dgram";
const text = (bytes) => new TextDecoder().decode(bytes);
const heard = { deno: [], node: [], late: [] };
const deno = Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: 0 });
(async () => { for await (const [bytes] of deno) heard.deno.push(text(bytes)); })();
const node = dgram.createSocket("udp4", (bytes) => heard.node.push(text(bytes)));
await new Promise((bound) => node.bind(0, bound));
// Bound when it first sends, for both protocols.
const late = dgram.createSocket("udp6", (bytes) => heard.late.push(text(bytes)));
const sockets = {
  deno: { port: () => deno.addr.port, join: (group) => deno.joinMulticastV4(group, "127.0.0.1"), send: (port) =>
    deno.send(new TextEncoder().encode("hello"), { transport: "udp", hostname: "127.0.0.1", port }) },
  node: { port: () => node.address().port, join: (group) => node.addMembership(group, "127.0.0.1"), send: (port) =>
    new Promise((done) => node.send("hello", port, "127.0.0.1", done)) },
  late: { port: () => late.address().port, send: (port) =>
    new Promise((done) => late.send("hello", port, "::ffff:127.0.0.1", done)) },
};
export default {
  async fetch(request) {
    const { pathname, search } = new URL(request.url);
    const [, kind, what] = pathname.split("/");
    if (what === "port") return Response.json(sockets[kind].port());
    if (what === "join") return Response.json(await sockets[kind].join(search.slice(1)) ?? null);
    if (what === "send") return Response.json(await sockets[kind].send(Number(search.slice(1))) ?? null);
    return Response.json(heard[kind]);
  },
};
"#;

/// Datagrams of a stranger: more than the kernel buffers for a socket.
const FLOOD: usize = 2000;

/// A router with a project that may reach these addresses of this machine.
async fn router(volume: &Volume, reach: &[String]) -> Router {
    let reach = serde_json::to_string(reach).expect("addresses are text");
    volume.write("_policy/policy.toml", format!("[projects.a.permissions]\nprivate_net = {reach}\n"));
    Router::builder(volume).flag("policy", volume.path("_policy/policy.toml").display()).start().await
}

fn local() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    socket.set_nonblocking(true).expect("a socket takes it");
    socket
}

/// Sends from a stranger, makes the project send to a friend, and answers from there. Returns the
/// datagrams that the project received.
async fn received(router: &Router, kind: &str, friend: &UdpSocket, to: Option<SocketAddr>) -> Value {
    let ask = async |path: &str| router.public.get(&format!("/a/{kind}{path}")).await.json();
    let stranger = local();
    let port = friend.local_addr().expect("it is bound").port();
    // The socket that is bound when it sends has no port before.
    if kind == "late" {
        ask(&format!("/send?{port}")).await;
        receive(friend).await;
    }
    let own: u16 = serde_json::from_value(ask("/port").await).expect("a port is a number");
    let own = SocketAddr::from(([127, 0, 0, 1], own));
    let own = to.map_or(own, |to| SocketAddr::new(to.ip(), own.port()));
    let flood = |socket: &UdpSocket| {
        for _ in 0..FLOOD {
            _ = socket.send_to(&[b'x'; 1000], own);
        }
    };
    flood(&stranger);
    ask(&format!("/send?{port}")).await;
    receive(friend).await;
    flood(&stranger);
    send_from(friend, own).await;
    eventually("the answer is heard", || async { ask("").await != json!([]) }).await;
    ask("").await
}

async fn receive(friend: &UdpSocket) {
    eventually("the project sends", || std::future::ready(friend.recv(&mut [0; 16]).is_ok())).await;
}

async fn send_from(friend: &UdpSocket, to: SocketAddr) {
    eventually("a datagram is sent", || std::future::ready(friend.send_to(b"friend", to).is_ok())).await;
}

#[tokio::test]
async fn datagrams_of_strangers_never_arrive_and_answers_do() {
    let (volume, friend) = (Volume::new(), local());
    volume.write("a/main.mjs", LISTENS);
    let router = router(&volume, &[friend.local_addr().unwrap().to_string()]).await;
    let kinds = ["deno", "node", "late"];
    for kind in &kinds[..if UdpSocket::bind("[::]:0").is_ok() { 3 } else { 2 }] {
        assert_eq!(received(&router, kind, &friend, None).await, json!(["friend"]), "{kind}");
    }
}

#[tokio::test]
async fn a_multicast_socket_receives_only_from_addresses_that_it_has_sent_to() {
    let (volume, friend) = (Volume::new(), local());
    volume.write("a/main.mjs", LISTENS);
    let group = "239.255.77.77";
    let router = router(&volume, &[friend.local_addr().unwrap().to_string(), group.to_owned()]).await;
    rustix::net::sockopt::set_ip_multicast_if(&friend, &Ipv4Addr::LOCALHOST).unwrap();
    for kind in ["deno", "node"] {
        let joined = router.public.get(&format!("/a/{kind}/join?{group}")).await;
        assert_eq!(joined.status, 200, "{kind}: {}", joined.text());
        let to = SocketAddr::new(group.parse().unwrap(), 0);
        assert_eq!(received(&router, kind, &friend, Some(to)).await, json!(["friend"]), "{kind}");
    }
}

#[tokio::test]
async fn quic_refuses_to_listen() {
    let main = r#"let said;
        try {
            const endpoint = new Deno.QuicEndpoint({ hostname: "0.0.0.0", port: 0 });
            said = `port ${endpoint.addr.port > 0}: ${endpoint.listen({ cert: "", key: "", alpnProtocols: ["h3"] })}`;
        } catch (error) {
            said = `${error.name}: ${error.message}`;
        }
        export default { fetch: () => new Response(said) };"#;
    let volume = Volume::with("a", main);
    let router = Router::start(&volume).await;
    let said = router.public.get("/a/").await.text();
    assert!(said.starts_with("PermissionDenied: A project opens no port"), "{said}");
}

/// Stops its server on request, and starts another one a moment later.
const AGAIN: [(&str, &str); 2] = [
    (
        "deno",
        "let count = 0;
         function start() {
             count++;
             const server = Deno.serve({ onListen() {} }, ({ url }) => {
                 if (url.endsWith('/again')) setTimeout(async () => {
                     await server.shutdown();
                     setTimeout(start, 20);
                 });
                 return new Response(String(count), { headers: { connection: 'close' } });
             });
         }
         setTimeout(start, 50);",
    ),
    (
        "node",
        "import http from 'node:http';
         let count = 0;
         const server = http.createServer(({ url }, response) => {
             if (url.endsWith('/again')) setTimeout(() => {
                 server.close(() => setTimeout(start, 20));
                 server.closeAllConnections();
             });
             response.setHeader('connection', 'close').end(String(count));
         });
         const start = () => server.listen(3000, () => count++);
         setTimeout(start, 50);",
    ),
];

#[tokio::test]
async fn a_server_may_listen_late_and_repeatedly() {
    let volume = Volume::new();
    for (name, main) in AGAIN {
        volume.write(&format!("{name}/main.mjs"), main);
    }
    let router = Router::start(&volume).await;
    for (name, _) in AGAIN {
        for count in 1..4 {
            let is_there = || async {
                let reply = router.public.get(&format!("/{name}/")).await;
                reply.status == 200 && reply.text() == count.to_string()
            };
            eventually(&format!("{name} listens for the {count}. time"), is_there).await;
            router.public.get(&format!("/{name}/again")).await;
        }
        let pids = router.admin.project(name).await;
        assert!(pids.crashes.is_empty(), "{name}: {:?}", pids.crashes);
    }
}

#[tokio::test]
async fn a_worker_that_is_made_late_serves_when_the_first_server_has_ended() {
    let main = "import http from 'node:http';
        const server = http.createServer((_, response) => {
            response.setHeader('connection', 'close').end('main');
            server.close(() => new Worker(import.meta.resolve('./worker.mjs'), { type: 'module' }));
        }).listen(3000);
        setInterval(() => {}, 1000);";
    let worker = "Deno.serve(() => new Response('worker'));";
    let volume = Volume::new();
    volume.write("a/main.mjs", main);
    volume.write("a/worker.mjs", worker);
    let router = Router::start(&volume).await;
    assert_eq!(router.public.get("/a/").await.text(), "main");
    eventually("the worker serves", || async { router.public.get("/a/").await.text() == "worker" }).await;
}

/// Looks for a free port in the ways of `get-port`, `detect-port` and `portfinder`, then serves.
const LOOKS_FOR_A_PORT: &str = r#"import http from "node:http";
import net from "node:net";
import tls from "node:tls";
import { once } from "node:events";
const seen = [];
async function probe(server, ...args) {
  let called = false;
  server.unref();
  server.listen(...args, () => called = true);
  await once(server, "listening");
  const address = server.address();
  await new Promise((closed) => server.close(closed));
  seen.push([called, address, server.address()]);
  return address.port;
}
await probe(net.createServer(), 3000);
await probe(net.createServer(), { port: "3001", host: "127.0.0.1" });
await probe(net.createServer(), 3002, "::1");
await probe(tls.createServer({}), 3003);
const free = [await probe(net.createServer()), await probe(net.createServer(), { port: 0 })];
const stops = new AbortController();
const stopped = net.createServer().listen({ port: 3004, signal: stops.signal });
stops.abort();
await once(stopped, "close");
let wrong;
try { net.createServer().listen(70000); } catch ({ code }) { wrong = code; }
const again = net.createServer().listen(3005);
let twice;
try { again.listen(3006); } catch ({ code }) { twice = code; }
http.createServer((_, response) => response.end(JSON.stringify({
  seen: seen.slice(0, 4), free: new Set(free).size === 2 && free.every((port) => port > 1023), wrong, twice,
}))).listen(free[0]);
"#;

#[tokio::test]
async fn a_server_of_tcp_that_seems_to_listen_opens_no_port() {
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
    let main = format!(
        "import net from 'node:net';
        let listening = false;
        net.createServer().listen({}, '127.0.0.1', () => listening = true);
        export default {{ fetch: () => Response.json(listening) }};",
        address.port()
    );
    let volume = Volume::with("a", main);
    let router = Router::start(&volume).await;
    assert_eq!(router.public.get("/a/").await.text(), "true");
    let refused = std::net::TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn servers_of_tcp_seem_to_listen_and_are_reported_once() {
    let volume = Volume::with("a", LOOKS_FOR_A_PORT);
    let router = Router::start(&volume).await;
    let reply = router.public.get("/a/").await;
    assert_eq!(reply.status, 200, "{:?}", router.admin.project("a").await.error);
    let seen = |address: &str, family: &str, port: u16| json!([true, {"address": address, "family": family, "port": port}, null]);
    let expected = json!({
        "seen": [
            seen("::", "IPv6", 3000),
            seen("127.0.0.1", "IPv4", 3001),
            seen("::1", "IPv6", 3002),
            seen("::", "IPv6", 3003),
        ],
        "free": true,
        "wrong": "ERR_SOCKET_BAD_PORT",
        "twice": "ERR_SERVER_ALREADY_LISTEN",
    });
    assert_eq!(reply.json(), expected);
    let printed = async || router.admin.client.get("/projects/a/logs").await.text();
    let warning = "TCP servers get no connections here: the one on port 3000 only seems to listen";
    eventually("it is in the log", || async { printed().await.contains(warning) }).await;
    assert_eq!(printed().await.matches("TCP servers get no connections").count(), 1);
    assert!(std::net::TcpStream::connect(("127.0.0.1", 3005)).is_err(), "the port was opened");
}

#[tokio::test]
async fn a_program_that_serves_only_tcp_fails_its_build_with_the_reason() {
    let volume = Volume::new();
    for (name, main) in [
        ("module", "import net from 'node:net'; net.createServer((s) => s.end('hello')).listen(3000);"),
        ("commonjs", "require('net').createServer((s) => s.end('hello')).listen(3000);"),
        ("tls", "import tls from 'node:tls'; tls.createServer({}).listen(3000);"),
    ] {
        let file = if name == "commonjs" { "main.cjs" } else { "main.mjs" };
        volume.write(&format!("{name}/{file}"), main);
    }
    let router = Router::start(&volume).await;
    for name in ["module", "commonjs", "tls"] {
        eventually("it fails", || async { router.admin.project(name).await.error.is_some() }).await;
        let text = format!("{:?}", router.admin.project(name).await.error);
        assert!(text.contains("TCP servers (node:net, node:tls) are not served"), "{name}: {text}");
    }
}

/// Answers each question with 192.0.2.7 (RFC 1035: the header, the question, one answer that points
/// to it).
async fn name_server(socket: tokio::net::UdpSocket) {
    let mut buffer = [0; 512];
    while let Ok((size, from)) = socket.recv_from(&mut buffer).await {
        let question = 12 + buffer[12..size].iter().position(|byte| *byte == 0).unwrap_or_default() + 5;
        let mut answer = buffer[..question].to_vec();
        answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
        _ = socket.send_to(&answer, from).await;
    }
}

/// A server that answers with the body in capitals.
async fn shouts(listener: tokio::net::TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut bytes = [0; 64];
        let Ok(size) = stream.read(&mut bytes).await else { continue };
        _ = stream.write_all(&bytes[..size].to_ascii_uppercase()).await;
    }
}

#[tokio::test]
async fn names_are_resolved_and_connections_made_after_a_project_serves() {
    let names = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let echo = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (dns, tcp) = (names.local_addr().unwrap(), echo.local_addr().unwrap());
    let (names, echo) = (tokio::spawn(name_server(names)), tokio::spawn(shouts(echo)));
    let main = format!(
        r#"import net from "node:net";
        const text = (bytes) => new TextDecoder().decode(bytes);
        const nameServer = {{ ipAddr: "127.0.0.1", port: {} }};
        const port = {};
        async function deno() {{
            const connection = await Deno.connect({{ hostname: "127.0.0.1", port }});
            await connection.write(new TextEncoder().encode("deno"));
            const bytes = new Uint8Array(64);
            return text(bytes.subarray(0, await connection.read(bytes)));
        }}
        const node = () => new Promise((done, fail) => {{
            const socket = net.connect(port, "127.0.0.1", () => socket.write("node"));
            socket.on("data", (bytes) => done(text(bytes))).on("error", fail);
        }});
        export default {{ fetch: async () => Response.json([
            await Deno.resolveDns("some.example", "A", {{ nameServer }}), await deno(), await node(),
        ]) }};"#,
        dns.port(),
        tcp.port()
    );
    let volume = Volume::new();
    volume.write("a/main.mjs", main);
    let router = router(&volume, &[dns.to_string(), tcp.to_string()]).await;
    for _ in 0..3 {
        let reply = within("the project answers", router.public.get("/a/")).await;
        assert_eq!(reply.json(), json!([["192.0.2.7"], "DENO", "NODE"]));
    }
    names.abort();
    echo.abort();
}

#[tokio::test]
async fn modes_and_times_of_a_projects_own_files_are_changed_as_before() {
    let main = r#"import fs from "node:fs";
        const at = (name) => `${Deno.env.get("DATA_DIR")}/${name}`;
        function change() {
            fs.writeFileSync(at("file"), "text");
            fs.mkdirSync(at("folder"), { recursive: true });
            Deno.chmodSync(at("file"), 0o640);
            Deno.chmodSync(at("folder"), 0o711);
            const denos = [fs.statSync(at("file")).mode & 0o777, fs.statSync(at("folder")).mode & 0o777];
            fs.chmodSync(at("file"), 0o200);
            fs.chmodSync(at("file"), 0o604);
            Deno.utimeSync(at("file"), 1000, 2000);
            fs.utimesSync(at("folder"), 3000, 4000);
            fs.lutimesSync(at("file"), 1000, 5000);
            fs.copyFileSync(at("file"), at("copy"));
            return [...denos, ...["file", "copy"].map((name) => fs.statSync(at(name)).mode & 0o777),
                ...["file", "folder"].map((name) => fs.statSync(at(name)).mtimeMs / 1000)];
        }
        export default { fetch: () => Response.json(change()) };"#;
    let volume = Volume::new();
    volume.write("a/main.mjs", main);
    let router = Router::start(&volume).await;
    let reply = router.public.get("/a/").await;
    assert_eq!(reply.json(), json!([0o640, 0o711, 0o604, 0o604, 5000, 4000]), "{}", reply.text());
}
