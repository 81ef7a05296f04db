//! Daemons: one run of each over all routers, always with the newest code.

use serde_json::json;
use switchyard_contract::run::{Run, RunState, RunTrigger};
use switchyard_integration::bystander;
use switchyard_integration::eventually;
use switchyard_integration::probe::Probe;
use switchyard_integration::runs::{Routed, RunsApi, TaskProject};
use switchyard_integration::volume::Volume;

/// A daemon that says its label and runs until it is asked to end.
fn daemon(label: &str) -> TaskProject {
    let source = format!(
        "export default async ({{ signal }}) => {{\n\
           console.log('up', {label:?});\n\
           const timer = setInterval(() => {{}}, 1000);\n\
           await new Promise((end) => signal.addEventListener('abort', end));\n\
           clearInterval(timer);\n\
           console.log('down', {label:?});\n\
         }};\n"
    );
    TaskProject::new("work").task("serve", json!({ "daemon": true }), source)
}

/// A volume with this project beside one that is asked all the time.
async fn beside(project: &TaskProject, routers: usize) -> (Volume, Routed, Probe) {
    let volume = Volume::new();
    bystander::write(&volume);
    project.write(&volume);
    let routed = Routed::start(&volume, routers).await;
    let probe = Probe::start(&routed.routers[0].public, "/bystander/").await;
    (volume, routed, probe)
}

/// Waits until there are this many runs of the daemon, and the newest one has said `text`.
async fn up(api: &RunsApi, count: usize, text: &str) -> Run {
    let find = async || {
        let runs = api.runs("task=work:serve").await;
        let newest = runs.first().filter(|_| runs.len() >= count)?.id;
        api.lines(newest).await.iter().any(|line| line.contains(text)).then_some(newest)
    };
    let what = format!("run {count} of the daemon, or a later one, says {text:?}");
    eventually(&what, || async { find().await.is_some() }).await;
    api.run(find().await.expect("it goes on")).await.run
}

/// Checks that no two runs were there at the same time. The newest is first.
fn assert_one_at_a_time(runs: &[Run]) {
    for pair in runs.windows(2) {
        let [later, earlier] = pair else { unreachable!() };
        assert!(
            later.started_at >= earlier.ended_at && earlier.ended_at.is_some(),
            "{earlier:#?} {later:#?}"
        );
    }
}

#[tokio::test]
async fn a_daemon_ends_for_new_code_and_starts_with_it() {
    let (volume, routed, bystander) = beside(&daemon("one"), 1).await;
    let api = &routed.api;
    let first = up(api, 1, "up one").await;
    assert_eq!((first.trigger, first.state), (RunTrigger::Daemon, RunState::Running));
    for (count, label) in [(2, "two"), (3, "three")] {
        daemon(label).write(&volume);
        let run = up(api, count, &format!("up {label}")).await;
        assert_ne!(run.version, first.version);
    }
    let runs = api.runs("task=work:serve").await;
    assert_eq!(runs.len(), 3, "{runs:#?}");
    assert_one_at_a_time(&runs);
    for ended in &runs[1..] {
        let reason = ended.error.as_ref().map(|error| error.reason.as_str());
        assert_eq!((ended.state, reason), (RunState::Cancelled, Some("new-code")));
    }
    assert_eq!(api.lines(first.id).await.last().map(String::as_str), Some("down one"));
    bystander.finish().await.no_failures();
}

#[tokio::test]
async fn a_daemon_that_hears_no_signal_is_replaced_too() {
    let deaf = |label: &str| {
        let source = format!(
            "export default async () => {{\n\
               console.log('up', {label:?});\n\
               await new Promise(() => setInterval(() => {{}}, 1000));\n\
             }};\n"
        );
        TaskProject::new("work").task("serve", json!({ "daemon": true }), source)
    };
    let (volume, routed, bystander) = beside(&deaf("one"), 1).await;
    let api = &routed.api;
    up(api, 1, "up one").await;
    deaf("two").write(&volume);
    up(api, 2, "up two").await;
    assert_one_at_a_time(&api.runs("task=work:serve").await);
    bystander.finish().await.no_failures();
}

