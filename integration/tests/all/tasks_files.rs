//! Files that start tasks: `"file": "pending/*.json"` below `DATA_DIR`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};
use switchyard_contract::run::{Run, RunState, RunTrigger};
use switchyard_integration::bystander;
use switchyard_integration::bystander::Bystander;
use switchyard_integration::eventually;
use switchyard_integration::router::Router;
use switchyard_integration::runs::{Routed, TaskProject, held, opens};
use switchyard_integration::volume::Volume;

/// Returns what it was given, with the text that it reads at the path.
const READS: &str = "export default async ({ input, run }) => ({\n\
       ...input, text: await Deno.readTextFile(input.path), trigger: run.trigger,\n\
       isOwn: input.path.startsWith(Deno.realPathSync(Deno.env.get('DATA_DIR'))),\n\
     });\n";

/// A volume with one project, `feed`, whose task `import` has this source.
fn volume(settings: Value, source: &str) -> Volume {
    let volume = Volume::new();
    bystander::write(&volume);
    let mut fields = json!({ "file": "pending/*.json" });
    let settings = settings.as_object().expect("settings are an object").clone();
    fields.as_object_mut().expect("a task is an object").extend(settings);
    TaskProject::new("feed")
        .task("import", fields, source)
        .task("open", json!({}), opens("go"))
        .write(&volume);
    volume
}

/// The `DATA_DIR` of `feed` at a router.
fn data(router: &Router) -> PathBuf {
    router.state.path().join("data/feed")
}

/// Waits for the folder, which the router makes, and moves a file into it.
async fn drop_into(folder: &Path, name: &str, text: &str) {
    eventually(&format!("{} is there", folder.display()), || async { folder.is_dir() }).await;
    let temporary = folder.join(format!(".{name}"));
    fs::write(&temporary, text).expect("the file can be written");
    fs::rename(temporary, folder.join(name)).expect("the file can be renamed");
}

/// Waits until this many runs of a task have succeeded, and returns them with their results, the newest
/// first.
async fn succeeded(routed: &Routed, task: &str, count: usize) -> Vec<Run> {
    let runs = routed.api.counted(&format!("task=feed:{task}&state=succeeded&limit=100"), count).await;
    let details = join_all(runs.iter().map(|run| routed.api.run(run.id))).await;
    details.into_iter().map(|detail| detail.run).collect()
}

/// The folder of a run's file after its end.
async fn moved(data: &Path, folder: &str, run: &Run) -> PathBuf {
    let path = data.join(folder).join(run.id.to_string());
    eventually(&format!("{} is there", path.display()), || async { path.is_dir() }).await;
    assert!(!data.join("current").join(run.id.to_string()).exists());
    path
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().into_string().expect("a name is UTF-8")).collect()
}

