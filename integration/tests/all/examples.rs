//! The projects of `examples/projects`, end to end: requests, edits, and their pages in a browser.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::Method;
use serde_json::{Value, json};
use switchyard_contract::admin::ProjectState;
use switchyard_integration::browser::{Browser, Page};
use switchyard_integration::client::{Reply, post, request, with_header, with_method};
use switchyard_integration::fixtures::examples;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;
use switchyard_integration::within;
use tokio_tungstenite::tungstenite::Message;

/// Longer than a minute: a job of Deno.cron is due at the next full one.
const A_JOB: Duration = Duration::from_secs(75);

fn names() -> BTreeSet<String> {
    let entries = fs::read_dir(examples()).expect("a folder can be read");
    let folders = entries.flatten().filter(|entry| entry.path().is_dir());
    folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// A volume with a copy of it.
fn copied(name: &str) -> Volume {
    let example = examples().join(name);
    let has_packages = !example.join("package.json").exists() || example.join("node_modules").is_dir();
    assert!(has_packages, "the packages of {name} are missing: run `make test`, or npm ci there");
    let volume = Volume::new();
    volume.copy_in(&example, name);
    volume
}

async fn served(name: &str) -> (Volume, Router) {
    let volume = copied(name);
    let router = Router::start(&volume).await;
    let project = router.admin.project(name).await;
    assert_eq!(project.state, ProjectState::Live, "{name}: {:?}", project.error);
    (volume, router)
}

/// Changes a file as editors do, and waits until the change is served.
async fn edit(volume: &Volume, router: &Router, path: &str, from: &str, to: &str) {
    let mut events = router.events().await;
    let project = path.split_once('/').map_or(path, |(project, _)| project);
    events.wait_live(project).await;
    let text = volume.read(path);
    assert!(text.contains(from), "{path} has no {from:?}");
    volume.replace(path, text.replace(from, to));
    events.wait_live(project).await;
}

fn json_post(path: &str, body: &Value) -> http::Request<switchyard_integration::client::Body> {
    with_header(post(path, body.to_string()), "content-type", "application/json")
}

async fn open(browser: &Browser, router: &Router, path: &str) -> Page {
    browser.open(&format!("http://{}{path}", router.public.address)).await
}

#[test]
fn each_example_is_explained_in_its_first_line_and_in_the_list() {
    let names = names();
    assert_eq!(names.len(), 12, "{names:?}");
    let list = fs::read_to_string(examples().join("../README.md")).unwrap();
    let listed = list.lines().filter_map(|line| line.strip_prefix("| [")?.split(']').next());
    assert_eq!(listed.map(str::to_owned).collect::<BTreeSet<_>>(), names);
    for name in names {
        let entries = ["main.ts", "main.tsx", "main.js", "app/main.ts"];
        let entry = entries.iter().map(|entry| examples().join(&name).join(entry)).find(|path| path.exists());
        let text = fs::read_to_string(entry.unwrap_or_else(|| panic!("{name} has no entry"))).unwrap();
        assert!(text.starts_with("// "), "{name} does not say what it is");
    }
}

#[test]
fn installed_packages_follow_the_lock_files() {
    for name in names() {
        let folder = examples().join(&name);
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        if folder.join("package.json").exists() {
            let lock = read(&folder.join("package-lock.json"));
            assert!(lock.contains("\"lockfileVersion\": 3"), "{name} has no lock file");
            assert!(!lock.contains("\"resolved\""), "the lock file of {name} names a registry");
        }
    }
}

#[tokio::test]
async fn all_examples_are_served_side_by_side() {
    let volume = Volume::new();
    for name in names() {
        volume.copy_in(&examples().join(&name), &name);
    }
    let router = Router::start(&volume).await;
    for (name, project) in router.admin.projects().await {
        assert_eq!(project.state, ProjectState::Live, "{name}: {:?}", project.error);
        assert!(router.public.get(&format!("/{name}/")).await.status < 500, "{name}");
    }
}

#[tokio::test]
async fn without_its_packages_an_example_says_what_to_do() {
    let volume = Volume::new();
    for file in ["main.ts", "package.json"] {
        volume.write(&format!("hono/{file}"), fs::read(examples().join("hono").join(file)).unwrap());
    }
    let router = Router::start(&volume).await;
    let error = router.admin.project("hono").await.error.unwrap();
    assert!(error.message.contains("hono") && error.message.contains("npm install"), "{error:?}");
    assert_eq!((error.file.as_deref(), error.line), (Some("main.ts"), Some(2)), "{error:?}");
}

#[tokio::test]
async fn hello_answers_and_an_edit_is_seen() {
    let (volume, router) = served("hello").await;
    assert_eq!(router.public.get("/hello/world").await.text(), "Hello from /world\n");
    edit(&volume, &router, "hello/main.ts", "Hello from", "Good evening from").await;
    assert_eq!(router.public.get("/hello/world").await.text(), "Good evening from /world\n");
}

#[tokio::test]
async fn page_shows_what_its_json_says() {
    let (volume, router) = served("page").await;
    assert!(router.public.get("/page/").await.text().contains("<td>Basel &amp; Mulhouse</td>"));
    edit(&volume, &router, "page/trains.json", "Chur", "St. Moritz").await;
    assert!(router.public.get("/page/").await.text().contains("<td>St. Moritz</td>"));
}

#[tokio::test]
async fn hono_keeps_books_and_refuses_invalid_ones() {
    let (volume, router) = served("hono").await;
    let added = router.public.send(json_post("/hono/", &json!({ "title": "Solaris" }))).await;
    assert_eq!((added.status, added.json()), (201, json!({ "id": 2, "title": "Solaris" })));
    assert_eq!(router.public.get("/hono/2").await.json()["title"], "Solaris");
    assert_eq!(router.public.get("/hono/").await.json().as_array().unwrap().len(), 2);
    let refused = router.public.send(json_post("/hono/", &json!({ "title": 1 }))).await;
    assert_eq!((refused.status, refused.json()["error"].as_str()), (400, Some("a book has a title")));
    assert_eq!(router.public.get("/hono/7").await.status, 404);
    edit(&volume, &router, "hono/main.ts", "The Left Hand of Darkness", "The Dispossessed").await;
    assert_eq!(router.public.get("/hono/1").await.json()["title"], "The Dispossessed");
}

#[tokio::test]
async fn express_keeps_notes_and_refuses_invalid_ones() {
    let (volume, router) = served("express").await;
    assert_eq!(router.public.get("/express/").await.json()[0]["text"], "Buy milk");
    let added = router.public.send(json_post("/express/", &json!({ "text": "Buy bread" }))).await;
    assert_eq!((added.status, added.json()["id"].as_u64()), (201, Some(2)));
    assert_eq!(router.public.get("/express/2").await.json()["text"], "Buy bread");
    assert_eq!(router.public.get("/express/7").await.status, 404);
    let broken = with_header(post("/express/", "{"), "content-type", "application/json");
    assert_eq!(router.public.send(broken).await.status, 400);
    edit(&volume, &router, "express/main.js", "Buy milk", "Buy oats").await;
    assert_eq!(router.public.get("/express/").await.json()[0]["text"], "Buy oats");
}

#[tokio::test]
async fn react_streams_the_page_before_its_pending_parts() {
    let (volume, router) = served("react").await;
    let mut connection = router.public.connect().await;
    let mut stream = connection.stream(request("/react/")).await;
    let mut text = stream.next().await.unwrap();
    while !text.contains("Looking for reviews") {
        text.push_str(&stream.next().await.unwrap());
    }
    assert!(text.contains("<h1>Rucksack</h1>") && !text.contains("The zip is loud."), "{text}");
    while let Some(chunk) = stream.next().await {
        text.push_str(&chunk);
    }
    assert!(text.contains("The zip is loud.") && text.contains("</html>"), "{text}");
    edit(&volume, &router, "react/page.tsx", "Thirty litres", "Forty litres").await;
    assert!(router.public.get("/react/").await.text().contains("Forty litres"));
}

#[tokio::test]
async fn chat_sends_each_message_to_everyone() {
    let (volume, router) = served("chat").await;
    let mut one = router.public.websocket("/chat/").await.unwrap();
    assert_eq!(within("a word", one.next()).await.unwrap().unwrap(), Message::text("1 here"));
    let mut other = router.public.websocket("/chat/").await.unwrap();
    for socket in [&mut one, &mut other] {
        assert_eq!(within("a word", socket.next()).await.unwrap().unwrap(), Message::text("2 here"));
    }
    other.send(Message::text("good morning")).await.unwrap();
    for socket in [&mut one, &mut other] {
        assert_eq!(within("a word", socket.next()).await.unwrap().unwrap(), Message::text("good morning"));
    }
    edit(&volume, &router, "chat/main.ts", "here`", "in the room`").await;
    let mut new = router.public.websocket("/chat/").await.unwrap();
    assert_eq!(within("a word", new.next()).await.unwrap().unwrap(), Message::text("1 in the room"));
}

async fn graphql(router: &Router, query: &str) -> Value {
    let reply = router.public.send(json_post("/graphql/", &json!({ "query": query }))).await;
    let answer = reply.json();
    assert!(reply.status == 200 && answer["errors"].is_null(), "{answer}");
    answer["data"].clone()
}

#[tokio::test]
async fn graphql_answers_and_tells_subscribers_of_changes() {
    let (volume, router) = served("graphql").await;
    assert_eq!(graphql(&router, "{ tasks { text } }").await["tasks"][0]["text"], "Water the plants");
    let mut connection = router.public.connect().await;
    let subscription = json!({ "query": "subscription { changed { id done } }" });
    let subscription = with_header(json_post("/graphql/", &subscription), "accept", "text/event-stream");
    let mut changes = connection.stream(subscription).await;
    // The example logs a line when it listens.
    let mut text = changes.next().await.unwrap();
    assert_eq!(graphql(&router, "mutation { finish(id: 1) { done } }").await["finish"]["done"], true);
    while !text.contains("data: {") {
        text.push_str(&changes.next().await.unwrap());
    }
    assert!(text.contains(r#"{"data":{"changed":{"id":"1","done":true}}}"#), "{text}");
    assert_eq!(graphql(&router, "{ tasks(done: false) { id } }").await["tasks"], json!([]));
    let wrong = router.public.send(json_post("/graphql/", &json!({ "query": "{ nothing }" }))).await;
    assert!(wrong.json()["errors"][0]["message"].as_str().unwrap().contains("nothing"), "{}", wrong.text());
    drop((changes, connection));
    edit(&volume, &router, "graphql/main.ts", "Water the plants", "Feed the cat").await;
    assert_eq!(graphql(&router, "{ tasks { text } }").await["tasks"][0]["text"], "Feed the cat");
}

#[tokio::test]
async fn notes_persist_for_the_next_version() {
    let (volume, router) = served("notes").await;
    let form = |body: &'static str| {
        with_header(post("/notes/", body), "content-type", "application/x-www-form-urlencoded")
    };
    let added = router.public.send(form("text=Buy+%3Cmilk%3E")).await;
    assert_eq!((added.status, added.header("location")), (303, Some("/notes/")));
    assert!(router.public.get("/notes/").await.text().contains("<li>Buy &lt;milk&gt; "));
    edit(&volume, &router, "notes/page.ts", "<h1>Notes</h1>", "<h1>My notes</h1>").await;
    let page = router.public.get("/notes/").await.text();
    assert!(page.contains("<h1>My notes</h1>") && page.contains("<li>Buy &lt;milk&gt; "), "{page}");
    router.public.send(form("remove=1")).await;
    assert!(!router.public.get("/notes/").await.text().contains("<li>"));
}

#[tokio::test]
async fn cron_runs_between_requests_and_notifies_its_listeners() {
    let (_volume, router) = served("cron").await;
    let ran = async {
        loop {
            let mut connection = router.public.connect().await;
            let mut stream = connection.stream(request("/cron/events")).await;
            let first = stream.next().await.unwrap();
            assert!(first.starts_with(": hello\n\n"), "{first}");
            if first.contains("data: ") {
                return first;
            }
            drop((stream, connection));
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let event_stream = tokio::time::timeout(A_JOB, ran).await.expect("the job runs at the next minute");
    let time = event_stream.split("data: ").nth(1).unwrap();
    assert!(time.contains(":00."), "{event_stream}");
}

#[tokio::test]
async fn monorepo_takes_its_library_from_the_workspace() {
    let (volume, router) = served("monorepo").await;
    let bill = "Bread: 4.20\nCheese: 11.80\nTotal: 16.00\n";
    assert_eq!(router.public.get("/monorepo/").await.text(), bill);
    edit(&volume, &router, "monorepo/packages/money/mod.ts", "toFixed(2)", "toFixed(1)").await;
    assert_eq!(router.public.get("/monorepo/").await.text(), "Bread: 4.2\nCheese: 11.8\nTotal: 16.0\n");
}

#[tokio::test]
async fn static_files_have_types_parts_and_tags() {
    let (volume, router) = served("static").await;
    let css = volume.read("static/public/style.css");
    let whole = router.public.get("/static/style.css").await;
    assert_eq!((whole.status, whole.text()), (200, css.clone()));
    assert_eq!(whole.header("content-type"), Some("text/css; charset=utf-8"));
    let with = |name, value: &str| with_header(request("/static/style.css"), name, value);
    let ask = async |request| -> Reply { router.public.send(request).await };
    let same = ask(with("if-none-match", whole.header("etag").unwrap())).await;
    assert_eq!((same.status, same.body.len()), (304, 0));
    for (range, part) in
        [("bytes=0-3", &css[..4]), ("bytes=5-", &css[5..]), ("bytes=-6", &css[css.len() - 6..])]
    {
        let got = ask(with("range", range)).await;
        assert_eq!((got.status, got.text().as_str()), (206, part), "{range}");
        assert!(got.header("content-range").unwrap().ends_with(&format!("/{}", css.len())), "{range}");
    }
    assert_eq!(ask(with("range", "bytes=100000-")).await.status, 416);
    let head = ask(with_method(Method::HEAD, "/static/style.css")).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(css.len().to_string().as_str()));
    assert!(router.public.get("/static/").await.text().contains("<h1>Static</h1>"));
    for path in ["/static/none.css", "/static/..%2fmain.ts", "/static/%2e%2e/main.ts", "/static/x/"] {
        assert_eq!(router.public.get(path).await.status, 404, "{path}");
    }
    edit(&volume, &router, "static/public/style.css", "36rem", "40rem").await;
    assert_eq!(ask(with("if-none-match", whole.header("etag").unwrap())).await.status, 200);
}

#[tokio::test]
async fn wasm_draws_what_its_module_computes() {
    let (volume, router) = served("wasm").await;
    let drawn = router.public.get("/wasm/?columns=40").await.text();
    let lines: Vec<_> = drawn.lines().collect();
    assert_eq!((lines.len(), lines[0].len()), (16, 40), "{drawn}");
    assert!(lines.iter().any(|line| line.contains("@@@@@@")) && lines[0].starts_with("  "), "{drawn}");
    edit(&volume, &router, "wasm/main.ts", " .:-=+*#%@", " .:-=+*#%X").await;
    assert!(router.public.get("/wasm/?columns=40").await.text().contains("XXXXXX"));
}

#[tokio::test]
async fn pages_are_shown_by_a_browser_without_an_error() {
    let volume = Volume::new();
    let pages = [
        ("page", "Basel & Mulhouse"),
        ("react", "The zip is loud."),
        ("notes", "Notes"),
        ("cron", "Listening."),
        ("static", "Static"),
    ];
    for (name, _) in pages {
        volume.copy_in(&examples().join(name), name);
    }
    let router = Router::start(&volume).await;
    let browser = Browser::start().await;
    for (name, shown) in pages {
        let mut page = open(&browser, &router, &format!("/{name}/")).await;
        page.until(&format!("document.body.innerText.includes({shown:?})")).await;
        assert_eq!(page.errors().await, [] as [String; 0], "{name}");
    }
    let mut page = open(&browser, &router, "/static/").await;
    let color = page.evaluate("getComputedStyle(document.body).color").await;
    assert_eq!(color, "rgb(32, 48, 64)", "the style sheet is applied");
    assert!(page.evaluate("document.images[0].naturalWidth > 0").await == true, "the image is shown");
    page.evaluate("document.images[0].click()").await;
    assert_eq!(page.evaluate("document.images[0].className").await, "turned", "the script runs");
    let mut page = open(&browser, &router, "/notes/").await;
    page.evaluate("document.querySelector('[name=text]').value = 'Buy milk', document.forms[1].submit()")
        .await;
    page.until("document.querySelector('li')?.innerText.startsWith('Buy milk')").await;
    assert_eq!(page.errors().await, [] as [String; 0]);
}

#[tokio::test]
async fn two_people_chat_in_the_browser_and_continue_after_an_edit() {
    let (volume, router) = served("chat").await;
    let browser = Browser::start().await;
    let mut one = open(&browser, &router, "/chat/").await;
    one.until("document.body.innerText.includes('1 here')").await;
    let mut other = open(&browser, &router, "/chat/").await;
    for page in [&mut one, &mut other] {
        page.until("document.body.innerText.includes('2 here')").await;
    }
    let say = |text: &str| {
        format!("document.querySelector('input').value = '{text}', document.forms[0].requestSubmit()")
    };
    other.evaluate(&say("good morning")).await;
    for page in [&mut one, &mut other] {
        page.until("document.body.innerText.includes('good morning')").await;
    }
    edit(&volume, &router, "chat/main.ts", "here`", "in the room`").await;
    // The sockets of the previous version stay until it is retired.
    for page in [&mut one, &mut other] {
        assert!(page.text().await.contains("good morning"));
        assert_eq!(page.errors().await, [] as [String; 0]);
    }
    // The page is not alone there if the previous version has been retired by now: its clients come back.
    let mut third = open(&browser, &router, "/chat/").await;
    third.until("document.body.innerText.includes(' in the room')").await;
}
