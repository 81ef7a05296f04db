//! `request.url` in a handler: the URL that the client requested, at the router and behind the
//! bridge.

use futures_util::StreamExt as _;
use serde_json::json;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::client::{request, with_header};
use switchyard_integration::eventually;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

const FETCH: &str = "export default { fetch: (request: Request) => new Response(request.url) };";

/// The ways in which an entry hands over a handler of requests.
const HANDLERS: [(&str, &str); 6] = [
    ("fetch", FETCH),
    ("function", "export default (request: Request) => new Response(request.url);"),
    ("serve", "Deno.serve((request) => new Response(request.url));"),
    ("port", "Deno.serve({ port: 3000, handler: (request) => new Response(request.url) });"),
    ("late", "setTimeout(() => Deno.serve((request) => new Response(request.url)), 20);"),
    ("awaited", "await Deno.serve((request) => new Response(request.url)).finished;"),
];

fn get(target: &str, host: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn the_url_is_the_one_that_the_client_requested() {
    let volume = Volume::new();
    for (name, main) in HANDLERS {
        volume.project(name).file("main.ts", main).write();
    }
    let worker = "new Worker(import.meta.resolve('./worker.ts'), { type: 'module' });";
    let served = "Deno.serve((request) => new Response(request.url));";
    volume.project("worker").file("main.ts", worker).file("worker.ts", served).write();
    let replicas = Replicas::start(&volume, 1).await;
    let bridge = replicas.start_bridge().await;
    let router = replicas.iter().next().expect("the router runs");
    let long = format!("/{}?{}", "p".repeat(6000), "q".repeat(6000));
    for (front, client) in [("router", &router.public), ("bridge", &bridge.forward)] {
        for name in HANDLERS.iter().map(|(name, _)| *name).chain(["worker"]) {
            let answer = client.raw(get(&format!("/{name}/p?q=1"), "h")).await;
            assert!(answer.ends_with("\r\n\r\nhttp://h/p?q=1"), "{front}: {name}: {answer}");
            let answer = client.raw(get("/p?q=1", &format!("{name}.localhost:8000"))).await;
            let url = format!("\r\n\r\nhttp://{name}.localhost:8000/p?q=1");
            assert!(answer.ends_with(&url), "{front}: {name}: {answer}");
        }
        let local = client.address;
        for (request, url) in [
            (get("/fetch", "h"), "http://h/".to_owned()),
            (get("/fetch/", "h:80"), "http://h:80/".to_owned()),
            (get("/fetch/p?", "h"), "http://h/p?".to_owned()),
            (get("/fetch/p", "WWW.Example.COM."), "http://www.example.com/p".to_owned()),
            (get("/fetch/p", "[::1]:9000"), "http://[::1]:9000/p".to_owned()),
            (get("/fetch/%2f%C3%A9%20?a=%20&b", "h"), "http://h/%2f%C3%A9%20?a=%20&b".to_owned()),
            (get("/fetch//a//b:c@d?u=http://x/y?z", "h"), "http://h//a//b:c@d?u=http://x/y?z".to_owned()),
            (get("/fetch/%23x", "h"), "http://h/%23x".to_owned()),
            (get("http://h:81/fetch/p", "h:81"), "http://h:81/p".to_owned()),
            (get("https://h/fetch/p", "h"), "http://h/p".to_owned()),
            (get(&format!("/fetch{long}"), "h"), format!("http://h{long}")),
            ("GET /fetch/p HTTP/1.0\r\n\r\n".to_owned(), format!("http://{local}/p")),
            (
                "OPTIONS * HTTP/1.1\r\nHost: fetch.localhost\r\nConnection: close\r\n\r\n".to_owned(),
                "http://fetch.localhost/*".to_owned(),
            ),
        ] {
            let answer = client.raw(&request).await;
            assert!(answer.ends_with(&format!("\r\n\r\n{url}")), "{front}: {request}: {answer}");
        }
        let answer = client.raw(get("http://user:secret@h/fetch/p", "h")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{front}: {answer}");
    }
}

#[tokio::test]
async fn node_servers_are_probed_by_path() {
    let main = "import http from 'node:http';
        http.createServer((request, response) => response.end(request.url)).listen(3000);";
    let volume = Volume::new();
    volume.write("a/main.mjs", main);
    let router = Router::start(&volume).await;
    assert_eq!(router.public.get("/a/p?q=http://x/").await.text(), "/p?q=http://x/");
    let answer = router.public.raw(get("http://h/a/p?", "h")).await;
    assert!(answer.ends_with("\r\n\r\n/p?"), "{answer}");
    let options = "OPTIONS * HTTP/1.1\r\nHost: a.localhost\r\nConnection: close\r\n\r\n";
    let answer = router.public.raw(options).await;
    assert!(answer.ends_with("\r\n\r\n*"), "{answer}");
}

#[tokio::test]
async fn scheme_and_host_are_those_that_a_trusted_proxy_names() {
    let volume = Volume::with("a", FETCH);
    let trusting = Router::builder(&volume).flag("trusted-proxy", "127.0.0.1").start().await;
    let plain = Router::start(&volume).await;
    let ask = async |router: &Router, proto: &str, host: &str| {
        let call = with_header(request("/a/p?q"), "x-forwarded-proto", proto);
        router.public.send(with_header(call, "x-forwarded-host", host)).await.text()
    };
    for (proto, host, url) in [
        ("https", "www.example.com", "https://www.example.com/p?q"),
        ("HTTPS", "WWW.example.com:8443", "https://www.example.com:8443/p?q"),
        ("wss", "[2001:db8::1]", "https://[2001:db8::1]/p?q"),
        ("http", "example.com", "http://example.com/p?q"),
        ("ftp", "example.com", "http://example.com/p?q"),
    ] {
        assert_eq!(ask(&trusting, proto, host).await, url);
    }
    let local = format!("{}/p?q", trusting.public.address);
    for host in ["user@example.com", "exa(mple.com", "example.com:port", ""] {
        assert_eq!(ask(&trusting, "https", host).await, format!("https://{local}"), "{host}");
    }
    let url = ask(&plain, "https", "www.example.com").await;
    assert_eq!(url, format!("http://{}/p?q", plain.public.address), "no proxy is trusted");
}

#[tokio::test]
async fn uses_of_the_url_work_as_on_tcp() {
    let main = r#"export default { async fetch(request: Request) {
        const url = new URL(request.url);
        if (url.pathname === "/go") return Response.redirect(new URL("/login?next=1", request.url));
        const cache = await caches.open("x");
        await cache.put(request, new Response("kept"));
        const ws = new URL("/ws", request.url);
        ws.protocol = "ws:";
        const secure = new URL(request.url);
        secure.protocol = "https:";
        return Response.json({
            origin: url.origin,
            cached: await (await cache.match(request))!.text(),
            cloned: new Request(request).url === request.url,
            pattern: new URLPattern("http{s}?://*/:page").exec(request.url)?.pathname.groups.page,
            // Elysia finds the path this way.
            path: request.url.slice(request.url.indexOf("/", 11)),
            ws: ws.href,
            secure: secure.href,
            host: request.headers.get("host"),
        });
    } };"#;
    let volume = Volume::with("a", main);
    let router = Router::start(&volume).await;
    let ask = |path: &str| with_header(request(path), "host", "a.localhost");
    assert_eq!(
        router.public.send(ask("/page")).await.json(),
        json!({
            "origin": "http://a.localhost",
            "cached": "kept",
            "cloned": true,
            "pattern": "page",
            "path": "/page",
            "ws": "ws://a.localhost/ws",
            "secure": "https://a.localhost/page",
            "host": "a.localhost",
        })
    );
    let redirect = router.public.send(ask("/go")).await;
    assert_eq!(redirect.header("location"), Some("http://a.localhost/login?next=1"));
}

