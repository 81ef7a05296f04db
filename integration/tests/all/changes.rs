//! `GET /projects?since=…`: the changed projects, and nothing else.

use switchyard_contract::admin::{Projects, ReloadOutcome};
use switchyard_integration::bridge::Bridge;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

const COUNT: usize = 30;

fn volume() -> Volume {
    let volume = Volume::new();
    for index in 0..COUNT {
        volume.project(&format!("p{index:02}")).file("main.ts", hello("one")).write();
    }
    volume
}

fn names(projects: &Projects) -> Vec<&str> {
    projects.projects.iter().map(|status| status.name.as_str()).collect()
}

#[tokio::test]
async fn after_an_edit_the_changes_have_one_project() {
    let volume = volume();
    let router = Router::builder(&volume).unwatched().start().await;
    let all = router.admin.all().await;
    assert_eq!((all.projects.len(), all.since), (COUNT, None));
    let none = router.admin.changes(&all).await;
    assert_eq!((names(&none), &none.removed, none.since), (vec![], &vec![], Some(all.revision)));

    volume.write("p07/main.ts", hello("two"));
    assert_eq!(router.admin.reload("p07").await.outcome, ReloadOutcome::Live);
    let changes = router.admin.changes(&all).await;
    assert_eq!(names(&changes), ["p07"]);
    assert_eq!(changes.projects[0].live, router.admin.project("p07").await.live);
    assert!(changes.revision > all.revision);

    volume.remove("p08");
    router.admin.reload_all().await;
    let removed = router.admin.changes(&changes).await;
    assert_eq!(removed.removed, ["p08"]);
    assert!(
        !names(&removed).contains(&"p09"),
        "a comparison without differences is not a change: {:?}",
        names(&removed)
    );
}

#[tokio::test]
async fn a_revision_of_another_router_or_of_the_future_is_answered_with_all_projects() {
    let volume = volume();
    let router = Router::start(&volume).await;
    let all = router.admin.all().await;
    for earlier in [
        Projects { router: "another".to_owned(), ..all.clone() },
        Projects { revision: all.revision + 1000, ..all.clone() },
    ] {
        let answer = router.admin.changes(&earlier).await;
        assert_eq!((answer.projects.len(), answer.since), (COUNT, None));
    }
    for query in ["since=x&router=y", "since=1", "router=y", "until=1"] {
        let reply = router.admin.client.get(&format!("/projects?{query}")).await;
        reply.assert_problem(400, "bad-request");
    }
}

#[tokio::test]
async fn a_bridge_reads_one_project_after_an_edit() {
    let volume = volume();
    let router = Router::start(&volume).await;
    let bridge = Bridge::builder(&volume).router(&router).start().await;
    bridge.asks_all().await;
    let counted = async |name: &str| -> f64 {
        let page = bridge.client.get("/metrics").await.text();
        let line = page.lines().find(|line| line.starts_with(name)).expect("it is counted");
        line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
    };
    let before = [
        counted("switchyard_bridge_router_statuses_total").await,
        counted("switchyard_bridge_routes_made_total").await,
    ];
    assert!(before[0] >= COUNT as f64, "{before:?}");
    volume.replace("p07/main.ts", hello("two"));
    eventually("the bridge has noticed", || async {
        let live = &bridge.project("p07").await["routers"][0]["live"];
        *live == serde_json::to_value(router.admin.project("p07").await.live).unwrap()
            && router.public.get("/p07/").await.text() == "two"
    })
    .await;
    let after = [
        counted("switchyard_bridge_router_statuses_total").await,
        counted("switchyard_bridge_routes_made_total").await,
    ];
    // A build that begins, one that ends, and an old version that drains: a few statuses of one
    // project.
    for (before, after) in before.into_iter().zip(after) {
        assert!(after - before < COUNT as f64 / 2.0, "{before} {after}");
    }
}
