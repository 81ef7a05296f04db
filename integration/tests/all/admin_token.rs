//! Access to the admin listener, and its answers while the router stops.

use rustix::process::Signal;
use switchyard_integration::client::{Client, Reply, request, with_header, with_method};
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::{Builder, Router};
use switchyard_integration::volume::Volume;

const ONE: &str = "one-0123456789abcdef";
const TWO: &str = "two-0123456789abcdef";

async fn get_as(client: &Client, path: &str, token: &str) -> Reply {
    client.send(with_header(request(path), "authorization", &format!("Bearer {token}"))).await
}

/// A router whose tokens are in a file of the volume.
fn with_tokens(volume: &Volume) -> Builder {
    volume.write("_tokens", format!("# the bridge's\n{ONE}\n"));
    Router::builder(volume).flag("admin-token-file", volume.path("_tokens").display())
}

#[tokio::test]
async fn without_a_token_only_health_is_answered() {
    let volume = Volume::with("a", hello("one"));
    let router = with_tokens(&volume).start().await;
    let admin = &router.admin.client;
    let paths =
        ["/projects", "/projects/a", "/projects/a/logs", "/events", "/metrics", "/_deploys", "/nowhere"];
    for path in paths {
        let reply = admin.get(path).await;
        reply.assert_problem(401, "unauthorized");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "{path}");
        get_as(admin, path, TWO).await.assert_problem(401, "unauthorized");
    }
    admin.post("/_reload/a").await.assert_problem(401, "unauthorized");
    admin.send(with_method(http::Method::DELETE, "/_deploys/d")).await.assert_problem(401, "unauthorized");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(admin.get(path).await.status, 200, "{path}");
    }
    assert_eq!(get_as(admin, "/projects/a", ONE).await.status, 200);
    assert_eq!(router.public.get("/a/").await.text(), "one", "it is the admin listener's alone");
}

#[tokio::test]
async fn tokens_are_read_again_on_sighup_and_a_wrong_file_changes_nothing() {
    let volume = Volume::new();
    let router = with_tokens(&volume).start().await;
    let admin = &router.admin.client;
    volume.write("_tokens", format!("{TWO}\n"));
    router.signal(Signal::HUP);
    eventually("the new token is known", || async { get_as(admin, "/projects", TWO).await.status == 200 })
        .await;
    get_as(admin, "/projects", ONE).await.assert_problem(401, "unauthorized");
    volume.write("_tokens", "short\n");
    router.signal(Signal::HUP);
    let refused = router.log.wait_for(|record| {
        record["message"]
            .as_str()
            .is_some_and(|text| text.contains("line 1 of") && text.contains("not a token"))
    });
    assert!(switchyard_integration::within("it is logged", refused).await.is_some());
    assert_eq!(get_as(admin, "/projects", TWO).await.status, 200);
}

#[tokio::test]
async fn a_start_that_would_grant_access_to_everyone_is_refused() {
    let volume = Volume::new();
    for (flags, says) in [
        (vec![("admin", "0.0.0.0:0")], "--admin: 0.0.0.0:0 is reachable from other machines"),
        (vec![("admin-token-file", "/nowhere/tokens")], "--admin-token-file: /nowhere/tokens cannot be read"),
    ] {
        let mut builder = Router::builder(&volume);
        for (name, value) in flags {
            builder = builder.flag(name, value);
        }
        let ended = builder.run_to_end().await;
        assert_eq!(ended.status.code(), Some(64));
        assert!(ended.log.text().contains(says), "{says:?} is not in {}", ended.log.text());
    }
}

#[tokio::test]
async fn a_stopping_router_reports_it_while_it_still_takes_requests() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::builder(&volume).flag("drain-delay", 600_000).start().await;
    router.signal(Signal::TERM);
    eventually("it says so", || async { router.admin.client.get("/readyz").await.status == 503 }).await;
    assert_eq!(router.admin.client.get("/healthz").await.status, 200);
    assert_eq!(router.public.get("/a/").await.text(), "one", "on a new connection");
    router.signal(Signal::TERM);
    assert!(router.ended().await.status.success(), "a second signal ends it at once");
}

#[tokio::test]
async fn after_the_drain_delay_the_router_stops_automatically() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::builder(&volume).flag("drain-delay", 50).start().await;
    assert!(router.stop().await.status.success());
}
