use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use futures_util::stream;
use http::header::{HOST, RETRY_AFTER};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};

use super::*;
use crate::metrics::MetricSource as _;
use crate::routers::testing::{
    Answered, Body, FakeRouter, LONG, all_ready, answer, digest, following, full, until,
};
use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::project::ProjectName;

mod connections;
mod limits;
mod retries;
mod streams;

fn defaults() -> ForwardSettings {
    let (trusted, limits) = (TrustedProxies::default(), ListenerLimits::default());
    // One thread has all connections to routers, so that tests know which of them are idle.
    let (request_timeout, first_router) = (Duration::from_secs(60), Duration::ZERO);
    ForwardSettings { trusted, request_timeout, limits, first_router, threads: Some(1) }
}

/// A bridge in front of these routers, all of them ready.
async fn forwarding(fakes: &[&FakeRouter]) -> (ForwardServer, Routers) {
    forwarding_with(fakes, defaults()).await
}

/// A bridge with other limits on clients.
async fn limiting(fakes: &[&FakeRouter], limits: ListenerLimits) -> (ForwardServer, Routers) {
    forwarding_with(fakes, ForwardSettings { limits, ..defaults() }).await
}

async fn forwarding_with(fakes: &[&FakeRouter], settings: ForwardSettings) -> (ForwardServer, Routers) {
    let routers = following(fakes);
    all_ready(&routers).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    (ForwardServer::start(listener.into(), settings, routers.clone()).unwrap(), routers)
}

fn request(method: Method, uri: &str) -> Request<Body> {
    Request::builder().method(method).uri(uri).header(HOST, "blog.example.com:81").body(full("")).unwrap()
}

fn get(uri: &str) -> Request<Body> {
    request(Method::GET, uri)
}

fn post(uri: &str, body: &'static str) -> Request<Body> {
    request(Method::POST, uri).map(|_| full(body))
}

/// Sends a request on a connection of its own.
async fn ask(server: &ForwardServer, request: Request<Body>) -> Response<Incoming> {
    try_ask(server.address().ip().unwrap(), request).await.unwrap()
}

async fn try_ask(address: SocketAddr, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    timeout(LONG, sender.send_request(request)).await.expect("an answer in time")
}

