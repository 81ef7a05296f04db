//! Routing: the project that a request is for, and the request that it sees.

use serde_json::json;
use switchyard_contract::admin::ReloadOutcome;
use switchyard_integration::client::{request, with_header};
use switchyard_integration::fixtures::{ECHO, hello};
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

#[tokio::test]
async fn the_first_label_of_host_names_the_project() {
    let volume = Volume::with("blog", ECHO);
    let router = Router::start(&volume).await;
    for host in ["blog.localhost:8000", "blog.localhost", "blog.example.com:1", "BLOG.localhost"] {
        let reply = router.public.send(with_header(request("/x?y=1"), "host", host)).await;
        assert_eq!(reply.status, 200, "{host}: {}", reply.text());
        let echo = reply.json();
        assert_eq!((&echo["path"], &echo["query"]), (&json!("/x"), &json!("?y=1")), "{host}");
        assert_eq!(echo["headers"]["x-forwarded-prefix"], json!(null), "{host}");
    }
}

#[tokio::test]
async fn else_the_first_segment_of_the_path_does_and_is_taken_off() {
    let volume = Volume::with("blog", ECHO);
    let router = Router::start(&volume).await;
    for (path, inside) in [("/blog/x", "/x"), ("/blog/", "/"), ("/blog", "/"), ("/blog/blog/x/", "/blog/x/")]
    {
        let echo = router.public.get(path).await.json();
        assert_eq!(echo["path"], inside, "{path}");
        assert_eq!(echo["headers"]["x-forwarded-prefix"], "/blog", "{path}");
    }
}

#[tokio::test]
async fn path_and_query_reach_the_project_as_they_were_written() {
    let volume = Volume::with("blog", ECHO);
    let router = Router::start(&volume).await;
    let echo = router.public.get("/blog/a%2Fb/%C3%A9//c?x=%20+&y=a/b?c").await.json();
    assert_eq!(echo["path"], "/a%2Fb/%C3%A9//c");
    assert_eq!(echo["query"], "?x=%20+&y=a/b?c");
    let echo = router.public.get("/blog?only=query").await.json();
    assert_eq!((&echo["path"], &echo["query"]), (&json!("/"), &json!("?only=query")));
}

#[tokio::test]
async fn host_wins_over_path() {
    let volume = Volume::with("a", hello("from a"));
    volume.project("b").file("main.ts", ECHO).write();
    let router = Router::start(&volume).await;
    let reply = router.public.send(with_header(request("/a/x"), "host", "b.localhost")).await;
    assert_eq!(reply.json()["path"], "/a/x");
}

#[tokio::test]
async fn routes_in_the_projects_config_add_hosts_and_prefixes() {
    let volume = Volume::new();
    let config = r#"{ "switchyard": { "routes": ["www.example.com", "/shop/eu"] } } // commented"#;
    volume.project("store").file("main.ts", ECHO).file("deno.jsonc", config).write();
    let router = Router::start(&volume).await;
    let by_host = router.public.send(with_header(request("/x"), "host", "www.example.com:8000")).await;
    assert_eq!(by_host.json()["path"], "/x");
    let by_prefix = router.public.get("/shop/eu/x").await.json();
    assert_eq!(
        (&by_prefix["path"], &by_prefix["headers"]["x-forwarded-prefix"]),
        (&json!("/x"), &json!("/shop/eu"))
    );
    router.public.get("/shop/us/x").await.assert_problem(404, "unknown-project");
    router.public.get("/shop/european").await.assert_problem(404, "unknown-project");
    assert_eq!(router.public.get("/store/x").await.json()["path"], "/x");
}

#[tokio::test]
async fn routes_follow_a_reload() {
    let volume = Volume::new();
    let config = |prefix: &str| format!(r#"{{ "switchyard": {{ "routes": ["{prefix}"] }} }}"#);
    volume.project("a").file("main.ts", hello("one")).file("deno.json", config("/old")).write();
    let router = Router::builder(&volume).unwatched().start().await;
    assert_eq!(router.public.get("/old/").await.text(), "one");
    volume.replace("a/deno.json", config("/new"));
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    assert_eq!(router.public.get("/new/").await.text(), "one");
    router.public.get("/old/").await.assert_problem(404, "unknown-project");
}

#[tokio::test]
async fn a_name_that_no_project_has_is_an_unknown_project() {
    let volume = Volume::with("blog", hello("one"));
    let router = Router::start(&volume).await;
    for path in ["/", "/blo/", "/blogs/", "/Blog/", "/..%2fblog/", "//blog/x", "/blog%2fx"] {
        let reply = router.public.get(path).await;
        assert_eq!(reply.version(), None, "{path}");
        reply.assert_problem(404, "unknown-project");
    }
}

#[tokio::test]
async fn a_path_is_one_path_however_it_is_written() {
    let volume = Volume::with("blog", ECHO);
    volume.project("shop").file("main.ts", hello("shop")).write();
    let router = Router::start(&volume).await;
    for (path, inside) in [
        ("/%62log/x", "/x"),
        ("/blog/./x", "/x"),
        ("/blog/y/../x", "/x"),
        ("/blog/y/%2E%2e/x", "/x"),
        ("/shop/../blog/x", "/x"),
        ("/shop/%2e./blog/x/.", "/x/"),
        ("/../blog/%7Ex?y=/../%2e", "/~x"),
        ("/blog/..%2fshop/", "/..%2fshop/"),
        ("/blog//x", "//x"),
    ] {
        let echo = router.public.raw(format!("GET {path} HTTP/1.0\r\nHost: h\r\n\r\n")).await;
        assert!(echo.contains(&format!("\"path\":{inside:?}")), "{path}: {echo}");
        assert!(echo.contains("\"x-forwarded-prefix\":\"/blog\""), "{path}: {echo}");
    }
    // Another project's prefix is out of reach from within a host.
    let echo = with_header(request("/../../x"), "host", "Blog.Localhost.:8000");
    let echo = router.public.send(echo).await.json();
    assert_eq!((&echo["path"], &echo["headers"]["host"]), (&json!("/x"), &json!("blog.localhost:8000")));
}

#[tokio::test]
async fn the_admin_paths_do_not_exist_on_the_public_listener() {
    let volume = Volume::with("blog", hello("one"));
    let router = Router::start(&volume).await;
    for path in ["/healthz", "/readyz", "/projects", "/projects/blog", "/events", "/metrics", "/_reload"] {
        router.public.get(path).await.assert_problem(404, "unknown-project");
        router.public.post(path).await.assert_problem(404, "unknown-project");
    }
}
