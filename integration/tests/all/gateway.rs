//! The duties of a gateway, at the router's public listener and at the bridge's forwarding
//! listener: unchanged data, refusals, and their reasons.

use std::time::Duration;

use switchyard_integration::bridge::fronts::Fronts;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::client::{Upload, post};
use switchyard_integration::fixtures::{ABORTS, ECHO, hello, lasting};
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};

/// A node:http server with this listener.
fn node(listener: &str) -> String {
    format!("import http from 'node:http';\nhttp.createServer({listener}).listen(3000);\n")
}

#[tokio::test]
async fn offers_to_upgrade_that_are_not_websocket_are_ignored() {
    let volume = Volume::with("a", ECHO);
    let fronts = Fronts::start(&volume).await;
    let offers = [
        ("Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQBAAAAAAIAAAAA\r\n", "Upgrade, HTTP2-Settings"),
        ("Upgrade: TLS/1.0\r\n", "Upgrade"),
        ("Upgrade: websocket\r\n", "upgrade"),
        ("Upgrade: other, h2c\r\n", "keep-alive"),
    ];
    for (front, client) in fronts.each() {
        let mut connection = client.open().await;
        for (offer, named) in offers {
            let head = format!("POST /a/ HTTP/1.1\r\nHost: h\r\n{offer}Connection: {named}\r\n");
            for body in [
                "Content-Length: 5\r\n\r\nwhole",
                "Transfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n",
            ] {
                connection.send(format!("{head}{body}")).await;
                let answer = connection.until("\"address\":\"127.0.0.1\"}").await;
                assert!(answer.starts_with("HTTP/1.1 200 "), "{front}: {offer}: {answer}");
                assert!(answer.contains("\"body\":\"whole\""), "{front}: {offer}: {answer}");
                for gone in ["upgrade", "http2-settings"] {
                    assert!(!answer.to_lowercase().contains(gone), "{front}: {offer}: {answer}");
                }
            }
        }
        connection.send("GET /a/last HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: close\r\n\r\n").await;
        assert!(connection.rest().await.contains("\"path\":\"/last\""), "{front}");
    }
}

#[tokio::test]
async fn http_1_0_needs_no_host_and_http_0_9_is_refused_at_once() {
    let volume = Volume::with("a", ECHO);
    let fronts = Fronts::start(&volume).await;
    for (front, client) in fronts.each() {
        for method in ["GET", "OPTIONS"] {
            let answer = client.raw(format!("{method} /a/x HTTP/1.0\r\n\r\n")).await;
            assert!(answer.starts_with("HTTP/1.0 200 "), "{front}: {answer}");
            assert!(answer.contains("\"path\":\"/x\""), "{front}: {answer}");
            assert!(answer.contains(&format!("\"host\":\"{}\"", client.address)), "{front}: {answer}");
        }
        let mut kept = client.open().await;
        for _ in 0..2 {
            kept.send("GET /a/ HTTP/1.0\r\nConnection: keep-alive\r\nUpgrade: websocket\r\n\r\n").await;
            let answer = kept.until("\"address\":\"127.0.0.1\"}").await;
            assert!(answer.contains("connection: keep-alive\r\n"), "{front}: {answer}");
        }
        for (request, status) in [
            ("GET /none HTTP/1.0\r\n\r\n", 404),
            ("GET /a/ HTTP/1.0\r\nHost: h\r\nHost: h\r\n\r\n", 400),
            ("GET /a/\r\n", 400),
            ("GET /a/ HTTP/0.9\r\n", 400),
        ] {
            let answer = client.raw(request).await;
            assert!(answer.contains(&format!(" {status} ")), "{front}: {request:?}: {answer}");
            assert!(answer.contains("application/problem+json"), "{front}: {request:?}: {answer}");
        }
    }
}

