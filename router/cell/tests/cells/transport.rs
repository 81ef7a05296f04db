//! The same handlers, asked in HTTP/1.1 and in frames: nobody can tell the difference.

use bytes::BytesMut;
use serde_json::Value;
use switchyard_protocol::frame::Content;
use switchyard_protocol::{FromCell, ServerKind};

use crate::frames::Frames;
use crate::http::{self, Request};
use crate::version::{Cell, Version};

/// A version whose server is served.
pub(crate) struct Serving {
    pub(crate) version: Version,
    pub(crate) cell: Cell,
    pub(crate) is_framed: bool,
}

impl Serving {
    pub(crate) fn new(code: &str) -> Self {
        Self::of(&[("a.ts", code)])
    }

    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let version = Version::new(files);
        let mut cell = version.cell(&Value::Null);
        match cell.next() {
            Some(FromCell::Serving { by: ServerKind::Deno, framed }) => {
                Self { version, cell, is_framed: framed }
            }
            other => panic!("{other:?}: {}", cell.end()),
        }
    }

    pub(crate) fn frames(&self) -> Frames {
        Frames::connect(&self.version.own("mux"))
    }

    pub(crate) fn http(&self, request: &Request) -> http::Response {
        http::send(&self.version.own("http"), request)
    }

    /// The text of the answer to a GET, by frames.
    pub(crate) fn text(&self, path: &str) -> String {
        self.frames().send(&Request::get(path)).text()
    }
}

/// Asks for each of these in both ways. Returns the answers that differ.
fn differences(serving: &Serving, requests: &[Request]) -> Vec<String> {
    assert!(serving.is_framed);
    let mut frames = serving.frames();
    let mut differences = Vec::new();
    for request in requests {
        let (plain, framed) = (serving.http(request), frames.send(request));
        if plain != framed {
            let show = |response: &http::Response| {
                let body: String = response.text().chars().take(300).collect();
                format!(
                    "{} {:?} length {:?} cut {} {} bytes {body}",
                    response.status,
                    response.headers,
                    response.length,
                    response.is_cut,
                    response.body.len()
                )
            };
            let Request { method, path, .. } = request;
            differences.push(format!("{method} {path}\n  {}\n  {}", show(&plain), show(&framed)));
        }
    }
    differences
}

const RESPONSES: &str = include_str!("responses.js");

/// The names of the handlers of one of these files.
fn routes(serving: &Serving) -> Vec<String> {
    serde_json::from_str(&serving.text("/")).unwrap()
}

#[test]
fn every_kind_of_response_is_the_same_in_frames_as_in_http() {
    let serving = Serving::new(&format!("{RESPONSES} Deno.serve(handler);"));
    let requests: Vec<_> = routes(&serving)
        .iter()
        .filter(|name| !["control", "switching"].contains(&name.as_str()))
        .flat_map(|name| ["GET", "HEAD"].map(|method| Request::new(method, &format!("/{name}"))))
        .collect();
    let differences = differences(&serving, &requests);
    assert!(differences.is_empty(), "{}\n{}", differences.join("\n"), serving.cell.end());
}

#[test]
fn a_response_that_is_no_http_ends_its_own_stream_alone() {
    let serving = Serving::new(&format!("{RESPONSES} Deno.serve(handler);"));
    let mut frames = serving.frames();
    for path in ["/control", "/switching"] {
        let waiting = frames.begin(&Request::get("/slowStream"), true);
        assert_eq!(frames.send(&Request::get(path)), http::cut_before_the_head(), "{path}");
        assert_eq!(frames.finish(waiting, false, Vec::new()).status, 200);
    }
    assert_eq!(frames.send(&Request::get("/text")).text(), "hi");
}

const REQUESTS: &str = include_str!("requests.js");

#[test]
fn a_handler_sees_the_same_request_in_frames_as_in_http() {
    let serving = Serving::new(REQUESTS);
    let large = "0123456789".repeat(100_000);
    let mut requests = Vec::new();
    for name in routes(&serving).iter().map(String::as_str).chain(["pass"]) {
        let path = format!("/{name}?a=1&b=%20#");
        let path = path.trim_end_matches('#');
        for method in ["GET", "HEAD", "DELETE", "OPTIONS", "PROPFIND"] {
            requests.push(Request::new(method, path));
        }
        for body in ["", "{\"a\": 1}", "a=1&b=%C3%A4", "\u{feff}bom ä", &large] {
            requests.push(Request::post(path, body));
        }
        let form = "application/x-www-form-urlencoded";
        requests.push(Request::post(path, "a=1&b=%C3%A4").with("content-type", form));
        requests.push(Request::post(path, b"\xff\xfe".to_vec()));
        let many = Request::get(path).with("cookie", "a=1").with("x-two", "1").with("cookie", "b=2");
        requests.push(many.with("x-two", "2").with("x-latin", "ä"));
    }
    // By HTTP, Deno drops the byte order mark before it parses, but not if the body came with the head.
    requests
        .retain(|request| !(request.path.starts_with("/json") && request.body.starts_with(b"\xef\xbb\xbf")));
    let differences = differences(&serving, &requests);
    assert!(differences.is_empty(), "{}\n{}", differences.join("\n"), serving.cell.end());
}

