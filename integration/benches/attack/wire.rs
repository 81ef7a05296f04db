//! Clients of the public listener: ambiguous requests, HTTP/2, slow heads, unread answers.

use std::time::{Duration, Instant};

use switchyard_integration::client::{Client, Raw};
use switchyard_integration::fixtures::{ECHO, UNREAD, hello};
use switchyard_integration::usage::raise_descriptors;
use tokio::time::{sleep, timeout};

use crate::attempt::{Attempt, Verdict};
use crate::stage::{HANGS, Stage};
use crate::user::User;

pub(crate) const ATTEMPTS: &[Attempt] = &[
    Attempt {
        number: "H12a",
        severity: "held before",
        deed: "HTTP/1 requests that can be read in two ways, with one behind them",
        broken: "the one behind is answered",
        as_each: false,
        make: |user| Box::pin(desync(user)),
    },
    Attempt {
        number: "H12b",
        severity: "held before",
        deed: "a client claims its own address (x-forwarded-for, forwarded, x-deno-client-address)",
        broken: "the project believes it",
        as_each: false,
        make: |user| Box::pin(forged_address(user)),
    },
    Attempt {
        number: "H13a",
        severity: "held before",
        deed: "HTTP/2: rapid reset for 4 s",
        broken: "the bystander waits, or the router grows",
        as_each: false,
        make: |user| Box::pin(rapid_reset(user)),
    },
    Attempt {
        number: "H13b",
        severity: "held before",
        deed: "HTTP/2: endless CONTINUATION, from four clients",
        broken: "it is taken beyond 64 MB, or the router grows",
        as_each: false,
        make: |user| Box::pin(continuation(user)),
    },
    Attempt {
        number: "H13c",
        severity: "held before",
        deed: "HTTP/2: a header of 4 KB that is named thousands of times (HPACK bomb)",
        broken: "the router grows",
        as_each: false,
        make: |user| Box::pin(hpack(user)),
    },
    Attempt {
        number: "H13d",
        severity: "held before",
        deed: "HTTP/2: floods of PING, SETTINGS, PRIORITY, WINDOW_UPDATE and empty DATA",
        broken: "the bystander waits, or the router grows",
        as_each: false,
        make: |user| Box::pin(floods(user)),
    },
    Attempt {
        number: "H14a",
        severity: "held before",
        deed: "900 heads that do not end",
        broken: "the bystander waits, or the router grows",
        as_each: false,
        make: |user| Box::pin(slow_heads(user)),
    },
    Attempt {
        number: "H14b",
        severity: "held before",
        deed: "60 answers of a gigabyte that are not read",
        broken: "the bystander waits, or the router grows",
        as_each: false,
        make: |user| Box::pin(unread(user)),
    },
];

/// Headers behind a request's first two lines that can be read in two ways.
pub(crate) const AMBIGUOUS: [&str; 20] = [
    "X: y\nTransfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding:\u{b}chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 5",
    "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "Content-Length: 0\r\nContent-Length: 5",
    "Content-Length: 0, 5",
    "Content-Length: +0",
    "Content-Length: 0x0",
    "Content-Length : 5",
    "Content-Length: 99999999999999999999",
    " X: y",
    "X: y\r\n z",
    "X: y\rContent-Length: 5",
    "X: a\0b",
];

async fn desync(user: User) -> Verdict {
    let stage = Stage::of(user, &[("a", hello("a").as_str())]).await;
    let mut wrong = Vec::new();
    for head in AMBIGUOUS {
        for line in ["GET /a/", "POST /a/", "GET http://localhost/a/", "HEAD /a/"] {
            let request = format!(
                "{line} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n0\r\n\r\nGET /bystander/ HTTP/1.1\r\nHost: localhost\r\n\
                 Connection: close\r\n\r\n"
            );
            let answer = timeout(HANGS, stage.router().public.raw(request)).await.unwrap_or_default();
            if answer.matches("HTTP/1.1 ").count() != 1 || answer.contains("bystander") {
                wrong.push(format!("{line} with {head:?}: {answer}"));
            }
        }
    }
    stage.finish(Verdict::of(wrong, format!("{} heads", 4 * AMBIGUOUS.len()))).await
}

async fn forged_address(user: User) -> Verdict {
    const FORGED: &str = "203.0.113.9";
    let stage = Stage::of(user, &[("a", ECHO)]).await;
    let mut wrong = Vec::new();
    for header in [
        "X-Forwarded-For: 203.0.113.9",
        "x-forwarded-for: 203.0.113.9\r\nX-Forwarded-For: 203.0.113.9",
        "Forwarded: for=203.0.113.9",
        "X-Real-IP: 203.0.113.9",
        "X-Deno-Client-Address: 203.0.113.9:1",
        "x-deno-client-address: 203.0.113.9:1\r\nConnection: x-deno-client-address",
        "X_Forwarded_For: 203.0.113.9",
        "Connection: x-forwarded-for\r\nX-Forwarded-For: 203.0.113.9",
    ] {
        let request = format!("GET /a/ HTTP/1.1\r\nHost: localhost\r\n{header}\r\nConnection: close\r\n\r\n");
        let answer = timeout(HANGS, stage.router().public.raw(request)).await.unwrap_or_default();
        let address = answer.split("\"address\":").nth(1).unwrap_or_default();
        let forwarded = answer.split("\"x-forwarded-for\":").nth(1).unwrap_or_default();
        let believed = |text: &str| text.chars().take(40).collect::<String>().contains(FORGED);
        if !answer.contains("\"address\":") || believed(address) || believed(forwarded) {
            wrong.push(format!("{header:?}: {answer}"));
        }
    }
    stage.finish(Verdict::of(wrong, "8 ways")).await
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("frames are small").to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// GET http://a/bystander/, in HPACK.
fn get_block() -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x04, 11];
    block.extend(b"/bystander/");
    block.extend([0x01, 9]);
    block.extend(b"localhost");
    block
}

