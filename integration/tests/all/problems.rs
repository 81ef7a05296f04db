//! The answers of Switchyard itself, when a project cannot answer.

use std::time::Duration;

use http::Method;
use switchyard_integration::client::{Upload, post, request, with_header, with_method};
use switchyard_integration::eventually;
use switchyard_integration::fixtures::{ABORTS, hello, lasting};
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

const SYNTAX_ERROR: &str = "export default {\n  fetch( { return new Response('never'); }\n};\n";

#[tokio::test]
async fn a_project_that_never_built_answers_503_without_its_code() {
    let volume = Volume::with("a", SYNTAX_ERROR);
    let router = Router::start(&volume).await;
    let reply = router.public.get("/a/").await;
    reply.assert_problem(503, "no-good-version");
    let browser = with_header(request("/a/"), "accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    let page = router.public.send(browser).await;
    assert_eq!(page.status, 503);
    assert!(!page.text().contains("new Response"), "a code frame went out: {}", page.text());
}

#[tokio::test]
async fn with_dev_a_browser_sees_file_line_and_code_frame() {
    let volume = Volume::with("a", SYNTAX_ERROR.replace("never", "<script>"));
    let router = Router::builder(&volume).flag("dev", "").start().await;
    let page = router.public.send(with_header(request("/a/"), "accept", "text/html")).await;
    assert_eq!(page.status, 503);
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    let text = page.text();
    assert!(text.contains("main.ts") && text.contains("new Response"), "{text}");
    assert!(text.contains("&lt;script"), "the frame is not escaped: {text}");
    router.public.get("/a/").await.assert_problem(503, "no-good-version");
}

#[tokio::test]
async fn no_answer_in_time_is_a_504_and_the_project_keeps_serving() {
    let volume = Volume::with("a", ABORTS);
    let router = Router::builder(&volume).flag("request-timeout", 300).start().await;
    router.public.get("/a/never").await.assert_problem(504, "timeout");
    // The handler's signal fires when the cell has noticed that the client is gone.
    eventually("the handler is notified", || async { router.public.get("/a/counts").await.text() == "1 1" })
        .await;
}

#[tokio::test]
async fn a_stream_may_last_longer_than_the_time_for_its_beginning() {
    let volume = Volume::with("a", lasting("one"));
    let router = Router::builder(&volume).flag("request-timeout", 200).start().await;
    let (upload, request) = Upload::post("/a/echo");
    let mut connection = router.public.connect().await;
    upload.send("1").await;
    let mut stream = connection.stream(request).await;
    assert_eq!(stream.next().await.as_deref(), Some("one 1"));
    // Not waiting for something: this time has to pass.
    tokio::time::sleep(Duration::from_millis(400)).await;
    upload.send("2").await;
    assert_eq!(stream.next().await.as_deref(), Some("one 2"));
}

#[tokio::test]
async fn a_body_that_is_too_large_is_a_413() {
    let volume = Volume::with("a", lasting("one"));
    let router = Router::builder(&volume).flag("max-body", 1000).start().await;
    assert_eq!(router.public.send(post("/a/wait", vec![b'x'; 1000])).await.status, 200);
    router.public.send(post("/a/wait", vec![b'x'; 1001])).await.assert_problem(413, "body-too-large");
    // The length is unknown: the limit is reached while the body is sent.
    let (upload, request) = Upload::post("/a/wait");
    let mut connection = router.public.connect().await;
    let sending = async {
        upload.send(vec![b'x'; 600]).await;
        upload.send(vec![b'x'; 600]).await;
        upload.end();
    };
    let (_, reply) = tokio::join!(sending, connection.send(request));
    reply.assert_problem(413, "body-too-large");
}

#[tokio::test]
async fn bytes_that_are_not_http_get_a_400() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    for bytes in [
        "GET /a/ HTTP/1.1\r\n\r\n",
        "GET /a/ HTTP/1.1\r\nHost: x\r\nContent-Length: two\r\n\r\n",
        "NONSENSE\r\n\r\n",
    ] {
        let answer = router.public.raw(bytes.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{bytes:?}: {answer:?}");
    }
    assert_eq!(router.public.get("/a/").await.text(), "one");
}

#[tokio::test]
async fn with_dev_a_page_of_another_origin_can_read_why_a_project_does_not_answer() {
    let volume = Volume::with("a", SYNTAX_ERROR);
    volume.write("b/main.ts", hello("one"));
    let router = Router::builder(&volume).flag("dev", "").start().await;
    let origin = "http://localhost:5173";
    let of = |request, origin: &str| router.public.send(with_header(request, "origin", origin));
    for (path, status, slug) in [("/a/", 503, "no-good-version"), ("/none/", 404, "unknown-project")] {
        let reply = of(request(path), origin).await;
        reply.assert_problem(status, slug);
        assert_eq!(reply.header("access-control-allow-origin"), Some(origin));
        assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(reply.header("vary"), Some("origin"));
        let preflight =
            with_header(with_method(Method::OPTIONS, path), "access-control-request-method", "PUT");
        let preflight = with_header(preflight, "access-control-request-headers", "x-a, content-type");
        let reply = of(preflight, origin).await;
        assert_eq!((reply.status, reply.text().as_str()), (204, ""), "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), Some(origin));
        assert_eq!(reply.header("access-control-allow-methods"), Some("PUT"));
        assert_eq!(reply.header("access-control-allow-headers"), Some("x-a, content-type"));
    }
    let local = of(request("/a/"), origin).await.json();
    assert_eq!(local["error"]["file"], "main.ts");
    let elsewhere = of(request("/a/"), "https://elsewhere.test").await;
    assert_eq!(elsewhere.header("access-control-allow-origin"), Some("https://elsewhere.test"));
    assert!(elsewhere.json()["error"].is_null(), "no code for pages that are not this machine's");

    let served = of(request("/b/"), origin).await;
    assert_eq!((served.status, served.header("access-control-allow-origin")), (200, None));
    let preflight = with_header(with_method(Method::OPTIONS, "/b/"), "access-control-request-method", "PUT");
    let answered = of(preflight, origin).await;
    assert_eq!((answered.status, answered.text().as_str()), (200, "one"), "it is the project's to answer");
}

#[tokio::test]
async fn without_dev_a_page_of_another_origin_reads_nothing_of_the_routers() {
    let volume = Volume::with("a", SYNTAX_ERROR);
    let router = Router::start(&volume).await;
    let call = with_header(request("/a/"), "origin", "http://localhost:5173");
    let reply = router.public.send(call).await;
    reply.assert_problem(503, "no-good-version");
    assert_eq!(reply.header("access-control-allow-origin"), None);
    let preflight = with_header(with_method(Method::OPTIONS, "/a/"), "access-control-request-method", "PUT");
    let preflight = with_header(preflight, "origin", "http://localhost:5173");
    router.public.send(preflight).await.assert_problem(503, "no-good-version");
}
