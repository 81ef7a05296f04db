//! The ways from the router to a cell: frames, and HTTP/1.1 for a server that frames cannot express.
//! A client cannot tell them apart.

use http::Method;
use switchyard_integration::client::{Body, post, with_header, with_method};
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

/// Handlers that answer `/` with their names.
const RESPONSES: &str = include_str!("../../../router/cell/tests/cells/responses.js");

/// A server that compresses responses for clients that accept it: it takes HTTP/1.1 only.
const PLAIN: &str = "Deno.serve({ automaticCompression: true }, handler);";
const FRAMED: &str = "Deno.serve(handler);";

/// Returns everything about an answer that may not differ.
async fn answer(router: &Router, request: http::Request<Body>) -> String {
    match router.public.connect().await.try_send(request).await {
        Err(_) => "broken off".to_owned(),
        Ok(reply) => {
            let apart = ["date", "x-request-id", "x-switchyard-version"];
            let headers = reply.headers.iter().filter(|(name, _)| !apart.contains(&name.as_str()));
            let mut headers: Vec<_> = headers.map(|header| format!("{header:?}")).collect();
            headers.sort();
            assert!(reply.header("date").is_some(), "{headers:?}");
            let text: String = reply.text().chars().take(200).collect();
            // Problem documents have an id of their own.
            let text = if text.contains("urn:") { String::new() } else { text };
            format!(
                "{} {headers:?} {} {text}",
                reply.status,
                if text.is_empty() { 0 } else { reply.body.len() }
            )
        }
    }
}

#[tokio::test]
async fn a_client_gets_the_same_answers_whichever_way_they_come() {
    let volume = Volume::new();
    volume.write("first/main.js", format!("{RESPONSES}{FRAMED}"));
    volume.write("other/main.js", format!("{RESPONSES}{PLAIN}"));
    let router = Router::start(&volume).await;
    let names: Vec<String> = serde_json::from_slice(&router.public.get("/first/").await.body).unwrap();
    assert!(names.len() > 40, "{names:?}");
    let mut differences = Vec::new();
    for name in names {
        for method in [Method::GET, Method::HEAD] {
            let ask =
                |project: &str| answer(&router, with_method(method.clone(), &format!("/{project}/{name}")));
            let (framed, plain) = (ask("first").await, ask("other").await);
            if framed.replace("first", "other") != plain {
                differences.push(format!("{method} {name}\n  {framed}\n  {plain}"));
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
    volume.write("first/main.js", format!("{handler}{FRAMED}"));
    volume.write("other/main.js", format!("{handler}{PLAIN}"));
    let router = Router::start(&volume).await;
    for body in ["", "body", &"large ".repeat(200_000)] {
        for query in ["", "?a=%20&b=c", "x/%C3%A4"] {
            let ask = async |project: &str| {
                let request =
                    with_header(post(&format!("/{project}/{query}"), body.to_owned()), "cookie", "a=1");
                router.public.send(with_header(request, "x-own", "x, y")).await.text()
            };
            let (framed, plain) = (ask("first").await, ask("other").await);
            assert_eq!(framed.replace("first", "other"), plain, "{} bytes {query}", body.len());
        }
    }
}
