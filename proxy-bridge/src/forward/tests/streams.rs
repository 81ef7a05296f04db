//! Bodies that go through piece by piece, and tunnels.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// A body of the pieces that are sent, which ends with the sender.
fn piecewise() -> (mpsc::UnboundedSender<&'static str>, Body) {
    let (pieces, sent) = mpsc::unbounded_channel::<&'static str>();
    let frames = stream::unfold(sent, |mut sent| async {
        let piece = sent.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(piece))), sent))
    });
    (pieces, StreamBody::new(frames).boxed_unsync())
}

async fn piece(body: &mut Incoming) -> Option<Bytes> {
    let frame = timeout(LONG, body.frame()).await.expect("a piece in time")?;
    Some(frame.unwrap().into_data().unwrap())
}

#[tokio::test]
async fn an_upload_arrives_piece_by_piece() {
    let fake = FakeRouter::start("r1").await;
    let (seen_in, mut seen) = mpsc::unbounded_channel();
    fake.answers(move |request| {
        let seen = seen_in.clone();
        async move {
            let mut body = request.into_body();
            while let Some(piece) = piece(&mut body).await {
                let _ = seen.send(piece);
            }
            Ok(answer(200, "all"))
        }
    });
    let (server, _routers) = forwarding(&[&fake]).await;
    let (pieces, body) = piecewise();
    let (address, request) = (server.address().ip().unwrap(), post("/", "").map(|_| body));
    let pending = tokio::spawn(async move { text(try_ask(address, request).await.unwrap()).await });
    for sent in ["first", "second"] {
        pieces.send(sent).unwrap();
        assert_eq!(next(&mut seen).await, sent, "it is there before the next one is sent");
    }
    drop(pieces);
    assert_eq!(pending.await.unwrap(), "all");
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it() {
    let fake = FakeRouter::start("r1").await;
    let mut heads = echoing(&fake);
    let (server, _routers) = forwarding(&[&fake]).await;
    let mut client = TcpStream::connect(server.address().ip().unwrap()).await.unwrap();
    let head = b"POST / HTTP/1.1\r\nhost: blog\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    client.write_all(head).await.unwrap();
    let mut bytes = [0; 25];
    timeout(LONG, client.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(&bytes, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"body").await.unwrap();
    timeout(LONG, client.read_exact(&mut bytes[..15])).await.unwrap().unwrap();
    assert_eq!(&bytes[..15], b"HTTP/1.1 200 OK");
    assert!(!next(&mut heads).await.headers.contains_key("expect"));
}

#[tokio::test]
async fn an_answer_arrives_piece_by_piece() {
    let fake = FakeRouter::start("r1").await;
    let (pieces, body) = piecewise();
    let body = Arc::new(std::sync::Mutex::new(Some(body)));
    fake.answers(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async move { Ok(Response::new(body)) }
    });
    let (server, routers) = forwarding(&[&fake]).await;
    let mut received = ask(&server, get("/")).await;
    for sent in ["first", "second"] {
        pieces.send(sent).unwrap();
        assert_eq!(piece(received.body_mut()).await.unwrap(), sent);
    }
    assert_eq!(routers.all()[0].in_flight(), 1);
    drop(pieces);
    assert_eq!(piece(received.body_mut()).await, None);
}

/// Sends a message when it is dropped.
struct DropReport(mpsc::UnboundedSender<()>);

impl Drop for DropReport {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_its_request_at_the_router() {
    let fake = FakeRouter::start("r1").await;
    let (arrived_in, mut arrived) = mpsc::unbounded_channel();
    let (ended_in, mut ended) = mpsc::unbounded_channel();
    fake.answers(move |_| {
        let (arrived, report) = (arrived_in.clone(), DropReport(ended_in.clone()));
        async move {
            let _report = report;
            let _ = arrived.send(());
            std::future::pending().await
        }
    });
    let (server, _routers) = forwarding(&[&fake]).await;
    let mut client = TcpStream::connect(server.address().ip().unwrap()).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: blog\r\n\r\n").await.unwrap();
    next(&mut arrived).await;
    drop(client);
    next(&mut ended).await;
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_the_answer_at_the_router() {
    let fake = FakeRouter::start("r1").await;
    let (ended_in, mut ended) = mpsc::unbounded_channel();
    fake.answers(move |_| {
        let report = DropReport(ended_in.clone());
        async move {
            let endless = stream::unfold(report, |report| async {
                Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0; 1024]))), report))
            });
            Ok(Response::new(StreamBody::new(endless).boxed_unsync()))
        }
    });
    let (server, _routers) = forwarding(&[&fake]).await;
    let mut received = ask(&server, get("/")).await;
    assert!(piece(received.body_mut()).await.is_some());
    drop(received);
    next(&mut ended).await;
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_not_the_routers_fault() {
    let fake = FakeRouter::start("r1").await;
    let (arrived_in, mut arrived) = mpsc::unbounded_channel();
    let (broke_in, mut broke) = mpsc::unbounded_channel();
    fake.answers(move |request| {
        let (arrived, broke) = (arrived_in.clone(), DropReport(broke_in.clone()));
        async move {
            let _broke = broke;
            let _ = arrived.send(());
            let _ = request.into_body().collect().await;
            Ok(answer(200, ""))
        }
    });
    let (server, routers) = forwarding(&[&fake]).await;
    let mut client = TcpStream::connect(server.address().ip().unwrap()).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nhost: blog\r\ncontent-length: 9\r\n\r\nhalf").await.unwrap();
    next(&mut arrived).await;
    drop(client);
    next(&mut broke).await;
    assert!(routers.all()[0].is_ready());
    assert_eq!(server.metrics().failed(), 0);
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off_for_the_client_too() {
    let fake = FakeRouter::start("r1").await;
    let (pieces, body) = piecewise();
    let body = Arc::new(std::sync::Mutex::new(Some(body)));
    fake.answers(move |_| {
        let mut answer = Response::new(body.lock().unwrap().take().unwrap());
        answer.headers_mut().insert("content-length", "8".parse().unwrap());
        async move { Ok(answer) }
    });
    let (server, _routers) = forwarding(&[&fake]).await;
    let mut received = ask(&server, get("/")).await;
    pieces.send("half").unwrap();
    assert_eq!(piece(received.body_mut()).await.unwrap(), "half");
    drop(pieces);
    assert!(timeout(LONG, received.into_body().collect()).await.unwrap().is_err());
}

/// Makes a router switch to a protocol in which it sends everything twice.
fn echoing_twice(fake: &FakeRouter) {
    fake.answers(|mut request: Request<Incoming>| async move {
        let client = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut client = TokioIo::new(client.await.unwrap());
            client.write_all(b"hello;").await.unwrap();
            let mut bytes = [0; 64];
            while let Ok(length @ 1..) = client.read(&mut bytes).await {
                client.write_all(&bytes[..length].repeat(2)).await.unwrap();
            }
            let _ = client.write_all(b"bye").await;
        });
        let mut switched = answer(101, "");
        switched.headers_mut().insert("connection", "Upgrade".parse().unwrap());
        switched.headers_mut().insert("upgrade", request.headers()["upgrade"].clone());
        switched.headers_mut().insert("sec-websocket-accept", "yes".parse().unwrap());
        Ok(switched)
    });
}

