//! Rows 17 to 20 of the table: pages in the operator's browser, and clients that hold all
//! connections of a listener.

use std::time::Duration;

use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::bridge::tree::Tree;
use switchyard_integration::client::{Client, Raw};
use switchyard_integration::fixtures::hello;
use switchyard_integration::usage::raise_descriptors;
use switchyard_integration::volume::Volume;
use tokio::time::timeout;

use crate::attempt::{Attempt, Verdict};
use crate::stage::{HANGS, Stage, get_of};
use crate::user::User;
use crate::wire::AMBIGUOUS;

pub(crate) const ATTEMPTS: &[Attempt] = &[
    Attempt {
        number: "17",
        severity: "high",
        deed: "pages of other sites and rebound names call the admin listener",
        broken: "any of them reads or does anything",
        as_each: false,
        make: |user| Box::pin(admin(user)),
    },
    Attempt {
        number: "18",
        severity: "high",
        deed: "the same of the bridge's API",
        broken: "any of them reads or does anything",
        as_each: false,
        make: |_| Box::pin(api()),
    },
    Attempt {
        number: "19",
        severity: "low",
        deed: "2,000 connections of each kind hold the admin listener: followers, silent, half heads, slow bodies",
        broken: "/healthz, /readyz or /metrics is not answered 200",
        as_each: false,
        make: |user| Box::pin(held_admin(user)),
    },
    Attempt {
        number: "19b",
        severity: "low",
        deed: "the same of the bridge's API",
        broken: "/healthz or /readyz is not answered 200",
        as_each: false,
        make: |_| Box::pin(held_api()),
    },
    Attempt {
        number: "20",
        severity: "low",
        deed: "requests that can be read in two ways, to the forwarder, the API and the admin listener",
        broken: "one of them gets anything but one refusal",
        as_each: false,
        make: |_| Box::pin(framing()),
    },
];

/// The headers of a page of another site; `PORT` is the listener's.
const FOREIGN: [&str; 22] = [
    "Host: evil.example",
    "Host: evil.example:PORT\r\nOrigin: http://evil.example:PORT",
    "Host: localhost.evil.example",
    "Host: a.localhost:PORT",
    "Host: 127.0.0.1.evil.example:PORT",
    "Host: 2130706433",
    "Host: evil.example\r\nX-Forwarded-Host: localhost",
    "Host: user@localhost:PORT",
    "Host: localhost\r\nHost: evil.example",
    "Host: localhost:PORT\r\nOrigin: https://evil.example",
    "Host: localhost:PORT\r\nOrigin: null",
    "Host: localhost:PORT\r\nOrigin: http://localhost:1",
    "Host: localhost:PORT\r\nOrigin: http://localhost:PORT.evil.example",
    "Host: localhost:PORT\r\nOrigin: http://localhost:PORT\r\nOrigin: https://evil.example",
    "Host: localhost:PORT\r\nSec-Fetch-Site: cross-site",
    "Host: localhost:PORT\r\nSec-Fetch-Site: same-site\r\nSec-Fetch-Mode: no-cors",
    "Host: localhost:PORT\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors",
    "Host: localhost:PORT\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe",
    "Host: localhost:PORT\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: websocket",
    "Host: localhost:PORT\r\nOrigin: http://localhost:PORT\r\nSec-Fetch-Site: cross-site",
    "Host: evil.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Host: evil.example\r\nX-HTTP-Method-Override: GET",
];

const HOLD: &str = r#"{"id": "d1", "projects": ["bystander"], "lease_ms": 600000}"#;

/// Types that a page may send without asking.
const SIMPLE: [&str; 4] = [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/plain\r\nContent-Type: application/json",
];

