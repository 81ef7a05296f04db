//! The ends of framed requests and of their servers: clients that go away, slow readers, shutdown.

use bytes::BytesMut;
use serde_json::Value;
use switchyard_protocol::frame::{Content, Frame, MAX_DATA, WINDOW, encode};
use switchyard_protocol::{FromCell, ServerKind, ToCell};

use crate::frames::Frames;
use crate::http::{self, Request, Response};
use crate::transport::Serving;
use crate::version::Version;

/// Answers `/log` with what has happened, once `n` things have.
const LOGGED: &str = r#"
    const log = [];
    let wake = () => {};
    const note = (text) => { log.push(text); wake(); };
    const logged = async (url) => {
        const n = Number(new URL(url).searchParams.get("n"));
        while (log.length < n) await new Promise((done) => wake = done);
        return Response.json(log.splice(0).sort());
    };
    const follow = (request, info) => {
        request.signal.addEventListener("abort", () => note("aborted"));
        info.completed.then(() => note("completed"), () => note("failed"));
    };
    const endless = (chunk) => new ReadableStream({
        pull(controller) { controller.enqueue(chunk); note("pulled"); },
        cancel() { note("cancelled"); },
    });
    const forever = () => new Promise(() => {});
"#;

const GOING: &str = r#"
    Deno.serve(async (request, info) => {
        const { pathname } = new URL(request.url);
        if (pathname === "/log") return await logged(request.url);
        follow(request, info);
        note(pathname);
        if (pathname === "/never") return await forever();
        if (pathname === "/late") {
            await new Promise((done) => request.signal.addEventListener("abort", () => setTimeout(done, 5)));
            note("answered");
            return new Response("late");
        }
        if (pathname === "/stream") {
            return new Response(new ReadableStream({
                start: (controller) => controller.enqueue(new TextEncoder().encode("x")),
                cancel: () => note("cancelled"),
            }));
        }
        if (pathname === "/broken") {
            return new Response(new ReadableStream({ pull() { throw new Error("broken"); } }));
        }
        if (pathname === "/upload") {
            await request.text().catch((error) => note(error.name));
            return new Response("read");
        }
        return new Response("done");
    });
"#;

/// Begins a request, waits until it is under way, and drops it. Returns what the handler notes.
fn dropped(serving: &Serving, request: &Request, is_framed: bool, events: usize) -> String {
    let body = request.method == "POST";
    if is_framed {
        let mut frames = serving.frames();
        let stream = frames.begin(request, !body);
        assert_eq!(serving.text("/log?n=1"), format!("[\"{}\"]", request.path));
        if request.path == "/stream" {
            while !matches!(frames.next(), Some(Frame { content: Content::Response(body) | Content::Data(body), .. }) if body.ends_with(b"x"))
            {
            }
        }
        let mut output = BytesMut::new();
        encode::reset(&mut output, stream, false);
        frames.write(&output);
        serving.text(&format!("/log?n={events}"))
    } else {
        let connection = http::begin(&serving.version.own("http"), request);
        assert_eq!(serving.text("/log?n=1"), format!("[\"{}\"]", request.path));
        if request.path == "/stream" {
            use std::io::BufRead as _;
            connection.lines().map_while(Result::ok).find(|line| line == "x").unwrap();
        } else {
            drop(connection);
        }
        serving.text(&format!("/log?n={events}"))
    }
}