#[tokio::test]
async fn a_file_starts_one_run_and_is_moved_on_with_it() {
    let volume = volume(json!({}), READS);
    let routed = Routed::start(&volume, 1).await;
    let bystander = Bystander::start(&routed.routers[0]).await;
    let data = data(&routed.routers[0]);
    drop_into(&data.join("pending"), "a.json", r#"{"n": 1}"#).await;
    let run = succeeded(&routed, "import", 1).await.remove(0);
    assert_eq!(run.trigger, RunTrigger::File);
    let path = data.join(format!("current/{}/a.json", run.id));
    assert_eq!(
        run.result.clone().unwrap(),
        json!({
            "file": "a.json", "path": path, "content": {"n": 1}, "text": r#"{"n": 1}"#, "trigger": "file", "isOwn": true,
        })
    );
    let folder = moved(&data, "complete", &run).await;
    assert_eq!(fs::read_to_string(folder.join("a.json")).unwrap(), r#"{"n": 1}"#);
    // Written in place, and no JSON: the code reads it.
    fs::write(data.join("pending/b.json"), "name,age\n").unwrap();
    let run = succeeded(&routed, "import", 2).await.remove(0);
    let result = run.result.clone().unwrap();
    assert_eq!((&result["content"], &result["text"]), (&Value::Null, &json!("name,age\n")));
    moved(&data, "complete", &run).await;
    assert_eq!(names(&data.join("pending")), BTreeSet::new());
    assert_eq!(routed.api.runs("task=feed:import").await.len(), 2);
    bystander.finish(&routed.routers[0]).await;
}

#[tokio::test]
async fn a_file_whose_last_attempt_failed_is_rejected() {
    let source = "export default ({ run }) => { throw new Error(`attempt ${run.attempt}`); };\n";
    let volume = volume(json!({ "retry": { "attempts": 2, "backoff": "1ms" } }), source);
    let routed = Routed::start(&volume, 1).await;
    let data = data(&routed.routers[0]);
    drop_into(&data.join("pending"), "a.json", "[]").await;
    let run = routed.api.counted("task=feed:import&state=failed", 1).await.remove(0);
    assert_eq!(run.attempt, 2);
    let folder = moved(&data, "rejected", &run).await;
    assert_eq!(names(&folder), BTreeSet::from(["a.json".to_owned()]));
    assert!(!data.join("complete").exists());
}

#[tokio::test]
async fn files_wait_for_a_task_and_for_a_bridge() {
    let volume = volume(json!({}), READS);
    let mut routed = Routed::start(&volume, 1).await;
    let data = data(&routed.routers[0]);
    drop_into(&data.join("pending"), "first.json", "1").await;
    succeeded(&routed, "import", 1).await;
    routed.kill_bridge().await;
    drop_into(&data.join("pending"), "second.json", "2").await;
    fs::create_dir(data.join("other")).unwrap();
    fs::write(data.join("other/third.json"), "3").unwrap();
    routed.start_bridge().await;
    succeeded(&routed, "import", 2).await;
    // A version that names another folder: the file was there before.
    TaskProject::new("feed").task("import", json!({ "file": "other/*.json" }), READS).write(&volume);
    let runs = succeeded(&routed, "import", 3).await;
    let files: Vec<_> = runs.iter().map(|run| run.result.clone().unwrap()["file"].clone()).collect();
    assert_eq!(files, ["third.json", "second.json", "first.json"]);
    assert_eq!(routed.api.runs("task=feed:import").await.len(), 3);
}

#[tokio::test]
async fn a_run_is_where_its_file_is_with_all_of_its_steps() {
    let volume = Volume::new();
    let step = "export default async ({ input, config, pipeline }) => [\n\
           ...(Array.isArray(input) ? input : []), await Deno.readTextFile(pipeline.input.path),\n\
         ];\n";
    TaskProject::new("feed")
        .task("import", json!({ "file": "pending/*.json" }), READS)
        .task("one", json!({}), step)
        .task("two", json!({}), step)
        .pipeline("seeds", json!({ "tasks": ["one", "two"], "file": "seeds/*.json" }))
        .write(&volume);
    let routed = Routed::start(&volume, 3).await;
    for index in [2, 0, 1] {
        let data = data(&routed.routers[index]);
        let before = routed.api.runs("task=feed:import&state=succeeded").await.len();
        drop_into(&data.join("pending"), "a.json", "7").await;
        drop_into(&data.join("seeds"), "s.json", "8").await;
        let run = succeeded(&routed, "import", before + 1).await.remove(0);
        assert_eq!(run.router.as_deref(), Some(&*routed.routers.admin_url(index)));
        let run = succeeded(&routed, "seeds", before + 1).await.remove(0);
        assert_eq!(run.result, Some(json!(["8", "8"])));
        moved(&data, "complete", &run).await;
    }
}

#[tokio::test]
async fn a_run_of_a_file_that_failed_is_retried_by_hand_where_the_file_is() {
    let source = "export default async ({ input, run }) => {\n\
           const text = await Deno.readTextFile(input.path);\n\
           if (run.trigger === 'file') throw new Error('not yet');\n\
           return text;\n\
         };\n";
    let volume = volume(json!({}), source);
    let routed = Routed::start(&volume, 3).await;
    let data = data(&routed.routers[2]);
    drop_into(&data.join("pending"), "a.json", "7").await;
    let run = routed.api.counted("task=feed:import&state=failed", 1).await.remove(0);
    moved(&data, "rejected", &run).await;
    for version in [None, Some("latest")] {
        let again = routed.api.retry(run.id, version).await.run;
        assert_eq!((again.state, &again.result), (RunState::Succeeded, &Some(json!("7"))), "{again:#?}");
        assert_eq!(again.router.as_deref(), Some(&*routed.routers.admin_url(2)));
    }
}

#[tokio::test]
async fn a_killed_bridge_or_router_loses_no_file_and_runs_none_twice() {
    let volume = volume(json!({ "retry": { "attempts": 3, "backoff": "1ms" } }), &held("done", "go"));
    let mut routed = Routed::start(&volume, 1).await;
    let data = data(&routed.routers[0]);
    drop_into(&data.join("pending"), "a.json", "1").await;
    let run = routed.api.counted("task=feed:import&state=running", 1).await.remove(0);
    routed.restart_bridge().await;
    routed.routers.kill(0).await;
    drop_into(&data.join("pending"), "b.json", "2").await;
    routed.routers.start_again(0).await;
    routed.kill_bridge().await;
    routed.routers[0].signal(Signal::KILL);
    routed.routers.take(0).ended().await;
    routed.routers.start_again(0).await;
    routed.start_bridge().await;
    routed.api.counted("task=feed:import&state=running", 2).await;
    routed.api.result("feed:open").await;
    let runs = succeeded(&routed, "import", 2).await;
    assert_eq!(runs[1].id, run.id);
    for run in &runs {
        moved(&data, "complete", run).await;
    }
    assert_eq!(routed.api.runs("task=feed:import").await.len(), 2);
    assert_eq!(names(&data.join("current")), BTreeSet::new());
}

#[tokio::test]
async fn every_file_of_many_has_one_run_while_everything_is_killed() {
    const FILES: usize = 30;
    let volume = volume(json!({ "retry": { "attempts": 20, "backoff": "1ms" } }), READS);
    let mut routed = Routed::start(&volume, 1).await;
    let data = data(&routed.routers[0]);
    let pending = data.join("pending");
    for round in 0..3 {
        for n in 0..FILES / 3 {
            drop_into(&pending, &format!("{round}-{n}.json"), "1").await;
        }
        match round {
            0 => routed.restart_bridge().await,
            1 => {
                routed.routers.kill(0).await;
                routed.routers.start_again(0).await;
            }
            _ => {
                routed.kill_bridge().await;
                routed.routers.kill(0).await;
                routed.routers.start_again(0).await;
                routed.start_bridge().await;
            }
        }
    }
    let runs = succeeded(&routed, "import", FILES).await;
    let files: BTreeSet<_> = runs.iter().map(|run| run.result.clone().unwrap()["file"].to_string()).collect();
    assert_eq!((runs.len(), files.len()), (FILES, FILES));
    assert_eq!(routed.api.runs("task=feed:import&limit=100").await.len(), FILES);
    for run in &runs {
        moved(&data, "complete", run).await;
    }
    assert_eq!(names(&data.join("complete")).len(), FILES);
    assert_eq!((names(&pending), names(&data.join("current"))), (BTreeSet::new(), BTreeSet::new()));
}

#[tokio::test]
async fn links_and_hidden_files_start_nothing_and_lead_nowhere() {
    let volume = volume(json!({}), READS);
    let routed = Routed::start(&volume, 1).await;
    let data = data(&routed.routers[0]);
    let pending = data.join("pending");
    let secret = routed.state.path().join("secret.json");
    fs::write(&secret, r#""secret""#).unwrap();
    drop_into(&pending, "a.json", "1").await;
    succeeded(&routed, "import", 1).await;
    symlink(&secret, data.join("link")).unwrap();
    fs::rename(data.join("link"), pending.join("link.json")).unwrap();
    fs::create_dir(pending.join("folder.json")).unwrap();
    fs::write(pending.join(".hidden.json"), "1").unwrap();
    fs::write(pending.join("b.txt"), "1").unwrap();
    drop_into(&pending, "c.json", "1").await;
    succeeded(&routed, "import", 2).await;
    let left = ["link.json", "folder.json", ".hidden.json", "b.txt"].map(str::to_owned);
    assert_eq!(names(&pending), BTreeSet::from(left));
    // A run has ended before its file is moved.
    let complete = || names(&data.join("complete")).len();
    eventually("both files are moved", || async { complete() == 2 }).await;
    // A folder of the outside in place of the project's own.
    fs::remove_dir_all(data.join("complete")).unwrap();
    let outside = routed.state.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, data.join("complete")).unwrap();
    drop_into(&pending, "d.json", "1").await;
    let run = succeeded(&routed, "import", 3).await.remove(0);
    let stays = routed.routers[0].log.wait_for(|record| {
        record["message"].as_str().is_some_and(|message| message.contains("the file \"d.json\" stays"))
    });
    switchyard_integration::within("the refusal", stays).await.unwrap();
    assert!(data.join(format!("current/{}/d.json", run.id)).is_file());
    assert_eq!(names(&outside), BTreeSet::new());
    assert!(routed.api.runs("task=feed:import").await.iter().all(|run| run.state == RunState::Succeeded));
}
