//! Routing as a boundary between projects: a claim of a host or a path never takes another
//! project's requests.

use rustix::process::Signal;
use serde_json::{Value, json};
use switchyard_contract::admin::{ProjectState, ReloadOutcome};
use switchyard_contract::event::{EventType, RouteConflict};
use switchyard_integration::bridge::cli;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::client::{Client, request, with_header};
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::{Builder, Router, State};
use switchyard_integration::upload::{Part, Upload};
use switchyard_integration::volume::Volume;

/// A deno.json with these routes.
fn routes(routes: &[&str]) -> String {
    json!({ "switchyard": { "routes": routes } }).to_string()
}

/// Puts a project on the volume that answers its own name.
fn project(volume: &Volume, name: &str, claims: &[&str]) {
    volume.project(name).file("main.ts", hello(name)).file("deno.json", routes(claims)).write();
}

/// Returns the name of the project that answers; `-` if none does.
async fn text_of(client: &Client, host: &str, path: &str) -> String {
    let reply = client.send(with_header(request(path), "host", host)).await;
    if reply.status == 200 { reply.text() } else { "-".to_owned() }
}

/// Checks which project requests reach: `(host, path, project)`.
async fn assert_reached(client: &Client, expected: &[(&str, &str, &str)]) {
    for (host, path, project) in expected {
        assert_eq!(text_of(client, host, path).await, *project, "{host}{path}");
    }
}

/// Waits until a request reaches a project.
async fn reaches(client: &Client, host: &str, path: &str, project: &str) {
    eventually(&format!("{host}{path} reaches {project}"), || async {
        text_of(client, host, path).await == project
    })
    .await;
}

async fn conflicts(router: &Router, project: &str) -> Vec<RouteConflict> {
    router.admin.project(project).await.conflicts
}

/// The sides of a project's conflicts: route, claimant, holder.
async fn sides(router: &Router, project: &str) -> Vec<(String, String, Option<String>)> {
    let conflicts = conflicts(router, project).await.into_iter();
    conflicts.map(|conflict| (conflict.route, conflict.claimant, conflict.holder)).collect()
}

fn side(route: &str, claimant: &str, holder: Option<&str>) -> (String, String, Option<String>) {
    (route.to_owned(), claimant.to_owned(), holder.map(str::to_owned))
}

/// A router whose policy is a file beside the projects.
fn with_policy(volume: &Volume, policy: &str) -> Builder {
    volume.write("_policy/policy.toml", policy);
    Router::builder(volume).unwatched().flag("policy", volume.path("_policy/policy.toml").display())
}

fn change_policy(router: &Router, volume: &Volume, policy: &str) {
    volume.replace("_policy/policy.toml", policy);
    router.signal(Signal::HUP);
}

#[tokio::test]
async fn a_projects_own_host_and_path_go_before_any_claim_at_router_and_bridge() {
    let volume = Volume::new();
    project(&volume, "victim", &[]);
    project(&volume, "m-shop", &["www.shop.example"]);
    let mut routers = Replicas::start_each(volume.root(), 2, |_, router| router.unwatched()).await;
    let bridge = routers.start_bridge().await;
    // After the victims, under names before and behind theirs.
    project(&volume, "zz-evil", &["victim.example.com", "/victim", "/victim/api"]);
    project(&volume, "a-evil", &["www.shop.example"]);
    let expected = [
        ("victim.example.com", "/", "victim"),
        ("victim.example.com", "/zz-evil/", "victim"),
        ("localhost", "/victim/", "victim"),
        ("localhost", "/victim/api/x", "victim"),
        ("www.shop.example", "/", "m-shop"),
        ("www.shop.example", "/victim/", "m-shop"),
        ("WWW.Shop.Example.:8080", "/%76ictim/", "m-shop"),
    ];
    for router in routers.iter() {
        for (evil, field) in [("zz-evil", "switchyard.routes[0]"), ("a-evil", "switchyard.routes[0]")] {
            let report = router.admin.reload(evil).await;
            let error = report.error.expect("it is refused");
            assert_eq!(
                (report.outcome, error.file.as_deref()),
                (ReloadOutcome::Failed, Some("deno.json")),
                "{evil}"
            );
            assert!(error.message.contains(field) && error.line == Some(1), "{error:?}");
        }
        assert_reached(&router.public, &expected).await;
    }
    assert_reached(&bridge.forward, &expected).await;
    // Also after a restart, where all begin together.
    let kept = routers.take(0);
    kept.stop().await;
    routers.start_again(0).await;
    assert_reached(&routers[0].public, &expected).await;
    bridge.asks_all().await;
    assert_reached(&bridge.forward, &expected).await;
}