#[test]
fn a_handler_notices_a_client_that_goes_away_in_frames_as_in_http() {
    for abort in ["", "no-legacy-abort"] {
        let config = format!(
            "{{\"unstable\": [{}]}}",
            if abort.is_empty() { String::new() } else { format!("{abort:?}") }
        );
        let code = format!("{LOGGED}{GOING}");
        let serving = Serving::of(&[("a.ts", &code), ("deno.json", &config)]);
        let upload = Request { body: b"part".to_vec(), ..Request::post("/upload", "part of it") };
        for (request, events) in [
            (Request::get("/never"), 1),
            (Request::get("/late"), 3),
            (Request::get("/stream"), 3),
            (upload, 3),
        ] {
            let [plain, framed] =
                [false, true].map(|is_framed| dropped(&serving, &request, is_framed, events));
            assert_eq!(plain, framed, "{abort} {}", request.path);
        }
        for (path, events) in [("/done", 2), ("/broken", 2)] {
            let events = if abort.is_empty() { events + 1 } else { events };
            let [plain, framed] = [false, true].map(|is_framed| {
                let request = Request::get(path);
                let response =
                    if is_framed { serving.frames().send(&request) } else { serving.http(&request) };
                (response, serving.text(&format!("/log?n={events}")))
            });
            assert_eq!(plain, framed, "{abort} {path}");
        }
    }
}

#[test]
fn a_lost_connection_ends_all_its_requests() {
    let serving = Serving::new(&format!("{LOGGED}{GOING}"));
    let mut frames = serving.frames();
    for _ in 0..3 {
        frames.begin(&Request::get("/never"), true);
    }
    assert_eq!(serving.text("/log?n=3"), r#"["/never","/never","/never"]"#);
    drop(frames);
    assert_eq!(serving.text("/log?n=3"), r#"["aborted","aborted","aborted"]"#);
}

#[test]
fn a_router_that_breaks_the_protocol_loses_its_connection_alone() {
    let serving = Serving::new("Deno.serve(() => new Response('ok'));");
    let mut good = serving.frames();
    for broken in [
        &b"\0\0\0\0\0\0\0\x01\x09\0"[..],
        b"\0\0\0\0\0\0\0\0\x01\x01",
        b"\0\0\0\x01\0\0\0\x05\x03\0x",
        b"\0\0\0\x01\0\0\0\x01\x01\x01\x07",
        b"\xff\xff\xff\xff\0\0\0\x01\x03\0",
    ] {
        let mut frames = serving.frames();
        frames.write(broken);
        assert_eq!(frames.next(), None, "{broken:?}");
    }
    assert_eq!(good.send(&Request::get("/")).text(), "ok");
}

#[test]
fn a_stream_that_is_not_read_stops_at_its_credit() {
    let code = format!(
        "{LOGGED} Deno.serve((request) =>
            request.url.includes('/log') ? logged(request.url) : new Response(endless(new Uint8Array(50_000))));"
    );
    let serving = Serving::new(&code);
    let mut frames = serving.frames();
    let stream = frames.begin(&Request::get("/"), true);
    let mut received = 0;
    while received < WINDOW as usize {
        match frames.next().unwrap() {
            Frame { content: Content::Response(payload), .. } => {
                let limits = switchyard_protocol::frame::HeadLimits { bytes: 9999, headers: 9 };
                received += switchyard_protocol::frame::ResponseHead::parse(payload, limits).unwrap().1.len();
            }
            Frame { content: Content::Data(data), .. } => received += data.len(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(received, WINDOW as usize);
    // Others go on, and this one does not.
    let pulled = |serving: &Serving| serving.text("/log").matches("pulled").count();
    while pulled(&serving) > 0 {}
    let mut output = BytesMut::new();
    encode::credit(&mut output, stream, 10);
    frames.write(&output);
    match frames.next().unwrap().content {
        Content::Data(data) => assert_eq!(data.len(), 10),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_upload_that_is_not_read_gets_no_more_credit_and_is_let_go_with_the_answer() {
    let code = "let answer; Deno.serve((request) => {
        if (request.url.endsWith('go')) { answer(new Response('unread')); return new Response('went'); }
        return new Promise((resolve) => answer = resolve);
    });";
    let serving = Serving::new(code);
    let mut frames = serving.frames();
    let stream = frames.begin(&Request::post("/", vec![0; MAX_DATA]), false);
    let mut output = BytesMut::new();
    for _ in 1..WINDOW as usize / MAX_DATA {
        encode::data(&mut output, stream, &[0; MAX_DATA], false);
    }
    frames.write(&output);
    assert_eq!(frames.send(&Request::get("/go")).text(), "went");
    let mut said = Vec::new();
    while said.len() < 2 {
        let frame = frames.next().unwrap();
        assert_eq!(frame.stream, stream);
        said.push(frame.content);
    }
    assert!(matches!(said[..], [Content::Response(_), Content::Reset { refused: false }]), "{said:?}");
}

#[test]
fn a_reader_of_a_request_may_go_on_after_the_response() {
    let code = format!(
        "{LOGGED} Deno.serve((request) => {{
            if (request.url.includes('/log')) return logged(request.url);
            request.text().then((text) => note(`read ${{text.length}}`), (error) => note(error.name));
            return new Response('early');
        }});"
    );
    let serving = Serving::new(&code);
    let mut frames = serving.frames();
    let stream = frames.begin(&Request::post("/", "begin"), false);
    let response = frames.finish(stream, false, Vec::new());
    assert_eq!(response.text(), "early");
    let mut output = BytesMut::new();
    encode::data(&mut output, stream, &[b'x'; 1000], true);
    frames.write(&output);
    assert_eq!(serving.text("/log?n=1"), r#"["read 1005"]"#);
}

/// Sends the end of a request's body.
fn end(frames: &mut Frames, stream: u32) {
    let mut output = BytesMut::new();
    encode::data(&mut output, stream, b"", true);
    frames.write(&output);
}

#[test]
fn responses_of_a_slow_handler_do_not_hold_up_those_of_others() {
    let code = "Deno.serve(async (request) => {
        await request.text();
        return new Response(request.url.slice(-4));
    });";
    let serving = Serving::new(code);
    let mut frames = serving.frames();
    let mut output = BytesMut::new();
    let slow = frames.request(&mut output, &Request::post("/slow", ""), false);
    let quick: Vec<_> = (0..20).map(|_| frames.request(&mut output, &Request::get("/fast"), true)).collect();
    frames.write(&output);
    let order: Vec<_> = quick.iter().map(|_| frames.next().unwrap().stream).collect();
    assert_eq!(order, quick);
    end(&mut frames, slow);
    assert_eq!(frames.finish(slow, false, Vec::new()).text(), "slow");
}