/// A hundred and more headers, both ways; the query says how many.
const MANY: &str = "(request, response) => {
    const query = new URL(request.url, 'http://h').searchParams;
    const cookies = Array.from({ length: Number(query.get('n')) }, (_, i) => `c${i}=; Max-Age=0`);
    if (cookies.length) response.setHeader('set-cookie', cookies);
    response.setHeader('x-large', 'x'.repeat(Number(query.get('bytes'))));
    let size = 0;
    request.on('data', (piece) => size += piece.length);
    request.on('end', () => response.end(`${request.rawHeaders.length / 2} headers`));
}";

#[tokio::test]
async fn more_than_a_hundred_headers_pass_both_ways_up_to_the_limits() {
    let volume = Volume::new();
    volume.write("a/main.mjs", node(MANY));
    let fronts = Fronts::start(&volume).await;
    for (front, client) in fronts.each() {
        let reply = client.get("/a/?n=1500").await;
        assert_eq!(reply.status, 200, "{front}: {}", reply.text());
        assert_eq!(reply.headers.get_all("set-cookie").iter().count(), 1500, "{front}");
        let lines: String = (0..500).map(|index| format!("X-{index}: {index}\r\n")).collect();
        let get = format!("GET /a/?n=0 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{lines}\r\n");
        let answer = client.raw(get).await;
        let (_, count) = answer.rsplit_once("\r\n\r\n").unwrap();
        let count: usize = count.trim_end_matches(" headers").parse().unwrap();
        assert!(count > 500, "{front}: {answer}");
        let trailers = format!(
            "POST /a/?n=0 HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{lines}\r\n"
        );
        assert!(client.raw(trailers).await.starts_with("HTTP/1.1 200 "), "{front}");
        let all: String = "a:b\r\n".repeat(5000);
        let answer = client.raw(format!("GET /a/ HTTP/1.1\r\nHost: h\r\n{all}\r\n")).await;
        assert!(
            answer.starts_with("HTTP/1.1 431 ") && answer.contains("head-too-large"),
            "{front}: {answer}"
        );
        for query in ["n=5000", "n=0&bytes=70000"] {
            let reply = client.get(&format!("/a/?{query}")).await;
            assert_eq!(reply.status, 502, "{front}: {query}");
            assert_eq!(reply.json()["type"], "urn:switchyard:problem:bad-answer", "{front}");
            assert!(reply.text().contains("--max-head"), "{front}: {}", reply.text());
        }
        assert_eq!(client.get("/a/?n=1").await.status, 200, "{front}");
    }
    assert!(fronts.router().admin.project("a").await.crashes.is_empty());
}