#[tokio::test]
async fn a_refused_claim_fails_its_reload_and_is_shown_at_both_and_in_events() {
    let volume = Volume::new();
    project(&volume, "shop", &["www.shop.example", "/store"]);
    project(&volume, "evil", &[]);
    let router = Router::builder(&volume).unwatched().start().await;
    let mut events = router.events().await;
    volume.replace("evil/main.ts", hello("newer"));
    volume.replace(
        "evil/deno.json",
        "{\n  \"switchyard\": {\n    \"routes\": [\"/evil\", \"/store/login\"]\n  }\n}\n",
    );
    let report = router.admin.reload("evil").await;
    let error = report.error.unwrap();
    assert_eq!(
        (report.outcome, error.file.as_deref(), error.line),
        (ReloadOutcome::Failed, Some("deno.json"), Some(3))
    );
    for says in
        ["\"switchyard.routes[1]\" in deno.json", "\"/store/login\"", "project shop", "[projects.evil]"]
    {
        assert!(error.message.contains(says), "{says}: {}", error.message);
    }
    assert_eq!(events.wait_failed("evil").await.data.error, Some(error));
    // The last good version keeps serving.
    assert_reached(
        &router.public,
        &[
            ("localhost", "/evil/", "evil"),
            ("localhost", "/store/login/", "shop"),
            ("localhost", "/shop/", "shop"),
        ],
    )
    .await;
    let expected = side("/store/login", "evil", Some("shop"));
    for name in ["evil", "shop"] {
        assert_eq!(sides(&router, name).await, std::slice::from_ref(&expected), "{name}");
        let event = events.wait_for(EventType::RouteConflict, name).await;
        assert_eq!(event.data.conflict.as_ref(), conflicts(&router, name).await.first(), "{name}");
    }
    // Another look at the failure emits no event.
    router.admin.reload_all().await;
    for name in ["evil", "shop"] {
        assert_eq!(events.count(EventType::RouteConflict, name), 1, "{name}");
    }
    // The claim is granted automatically once the holder drops it.
    volume.replace("shop/deno.json", routes(&["www.shop.example"]));
    assert_eq!(router.admin.reload("shop").await.outcome, ReloadOutcome::Live);
    reaches(&router.public, "localhost", "/store/login/", "newer").await;
    for name in ["evil", "shop"] {
        eventually("the conflict is gone", || async { conflicts(&router, name).await.is_empty() }).await;
    }
}

#[tokio::test]
async fn a_removed_project_gives_its_claims_back_and_a_failed_one_keeps_them() {
    let volume = Volume::new();
    project(&volume, "shop", &["www.shop.example"]);
    let router = Router::builder(&volume).unwatched().start().await;
    let mut events = router.events().await;
    volume.replace("shop/main.ts", "export default {");
    assert_eq!(router.admin.reload("shop").await.outcome, ReloadOutcome::Failed);
    project(&volume, "evil", &["www.shop.example"]);
    assert_eq!(router.admin.reload("evil").await.outcome, ReloadOutcome::Failed);
    assert_reached(&router.public, &[("www.shop.example", "/", "shop")]).await;
    assert_eq!(router.admin.project("evil").await.state, ProjectState::Failed);
    volume.remove("shop");
    assert_eq!(router.admin.reload("shop").await.outcome, ReloadOutcome::Removed);
    events.wait_live("evil").await;
    assert_reached(&router.public, &[("www.shop.example", "/", "evil")]).await;
    // A claim that comes back is a later claim.
    project(&volume, "shop", &["www.shop.example"]);
    assert_eq!(router.admin.reload("shop").await.outcome, ReloadOutcome::Failed);
    assert_reached(&router.public, &[("www.shop.example", "/", "evil")]).await;
}

#[tokio::test]
async fn the_first_claim_counts_after_a_restart_too_whatever_the_names_and_the_order_of_the_start() {
    let (volume, state) = (Volume::new(), State::new());
    project(&volume, "m-shop", &["www.shop.example", "/store"]);
    let router = Router::builder(&volume).state(&state).unwatched().start().await;
    router.stop().await;
    // At the next start it is there before the shop by name, and ready sooner.
    project(&volume, "a-evil", &["www.shop.example", "/store/login"]);
    volume
        .replace("m-shop/main.ts", "await new Promise((done) => setTimeout(done, 300)); throw new Error();");
    for _ in 0..2 {
        let router = Router::builder(&volume).state(&state).unwatched().start().await;
        let expected = [
            ("www.shop.example", "/", "m-shop"),
            ("localhost", "/store/login/", "m-shop"),
            ("localhost", "/a-evil/", "-"),
        ];
        assert_reached(&router.public, &expected).await;
        let error = router.admin.project("a-evil").await.error.expect("it is refused");
        assert!(
            error.message.contains("project m-shop has claimed \"www.shop.example\""),
            "{}",
            error.message
        );
        router.stop().await;
    }
}

