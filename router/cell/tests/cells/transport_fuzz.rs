//! Routers whose frames come in any order, damaged and cut anywhere: the cell loses nothing but
//! their connections, and what it sends keeps to the rules.

use std::collections::HashMap;
use std::io::Write as _;
use std::net::Shutdown;
use std::time::Instant;

use bytes::BytesMut;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use switchyard_protocol::ToCell;
use switchyard_protocol::frame::{
    Content, Decoder, Frame, HEADER, HeadLimits, MAX_DATA, ResponseHead, Sender, WINDOW, encode,
};

use crate::frames::{Frames, LIMITS};
use crate::http::Request;
use crate::transport::Serving;
use crate::version::PATIENCE;

const CASES: u64 = 300;

/// Each handler ends with its request's connection. Errors are not printed: nobody reads the output
/// before the end.
const HANDLERS: &str = "
    const chunk = new Uint8Array(30_000);
    const stream = () => {
        let left = 12;
        return new ReadableStream({
            pull: (controller) => left-- > 0 ? controller.enqueue(chunk) : controller.close(),
        });
    };
    const aborted = (signal) => new Promise((done) => signal.addEventListener('abort', done));
    const handlers = {
        '/whole': () => new Response('whole'),
        '/none': () => new Response(null, { status: 204 }),
        '/stream': () => new Response(stream()),
        '/echo': (request) => new Response(request.body),
        '/length': async (request) => new Response(String((await request.bytes()).length)),
        '/unread': async (request) => (await request.body?.getReader().read(), new Response('unread')),
        '/aborted': async (request) => (await aborted(request.signal), new Response('late')),
    };
    Deno.serve({
        onError: () => new Response('failed', { status: 500 }),
    }, (request) => handlers[new URL(request.url).pathname](request));
";

const PATHS: [&str; 7] = ["/whole", "/none", "/stream", "/echo", "/length", "/unread", "/aborted"];

/// A length of a body: mostly a small one.
fn length(random: &mut SmallRng) -> usize {
    match random.gen_range(0..8) {
        0 => MAX_DATA,
        1..=3 => random.gen_range(0..20_000),
        _ => random.gen_range(0..50),
    }
}

/// Appends a frame of a router on the connection of `frames`.
fn append(random: &mut SmallRng, frames: &mut Frames, out: &mut BytesMut, last: &mut u32) {
    let start = out.len();
    // Mostly one that was opened.
    let stream = random.gen_range(0..=*last).max(1) + u32::from(random.gen_bool(0.02));
    match random.gen_range(0..10) {
        0..=3 => {
            let method = ["GET", "POST", "POST", "HEAD"][random.gen_range(0..4)];
            let mut request = Request::new(method, PATHS[random.gen_range(0..PATHS.len())]);
            if method == "POST" {
                request.body = vec![1; length(random)];
            }
            let end = method != "POST" || random.gen_bool(0.5);
            *last = frames.request(out, &request, end);
        }
        4..=6 => {
            let length = length(random);
            encode::data(out, stream, &vec![2; length], length == 0 || random.gen_bool(0.3));
        }
        7 => encode::reset(out, stream, false),
        _ => encode::credit(out, stream, random.gen_range(1..=WINDOW / 4)),
    }
    if random.gen_bool(0.05) {
        let frame = &mut out[start..];
        let at = random.gen_range(0..frame.len().min(HEADER + 60));
        frame[at] ^= random.gen_range(1..=u8::MAX);
    }
}

/// A stream as a router may see it.
#[derive(Default)]
struct Stream {
    has_head: bool,
    has_ended: bool,
    /// Bytes of body.
    received: u64,
    /// Credit that was given.
    credit: u64,
}

impl Stream {
    fn receive(&mut self, frame: Frame) {
        let body = match frame.content {
            // Of the request's body, which may be read after the response.
            Content::Credit(_) | Content::Reset { .. } => return,
            _ if self.has_ended => panic!("something after the end"),
            Content::Response(payload) if !self.has_head => {
                self.has_head = true;
                ResponseHead::parse(payload, LIMITS).expect("a head that the router takes").1
            }
            Content::Data(data) if self.has_head => data,
            other => panic!("out of order: {other:?}"),
        };
        self.received += body.len() as u64;
        assert!(self.received <= u64::from(WINDOW) + self.credit, "body without credit");
        self.has_ended = frame.end;
    }
}

