//! Projects written for Cloudflare Workers: how they are found, their handlers and the interfaces
//! that they have.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use switchyard_integration::client::{request, with_header};
use switchyard_integration::eventually;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;
use tokio_tungstenite::tungstenite::Message;

/// The minimal configuration.
const TOML: &str = "name = \"x\"\nmain = \"src/index.ts\"\ncompatibility_date = \"2026-01-01\"\n";

/// A Worker, `a`, with this code and more in its configuration.
fn worker(toml: &str, code: &str) -> Volume {
    let volume = Volume::new();
    add(&volume, "a", toml, code);
    volume
}

fn add(volume: &Volume, name: &str, toml: &str, code: &str) {
    let toml = format!("{TOML}{toml}");
    volume.project(name).file("src/index.ts", code).file("wrangler.toml", toml).write();
}

async fn is_live(router: &Router, name: &str) {
    assert_eq!(router.admin.project(name).await.error, None, "{name}");
}

async fn text(router: &Router, path: &str) -> String {
    router.public.get(path).await.text()
}

async fn json_of(router: &Router, path: &str) -> Value {
    let reply = router.public.get(path).await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply.json()
}

/// Returns the output of `a`.
async fn printed(router: &Router) -> String {
    router.admin.client.get("/projects/a/logs").await.text()
}

#[tokio::test]
async fn a_worker_has_the_variables_of_its_configuration_and_of_the_policy() {
    let vars = "[vars]\nNAME = \"own\"\nSECRET = \"own\"\nLIMITS = { most = 3 }\n[env.staging.vars]\nNAME = \"staging\"\n";
    let code = "export default { fetch: (request, env, ctx) => Response.json([env, typeof ctx.waitUntil, ctx.props]) };";
    let volume = worker(vars, code);
    add(&volume, "b", vars, code);
    volume.write("b/deno.json", r#"{"switchyard": {"environment": "staging"}}"#);
    volume.write("_policy/policy.toml", "[projects.a.env]\nSECRET = \"the policy's\"\nKEY = \"k\"\n");
    let policy = volume.path("_policy/policy.toml");
    let router = Router::builder(&volume).flag("policy", policy.display()).start().await;
    is_live(&router, "a").await;
    let env = json!({ "KEY": "k", "LIMITS": { "most": 3 }, "NAME": "own", "SECRET": "the policy's" });
    assert_eq!(json_of(&router, "/a/").await, json!([env, "function", {}]));
    assert_eq!(json_of(&router, "/b/").await[0], json!({ "NAME": "staging" }));
}

#[tokio::test]
async fn process_env_has_the_variables_with_nodejs_compat() {
    let code = "import { Buffer } from 'buffer';
        export default { fetch: () => new Response(`${process.env.NAME} ${process.env.LIST} ${Buffer.from('a').toString('hex')}`) };";
    let toml = "compatibility_flags = [\"nodejs_compat\"]\n[vars]\nNAME = \"own\"\nLIST = [1]\n";
    let volume = worker(toml, code);
    let router = Router::start(&volume).await;
    is_live(&router, "a").await;
    assert_eq!(text(&router, "/a/").await, "own [1] 61");
}

#[tokio::test]
async fn handlers_are_objects_classes_or_listeners() {
    let volume = Volume::new();
    add(
        &volume,
        "class",
        "[vars]\nNAME = \"n\"\n",
        "import { WorkerEntrypoint, env, waitUntil } from 'cloudflare:workers';
         export class Other extends WorkerEntrypoint {}
         export default class extends WorkerEntrypoint {
             fetch(request) {
                 waitUntil(Promise.resolve());
                 return new Response(`${this.env.NAME} ${env.NAME} ${typeof this.ctx.waitUntil} ${new URL(request.url).pathname}`);
             }
         }",
    );
    let listener = "addEventListener('fetch', (event) => {
        event.passThroughOnException();
        event.waitUntil(Promise.resolve());
        event.respondWith(answer(event));
    });
    const answer = async (event) => new Response(`${NAME} ${event.request.method} ${event instanceof FetchEvent}`);";
    volume
        .project("listener")
        .file("wrangler.toml", "main = \"a.js\"\n[vars]\nNAME = \"n\"\n")
        .file("a.js", listener)
        .write();
    let common = "const { text } = require('./text.js');\nmodule.exports = { fetch: (request, env) => new Response(text + env.NAME) };";
    volume
        .project("common")
        .file("wrangler.toml", "main = \"a.js\"\n[vars]\nNAME = \"n\"\n")
        .file("a.js", common)
        .file("text.js", "exports.text = 'cjs ';")
        .write();
    let server = "import { createServer } from 'node:http';
        import { httpServerHandler } from 'cloudflare:node';
        createServer((request, response) => response.end(`node ${request.url}`)).listen(8080);
        export default httpServerHandler({ port: 8080 });";
    add(&volume, "server", "compatibility_flags = [\"nodejs_compat\"]\n", server);
    let router = Router::start(&volume).await;
    for (name, expected) in
        [("class", "n n function /"), ("listener", "n GET true"), ("common", "cjs n"), ("server", "node /")]
    {
        is_live(&router, name).await;
        assert_eq!(text(&router, &format!("/{name}/")).await, expected, "{name}");
    }
}

