//! Due times, chains and queues: what starts, what does not, and the record of each due time.

use serde_json::{Value, json};
use switchyard_contract::run::{Occurrence, OccurrenceOutcome, RunState, RunTrigger};
use switchyard_contract::task_overview::TaskDetail;
use switchyard_integration::bridge::signed::now;
use switchyard_integration::bystander;
use switchyard_integration::probe::Probe;
use switchyard_integration::runs::{Routed, RunsApi, Served, TaskProject, held, opens, returns};
use switchyard_integration::serve::{Builder, Serve};
use switchyard_integration::volume::Volume;

const EACH_SECOND: &str = "* * * * * *";

/// The project `clock`: a schedule starts `tick` each second, and `open` lets its runs end.
fn ticking(overlap: &str) -> TaskProject {
    TaskProject::new("clock")
        .task("tick", json!({ "cron": EACH_SECOND, "overlap": overlap }), held("tick", "gate"))
        .task("open", json!({}), opens("gate"))
}

/// Starts a project beside one that is asked all the time.
async fn beside(project: &TaskProject) -> (Volume, Served, Probe) {
    let volume = Volume::new();
    bystander::write(&volume);
    project.write(&volume);
    let served = Served::start(&volume).await;
    let probe = Probe::start(&served.serve.public, "/bystander/").await;
    (volume, served, probe)
}

fn with_outcome(detail: &TaskDetail, outcome: OccurrenceOutcome) -> Vec<Occurrence> {
    detail.occurrences.iter().filter(|one| one.outcome == outcome).cloned().collect()
}

fn skipped(detail: &TaskDetail) -> Vec<Occurrence> {
    with_outcome(detail, OccurrenceOutcome::Skipped)
}

/// Checks that each second from the first record to the last has exactly one.
fn assert_each_second_once(occurrences: &[Occurrence]) {
    let seconds: Vec<_> = occurrences.iter().map(|one| one.due_at.as_second()).collect();
    assert!(seconds.windows(2).all(|pair| pair[0] == pair[1] + 1), "{seconds:?}");
}

/// Checks what `explain` says of each of these due times.
async fn assert_explained(api: &RunsApi, occurrences: &[Occurrence], reason: &str) {
    for one in occurrences {
        let task = one.task.to_string();
        let why = api.explain(&task, Some(&one.due_at.to_string())).await;
        assert_eq!((why.outcome, why.run), (Some(one.outcome), one.run));
        assert!(why.reason.contains(reason), "{why:?}");
    }
}

#[tokio::test]
async fn a_due_time_during_a_run_is_skipped_and_names_the_run_in_the_way() {
    let (_volume, served, bystander) = beside(&ticking("skip")).await;
    let api = &served.api;
    let detail = api.becomes("clock:tick", "three are skipped", |detail| skipped(detail).len() >= 3).await;
    let runs = api.runs("task=clock:tick").await;
    assert_eq!(runs.len(), 1, "{runs:#?}");
    assert!(skipped(&detail).iter().all(|one| one.run == Some(runs[0].id)), "{detail:#?}");
    assert_explained(api, &skipped(&detail), "overlap is \"skip\"").await;
    let refused = api.start("clock:tick").refused(409, "overlap").await;
    assert_eq!(refused["run"], runs[0].id.to_string());

    api.result("clock:open").await;
    let runs = api.counted("task=clock:tick", 2).await;
    assert!(runs[0].queued_at >= runs[1].ended_at.expect("it has ended"), "{runs:#?}");
    assert_each_second_once(&api.task("clock:tick").await.occurrences);
    bystander.finish().await.no_failures();
}

#[tokio::test]
async fn one_due_time_during_a_run_waits_and_further_ones_are_skipped() {
    let (_volume, served, bystander) = beside(&ticking("queue")).await;
    let api = &served.api;
    let detail = api.becomes("clock:tick", "two are skipped", |detail| skipped(detail).len() >= 2).await;
    let runs = api.runs("task=clock:tick").await;
    let [waiting, first] = &runs[..] else { panic!("{runs:#?}") };
    assert_eq!((first.state, waiting.state), (RunState::Running, RunState::Queued));
    assert!(skipped(&detail).iter().all(|one| one.run == Some(waiting.id)), "{detail:#?}");
    assert_explained(api, &skipped(&detail), "waited for its turn").await;

    api.result("clock:open").await;
    let (first, second) = (api.ended(first.id).await.run, api.ended(waiting.id).await.run);
    assert_eq!((first.state, second.state), (RunState::Succeeded, RunState::Succeeded));
    assert!(second.started_at >= first.ended_at, "{first:#?} {second:#?}");
    assert_each_second_once(&api.task("clock:tick").await.occurrences);
    bystander.finish().await.no_failures();
}

