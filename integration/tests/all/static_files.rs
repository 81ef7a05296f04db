//! The files of static sites over HTTP: paths, validators, ranges, compressed forms.

use http::Method;
use switchyard_integration::client::{Client, Reply, post, request, with_header, with_method};
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

const REVALIDATED: &str = "public, max-age=0, must-revalidate";
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// A site with pages, a not-found page, and files in compressed forms.
fn volume() -> Volume {
    let volume = Volume::new();
    for (path, text) in [
        ("index.html", "home"),
        ("about.html", "about"),
        ("docs/index.html", "docs"),
        ("404.html", "no such page"),
        ("fr/404.html", "page inconnue"),
        ("digits.txt", "0123456789"),
        ("empty.txt", ""),
        ("_astro/x.js", "hashed"),
        ("script.js", "plain"),
        ("script.js.br", "as br"),
        ("script.js.gz", "as gzip"),
        ("script.js.zst", "as zstd"),
        (".env", "SECRET"),
        (".well-known/security.txt", "contact"),
        ("package.json", "{}"),
        ("a b/\u{fc}.txt", "encoded"),
    ] {
        volume.write(&format!("a/{path}"), text);
    }
    volume.write("secret.txt", "SECRET");
    volume
}

async fn get(client: &Client, path: &str, headers: &[(&'static str, &str)]) -> Reply {
    let with = |request, (name, value): &(&'static str, &str)| with_header(request, name, value);
    client.send(headers.iter().fold(request(path), with)).await
}

#[tokio::test]
async fn a_file_is_answered_with_its_type_and_validators_and_no_process() {
    let volume = volume();
    let router = Router::start(&volume).await;
    for (path, text, kind) in [
        ("/a/", "home", "text/html; charset=utf-8"),
        ("/a/index.html", "home", "text/html; charset=utf-8"),
        ("/a/about", "about", "text/html; charset=utf-8"),
        ("/a/about.html", "about", "text/html; charset=utf-8"),
        ("/a/docs/", "docs", "text/html; charset=utf-8"),
        ("/a/script.js?v=1", "plain", "text/javascript; charset=utf-8"),
        ("/a/.well-known/security.txt", "contact", "text/plain; charset=utf-8"),
        ("/a/a%20b/%C3%BC.txt", "encoded", "text/plain; charset=utf-8"),
        ("/a/empty.txt", "", "text/plain; charset=utf-8"),
    ] {
        let reply = router.public.get(path).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, text), "{path}");
        assert_eq!(reply.header("content-type"), Some(kind), "{path}");
        assert_eq!(reply.header("content-length"), Some(text.len().to_string().as_str()), "{path}");
        assert_eq!(reply.header("cache-control"), Some(REVALIDATED), "{path}");
        assert_eq!(reply.header("accept-ranges"), Some("bytes"), "{path}");
        assert_eq!(reply.header("last-modified"), None, "{path}");
        let etag = reply.header("etag").unwrap();
        assert!(etag.len() == 34 && etag.starts_with('"') && etag.ends_with('"'), "{path}: {etag}");
        assert!(reply.version().is_some_and(|version| version.starts_with("a@")), "{path}");
    }
    let hashed = router.public.get("/a/_astro/x.js").await;
    assert_eq!(hashed.header("cache-control"), Some(IMMUTABLE));
    let status = router.admin.project("a").await;
    assert_eq!((status.pid, status.pids.len(), status.in_flight), (None, 0, 0));
}

#[tokio::test]
async fn a_redirect_keeps_the_query_and_the_prefix_that_led_to_the_project() {
    let volume = volume();
    let router = Router::start(&volume).await;
    for (path, location) in
        [("/a/docs?x=1&y", "/a/docs/?x=1&y"), ("/a/about/", "/a/about"), ("/a//docs", "/a/docs/")]
    {
        let reply = router.public.get(path).await;
        assert_eq!((reply.status, reply.header("location")), (301, Some(location)), "{path}");
        assert_eq!(reply.header("cache-control"), Some(REVALIDATED));
    }
    let reply = get(&router.public, "/docs?x", &[("host", "a.localhost")]).await;
    assert_eq!((reply.status, reply.header("location")), (301, Some("/docs/?x")));
}

#[tokio::test]
async fn hidden_outside_and_missing_files_are_not_found() {
    let volume = volume();
    volume.write("a/node_modules/x/index.js", "SECRET");
    volume.write("a/docs/node_modules/x.js", "SECRET");
    let router = Router::start(&volume).await;
    for path in [
        "/a/gone.js",
        "/a/.env",
        "/a/package.json",
        "/a/..%2fsecret.txt",
        "/a/docs/%2e%2e/%2e%2e/secret.txt",
        "/a/node_modules/x/index.js",
        "/a/docs/node_modules/x.js",
        "/a/%ff",
        "/a/docs/..%2f.env",
    ] {
        let reply = router.public.get(path).await;
        assert_eq!(reply.status, 404, "{path}");
        assert!(!reply.text().contains("SECRET"), "{path}");
    }
    let reply = router.public.get("/a/gone").await;
    assert_eq!((reply.status, reply.text().as_str()), (404, "no such page"));
    assert_eq!(
        (reply.header("etag"), reply.header("content-type")),
        (None, Some("text/html; charset=utf-8"))
    );
    assert_eq!(router.public.get("/a/fr/x/gone").await.text(), "page inconnue");
    volume.remove("a/404.html");
    volume.remove("a/fr/404.html");
    router.admin.reload("a").await;
    let reply = router.public.get("/a/gone").await;
    assert_eq!((reply.status, reply.text().as_str()), (404, "Not found\n"));
    let counted = router.admin.metric("switchyard_requests_total", "class=\"4xx\"").await;
    assert_eq!(counted, Some(11.0), "all but the one whose path leads out of the project");
}

#[tokio::test]
async fn a_file_that_is_lost_from_the_routers_copy_is_an_error_of_its_own() {
    let volume = volume();
    let router = Router::start(&volume).await;
    let version = router.public.get("/a/about").await.version().unwrap().to_owned();
    std::fs::remove_file(router.state.path().join("checkouts").join(version).join("a/about.html")).unwrap();
    router.public.get("/a/about").await.assert_problem(500, "unreadable");
    assert_eq!(router.public.get("/a/").await.text(), "home");
}

#[tokio::test]
async fn a_client_that_has_the_content_is_not_sent_it_again() {
    let volume = volume();
    let router = Router::start(&volume).await;
    let public = &router.public;
    let etag = public.get("/a/script.js").await.header("etag").unwrap().to_owned();
    for known in [etag.as_str(), "*", &format!("W/{etag}"), &format!("\"x\", {etag}")] {
        let reply = get(public, "/a/script.js", &[("if-none-match", known)]).await;
        assert_eq!((reply.status, reply.body.len()), (304, 0), "{known}");
        assert_eq!(reply.header("etag"), Some(etag.as_str()));
        assert_eq!(reply.header("vary"), Some("accept-encoding"));
        assert!(reply.version().is_some());
    }
    let since = [("if-modified-since", "Sat, 21 Nov 2126 04:26:12 GMT")];
    assert_eq!(get(public, "/a/script.js", &since).await.status, 200, "a file has no date");
    assert_eq!(get(public, "/a/script.js", &[("if-match", "\"x\"")]).await.status, 412);
    assert_eq!(get(public, "/a/script.js", &[("if-match", &etag)]).await.status, 200);
    // The same length and time as before.
    let path = volume.path("a/script.js");
    let time = path.metadata().and_then(|file| file.modified()).unwrap();
    volume.write("a/script.js", "PLAIN");
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    router.admin.reload("a").await;
    let reply = get(public, "/a/script.js", &[("if-none-match", &etag)]).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "PLAIN"));
    assert_ne!(reply.header("etag"), Some(etag.as_str()));
}