#[tokio::test]
async fn raw_characters_in_targets_are_taken_as_stock_deno_takes_them() {
    let volume = Volume::with("fetch", "export default { fetch: (r: Request) => new Response(r.url) };");
    volume.write("node/main.mjs", node("({ url }, response) => response.end(url)"));
    let fronts = Fronts::start(&volume).await;
    let get = |project: &str, target: &[u8]| {
        let head = format!("GET /{project}");
        [head.as_bytes(), target, b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"].concat()
    };
    for (front, client) in fronts.each() {
        for (target, seen) in [
            ("/s?f={\"a\":[1|2]}", "/s?f={%22a%22:[1|2]}"),
            ("/s?q=a^b`c", "/s?q=a^b`c"),
            ("/s?q=<x>", "/s?q=%3Cx%3E"),
            ("/p|q^\"{1}[2]<3>`", "/p|q^\"{1}[2]%3C3%3E%60"),
            ("/a;b=c?a=b?c=d", "/a;b=c?a=b?c=d"),
            ("/s?q=%&r=%zz\\x", "/s?q=%&r=%zz\\x"),
            ("/it's(1)!*", "/it's(1)!*"),
        ] {
            for project in ["fetch", "node"] {
                let answer = client.raw(get(project, target.as_bytes())).await;
                assert!(answer.starts_with("HTTP/1.1 200 "), "{front}: {project}{target}: {answer}");
                assert!(answer.ends_with(seen), "{front}: {project}{target}: {answer}");
            }
        }
        let beyond = "/grüße?q=ü";
        let answer = client.raw(get("fetch", beyond.as_bytes())).await;
        assert!(answer.ends_with(beyond), "{front}: {answer}");
        // Node's parser refuses that, in stock Deno too.
        let answer = client.raw(get("node", beyond.as_bytes())).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{front}: {answer}");
        for refused in [&b"/\xff"[..], b"/?\xc3(", b"/\x01", b"/?\x7f", b"/\t", b"/a b", b"/a\\b", b"/%zz"] {
            let answer = client.raw(get("fetch", refused)).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{front}: {}: {answer}", refused.escape_ascii());
            assert!(answer.contains("bad-request"), "{front}: {}: {answer}", refused.escape_ascii());
        }
    }
}

#[tokio::test]
async fn the_time_for_an_answer_counts_from_the_end_of_the_upload() {
    const TIME: u64 = 400;
    let volume = Volume::with("a", lasting("one"));
    volume.project("never").file("main.ts", ABORTS).write();
    let replicas = Replicas::start_each(volume.root(), 1, |_, builder| builder.flag("request-timeout", TIME));
    let replicas = replicas.await;
    let bridge = replicas.bridge().flag("request-timeout", TIME).start().await;
    bridge.asks_all().await;
    for client in [&replicas.iter().next().unwrap().public, &bridge.forward] {
        let (upload, request) = Upload::post("/a/wait");
        let mut connection = client.connect().await;
        let sending = async {
            for _ in 0..5 {
                upload.send("piece").await;
                // Not waiting for something: this time has to pass.
                tokio::time::sleep(Duration::from_millis(TIME / 2)).await;
            }
            upload.end();
        };
        let (_, reply) = tokio::join!(sending, connection.send(request));
        assert_eq!((reply.status, reply.text().as_str()), (200, "one"));
        // Neither a complete upload nor one that is not read takes that long.
        for size in [1, 8 << 20] {
            let reply = client.send(post("/never/never", vec![b'x'; size])).await;
            reply.assert_problem(504, "timeout");
        }
    }
}

const LARGE: usize = 8_000_000;

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_sends_all_before_it_reads() {
    let volume =
        Volume::with("fetch", "export default { fetch: () => new Response('no', { status: 401 }) };");
    volume
        .write("node/main.mjs", node("(_, response) => { response.statusCode = 401; response.end('no'); }"));
    let closing = "(_, response) => response.writeHead(401, { connection: 'close' }).end('no')";
    volume.write("closing/main.mjs", node(closing));
    volume.project("bystander").file("main.ts", hello("here")).write();
    let fronts = Fronts::start(&volume).await;
    for (front, client) in fronts.each() {
        for (path, size, status) in [
            ("/fetch/", LARGE, 401),
            ("/node/", LARGE, 401),
            ("/closing/", LARGE, 401),
            ("/fetch/", 20_000_000, 413),
            ("/none/", LARGE, 404),
            ("/fetch/%zz", LARGE, 400),
        ] {
            for expect in ["", "Expect: 100-continue\r\n"] {
                let mut connection = client.open().await;
                let head =
                    format!("POST {path} HTTP/1.1\r\nHost: h\r\n{expect}Content-Length: {size}\r\n\r\n");
                connection.send(head).await;
                for _ in 0..size / 100_000 {
                    connection.send(vec![b'x'; 100_000]).await;
                }
                let begin = format!("HTTP/1.1 {status} ");
                let answer = connection.until(&begin).await;
                let answer = answer.replace("HTTP/1.1 100 Continue\r\n\r\n", "");
                assert!(answer.starts_with(&begin), "{front}: {path} {expect}: {answer}");
            }
        }
        assert_eq!(client.get("/bystander/").await.text(), "here", "{front}");
    }
    for project in ["fetch", "node", "closing"] {
        assert!(fronts.router().admin.project(project).await.crashes.is_empty(), "{project}");
    }
    let mut streams = fronts.router().public.connect_h2c().await;
    let reply = streams.send(post("/fetch/", vec![b'x'; LARGE])).await;
    assert_eq!((reply.status, reply.text().as_str()), (401, "no"));
    assert_eq!(streams.get("/bystander/").await.text(), "here", "other streams continue");
    let in_flight = || async { fronts.router().admin.project("fetch").await.in_flight };
    eventually("nothing is in flight", || async { in_flight().await == 0 }).await;
}

#[tokio::test]
async fn an_early_answer_of_the_api_reaches_a_client_that_sends_all_before_it_reads() {
    let volume = Volume::with("a", hello("one"));
    let fronts = Fronts::start(&volume).await;
    for (path, size) in [("/deploy/No.Name", 20_000_000), ("/nothing", 20_000_000)] {
        let mut connection = fronts.bridge.client.open().await;
        let host = fronts.bridge.client.address;
        let head = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {size}\r\n\r\n");
        connection.send(head).await;
        for _ in 0..size / 100_000 {
            connection.send(vec![b'x'; 100_000]).await;
        }
        let answer = connection.rest().await;
        assert!(answer.starts_with("HTTP/1.1 4") && answer.contains("urn:switchyard:problem"), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_ends_in_the_middle_of_its_body_is_not_the_projects_fault() {
    let volume = Volume::with("a", lasting("one"));
    let fronts = Fronts::start(&volume).await;
    for (front, client) in fronts.each() {
        let mut connection = client.open().await;
        connection.send("POST /a/wait HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345").await;
        connection.end().await;
        let answer = connection.rest().await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{front}: {answer}");
    }
    let router = fronts.router();
    assert_eq!(router.admin.metric("switchyard_bad_answers_total", "project=\"a\"").await, None);
    assert_eq!(router.public.get("/a/").await.text(), "one");
}

#[tokio::test]
async fn a_project_may_keep_the_prefix_that_led_to_it() {
    let volume = Volume::with("blog", ECHO);
    volume.project("plain").file("main.ts", ECHO).write();
    let config = r#"{ "switchyard": { "stripPrefix": false, "routes": ["/shop/front"] } }"#;
    volume.write("blog/deno.json", config);
    let fronts = Fronts::start(&volume).await;
    for (front, client) in fronts.each() {
        for (path, seen, prefix) in [
            ("/blog/x?y", "/blog/x", None),
            ("/blog", "/blog", None),
            ("/shop/front/x", "/shop/front/x", None),
            ("/plain/x", "/x", Some("/plain")),
        ] {
            let reply = client.get(path).await.json();
            assert_eq!(reply["path"], seen, "{front}: {path}");
            let expected = prefix.map_or(serde_json::Value::Null, Into::into);
            assert_eq!(reply["headers"]["x-forwarded-prefix"], expected, "{front}: {path}");
        }
        let by_host = "GET /blog/x HTTP/1.1\r\nHost: blog.test\r\nConnection: close\r\n\r\n";
        assert!(client.raw(by_host).await.contains("\"path\":\"/blog/x\""), "{front}");
    }
    volume.write("blog/deno.json", config.replace("false", "\"no\""));
    let report = fronts.router().admin.reload("blog").await;
    let error = report.error.expect("it is an error");
    assert!(error.message.contains("switchyard.stripPrefix"), "{}", error.message);
    volume.write("blog/deno.json", "{}");
    fronts.router().admin.reload("blog").await;
    assert_eq!(fronts.router().public.get("/blog/x").await.json()["path"], "/x");
}

/// Answers with the bytes that the query has, and hangs up.
const WRONG: &str = "({ url, socket }, response) => {
    const bytes = new URL(url, 'http://h').searchParams.get('bytes');
    if (bytes === null) return response.end('well');
    socket.end(Buffer.from(bytes, 'latin1'));
}";

#[tokio::test]
async fn a_process_that_answers_wrongly_is_not_called_dead() {
    let volume = Volume::new();
    volume.write("a/main.mjs", node(WRONG));
    let fronts = Fronts::start(&volume).await;
    let wrong = [
        ("hello", "not an HTTP response"),
        ("HTTP/1.1 2000 OK\r\n\r\n", "not an HTTP response"),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "not an HTTP response"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", "not an HTTP response"),
        ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nx", "not an HTTP response"),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "not an HTTP response"),
        ("", "closed the connection"),
        ("HTTP/1.1 200 OK\r\nX: ", "closed the connection"),
        ("HTTP/1.1 100 Continue\r\n\r\n", "closed the connection"),
        ("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 ", "closed the connection"),
        ("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "switched"),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "switched"),
    ];
    for (front, client) in fronts.each() {
        for (bytes, why) in wrong {
            let query: String = bytes.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let reply = client.get(&format!("/a/?bytes={query}")).await;
            assert_eq!(reply.status, 502, "{front}: {bytes:?}: {}", reply.text());
            assert_eq!(reply.json()["type"], "urn:switchyard:problem:bad-answer", "{front}: {bytes:?}");
            assert!(reply.text().contains(why), "{front}: {bytes:?}: {}", reply.text());
        }
        let right = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok more";
        let query: String = right.bytes().map(|byte| format!("%{byte:02x}")).collect();
        assert_eq!(client.get(&format!("/a/?bytes={query}")).await.text(), "ok", "{front}");
        assert_eq!(client.get("/a/").await.text(), "well", "{front}");
    }
    let router = fronts.router();
    let project = router.admin.project("a").await;
    assert!(project.crashes.is_empty() && project.live.is_some(), "{project:?}");
    let count = router.admin.metric("switchyard_bad_answers_total", "project=\"a\"").await;
    #[expect(clippy::cast_precision_loss, reason = "a few dozens")]
    let expected = (2 * wrong.len()) as f64;
    assert_eq!(count, Some(expected));
    let logged = router.log.wait_for(|record| record.to_string().contains("sent an invalid response"));
    let logged = within("the log has it", logged).await.unwrap();
    assert!(logged.to_string().contains("a@"), "{logged}");
}

#[tokio::test]
async fn a_websocket_that_is_answered_wrongly_is_a_502_and_nothing_switches() {
    let volume = Volume::new();
    let main = format!(
        "import http from 'node:http';
        const server = http.createServer({WRONG});
        server.on('upgrade', ({{ url }}, socket) => {{
            const bytes = new URL(url, 'http://h').searchParams.get('bytes');
            socket.end(Buffer.from(bytes, 'latin1'));
        }});
        server.listen(3000);"
    );
    volume.write("a/main.mjs", main);
    let fronts = Fronts::start(&volume).await;
    for (front, client) in fronts.each() {
        for bytes in [
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "hello",
            "",
        ] {
            let query: String = bytes.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let request = format!(
                "GET /a/?bytes={query} HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            );
            let answer = client.raw(request).await;
            assert!(answer.starts_with("HTTP/1.1 502 "), "{front}: {bytes:?}: {answer}");
            assert!(answer.contains("bad-answer"), "{front}: {bytes:?}: {answer}");
        }
        assert_eq!(client.get("/a/").await.text(), "well", "{front}");
    }
}

#[tokio::test]
async fn expectations_other_than_100_continue_are_left_to_the_project() {
    let volume = Volume::with("fetch", ECHO);
    volume.write("node/main.mjs", node("(_, response) => response.end('never')"));
    let fronts = Fronts::start(&volume).await;
    for (front, client) in fronts.each() {
        for (project, status) in [("fetch", 200), ("node", 417)] {
            let head = format!("POST /{project}/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\nExpect: x\r\n");
            let answer = client.raw(format!("{head}Content-Length: 2\r\n\r\nab")).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{front}: {project}: {answer}");
        }
    }
}