#[tokio::test]
async fn a_due_time_replaces_the_run_under_way_and_never_runs_beside_it() {
    let (_volume, served, bystander) = beside(&ticking("replace")).await;
    let api = &served.api;
    let cancelled = api.counted("task=clock:tick&state=cancelled", 3).await;
    let reasons: Vec<_> = cancelled.iter().filter_map(|run| Some(&*run.error.as_ref()?.reason)).collect();
    assert_eq!(reasons, vec!["replaced"; cancelled.len()]);
    let runs = api.runs("task=clock:tick").await;
    for pair in runs.windows(2) {
        let [later, earlier] = pair else { unreachable!() };
        let Some(ended) = earlier.ended_at else {
            // The run is being cancelled at this moment.
            assert_eq!(later.started_at, None, "{earlier:#?} {later:#?}");
            continue;
        };
        assert!(later.started_at.is_none_or(|started| ended <= started), "{earlier:#?} {later:#?}");
        let message = earlier.error.as_ref().map(|error| error.message.clone()).unwrap_or_default();
        assert!(message.contains(&later.id.to_string()), "{message}");
    }
    let detail = api.task("clock:tick").await;
    assert_eq!(with_outcome(&detail, OccurrenceOutcome::Ran).len(), detail.occurrences.len());
    assert_each_second_once(&detail.occurrences);
    bystander.finish().await.no_failures();
}

#[tokio::test]
async fn runs_that_are_allowed_side_by_side_start_at_each_due_time() {
    let (_volume, served, bystander) = beside(&ticking("allow")).await;
    let api = &served.api;
    let runs = api.counted("task=clock:tick&state=running", 3).await;
    assert!(runs.iter().all(|run| run.trigger == RunTrigger::Cron), "{runs:#?}");
    let detail = api.task("clock:tick").await;
    assert_eq!(skipped(&detail), []);
    assert_each_second_once(&detail.occurrences);
    assert_explained(api, &detail.occurrences, "a run was").await;
    bystander.finish().await.no_failures();
}

#[tokio::test]
async fn a_changed_schedule_starts_from_now() {
    let project = |cron: &str| {
        let settings = json!({ "cron": cron, "catchUp": "all" });
        TaskProject::new("clock").task("tick", settings, returns("tick")).task(
            "other",
            json!({}),
            returns("o"),
        )
    };
    // These have due times of years ago, and of no time soon.
    let (rare, as_rare) = ("0 0 29 2 *", "30 5 29 2 *");
    let (volume, served, bystander) = beside(&project(rare)).await;
    let api = &served.api;
    let first = api.knows("clock:tick").await;
    assert_eq!(first.occurrences, []);

    let changed_at = now();
    project(EACH_SECOND).write(&volume);
    let ran = |detail: &TaskDetail| with_outcome(detail, OccurrenceOutcome::Ran).len() >= 2;
    let detail = api.becomes("clock:tick", "it has run twice", ran).await;
    let earliest = detail.occurrences.last().expect("there are some").due_at.as_second();
    assert!(earliest >= changed_at, "{earliest} {changed_at}");
    assert_each_second_once(&detail.occurrences);

    project(as_rare).write(&volume);
    let is_rare =
        |detail: &TaskDetail| detail.overview.next.is_some_and(|next| next.as_second() > now() + 3600);
    let rare = api.becomes("clock:tick", "the schedule is the third", is_rare).await;
    api.result("clock:other").await;
    assert_eq!(api.task("clock:tick").await.occurrences, rare.occurrences);
    let why = api.explain("clock:tick", Some("2024-02-29T05:30:00Z")).await;
    assert_eq!(why.outcome, None);
    assert!(why.reason.contains("was not known then"), "{why:?}");
    bystander.finish().await.no_failures();
}

/// An hourly schedule with no due time within the next minutes.
fn hourly() -> String {
    format!("{} * * * *", (now() / 60 + 30) % 60)
}

/// The process with another clock. Its timers are those of the machine.
fn with_clock(builder: Builder, name: &str, value: impl ToString) -> Builder {
    builder
        .env("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", 1)
        .env("FAKETIME_NO_CACHE", 1)
        .env(name, value)
}

