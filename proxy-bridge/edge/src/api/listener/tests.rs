use std::net::TcpListener;
use std::time::Duration;

use axum::body::Body;
use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;
use crate::api::answer::text;
use crate::api::body::BodyLimits;
use crate::api::endpoint::{Routes, delete, get, post};
use crate::gate::BodyKind;

const LISTENER: ApiListener = ApiListener {
    name: "test",
    connections: ConnectionLimits { streams: 1, requests: 1, unproven: 0, metrics: 0, reserve: 4 },
    guard: guarded::StreamLimits {
        max_head: 4096,
        head_timeout: Duration::from_secs(10),
        write_timeout: Duration::from_secs(10),
    },
    prepare: |_| {},
    grace: Duration::from_secs(5),
};

async fn read(body: Body) -> Result<Response, Problem> {
    let limits = BodyLimits { bytes: 8, time: Duration::from_secs(10) };
    let read = limits.read(body).await?;
    Ok(text(StatusCode::OK, String::from_utf8_lossy(&read)))
}

async fn panics() -> Response {
    panic!("this handler panics")
}

/// Starts a listener. It stops when the sender is dropped.
async fn start() -> (std::net::SocketAddr, watch::Sender<bool>) {
    let app = Routes::default()
        .add(get("/one"), || async { text(StatusCode::OK, "one") })
        .add(delete("/one"), || async { text(StatusCode::OK, "gone") })
        .add(post("/read").body(BodyKind::Json("{}")), read)
        .add(post("/ignore"), || async { text(StatusCode::OK, "ignored") })
        .add(get("/panic"), panics)
        .into_router(());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, stop) = watch::channel(false);
    tokio::spawn(LISTENER.serve(listener.into(), app, stop));
    (address, sender)
}

/// Sends bytes on a connection of its own, and reads until it is closed.
async fn send(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn a_wrong_method_is_a_problem_that_names_the_right_ones() {
    let (address, _running) = start().await;
    for method in ["PUT", "HEAD"] {
        let head = format!("{method} /one HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
        let answer = send(address, &head).await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        assert!(answer.contains("allow: GET, DELETE\r\n"), "{answer}");
        assert_eq!(answer.contains("use GET or DELETE"), method != "HEAD", "{answer}");
    }
}

#[tokio::test]
async fn a_handler_that_panics_is_a_problem_and_others_are_served() {
    let (address, _running) = start().await;
    let answer = send(address, "GET /panic HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains("problem:internal"), "{answer}");
    let answer = send(address, "GET /one HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("one"), "{answer}");
}

#[tokio::test]
async fn a_connection_ends_after_a_body_that_was_not_read() {
    let (address, _running) = start().await;
    let head = "HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n";
    let unread = send(address, &format!("POST /ignore {head}content-length: 2\r\n\r\n{{}}")).await;
    assert!(unread.starts_with("HTTP/1.1 200 ") && unread.contains("connection: close"), "{unread}");
    let large = send(address, &format!("POST /read {head}content-length: 100\r\n\r\n123456789")).await;
    assert!(large.starts_with("HTTP/1.1 413 ") && large.contains("connection: close"), "{large}");
    let read =
        format!("POST /read {head}content-length: 2\r\n\r\n{{}}GET /one {head}connection: close\r\n\r\n");
    let both = send(address, &read).await;
    assert_eq!(both.matches("HTTP/1.1 200 ").count(), 2, "{both}");
}

#[tokio::test]
async fn a_query_that_nothing_reads_is_refused() {
    let (address, _running) = start().await;
    let answer = send(address, "GET /one?x=1 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("no parameter is taken here"), "{answer}");
}

#[tokio::test]
async fn a_listener_that_stops_ends_idle_connections() {
    let (address, running) = start().await;
    let idle = send(address, "GET /one HTTP/1.1\r\nhost: h\r\n\r\n");
    let stop = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(running);
    };
    let (answer, ()) = tokio::join!(idle, stop);
    assert!(answer.ends_with("one"), "{answer}");
    assert!(TcpStream::connect(address).await.is_err());
}