#[tokio::test]
async fn a_websocket_has_the_url_and_the_address_of_its_client() {
    let main = "Deno.serve((request, info) => {
        const { hostname } = info.remoteAddr;
        const { socket, response } = Deno.upgradeWebSocket(request);
        socket.onopen = () => socket.send(`${request.url} ${hostname}`);
        return response;
    });";
    let volume = Volume::with("a", main);
    let replicas = Replicas::start(&volume, 1).await;
    let bridge = replicas.start_bridge().await;
    let router = replicas.iter().next().expect("the router runs");
    for client in [&router.public, &bridge.forward] {
        let mut socket = client.websocket("/a/chat?room=1").await.expect("it is a WebSocket");
        let message = socket.next().await.expect("it has a message").expect("it is whole");
        let seen = format!("http://{}/chat?room=1 127.0.0.1", client.address);
        assert_eq!(message.into_text().expect("it is text").as_str(), seen);
    }
}

#[tokio::test]
async fn a_prefix_that_stays_is_in_the_url() {
    let config = r#"{ "switchyard": { "stripPrefix": false, "routes": ["/shop/front"] } }"#;
    let volume = Volume::new();
    volume.project("a").file("main.ts", FETCH).file("deno.json", config).write();
    let router = Router::start(&volume).await;
    let base = format!("http://{}", router.public.address);
    for path in ["/a/p?q", "/shop/front/p"] {
        assert_eq!(router.public.get(path).await.text(), format!("{base}{path}"));
    }
}

#[tokio::test]
async fn a_health_check_has_a_url_too() {
    let main = "const seen: string[] = [];
        export default { fetch({ url }: Request) { seen.push(url); return Response.json(seen); } };";
    let config = r#"{ "switchyard": { "healthcheck": "/healthz?deep" } }"#;
    let volume = Volume::new();
    volume.project("a").file("main.ts", main).file("deno.json", config).write();
    let router = Router::start(&volume).await;
    let seen = router.public.get("/a/").await.json();
    assert_eq!(seen[0], "http://a.localhost/healthz?deep", "{seen}");
}

#[tokio::test]
async fn a_server_of_another_kind_that_takes_over_is_called_in_its_own_way() {
    let main = "import http from 'node:http';
        const server = http.createServer((request, response) => {
            response.on('finish', () => {
                server.close(() => Deno.serve((request) => new Response(request.url)));
                server.closeAllConnections();
            });
            response.end(request.url);
        });
        server.listen(3000);";
    let volume = Volume::new();
    volume.write("a/main.mjs", main);
    let router = Router::start(&volume).await;
    assert_eq!(router.public.get("/a/p").await.text(), "/p");
    let url = format!("http://{}/p", router.public.address);
    eventually("Deno's server answers", || async { router.public.get("/a/p").await.text() == url }).await;
}
