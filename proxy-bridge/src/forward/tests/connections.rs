//! Connections of clients: their time limits, and their ends.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: blog\r\n\r\n";

/// A client that sends bytes as they are.
async fn raw(server: &ForwardServer) -> TcpStream {
    TcpStream::connect(server.address().ip().unwrap()).await.unwrap()
}

/// Reads until the answer `r1` is there.
async fn read_answer(client: &mut TcpStream) {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\nr1") {
        let byte = timeout(LONG, client.read_u8()).await.expect("an answer in time").unwrap();
        read.push(byte);
    }
    assert!(read.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

/// Reads until the connection is closed.
async fn rest(client: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    // A reset is an end too.
    let _ = timeout(LONG, client.read_to_end(&mut read)).await.expect("it is closed in time");
    read
}

#[tokio::test]
async fn a_head_that_takes_too_long_is_cut_off() {
    let fake = FakeRouter::start("r1").await;
    let limits = ListenerLimits { head_timeout: Duration::from_millis(50), ..ListenerLimits::default() };
    let (server, _routers) = limiting(&[&fake], limits).await;
    let (mut silent, mut slow) = (raw(&server).await, raw(&server).await);
    slow.write_all(&GET[..9]).await.unwrap();
    assert_eq!(rest(&mut silent).await, b"");
    assert!(rest(&mut slow).await.starts_with(b"HTTP/1.1 408 "));
    let mut later = raw(&server).await;
    later.write_all(GET).await.unwrap();
    read_answer(&mut later).await;
    later.write_all(&GET[..9]).await.unwrap();
    assert!(rest(&mut later).await.starts_with(b"HTTP/1.1 408 "), "the second head of a connection too");
}

#[tokio::test]
async fn a_connection_between_requests_and_a_long_answer_are_not_cut_off_as_slow_heads_are() {
    let fake = FakeRouter::start("r1").await;
    let limits = ListenerLimits { head_timeout: Duration::from_millis(50), ..ListenerLimits::default() };
    let (server, _routers) = limiting(&[&fake], limits).await;
    let mut client = raw(&server).await;
    client.write_all(GET).await.unwrap();
    read_answer(&mut client).await;
    // Another connection is cut off meanwhile, so the head timeout has passed.
    assert_eq!(rest(&mut raw(&server).await).await, b"");
    let (arrived, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let signals = (arrived.clone(), go.clone());
    fake.answers(move |_| {
        let (arrived, go) = signals.clone();
        async move {
            arrived.notify_one();
            go.notified().await;
            Ok(answer(200, "r1"))
        }
    });
    client.write_all(GET).await.unwrap();
    timeout(LONG, arrived.notified()).await.unwrap();
    assert_eq!(rest(&mut raw(&server).await).await, b"");
    go.notify_one();
    read_answer(&mut client).await;
}

#[tokio::test]
async fn a_connection_that_is_idle_for_too_long_is_closed() {
    let fake = FakeRouter::start("r1").await;
    let limits = ListenerLimits { idle_timeout: Duration::from_millis(50), ..ListenerLimits::default() };
    let (server, _routers) = limiting(&[&fake], limits).await;
    let mut client = raw(&server).await;
    client.write_all(GET).await.unwrap();
    read_answer(&mut client).await;
    assert_eq!(rest(&mut client).await, b"");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let fake = FakeRouter::start("r1").await;
    let (server, _routers) = forwarding(&[&fake]).await;
    let mut client = raw(&server).await;
    let head = format!("GET / HTTP/1.1\r\nhost: blog\r\nx: {}\r\n\r\n", "x".repeat(70_000));
    client.write_all(head.as_bytes()).await.unwrap();
    assert!(rest(&mut client).await.starts_with(b"HTTP/1.1 431 "));
}

#[tokio::test]
async fn a_stopping_server_closes_idle_connections_and_finishes_busy_ones() {
    let fake = FakeRouter::start("r1").await;
    let (server, _routers) = forwarding(&[&fake]).await;
    let address = server.address().ip().unwrap();
    let (mut idle, mut fresh) = (raw(&server).await, raw(&server).await);
    idle.write_all(GET).await.unwrap();
    read_answer(&mut idle).await;
    // A second on the same connection: so the fresh one, which came before, is accepted too.
    idle.write_all(GET).await.unwrap();
    read_answer(&mut idle).await;
    let answer_now = Arc::new(Notify::new());
    let mut paths = waiting(&fake, answer_now.clone());
    let pending = tokio::spawn(async move { text(try_ask(address, get("/")).await.unwrap()).await });
    next(&mut paths).await;
    let stopping = tokio::spawn(server.stop(LONG));
    assert_eq!(rest(&mut idle).await, b"");
    assert_eq!(rest(&mut fresh).await, b"");
    let closed = async { while TcpStream::connect(address).await.is_ok() {} };
    timeout(LONG, closed).await.expect("the connection is closed");
    answer_now.notify_one();
    assert_eq!(pending.await.unwrap(), "late");
    timeout(LONG, stopping).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_outlasts_the_grace_is_cut_off() {
    let fake = FakeRouter::start("r1").await;
    let mut paths = waiting(&fake, Arc::default());
    let (server, routers) = forwarding(&[&fake]).await;
    let address = server.address().ip().unwrap();
    let pending = tokio::spawn(async move { try_ask(address, get("/")).await.map(|_| ()) });
    next(&mut paths).await;
    server.stop(Duration::ZERO).await;
    assert!(pending.await.unwrap().is_err());
    assert_eq!(routers.all()[0].in_flight(), 0);
}
