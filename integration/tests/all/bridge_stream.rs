//! `GET /stream`: projects, deploys, events and lines as they happen, on one connection.

use std::fs;

use switchyard_integration::bridge::phases::{Message, Phases};
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::bridge::{get_as, with_token};
use switchyard_integration::client::request;
use switchyard_integration::fixtures::hello;
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;
use tempfile::NamedTempFile;

const TOKEN: &str = "blog-token-0123456789";

/// Waits for an event of this kind whose data is the one that is wanted.
async fn until(stream: &mut Phases, kind: &str, is: impl Fn(&Message) -> bool) -> Message {
    loop {
        let message = stream.next().await.unwrap_or_else(|| panic!("the stream ended without {kind}"));
        if message.event == kind && is(&message) {
            return message;
        }
    }
}

#[tokio::test]
async fn all_that_changes_comes_on_one_stream_and_whole() {
    let talks = "export default { fetch() { console.log('asked'); return new Response('ok'); } };\n";
    let volume = Volume::with("a", talks);
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    routers[0].public.get("/a/before").await;
    let topics = request("/stream?topics=projects,deploys,events,loads,logs:a,requests:a");
    let mut stream = Phases::begin(&bridge.client, topics).await;
    until(&mut stream, "hello", |_| true).await;
    routers[0].public.get("/a/").await;
    let (mut lines, mut paths, mut load) = (Vec::new(), Vec::new(), None);
    while lines.is_empty() || paths.len() < 2 || load.is_none() {
        let Message { event, data } = stream.next().await.expect("the stream goes on");
        match event.as_str() {
            "line" => lines.push((data["topic"].clone(), data["line"].clone())),
            "requests" => {
                assert_eq!(data["topic"], "requests:a");
                let requests = data["requests"].as_array().expect("a list").iter();
                paths.extend(requests.map(|request| request["path"].clone()));
            }
            "loads" => load = data["projects"].as_array().and_then(|projects| projects.first().cloned()),
            _ => {}
        }
    }
    assert_eq!(lines[0], ("logs:a".into(), "asked".into()));
    assert_eq!(paths, ["/a/before", "/a/"]);
    assert_eq!(load.map(|load| load["project"].clone()), Some("a".into()));

    let record = bridge.deploy_live("b", &Upload::main(hello("b"))).await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let Message { event, data } = stream.next().await.expect("the stream goes on");
        let is_wanted = match event.as_str() {
            "deploys" => data["deploys"][0]["outcome"] == "live",
            "projects" => data["projects"][0]["routers"][0]["live"]["version"] == record.version(),
            "event" => data["type"] == "reload.live" && data["data"]["project"] == "b",
            _ => false,
        };
        if is_wanted && !seen.contains(&event) {
            seen.push(event);
        }
    }
    let events = bridge.client.get("/events").await.json();
    assert_eq!(events["events"][0]["data"]["project"], "b");
    let status = bridge.client.get("/projects/b/status").await.json();
    assert_eq!(status["routers"][0]["status"]["reloads"][0]["outcome"], "live");
    let sandbox = bridge.client.get("/routers/sandbox").await.json();
    assert_eq!(sandbox["routers"][0]["layers"][0]["name"], "users");
    let wrong = bridge.client.get("/stream?topics=all").await;
    assert_eq!(wrong.assert_problem(400, "bad-request")["field"], "topics");
    // It does not hold up the end of the bridge.
    assert_eq!(bridge.stop().await.status.code(), Some(0));
    while stream.next().await.is_some() {}
}

#[tokio::test]
async fn a_caller_is_told_of_its_own_projects_alone() {
    let volume = Volume::with("blog", hello("one"));
    volume.project("shop").file("main.ts", hello("one")).write();
    let routers = Replicas::start(&volume, 1).await;
    let tokens = NamedTempFile::new().expect("a temporary file can be made");
    let owner = "owner-token-0123456789";
    let entry = |token: &str, project: &str| {
        format!(
            "[[token]]\nname = \"{project}\"\ntoken = \"{token}\"\nprojects = [\"{project}\"]\nactions = [\"*\"]\n"
        )
    };
    fs::write(
        tokens.path(),
        entry(TOKEN, "blog") + &entry(owner, "*").replace("name = \"*\"", "name = \"all\""),
    )
    .expect("a file can be written");
    let bridge = routers.bridge().flag("token-file", tokens.path().display()).start().await;
    let caller = bridge.client.send(get_as("/whoami", TOKEN)).await.json();
    assert_eq!((&caller["token"], &caller["projects"][0]), (&"blog".into(), &"blog".into()));
    for topic in ["logs", "requests"] {
        let refused = bridge.client.send(get_as(&format!("/stream?topics={topic}:shop"), TOKEN)).await;
        refused.assert_problem(403, "forbidden");
    }
    bridge.client.get("/stream?topics=projects").await.assert_problem(401, "unauthorized");

    let mut stream =
        Phases::begin(&bridge.client, get_as("/stream?topics=projects,deploys,events,loads", TOKEN)).await;
    until(&mut stream, "hello", |_| true).await;
    let mut ids = Vec::new();
    for project in ["shop", "blog"] {
        let upload = with_token(Upload::main(hello("two")).to(&format!("/deploy/{project}")), owner);
        let record = bridge.client.send(upload).await;
        assert_eq!(record.status, 200);
        ids.push(record.json()["deploy"].as_str().expect("it has an id").to_owned());
    }
    loop {
        let Message { event, data } = stream.next().await.expect("the stream goes on");
        let text = data.to_string();
        assert!(!text.contains("shop") && !text.contains(&ids[0]), "{event}: {data}");
        if event == "event" && data["type"] == "reload.live" {
            break;
        }
    }
    let events = bridge.client.send(get_as("/events", TOKEN)).await.text();
    assert!(events.contains("blog") && !events.contains("shop"), "{events}");
}
