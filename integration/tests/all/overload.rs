//! More requests than a project may have at once: some wait in the queue, the rest are refused, and
//! no other project notices.

use futures_util::{SinkExt as _, StreamExt as _};
use switchyard_integration::client::{Client, Reply, Upload};
use switchyard_integration::fixtures::{hello, lasting};
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

/// The default length of the queue.
const QUEUE: usize = 100;

/// Answers with the number of answered requests, each once its body has ended.
const COUNTS: &str = "let count = 0;
    export default { fetch: async (request) => { await request.text(); return new Response(String(++count)); } };";

async fn one_at_a_time(main: impl Into<String>) -> (Volume, Router) {
    let volume = Volume::with("a", main);
    volume.project("b").file("main.ts", hello("b")).write();
    let router = Router::builder(&volume).flag("max-in-flight", 1).start().await;
    (volume, router)
}

fn asks(client: &Client, path: &'static str) -> JoinHandle<Reply> {
    let client = client.clone();
    tokio::spawn(async move { client.get(path).await })
}

/// A request that is in flight until its body ends.
async fn holds(router: &Router, count: usize) -> (Upload, JoinHandle<Reply>) {
    let (upload, request) = Upload::post("/a/wait");
    let client = router.public.clone();
    let reply = tokio::spawn(async move { client.send(request).await });
    eventually("it is in flight", || async { router.admin.project("a").await.in_flight == count }).await;
    (upload, reply)
}

async fn waiting(router: &Router, count: usize) {
    eventually("all of them wait", || async { router.admin.project("a").await.waiting == count }).await;
}

async fn reply(reply: JoinHandle<Reply>) -> Reply {
    within("a request that waited is answered", reply).await.expect("it does not panic")
}

#[tokio::test]
async fn requests_are_served_in_order_of_arrival_across_connections() {
    let (_volume, router) = one_at_a_time(COUNTS).await;
    let (upload, held) = holds(&router, 1).await;
    let mut line = Vec::new();
    for index in 1..=8 {
        line.push(asks(&router.public, "/a/"));
        waiting(&router, index).await;
    }
    upload.end();
    assert_eq!(reply(held).await.text(), "1");
    for (index, waited) in line.into_iter().enumerate() {
        assert_eq!(reply(waited).await.text(), (index + 2).to_string());
    }
}

#[tokio::test]
async fn when_the_line_is_full_the_answer_is_503_at_once_and_other_projects_have_no_part_in_it() {
    let (_volume, router) = one_at_a_time(lasting("one")).await;
    let (upload, held) = holds(&router, 1).await;
    let line: Vec<_> = (0..QUEUE).map(|_| asks(&router.public, "/a/")).collect();
    waiting(&router, QUEUE).await;
    let refused = router.public.get("/a/").await;
    refused.assert_problem(503, "overloaded");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(router.public.get("/b/").await.text(), "b");
    assert_eq!(router.admin.project("a").await.waiting, QUEUE);
    upload.end();
    assert_eq!(reply(held).await.text(), "one");
    for waited in line {
        assert_eq!(reply(waited).await.status, 200);
    }
    assert_eq!(router.public.get("/a/").await.text(), "one");
}

#[tokio::test]
async fn a_client_that_disconnects_while_queued_leaves_the_queue() {
    let (_volume, router) = one_at_a_time(COUNTS).await;
    let (upload, held) = holds(&router, 1).await;
    let leaves = asks(&router.public, "/a/");
    waiting(&router, 1).await;
    let stays = asks(&router.public, "/a/");
    waiting(&router, 2).await;
    leaves.abort();
    waiting(&router, 1).await;
    upload.end();
    assert_eq!(reply(held).await.text(), "1");
    assert_eq!(reply(stays).await.text(), "2");
}

#[tokio::test]
async fn a_new_version_has_only_the_slots_that_its_predecessor_left() {
    let (volume, router) = one_at_a_time(lasting("one")).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let (upload, held) = holds(&router, 1).await;
    volume.replace("a/main.ts", lasting("two"));
    events.wait_live("a").await;
    let waited = asks(&router.public, "/a/");
    waiting(&router, 1).await;
    upload.end();
    assert_eq!(reply(held).await.text(), "one");
    assert_eq!(reply(waited).await.text(), "two");
    events.wait_retired("a").await;
    let (upload, held) = holds(&router, 1).await;
    let waited = asks(&router.public, "/a/");
    waiting(&router, 1).await;
    upload.end();
    assert_eq!((reply(held).await.text(), reply(waited).await.text()), ("two".into(), "two".into()));
}

#[tokio::test]
async fn a_websocket_frees_its_slot_and_is_still_drained() {
    let (volume, router) = one_at_a_time(lasting("one")).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(router.public.websocket("/a/").await.unwrap());
    }
    assert_eq!(router.public.get("/a/").await.text(), "one");
    volume.replace("a/main.ts", lasting("two"));
    events.wait_live("a").await;
    assert_eq!(router.admin.project("a").await.draining[0].in_flight, 3);
    for socket in &mut sockets {
        socket.send(Message::text("x")).await.unwrap();
        assert_eq!(within("an echo", socket.next()).await.unwrap().unwrap(), Message::text("one x"));
    }
    drop(sockets);
    events.wait_retired("a").await;
}