#[tokio::test]
async fn a_router_that_cannot_order_two_claims_gives_the_route_to_neither_until_one_withdraws() {
    let volume = Volume::new();
    project(&volume, "b", &["both.example", "/both", "/b-only"]);
    project(&volume, "c", &["both.example", "/both/inner"]);
    project(&volume, "other", &[]);
    let (state, both) = (State::new(), ["b", "c"]);
    for _ in 0..2 {
        let router = Router::builder(&volume).state(&state).unwatched().start().await;
        let expected = [
            ("both.example", "/", "-"),
            ("both.example", "/other/", "-"),
            ("localhost", "/both/inner/", "-"),
            ("localhost", "/both/", "b"),
            ("localhost", "/b-only/", "b"),
            ("localhost", "/c/", "c"),
        ];
        assert_reached(&router.public, &expected).await;
        for name in both {
            let project = router.admin.project(name).await;
            assert_eq!((project.state, project.error), (ProjectState::Live, None), "{name}");
            assert!(
                project.conflicts.iter().all(|conflict| conflict.holder.is_none()),
                "{:?}",
                project.conflicts
            );
            assert!(
                project.conflicts.iter().any(|conflict| conflict.claimant == name),
                "{:?}",
                project.conflicts
            );
        }
        router.stop().await;
    }
    let router = Router::builder(&volume).state(&state).unwatched().start().await;
    volume.replace("b/deno.json", routes(&["/both"]));
    assert_eq!(router.admin.reload("b").await.outcome, ReloadOutcome::Live);
    assert_reached(&router.public, &[("both.example", "/", "c"), ("localhost", "/both/inner/", "-")]).await;
    volume.replace("c/deno.json", routes(&["both.example"]));
    assert_eq!(router.admin.reload("c").await.outcome, ReloadOutcome::Live);
    assert_reached(&router.public, &[("localhost", "/both/inner/", "b"), ("both.example", "/other/", "c")])
        .await;
    for name in both {
        assert_eq!(conflicts(&router, name).await, [], "{name}");
    }
}

#[tokio::test]
async fn a_later_project_keeps_its_name_and_the_claim_on_it_is_shown_at_both() {
    let volume = Volume::new();
    project(&volume, "a-evil", &["victim.example.com", "/victim", "/free"]);
    let state = State::new();
    let router = Router::builder(&volume).state(&state).unwatched().start().await;
    let mut events = router.events().await;
    assert_reached(
        &router.public,
        &[("victim.example.com", "/", "a-evil"), ("localhost", "/victim/", "a-evil")],
    )
    .await;
    project(&volume, "victim", &[]);
    assert_eq!(router.admin.reload("victim").await.outcome, ReloadOutcome::Live);
    let expected = [
        ("victim.example.com", "/", "victim"),
        ("localhost", "/victim/", "victim"),
        ("localhost", "/free/", "a-evil"),
    ];
    assert_reached(&router.public, &expected).await;
    for name in ["a-evil", "victim"] {
        let mut found = sides(&router, name).await;
        found.sort();
        let holder = Some("victim");
        assert_eq!(
            found,
            [side("/victim", "a-evil", holder), side("victim.example.com", "a-evil", holder)],
            "{name}"
        );
        events.wait_for(EventType::RouteConflict, name).await;
    }
    // The project can be built again, and a restart changes nothing.
    volume.replace("a-evil/main.ts", hello("again"));
    assert_eq!(router.admin.reload("a-evil").await.outcome, ReloadOutcome::Live);
    router.stop().await;
    let router = Router::builder(&volume).state(&state).unwatched().start().await;
    assert_reached(&router.public, &expected[..2]).await;
    assert_reached(&router.public, &[("localhost", "/free/", "again")]).await;
}

