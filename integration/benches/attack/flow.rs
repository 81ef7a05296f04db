//! Rows 6 to 9 of the table, and invalid answers: the data from a project to clients and to the
//! log.

use std::time::{Duration, Instant};

use switchyard_integration::client::{Client, Raw};
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::{Router, State};
use switchyard_integration::volume::Volume;
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

use crate::attempt::{Attempt, Verdict};
use crate::stage::{HANGS, Stage, get, get_of, put};
use crate::user::User;

pub(crate) const ATTEMPTS: &[Attempt] = &[
    Attempt {
        number: "6",
        severity: "high",
        deed: "eight answers in chunks of one byte, as fast as it goes",
        broken: "the bystander waits",
        as_each: false,
        make: |user| Box::pin(small_chunks(user)),
    },
    Attempt {
        number: "7",
        severity: "medium",
        deed: "a project listens on UDP, by Deno and by node:dgram",
        broken: "it receives datagrams of a stranger",
        as_each: true,
        make: |user| Box::pin(datagrams(user)),
    },
    Attempt {
        number: "8",
        severity: "medium",
        deed: "a project prints without pause and the log is not read",
        broken: "the admin listener, another's reload or requests wait",
        as_each: false,
        make: |user| Box::pin(unread_log(user)),
    },
    Attempt {
        number: "9",
        severity: "low",
        deed: "line ends, CR, escapes, bidirectional controls and fields in output and errors of a project",
        broken: "the text log has a line or a raw character of it",
        as_each: false,
        make: |user| Box::pin(forged_log(user)),
    },
    Attempt {
        number: "H11",
        severity: "low",
        deed: "invalid answers: unrequested 101, two lengths, cut off, endless lines",
        broken: "a client gets anything but 502, or another client's answer",
        as_each: false,
        make: |user| Box::pin(wrong_answers(user)),
    },
];

/// Answers with chunks of one byte that cost it nothing to make.
const SMALL: &str = "import http from 'node:http';
    const many = Buffer.from('1\\r\\nx\\r\\n'.repeat(20_000));
    http.createServer((request, response) => {
      const { socket } = response;
      socket.on('error', () => {});
      socket.write('HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n');
      const more = () => {
        while (!socket.destroyed && socket.write(many)) { /* until it is full */ }
        socket.once('drain', more);
      };
      more();
    }).listen(3000);";

