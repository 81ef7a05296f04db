//! Runs, steps, due times, schedules and tasks.

use futures_util::future::join_all;
use serde_json::json;
use switchyard_contract::run::{Occurrence, OccurrenceOutcome, RunId, RunState, Step};
use switchyard_contract::task::{ProjectTasks, RunLimits, TaskSet};

use super::super::{Accepted, LedgerError, ScheduleState};
use super::{ended, noon, open, queued, seconds, task, version};

#[tokio::test]
async fn a_run_comes_out_as_it_went_in() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let mut run = queued("blog:digest", noon());
    run.input = json!({"a": [1, "ä", null]});
    run.boot = Some("r1".to_owned());
    assert_eq!(ledger.accept(run.clone()).await.unwrap(), Accepted::New);
    assert_eq!(ledger.run(run.run.id).await.unwrap(), Some(run.clone()));

    run.run.state = RunState::Succeeded;
    run.run.ended_at = Some(noon() + seconds(2));
    run.run.result = Some(json!({"count": 3}));
    run.run.version = Some(version('c'));
    run.input = json!(null);
    run.boot = None;
    ledger.save(run.clone()).await.unwrap();
    assert_eq!(ledger.run(run.run.id).await.unwrap(), Some(run));
    assert_eq!(ledger.run(RunId::new_now()).await.unwrap(), None);
}

#[tokio::test]
async fn a_result_of_null_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let mut run = ended("blog:digest", noon(), RunState::Succeeded);
    run.run.result = Some(json!(null));
    ledger.save(run.clone()).await.unwrap();
    // JSON has one null: without a result, or with this one.
    let read = ledger.run(run.run.id).await.unwrap().unwrap();
    assert_eq!(read.run.result.unwrap_or_default(), json!(null));
}

#[tokio::test]
async fn a_known_key_of_the_same_task_names_the_run_that_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let mut first = queued("blog:digest", noon());
    first.run.key = Some("k".to_owned());
    first.input = json!("first");
    ledger.accept(first.clone()).await.unwrap();

    let mut second = queued("blog:digest", noon());
    second.run.key = Some("k".to_owned());
    let known = Accepted::Known(Box::new(first.clone()));
    assert_eq!(ledger.accept(second.clone()).await.unwrap(), known);
    assert_eq!(ledger.accept(first).await.unwrap(), known);
    assert_eq!(ledger.run(second.run.id).await.unwrap(), None);

    second.run.task = task("shop:digest");
    assert_eq!(ledger.accept(second).await.unwrap(), Accepted::New);
}

#[tokio::test]
async fn of_many_acceptances_with_one_key_at_once_one_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let accepts = (0..100).map(|_| {
        let mut run = queued("blog:digest", noon());
        run.run.key = Some("k".to_owned());
        ledger.accept(run)
    });
    let outcomes = join_all(accepts).await;
    let new = outcomes.into_iter().filter(|outcome| *outcome == Ok(Accepted::New));
    assert_eq!(new.count(), 1);
    assert_eq!(ledger.stats().runs[&RunState::Queued], 1);
}

#[tokio::test]
async fn runs_that_have_not_ended_are_listed_the_oldest_first() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let late = queued("blog:a", noon() + seconds(5));
    let early = queued("blog:b", noon());
    let done = ended("blog:a", noon(), RunState::Lost);
    for run in [&late, &early, &done] {
        ledger.save(run.clone()).await.unwrap();
    }
    assert_eq!(ledger.open_runs().await.unwrap(), [early, late]);
}

#[tokio::test]
async fn a_due_time_has_exactly_one_record() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let claims = (0..50).map(|_| {
        let run = queued("blog:digest", noon());
        let occurrence = Occurrence {
            task: run.run.task.clone(),
            due_at: noon(),
            outcome: OccurrenceOutcome::Ran,
            run: Some(run.run.id),
            reason: None,
        };
        ledger.claim(occurrence, Some(run))
    });
    let claimed = join_all(claims).await;
    assert_eq!(claimed.into_iter().filter(|claimed| *claimed == Ok(true)).count(), 1);

    let open = ledger.open_runs().await.unwrap();
    let record = ledger.occurrence(&task("blog:digest"), noon()).await.unwrap().unwrap();
    assert_eq!(open.iter().map(|run| Some(run.run.id)).collect::<Vec<_>>(), [record.run]);

    let skipped = Occurrence {
        due_at: noon() + seconds(60),
        outcome: OccurrenceOutcome::Skipped,
        reason: Some("overlap".to_owned()),
        ..record.clone()
    };
    assert!(ledger.claim(skipped.clone(), None).await.unwrap());
    assert!(!ledger.claim(skipped.clone(), None).await.unwrap());
    let records = ledger.occurrences(&skipped.task, 10).await.unwrap();
    assert_eq!(records, [skipped.clone(), record]);
    assert_eq!(ledger.occurrences(&skipped.task, 1).await.unwrap(), [skipped]);
    assert_eq!(ledger.occurrences(&task("blog:other"), 1).await.unwrap(), []);
}