#[tokio::test]
async fn addresses_localhost_www_and_numbers_are_nobodys_by_host() {
    let volume = Volume::new();
    for name in ["127", "10", "0x7f", "localhost", "www", "victim"] {
        project(&volume, name, &[]);
    }
    project(&volume, "shop", &["www.shop.example"]);
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    for client in [&routers[0].public, &bridge.forward] {
        for host in [
            "127.0.0.1",
            "127.0.0.1:8080",
            "127.1",
            "10.0.0.5",
            "0x7f.1",
            "[::1]:80",
            "localhost",
            "LOCALHOST.:1",
            "localhost.localdomain",
            "www.example.com",
            "10.example.com",
        ] {
            assert_eq!(text_of(client, host, "/victim/").await, "victim", "{host}");
            assert_eq!(text_of(client, host, "/").await, "-", "{host}");
        }
        for name in ["127", "10", "0x7f", "localhost", "www"] {
            assert_eq!(text_of(client, "localhost", &format!("/{name}/")).await, name);
        }
        assert_eq!(text_of(client, "www.shop.example", "/victim/").await, "shop");
        assert_eq!(text_of(client, "0x7f.example.com", "/victim/").await, "0x7f", "a name as any other");
    }
    for claim in ["127.0.0.1", "localhost", "[::1]", "0x7f.1"] {
        volume.replace("shop/deno.json", routes(&[claim]));
        let error = routers[0].admin.reload("shop").await.error.expect("it is refused");
        assert!(error.message.contains("invalid route"), "{}", error.message);
    }
}

