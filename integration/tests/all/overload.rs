//! More requests than a project may have at once: some wait in the queue, the rest are refused, and
//! no other project notices.

use futures_util::{SinkExt as _, StreamExt as _};
use switchyard_integration::bridge::fronts::Fronts;
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

/// A router with a project that takes one request at a time, and a bridge in front of it.
async fn one_at_a_time(main: impl Into<String>) -> (Volume, Fronts) {
    let volume = Volume::with("a", main);
    volume.project("b").file("main.ts", hello("b")).write();
    let fronts = Fronts::start_with(&volume, &[("max-in-flight", 1)]).await;
    (volume, fronts)
}

fn asks(client: &Client, path: &'static str) -> JoinHandle<Reply> {
    let client = client.clone();
    tokio::spawn(async move { client.get(path).await })
}

/// A request that is in flight until its body ends.
async fn holds(router: &Router, public: &Client, count: usize) -> (Upload, JoinHandle<Reply>) {
    let (upload, request) = Upload::post("/a/wait");
    let client = public.clone();
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
async fn who_came_first_is_served_first_whatever_connection_it_came_on() {
    let (_volume, fronts) = one_at_a_time(COUNTS).await;
    let router = fronts.router();
    for (_, public) in fronts.each() {
        let before: usize = public.get("/a/").await.text().parse().unwrap();
        let (upload, held) = holds(router, public, 1).await;
        let mut line = Vec::new();
        for index in 1..=8 {
            line.push(asks(public, "/a/"));
            waiting(router, index).await;
        }
        upload.end();
        assert_eq!(reply(held).await.text(), (before + 1).to_string());
        for (index, waited) in line.into_iter().enumerate() {
            assert_eq!(reply(waited).await.text(), (before + index + 2).to_string());
        }
    }
}

#[tokio::test]
async fn when_the_line_is_full_the_answer_is_503_at_once_and_other_projects_have_no_part_in_it() {
    let (_volume, fronts) = one_at_a_time(lasting("one")).await;
    let router = fronts.router();
    for (_, public) in fronts.each() {
        let (upload, held) = holds(router, public, 1).await;
        let line: Vec<_> = (0..QUEUE).map(|_| asks(public, "/a/")).collect();
        waiting(router, QUEUE).await;
        let refused = public.get("/a/").await;
        refused.assert_problem(503, "overloaded");
        assert!(refused.header("retry-after").is_some());
        assert_eq!(public.get("/b/").await.text(), "b");
        assert_eq!(router.admin.project("a").await.waiting, QUEUE);
        upload.end();
        assert_eq!(reply(held).await.text(), "one");
        for waited in line {
            assert_eq!(reply(waited).await.status, 200);
        }
        assert_eq!(public.get("/a/").await.text(), "one");
    }
}

#[tokio::test]
async fn who_hangs_up_in_line_leaves_it() {
    let (_volume, fronts) = one_at_a_time(COUNTS).await;
    let router = fronts.router();
    for (_, public) in fronts.each() {
        let before: usize = public.get("/a/").await.text().parse().unwrap();
        let (upload, held) = holds(router, public, 1).await;
        let leaves = asks(public, "/a/");
        waiting(router, 1).await;
        let stays = asks(public, "/a/");
        waiting(router, 2).await;
        leaves.abort();
        waiting(router, 1).await;
        upload.end();
        assert_eq!(reply(held).await.text(), (before + 1).to_string());
        assert_eq!(reply(stays).await.text(), (before + 2).to_string());
    }
}

#[tokio::test]
async fn a_new_version_has_no_more_places_than_the_one_before_left() {
    let (volume, fronts) = one_at_a_time(lasting("one")).await;
    let router = fronts.router();
    let public = &router.public;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let (upload, held) = holds(router, public, 1).await;
    volume.replace("a/main.ts", lasting("two"));
    events.wait_live("a").await;
    let waited = asks(public, "/a/");
    waiting(router, 1).await;
    upload.end();
    assert_eq!(reply(held).await.text(), "one");
    assert_eq!(reply(waited).await.text(), "two");
    events.wait_retired("a").await;
    let (upload, held) = holds(router, public, 1).await;
    let waited = asks(public, "/a/");
    waiting(router, 1).await;
    upload.end();
    assert_eq!((reply(held).await.text(), reply(waited).await.text()), ("two".into(), "two".into()));
}

#[tokio::test]
async fn a_websocket_leaves_its_place_to_others_and_is_drained_all_the_same() {
    let (volume, fronts) = one_at_a_time(lasting("one")).await;
    let router = fronts.router();
    let public = &router.public;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(public.websocket("/a/").await.unwrap());
    }
    assert_eq!(public.get("/a/").await.text(), "one");
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