#[tokio::test]
async fn a_worker_of_schedules_alone_is_live_and_its_crons_are_shown() {
    let toml = "[triggers]\ncrons = [\"*/5 * * * *\", \"0 3 * * MON\"]\n";
    let volume = worker(toml, "export default { async scheduled(event, env, ctx) {} };");
    let router = Router::start(&volume).await;
    is_live(&router, "a").await;
    assert_eq!(router.admin.project("a").await.crons, ["*/5 * * * *", "0 3 * * MON"]);
    assert_eq!(router.public.get("/a/").await.status, 500);
    eventually("the missing part is logged", || async {
        printed(&router).await.contains("Handler does not export a fetch() function.")
    })
    .await;
}

#[tokio::test]
async fn promises_of_wait_until_are_awaited_and_rejections_logged() {
    // Written only by the promise, which is still pending when the version is replaced.
    let code = |version: u32| {
        format!(
            "export default {{ fetch(request, env, ctx) {{
                const path = new URL(request.url).pathname;
                const file = `${{Deno.env.get('DATA_DIR')}}/done`;
                if (path === '/begin') {{
                    ctx.waitUntil(new Promise((resolve) => setTimeout(resolve, 100)).then(() => Deno.writeTextFile(file, 'done')));
                }}
                if (path === '/reject') ctx.waitUntil(Promise.reject(new Error('nobody looks')));
                if (path === '/done') return Deno.readTextFile(file).then((text) => new Response(text), () => new Response('not yet'));
                return new Response('{version}');
            }} }};"
        )
    };
    let volume = worker("", &code(1));
    let router = Router::start(&volume).await;
    is_live(&router, "a").await;
    assert_eq!(text(&router, "/a/reject").await, "1");
    eventually("the rejection is logged", || async { printed(&router).await.contains("nobody looks") }).await;
    assert_eq!(text(&router, "/a/").await, "1", "it keeps serving");
    assert_eq!(text(&router, "/a/begin").await, "1");
    volume.write("a/src/index.ts", code(2));
    eventually("the next version serves", || async { text(&router, "/a/").await == "2" }).await;
    eventually("the promise is kept", || async { text(&router, "/a/done").await == "done" }).await;
}

#[tokio::test]
async fn a_request_has_cf_and_the_clients_address() {
    let code = "export default { fetch: (request) => Response.json([
        typeof request.cf, request.cf.country ?? null, request.clone().headers.get('cf-connecting-ip'), navigator.userAgent,
    ]) };";
    let volume = worker("", code);
    let router = Router::start(&volume).await;
    is_live(&router, "a").await;
    let spoofed = with_header(request("/a/"), "cf-connecting-ip", "6.6.6.6");
    let reply = router.public.send(spoofed).await;
    assert_eq!(reply.json(), json!(["object", null, "127.0.0.1", "Cloudflare-Workers"]));
}