/// Returns the streams that got credit, as the cell reads these bytes of a router.
fn credited(bytes: &mut BytesMut) -> HashMap<u32, Stream> {
    let decoder = Decoder::new(Sender::Router, HeadLimits::ROUTER);
    let mut streams = HashMap::<u32, Stream>::new();
    while let Ok(Some(frame)) = decoder.decode(bytes) {
        if let Content::Credit(bytes) = frame.content {
            streams.entry(frame.stream).or_default().credit += u64::from(bytes);
        }
    }
    streams
}

/// Plays one case, and checks what the cell sends.
fn play(serving: &Serving, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut frames = serving.frames();
    let (mut bytes, mut last) = (BytesMut::new(), 0);
    for _ in 0..random.gen_range(1..20) {
        append(&mut random, &mut frames, &mut bytes, &mut last);
    }
    let mut cuts: Vec<_> = (0..random.gen_range(0..8)).map(|_| random.gen_range(0..=bytes.len())).collect();
    cuts.push(bytes.len());
    cuts.sort_unstable();
    let mut start = 0;
    for end in cuts {
        // The cell closes a broken connection.
        if frames.socket.write_all(&bytes[start..end]).is_err() {
            break;
        }
        start = end;
        std::thread::yield_now();
    }
    if random.gen_bool(0.3) {
        return;
    }
    _ = frames.socket.shutdown(Shutdown::Write);
    let mut streams = credited(&mut bytes);
    while let Some(frame) = frames.next() {
        streams.entry(frame.stream).or_default().receive(frame);
    }
}

#[test]
fn a_connection_that_ends_leaves_no_calls_behind_in_the_queue() {
    // Each abort takes longer than a turn. The busy time lets the end come with the last request.
    let code = "
        const spin = (ms) => { for (const end = performance.now() + ms; performance.now() < end;); };
        Deno.serve((request) => {
            if (request.url.endsWith('/busy')) { spin(200); return new Response('was busy'); }
            return new Promise((answer) => request.signal.addEventListener('abort', () => {
                spin(5);
                answer(new Response('late'));
            }));
        });";
    let serving = Serving::new(code);
    let (mut busy, mut frames) = (serving.frames(), serving.frames());
    for _ in 0..3 {
        frames.begin(&Request::get("/"), true);
    }
    // The handler has got those by the time of an answer.
    assert_eq!(busy.send(&Request::get("/busy")).text(), "was busy");
    let stream = busy.begin(&Request::get("/busy"), true);
    frames.begin(&Request::get("/"), true);
    frames.socket.shutdown(Shutdown::Write).unwrap();
    assert_eq!(busy.finish(stream, false, Vec::new()).text(), "was busy");
    assert_eq!(frames.next(), None, "nothing else wakes the cell");
}

#[test]
fn a_connection_that_ends_is_closed_although_a_handler_keeps_a_body() {
    let code = "
        Deno.serve(async (request) => {
            globalThis.kept = request.body.getReader();
            await kept.read();
            return new Response('not read to its end');
        });";
    let serving = Serving::new(code);
    let mut frames = serving.frames();
    let stream = frames.begin(&Request::post("/", "part"), false);
    assert_eq!(frames.finish(stream, false, Vec::new()).text(), "not read to its end");
    frames.socket.shutdown(Shutdown::Write).unwrap();
    assert_eq!(frames.next(), None);
}

#[test]
fn whatever_a_router_sends_ends_with_its_connection_and_leaves_nothing_open() {
    // With the legacy abort, Deno prints a warning.
    let config = r#"{"unstable": ["no-legacy-abort"]}"#;
    let mut serving = Serving::of(&[("a.ts", HANDLERS), ("deno.json", config)]);
    let mut good = serving.frames();
    for seed in 0..CASES {
        let played = std::panic::catch_unwind(|| play(&serving, seed));
        assert!(played.is_ok(), "the case with the seed {seed}");
        assert_eq!(good.send(&Request::get("/whole")).text(), "whole", "after the seed {seed}");
    }
    // Only if no request is open.
    let begin = Instant::now();
    serving.cell.send(&ToCell::Drain { within_ms: 10 * PATIENCE.as_millis() as u64 });
    let printed = serving.cell.end();
    assert!(begin.elapsed() < PATIENCE, "requests are open still: {printed}");
    assert_eq!(printed, "");
}