#[tokio::test]
async fn due_times_of_three_hours_away_are_caught_up_by_the_rule_of_each_task() {
    let (volume, hourly) = (Volume::new(), hourly());
    let project = |changed: &str| {
        let project = TaskProject::new("clock")
            .task("changed", json!({ "cron": changed, "catchUp": "none" }), returns("changed"))
            .task("other", json!({}), returns("other"));
        ["none", "one", "all"].into_iter().fold(project, |project, rule| {
            project.task(rule, json!({ "cron": hourly, "catchUp": rule }), returns(rule))
        })
    };
    project(&hourly).write(&volume);
    let builder = Serve::builder(&volume);
    let serve = builder.start().await;
    let api = RunsApi::new(&serve.api);
    let next = api.knows("clock:none").await.overview.next.expect("it has a schedule");
    // The states of schedules are recorded before whatever is recorded later.
    api.result("clock:other").await;
    serve.stop().await;

    project("1 2 29 2 *").write(&volume);
    let serve = with_clock(builder, "FAKETIME", "+3h").start().await;
    let api = RunsApi::new(&serve.api);
    let times = [2, 1, 0].map(|hours| next.as_second() + hours * 3600);
    let (ran, missed) = (OccurrenceOutcome::Ran, OccurrenceOutcome::Missed);
    for (task, outcomes) in [
        ("none", [missed, missed, missed]),
        ("one", [ran, missed, missed]),
        ("all", [ran, ran, ran]),
        // Due times of the schedule that it had then, and none of the one that it has now.
        ("changed", [missed, missed, missed]),
    ] {
        let task = format!("clock:{task}");
        let detail = api.becomes(&task, "all have records", |detail| detail.occurrences.len() >= 3).await;
        let records: Vec<_> =
            detail.occurrences.iter().map(|one| (one.due_at.as_second(), one.outcome)).collect();
        let expected: Vec<_> = times.into_iter().zip(outcomes).collect();
        assert_eq!(records, expected, "{task}");
        assert_explained(&api, &with_outcome(&detail, missed), "the bridge was away").await;
        for one in with_outcome(&detail, ran) {
            let run = api.ended(one.run.expect("it names its run")).await.run;
            assert_eq!((run.state, run.scheduled_at), (RunState::Succeeded, Some(one.due_at)));
        }
    }
}

#[tokio::test]
async fn a_clock_that_jumps_forth_and_back_starts_each_due_time_once() {
    let volume = Volume::new();
    let project = TaskProject::new("clock").task("tick", json!({ "cron": hourly() }), returns("tick"));
    project.task("other", json!({}), returns("other")).write(&volume);
    let file = volume.path("_clock");
    let set = |offset: &str| volume.replace("_clock", format!("{offset}\n"));
    volume.write("_clock", "+0\n");
    let builder = with_clock(Serve::builder(&volume), "FAKETIME_TIMESTAMP_FILE", file.display());
    let serve = builder.start().await;
    let api = RunsApi::new(&serve.api);
    let due = api.knows("clock:tick").await.overview.next.expect("it has a schedule");
    let jumped = async |count: usize| {
        let what = format!("{count} due times have records");
        api.becomes("clock:tick", &what, |detail| detail.occurrences.len() >= count).await
    };

    set("+1h");
    let detail = jumped(1).await;
    let [one] = &detail.occurrences[..] else { panic!("{detail:#?}") };
    assert_eq!((one.due_at, one.outcome), (due, OccurrenceOutcome::Ran));
    api.ended(one.run.expect("it names its run")).await;

    // The same hour once more.
    set("+0");
    api.result("clock:other").await;
    set("+1h");
    api.result("clock:other").await;
    assert_eq!(api.task("clock:tick").await.occurrences, detail.occurrences);
    assert_eq!(api.runs("task=clock:tick").await.len(), 1);

    set("+2h");
    let detail = jumped(2).await;
    assert_eq!(detail.occurrences[0].due_at.as_second(), due.as_second() + 3600);
    assert_eq!(with_outcome(&detail, OccurrenceOutcome::Ran).len(), 2);
}