#[test]
fn json_after_a_byte_order_mark_is_parsed() {
    let serving = Serving::new(REQUESTS);
    let response = serving.frames().send(&Request::post("/json", "\u{feff}{\"city\": \"Zürich\"}"));
    assert_eq!((response.status, response.text().as_str()), (200, "{\"city\":\"Zürich\"}"));
}

#[test]
fn a_request_without_a_url_gets_the_one_that_http_gives_it() {
    let serving = Serving::new("Deno.serve((request) => new Response(request.url + ' ' + request.method));");
    let mut frames = serving.frames();
    let bare = Request { headers: Vec::new(), ..Request::get("") };
    let targets = [("/x", "a.example"), ("/x", ""), ("http://b.example", "a.example"), ("/y?z", "1.2.3.4.5")];
    for (target, host) in targets {
        for method in ["GET", "OPTIONS"] {
            let request = Request { method, target: target.to_owned(), ..bare.clone() }.with("host", host);
            assert_eq!(frames.send(&request).text(), serving.http(&request).text(), "{method} {target}");
        }
    }
}

#[test]
fn handlers_of_servers_with_options_are_the_same_in_frames_as_in_http() {
    for code in [
        "Deno.serve({ port: 8000, onError: (error) => new Response(`own ${error.message}`, { status: 502 }) },
            () => { throw new Error('x') });",
        "Deno.serve({ handler: () => new Response('handler'), onError() { throw 1 } });",
        "Deno.serve({ onError: () => 'not a response', handler: () => { throw 2 } });",
        "Deno.serve({ onError: async () => { throw 3 }, handler: async () => { throw 2 } });",
        "export default { fetch: (request) => new Response(request.url) };",
        "export default { fetch() { return new Response(`${arguments.length}`) } };",
        "Deno.serve(function () { return new Response(`${arguments.length}`) });",
        "Deno.serve(() => new Response('no request'));",
    ] {
        let serving = Serving::new(code);
        let requests = ["GET", "HEAD", "PUT"].map(|method| Request::new(method, "/"));
        let differences = differences(&serving, &requests);
        assert!(differences.is_empty(), "{code}\n{}", differences.join("\n"));
    }
}

#[test]
fn a_server_that_frames_cannot_express_takes_http_only() {
    let serving =
        Serving::new("Deno.serve({ automaticCompression: true }, () => new Response('x'.repeat(999)));");
    assert!(!serving.is_framed);
    let request = Request::get("/").with("accept-encoding", "gzip");
    let response = serving.http(&request);
    assert!(response.headers.contains(&("content-encoding".to_owned(), "gzip".to_owned())), "{response:?}");
}

#[test]
fn output_is_marked_with_its_request_in_frames_too() {
    let code = "Deno.serve(async (request) => {
        console.log('one');
        await new Promise((done) => setTimeout(done, 1));
        console.log('two');
        if (request.url.endsWith('fail')) throw new Error('lost');
        return new Response('ok');
    });";
    let serving = Serving::new(code);
    assert_eq!(serving.text("/"), "ok");
    assert_eq!(serving.frames().send(&Request::get("/fail")).status, 500);
    let Serving { mut cell, .. } = serving;
    cell.send(&switchyard_protocol::ToCell::Drain { within_ms: 1000 });
    let printed = cell.end();
    for line in ["\u{1e}r-1\u{1f}one\n", "\u{1e}r-1\u{1f}two\n", "\u{1e}r-1\u{1f}Error: lost\n"] {
        assert!(printed.contains(line), "{printed}");
    }
    assert!(printed.matches("r-1").count() > 4, "{printed}");
}

#[test]
fn many_requests_in_one_write_are_answered_in_their_order() {
    let serving = Serving::new("Deno.serve(async (request) => new Response(request.url.slice(-3)));");
    let mut frames: Frames = serving.frames();
    let mut output = BytesMut::new();
    for n in 0..500 {
        frames.request(&mut output, &Request::get(&format!("/{n:03}")), true);
    }
    frames.write(&output);
    for n in 0..500_u32 {
        let frame = frames.next().unwrap();
        let Content::Response(payload) = frame.content else { panic!("{n}") };
        assert!(frame.stream == n + 1 && frame.end && payload.ends_with(format!("{n:03}").as_bytes()));
    }
}