#[tokio::test]
async fn the_default_cache_keeps_responses_for_their_max_age() {
    let code = "export default { async fetch(request) {
        const url = new URL(request.url);
        const key = `https://cache.test${url.pathname}`;
        const control = url.searchParams.get('put');
        if (control !== null) {
            const headers = control === '' ? {} : { 'cache-control': control };
            await caches.default.put(key, new Response('kept', { headers }));
        }
        if (url.searchParams.has('delete')) return Response.json(await caches.default.delete(key));
        const found = await caches.default.match(new Request(key));
        return Response.json(found ? [await found.text(), found.headers.get('cf-cache-status')] : null);
    } };";
    let volume = worker("", code);
    let router = Router::start(&volume).await;
    is_live(&router, "a").await;
    let kept = json!(["kept", "HIT"]);
    for (path, expected) in [
        ("/a/none", Value::Null),
        ("/a/k?put=max-age=60", kept.clone()),
        ("/a/k", kept.clone()),
        ("/a/k?delete", json!(true)),
        ("/a/k", Value::Null),
        ("/a/s?put=s-maxage=60,max-age=0", kept.clone()),
        ("/a/t?put=s-maxage=0,max-age=60", Value::Null),
        ("/a/n?put=", Value::Null),
        ("/a/p?put=private,max-age=60", Value::Null),
        ("/a/o?put=no-store,max-age=60", Value::Null),
    ] {
        assert_eq!(json_of(&router, path).await, expected, "{path}");
    }
}

#[tokio::test]
async fn a_websocket_pair_is_connected_with_the_client() {
    let code = "export default { fetch(request) {
        if (request.headers.get('upgrade') !== 'websocket') return new Response('a websocket, please', { status: 426 });
        const [client, server] = Object.values(new WebSocketPair());
        server.accept();
        server.send('welcome');
        server.addEventListener('message', ({ data }) => {
            if (data === 'bye') server.close(4001, 'as you say');
            else server.send(typeof data === 'string' ? data.toUpperCase() : new Uint8Array(data).reverse());
        });
        return new Response(null, { status: 101, webSocket: client });
    } };";
    let volume = worker("", code);
    let router = Router::start(&volume).await;
    is_live(&router, "a").await;
    assert_eq!(router.public.get("/a/").await.status, 426);
    let mut socket = router.public.websocket("/a/").await.expect("it is switched");
    let mut next = async |sent: Option<Message>| {
        if let Some(sent) = sent {
            socket.send(sent).await.expect("it is open");
        }
        let received = tokio::time::timeout(Duration::from_secs(30), socket.next()).await;
        received.expect("an answer arrives").expect("it is open").expect("it is a message")
    };
    assert_eq!(next(None).await, Message::text("welcome"));
    assert_eq!(next(Some(Message::text("a"))).await, Message::text("A"));
    assert_eq!(next(Some(Message::binary(vec![1, 2]))).await, Message::binary(vec![2, 1]));
    let Message::Close(Some(frame)) = next(Some(Message::text("bye"))).await else { panic!("no close") };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4001, "as you say"));
}

