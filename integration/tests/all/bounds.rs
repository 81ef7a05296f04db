//! Bounds on everything that a cell or the installer sends: for each channel a sender without
//! restraint, and the part of its output that is kept and passed on.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use switchyard_contract::admin::ProjectState;
use switchyard_contract::bounds;
use switchyard_integration::client::{Client, request, with_header};
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::{Router, binary};
use switchyard_integration::usage::Usage;
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};

/// Bytes by which the router may grow: far less than is sent to it.
const ROOM: usize = 64 << 20;

fn memory(router: &Router) -> usize {
    let pid = u32::try_from(router.pid().as_raw_nonzero().get()).expect("a process id");
    Usage::of(pid, router.state.path()).memory
}

#[tokio::test]
async fn an_error_of_any_size_is_cut_wherever_it_is_kept_and_sent() {
    let volume = Volume::with("good", hello("one"));
    let router = Router::start(&volume).await;
    let before = memory(&router);
    let mut events = router.events().await;
    for number in 0..3 {
        let main = format!("throw new Error('begin {number} ' + 'x'.repeat(20_000_000));\n");
        volume.write("a/main.ts", main);
        let error = events.wait_failed("a").await.data.error.expect("a failure has an error");
        assert!(error.message.contains(&format!("begin {number}")), "{}", &error.message[..100]);
        assert!(error.message.len() <= bounds::DIAGNOSTIC_MESSAGE, "{} bytes", error.message.len());
        assert!(error.message.ends_with("bytes left out)"), "{}", &error.message[8_000..]);
        assert!(error.line.is_some() && error.frame.is_some(), "{error:?}");
    }
    let reply = router.public.get("/a/").await;
    reply.assert_problem(503, "no-good-version");
    assert!(reply.text().len() < 2_000, "{}", reply.text());
    let error = &reply.json()["error"];
    let message = error["message"].as_str().expect("it reports the error");
    assert!(message.contains("begin 2 ") && message.len() <= bounds::CLIENT_MESSAGE, "{message}");
    assert_eq!((error["file"].as_str(), error["line"].as_u64()), (Some("main.ts"), Some(1)), "{error}");
    assert!(error["frame"].is_null(), "clients see no code: {error}");
    let all = router.admin.client.get("/projects").await.text();
    assert!(all.len() < 64 << 10, "{} bytes", all.len());
    assert!(memory(&router) < before + ROOM, "{before} bytes, then {}", memory(&router));
    assert_eq!(router.public.get("/good/").await.text(), "one");
}

#[tokio::test]
async fn an_error_moves_no_cursor_and_turns_no_text_in_whatever_shows_the_json() {
    let hides = |text: &str| text.contains(['\u{1b}', '\u{9b}', '\u{202e}', '\u{2066}', '\u{2028}']);
    let volume = Volume::with("a", "throw new Error('a\\x1b[2J\\x9b\\u202e\\u2066\\u2028 b');\n");
    let router = Router::start(&volume).await;
    let mut events = router.admin.client.connect().await;
    let stream = with_header(request("/events"), "last-event-id", "0");
    let mut stream = events.stream(stream).await;
    let mut streamed = String::new();
    while !streamed.contains("reload.failed") || !streamed.ends_with("\n\n") {
        streamed.push_str(&stream.next().await.expect("the event arrives"));
    }
    let public = router.public.get("/a/").await;
    let status = router.admin.client.get("/projects/a").await;
    for json in [&public.text(), &status.text(), &streamed] {
        assert!(json.contains("\\u202e") && !hides(json), "{json:?}");
    }
    for error in [&public.json()["error"], &status.json()["error"]] {
        assert!(error["message"].as_str().is_some_and(hides), "the value is the same: {error}");
    }
}

#[tokio::test]
async fn errors_with_very_many_parts_fail_their_own_build_alone() {
    let volume = Volume::with("good", hello("one"));
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    for main in [
        "function deep(n) { if (n === 0) throw new Error('deep'); deep(n - 1); }\n\
         Error.stackTraceLimit = Infinity; deep(5_000);\n",
        "throw new AggregateError(Array.from({ length: 100_000 }, (_, n) => new Error('part ' + n)));\n",
        "let error = new Error('first');\n\
         for (let n = 0; n < 2_000; n++) error = new Error('because of ' + n, { cause: error });\nthrow error;\n",
    ] {
        volume.write("a/main.ts", main);
        let error = events.wait_failed("a").await.data.error.expect("a failure has an error");
        assert_eq!(error.clone().bounded(), error);
        assert_eq!(router.public.get("/good/").await.text(), "one");
    }
}

