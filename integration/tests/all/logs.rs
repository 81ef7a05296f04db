//! The logs of projects at the admin listener.

use switchyard_contract::admin::LogLine;
use switchyard_integration::client::{Client, Reply, Streaming, request};
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

const PRINTS: &str = "export default { fetch(request) {\n\
     const { pathname, search } = new URL(request.url);\n\
     for (let n = 0; n < Number(search.slice(1) || 1); n++) console.log(`${pathname} ${n}`);\n\
     if (pathname === '/error') console.error('wrong');\n\
     return new Response('ok');\n} };\n";

/// A follower of one project's lines.
struct Follower {
    stream: Streaming,
    text: String,
}

impl Follower {
    async fn start(admin: &Client, query: &str) -> Self {
        let stream = admin.connect().await.stream(request(&format!("/projects/a/logs?{query}"))).await;
        assert_eq!(stream.status(), 200);
        Self { stream, text: String::new() }
    }

    /// The next event and its data; None at the end.
    async fn next(&mut self) -> Option<(String, serde_json::Value)> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let event: String = self.text.drain(..end + 2).collect();
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                let Some(data) = field("data: ") else { continue };
                let kind = field("event: ").expect("an event has a name");
                return Some((kind.to_owned(), serde_json::from_str(data).expect("data is JSON")));
            }
            self.text.push_str(&self.stream.next().await?);
        }
    }

    async fn line(&mut self) -> LogLine {
        let (kind, data) = self.next().await.expect("there is another line");
        assert_eq!(kind, "line");
        serde_json::from_value(data).expect("it is a line")
    }
}

#[tokio::test]
async fn lines_are_streamed_as_they_are_printed_and_kept_for_later_readers() {
    let volume = Volume::with("a", PRINTS);
    let router = Router::start(&volume).await;
    let mut follower = Follower::start(&router.admin.client, "follow=1").await;
    router.public.get("/a/one").await;
    let line = follower.line().await;
    let status = router.admin.project("a").await;
    assert_eq!((line.line.as_str(), line.stream.as_str()), ("/one 0", "stdout"));
    assert_eq!((line.project.as_str(), Some(line.pid)), ("a", status.pid));
    assert_eq!(Some(line.version), status.live.map(|live| live.version));
    router.public.get("/a/error").await;
    // The two streams have no order between them.
    let mut lines = [follower.line().await, follower.line().await];
    lines.sort_by(|a, b| a.stream.cmp(&b.stream));
    assert_eq!((lines[0].line.as_str(), lines[0].stream.as_str()), ("wrong", "stderr"));

    let later = router.admin.client.get("/projects/a/logs?lines=2").await;
    assert_eq!(later.header("content-type"), Some("text/event-stream"));
    assert_eq!(later.text().matches("event: line\n").count(), 2, "{}", later.text());
    let all = router.admin.client.get("/projects/a/logs").await.text();
    assert_eq!(all.matches("event: line\n").count(), 3, "{all}");
    let mut both = Follower::start(&router.admin.client, "lines=3&follow=1").await;
    for _ in 0..3 {
        both.line().await;
    }
    router.public.get("/a/two").await;
    assert_eq!((both.line().await.line, follower.line().await.line), ("/two 0".into(), "/two 0".into()));
}

#[tokio::test]
async fn a_project_cannot_make_the_router_keep_more_than_its_last_lines() {
    let volume = Volume::with("a", PRINTS);
    let router = Router::start(&volume).await;
    let mut follower = Follower::start(&router.admin.client, "follow=1").await;
    router.public.get("/a/many?3000").await;
    // Missed lines are reported as a gap; lines and gaps add up.
    let mut seen = 0;
    while seen < 3000 {
        match follower.next().await {
            Some((kind, data)) if kind == "gap" => {
                seen += data["lost"].as_u64().expect("a gap reports its size")
            }
            Some((_, data)) => {
                assert_eq!(data["line"], format!("/many {seen}"));
                seen += 1;
            }
            None => panic!("the lines ended after {seen}"),
        }
    }
    let kept = router.admin.client.get("/projects/a/logs?lines=5000").await.text();
    assert_eq!(kept.matches("event: line\n").count(), 1000);
    assert!(kept.contains("/many 2000\"") && kept.contains("/many 2999\"") && !kept.contains("/many 1999\""));
}