async fn status(client: &Client, request: &str) -> Option<u16> {
    let answer = timeout(HANGS, client.raw(request)).await.ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

/// Sends each request as each of [`FOREIGN`]. Returns those that were not refused.
async fn foreign(client: &Client, requests: &[(&str, &str)]) -> Vec<String> {
    let mut wrong = Vec::new();
    let port = client.address.port().to_string();
    for (line, body) in requests {
        for headers in FOREIGN {
            let headers = headers.replace("PORT", &port);
            let length = body.len();
            let request = format!(
                "{line} HTTP/1.1\r\n{headers}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
                 Connection: close\r\n\r\n{body}"
            );
            let status = status(client, &request).await;
            if !matches!(status, Some(400 | 403)) {
                wrong.push(format!("{line} with {headers:?}: {status:?}"));
            }
        }
    }
    wrong
}

/// Sends forms and texts as a page may. Returns those that were not refused for their type.
async fn simple(client: &Client, requests: &[(&str, &str)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (line, body) in requests {
        for kind in SIMPLE {
            let request = format!(
                "{line} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{body}",
                body.len(),
            );
            let status = status(client, &request).await;
            if status != Some(415) {
                wrong.push(format!("{line} as {kind}: {status:?}"));
            }
        }
    }
    wrong
}

async fn admin(user: User) -> Verdict {
    let stage = Stage::with(user, |_| {}, |builder| builder.flag("inspect", "bystander")).await;
    let client = &stage.router().admin.client;
    let mut wrong = foreign(
        client,
        &[
            ("GET /projects", ""),
            ("GET /projects/bystander/logs", ""),
            ("GET /projects/bystander/checkouts", ""),
            ("GET /projects/bystander/inspect", ""),
            ("GET /events", ""),
            ("GET /metrics", ""),
            ("GET /json", ""),
            ("POST /_reload", ""),
            ("POST /_deploys", HOLD),
            ("DELETE /_deploys/d1", ""),
        ],
    )
    .await;
    wrong.extend(simple(client, &[("POST /_deploys", HOLD), ("POST /_reload", "x")]).await);
    if stage.router().admin.project("bystander").await.held_by.is_some() {
        wrong.push("a project is held".to_owned());
    }
    stage.finish(Verdict::of(wrong, "each of 10 endpoints in 22 ways")).await
}

async fn api() -> Verdict {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let tree = Tree::of_projects(volume.root());
    let mut wrong = foreign(
        &bridge.client,
        &[
            ("GET /projects", ""),
            ("GET /projects/a", ""),
            ("GET /projects/a/logs", ""),
            ("GET /routers", ""),
            ("GET /deploys", ""),
            ("GET /metrics", ""),
            ("POST /deploy/a", "x"),
            ("DELETE /projects/a", ""),
            ("POST /projects/a/rollback", ""),
        ],
    )
    .await;
    // Forms are how uploads come; from other sites they are refused by Origin.
    wrong.extend(simple(&bridge.client, &[("POST /projects/a/rollback", "x")]).await);
    if Tree::of_projects(volume.root()) != tree {
        wrong.push("the volume has changed".to_owned());
    }
    Verdict::of(wrong, "each of 9 endpoints in 22 ways")
}

/// The beginnings of requests that hold a connection.
const HOLDING: [&str; 6] = [
    "",
    "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /projects/bystander/logs?follow=1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: localh",
    "POST /_deploys HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
    "POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
];

const HELD: usize = 2000;

/// Holds connections in each of these ways, and requests `paths` meanwhile.
async fn statuses_under_load(client: &Client, paths: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    for beginning in HOLDING {
        let mut holding: Vec<Raw> = Vec::new();
        for _ in 0..HELD {
            let mut raw = client.open().await;
            // One that has made room is closed.
            let _ = raw.try_send(beginning).await;
            holding.push(raw);
        }
        for path in paths {
            let status = get_of(client, path).await.map(|reply| reply.status);
            if status != Some(200) {
                wrong.push(format!("{path} beside {beginning:?}: {status:?}"));
            }
        }
    }
    wrong
}

async fn held_admin(user: User) -> Verdict {
    raise_descriptors();
    let stage = Stage::of(user, &[]).await;
    let wrong = statuses_under_load(&stage.router().admin.client, &["/healthz", "/readyz", "/metrics"]).await;
    stage.finish(Verdict::of(wrong, format!("{HELD} connections in {} ways", HOLDING.len()))).await
}

async fn held_api() -> Verdict {
    raise_descriptors();
    let volume = Volume::with("bystander", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let wrong = statuses_under_load(&bridge.client, &["/healthz", "/readyz", "/metrics"]).await;
    Verdict::of(wrong, format!("{HELD} connections in {} ways", HOLDING.len()))
}

async fn framing() -> Verdict {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let mut wrong = Vec::new();
    for (name, client, path) in [
        ("forwarder", &bridge.forward, "/a/"),
        ("API", &bridge.client, "/projects"),
        ("admin", &routers[0].admin.client, "/projects"),
        ("router", &routers[0].public, "/a/"),
    ] {
        for head in AMBIGUOUS {
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n0\r\n\r\nGET {path}?smuggled HTTP/1.1\r\nHost: \
                 localhost\r\nConnection: close\r\n\r\n"
            );
            let answer = timeout(Duration::from_secs(20), client.raw(request)).await.unwrap_or_default();
            let answers = answer.matches("HTTP/1.1 ").count();
            if answers != 1 || !answer.starts_with("HTTP/1.1 400") {
                wrong.push(format!("{name}, {head:?}: {answers} answers"));
            }
        }
    }
    Verdict::of(wrong, format!("{} heads at 4 listeners, each refused once", AMBIGUOUS.len()))
}
