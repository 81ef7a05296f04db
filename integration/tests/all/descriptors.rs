//! Descriptors by their numbers: those that a project has opened itself work as they do in Node,
//! and all others of its process (the socket to the router, those of event loops, the runtime's
//! copies of pipes) are out of its reach.

use serde_json::json;
use switchyard_contract::event::EventType;
use switchyard_integration::fixtures;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;
use switchyard_integration::within;

/// Log lines that only the glue of a cell can trigger.
const CONTROL: [&str; 2] = ["says what is not understood", "floods its control socket"];

fn doors() -> Volume {
    let volume = Volume::new();
    volume.copy_in(&fixtures::folder("doors"), "a");
    volume
}

/// Tries every door in a kind of isolate, and looks at what is left of the cell and of its way to
/// the router.
async fn nothing_is_adopted(isolate: &str) {
    let volume = doors();
    // All doors are tried in one turn of the event loop.
    volume.write("_policy/policy.toml", "[projects.a.limits]\nevent_loop = \"2m\"\nrequest_time = \"2m\"\n");
    let policy = volume.path("_policy/policy.toml");
    let router = Router::builder(&volume).flag("grace", 1000).flag("policy", policy.display()).start().await;
    let mut events = router.events().await;
    let pid = router.admin.project("a").await.pid;
    let found = router.public.get(&format!("/a/{isolate}")).await.json();
    assert_eq!(found["got"], json!({}), "{isolate}: {found}");
    assert!(found["doors"].as_u64().is_some_and(|doors| doors > 30), "{found}");
    assert_eq!(router.public.get("/a/").await.json(), "serves");
    assert_eq!(router.admin.project("a").await.pid, pid, "it is the same cell");
    // The router's message arrives: the project runs its exit handlers, and its cell exits.
    volume.write("a/next.txt", "");
    events.wait_for(EventType::VersionRetired, "a").await;
    let goodbye = router.log.wait_for(|record| record.to_string().contains("goodbye"));
    assert!(within("the project's goodbye", goodbye).await.is_some());
    let log = router.log.text();
    assert!(CONTROL.iter().all(|line| !log.contains(line)), "{log}");
    assert_eq!(events.count(EventType::CellDied, "a"), 0);
}

#[tokio::test]
async fn no_descriptor_of_the_cells_is_adopted_on_the_main_thread() {
    nothing_is_adopted("main").await;
}

#[tokio::test]
async fn no_descriptor_of_the_cells_is_adopted_in_a_web_worker() {
    nothing_is_adopted("worker").await;
}

#[tokio::test]
async fn no_descriptor_of_the_cells_is_adopted_in_a_thread_of_nodes() {
    nothing_is_adopted("thread").await;
}

#[tokio::test]
async fn a_web_worker_inherits_no_descriptor_regardless_of_the_environment() {
    nothing_is_adopted("inheriting-worker").await;
}

#[tokio::test]
async fn a_node_worker_thread_inherits_no_descriptor_regardless_of_the_environment() {
    nothing_is_adopted("inheriting-thread").await;
}

#[tokio::test]
async fn descriptors_of_the_projects_own_work_as_in_node() {
    let volume = doors();
    let router = Router::start(&volume).await;
    let expected = json!({
        "file": "one 3 2000",
        "stream": "one",
        "handle": "one3",
        "terminals": [false, false, false],
        "stdin": "",
        "numbers": [0, 1, 2],
        "socket": true,
    });
    for _ in 0..2 {
        assert_eq!(router.public.get("/a/own").await.json(), expected);
    }
    for line in ["by process.stdout", "by fs.writeSync", "by a socket", "by another socket", "by console.log"]
    {
        let logged = router.log.wait_for(|record| record["message"] == line);
        assert!(within(line, logged).await.is_some(), "{line}");
    }
}

#[tokio::test]
async fn a_cell_inherits_nothing_from_the_process_that_started_the_router() {
    let held = tempfile::NamedTempFile::new().unwrap();
    // A shell does the same for its children.
    rustix::io::fcntl_setfd(held.as_file(), rustix::io::FdFlags::empty()).unwrap();
    let holds = |pid: u32| {
        let links = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let mut targets = links.filter_map(|link| std::fs::read_link(link.ok()?.path()).ok());
        targets.any(|target| target == held.path())
    };
    let volume = doors();
    let router = Router::start(&volume).await;
    let pid = u32::try_from(router.pid().as_raw_nonzero().get()).unwrap();
    assert!(holds(pid), "the router has inherited it");
    assert!(!holds(router.admin.project("a").await.pid.expect("it runs")));
}
