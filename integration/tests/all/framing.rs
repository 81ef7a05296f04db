//! Ambiguous requests: each is refused, regardless of the bytes behind it on the connection, by the
//! public listeners of the router and of the bridge alike.

use switchyard_integration::bridge::fronts::Fronts;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::{ABORTS, ECHO, hello, lasting};
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

/// A request that a parser might find behind, or inside, the refused one.
const SMUGGLED: &str = "GET /a/smuggled HTTP/1.1\r\nHost: h\r\n\r\n";

/// The first ones of [`REFUSED`] are invalid at every position.
const WRONG_ANYWHERE: usize = 16;

/// Heads, each to be followed by [`SMUGGLED`], and the text of the refusal.
const REFUSED: &[(&str, &str)] = &[
    (
        "POST /a/ HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "not both",
    ),
    (
        "POST /a/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        "not both",
    ),
    ("POST /a/ HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 42\r\n\r\n", "one content-length"),
    ("POST /a/ HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", "one content-length"),
    ("POST /a/ HTTP/1.1\r\nHost: h\r\nContent-Length: 0, 0\r\n\r\n", "one content-length"),
    ("POST /a/ HTTP/1.1\r\nHost: h\r\nContent-Length: +0\r\n\r\n", "a decimal number"),
    ("POST /a/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "nothing else"),
    ("POST /a/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "nothing else"),
    ("POST /a/ HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.0"),
    ("GET /a/ HTTP/1.1\nHost: h\n\n", "not with LF"),
    ("GET /a/ HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", "not with LF"),
    ("GET /a/ HTTP/1.1\r\nHost: h\r\nX: y\rContent-Length: 5\r\n\r\n", "followed by LF"),
    ("GET /a/ HTTP/1.1\r\nHost: h\r\nX: y\r\n z\r\n\r\n", "not continued"),
    ("GET /a/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", "not continued"),
    ("GET /a/ HTTP/1.1\r\nHost: h\r\nContent-Length : 5\r\n\r\n", "right behind it"),
    ("GET /a/ HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n", "control characters"),
    ("GET /a/ HTTP/1.1\r\n\r\n", "exactly one host"),
    ("GET /a/ HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", "exactly one host"),
    ("GET /a/ HTTP/1.1\r\nHost: h, b\r\n\r\n", "a name or an address"),
    ("GET /a/ HTTP/1.1\r\nHost: b@h\r\n\r\n", "a name or an address"),
    ("GET /a/ HTTP/1.1\r\nHost:\r\n\r\n", "a name or an address"),
    ("GET http://b/a/ HTTP/1.1\r\nHost: h\r\n\r\n", "names as Host"),
    ("GET http://h/a/ HTTP/1.1\r\n\r\n", "exactly one host"),
    ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", "the target"),
    ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", "the target"),
    ("CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", "no connections to other hosts"),
    ("GET /a/b\\c HTTP/1.1\r\nHost: h\r\n\r\n", "no backslash"),
    ("GET /a/%00 HTTP/1.1\r\nHost: h\r\n\r\n", "no NUL"),
    ("GET /a/%zz HTTP/1.1\r\nHost: h\r\n\r\n", "hexadecimal"),
    ("GET /a/ HTTP/1.2\r\nHost: h\r\n\r\n", "HTTP/1.1"),
    ("GET /a/\r\n\r\n", "HTTP/1.1"),
    ("hello\r\n\r\n", "HTTP/1.1"),
];

#[track_caller]
fn assert_is_refusal(answer: &str, status: u16, rule: &str, request: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
    for part in ["application/problem+json", "connection: close", "urn:switchyard:problem:", rule] {
        assert!(answer.contains(part), "{part:?} is not in the answer to {request:?}: {answer}");
    }
    assert_eq!(answer.matches("content-length: ").count(), 1, "there is one answer to {request:?}: {answer}");
}

#[tokio::test]
async fn ambiguous_requests_are_refused_and_nothing_behind_them_is_read() {
    let volume = Volume::with("a", ABORTS);
    volume.project("bystander").file("main.ts", hello("here")).write();
    let fronts = Fronts::start(&volume).await;
    for (front, public) in fronts.each() {
        let mut bystander = public.connect().await;
        for (request, rule) in REFUSED {
            let answer = public.raw(format!("{request}{SMUGGLED}")).await;
            assert_is_refusal(&answer, 400, rule, request);
            assert_eq!(bystander.get("/bystander/").await.text(), "here", "{front}: {request:?}");
        }
        assert_eq!(
            public.get("/a/counts").await.text(),
            "0 0",
            "{front}: no request of theirs has reached a project"
        );
    }
}

#[tokio::test]
async fn the_split_into_chunks_does_not_matter() {
    let volume = Volume::with("a", ABORTS);
    let fronts = Fronts::start(&volume).await;
    for (_, public) in fronts.each() {
        for (request, rule) in REFUSED {
            let mut connection = public.open().await;
            let middle = request.len() / 2;
            connection.send(&request[..middle]).await;
            // An answer on another connection: by now the first piece is likely to have been read
            // alone.
            assert_eq!(public.get("/a/counts").await.text(), "0 0");
            // The request may already have been refused.
            let _ = connection.try_send(format!("{}{SMUGGLED}", &request[middle..])).await;
            assert_is_refusal(&connection.rest().await, 400, rule, request);
        }
        assert_eq!(public.get("/a/counts").await.text(), "0 0");
    }
}

#[tokio::test]
async fn requests_before_it_on_the_connection_are_answered_first() {
    let main = "export default async () => {
        await new Promise((done) => setTimeout(done, 200));
        return new Response('late');
    };";
    let volume = Volume::with("a", main);
    let fronts = Fronts::start(&volume).await;
    let good = "GET /a/ HTTP/1.1\r\nHost: h\r\n\r\n";
    for (front, public) in fronts.each() {
        let answers = public.raw(format!("{good}{good}{}{SMUGGLED}", REFUSED[0].0)).await;
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{front}: {answers}");
        assert_eq!(answers.matches("late").count(), 2, "{front}: {answers}");
        let (_, last) = answers.rsplit_once("late").unwrap();
        assert_is_refusal(last, 400, "not both", REFUSED[0].0);
    }
}

#[tokio::test]
async fn chunks_that_can_be_read_in_two_ways_are_refused_and_the_project_sees_no_whole_body() {
    let main = "let whole = 0;
        export default { async fetch(request) {
            if (request.url.endsWith('/whole')) return new Response(String(whole));
            await request.text();
            whole++;
            return new Response('whole');
        } };";
    let volume = Volume::with("a", main);
    let fronts = Fronts::start(&volume).await;
    let head = "POST /a/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (chunks, rule) in [
        ("5\n12345\r\n0\r\n\r\n", "not with LF"),
        ("x\r\n", "hexadecimal digits"),
        ("5 \r\n12345\r\n0\r\n\r\n", "hexadecimal digits"),
        ("5;\x01\r\n12345\r\n0\r\n\r\n", "hexadecimal digits"),
        ("ffffffffffffffff5\r\n12345\r\n0\r\n\r\n", "hexadecimal digits"),
        ("3\r\n12345\r\n0\r\n\r\n", "ends with CR LF"),
        ("5\r\n12345\r\n0\r\nX: y\n\r\n", "not with LF"),
        ("5\r\n12345\r\n0\r\nX : y\r\n\r\n", "right behind it"),
    ] {
        for (_, public) in fronts.each() {
            let answer = public.raw(format!("{head}{chunks}{SMUGGLED}")).await;
            assert_is_refusal(&answer, 400, rule, chunks);
            let mut connection = public.open().await;
            connection.send(format!("{head}3\r\nabc\r\n")).await;
            assert_eq!(public.get("/a/whole").await.text(), "0");
            connection.send(format!("{chunks}{SMUGGLED}")).await;
            assert_is_refusal(&connection.rest().await, 400, rule, chunks);
        }
    }
    assert_eq!(fronts.router().public.get("/a/whole").await.text(), "0");
}