#[tokio::test]
async fn the_end_of_a_run_starts_the_tasks_that_follow_such_an_end() {
    let tells = "export default ({ input }) => input;\n";
    let always = json!(["good", "bad", "held"].map(|task| json!({ "task": task, "on": "always" })));
    let project = TaskProject::new("chain")
        .task("good", json!({}), returns("fine"))
        .task("bad", json!({}), "export default () => { throw new Error('on purpose'); };\n")
        .task("held", json!({}), held("held", "gate"))
        .task("marker", json!({}), returns("marker"))
        .task("good-success", json!({ "after": "good" }), tells)
        .task("good-failure", json!({ "after": { "task": "good", "on": "failure" } }), tells)
        .task("bad-success", json!({ "after": "bad" }), tells)
        .task("bad-failure", json!({ "after": { "task": "bad", "on": "failure" } }), tells)
        .task("always", json!({ "after": always }), tells);
    let (_volume, served, bystander) = beside(&project).await;
    let api = &served.api;
    api.knows("chain:always").await;
    let good = api.start("chain:good").succeeded().await;
    let bad = api.start("chain:bad").ended().await.run;
    let cancelled = api.start("chain:held").running().await.run;
    assert_eq!(api.cancel(cancelled.id).await.run.state, RunState::Cancelled);

    api.counted("task=chain:always&state=succeeded", 2).await;
    for (task, parent, key, value) in
        [("good-success", &good, "result", json!("fine")), ("bad-failure", &bad, "state", json!("failed"))]
    {
        let runs = api.counted(&format!("task=chain:{task}&state=succeeded"), 1).await;
        let run = api.run(runs[0].id).await.run;
        assert_eq!((run.trigger, run.parent), (RunTrigger::Chain, Some(parent.id)));
        let told = run.result.unwrap_or(Value::Null);
        assert_eq!((&told["run"], &told[key]), (&json!(parent.id), &value), "{told}");
    }
    api.result("chain:marker").await;
    let mut tasks: Vec<_> =
        api.runs("project=chain").await.iter().map(|run| run.task.name.to_string()).collect();
    tasks.sort_unstable();
    let expected = ["always", "always", "bad", "bad-failure", "good", "good-success", "held", "marker"];
    assert_eq!(tasks, expected);
    bystander.finish().await.no_failures();
}

#[tokio::test]
async fn a_full_queue_refuses_a_request_and_records_a_due_time_as_skipped() {
    let volume = Volume::new();
    ticking("allow").write(&volume);
    bystander::write(&volume);
    volume.write("_policy/policy.toml", "[projects.clock.limits]\nruns = 1\nrun_queue = 2\n");
    let policy = volume.path("_policy/policy.toml");
    let routed =
        Routed::start_with(&volume, 1, |_, router| router.flag("policy", policy.display()), |bridge| bridge)
            .await;
    let bystander = Probe::start(&routed.routers[0].public, "/bystander/").await;
    let api = &routed.api;
    let detail = api.becomes("clock:tick", "two are skipped", |detail| skipped(detail).len() >= 2).await;
    assert_explained(api, &skipped(&detail), "run_queue").await;
    let refused = api.start("clock:open").refused(429, "queue-full").await;
    assert!(refused["detail"].as_str().unwrap().contains("run_queue"), "{refused}");
    let running = api.runs("task=clock:tick&state=running").await;
    assert_eq!(running.len(), 1, "{running:#?}");
    let waiting = api.runs("task=clock:tick&state=queued").await;
    assert_eq!(waiting.len(), 2, "{waiting:#?}");

    api.cancel(running[0].id).await;
    api.run_becomes(waiting[1].id, "its turn has come", |detail| detail.run.state == RunState::Running).await;
    assert_each_second_once(&api.task("clock:tick").await.occurrences);
    bystander.finish().await.no_failures();
}

#[tokio::test]
async fn runs_of_all_projects_beyond_the_limit_of_a_router_wait_for_their_turn() {
    let volume = Volume::new();
    bystander::write(&volume);
    for name in ["a", "b", "c"] {
        TaskProject::new(name).task("hold", json!({}), held("hold", "gate")).write(&volume);
    }
    let routed =
        Routed::start_with(&volume, 1, |_, router| router.flag("max-runs", 2), |bridge| bridge).await;
    let bystander = Probe::start(&routed.routers[0].public, "/bystander/").await;
    let api = &routed.api;
    api.knows("c:hold").await;
    let first = api.start("a:hold").running().await.run;
    api.start("b:hold").running().await;
    let third = api.start("c:hold").begun().await.run;
    api.cancel(first.id).await;
    let third =
        api.run_becomes(third.id, "its turn has come", |detail| detail.run.state == RunState::Running);
    let third = third.await.run;
    let first = api.run(first.id).await.run;
    assert!(third.started_at >= first.ended_at, "{first:#?} {third:#?}");
    bystander.finish().await.no_failures();
}