#[tokio::test]
async fn long_lines_come_whole_or_say_where_they_are_split_and_none_can_pass_for_anothers() {
    const HOSTILE: &str = r#"console.log(JSON.stringify({ pad: "p".repeat(40_000), end: "END" }));
        console.log("q".repeat(150_000) + "END");
        console.log("\x1b[31mred\x1b[0m nul \0 bell \x07 cr \rover \u202e");
        console.log('","project.name":"victim","x":"');
        console.log("two\nlines");
        Deno.stdout.writeSync(new Uint8Array([0xff, 0xfe, 0x41, 0x0a]));
        console.log("last");
        Deno.serve({ onListen() {} }, () => new Response("ok"));"#;
    let volume = Volume::with("a", HOSTILE);
    let router = Router::start(&volume).await;
    router.log.wait_for(|record| record["message"] == "last").await.expect("all is logged");
    let records = router.log.records();
    assert_eq!(records.len(), router.log.lines().len(), "each line of the log is JSON");
    assert!(
        records.iter().all(|record| !record["project.name"].as_str().unwrap_or_default().contains("victim"))
    );
    let printed_with = |part: &str| -> Vec<&str> {
        let texts = records.iter().filter_map(|record| record["message"].as_str());
        texts.filter(|text| text.contains(part)).collect()
    };
    let [whole] = printed_with("ppp")[..] else { panic!("it arrives complete") };
    assert_eq!(serde_json::from_str::<serde_json::Value>(whole).unwrap()["end"], "END");
    assert!(
        printed_with("\x1b[31mred").len() == 1
            && printed_with("two").len() == 1
            && printed_with("\u{fffd}\u{fffd}A").len() == 1
    );
    // Each piece of a long line has a mark if it continues.
    let pieces: Vec<_> = records
        .iter()
        .filter(|record| record["message"].as_str().is_some_and(|text| text.starts_with("qqq")))
        .map(|record| (record["message"].as_str().unwrap().len(), record["continues"].as_bool()))
        .collect();
    assert_eq!(pieces, [(65_536, Some(true)), (65_536, Some(true)), (150_003 - 2 * 65_536, None)]);
    let mut follower = Follower::start(&router.admin.client, "lines=100").await;
    let mut long = String::new();
    while !long.ends_with("END") {
        let line = follower.line().await;
        if line.line.starts_with("qqq") {
            long.push_str(&line.line);
            assert_eq!(line.continues, !long.ends_with("END"), "{}", long.len());
        }
    }
    assert_eq!(long.len(), 150_003);
}

#[tokio::test]
async fn lines_go_with_their_project() {
    let volume = Volume::with("a", PRINTS);
    let router = Router::start(&volume).await;
    let mut follower = Follower::start(&router.admin.client, "follow=1").await;
    router.public.get("/a/one").await;
    follower.line().await;
    volume.remove("a");
    while let Some((kind, _)) = follower.next().await {
        assert_eq!(kind, "line");
    }
    router.admin.client.get("/projects/a/logs").await.assert_problem(404, "unknown-project");
}

#[tokio::test]
async fn a_question_that_is_not_understood_is_a_problem() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    for (query, says) in [("lines=many", "many"), ("follow=maybe", "maybe"), ("tail=1", "tail")] {
        let reply = router.admin.client.get(&format!("/projects/a/logs?{query}")).await;
        let problem = reply.assert_problem(400, "bad-request");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{problem}");
    }
    router.admin.client.get("/projects/none/logs").await.assert_problem(404, "unknown-project");
}

/// Sends a request that has an id.
async fn ask(router: &Router, path: &str, id: &str) -> Reply {
    let mut asked = request(path);
    asked.headers_mut().insert("x-request-id", id.parse().expect("it is a value"));
    router.public.send(asked).await
}

#[tokio::test]
async fn lines_say_which_request_they_are_about() {
    const ASYNC: &str = "console.log('at load');
        const later = () => new Promise((done) => setTimeout(done, 1));
        async function inside(path: string) { await later(); console.log(`${path}\\n  more`); console.error('wrong'); }
        export default { async fetch(request: Request) {
            const { pathname } = new URL(request.url);
            await inside(pathname);
            return new Response(request.headers.get('x-request-id'));
        } };";
    let serve = ASYNC.replace(
        "export default { async fetch(request: Request) {",
        "Deno.serve(async (request: Request) => {",
    );
    let serve = serve.replace("} };", "});");
    for main in [ASYNC, &serve] {
        let volume = Volume::with("a", main);
        let router = Router::start(&volume).await;
        let (one, two) = tokio::join!(ask(&router, "/a/one", "r-1"), ask(&router, "/a/two", "r-2"));
        assert_eq!((one.text().as_str(), two.text().as_str()), ("r-1", "r-2"));
        let mut follower = Follower::start(&router.admin.client, "follow=1&lines=7").await;
        let mut printed_with = Vec::new();
        for _ in 0..7 {
            let LogLine { request, line, .. } = follower.line().await;
            printed_with.push((request.unwrap_or_default(), line));
        }
        printed_with.sort();
        let expected = [
            ("", "at load"),
            ("r-1", "  more"),
            ("r-1", "/one"),
            ("r-1", "wrong"),
            ("r-2", "  more"),
            ("r-2", "/two"),
            ("r-2", "wrong"),
        ];
        assert_eq!(printed_with, expected.map(|(id, line)| (id.to_owned(), line.to_owned())));
        let pid = router.admin.project("a").await.pid;
        let record = router.log.wait_for(|record| record["message"] == "/one").await.unwrap();
        assert_eq!(record["request.id"], "r-1", "{record}");
        assert_eq!(record["cell.pid"].as_u64(), pid.map(u64::from), "{record}");
        // A request without an id, or with one that is not valid in a log, gets a new one.
        let made = ask(&router, "/a/three", "r 3").await.text();
        assert!(made.len() == 16 && router.public.get("/a/").await.text() != made, "{made}");
    }
}