#[test]
fn a_server_that_shuts_down_finishes_its_requests_and_refuses_others() {
    let code = "
        const server = Deno.serve(async (request) => {
            if (!request.url.endsWith('down')) return new Response('up');
            server.shutdown().then(() => console.log('shut down'));
            await request.text();
            return new Response('last');
        });
        server.finished.then(() => console.log('finished'));";
    let serving = Serving::new(code);
    let mut frames = serving.frames();
    assert_eq!(frames.send(&Request::get("/")).text(), "up");
    let last = frames.begin(&Request::post("/down", ""), false);
    assert_eq!(frames.next().unwrap().content, Content::GoAway);
    let refused = frames.begin(&Request::get("/"), true);
    let frame = frames.next().unwrap();
    assert_eq!((frame.stream, frame.content), (refused, Content::Reset { refused: true }));
    end(&mut frames, last);
    assert_eq!(frames.finish(last, false, Vec::new()).text(), "last");
    let printed = serving.cell.end();
    assert!(printed.contains("shut down\n") && printed.contains("finished\n"), "{printed:?}");
}

#[test]
fn a_server_whose_signal_aborts_ends_its_requests() {
    let code = format!(
        "{LOGGED} const controller = new AbortController();
        setTimeout(() => {{}}, 3000);
        Deno.serve({{ signal: controller.signal }}, (request, info) => {{
            if (request.url.endsWith('abort')) controller.abort();
            request.signal.addEventListener('abort', () => console.log('aborted'));
            return forever();
        }}).finished.then(() => {{ console.log('finished'); setTimeout(() => Deno.exit(), 20); }});"
    );
    let serving = Serving::new(&code);
    let mut frames = serving.frames();
    let waiting = frames.begin(&Request::get("/"), true);
    let aborting = frames.begin(&Request::get("/abort"), true);
    let mut said: Vec<_> =
        (0..3).map(|_| frames.next().unwrap()).map(|frame| (frame.stream, frame.content)).collect();
    said.sort_by_key(|(stream, _)| *stream);
    let reset = Content::Reset { refused: false };
    assert_eq!(said, [(0, Content::GoAway), (waiting, reset.clone()), (aborting, reset)]);
    let printed = serving.cell.end();
    assert!(printed.matches("aborted").count() == 2 && printed.contains("finished"), "{printed}");
}