async fn text(answer: Response<Incoming>) -> String {
    let body = timeout(LONG, answer.into_body().collect()).await.expect("a body in time").unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

/// The status and the body of the response.
async fn answered(server: &ForwardServer, request: Request<Body>) -> (u16, String) {
    let answer = ask(server, request).await;
    (answer.status().as_u16(), text(answer).await)
}

/// Waits until the first router has `count` requests in flight.
async fn in_flight(routers: &Routers, count: usize) {
    let settled = async {
        while routers.all()[0].in_flight() != count {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(LONG, settled).await.expect("the requests are in flight in time");
}

async fn next<T>(received: &mut mpsc::UnboundedReceiver<T>) -> T {
    timeout(LONG, received.recv()).await.expect("it comes in time").unwrap()
}

/// Makes a router report the heads that it gets, and respond with the bodies that it gets.
fn echoing(fake: &FakeRouter) -> mpsc::UnboundedReceiver<http::request::Parts> {
    let (heads_in, heads) = mpsc::unbounded_channel();
    fake.answers(move |request| {
        let heads = heads_in.clone();
        async move {
            let (head, body) = request.into_parts();
            let _ = heads.send(head);
            let body = body.collect().await.map_err(|_| "the body broke off")?;
            Ok(answer(200, body.to_bytes()))
        }
    });
    heads
}

/// Makes a router report the paths that it gets, and respond only when it is notified.
fn waiting(fake: &FakeRouter, answer_now: Arc<Notify>) -> mpsc::UnboundedReceiver<String> {
    let (paths_in, paths) = mpsc::unbounded_channel();
    fake.answers(move |request| {
        let (paths, answer_now) = (paths_in.clone(), answer_now.clone());
        async move {
            let _ = paths.send(request.uri().path().to_owned());
            answer_now.notified().await;
            Ok(answer(200, "late"))
        }
    });
    paths
}

#[tokio::test]
async fn a_request_and_its_answer_arrive_unchanged() {
    let fake = FakeRouter::start("r1").await;
    let (heads_in, mut heads) = mpsc::unbounded_channel();
    fake.answers(move |request: Request<Incoming>| {
        let heads = heads_in.clone();
        async move {
            let (head, body) = request.into_parts();
            let _ = heads.send((head, body.collect().await.unwrap().to_bytes()));
            let mut answer = answer(418, "tea");
            let headers = answer.headers_mut();
            headers.insert("x-switchyard-version", "blog@abababababab".parse().unwrap());
            headers.append("set-cookie", "a=1".parse().unwrap());
            headers.append("set-cookie", "b=2".parse().unwrap());
            headers.insert("connection", "x-private".parse().unwrap());
            headers.insert("x-private", "1".parse().unwrap());
            Ok(answer)
        }
    });
    let (server, _routers) = forwarding(&[&fake]).await;
    let mut sent = post("/a%20b/..;x?q=1&q=2", "body");
    sent.headers_mut().insert("x-mine", "1".parse().unwrap());
    sent.headers_mut().insert("connection", "x-hop, keep-alive".parse().unwrap());
    sent.headers_mut().insert("x-hop", "1".parse().unwrap());
    let received = ask(&server, sent).await;
    assert_eq!(received.status(), 418);
    let headers = received.headers();
    assert_eq!(headers["x-switchyard-version"], "blog@abababababab");
    assert_eq!(headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
    assert!(!headers.contains_key("x-private"));
    assert_eq!(text(received).await, "tea");
    let (head, body) = next(&mut heads).await;
    assert_eq!((head.method, head.uri.to_string().as_str()), (Method::POST, "/a%20b/..;x?q=1&q=2"));
    assert_eq!((head.headers["host"].as_bytes(), &*body), (&b"blog.example.com:81"[..], &b"body"[..]));
    assert_eq!(head.headers["x-mine"], "1");
    assert_eq!(head.headers["content-length"], "4");
    assert!(!head.headers.contains_key("x-hop") && !head.headers.contains_key("connection"));
}

#[tokio::test]
async fn a_router_learns_where_a_request_came_from() {
    async fn forwarded(trusted: &str, headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let fake = FakeRouter::start("r1").await;
        let mut heads = echoing(&fake);
        let settings = ForwardSettings { trusted: trusted.parse().unwrap(), ..defaults() };
        let (server, _routers) = forwarding_with(&[&fake], settings).await;
        let mut request = get("/");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        ask(&server, request).await;
        next(&mut heads).await.headers
    }
    let claimed = [
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "www.example.com"),
        ("x-forwarded-prefix", "/made-up"),
    ];
    let headers = forwarded("", &claimed).await;
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(headers["x-forwarded-proto"], "http");
    assert_eq!(headers["x-forwarded-host"], "blog.example.com:81");
    assert!(!headers.contains_key("x-forwarded-prefix"));
    let headers = forwarded("127.0.0.0/8", &claimed).await;
    assert_eq!(headers["x-forwarded-for"], "192.0.2.7, 127.0.0.1");
    assert_eq!(headers["x-forwarded-proto"], "https");
    assert_eq!(headers["x-forwarded-host"], "www.example.com");
}

#[tokio::test]
async fn without_a_router_that_is_ready_the_answer_is_503() {
    let fake = FakeRouter::start("r1").await;
    let (server, routers) = forwarding(&[&fake]).await;
    fake.set_ready(false);
    until(&routers, |routers| !routers.all()[0].is_ready()).await;
    let received = ask(&server, get("/")).await;
    assert_eq!((received.status().as_u16(), &received.headers()[RETRY_AFTER]), (503, &"1".parse().unwrap()));
    assert_eq!(received.headers()["content-type"], "application/problem+json");
    let problem: serde_json::Value = serde_json::from_str(&text(received).await).unwrap();
    assert_eq!(
        (&problem["type"], &problem["status"]),
        (&"urn:switchyard:problem:no-routers".into(), &503.into())
    );
    assert_eq!(server.metrics().no_router(), 1);
}

#[tokio::test]
async fn clients_of_a_socket_that_was_open_before_the_bridge_wait_for_the_first_router() {
    let fake = FakeRouter::start("r1").await;
    fake.set_ready(false);
    fake.put("blog", 'a');
    let routers = following(&[&fake]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = ForwardSettings { first_router: LONG, ..defaults() };
    let server = ForwardServer::start(listener.into(), settings, routers.clone()).unwrap();
    let (answer, ()) = tokio::join!(answered(&server, get("/")), async {
        until(&routers, |routers| routers.find("localhost", "/blog/").is_some()).await;
        fake.set_ready(true);
    });
    assert_eq!(answer, (200, "r1".to_owned()));
}

#[tokio::test]
async fn a_router_that_is_behind_gets_no_request_of_that_project() {
    let (old, new) = (FakeRouter::start("old").await, FakeRouter::start("new").await);
    for fake in [&old, &new] {
        fake.put("blog", 'a');
        fake.put("shop", 'a');
    }
    let (server, routers) = forwarding(&[&old, &new]).await;
    let blog = ProjectName::parse("blog").unwrap();
    new.live("blog", 'b');
    routers.mark_behind(&routers.all()[0], &blog, Some((digest('b').parse().unwrap(), Incarnation::FIRST)));
    for path in ["/", "/x", "/shop/x"] {
        assert_eq!(answered(&server, get(path)).await, (200, "new".to_owned()), "the host is blog's");
    }
    let mut others = vec![];
    for _ in 0..2 {
        let mut request = get("/shop/x");
        request.headers_mut().insert(HOST, "example.com".parse().unwrap());
        others.push(answered(&server, request).await.1);
    }
    others.sort();
    assert_eq!(others, ["new", "old"], "shop was not deployed");
    new.set_ready(false);
    until(&routers, |routers| !routers.all()[1].is_ready()).await;
    assert_eq!(ask(&server, get("/")).await.status(), 503, "rather no answer than an old one");
    old.live("blog", 'b');
    until(&routers, |routers| routers.behind().is_empty()).await;
    assert_eq!(answered(&server, get("/")).await, (200, "old".to_owned()));
}

#[tokio::test]
async fn a_project_that_only_the_deploy_knows_is_looked_for_where_it_was_published() {
    let (old, new) = (FakeRouter::start("old").await, FakeRouter::start("new").await);
    let (server, routers) = forwarding(&[&old, &new]).await;
    // The new router has not reported the project yet.
    let blog = ProjectName::parse("blog").unwrap();
    routers.mark_behind(&routers.all()[0], &blog, Some((digest('a').parse().unwrap(), Incarnation::FIRST)));
    for _ in 0..3 {
        assert_eq!(answered(&server, get("/")).await, (200, "new".to_owned()));
    }
}

#[tokio::test]
async fn a_router_that_is_going_finishes_its_requests_and_gets_no_more() {
    let (going, other) = (FakeRouter::start("r1").await, FakeRouter::start("r2").await);
    let answer_now = Arc::new(Notify::new());
    let mut paths = waiting(&going, answer_now.clone());
    let (server, routers) = forwarding(&[&going, &other]).await;
    let address = server.address().ip().unwrap();
    let first = tokio::spawn(async move { text(try_ask(address, post("/first", "")).await.unwrap()).await });
    assert_eq!(next(&mut paths).await, "/first");
    going.set_ready(false);
    until(&routers, |routers| !routers.all()[0].is_ready()).await;
    for _ in 0..3 {
        assert_eq!(answered(&server, get("/later")).await, (200, "r2".to_owned()));
    }
    answer_now.notify_one();
    assert_eq!(first.await.unwrap(), "late");
    in_flight(&routers, 0).await;
}

#[tokio::test]
async fn the_router_with_the_fewest_requests_gets_the_next() {
    let (busy, idle) = (FakeRouter::start("busy").await, FakeRouter::start("idle").await);
    let answer_now = Arc::new(Notify::new());
    let mut paths = waiting(&busy, answer_now.clone());
    let (server, _routers) = forwarding(&[&busy, &idle]).await;
    let address = server.address().ip().unwrap();
    let first = tokio::spawn(async move { try_ask(address, get("/first")).await.unwrap().status() });
    next(&mut paths).await;
    for _ in 0..4 {
        assert_eq!(answered(&server, get("/")).await.1, "idle");
    }
    answer_now.notify_one();
    assert_eq!(first.await.unwrap(), 200);
    let counted = server.metrics().requests();
    assert_eq!(counted, [(busy.name(), [0, 1, 0, 0, 0]), (idle.name(), [0, 4, 0, 0, 0])]);
    let mut registry = prometheus_client::registry::Registry::default();
    server.metrics().register(&mut registry);
    let mut page = String::new();
    prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
    let line = format!("forwarded_requests_total{{router=\"{}\",status=\"2xx\"}} 4", idle.name());
    assert!(page.contains(&line), "{page}");
}

#[tokio::test]
async fn a_request_that_is_ambiguous_or_no_request_for_a_project_is_refused() {
    let fake = FakeRouter::start("r1").await;
    let (server, _routers) = forwarding(&[&fake]).await;
    let mut two = get("/");
    two.headers_mut().append(HOST, "other.example.com".parse().unwrap());
    let mut none = get("/");
    none.headers_mut().remove(HOST);
    let mut tunnel = request(Method::CONNECT, "example.com:443");
    tunnel.headers_mut().remove(HOST);
    for request in [two, none, tunnel] {
        let (status, problem) = answered(&server, request).await;
        assert_eq!(status, 400);
        assert!(problem.contains("urn:switchyard:problem:bad-request"), "{problem}");
    }
}

#[tokio::test]
async fn a_router_that_does_not_answer_in_time_is_given_up() {
    let fake = FakeRouter::start("r1").await;
    let _paths = waiting(&fake, Arc::default());
    let settings = ForwardSettings { request_timeout: Duration::from_millis(20), ..defaults() };
    let (server, routers) = forwarding_with(&[&fake], settings).await;
    let (status, problem) = answered(&server, get("/")).await;
    assert_eq!(status, 504);
    assert!(problem.contains("urn:switchyard:problem:timeout"), "{problem}");
    assert_eq!((server.metrics().timed_out(), routers.all()[0].in_flight()), (1, 0));
}

#[tokio::test]
async fn a_head_alone_is_answered_with_a_head_alone() {
    let fake = FakeRouter::start("r1").await;
    let (server, _routers) = forwarding(&[&fake]).await;
    let received = ask(&server, request(Method::HEAD, "/")).await;
    assert_eq!(
        (received.status().as_u16(), &received.headers()["content-length"]),
        (200, &"2".parse().unwrap())
    );
    assert_eq!(text(received).await, "");
}