async fn small_chunks(user: User) -> Verdict {
    let stage = Stage::with(user, |volume| volume.write("evil/main.mjs", SMALL), |builder| builder).await;
    let mut readers = Vec::new();
    for _ in 0..8 {
        let mut raw = stage.router().public.open().await;
        raw.send("GET /evil/ HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        readers.push(tokio::spawn(drain(raw)));
    }
    sleep(Duration::from_secs(4)).await;
    stage.pass(20).await;
    let mut bytes = 0;
    for reader in readers {
        bytes += reader.await.unwrap_or_default();
    }
    let wrong = if bytes == 0 { vec!["not made: nothing was answered".to_owned()] } else { vec![] };
    stage.finish(Verdict::of(wrong, format!("eight readers, {} KB", bytes >> 10))).await
}

/// Reads until all other requests were made. Returns the number of bytes.
async fn drain(mut raw: Raw) -> usize {
    let (begun, mut bytes) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(6) {
        match timeout(Duration::from_secs(1), raw.some()).await {
            Ok(Some(length)) => bytes += length,
            Ok(None) => break,
            Err(_) => {}
        }
    }
    bytes
}

async fn datagrams(user: User) -> Verdict {
    let main = "import dgram from 'node:dgram';
        const got = [];
        const ports = [];
        try {
          const socket = Deno.listenDatagram({ transport: 'udp', hostname: '0.0.0.0', port: 0 });
          ports.push(socket.addr.port);
          (async () => { for await (const [bytes] of socket) got.push('Deno ' + new TextDecoder().decode(bytes)); })().catch(() => {});
        } catch { /* it is refused */ }
        await new Promise((done) => {
          try {
            const socket = dgram.createSocket('udp4');
            socket.on('message', (bytes) => got.push(`node ${bytes}`));
            socket.on('error', done);
            socket.bind(0, '0.0.0.0', () => { ports.push(socket.address().port); done(); });
          } catch { done(); }
        });
        export default { fetch: (request) => Response.json(request.method === 'POST' ? got : ports) };";
    let main = format!("// deno-lint-ignore-file\n{main}");
    let stage = Stage::with(
        user,
        |volume| {
            put(volume, "evil", &main);
            volume.write("evil/deno.json", r#"{"unstable": ["net"]}"#);
        },
        |builder| builder,
    )
    .await;
    let ports = get(stage.router(), "/evil/").await.map(|reply| reply.text()).unwrap_or_default();
    let ports: Vec<u16> = serde_json::from_str(&ports).unwrap_or_default();
    let stranger = UdpSocket::bind("127.0.0.1:0").await.expect("a port is free");
    for port in &ports {
        for _ in 0..3 {
            let _ = stranger.send_to(b"from outside", ("127.0.0.1", *port)).await;
        }
    }
    sleep(Duration::from_millis(500)).await;
    let got = stage.asks("/evil/", "").await.map(|reply| reply.text()).unwrap_or_default();
    let wrong = if got.contains("from outside") { vec![format!("received {}", got.trim())] } else { vec![] };
    stage.finish(Verdict::of(wrong, format!("{} ports, nothing received", ports.len()))).await
}

async fn unread_log(user: User) -> Verdict {
    let main = "const line = 'x'.repeat(200);
        const print = () => { for (let n = 0; n < 500; n++) console.log(line); setTimeout(print, 0); };
        export default { fetch() { print(); return new Response('printing'); } };";
    let stage = Stage::of(user, &[("evil", main)]).await;
    stage.router().log.pause();
    get(stage.router(), "/evil/").await;
    sleep(Duration::from_secs(3)).await;
    let mut wrong: Vec<String> = stage.reload_hangs().await.err().into_iter().collect();
    if get_of(&stage.router().admin.client, "/projects").await.is_none() {
        wrong.push("the admin listener is silent".to_owned());
    }
    stage.pass(50).await;
    stage.router().log.resume();
    stage.finish(Verdict::of(wrong, "not read for 3 s")).await
}

/// Texts that only the router may write at the start of a line, and texts that no line has.
const FORGED: &str = "2026-01-01T00:00:00Z  INFO forged";

async fn forged_log(user: User) -> Verdict {
    let volume = Volume::new();
    let text = format!("a\\n{FORGED} project.name=bank\\r{FORGED}\\u202e\\u2066\\u001b[31m\\u0085\\u2028b");
    put(&volume, "a", &format!("console.log(\"{text}\"); console.error(\"{text}\");\n{}", hello("a")));
    put(&volume, "b", &format!("throw new Error(\"{text} the-end\");"));
    put(
        &volume,
        "c",
        "console.log('fine project.name=bank project.version=bank@000000000000');\nexport default { fetch: () => new Response('') };",
    );
    put(&volume, "d", &format!("await import(\"./{text}.ts\");"));
    let router = user.router(Router::builder(&volume), &volume, &State::new());
    let lines = timeout(HANGS * 2, router.text_log_until("the-end")).await.unwrap_or_default();
    let mut wrong = Vec::new();
    if lines.is_empty() {
        wrong.push("the log was not read".to_owned());
    }
    let odd = |c: char| (c.is_control() && c != '\t') || "\u{202e}\u{2066}\u{2028}".contains(c);
    for line in &lines {
        if line.starts_with(FORGED) {
            wrong.push(format!("a line is forged: {line}"));
        }
        if line.contains(odd) {
            wrong.push(format!("raw characters: {line}"));
        }
        // A field that is forged stands outside of quotes, before the router's own.
        let plain = line.replace("\\\"", "");
        let first =
            plain.split_once("project.name=").map(|(before, rest)| (before.matches('"').count() % 2, rest));
        if first.is_some_and(|(quotes, rest)| quotes == 0 && rest.trim_start_matches('"').starts_with("bank"))
        {
            wrong.push(format!("a field is forged: {line}"));
        }
    }
    Verdict::of(wrong, format!("{} lines, none forged", lines.len()))
}

/// A project that answers with the bytes that it receives.
const RAW: &str = "import http from 'node:http';
    http.createServer((request, response) => {
      let bytes = '';
      request.setEncoding('latin1');
      request.on('data', (piece) => { bytes += piece; });
      request.on('end', () => {
        if (!bytes) return response.end('well');
        response.socket.end(Buffer.from(bytes, 'latin1'));
      });
    }).listen(3000);";

const WRONG: [&str; 16] = [
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 20\r\n\r\nxHTTP/1.1 200 smuggled",
    "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nxx",
    "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 2000 OK\r\n\r\n",
    "HTTP/9.9 200 OK\r\n\r\n",
    "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: ",
    "HTTP/1.1 99 Low\r\n\r\n",
    "smuggled",
    "\r\n\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n",
    "<html>smuggled",
];

async fn wrong_answers(user: User) -> Verdict {
    let stage = Stage::with(user, |volume| volume.write("evil/main.mjs", RAW), |builder| builder).await;
    let mut wrong = Vec::new();
    for bytes in WRONG {
        let status = stage.asks("/evil/", bytes).await.map(|reply| reply.status);
        if status != Some(502) {
            wrong.push(format!("{bytes:?}: {status:?}"));
        }
        wrong.extend(next_is_well(&stage.router().public).await.map(|got| format!("after {bytes:?}: {got}")));
    }
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(2 << 20));
    if stage.asks("/evil/", &endless).await.is_some_and(|reply| reply.status == 200) {
        wrong.push("a head of 2 MB passes".to_owned());
    }
    stage.finish(Verdict::of(wrong, format!("{} answers", WRONG.len() + 1))).await
}

/// The answer that the next client gets instead of its own.
async fn next_is_well(public: &Client) -> Option<String> {
    let reply = get_of(public, "/evil/").await;
    let text = reply.map(|reply| reply.text());
    (text.as_deref() != Some("well")).then(|| format!("the next one gets {text:?}"))
}
