//! Isolation: a project that leaves files behind, prints or writes without pause delays neither the
//! admin listener nor the edits of its neighbors.

use std::fs;
use std::path::{Path, PathBuf};

use switchyard_contract::event::{DeathReason, EventType};
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::{Router, State};
use switchyard_integration::volume::Volume;

/// Performs the action in the path, then answers.
const OFFENDER: &str = r"
const tmp = Deno.env.get('TMPDIR'), data = Deno.env.get('DATA_DIR');
const later = (millis) => new Promise((resolve) => setTimeout(resolve, millis));
// In short turns, even on a busy machine.
async function times(count, make) {
  for (let n = 0; n < count; n++) {
    make(n);
    if (n % 200 === 199) await later(0);
  }
}
async function more(make) {
  for (let n = 0; n < 1000; n++) {
    for (let m = 0; m < 20; m++) make(`${tmp}/${n}-${m}`);
    await later(20);
  }
}
const create = (path) => Deno.createSync(path).close();
const deeds = {
  '/'() {},
  '/files': (count) => times(count, (n) => create(`${tmp}/${n}`)),
  '/kept-files': (count) => times(count, (n) => create(`${data}/${n}`)),
  '/more-files': () => more(create),
  '/more-folders': () => more(Deno.mkdirSync),
  '/deep'(levels) {
    Deno.mkdirSync(`${tmp}/0`);
    return times(levels - 1, (n) => {
      Deno.mkdirSync(`${tmp}/${n + 1}`);
      Deno.renameSync(`${tmp}/${n}`, `${tmp}/${n + 1}/d`);
    });
  },
  '/fill'(megabytes) {
    const block = new Uint8Array(1 << 20).fill(1);
    for (let n = 0; n < megabytes; n++) Deno.writeFileSync(`${tmp}/fill-${n}`, block);
  },
  '/free'() { for (const { name } of Deno.readDirSync(data)) Deno.removeSync(`${data}/${name}`); },
  '/write'() { Deno.writeTextFileSync(`${data}/text`, 'x'); },
  '/print': (lines) => times(lines, () => console.log('x'.repeat(1000))),
  '/exit'() { setTimeout(() => Deno.exit(3), 0); },
};
Deno.serve({ onListen() {} }, async (request) => {
  const { pathname, search } = new URL(request.url);
  try {
    await deeds[pathname](Number(search.slice(1)));
    return new Response('done');
  } catch (error) {
    return new Response(`${error}`, { status: 507 });
  }
});
";

/// An offender `a` and a neighbour `b`.
struct Scene {
    volume: Volume,
    router: Router,
}

impl Scene {
    async fn with(limits: &str) -> Self {
        let volume = volume(limits);
        let router = Router::builder(&volume).flag("policy", policy(&volume).display()).start().await;
        Self { volume, router }
    }

    async fn ask(&self, path: &str) -> u16 {
        self.ask_of("a", path).await
    }

    async fn ask_of(&self, project: &str, path: &str) -> u16 {
        self.router.public.get(&format!("/{project}{path}")).await.status
    }

    /// Checks that the admin listener answers, and that edits of the neighbour go live.
    async fn neighbour_is_fine(&self, text: &str) {
        assert_eq!(self.router.admin.client.get("/healthz").await.status, 200);
        let mut events = self.router.events().await;
        self.volume.replace("b/main.ts", hello(text));
        while self.router.public.get("/b/").await.text() != text {
            events.wait_for(EventType::ReloadLive, "b").await;
        }
        assert_eq!(self.router.admin.project("b").await.name, "b");
    }

    async fn is_gone(&self, what: &str, folder: &Path) {
        eventually(what, || std::future::ready(names(folder).is_empty())).await;
    }

    fn trash(&self) -> PathBuf {
        self.router.state.path().join("trash")
    }

    /// The temporary folders of cells that run.
    fn temporary(&self) -> Vec<PathBuf> {
        let run = self.router.state.path().join("run");
        names(&run).into_iter().map(|cell| run.join(cell).join("tmp")).collect()
    }
}

fn volume(limits: &str) -> Volume {
    let volume = Volume::with("a", OFFENDER);
    volume.write("b/main.ts", hello("before"));
    volume.write("_policy/policy.toml", format!("[projects.a.limits]\n{limits}\n"));
    volume
}