#[tokio::test]
async fn a_range_of_a_file_is_sent_alone() {
    let volume = volume();
    let router = Router::start(&volume).await;
    let public = &router.public;
    for (range, text, part) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=3-5", "345", "bytes 3-5/10"),
        ("bytes=7-99", "789", "bytes 7-9/10"),
        ("bytes=8-", "89", "bytes 8-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
    ] {
        let reply = get(public, "/a/digits.txt", &[("range", range)]).await;
        assert_eq!((reply.status, reply.text().as_str()), (206, text), "{range}");
        assert_eq!(reply.header("content-range"), Some(part));
        assert_eq!(reply.header("content-length"), Some(text.len().to_string().as_str()));
    }
    for range in ["bytes=10-", "bytes=99-100", "bytes=-0"] {
        let reply = get(public, "/a/digits.txt", &[("range", range)]).await;
        assert_eq!((reply.status, reply.header("content-range")), (416, Some("bytes */10")), "{range}");
    }
    assert_eq!(get(public, "/a/empty.txt", &[("range", "bytes=0-")]).await.status, 416);
    for range in ["bytes=0-1,4-5", "lines=1-2", "bytes=x"] {
        let reply = get(public, "/a/digits.txt", &[("range", range)]).await;
        assert_eq!((reply.status, reply.body.len()), (200, 10), "{range}");
    }
    let etag = public.get("/a/digits.txt").await.header("etag").unwrap().to_owned();
    for (known, status) in [(etag.as_str(), 206), ("\"x\"", 200), ("Sat, 21 Nov 2026 04:26:12 GMT", 200)] {
        let headers = [("range", "bytes=1-2"), ("if-range", known)];
        assert_eq!(get(public, "/a/digits.txt", &headers).await.status, status, "{known}");
    }
    let gone = get(public, "/a/gone", &[("range", "bytes=0-1")]).await;
    assert_eq!((gone.status, gone.text().as_str()), (404, "no such page"));
}