#[tokio::test]
async fn of_a_line_of_two_megabytes_both_ends_are_kept_and_the_next_line_is_whole() {
    let prints = "console.log('BEGIN' + 'x'.repeat(2_000_000) + 'END');\nconsole.log('next');\n";
    let volume = Volume::with("a", format!("{prints}{}", hello("one")));
    let router = Router::start(&volume).await;
    router.log.wait_for(|record| record["message"] == "next").await.expect("all is logged");
    let kept = router.admin.client.get("/projects/a/logs?lines=1000").await.text();
    let lines: Vec<serde_json::Value> = kept
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).expect("data is JSON"))
        .collect();
    let texts: Vec<_> = lines.iter().map(|line| line["line"].as_str().expect("a line has a text")).collect();
    let [begin, middle, end, next] = texts[..] else { panic!("{} lines", texts.len()) };
    assert!(begin.starts_with("BEGINxxx") && begin.len() == bounds::OUTPUT_LINE);
    let (note, rest) = middle.split_once("] ").expect("it reports the omission");
    let left_out: usize = note.trim_start_matches('[').split(' ').next().unwrap().parse().expect(note);
    assert!(end.ends_with("xEND"));
    assert_eq!(begin.len() + left_out + rest.len() + end.len(), 2_000_008);
    assert_eq!(next, "next");
    let continues: Vec<_> = lines.iter().map(|line| line["continues"] == true).collect();
    assert_eq!(continues, [true, true, false, false]);
}

/// Sends chunks of one byte, endlessly or a given number, and 1xx heads.
const DRIPS: &str = "import http from 'node:http';\n\
     http.createServer((request, response) => {\n\
       const socket = response.socket, [path, count] = request.url.slice(1).split('?');\n\
       response.on('error', () => {}); socket.on('error', () => {});\n\
       if (path === 'hints') return socket.end('HTTP/1.1 103 Hint\\r\\nLink: </a>\\r\\n\\r\\n'.repeat(Number(count)) +\n\
         'HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: 2\\r\\n\\r\\nok');\n\
       socket.write('HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n');\n\
       if (path === 'zeros') return socket.end('0'.repeat(Number(count)) + '1\\r\\nx\\r\\n0\\r\\n\\r\\n');\n\
       const chunks = '1\\r\\nx\\r\\n'.repeat(Number(count || 20000));\n\
       if (count) return socket.end(chunks + '0\\r\\n\\r\\n');\n\
       const more = () => { while (socket.write(chunks)); socket.once('drain', more); };\n\
       more();\n\
     }).listen(8000);\n";

/// Reads an answer for as long as it lasts.
async fn read_on(public: Client) {
    let mut stream = public.connect().await.stream(request("/drips/")).await;
    while let Some(Ok(_)) = stream.try_next().await {}
}

#[tokio::test]
async fn an_answer_in_single_bytes_is_whole_and_others_are_answered_beside_endless_ones() {
    let volume = Volume::with("drips", DRIPS);
    volume.project("good").file("main.ts", hello("one")).write();
    let router = Router::start(&volume).await;
    let whole = router.public.get("/drips/?20000").await;
    assert_eq!((whole.status, whole.text()), (200, "x".repeat(20_000)));
    let readers: Vec<_> = (0..4).map(|_| tokio::spawn(read_on(router.public.clone()))).collect();
    for _ in 0..50 {
        assert_eq!(router.public.get("/good/").await.text(), "one");
    }
    assert!(readers.iter().all(|reader| !reader.is_finished()), "they are read all the while");
    readers.iter().for_each(|reader| reader.abort());
    assert_eq!(router.public.get("/good/").await.text(), "one");
}

#[tokio::test]
async fn a_chunk_size_with_endless_zeros_is_a_bad_answer() {
    let volume = Volume::with("drips", DRIPS);
    let router = Router::start(&volume).await;
    assert_eq!(router.public.get("/drips/zeros?1000").await.text(), "x");
    let mut stream = router.public.connect().await.stream(request("/drips/zeros?4000000")).await;
    assert!(stream.try_next().await.is_none_or(|piece| piece.is_err()), "it breaks off");
    let warned = |record: &serde_json::Value| record.to_string().contains("sent an invalid response");
    assert!(within("a warning", router.log.wait_for(warned)).await.is_some());
    assert_eq!(router.public.get("/drips/zeros?1000").await.text(), "x");
}

