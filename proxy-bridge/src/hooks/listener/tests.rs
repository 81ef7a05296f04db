mod tasks;

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::body::{MAX_BODY, MAX_KEPT};
use super::*;
use crate::hooks::recorded::{self, AFTER, Delivery, SECRET};
use switchyard_edge::webhook::ForgeKind;

/// Sources that are called like their forge, and the hints that they got.
#[derive(Default)]
struct Sources {
    hints: Mutex<Vec<(String, Push)>>,
}

impl Sources {
    fn hints(&self) -> Vec<(String, Push)> {
        std::mem::take(&mut self.hints.lock().unwrap())
    }
}

impl HookTarget for Sources {
    fn webhook(&self, source: &str) -> Option<WebhookSecret> {
        let kind: ForgeKind = source.parse().ok()?;
        Some(WebhookSecret::new(kind, ["new secret", SECRET]).unwrap())
    }

    fn hint(&self, source: &str, push: Push) {
        self.hints.lock().unwrap().push((source.to_owned(), push));
    }

    fn refused(&self, _source: &str, _why: &str) {}
}

/// A listener with its sources. It stops when this is dropped.
struct Server {
    address: SocketAddr,
    sources: Arc<Sources>,
    _stop: watch::Sender<bool>,
}

impl Server {
    async fn start() -> Self {
        Self::with(|hooks| hooks).await
    }

