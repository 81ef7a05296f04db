//! Requests that are sent again, and requests that are not.

use super::*;

/// Makes a router hang up on each request, and count them.
fn hanging_up(fake: &FakeRouter) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    fake.answers(move |request| {
        counted.fetch_add(1, SeqCst);
        async move {
            let _ = request.into_body().collect().await;
            Answered::Err("hung up")
        }
    });
    count
}

#[tokio::test]
async fn a_request_that_was_not_sent_goes_to_another_router_whatever_it_is() {
    let (mut away, there) = (FakeRouter::start("r1").await, FakeRouter::start("r2").await);
    let mut heads = echoing(&there);
    let (server, _routers) = forwarding(&[&away, &there]).await;
    away.stop_public().await;
    // The first router is picked first.
    assert_eq!(answered(&server, post("/", "the body")).await, (200, "the body".to_owned()));
    assert_eq!(next(&mut heads).await.method, Method::POST);
    assert_eq!(server.metrics().retries(), 1);
    assert!(heads.try_recv().is_err(), "it was sent once");
}

#[tokio::test]
async fn a_router_that_refuses_connections_gets_no_request_until_it_is_ready() {
    let (mut away, there) = (FakeRouter::start("r1").await, FakeRouter::start("r2").await);
    let (server, routers) = forwarding(&[&away, &there]).await;
    away.go_away().await;
    for _ in 0..4 {
        assert_eq!(answered(&server, get("/")).await, (200, "r2".to_owned()));
    }
    until(&routers, |routers| !routers.all()[0].is_ready()).await;
    away.come_back().await;
    all_ready(&routers).await;
    let mut by = vec![answered(&server, get("/")).await.1, answered(&server, get("/")).await.1];
    by.sort();
    assert_eq!(by, ["r1", "r2"]);
}

#[tokio::test]
async fn the_only_router_is_tried_again_after_one_connection_failed() {
    let fake = FakeRouter::start("r1").await;
    let (server, routers) = forwarding(&[&fake]).await;
    routers.all()[0].refused();
    assert_eq!(answered(&server, post("/", "x")).await, (200, "r1".to_owned()));
}

#[tokio::test]
async fn when_no_router_takes_a_connection_the_answer_is_503() {
    let mut fake = FakeRouter::start("r1").await;
    let (server, _routers) = forwarding(&[&fake]).await;
    fake.stop_public().await;
    let (status, problem) = answered(&server, post("/", "x")).await;
    assert_eq!(status, 503);
    assert!(problem.contains("no-routers"), "{problem}");
}

#[tokio::test]
async fn a_request_that_may_have_been_processed_is_not_repeated() {
    let (one, two) = (FakeRouter::start("r1").await, FakeRouter::start("r2").await);
    let (by_one, by_two) = (hanging_up(&one), hanging_up(&two));
    let (server, _routers) = forwarding(&[&one, &two]).await;
    let mut with_body = get("/");
    *with_body.body_mut() = full("a body");
    for (request, sent) in [(post("/", "x"), 1), (post("/", ""), 2), (with_body, 3)] {
        let (status, problem) = answered(&server, request).await;
        assert_eq!(status, 502);
        assert!(problem.contains("urn:switchyard:problem:router-failed"), "{problem}");
        assert_eq!(by_one.load(SeqCst) + by_two.load(SeqCst), sent);
    }
    assert_eq!((server.metrics().failed(), server.metrics().retries()), (3, 0));
}

#[tokio::test]
async fn a_safe_request_is_tried_once_on_each_router() {
    let (one, two, three) =
        (FakeRouter::start("r1").await, FakeRouter::start("r2").await, FakeRouter::start("r3").await);
    let counts = [hanging_up(&one), hanging_up(&two)];
    let (server, _routers) = forwarding(&[&one, &two, &three]).await;
    assert_eq!(answered(&server, get("/")).await, (200, "r3".to_owned()));
    let third = hanging_up(&three);
    assert_eq!(answered(&server, request(Method::OPTIONS, "/")).await.0, 502);
    assert_eq!(counts.map(|count| count.load(SeqCst)), [2, 2]);
    // The connection had been idle, and might have been the only dead one.
    assert_eq!(third.load(SeqCst), 2);
}

#[tokio::test]
async fn a_safe_request_survives_that_a_kept_connection_has_died() {
    let fake = FakeRouter::start("r1").await;
    let (server, _routers) = forwarding(&[&fake]).await;
    assert_eq!(answered(&server, get("/")).await.0, 200);
    let count = AtomicUsize::new(0);
    fake.answers(move |_| {
        let dies = count.fetch_add(1, SeqCst) == 0;
        async move { if dies { Err("hung up") } else { Ok(answer(200, "again")) } }
    });
    assert_eq!(answered(&server, get("/")).await, (200, "again".to_owned()));
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_noticed_before_anything_is_sent() {
    let mut fake = FakeRouter::start("r1").await;
    let (server, routers) = forwarding(&[&fake]).await;
    assert_eq!(answered(&server, post("/", "x")).await.0, 200);
    fake.go_away().await;
    until(&routers, |routers| !routers.all()[0].is_reachable()).await;
    fake.come_back().await;
    all_ready(&routers).await;
    assert_eq!(answered(&server, post("/", "x")).await, (200, "r1".to_owned()));
}

#[tokio::test]
async fn a_router_that_is_stopping_passes_safe_requests_on_and_others_not() {
    let (stopping, other) = (FakeRouter::start("r1").await, FakeRouter::start("r2").await);
    let (arrived, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let signals = (arrived.clone(), go.clone());
    stopping.answers(move |_| {
        let (arrived, go) = signals.clone();
        async move {
            arrived.notify_one();
            go.notified().await;
            Ok(answer(503, "stopping"))
        }
    });
    let (server, routers) = forwarding(&[&stopping, &other]).await;
    for (method, expected) in [(Method::GET, (200, "r2")), (Method::POST, (503, "stopping"))] {
        stopping.set_ready(true);
        other.set_ready(false);
        until(&routers, |routers| routers.all()[0].is_ready() && !routers.all()[1].is_ready()).await;
        let (address, sent) = (server.address().ip().unwrap(), request(method, "/"));
        let pending = tokio::spawn(async move {
            let received = try_ask(address, sent).await.unwrap();
            (received.status().as_u16(), text(received).await)
        });
        timeout(LONG, arrived.notified()).await.unwrap();
        stopping.set_ready(false);
        other.set_ready(true);
        until(&routers, |routers| !routers.all()[0].is_ready() && routers.all()[1].is_ready()).await;
        go.notify_one();
        assert_eq!(pending.await.unwrap(), (expected.0, expected.1.to_owned()));
    }
}

#[tokio::test]
async fn a_503_of_the_project_itself_passes() {
    let (one, two) = (FakeRouter::start("r1").await, FakeRouter::start("r2").await);
    for fake in [&one, &two] {
        fake.answers(|_| async {
            let mut answer = answer(503, "mine");
            answer.headers_mut().insert("x-switchyard-version", "blog@abababababab".parse().unwrap());
            Ok(answer)
        });
    }
    let (server, _routers) = forwarding(&[&one, &two]).await;
    assert_eq!(answered(&server, get("/")).await, (503, "mine".to_owned()));
    assert_eq!(server.metrics().retries(), 0);
}