#[test]
fn a_server_that_comes_after_another_takes_its_place() {
    let code = "
        const first = Deno.serve(() => {
            first.shutdown().then(() => Deno.serve(() => new Response('second')));
            return new Response('first');
        });";
    let serving = Serving::new(code);
    let mut old = serving.frames();
    let stream = old.begin(&Request::get("/"), true);
    assert_eq!(old.next().unwrap().content, Content::GoAway);
    assert_eq!(old.finish(stream, false, Vec::new()).text(), "first");
    let socket = serving.version.own("mux");
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        std::thread::yield_now();
    }
    assert_eq!(serving.text("/"), "second");
}

#[test]
fn a_server_that_is_unreferenced_keeps_no_cell_alive() {
    let code = "const server = Deno.serve(() => new Response('x'));
        server.unref();
        setTimeout(() => console.log('over'), 100);";
    let serving = Serving::new(code);
    let mut frames = serving.frames();
    assert_eq!(frames.send(&Request::get("/")).text(), "x");
    assert!(serving.cell.end().contains("over"));
    assert_eq!(frames.next(), None);
}

#[test]
fn a_response_that_is_under_way_keeps_the_cell_of_an_unreferenced_server_alive() {
    let code = "const server = Deno.serve(() => {
            server.unref();
            const start = async (controller) => {
                const timer = setTimeout(() => { controller.enqueue(new Uint8Array(3)); controller.close(); }, 50);
                Deno.unrefTimer(timer);
            };
            return new Response(new ReadableStream({ start }));
        });";
    let serving = Serving::new(code);
    let mut frames = serving.frames();
    let response = frames.send(&Request::get("/"));
    assert_eq!(response, Response { body: vec![0; 3], ..http::Response::new(200, Vec::new(), None) });
    serving.cell.end();
}

#[test]
fn a_server_of_a_web_worker_takes_frames_and_ends_with_it() {
    let main = "const worker = new Worker(new URL('./b.ts', import.meta.url), { type: 'module' });
        worker.onmessage = () => worker.terminate();
        setTimeout(() => {}, 2000);";
    let serving = Serving::of(&[
        ("a.ts", main),
        (
            "b.ts",
            "Deno.serve((request) => {
            if (request.url.endsWith('end')) { postMessage('end'); return new Promise(() => {}); }
            return new Response('worker');
        });",
        ),
    ]);
    assert!(serving.is_framed);
    let mut frames = serving.frames();
    assert_eq!(frames.send(&Request::get("/")).text(), "worker");
    frames.begin(&Request::get("/end"), true);
    assert_eq!(frames.next(), None);
}

#[test]
fn a_server_of_nodes_takes_no_frames() {
    let code = "import http from 'node:http'; http.createServer((_, response) => response.end('node')).listen(8000);";
    let version = Version::new(&[("a.mjs", code)]);
    let mut cell = version.cell(&Value::Null);
    assert_eq!(cell.next(), Some(FromCell::Serving { by: ServerKind::Node, framed: false }));
    assert!(std::os::unix::net::UnixStream::connect(version.own("mux")).is_err());
}

#[test]
fn a_version_that_is_drained_ends() {
    let mut serving = Serving::new("Deno.serve(() => new Response('x'));");
    let mut frames = serving.frames();
    assert_eq!(frames.send(&Request::get("/")).text(), "x");
    serving.cell.send(&ToCell::Drain { within_ms: 5000 });
    serving.cell.end();
    assert!(frames.next().is_none_or(|frame| frame.content == Content::GoAway));
}
