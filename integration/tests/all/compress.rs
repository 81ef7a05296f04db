//! Compressed responses: `"switchyard": {"compress": true}`.

use std::io::Read as _;

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

#[tokio::test]
async fn responses_are_compressed_for_clients_that_accept_it_and_otherwise_as_they_are() {
    let volume = Volume::new();
    volume.write("a/deno.json", json!({ "switchyard": { "compress": true } }).to_string());
    volume.write("a/main.ts", HANDLER);
    volume.write("b/main.ts", HANDLER);
    let router = Router::start(&volume).await;
    let client = &router.public;
    for (path, lines) in [("/a/text", 200), ("/a/bytes", 200), ("/a/stream", 200), ("/a/long", 100_000)] {
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
    let bytes = get(client, "/a/bytes", "gzip").await;
    assert_eq!(
        (bytes.header("etag"), bytes.header("vary")),
        (Some("W/\"1\""), Some("origin, accept-encoding"))
    );
    for path in ["/a/short", "/a/image", "/a/own", "/a/kept", "/b/text"] {
        let reply = get(client, path, "gzip").await;
        assert_ne!(reply.header("content-encoding"), Some("gzip"), "{path}");
        assert_eq!(reply.header("vary"), None, "{path}");
    }
}

#[tokio::test]
async fn the_pieces_of_a_stream_leave_as_they_come() {
    let volume = Volume::new();
    volume.write("a/deno.json", json!({ "switchyard": { "compress": true } }).to_string());
    volume.write("a/main.ts", HANDLER);
    let router = Router::start(&volume).await;
    let request = with_header(request("/a/slow"), "accept-encoding", "gzip");
    let mut stream = router.public.connect().await.stream(request).await;
    let mut data = Vec::new();
    let mut text = Vec::new();
    while text != b"first" {
        data.extend(stream.next_bytes().await.expect("the stream goes on"));
        let mut piece = [0; 5];
        let read = flate2::read::GzDecoder::new(&data[..]).read_exact(&mut piece);
        text = read.map(|()| piece.to_vec()).unwrap_or_default();
    }
    let cut = with_header(switchyard_integration::client::request("/a/cut"), "accept-encoding", "gzip");
    let cut = router.public.connect().await.try_send(cut).await;
    assert!(cut.is_err(), "its body is shorter than it says: {cut:?}");
}
