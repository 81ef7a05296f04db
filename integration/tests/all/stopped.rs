//! A version that dies again and again: restarted after growing pauses, then stopped until
//! something changes.

use http::Method;
use switchyard_contract::admin::{ProjectState, ReloadOutcome};
use switchyard_contract::event::{DeathReason, Event, EventType};
use switchyard_integration::client::with_method;
use switchyard_integration::events::Events;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::{hello, slow};
use switchyard_integration::probe::Probe;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

/// Milliseconds before each restart; after the last one there is no restart.
const PAUSES: [Option<u64>; 8] =
    [Some(0), Some(100), Some(200), Some(400), Some(800), Some(1600), Some(3200), None];

/// A project that loads, and dies a moment later without any request.
const DIES: &str =
    "setTimeout(() => Deno.exit(3), 500);\nexport default { fetch: () => new Response('alive') };\n";

/// Dies of its requests.
const DIES_OF_A_REQUEST: &str = "export default { fetch: () => Deno.exit(7) };\n";

/// Loads once and never again.
const LOADS_ONCE: &str = "const seen = `${Deno.env.get('DATA_DIR')}/seen`;
let again = true;
try { Deno.statSync(seen); } catch { again = false; }
Deno.writeTextFileSync(seen, '');
if (again) throw new Error('once is enough');
export default { fetch: () => Deno.exit(7) };
";

async fn start(main: &str) -> (Volume, Router, Events) {
    let volume = Volume::with("a", main);
    volume.project("b").file("main.ts", hello("b")).write();
    let router = Router::start(&volume).await;
    let events = router.events().await;
    (volume, router, events)
}

async fn deaths(events: &mut Events, count: usize) -> Vec<Event> {
    let mut died = Vec::new();
    while died.len() < count {
        died.push(events.wait_for(EventType::CellDied, "a").await);
    }
    died
}

fn pauses(died: &[Event]) -> Vec<Option<u64>> {
    died.iter().map(|event| event.data.death.as_ref().expect("it says how").restart_ms).collect()
}

#[tokio::test]
async fn a_crash_loop_ends_automatically_and_a_new_version_starts_fresh() {
    let (volume, router, mut events) = start(DIES).await;
    let neighbour = Probe::start(&router.public, "/b/").await;
    let pid = router.admin.project("b").await.pid;
    assert_eq!(pauses(&deaths(&mut events, PAUSES.len()).await), PAUSES);

    let refused = router.public.get("/a/").await;
    let problem = refused.assert_problem(503, "stopped");
    assert_eq!(refused.header("retry-after"), None, "nothing changes by waiting");
    assert!(!problem.to_string().contains("exit"), "callers do not see how it died: {problem}");
    let status = router.admin.project("a").await;
    assert_eq!((status.state, status.pid, status.crashes.len()), (ProjectState::Stopped, None, PAUSES.len()));
    assert!(status.crashes.iter().all(|died| died.death.code == Some(3)), "{:?}", status.crashes);
    let error = status.error.expect("operators see the reason").message;
    assert!(
        error.contains("8 times") && error.contains("exit code 3") && error.contains("`switchyard reload a`"),
        "{error}"
    );
    assert_eq!(router.admin.metric("switchyard_cells_died_total", "reason=\"exit\"").await, Some(8.0));
    assert_eq!(router.admin.project("b").await.pid, pid);
    neighbour.finish().await.no_failures().versions_monotonic(&["b"]);

    volume.replace("a/main.ts", hello("mended"));
    eventually("new code is served", || async { router.public.get("/a/").await.text() == "mended" }).await;
    let status = router.admin.project("a").await;
    assert_eq!((status.state, status.error), (ProjectState::Live, None));
}

#[tokio::test]
async fn requests_during_a_pause_wait_for_its_end() {
    let (_volume, router, mut events) = start(DIES_OF_A_REQUEST).await;
    for _ in 1..PAUSES.len() {
        // Each waits for the cell that it kills.
        router.public.get("/a/").await.assert_problem(502, "cell-died");
    }
    assert_eq!(router.admin.project("a").await.error, None);
    router.public.get("/a/").await.assert_problem(502, "cell-died");
    assert_eq!(pauses(&deaths(&mut events, PAUSES.len()).await), PAUSES);
    for _ in 0..3 {
        router.public.get("/a/").await.assert_problem(503, "stopped");
    }
}

#[tokio::test]
async fn a_stopped_version_is_started_again_by_a_requested_reload() {
    let (volume, router, mut events) = start(DIES_OF_A_REQUEST).await;
    for _ in PAUSES {
        router.public.get("/a/").await.assert_problem(502, "cell-died");
    }
    deaths(&mut events, PAUSES.len()).await;
    volume.write("a/main.ts", DIES_OF_A_REQUEST);
    router.public.get("/a/").await.assert_problem(503, "stopped");
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Unchanged);
    router.public.send(with_method(Method::GET, "/a/")).await.assert_problem(502, "cell-died");
    assert_eq!(pauses(&deaths(&mut events, 1).await), [Some(0)], "the count starts again");
}

#[tokio::test]
async fn a_version_that_does_not_load_a_second_time_is_stopped_too() {
    let (_volume, router, mut events) = start(LOADS_ONCE).await;
    router.public.get("/a/").await.assert_problem(502, "cell-died");
    let died = deaths(&mut events, PAUSES.len()).await;
    assert_eq!(pauses(&died), PAUSES);
    let reasons: Vec<_> = died.iter().filter_map(|event| Some(event.data.death.as_ref()?.reason)).collect();
    assert_eq!(reasons[0], DeathReason::Exit);
    assert!(reasons[1..].iter().all(|reason| *reason == DeathReason::Load), "{reasons:?}");
    router.public.get("/a/").await.assert_problem(503, "stopped");
}

#[tokio::test]
async fn a_crash_loop_holds_up_nobodys_build() {
    let (volume, router, mut events) = start(DIES).await;
    events.wait_live("b").await;
    for round in 0..5 {
        deaths(&mut events, 1).await;
        volume.replace("b/main.ts", slow(&format!("b{round}"), 20));
        events.wait_live("b").await;
        assert_eq!(router.public.get("/b/").await.text(), format!("b{round}"));
    }
    assert_eq!(router.admin.project("a").await.state, ProjectState::Live, "its loop was not over");
}
