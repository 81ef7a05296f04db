//! The ways through the router. A plain request goes from the client's bytes into a frame; any other
//! one is read by hyper first. A server that frames cannot express is sent HTTP/1.1. A client cannot
//! tell them apart.

use http::Method;
use switchyard_integration::client::{Body, post, with_header, with_method};
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;
use switchyard_integration::within;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Handlers that answer `/` with their names.
const RESPONSES: &str = include_str!("../../../router/cell/tests/cells/responses.js");

/// A server that compresses responses for clients that accept it: it takes HTTP/1.1 only.
const PLAIN: &str = "Deno.serve({ automaticCompression: true }, handler);";
/// Has the length of the other: one of the responses is the file itself.
const FRAMED: &str = "Deno.serve({ automaticCompression:   !1 }, handler);";

/// Has hyper read a request.
fn long(request: http::Request<Body>) -> http::Request<Body> {
    with_header(request, "connection", "keep-alive, x-unknown")
}

/// Returns everything about an answer that may not differ. Headers that delimit its body may: a body
/// that comes whole with its head has a known length.
async fn answer(router: &Router, request: http::Request<Body>) -> String {
    let Ok(reply) = router.public.connect().await.try_send(request).await else {
        return "broken off".to_owned();
    };
    let apart = ["date", "x-request-id", "x-switchyard-version", "content-length", "transfer-encoding"];
    let headers = reply.headers.iter().filter(|(name, _)| !apart.contains(&name.as_str()));
    let mut headers: Vec<_> = headers.map(|header| format!("{header:?}")).collect();
    headers.sort();
    assert!(reply.header("date").is_some(), "{headers:?}");
    let text: String = reply.text().chars().take(200).collect();
    // Problem documents have an id of their own.
    let is_problem = text.contains("urn:");
    let body = if is_problem { String::new() } else { format!("{} {text}", reply.body.len()) };
    format!("{} {headers:?} {body}", reply.status)
}

#[tokio::test]
async fn a_client_gets_the_same_answers_whichever_way_they_come() {
    let volume = Volume::new();
    volume.write("project-a/main.js", format!("{RESPONSES}{FRAMED}"));
    volume.write("project-b/main.js", format!("{RESPONSES}{PLAIN}"));
    let router = Router::start(&volume).await;
    let names: Vec<String> = serde_json::from_slice(&router.public.get("/project-a/").await.body).unwrap();
    assert!(names.len() > 40, "{names:?}");
    let mut differences = Vec::new();
    for name in names {
        for method in [Method::GET, Method::HEAD] {
            let request = |project: &str| with_method(method.clone(), &format!("/{project}/{name}"));
            let direct = answer(&router, request("project-a")).await;
            let framed = answer(&router, long(request("project-a"))).await;
            let plain = answer(&router, request("project-b")).await;
            if direct != framed || framed.replace("project-a", "project-b") != plain {
                differences.push(format!("{method} {name}\n  {direct}\n  {framed}\n  {plain}"));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[tokio::test]
async fn a_handler_sees_the_same_request_whichever_way_it_comes() {
    let handler = "const handler = async (request, info) => {
        const headers = [...request.headers].filter(([name]) => name !== 'x-request-id');
        const { hostname } = info.remoteAddr;
        const text = await request.text();
        return Response.json([request.method, request.url, headers, hostname, text.length, text.slice(0, 9)]);
    };";
    let volume = Volume::new();
    volume.write("project-a/main.js", format!("{handler}{FRAMED}"));
    volume.write("project-b/main.js", format!("{handler}{PLAIN}"));
    let router = Router::start(&volume).await;
    for body in ["", "body", &"large ".repeat(200_000)] {
        for query in ["", "?a=%20&b=c", "x/%C3%A4"] {
            let request = |project: &str| {
                let request =
                    with_header(post(&format!("/{project}/{query}"), body.to_owned()), "Cookie", "a=1");
                with_header(with_header(request, "x-own", "x, y"), "x-forwarded-for", "1.2.3.4")
            };
            let text = async |request| router.public.send(request).await.text();
            let direct = text(request("project-a")).await;
            assert_eq!(direct, text(long(request("project-a"))).await, "{} bytes {query}", body.len());
            let plain = text(request("project-b")).await;
            assert_eq!(direct.replace("project-a", "project-b"), plain, "{} bytes {query}", body.len());
        }
    }
}

#[tokio::test]
async fn requests_of_both_kinds_on_one_connection_are_answered_in_their_order() {
    let volume =
        Volume::with("a", "export default { fetch: (r) => new Response(new URL(r.url).pathname) };\n");
    let router = Router::start(&volume).await;
    let mut client = tokio::net::TcpStream::connect(router.public.address).await.unwrap();
    let plain = |path: &str| format!("GET /a/{path} HTTP/1.1\r\nhost: a\r\n\r\n");
    let chunked = "POST /a/3 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    let last = "GET /a/5 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let all = [&plain("1"), &plain("2"), chunked, &plain("4"), last].concat();
    // Cut where a head is incomplete.
    let (first, rest) = all.split_at(all.len() / 3);
    client.write_all(first.as_bytes()).await.unwrap();
    client.write_all(rest.as_bytes()).await.unwrap();
    let mut text = String::new();
    within("the connection ends", client.read_to_string(&mut text)).await.unwrap();
    let answers: Vec<_> =
        text.split("HTTP/1.1 200 OK").skip(1).map(|answer| answer.trim().chars().last()).collect();
    assert_eq!(answers, [Some('1'), Some('2'), Some('3'), Some('4'), Some('5')], "{text}");
}