    async fn with(change: impl FnOnce(Hooks) -> Hooks) -> Self {
        let sources = Arc::new(Sources::default());
        let hooks = change(Hooks::new(sources.clone()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(hooks.serve(listener.into(), stopped));
        Self { address, sources, _stop: stop }
    }

    /// Sends a request on a connection of its own, and reads the answer to its end.
    async fn send(&self, head: &str, body: &[u8]) -> Answer {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let request = [format!("{head}host: hooks\r\nconnection: close\r\n\r\n").as_bytes(), body].concat();
        // The answer may come before all of the request was taken.
        let writing = tokio::spawn(async move {
            let _ = writer.write_all(&request).await;
            writer
        });
        let mut answer = Vec::new();
        let reading = timeout(Duration::from_secs(60), reader.read_to_end(&mut answer));
        let _ = reading.await.expect("the answer has an end");
        drop(writing.await);
        Answer::parse(&String::from_utf8(answer).unwrap())
    }

    async fn post(&self, path: &str, delivery: &Delivery) -> Answer {
        let mut head = format!("POST {path} HTTP/1.1\r\ncontent-length: {}\r\n", delivery.body.len());
        for (name, value) in &delivery.headers {
            head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
        }
        self.send(&head, &delivery.body).await
    }

    /// Posts to the source that is called like the delivery's forge.
    async fn deliver(&self, delivery: &Delivery) -> Answer {
        self.post(&format!("/hooks/git/{}", delivery.kind), delivery).await
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        // The date is the only part that may differ.
        let lines = head.lines().map(str::to_ascii_lowercase).filter(|line| !line.starts_with("date:"));
        Self { status, head: lines.collect::<Vec<_>>().join("\n"), body: body.to_owned() }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

fn signed(delivery: Delivery) -> Delivery {
    delivery.signed(SECRET, Timestamp::now().as_second())
}

fn github(id: &str) -> Delivery {
    signed(recorded::github("push", recorded::GITHUB_PUSH).with("x-github-delivery", id))
}

#[tokio::test]
async fn a_signed_push_of_each_forge_is_a_hint() {
    let server = Server::start().await;
    for (number, push) in recorded::pushes().into_iter().enumerate() {
        let mut push = signed(push);
        if push.kind == ForgeKind::Bitbucket {
            push = push.with("x-request-uuid", &number.to_string());
        }
        let answer = server.deliver(&push).await;
        assert_eq!(answer.status, 202, "{} to {push:?}", answer.body);
        assert!(answer.json()["delivery"].is_string());
        let hints = server.sources.hints();
        assert_eq!(hints.len(), 1, "{push:?}");
        assert_eq!(hints[0].0, push.kind.as_str());
        assert_eq!(hints[0].1.ref_name.as_deref(), Some("refs/heads/main"));
        assert_eq!(hints[0].1.after.as_deref(), Some(AFTER));
    }
}

#[tokio::test]
async fn a_delivery_that_comes_again_is_answered_alike_and_is_no_second_hint() {
    let server = Server::start().await;
    for push in recorded::pushes().into_iter().filter(|push| push.kind != ForgeKind::Bitbucket) {
        let push = signed(push);
        let answers = [server.deliver(&push).await, server.deliver(&push).await];
        assert_eq!(answers.each_ref().map(|answer| answer.status), [202, 202]);
        assert_eq!(answers[0].body, answers[1].body, "{push:?}");
        assert_eq!(server.sources.hints().len(), 1, "{push:?}");
    }
}

#[tokio::test]
async fn a_delivery_without_an_id_gets_one_and_is_always_a_hint() {
    let server = Server::start().await;
    let mut push = github("1");
    push.headers.remove("x-github-delivery");
    let answers = [server.deliver(&push).await, server.deliver(&push).await];
    assert_ne!(answers[0].json()["delivery"], answers[1].json()["delivery"]);
    assert_eq!(server.sources.hints().len(), 2);
}

#[tokio::test]
async fn an_unknown_source_and_a_wrong_or_missing_signature_get_the_same_answer() {
    let server = Server::start().await;
    let push = github("1");
    let mut cut = push.clone();
    cut.headers.insert("x-hub-signature-256", "sha256=7571".parse().unwrap());
    let forged = recorded::github("push", recorded::GITHUB_PUSH).signed("guessed", 0);
    let mut answers = vec![
        server.post("/hooks/git/nowhere", &push).await,
        server.post("/hooks/git/gitlab", &push).await,
        server.deliver(&forged).await,
        server.deliver(&cut).await,
    ];
    // These two are refused before their bodies are read.
    let unsigned = recorded::gitlab("Push Hook", "{}");
    let early = [server.deliver(&unsigned).await, server.post("/hooks/git/nowhere", &unsigned).await];
    assert_eq!(early[0].head, early[1].head);
    answers.extend(early);
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (401, &answers[0].body));
        assert_eq!(answer.head, answers[0].head);
        assert_eq!(answer.json()["type"], "urn:switchyard:problem:unauthorized");
        assert!(!answer.body.contains("nowhere"));
    }
    assert!(server.sources.hints().is_empty());
}

#[tokio::test]
async fn pings_and_other_events_are_answered_and_are_no_hints() {
    let server = Server::start().await;
    let ping = signed(recorded::github("ping", recorded::GITHUB_PING));
    assert_eq!(server.deliver(&ping).await.status, 200);
    let test = recorded::bitbucket("diagnostics:ping", r#"{"test": true}"#);
    assert_eq!(server.deliver(&test).await.status, 200);
    assert_eq!(server.post("/hooks/git/nowhere", &test).await.status, 200);
    assert_eq!(server.deliver(&test.signed("guessed", 0)).await.status, 401);
    let other = signed(recorded::github("issues", "{}"));
    assert_eq!(server.deliver(&other).await.status, 202);
    assert!(server.sources.hints().is_empty());
}

#[tokio::test]
async fn a_large_body_is_verified_and_is_a_hint_without_details() {
    let server = Server::start().await;
    let mut push = recorded::github("push", recorded::GITHUB_PUSH);
    push.body.resize(MAX_KEPT, b' ');
    let details = |server: &Server| server.sources.hints().remove(0).1.after;
    assert_eq!(server.deliver(&signed(push.clone())).await.status, 202);
    assert_eq!(details(&server).as_deref(), Some(AFTER));
    push.body.push(b' ');
    assert_eq!(server.deliver(&signed(push.clone().with("x-github-delivery", "2"))).await.status, 202);
    assert_eq!(details(&server), None);
    let mut forged = signed(push);
    forged.body.push(b' ');
    assert_eq!(server.deliver(&forged).await.status, 401);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_whether_its_length_is_announced_or_not() {
    let server = Server::start().await;
    let head = |length: &str| {
        format!("POST /hooks/git/github HTTP/1.1\r\nx-hub-signature-256: sha256={AFTER}\r\n{length}\r\n")
    };
    let announced = server.send(&head(&format!("content-length: {}", MAX_BODY + 1)), b"").await;
    assert_eq!(announced.status, 413);
    assert_eq!(announced.json()["type"], "urn:switchyard:problem:body-too-large");
    let chunk = [b"100000\r\n".as_slice(), &vec![b' '; 0x10_0000], b"\r\n"].concat();
    let body = [chunk.repeat(25), b"1\r\n \r\n0\r\n\r\n".to_vec()].concat();
    assert_eq!(server.send(&head("transfer-encoding: chunked"), &body).await.status, 413);
}

#[tokio::test]
async fn too_many_deliveries_are_refused_with_the_time_to_wait() {
    let server = Server::start().await;
    let forged = recorded::github("push", "{}").signed("guessed", 0);
    for _ in 0..70 {
        assert_eq!(server.deliver(&forged).await.status, 401);
    }
    let mut refused = None;
    for id in 0..1000 {
        let answer = server.deliver(&github(&id.to_string())).await;
        if answer.status != 202 {
            refused = Some((id, answer));
            break;
        }
    }
    let (accepted, answer) = refused.expect("a delivery is refused");
    assert_eq!(answer.status, 429);
    assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
    assert!(accepted >= 60, "forged deliveries counted");
    assert_eq!(server.sources.hints().len(), accepted);
    let gitea = signed(recorded::gitea("push", recorded::GITEA_PUSH));
    assert_eq!(server.deliver(&gitea).await.status, 202);
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let server = Server::start().await;
    let get = server.send("GET /hooks/git/github HTTP/1.1\r\n", b"").await;
    assert_eq!(get.status, 405);
    assert!(get.head.contains("allow: post"), "{}", get.head);
    for path in ["/", "/hooks", "/hooks/git/", "/hooks/git/github/more", "/deploy"] {
        assert_eq!(server.post(path, &github("1")).await.status, 404, "{path}");
    }
    let query = server.post("/hooks/git/github?token=ignored", &github("1")).await;
    assert_eq!(query.status, 202);
}