#[tokio::test]
async fn heads_of_1xx_are_skipped_and_more_of_them_than_a_head_may_have_are_a_502() {
    let volume = Volume::with("drips", DRIPS);
    let router = Router::start(&volume).await;
    assert_eq!(router.public.get("/drips/hints?3").await.text(), "ok");
    router.public.get("/drips/hints?100000").await.assert_problem(502, "bad-answer");
    assert_eq!(router.public.get("/drips/hints?3").await.text(), "ok");
}

/// A folder with the router and, instead of the cell program, a script that has the control socket:
/// a cell under the control of its project. One of a project called `good` reports that it serves.
fn with_cells_that(does: &str, installer: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let router = folder.path().join("switchyard");
    std::fs::copy(binary("switchyard"), &router).expect("the router can be copied");
    let real = binary("switchyard-cell");
    let script = format!(
        "#!/bin/sh\n\
         case \"$1\" in\n\
         --install) read -r line; {installer}; exit 0;;\n\
         --*) exec '{}' \"$@\";;\n\
         esac\n\
         printf '{{\"type\":\"ready\"}}\\n' >&0\n\
         read -r line\n\
         case \"$line\" in\n\
         *'\"project\":\"good\"'*) printf '{{\"type\":\"serving\",\"by\":\"deno\"}}\\n' >&0; read -r line;;\n\
         *) exec 1>&0; {does}; read -r line;;\n\
         esac\n",
        real.display()
    );
    let cell = folder.path().join("switchyard-cell");
    std::fs::write(&cell, script).expect("a script can be written");
    std::fs::set_permissions(&cell, std::fs::Permissions::from_mode(0o755)).expect("it can be run");
    folder
}

async fn hostile(folder: &Path, volume: &Volume) -> Router {
    let builder = Router::builder(volume).binaries(folder).flag("spares", 1).flag("build-timeout", 5_000);
    builder.flag("allow-install", "").start().await
}

#[tokio::test]
async fn a_cell_that_floods_its_control_socket_is_ended_and_costs_no_memory() {
    for does in [
        "head -c 300000000 /dev/zero",
        "yes '{\"type\":\"ready\"}'",
        "yes",
        "printf '{\"type\":\"failed\",\"message\":\"'; head -c 300000000 /dev/zero | tr '\\0' x; echo '\"}'",
    ] {
        let folder = with_cells_that(does, "exit 1");
        let volume = Volume::with("bad", hello("never"));
        let router = hostile(folder.path(), &volume).await;
        let before = memory(&router);
        eventually("the build fails", || async {
            router.admin.project("bad").await.state == ProjectState::Failed
        })
        .await;
        let error = router.admin.project("bad").await.error.expect("a failure has an error");
        assert_eq!(error.clone().bounded(), error, "{does}");
        let says = |record: &serde_json::Value| {
            record["message"].as_str().is_some_and(|message| message.contains("a cell is ended: it "))
        };
        let record = router.log.wait_for(says).await.expect("it has a reason");
        assert!(record.to_string().len() < 2_000, "{does}: {record}");
        volume.write("good/main.ts", hello("one"));
        eventually("another project is live", || async {
            router.admin.client.get("/projects/good").await.text().contains("\"state\":\"live\"")
        })
        .await;
        assert!(memory(&router) < before + ROOM, "{does}: {before} bytes, then {}", memory(&router));
    }
}

#[tokio::test]
async fn an_installer_that_prints_without_end_is_cut_and_costs_no_memory() {
    let prints = "head -c 50000000 /dev/zero | tr '\\0' x; yes noise | head -n 100000 >&2";
    let folder = with_cells_that("echo '{\"type\":\"missing\",\"message\":\"no x\"}'", prints);
    let volume = Volume::new();
    let imports = r#"{"imports":{"x":"npm:left-pad@1.3.0"}}"#;
    volume.project("bad").file("deno.json", imports).file("main.ts", "import 'x';\n").write();
    let router = hostile(folder.path(), &volume).await;
    let before = memory(&router);
    eventually("the build fails", || async {
        router.admin.project("bad").await.state == ProjectState::Failed
    })
    .await;
    let error = router.admin.project("bad").await.error.expect("a failure has an error");
    assert!(error.message.contains("no packages could be fetched"), "{error:?}");
    assert_eq!(error.clone().bounded(), error);
    let lines = router.log.lines().iter().filter(|line| line.contains("noise")).count();
    assert!(lines <= 2 * (bounds::INSTALLER_LINES + 2), "{lines} lines are logged");
    assert!(memory(&router) < before + ROOM, "{before} bytes, then {}", memory(&router));
}