#[tokio::test]
async fn errors_of_handlers_are_shown_with_their_location_in_the_projects_own_files() {
    const BOOM: &str = "interface Gone { a: string }\n\nexport function boom(gone: Gone | undefined): string {\n\
         \x20 if (gone === undefined) throw new Error('boom');\n  return gone.a;\n}\n";
    const THROWS: &str = "import { boom } from './lib/boom.ts';\n\
         const handler = (request: Request) => {\n\
           const { pathname } = new URL(request.url);\n\
           if (pathname === '/rejects') return Promise.resolve().then(() => new Response(boom(undefined)));\n\
           if (pathname === '/forgets') setTimeout(() => Promise.reject(new Error('forgotten')), 0);\n\
           if (pathname === '/later') setTimeout(() => boom(undefined), 0);\n\
           return new Response(pathname === '/throws' ? boom(undefined) : 'ok');\n\
         };\n";
    for serve in ["export default { fetch: handler };\n", "Deno.serve(handler);\n"] {
        let volume = Volume::new();
        let main = format!("{THROWS}{serve}");
        volume.project("a").file("lib/boom.ts", BOOM).file("main.ts", main).write();
        for path in ["/a/throws", "/a/rejects", "/a/later", "/a/forgets"] {
            // The process of the one before may still be about to end.
            let router = Router::start(&volume).await;
            let mut follower = Follower::start(&router.admin.client, "follow=1&lines=0").await;
            let status = ask(&router, path, path).await.status;
            let (is_answered, at) = match path {
                "/a/forgets" => (false, "main.ts:5:"),
                "/a/later" => (false, "at boom (lib/boom.ts:4:"),
                _ => (true, "at boom (lib/boom.ts:4:"),
            };
            // An uncaught error ends the process, maybe before the answer is sent.
            assert!(!is_answered || status == 500, "{path}: {status}");
            // An error of a timer, or one after the end of the request, has no request id.
            let about = is_answered.then_some(path);
            let mut text = String::new();
            while !text.contains(at) {
                let line = follower.line().await;
                assert_eq!((line.request.as_deref(), line.stream.as_str()), (about, "stderr"), "{line:?}");
                text.push_str(&line.line);
                text.push('\n');
            }
            let (message, frame) = match path {
                "/a/forgets" => ("Error: forgotten", "> 5 | if (pathname === '/forgets')"),
                _ => ("Error: boom", "> 4 |   if (gone === undefined) throw new Error('boom');"),
            };
            let stack = text.find(at).unwrap();
            let frame = text.find(frame).unwrap_or_else(|| panic!("no frame: {text}"));
            assert!(text.find(message).unwrap() < frame && frame < stack, "{text}");
            assert!(!text.contains("checkouts") && !text.contains("ext:switchyard"), "{text}");
        }
    }
}

#[tokio::test]
async fn in_a_log_of_text_a_project_can_forge_neither_lines_nor_fields_nor_commands() {
    let prints = "console.log('one project.name=\"forged\" \\x1b[2J\\x9b\\u202e\\rINFO two');\n\
        console.log('plain text');\n\
        throw new Error('line one\\nINFO forged project.name=\"other\"');\n";
    let volume = Volume::with("a", prints);
    let lines = Router::builder(&volume).text_log_until("a failed").await;
    let only_line = |text: &str| {
        let mut only_line = lines.iter().filter(|line| line.contains(text));
        match (only_line.next(), only_line.next()) {
            (Some(line), None) => line.clone(),
            _ => panic!("{text:?} is not in one line of {lines:#?}"),
        }
    };
    let line = only_line("forged\\\" ");
    let message = r#"INFO "one project.name=\"forged\" ␛[2J\\u{9b}\\u{202e}␍INFO two" project.name=a "#;
    assert!(line.contains(message), "{line}");
    assert!(only_line("plain text").contains("INFO plain text project.name=a "), "{lines:#?}");
    let failed = only_line("a failed");
    assert!(failed.contains(r#"␊INFO forged project.name=\"other\""#), "{failed}");
    for line in &lines {
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
        assert!(line.starts_with("20"), "a line begins with its time: {line:?}");
    }
}