fn websocket() -> Request<Body> {
    let mut request = get("/chat");
    request.headers_mut().insert("connection", "keep-alive, Upgrade".parse().unwrap());
    request.headers_mut().insert("upgrade", "websocket".parse().unwrap());
    request
}

#[tokio::test]
async fn a_switch_of_protocols_is_a_tunnel_both_ways() {
    let fake = FakeRouter::start("r1").await;
    echoing_twice(&fake);
    let (server, routers) = forwarding(&[&fake]).await;
    let mut switched = ask(&server, websocket()).await;
    assert_eq!(switched.status(), 101);
    assert_eq!(switched.headers()["upgrade"], "websocket");
    assert_eq!(switched.headers()["sec-websocket-accept"], "yes");
    let mut tunnel = TokioIo::new(hyper::upgrade::on(&mut switched).await.unwrap());
    let mut bytes = [0; 6];
    timeout(LONG, tunnel.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(&bytes, b"hello;");
    for _ in 0..2 {
        tunnel.write_all(b"abc").await.unwrap();
        timeout(LONG, tunnel.read_exact(&mut bytes)).await.unwrap().unwrap();
        assert_eq!(&bytes, b"abcabc");
    }
    assert_eq!(routers.all()[0].in_flight(), 1, "as long as it is open");
    tunnel.shutdown().await.unwrap();
    let mut rest = Vec::new();
    timeout(LONG, tunnel.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert_eq!(rest, b"bye", "a client that has closed its sending side may keep reading");
    assert_eq!(server.metrics().requests()[0].1, [1, 0, 0, 0, 0]);
    server.stop(LONG).await;
    assert_eq!(routers.all()[0].in_flight(), 0);
}

#[tokio::test]
async fn a_switch_that_is_refused_is_an_answer_like_any_other() {
    let fake = FakeRouter::start("r1").await;
    let mut heads = echoing(&fake);
    let (server, _routers) = forwarding(&[&fake]).await;
    assert_eq!(ask(&server, websocket()).await.status(), 200);
    let head = next(&mut heads).await;
    assert_eq!(head.headers["connection"], "upgrade");
    assert_eq!(head.headers["upgrade"], "websocket");
    assert_eq!(answered(&server, get("/")).await.0, 200);
}