#[tokio::test]
async fn a_daemon_ends_with_the_version_that_declared_it() {
    let (volume, routed, bystander) = beside(&daemon("one"), 1).await;
    let api = &routed.api;
    let run = up(api, 1, "up one").await;
    TaskProject::new("work").task("other", json!({}), "export default () => 1;\n").write(&volume);
    let ended = api.ended(run.id).await.run;
    let reason = ended.error.map(|error| error.reason);
    assert_eq!((ended.state, reason.as_deref()), (RunState::Cancelled, Some("removed")));
    api.result("work:other").await;
    assert_eq!(api.runs("task=work:serve").await.len(), 1);
    bystander.finish().await.no_failures();
}

#[tokio::test]
async fn a_daemon_that_crashes_starts_again_after_growing_pauses() {
    let project = TaskProject::new("work").task(
        "serve",
        json!({ "daemon": true }),
        "export default () => { console.log('up'); Deno.exit(3); };\n",
    );
    let (volume, routed, bystander) = beside(&project, 1).await;
    let api = &routed.api;
    let runs = api.counted("task=work:serve&state=failed", 3).await;
    assert_one_at_a_time(&runs);
    let pause = |later: &Run, earlier: &Run| {
        later.queued_at.duration_since(earlier.ended_at.expect("it has ended")).as_millis()
    };
    let pauses = [pause(&runs[1], &runs[2]), pause(&runs[0], &runs[1])];
    assert!(pauses[0] >= 1000 && pauses[1] >= 2000, "{pauses:?}");
    // The next pause is over at once.
    daemon("mended").write(&volume);
    let mended = up(api, 4, "up mended").await;
    assert_eq!(mended.state, RunState::Running);
    bystander.finish().await.no_failures();
}

#[tokio::test]
async fn a_daemon_of_two_routers_runs_once_and_moves_when_its_router_is_killed() {
    let volume = Volume::new();
    bystander::write(&volume);
    daemon("one").write(&volume);
    let mut routed = Routed::start(&volume, 2).await;
    let first = up(&routed.api, 1, "up one").await;
    let at = |run: &Run| run.router.clone().expect("a router has it");
    let home = (0..2).find(|index| routed.routers.admin_url(*index) == at(&first));
    let home = home.unwrap_or_else(|| panic!("no router of {}", at(&first)));
    let other = 1 - home;
    let bystander = Probe::start(&routed.routers[other].public, "/bystander/").await;

    routed.routers.kill(home).await;
    // A router counts as gone after 15 s of silence.
    routed.api.wait(first.id).await;
    let lost = routed.api.ended(first.id).await.run;
    assert_eq!(lost.state, RunState::Lost);
    let second = up(&routed.api, 2, "up one").await;
    assert_eq!(at(&second), routed.routers.admin_url(other));

    // Its router is back, and the daemon stays where it is.
    routed.routers.start_again(home).await;
    routed.bridge.asks_all().await;
    daemon("two").write(&volume);
    up(&routed.api, 3, "up two").await;
    let runs = routed.api.runs("task=work:serve").await;
    assert_eq!(runs.len(), 3, "{runs:#?}");
    assert_one_at_a_time(&runs);
    bystander.finish().await.no_failures();
}

#[tokio::test]
async fn a_daemon_goes_on_while_the_bridge_is_killed_and_is_taken_over() {
    let (volume, mut routed, bystander) = beside(&daemon("one"), 1).await;
    let first = up(&routed.api, 1, "up one").await;
    routed.restart_bridge().await;
    routed.api.knows("work:serve").await;
    daemon("two").write(&volume);
    up(&routed.api, 2, "up two").await;
    let runs = routed.api.runs("task=work:serve").await;
    assert_eq!((runs.len(), runs[1].id), (2, first.id), "{runs:#?}");
    assert_one_at_a_time(&runs);
    bystander.finish().await.no_failures();
}