#[tokio::test]
async fn an_answer_that_has_begun_is_cut_off_and_not_continued_by_a_refusal() {
    let volume = Volume::with("a", lasting("one"));
    let fronts = Fronts::start(&volume).await;
    let begun = "POST /a/echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
    for (front, public) in fronts.each() {
        let mut connection = public.open().await;
        connection.send(begun).await;
        connection.until("one x").await;
        connection.send(format!("oops\r\n{SMUGGLED}")).await;
        let rest = connection.rest().await;
        assert!(!rest.contains("HTTP/1.1") && !rest.contains("0\r\n\r\n"), "{front}: {rest}");
    }
    let admin = &fronts.router().admin;
    eventually("it is no longer in flight", || async { admin.project("a").await.in_flight == 0 }).await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::builder(&volume).flag("max-head", 2048).start().await;
    let with = |header: String| format!("GET /a/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{header}\r\n");
    let fits = router.public.raw(with(format!("X: {}\r\n", "x".repeat(1900)))).await;
    assert!(fits.starts_with("HTTP/1.1 200"), "{fits}");
    let many = router.public.raw(with("X: y\r\n".repeat(101))).await;
    assert!(many.starts_with("HTTP/1.1 200"), "{many}");
    for header in [format!("X: {}\r\n", "x".repeat(4000)), "X: y\r\n".repeat(400)] {
        let answer = router.public.raw(with(header)).await;
        assert_is_refusal(&answer, 431, "problem:head-too-large", "a large head");
    }
    let endless = router.public.raw("x".repeat(100_000)).await;
    assert_is_refusal(&endless, 431, "problem:head-too-large", "an endless line");
}

