//! Bodies that stream both ways, clients that go away, and WebSockets.

use futures_util::{SinkExt, StreamExt};
use switchyard_integration::client::{Upload, post, request};
use switchyard_integration::fixtures::{ABORTS, UNREAD, lasting};
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn each_chunk_is_echoed_before_the_next_is_sent() {
    let volume = Volume::with("a", lasting("one"));
    let router = Router::start(&volume).await;
    let (upload, request) = Upload::post("/a/echo");
    let mut connection = router.public.connect().await;
    upload.send("0").await;
    let mut stream = connection.stream(request).await;
    assert_eq!(stream.next().await.as_deref(), Some("one 0"));
    for index in 1..20 {
        upload.send(index.to_string()).await;
        assert_eq!(stream.next().await, Some(format!("one {index}")));
    }
    upload.end();
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn large_bodies_arrive_whole() {
    let main = "export default { fetch: async (r) => new Response(await r.arrayBuffer()) };";
    let volume = Volume::with("a", main);
    let router = Router::start(&volume).await;
    let body: Vec<u8> =
        (0..8 << 20).map(|index: u32| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let reply = router.public.send(post("/a/", body.clone())).await;
    assert!(reply.status == 200 && reply.body == body, "{} with {} bytes", reply.status, reply.body.len());
}

#[tokio::test]
async fn a_client_that_does_not_read_slows_the_project_down() {
    let volume = Volume::with("a", UNREAD);
    let router = Router::start(&volume).await;
    let mut connection = router.public.connect().await;
    let _unread = connection.stream(request("/a/")).await;
    let settled = async {
        let (mut made, mut asked_since) = (0, 0);
        while asked_since < 40 {
            let now: u64 = router.public.get("/a/made").await.text().parse().unwrap();
            asked_since = if now == made { asked_since + 1 } else { 0 };
            made = now;
        }
        made
    };
    let made = within("no more is made", settled).await;
    assert!(made < 64 << 20, "{made} bytes were produced without a reader");
}

#[tokio::test]
async fn a_client_that_goes_away_reaches_the_requests_signal() {
    let volume = Volume::with("a", ABORTS);
    let router = Router::start(&volume).await;
    let mut connection = router.public.connect().await;
    let mut stream = connection.stream(request("/a/stream")).await;
    assert_eq!(stream.next().await.as_deref(), Some("1"));
    drop((stream, connection));
    eventually("the handler is notified", || async { router.public.get("/a/counts").await.text() == "1 1" })
        .await;
}

#[tokio::test]
async fn a_client_that_goes_away_before_the_answer_reaches_the_requests_signal() {
    let volume = Volume::with("a", ABORTS);
    let router = Router::start(&volume).await;
    let client = router.public.clone();
    let asking = tokio::spawn(async move { client.connect().await.try_send(request("/a/never")).await });
    let counts = || async { router.public.get("/a/counts").await.text() };
    eventually("the request has begun", || async { counts().await == "1 0" }).await;
    asking.abort();
    eventually("the handler is notified", || async { counts().await == "1 1" }).await;
}

#[tokio::test]
async fn a_stream_of_http_2_that_is_reset_reaches_the_requests_signal() {
    let volume = Volume::with("a", ABORTS);
    let router = Router::start(&volume).await;
    let mut connection = router.public.connect_h2c().await;
    let mut shared = connection.share().unwrap();
    let asking = tokio::spawn(async move { shared.try_send(request("/a/never")).await });
    let counts = || async { router.public.get("/a/counts").await.text() };
    eventually("the request has begun", || async { counts().await == "1 0" }).await;
    asking.abort();
    eventually("the handler is notified", || async { counts().await == "1 1" }).await;
    assert_eq!(connection.get("/a/counts").await.text(), "1 1");
}

#[tokio::test]
async fn a_websocket_passes_messages_both_ways_until_it_is_closed() {
    let volume = Volume::with("a", lasting("one"));
    let router = Router::start(&volume).await;
    let mut socket = router.public.websocket("/a/").await.unwrap();
    for index in 0..10 {
        socket.send(Message::text(index.to_string())).await.unwrap();
        let message = within("an echo", socket.next()).await.unwrap().unwrap();
        assert_eq!(message, Message::text(format!("one {index}")));
    }
    socket.close(None).await.unwrap();
    while within("the other end closes too", socket.next()).await.is_some() {}
    drop(socket);
    eventually("it is no longer in flight", || async { router.admin.project("a").await.in_flight == 0 })
        .await;
}

#[tokio::test]
async fn an_upgrade_that_the_project_does_not_want_is_answered_as_any_request() {
    let main = "export default { fetch: () => new Response('no', { status: 426 }) };";
    let volume = Volume::with("a", main);
    let router = Router::start(&volume).await;
    let error = router.public.websocket("/a/").await.unwrap_err();
    assert!(error.to_string().contains("426"), "{error}");
}