#[tokio::test]
async fn a_file_in_a_compressed_form_is_sent_to_clients_that_take_it() {
    let volume = volume();
    let router = Router::start(&volume).await;
    let mut etags = Vec::new();
    for (accepted, text, coding) in [
        ("", "plain", None),
        ("gzip", "as gzip", Some("gzip")),
        ("gzip, deflate, br, zstd", "as br", Some("br")),
        ("zstd, gzip", "as zstd", Some("zstd")),
        ("gzip;q=1, br;q=0.5", "as gzip", Some("gzip")),
        ("br;q=0, *", "as zstd", Some("zstd")),
        ("identity, br;q=0.5", "plain", None),
        ("deflate", "plain", None),
    ] {
        let reply = get(&router.public, "/a/script.js", &[("accept-encoding", accepted)]).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, text), "{accepted}");
        assert_eq!(reply.header("content-encoding"), coding, "{accepted}");
        assert_eq!(reply.header("content-type"), Some("text/javascript; charset=utf-8"));
        assert_eq!(reply.header("vary"), Some("accept-encoding"));
        etags.push(reply.header("etag").unwrap().to_owned());
    }
    etags.sort();
    etags.dedup();
    assert_eq!(etags.len(), 4, "each form has its own: {etags:?}");
    let alone = get(&router.public, "/a/digits.txt", &[("accept-encoding", "br")]).await;
    assert_eq!((alone.header("content-encoding"), alone.header("vary")), (None, None));
}

#[tokio::test]
async fn files_are_read_with_get_and_head_alone() {
    let volume = volume();
    let router = Router::start(&volume).await;
    let public = &router.public;
    let whole = public.get("/a/script.js").await;
    for mut connection in [public.connect().await, public.connect_h2c().await] {
        let head = connection.send(with_method(Method::HEAD, "/a/script.js")).await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        for name in ["content-length", "content-type", "etag", "vary"] {
            assert_eq!(head.header(name), whole.header(name), "{name}");
        }
        let gone = connection.send(with_method(Method::HEAD, "/a/gone")).await;
        assert_eq!((gone.status, gone.header("content-length")), (404, Some("12")));
        let redirect = connection.send(with_method(Method::HEAD, "/a/docs")).await;
        assert_eq!((redirect.status, redirect.header("location")), (301, Some("/a/docs/")));
        assert_eq!(connection.get("/a/script.js").await.text(), "plain");
    }
    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        let reply = public.send(with_method(method, "/a/script.js")).await;
        assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    }
    let reply = public.send(post("/a/", "x".repeat(100_000))).await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    let reply = public.send(with_method(Method::OPTIONS, "/a/")).await;
    assert_eq!((reply.status, reply.body.len(), reply.header("allow")), (204, 0, Some("GET, HEAD, OPTIONS")));
}
