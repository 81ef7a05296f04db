//! Compressed responses: `"switchyard": {"compress": true}`.

use std::io::Read as _;

use http::Method;
use serde_json::json;
use switchyard_integration::client::{Client, Reply, request, with_header};
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

const LINE: &str = "a line of text that is repeated\n";

/// Answers each path with another kind of response.
const HANDLER: &str = r#"
const text = "a line of text that is repeated\n".repeat(200);
const long = "a line of text that is repeated\n".repeat(100_000);
const html = (more) => ({ headers: { "content-type": "text/html", ...more } });
const json = { headers: { "content-type": "application/json", etag: '"1"', vary: "origin" } };
const streamed = (length) => new Response(new Blob([text]).stream(), html({ "content-length": `${length}` }));
export default { fetch(request) {
  switch (new URL(request.url).pathname) {
    case "/text": return new Response(text);
    case "/long": return new Response(long);
    case "/bytes": return new Response(new TextEncoder().encode(text), json);
    case "/short": return new Response("short");
    case "/image": return new Response(text, html({ "content-type": "image/png" }));
    case "/own": return new Response(text, html({ "content-encoding": "x-own" }));
    case "/kept": return new Response(text, html({ "cache-control": "public, no-transform" }));
    case "/stream": return streamed(text.length);
    case "/cut": return streamed(text.length + 1);
    case "/slow": {
      const first = new TextEncoder().encode("first");
      return new Response(new ReadableStream({ start: (own) => own.enqueue(first) }), html());
    }
  }
} };
"#;

/// The same by a server of Node's.
const NODE: &str = r#"
import { createServer } from "node:http";
import { Readable } from "node:stream";
const text = "a line of text that is repeated\n".repeat(200);
const long = "a line of text that is repeated\n".repeat(100_000);
const html = (more) => ({ "Content-Type": "text/html", ...more });
createServer((request, response) => {
  switch (request.url) {
    case "/text": return response.writeHead(200, html({ "content-length": text.length })).end(text);
    case "/long": return Readable.from([long, ""]).pipe(response.writeHead(200, ["content-type", "text/plain"]));
    case "/bytes":
      for (const [name, value] of [["content-type", "application/json"], ["etag", '"1"'], ["vary", "origin"]]) {
        response.setHeader(name, value);
      }
      return response.end(new TextEncoder().encode(text));
    case "/short": return response.writeHead(200, html({ "content-length": 5 })).end("short");
    case "/image": return response.setHeader("content-type", "image/png").end(text);
    case "/own": return response.writeHead(200, html({ "content-encoding": "x-own" })).end(text);
    case "/kept": return response.writeHead(200, html({ "cache-control": "no-transform" })).end(text);
    case "/stream":
      response.setHeader("content-type", "text/html");
      response.write(text.slice(0, 10), "latin1", () => response.end(text.slice(10)));
      return;
    case "/slow": return response.writeHead(200, html()).write("first");
    case "/cut":
      response.writeHead(200, html());
      return response.write("first", () => response.destroy());
  }
}).listen(8000);
"#;

async fn get(client: &Client, path: &str, accepted: &str) -> Reply {
    client.send(with_header(request(path), "accept-encoding", accepted)).await
}

/// The text of a compressed response.
fn read(reply: &Reply) -> String {
    let mut text = String::new();
    let read = match reply.header("content-encoding") {
        Some("gzip") => flate2::read::GzDecoder::new(&reply.body[..]).read_to_string(&mut text),
        Some("zstd") => zstd::stream::read::Decoder::new(&reply.body[..])
            .and_then(|mut decoder| decoder.read_to_string(&mut text)),
        other => panic!("{other:?} of {reply:?}"),
    };
    read.expect("it is compressed text");
    text
}

/// Projects that do the same: by a default export and by a server of Node's, with compression.
fn volume() -> Volume {
    let volume = Volume::new();
    for (name, file, code) in [("a", "main.ts", HANDLER), ("n", "main.mjs", NODE)] {
        volume.write(&format!("{name}/deno.json"), json!({ "switchyard": { "compress": true } }).to_string());
        volume.write(&format!("{name}/{file}"), code);
    }
    volume
}

#[tokio::test]
async fn responses_are_compressed_for_clients_that_accept_it_and_otherwise_as_they_are() {
    let volume = volume();
    volume.write("b/main.ts", HANDLER);
    let router = Router::start(&volume).await;
    let client = &router.public;
    for project in ["a", "n"] {
        compresses(client, project).await;
    }
    let reply = get(client, "/b/text", "gzip").await;
    assert_eq!((reply.header("content-encoding"), reply.header("vary")), (None, None));
}

async fn compresses(client: &Client, project: &str) {
    for (path, lines) in [("text", 200), ("bytes", 200), ("stream", 200), ("long", 100_000)] {
        let path = &format!("/{project}/{path}");
        let plain = get(client, path, "identity").await;
        assert_eq!(plain.header("content-encoding"), None, "{path}");
        assert!(plain.header("vary").is_some_and(|vary| vary.contains("accept-encoding")), "{path}");
        assert_eq!(plain.body.len(), LINE.len() * lines, "{path}");
        for coding in ["gzip", "zstd"] {
            let reply = get(client, path, &format!("{coding}, br;q=0.5")).await;
            assert!(reply.body.len() < plain.body.len() / 10, "{path}: {}", reply.body.len());
            assert_eq!(read(&reply), plain.text(), "{path} {coding}");
        }
        let best = get(client, path, "gzip, deflate, br, zstd").await;
        assert_eq!(best.header("content-encoding"), Some("br"), "{path}");
        assert!(best.body.len() < plain.body.len() / 10, "{path}: {}", best.body.len());
    }
    let bytes = get(client, &format!("/{project}/bytes"), "gzip").await;
    assert_eq!(
        (bytes.header("etag"), bytes.header("vary")),
        (Some("W/\"1\""), Some("origin, accept-encoding"))
    );
    assert_eq!(bytes.header("content-length"), Some(bytes.body.len().to_string().as_str()), "{project}");
    let mut head = with_header(request(&format!("/{project}/text")), "accept-encoding", "gzip");
    *head.method_mut() = Method::HEAD;
    let head = client.send(head).await;
    assert_eq!((head.header("content-encoding"), head.header("content-length")), (Some("gzip"), None));
    for path in ["short", "image", "own", "kept"] {
        let reply = get(client, &format!("/{project}/{path}"), "gzip").await;
        assert_ne!(reply.header("content-encoding"), Some("gzip"), "{project}/{path}");
        assert_eq!(reply.header("vary"), None, "{project}/{path}");
    }
}

#[tokio::test]
async fn the_pieces_of_a_stream_leave_as_they_come() {
    let volume = volume();
    let router = Router::start(&volume).await;
    for project in ["a", "n"] {
        let slow = with_header(request(&format!("/{project}/slow")), "accept-encoding", "gzip");
        let mut stream = router.public.connect().await.stream(slow).await;
        let mut data = Vec::new();
        let mut text = Vec::new();
        while text != b"first" {
            data.extend(stream.next_bytes().await.expect("the stream goes on"));
            let mut piece = [0; 5];
            let read = flate2::read::GzDecoder::new(&data[..]).read_exact(&mut piece);
            text = read.map(|()| piece.to_vec()).unwrap_or_default();
        }
        let cut = with_header(request(&format!("/{project}/cut")), "accept-encoding", "gzip");
        let cut = router.public.connect().await.try_send(cut).await;
        assert!(cut.is_err(), "its body is not whole: {cut:?}");
    }
}