fn policy(volume: &Volume) -> PathBuf {
    volume.path("_policy/policy.toml")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn files_that_a_cell_leaves_behind_are_removed_in_the_background() {
    let scene = Scene::with("disk_files = 1000000").await;
    let mut events = scene.router.events().await;
    assert_eq!(scene.ask("/files?20000").await, 200);
    // The process may end before its answer is sent.
    scene.ask("/exit").await;
    let died = events.wait_for(EventType::CellDied, "a").await.data.death.unwrap();
    assert_eq!(died.reason, DeathReason::Exit);
    // The end of the cell is reported before its files are removed.
    scene.neighbour_is_fine("after").await;
    assert!(scene.temporary().iter().all(|tmp| names(tmp).is_empty()));
    scene.is_gone("all is removed", &scene.trash()).await;
    assert_eq!(scene.ask("/").await, 200);
}

#[tokio::test]
async fn folders_too_deep_for_any_path_end_their_cell_and_are_removed_here_and_at_the_next_start() {
    let scene = Scene::with("").await;
    let mut events = scene.router.events().await;
    // Paths end at 4096 bytes. The cell may be ended before it has finished.
    assert!([200, 502].contains(&scene.ask("/deep?6000").await));
    let died = events.wait_for(EventType::CellDied, "a").await.data.death.unwrap();
    assert_eq!(died.reason, DeathReason::Disk, "{died:?}");
    assert!(died.message.contains("limits.disk_files"), "{died:?}");
    scene.neighbour_is_fine("after").await;
    scene.is_gone("the folders are removed", &scene.trash()).await;

    // A router that was killed left such folders.
    let Scene { volume, router } = scene;
    let state: State = router.state.clone();
    drop(router);
    let left = state.path().join("run/7/tmp");
    fs::create_dir_all(left.join("0")).unwrap();
    for level in 1..6000 {
        fs::create_dir(left.join(level.to_string())).unwrap();
        fs::rename(left.join((level - 1).to_string()), left.join(format!("{level}/d"))).unwrap();
    }
    let router = Router::builder(&volume).state(&state).start().await;
    assert_eq!(router.public.get("/a/").await.status, 200);
    assert!(!left.exists());
    let scene = Scene { volume, router };
    scene.is_gone("what was left is removed", &scene.trash()).await;
}

#[tokio::test]
async fn a_project_has_no_more_files_than_its_limit() {
    let scene = Scene::with("disk_files = 500").await;
    let events = scene.router.events().await;
    assert_eq!(scene.ask("/kept-files?550").await, 507);
    let is_full = |record: &serde_json::Value| {
        record["message"].as_str().is_some_and(|text| text.contains("limits.disk_files"))
    };
    scene.router.log.wait_for(is_full).await.expect("it is logged");
    // The project cannot write until it has freed space.
    for deed in ["/write", "/more-files", "/more-folders"] {
        assert_eq!(scene.ask(deed).await, 507, "{deed}");
    }
    assert_eq!(scene.ask("/free").await, 200);
    assert_eq!(scene.ask("/write").await, 200);
    assert_eq!(events.count(EventType::CellDied, "a"), 0);
    scene.neighbour_is_fine("after").await;
    let limits = scene.router.admin.project("a").await.grants.unwrap().limits;
    assert_eq!(limits.disk_files, 500);
}

#[tokio::test]
async fn a_limit_of_disk_holds_beside_a_neighbour_with_many_files() {
    let volume = volume("disk = \"5MB\"");
    for n in 0..3 {
        volume.write(&format!("many-{n}/main.ts"), OFFENDER);
    }
    let router = Router::builder(&volume).flag("policy", policy(&volume).display()).start().await;
    let scene = Scene { volume, router };
    for n in 0..3 {
        assert_eq!(scene.ask_of(&format!("many-{n}"), "/kept-files?10000").await, 200);
    }
    assert_eq!(scene.ask("/fill?6").await, 507);
    assert_eq!(scene.ask("/write").await, 507);
    scene.neighbour_is_fine("after").await;
}

#[tokio::test]
async fn output_of_projects_is_bounded_in_the_log_with_a_note_of_omissions() {
    let volume = volume("");
    let router = Router::builder(&volume).flag("project-log", 1 << 20).start().await;
    let scene = Scene { volume, router };
    assert_eq!(scene.ask("/print?3000").await, 200);
    let says = |record: &serde_json::Value| {
        record["project.name"] == "a" && record["dropped_lines"].as_u64().is_some()
    };
    let record = scene.router.log.wait_for(says).await.expect("it is logged");
    assert!(record["message"].as_str().unwrap().contains("--project-log"), "{record}");
    scene.neighbour_is_fine("after").await;
    let logged = scene.router.log.lines().iter().filter(|line| line.contains("xxxx")).count() as u64;
    assert!((500..1000).contains(&logged), "{logged} lines");
    let dropped = async |metric: &str| scene.router.admin.metric(metric, "project=\"a\"").await;
    eventually("dropped records are counted", || async {
        dropped("switchyard_log_dropped_lines_total").await == Some((3000 - logged) as f64)
    })
    .await;
    let bytes = dropped("switchyard_log_dropped_bytes_total").await;
    assert_eq!(bytes, Some((1000 * (3000 - logged)) as f64));
    // The last lines are kept all the same.
    let kept = scene.router.admin.client.get("/projects/a/logs?lines=1000").await.text();
    assert!(kept.matches("event: line\n").count() > 200);
}

#[tokio::test]
async fn a_log_that_is_not_read_stalls_no_project() {
    let volume = volume("");
    let router = Router::builder(&volume).flag("project-log", 100 << 20).start().await;
    let scene = Scene { volume, router };
    scene.router.log.pause();
    // Three times the number of lines that are kept for readers.
    for _ in 0..4 {
        assert_eq!(scene.ask("/print?3000").await, 200);
    }
    eventually("records are lost", || async {
        scene.router.admin.metric("switchyard_log_lost_records_total", "").await > Some(0.0)
    })
    .await;
    scene.neighbour_is_fine("after").await;
    scene.router.log.resume();
    let says = |record: &serde_json::Value| record["dropped_records"].as_u64().is_some();
    let record = scene.router.log.wait_for(says).await.expect("it is said");
    assert!(record["dropped_bytes"].as_u64() > Some(1000), "{record}");
    scene.neighbour_is_fine("again").await;
}
