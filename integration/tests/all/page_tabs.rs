//! Many tabs, and tabs that are open for long.

use switchyard_contract::event::Event;
use switchyard_integration::bridge::addresses::SECRET;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::bridge::signed;
use switchyard_integration::browser::{Browser, Theme};
use switchyard_integration::fixtures::hello;
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;

/// More events than a tab keeps.
const EVENTS: u64 = 1500;

#[tokio::test]
async fn seven_tabs_are_all_live() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let browser = Browser::start().await;
    let url = format!("http://{}/ui/", bridge.client.address);
    let mut tabs = Vec::new();
    for path in ["", "#/deploys", "#/events", "#/projects/a/logs", "#/projects/a/versions", "#/routers", ""] {
        let mut tab = browser.open(&format!("{url}{path}")).await;
        tab.look(1400, Theme::Light).await;
        tab.until("document.querySelector('h1')").await;
        tabs.push(tab);
    }
    let record = bridge.deploy_live("a", &Upload::main(hello("two"))).await;
    let short = record.version().split('@').nth(1).expect("a version has a digest").to_owned();
    for index in [0, 2, 4, 6] {
        tabs[index].until(&format!("document.body.innerText.includes({short:?})")).await;
    }
    bridge.deploy_live("b", &Upload::main("console.log('from b');\n".to_owned() + &hello("b"))).await;
    tabs[0].until("[...document.querySelectorAll('.name')].some((e) => e.innerText === 'b')").await;
    tabs[1].until("[...document.querySelectorAll('.name')].some((e) => e.innerText === 'b')").await;
    // The one that read the stream for all is closed.
    browser.close(tabs.remove(0)).await;
    bridge.deploy_live("c", &Upload::main(hello("c"))).await;
    tabs[5].until("[...document.querySelectorAll('.name')].some((e) => e.innerText === 'c')").await;
    for tab in &mut tabs {
        assert_eq!(tab.errors().await, [] as [String; 0]);
    }
}

#[tokio::test]
async fn a_tab_that_gets_many_events_and_lines_does_not_grow() {
    let talks = "export default { async fetch(request) {\n  const count = Number(new URL(request.url).searchParams.get('n') ?? 0);\n  \
        for (let i = 0; i < count; i++) console.log('line ' + i);\n  \
        console.log('end of ' + new URL(request.url).searchParams.get('round') + ';');\n  return new Response('ok');\n} };\n";
    let volume = Volume::with("a", talks);
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let browser = Browser::start().await;
    let url = format!("http://{}/ui/", bridge.client.address);
    let mut page = browser.open(&format!("{url}#/events")).await;
    page.until("document.querySelector('.events li')").await;
    let known = bridge.client.get("/events").await.json()["events"][0].clone();
    let mut event: Event = serde_json::from_value(known).expect("it is an event");
    let mut connection = bridge.client.connect().await;
    let first = event.data.sequence;
    for sequence in first + 1..=first + EVENTS {
        event.data.sequence = sequence;
        let post = signed::event(&event, &format!("evt_{sequence}"), SECRET, signed::now());
        assert_eq!(connection.send(post).await.status, 204);
    }
    page.until("document.querySelector('[role=status]').innerText.startsWith('1,000 events')").await;
    for _ in 0..15 {
        page.evaluate("scrollTo(0, document.body.scrollHeight)").await;
        page.evaluate("new Promise(requestAnimationFrame)").await;
    }
    let shown = page.evaluate("document.querySelectorAll('.events li').length").await;
    assert!(shown.as_u64().is_some_and(|shown| shown <= 1000), "{shown}");

    let mut logs = browser.open(&format!("{url}#/projects/a/logs")).await;
    logs.until("document.querySelector('.empty')").await;
    // A flood of lines may lose some.
    for round in 0..40 {
        routers[0].public.get(&format!("/a/?n=900&round={round}")).await;
        logs.until(&format!("document.body.innerText.includes('end of {round};')")).await;
        let lines = logs.evaluate("document.querySelectorAll('.log .l').length").await;
        assert!(lines.as_u64().is_some_and(|lines| lines <= 500), "{lines}");
        if logs.text().await.contains("dropped") {
            break;
        }
    }
    assert!(logs.text().await.contains("older lines dropped"), "{}", logs.text().await);
    for page in [&mut page, &mut logs] {
        assert_eq!(page.errors().await, [] as [String; 0]);
    }
}