#[tokio::test]
async fn nothing_behind_an_upgrade_that_is_refused_is_read_as_a_request() {
    let volume = Volume::with("a", ABORTS);
    let fronts = Fronts::start(&volume).await;
    let upgrade = "GET /a/counts HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    for (front, public) in fronts.each() {
        let answer = public.raw(format!("{upgrade}{SMUGGLED}")).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("0 0"), "{front}: {answer}");
        assert!(answer.contains("connection: close"), "{front}: {answer}");
        assert_eq!(public.get("/a/counts").await.text(), "0 0");
    }
}

#[tokio::test]
async fn a_target_with_a_host_is_served_when_host_agrees() {
    let volume = Volume::with("blog", ECHO);
    let router = Router::start(&volume).await;
    for host in ["blog.test", "Blog.TEST.", "blog.test:81"] {
        let port = host.strip_prefix("blog.test").unwrap_or_default();
        let request =
            format!("GET http://BLOG.test{port}/x?y HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = router.public.raw(request).await;
        assert!(answer.contains(&format!("\"host\":\"blog.test{port}\"")), "{host}: {answer}");
        assert!(
            answer.contains("\"path\":\"/x\"") && answer.contains("\"query\":\"?y\""),
            "{host}: {answer}"
        );
    }
}

#[tokio::test]
async fn a_stream_whose_host_contradicts_its_authority_is_refused() {
    let volume = Volume::with("a", hello("one"));
    let fronts = Fronts::start(&volume).await;
    for (front, public) in fronts.each() {
        let mut connection = public.connect_h2c().await;
        let request = switchyard_integration::client::request("/a/");
        let other = switchyard_integration::client::with_header(request, "host", "b.test");
        connection.send(other).await.assert_problem(400, "bad-request");
        assert_eq!(connection.get("/a/").await.text(), "one", "{front}: other streams continue");
    }
}

#[tokio::test]
async fn the_bridge_and_the_router_read_a_path_alike() {
    let volume = Volume::with("blog", ECHO);
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let get =
        |path: &str, host: &str| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    for path in ["/x/../%62log/./y", "/blog/y"] {
        let answer = bridge.forward.raw(get(path, "H.test.")).await;
        assert!(answer.contains("\"path\":\"/y\""), "{path}: {answer}");
        assert!(answer.contains("\"host\":\"h.test\""), "{path}: {answer}");
    }
    for (request, rule) in REFUSED {
        let answer = bridge.forward.raw(format!("{}{SMUGGLED}", request.replace("/a/", "/blog/"))).await;
        assert_is_refusal(&answer, 400, rule, request);
    }
    for (path, host) in [("/blog/%5c", "h"), ("http://b/blog/", "h"), ("/blog/", "a b"), ("/blog/", "")] {
        let answer = bridge.forward.raw(get(path, host)).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("bad-request"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn the_listeners_that_take_commands_refuse_the_same() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    for client in [&routers[0].admin.client, &bridge.client] {
        for (request, rule) in &REFUSED[..WRONG_ANYWHERE] {
            let request = request.replace("/a/", "/projects");
            let answer =
                client.raw(format!("{request}GET /projects HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
            assert_is_refusal(&answer, 400, rule, &request);
        }
        let offer =
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        let answer = client.raw(format!("{offer}GET /healthz HTTP/1.1\nHost: localhost\n\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.matches("HTTP/1.1 ").count() == 1, "{answer}");
    }
}