/// An HTTP/2 connection whose client does not read.
async fn http_2(client: &Client) -> Raw {
    let mut raw = client.open().await;
    raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    raw.send(frame(4, 0, 0, &[])).await;
    raw
}

/// Sends the same again and again until that is over, or the other end has enough. Returns how many bytes went.
async fn flood(mut raw: Raw, mut next: impl FnMut() -> Vec<u8> + Send, time: Duration, most: usize) -> usize {
    let (begun, mut sent) = (Instant::now(), 0);
    while begun.elapsed() < time && sent < most {
        let bytes = next();
        match timeout(Duration::from_secs(2), raw.try_send(&bytes)).await {
            Ok(Ok(())) => sent += bytes.len(),
            _ => break,
        }
    }
    sent
}

async fn rapid_reset(user: User) -> Verdict {
    let stage = Stage::of(user, &[]).await;
    let block = get_block();
    let (begun, mut streams, mut connections) = (Instant::now(), 0_u32, 0);
    while begun.elapsed() < Duration::from_secs(4) {
        let raw = http_2(&stage.router().public).await;
        connections += 1;
        let mut id = 1_u32;
        let next = || {
            let mut bytes = Vec::new();
            for _ in 0..50 {
                bytes.extend(frame(1, 5, id, &block));
                bytes.extend(frame(3, 0, id, &8_u32.to_be_bytes()));
                id += 2;
            }
            bytes
        };
        flood(raw, next, Duration::from_secs(4).saturating_sub(begun.elapsed()), 1 << 30).await;
        streams += id / 2;
        sleep(Duration::from_millis(5)).await;
    }
    stage.finish(Verdict::Held(format!("{streams} streams on {connections} connections"))).await
}

async fn continuation(user: User) -> Verdict {
    const MOST: usize = 64 << 20;
    let stage = Stage::of(user, &[]).await;
    let mut wrong = Vec::new();
    let mut all = 0;
    for _ in 0..4 {
        let mut raw = http_2(&stage.router().public).await;
        raw.send(frame(1, 1, 1, &get_block())).await;
        let mut literal = vec![0x00, 1, b'x', 0x7f, 0x80, 0x7e];
        literal.resize(16_000, b'y');
        let sent = flood(raw, || frame(9, 0, 1, &literal), HANGS, MOST).await;
        all += sent;
        if sent >= MOST {
            wrong.push(format!("{} MB were taken", sent >> 20));
        }
    }
    stage.finish(Verdict::of(wrong, format!("cut off after {} KB", all >> 12))).await
}

async fn hpack(user: User) -> Verdict {
    let stage = Stage::of(user, &[]).await;
    let mut sent = 0;
    for _ in 0..20 {
        let mut raw = http_2(&stage.router().public).await;
        // An entry of 4,000 bytes in the table, then references to it.
        let mut block = get_block();
        block.extend([0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
        block.extend(vec![b'z'; 4000]);
        block.extend(vec![0xbe; 8000]);
        for id in [1_u32, 3, 5, 7] {
            let _ = raw
                .try_send(frame(1, 5, id, if id == 1 { &block } else { &block[block.len() - 8000..] }))
                .await;
            sent += 1;
        }
        sleep(Duration::from_millis(20)).await;
    }
    stage.finish(Verdict::Held(format!("{sent} blocks"))).await
}

async fn floods(user: User) -> Verdict {
    let stage = Stage::of(user, &[]).await;
    let mut sent = Vec::new();
    for (name, bytes) in [
        ("PING", frame(6, 0, 0, &[0; 8])),
        ("SETTINGS", frame(4, 0, 0, &[0, 4, 0, 0, 255, 255])),
        ("PRIORITY", frame(2, 0, 1, &[0, 0, 0, 3, 1])),
        ("WINDOW_UPDATE", frame(8, 0, 0, &[0, 0, 0, 1])),
        ("DATA", frame(0, 0, 1, &[])),
    ] {
        let many = bytes.repeat(500);
        let raw = http_2(&stage.router().public).await;
        let length = flood(raw, || many.clone(), Duration::from_millis(1500), 1 << 30).await;
        sent.push(format!("{name} {} KB", length >> 10));
    }
    stage.finish(Verdict::Held(sent.join(", "))).await
}

async fn slow_heads(user: User) -> Verdict {
    raise_descriptors();
    let stage = Stage::of(user, &[]).await;
    let mut heads = Vec::new();
    for n in 0..900 {
        let mut raw = stage.router().public.open().await;
        let _ = raw.try_send(format!("GET /bystander/ HTTP/1.1\r\nX-{n}: ")).await;
        heads.push(raw);
    }
    for _ in 0..20 {
        for raw in &mut heads {
            let _ = raw.try_send("x").await;
        }
        sleep(Duration::from_millis(100)).await;
    }
    stage.pass(50).await;
    stage.finish(Verdict::Held(format!("{} heads for some seconds", heads.len()))).await
}

async fn unread(user: User) -> Verdict {
    let stage = Stage::of(user, &[("evil", UNREAD)]).await;
    let mut clients = Vec::new();
    for _ in 0..60 {
        let mut raw = stage.router().public.open().await;
        let _ = raw.try_send("GET /evil/ HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        clients.push(raw);
    }
    sleep(Duration::from_secs(3)).await;
    stage.pass(50).await;
    stage.finish(Verdict::Held(format!("{} answers for 3 s", clients.len()))).await
}