#[tokio::test]
async fn a_project_claims_at_most_100_routes() {
    let volume = Volume::new();
    let many: Vec<String> = (0..101).map(|n| format!("/many/{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    project(&volume, "a", &many[..100]);
    let router = Router::builder(&volume).unwatched().start().await;
    assert_reached(&router.public, &[("localhost", "/many/99/x", "a"), ("localhost", "/many/100/x", "-")])
        .await;
    volume.replace("a/deno.json", routes(&many));
    let report = router.admin.reload("a").await;
    let error = report.error.expect("it is refused");
    assert!(
        error.message.contains("\"switchyard.routes\" in deno.json has 101 routes: at most 100 are possible"),
        "{error:?}"
    );
    assert_reached(&router.public, &[("localhost", "/many/99/x", "a")]).await;
}

#[tokio::test]
async fn a_policy_assigns_a_route_and_a_changed_policy_changes_the_owner() {
    let volume = Volume::new();
    project(&volume, "a-evil", &["www.shop.example", "/store"]);
    project(&volume, "api", &[]);
    let router = with_policy(&volume, "").start().await;
    let mut events = router.events().await;
    project(&volume, "shop", &["www.shop.example", "api.shop.example", "/store"]);
    assert_eq!(router.admin.reload("shop").await.outcome, ReloadOutcome::Failed);
    assert_reached(&router.public, &[("www.shop.example", "/", "a-evil"), ("api.shop.example", "/", "api")])
        .await;

    change_policy(&router, &volume, "[projects.shop]\nroutes = [\"*.shop.example\", \"/store\"]\n");
    // A version that failed because of its claims is tried again.
    events.wait_live("shop").await;
    let shops = [
        ("www.shop.example", "/", "shop"),
        ("api.shop.example", "/", "shop"),
        ("localhost", "/store/x", "shop"),
        ("shop.shop.example", "/", "shop"),
        ("other.shop.example", "/api/", "-"),
        ("localhost", "/api/", "api"),
        ("localhost", "/a-evil/", "a-evil"),
    ];
    assert_reached(&router.public, &shops).await;
    let mut found = sides(&router, "a-evil").await;
    found.sort();
    let holder = Some("shop");
    assert_eq!(found, [side("/store", "a-evil", holder), side("www.shop.example", "a-evil", holder)]);
    assert_eq!(sides(&router, "shop").await.len(), 2);
    assert_eq!(router.admin.project("a-evil").await.claims, []);
    // A claim that the policy refuses fails the next version.
    volume.replace("a-evil/main.ts", hello("newer"));
    let error = router.admin.reload("a-evil").await.error.expect("it is refused");
    for says in
        ["switchyard.routes[0]", "the operator's policy gives \"www.shop.example\" to the project shop"]
    {
        assert!(error.message.contains(says), "{says}: {}", error.message);
    }
    volume.replace("a-evil/deno.json", routes(&[]));
    assert_eq!(router.admin.reload("a-evil").await.outcome, ReloadOutcome::Live);
    assert_eq!(conflicts(&router, "shop").await, []);

    change_policy(
        &router,
        &volume,
        "[defaults]\nroutes = false\n[projects.a-evil]\nroutes = [\"www.shop.example\"]\n",
    );
    reaches(&router.public, "www.shop.example", "/", "-").await;
    let refused = conflicts(&router, "shop").await;
    assert_eq!(refused.len(), 3, "{refused:?}");
    assert!(
        refused.iter().any(|one| one.message.contains("does not give \"/store\" to shop")),
        "{refused:?}"
    );
    assert_reached(&router.public, &[("api.shop.example", "/", "api"), ("localhost", "/store/x", "-")]).await;
    volume.replace("a-evil/deno.json", routes(&["www.shop.example"]));
    assert_eq!(router.admin.reload("a-evil").await.outcome, ReloadOutcome::Live);
    assert_reached(&router.public, &[("www.shop.example", "/", "newer")]).await;

    // Without a policy the route belongs to the first project that has claimed it and still does:
    // that is the shop now.
    change_policy(&router, &volume, "");
    reaches(&router.public, "www.shop.example", "/", "shop").await;
    assert_reached(&router.public, &[("api.shop.example", "/", "api"), ("localhost", "/store/x", "shop")])
        .await;
    assert_eq!(sides(&router, "a-evil").await, [side("www.shop.example", "a-evil", holder)]);
}

#[tokio::test]
async fn a_claim_that_the_policy_refuses_loses_a_route_that_an_older_policy_gave() {
    let volume = Volume::new();
    let mode = "export default { fetch: () => new Response(Deno.env.get('MODE')) };\n";
    volume.project("a").file("main.ts", mode).file("deno.json", routes(&["/store"])).write();
    let router = with_policy(&volume, "[projects.a.env]\nMODE = \"one\"\n").start().await;
    assert_reached(&router.public, &[("localhost", "/store/", "one")]).await;
    change_policy(&router, &volume, "[projects.a]\nroutes = false\n[projects.a.env]\nMODE = \"two\"\n");
    reaches(&router.public, "localhost", "/a/", "two").await;
    assert_reached(&router.public, &[("localhost", "/store/", "-")]).await;
    assert_eq!(sides(&router, "a").await, [side("/store", "a", None)]);
}

#[tokio::test]
async fn a_shared_host_belongs_to_no_project_regardless_of_names_and_claims() {
    let volume = Volume::new();
    for name in ["apps", "victim"] {
        project(&volume, name, &[]);
    }
    project(&volume, "evil", &["apps.example.com"]);
    let router = with_policy(&volume, "shared_hosts = [\"apps.example.com\"]\n").start().await;
    assert_reached(
        &router.public,
        &[
            ("apps.example.com", "/victim/", "victim"),
            ("apps.example.com", "/", "-"),
            ("apps.example.com", "/apps/", "apps"),
            ("apps.example.org", "/victim/", "apps"),
        ],
    )
    .await;
    let error = router.admin.project("evil").await.error.expect("it is refused");
    assert!(error.message.contains("shared_hosts"), "{}", error.message);
}

#[tokio::test]
async fn a_deploy_with_a_refused_claim_is_undone_everywhere_and_a_route_moves_within_one() {
    let volume = Volume::new();
    project(&volume, "shop", &["/store"]);
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let claim = routes(&["/store"]);
    let upload = Upload::main(hello("new")).and(&Part::file("deno.json", &claim));
    let refused = bridge.deploy("new", &upload).await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    let problem: Value = refused.json();
    assert_eq!(problem["error"]["file"], "deno.json", "{problem}");
    assert!(
        problem["error"]["message"].as_str().is_some_and(|text| text.contains("project shop")),
        "{problem}"
    );
    for router in routers.iter() {
        assert_reached(&router.public, &[("localhost", "/store/", "shop"), ("localhost", "/new/", "-")])
            .await;
    }
    // Two projects in one deploy: the one gives the route up that the other one claims.
    let (shop, new, none) = (hello("shop"), hello("new"), routes(&[]));
    let files = [
        ("shop/main.ts", &*shop),
        ("shop/deno.json", &*none),
        ("new/main.ts", &*new),
        ("new/deno.json", &*claim),
    ];
    let moved = bridge.client.send(Upload::curl(&files).to("/deploy")).await;
    assert_eq!(moved.status, 200, "{}", moved.text());
    for router in routers.iter() {
        assert_reached(&router.public, &[("localhost", "/store/", "new"), ("localhost", "/shop/", "shop")])
            .await;
        assert_eq!(conflicts(router, "new").await, []);
    }
}

#[tokio::test]
async fn the_bridge_and_its_status_command_show_conflicts() {
    let volume = Volume::new();
    project(&volume, "a-evil", &["/victim"]);
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    project(&volume, "victim", &[]);
    routers[0].admin.reload("victim").await;
    for name in ["a-evil", "victim"] {
        eventually(&format!("the bridge shows the conflict at {name}"), || async {
            let project = bridge.project(name).await;
            project["routers"][0]["conflicts"][0]["holder"] == "victim"
        })
        .await;
        let status = cli::run(&bridge, &["status", name]).await;
        assert!(
            status.stdout.contains("\"/victim\" belongs to the project victim by its name"),
            "{}",
            status.stdout
        );
    }
}
