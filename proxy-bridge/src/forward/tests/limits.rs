//! The limits on clients, which are those of the routers' public listeners.

use hyper::client::conn::http2;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const SHORT: Duration = Duration::from_millis(50);

const GET: &str = "GET / HTTP/1.1\r\nhost: blog\r\n\r\n";

async fn raw(server: &ForwardServer) -> TcpStream {
    TcpStream::connect(server.address().ip().unwrap()).await.unwrap()
}

/// Sends bytes, and returns what comes until the connection is closed.
async fn exchange(client: &mut TcpStream, sent: impl AsRef<[u8]>) -> String {
    // The connection may be closed already.
    let _ = client.write_all(sent.as_ref()).await;
    let mut read = Vec::new();
    let _ = timeout(LONG, client.read_to_end(&mut read)).await.expect("it is closed in time");
    String::from_utf8_lossy(&read).into_owned()
}

/// A connection that speaks HTTP/2.
async fn streams(server: &ForwardServer) -> http2::SendRequest<Body> {
    let stream = TokioIo::new(raw(server).await);
    let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn absolute(path: &str) -> Request<Body> {
    Request::builder().uri(format!("http://blog.example.com{path}")).body(full("")).unwrap()
}

/// Makes a router respond with more than fits into the buffers of the connections.
fn endless(fake: &FakeRouter) {
    fake.answers(|_| async {
        let piece = || Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b'x'; 1 << 16])));
        Ok(Response::new(StreamBody::new(stream::repeat_with(piece)).boxed_unsync()))
    });
}

#[tokio::test]
async fn a_client_has_a_limited_number_of_connections_and_one_more_is_closed_at_once() {
    let fake = FakeRouter::start("r1").await;
    let limits = ListenerLimits { max_client_connections: 2, ..ListenerLimits::default() };
    let (server, _routers) = limiting(&[&fake], limits).await;
    let (first, _second) = (raw(&server).await, raw(&server).await);
    assert_eq!(exchange(&mut raw(&server).await, GET).await, "");
    drop(first);
    let closing = GET.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    let admitted = async { while exchange(&mut raw(&server).await, &closing).await.is_empty() {} };
    timeout(LONG, admitted).await.expect("another one is admitted in time");
}

#[tokio::test]
async fn all_connections_together_are_limited_and_a_trusted_proxy_may_use_them_all() {
    let fake = FakeRouter::start("r1").await;
    let limits =
        ListenerLimits { max_connections: 2, max_client_connections: 1, ..ListenerLimits::default() };
    let trusted = "127.0.0.1".parse().unwrap();
    let settings = ForwardSettings { trusted, limits, ..defaults() };
    let (server, _routers) = forwarding_with(&[&fake], settings).await;
    let (_first, _second) = (raw(&server).await, raw(&server).await);
    assert_eq!(exchange(&mut raw(&server).await, GET).await, "");
    let mut registry = prometheus_client::registry::Registry::default();
    server.metrics().register(&mut registry);
    let mut page = String::new();
    prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
    for line in ["connections 2", "connections_refused_total{bound=\"all\"} 1"] {
        assert!(page.contains(&format!("switchyard_bridge_forward_{line}\n")), "{line}: {page}");
    }
}

#[tokio::test]
async fn a_connection_carries_a_limited_number_of_requests() {
    let fake = FakeRouter::start("r1").await;
    let limits = ListenerLimits { max_connection_requests: 3, ..ListenerLimits::default() };
    let (server, _routers) = limiting(&[&fake], limits).await;
    let answers = exchange(&mut raw(&server).await, GET.repeat(5)).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
    assert_eq!(answers.matches("connection: close").count(), 1, "{answers}");
    let mut streams = streams(&server).await;
    for _ in 0..3 {
        assert_eq!(streams.send_request(absolute("/")).await.unwrap().status(), 200);
    }
    let refused = async { while streams.send_request(absolute("/")).await.is_ok() {} };
    timeout(LONG, refused).await.expect("no more are taken");
}

#[tokio::test]
async fn a_body_that_stops_is_answered_and_cut_off() {
    let fake = FakeRouter::start("r1").await;
    let _heads = echoing(&fake);
    let limits = ListenerLimits { body_timeout: SHORT, ..ListenerLimits::default() };
    let (server, routers) = limiting(&[&fake], limits).await;
    for body in [
        "content-length: 10\r\n\r\n",
        "content-length: 10\r\n\r\n123",
        "transfer-encoding: chunked\r\n\r\n5\r\n12",
    ] {
        let answer =
            exchange(&mut raw(&server).await, format!("POST / HTTP/1.1\r\nhost: blog\r\n{body}")).await;
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("problem:body-timeout"), "{answer}");
    }
    in_flight(&routers, 0).await;
    assert_eq!(server.metrics().failed(), 0, "the router is not at fault");
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut_off() {
    let fake = FakeRouter::start("r1").await;
    endless(&fake);
    let limits = ListenerLimits { body_timeout: SHORT, ..ListenerLimits::default() };
    let (server, routers) = limiting(&[&fake], limits).await;
    let mut client = raw(&server).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    in_flight(&routers, 1).await;
    in_flight(&routers, 0).await;
    let mut streams = streams(&server).await;
    let unread = streams.send_request(absolute("/")).await.unwrap();
    in_flight(&routers, 0).await;
    drop(unread);
}

#[tokio::test]
async fn requests_come_on_streams_of_http_2_too() {
    let fake = FakeRouter::start("r1").await;
    let mut heads = echoing(&fake);
    let (server, _routers) = forwarding(&[&fake]).await;
    let mut streams = streams(&server).await;
    let request = absolute("/x").map(|_| full("body"));
    let received = streams.send_request(request).await.unwrap();
    assert_eq!((received.status().as_u16(), text(received).await), (200, "body".to_owned()));
    let head = next(&mut heads).await;
    assert_eq!((head.uri.path(), head.headers["host"].as_bytes()), ("/x", &b"blog.example.com"[..]));
}

#[tokio::test]
async fn a_request_gets_an_id_that_logs_can_show() {
    let fake = FakeRouter::start("r1").await;
    let mut heads = echoing(&fake);
    let (server, _routers) = forwarding(&[&fake]).await;
    for (given, kept) in [("my-1", true), ("a b", false)] {
        let mut request = get("/");
        request.headers_mut().insert("x-request-id", given.parse().unwrap());
        assert_eq!(answered(&server, request).await.0, 200);
        let head = next(&mut heads).await;
        assert_eq!(head.headers["x-request-id"] == given, kept, "{given}");
    }
}