#[tokio::test]
async fn a_claim_whose_run_cannot_be_added_leaves_no_record_and_spoils_no_other_call() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let mut first = queued("blog:digest", noon());
    first.run.key = Some("k".to_owned());
    ledger.accept(first.clone()).await.unwrap();
    let mut second = queued("blog:digest", noon());
    second.run.key = Some("k".to_owned());
    let occurrence = Occurrence {
        task: task("blog:digest"),
        due_at: noon(),
        outcome: OccurrenceOutcome::Ran,
        run: Some(second.run.id),
        reason: None,
    };
    let other = queued("blog:other", noon());
    let (claimed, accepted) =
        tokio::join!(ledger.claim(occurrence, Some(second)), ledger.accept(other.clone()));
    assert!(matches!(claimed, Err(LedgerError::Database(_))), "{claimed:?}");
    assert_eq!(accepted, Ok(Accepted::New));
    assert_eq!(ledger.occurrence(&task("blog:digest"), noon()).await.unwrap(), None);
    assert_eq!(ledger.run(other.run.id).await.unwrap(), Some(other));
}

fn step(name: &str, state: RunState) -> Step {
    let result = (state == RunState::Succeeded).then(|| json!([name]));
    Step {
        name: name.to_owned(),
        state,
        run: None,
        version: Some(version('d')),
        registry: None,
        started_at: Some(noon()),
        ended_at: None,
        result,
        error: None,
    }
}

#[tokio::test]
async fn steps_are_kept_by_name_and_go_with_their_run() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let run = ended("blog:flow", noon(), RunState::Failed);
    let id = run.run.id;
    let early = ledger.put_step(id, 0, step("fetch", RunState::Running)).await;
    assert_eq!(early, Err(LedgerError::UnknownRun(id)));
    ledger.save(run).await.unwrap();
    for (number, made) in [
        (1, step("send", RunState::Running)),
        (0, step("fetch", RunState::Running)),
        (0, step("fetch", RunState::Succeeded)),
        // Repeated after a restart: a result stays.
        (0, step("fetch", RunState::Running)),
    ] {
        ledger.put_step(id, number, made).await.unwrap();
    }
    let steps = [step("fetch", RunState::Succeeded), step("send", RunState::Running)];
    assert_eq!(ledger.steps(id).await.unwrap(), steps);
    assert!(ledger.delete(id).await.unwrap());
    assert_eq!(ledger.steps(id).await.unwrap(), []);
}

#[tokio::test]
async fn only_an_ended_run_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let (open, done) = (queued("blog:a", noon()), ended("blog:a", noon(), RunState::Cancelled));
    ledger.save(open.clone()).await.unwrap();
    ledger.save(done.clone()).await.unwrap();
    assert!(!ledger.delete(open.run.id).await.unwrap());
    assert!(ledger.delete(done.run.id).await.unwrap());
    assert!(!ledger.delete(done.run.id).await.unwrap());
    assert_eq!(ledger.stats().runs.into_iter().collect::<Vec<_>>(), [(RunState::Queued, 1)]);
}

#[tokio::test]
async fn schedules_and_tasks_are_replaced_and_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let state =
        |spec: &str, name: &str| ScheduleState { task: task(name), spec: spec.to_owned(), settled: noon() };
    for one in [state("1", "blog:b"), state("2", "blog:b"), state("1", "blog:a")] {
        ledger.put_schedule(one).await.unwrap();
    }
    assert_eq!(ledger.schedules().await.unwrap(), [state("1", "blog:a"), state("2", "blog:b")]);
    ledger.drop_schedule(task("blog:b")).await.unwrap();
    ledger.drop_schedule(task("blog:never")).await.unwrap();
    assert_eq!(ledger.schedules().await.unwrap(), [state("1", "blog:a")]);

    let tasks = |hash: &str| ProjectTasks {
        project: task("blog:a").project,
        version: "blog@aaaaaaaaaaaa".to_owned(),
        digest: "a".repeat(64).parse().unwrap(),
        commit: None,
        hash: hash.to_owned(),
        set: TaskSet::default(),
        limits: RunLimits::default(),
    };
    ledger.put_tasks(tasks("1")).await.unwrap();
    ledger.put_tasks(tasks("2")).await.unwrap();
    assert_eq!(ledger.tasks().await.unwrap(), [tasks("2")]);
    ledger.drop_tasks(tasks("2").project).await.unwrap();
    assert_eq!(ledger.tasks().await.unwrap(), []);
}
