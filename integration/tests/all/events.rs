//! The events that the ingress receives.

use std::collections::BTreeMap;

use switchyard_contract::admin::ReloadOutcome;
use switchyard_contract::event::{Event, EventType, Trigger};
use switchyard_integration::events::Events;
use switchyard_integration::fixtures::hello;
use switchyard_integration::receiver::Receiver;
use switchyard_integration::router::{Builder, Router};
use switchyard_integration::volume::Volume;

fn telling(volume: &Volume, receiver: &Receiver) -> Builder {
    Router::builder(volume)
        .flag("event-url", &receiver.url)
        .flag("event-secret-file", receiver.secret_file.path().display())
}

fn is_live(event: &Event, project: &str, previous: bool) -> bool {
    event.kind == EventType::ReloadLive
        && event.data.project == project
        && event.data.previous.is_some() == previous
}

#[tokio::test]
async fn signed_events_notify_the_ingress_of_the_serving_version() {
    let mut receiver = Receiver::start().await;
    let volume = Volume::with("a", hello("one"));
    let router = telling(&volume, &receiver).start().await;
    let first = receiver.next().await.event;
    assert_eq!((first.kind, first.data.trigger), (EventType::ReloadLive, Some(Trigger::Scan)));
    assert_eq!(first.data.version.as_deref(), router.public.get("/a/").await.version());
    let logged = router.log.wait_for(|record| record["trigger"] == "scan");
    assert!(switchyard_integration::within("the log has the event's words", logged).await.is_some());

    volume.write("a/main.ts", hello("two"));
    let second = receiver.until(|event| is_live(event, "a", true)).await.pop().unwrap();
    assert_eq!(second.data.trigger, Some(Trigger::Watch));
    assert_eq!(second.data.previous, first.data.version);
    let changed = |event: &Event| event.data.changed.as_ref().map(ToString::to_string);
    assert_eq!((changed(&first), changed(&second)), (None, Some("main.ts".to_owned())));
    assert_eq!(router.public.get("/a/").await.text(), "two");
    let timings = second.data.timings_ms;
    let total = timings.total.expect("a reload has a total");
    for (phase, ms) in [
        ("debounce", timings.debounce),
        ("snapshot", timings.snapshot),
        ("build", timings.build),
        ("publish", timings.publish),
    ] {
        let ms = ms.unwrap_or_else(|| panic!("no time for {phase}: {timings:?}"));
        assert!((0.0..=total).contains(&ms), "{phase}: {timings:?}");
    }

    volume.write("a/main.ts", "export default {");
    let failed = receiver.until(|event| event.kind == EventType::ReloadFailed).await.pop().unwrap();
    assert_eq!(failed.data.previous, second.data.version);
    assert_eq!(changed(&failed).as_deref(), Some("main.ts"));
    assert!(failed.data.error.is_some_and(|error| error.file.as_deref() == Some("main.ts")));

    volume.remove("a");
    receiver.until(|event| event.kind == EventType::ProjectRemoved).await;
    receiver
        .until(|event| event.kind == EventType::VersionRetired && event.data.version == second.data.version)
        .await;
}

#[tokio::test]
async fn events_are_tried_again_and_keep_their_order_for_each_project() {
    let mut receiver = Receiver::start().await;
    let volume = Volume::with("a", hello("v0"));
    volume.project("b").file("main.ts", hello("v0")).write();
    receiver.refuse_next(3);
    let router = telling(&volume, &receiver).unwatched().start().await;
    for label in ["v1", "v2"] {
        for name in ["a", "b"] {
            volume.replace(&format!("{name}/main.ts"), hello(label));
            assert_eq!(router.admin.reload(name).await.outcome, ReloadOutcome::Live);
        }
    }
    let mut received: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    while ["a", "b"].iter().any(|name| received.get(*name).map_or(0, |events| lives(events)) < 3) {
        let event = receiver.next().await.event;
        received.entry(event.data.project.clone()).or_default().push(event);
    }
    assert_eq!(receiver.refused(), 3);
    for (project, events) in received {
        assert!(events.is_sorted_by_key(|event| event.data.sequence), "{project}: {events:#?}");
    }
}

fn lives(events: &[Event]) -> usize {
    events.iter().filter(|event| event.kind == EventType::ReloadLive).count()
}

#[tokio::test]
async fn an_ingress_that_is_away_holds_up_no_reload() {
    let volume = Volume::with("a", hello("one"));
    let receiver = Receiver::start().await;
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let router = telling(&volume, &receiver).flag("event-url", format!("http://{unused}/")).start().await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    volume.write("a/main.ts", hello("two"));
    events.wait_live("a").await;
    assert_eq!(router.public.get("/a/").await.text(), "two");
    assert_eq!(router.stop().await.status.code(), Some(0));
}

#[tokio::test]
async fn the_event_stream_replays_events_after_the_last_event_id() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    let first = events.wait_live("a").await;
    volume.replace("a/main.ts", hello("two"));
    let second = events.wait_live("a").await;
    let after_first = Some(first.data.sequence);
    let mut late = Events::follow(&router.admin.client, after_first).await;
    let replayed = late.wait_live("a").await;
    assert_eq!(replayed, second);
    assert!(late.all().iter().all(|event| event.data.sequence > first.data.sequence));
    volume.replace("a/main.ts", hello("three"));
    let third = late.wait_live("a").await;
    assert_eq!(third, events.wait_live("a").await);
    assert!(events.all().is_sorted_by(|a, b| a.data.sequence < b.data.sequence));
}

#[tokio::test]
async fn each_reload_is_a_log_line_with_project_version_and_time_per_phase() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    volume.replace("a/main.ts", hello("two"));
    let version = events.wait_live("a").await.data.version.expect("a version is live");
    let logged = router.log.wait_for(|record| {
        let text = record.to_string();
        text.contains(&version) && text.contains("build_ms") && text.contains("total_ms")
    });
    let line = switchyard_integration::within("a log line about the reload", logged).await.unwrap();
    assert!(line.to_string().contains("\"a\""), "{line}");
}

#[tokio::test]
async fn output_of_a_project_is_logged_with_its_project_and_version() {
    let volume = Volume::with(
        "a",
        "console.log('printed by a');
         console.error('warned by a');
         export default { fetch: () => new Response('one') };",
    );
    let router = Router::start(&volume).await;
    let version = router.admin.project("a").await.live.expect("a is live").version;
    for printed in ["printed by a", "warned by a"] {
        let line = router.log.wait_for(|record| record.to_string().contains(printed));
        let line = switchyard_integration::within("the line is logged", line).await.unwrap().to_string();
        assert!(line.contains(&version), "{line}");
    }
}