#[tokio::test]
async fn cloudflares_own_interfaces_exist_or_report_that_they_do_not() {
    let code = r#"export default { async fetch(request, env) {
        const bytes = (text) => new TextEncoder().encode(text);
        const tried = async (call) => { try { return await call(); } catch (error) { return error.message; } };
        const through = async (stream, text) => {
            const writer = stream.writable.getWriter();
            const written = writer.write(bytes(text)).then(() => writer.close()).catch(() => {});
            const read = await tried(() => new Response(stream.readable).text());
            await written;
            return read;
        };
        const digest = new crypto.DigestStream("SHA-256");
        const writer = digest.getWriter();
        writer.write(bytes("hel"));
        writer.write(bytes("lo"));
        await writer.close();
        const calls = [];
        for (let at = 0; at < 3; at++) calls.push((await env.LIMIT.limit({ key: "a" })).success);
        return Response.json({
            equal: [crypto.subtle.timingSafeEqual(bytes("a"), bytes("a")), crypto.subtle.timingSafeEqual(bytes("a"), bytes("b"))],
            lengths: await tried(() => crypto.subtle.timingSafeEqual(bytes("a"), bytes("ab"))),
            digest: [...new Uint8Array(await digest.digest)].slice(0, 2),
            wait: await scheduler.wait(1) === undefined,
            fixed: await through(new FixedLengthStream(2), "ab"),
            over: await through(new FixedLengthStream(1), "ab"),
            under: await through(new FixedLengthStream(3), "ab"),
            identity: await through(new IdentityTransformStream(), "ab"),
            rewriter: await tried(() => new HTMLRewriter()),
            calls,
            version: env.VERSION.id,
        });
    } };"#;
    let toml = "[[ratelimits]]\nname = \"LIMIT\"\nnamespace_id = \"1\"\nsimple = { limit = 2, period = 60 }\n\
                [version_metadata]\nbinding = \"VERSION\"\n";
    let volume = worker(toml, code);
    let router = Router::start(&volume).await;
    is_live(&router, "a").await;
    let reply = router.public.get("/a/").await;
    let answer = reply.json();
    assert_eq!(answer["equal"], json!([true, false]));
    assert!(answer["lengths"].as_str().unwrap().contains("same byte length"), "{answer}");
    assert_eq!(answer["digest"], json!([44, 242]));
    assert_eq!(answer["wait"], true);
    assert_eq!((&answer["fixed"], &answer["identity"]), (&json!("ab"), &json!("ab")));
    assert!(answer["over"].as_str().unwrap().contains("too many bytes"), "{answer}");
    assert!(answer["under"].as_str().unwrap().contains("all expected bytes"), "{answer}");
    assert!(answer["rewriter"].as_str().unwrap().contains("html-rewriter-wasm"), "{answer}");
    // A period may end between two of them.
    assert_eq!(answer["calls"][0], true);
    assert_eq!(answer["version"].as_str(), reply.version());
}

#[tokio::test]
async fn assets_answer_before_the_code_and_by_their_binding() {
    let code = "export default { async fetch(request, env) {
        const { pathname } = new URL(request.url);
        if (pathname === '/api/page') return env.ASSETS.fetch(new URL('/about', request.url));
        const answer = await env.ASSETS.fetch(request);
        return new Response(answer.body, { status: answer.status, headers: { ...Object.fromEntries(answer.headers), 'x-code': '1' } });
    } };";
    let assets = "[assets]\ndirectory = \"./public\"\nbinding = \"ASSETS\"\nnot_found_handling = \"404-page\"\n\
                  run_worker_first = [\"/api/*\", \"/first\"]\n";
    let volume = worker(assets, code);
    volume.write("a/public/.assetsignore", "*.map\n");
    for (file, text) in [
        ("_worker.js/index.js", "the code"),
        ("about.js.map", "the code"),
        ("about.html", "about"),
        ("docs/index.html", "docs"),
        ("404.html", "nothing"),
        ("first.txt", "first"),
    ] {
        volume.write(&format!("a/public/{file}"), text);
    }
    volume
        .project("files")
        .file("wrangler.toml", "name = \"f\"\n[assets]\ndirectory = \"dist\"\n")
        .file("dist/index.html", "home")
        .write();
    let router = Router::start(&volume).await;
    is_live(&router, "a").await;
    for (path, status, text, by_code) in [
        ("/about", 200, "about", false),
        ("/docs/", 200, "docs", false),
        ("/first.txt", 200, "first", false),
        ("/api/page", 200, "about", false),
        ("/missing", 404, "nothing", true),
        ("/_worker.js/index.js", 404, "nothing", true),
        ("/about.js.map", 404, "nothing", true),
        ("/api/..%2f..%2fwrangler.toml", 404, "nothing", true),
    ] {
        let reply = router.public.get(&format!("/a{path}")).await;
        assert_eq!((reply.status, reply.text().as_str()), (status, text), "{path}");
        assert_eq!(reply.header("x-code").is_some(), by_code, "{path}");
    }
    let moved = router.public.get("/a/api/docs").await;
    assert_eq!((moved.status, moved.header("x-code")), (404, Some("1")));
    is_live(&router, "files").await;
    assert_eq!(text(&router, "/files/").await, "home");
    assert_eq!(router.admin.project("files").await.pid, None, "no process is needed");
}
