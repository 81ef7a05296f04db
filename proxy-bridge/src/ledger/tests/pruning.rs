//! Retention.

use std::time::Duration;

use switchyard_contract::run::{Occurrence, OccurrenceOutcome, RunFilter, RunId, RunLine, RunState, Step};

use super::super::{Ledger, PruneReport, Retention};
use super::{ended, noon, open, open_with, queued, seconds, task};

const DAY: i64 = 24 * 60 * 60;

async fn left(ledger: &Ledger) -> Vec<RunId> {
    let page = ledger.runs(RunFilter { limit: 1000, ..RunFilter::default() }).await.unwrap();
    page.runs.iter().map(|run| run.id).collect()
}

async fn put(ledger: &Ledger, days_ago: i64, state: RunState) -> RunId {
    let run = ended("blog:digest", noon() - seconds(days_ago * DAY), state);
    ledger.save(run.clone()).await.unwrap();
    run.run.id
}

#[tokio::test]
async fn runs_go_by_age_and_failed_ones_after_twice_the_time() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let mut open = queued("blog:daemon", noon() - seconds(400 * DAY));
    open.run.state = RunState::Running;
    ledger.save(open.clone()).await.unwrap();
    for state in [RunState::Failed, RunState::TimedOut, RunState::Lost] {
        put(&ledger, 61, state).await;
    }
    let failed = put(&ledger, 59, RunState::Failed).await;
    put(&ledger, 31, RunState::Succeeded).await;
    put(&ledger, 31, RunState::Cancelled).await;
    let fresh = put(&ledger, 29, RunState::Succeeded).await;
    let report = ledger.prune(noon()).await.unwrap();
    assert_eq!(report.runs, 5);
    assert_eq!(left(&ledger).await, [fresh, failed, open.run.id]);
    let again = ledger.prune(noon()).await.unwrap();
    assert_eq!(again, PruneReport { bytes: again.bytes, ..PruneReport::default() });
}

#[tokio::test]
async fn the_age_of_a_run_counts_from_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let mut daemon = ended("blog:daemon", noon() - seconds(90 * DAY), RunState::Cancelled);
    daemon.run.ended_at = Some(noon() - seconds(60));
    ledger.save(daemon.clone()).await.unwrap();
    ledger.prune(noon()).await.unwrap();
    assert_eq!(left(&ledger).await, [daemon.run.id]);
}

#[tokio::test]
async fn a_task_keeps_its_newest_runs_and_other_tasks_keep_theirs() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open_with(dir.path(), Retention { per_task: 3, ..Retention::default() });
    let other = ended("blog:other", noon() - seconds(10 * DAY), RunState::Succeeded);
    ledger.save(other.clone()).await.unwrap();
    put(&ledger, 9, RunState::Failed).await;
    let failed = put(&ledger, 5, RunState::Failed).await;
    put(&ledger, 4, RunState::Succeeded).await;
    put(&ledger, 3, RunState::Succeeded).await;
    let second = put(&ledger, 2, RunState::Succeeded).await;
    let first = put(&ledger, 1, RunState::Succeeded).await;
    assert_eq!(ledger.prune(noon()).await.unwrap().runs, 3);
    assert_eq!(left(&ledger).await, [first, second, failed, other.run.id]);
}

#[tokio::test]
async fn due_times_go_by_age_and_number() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open_with(dir.path(), Retention { per_task: 3, ..Retention::default() });
    let put = async |name: &str, days_ago: i64| {
        let occurrence = Occurrence {
            task: task(name),
            due_at: noon() - seconds(days_ago * DAY),
            outcome: OccurrenceOutcome::Skipped,
            run: None,
            reason: None,
        };
        assert!(ledger.claim(occurrence, None).await.unwrap());
    };
    for days_ago in 0..5 {
        put("blog:often", days_ago).await;
    }
    for days_ago in [1, 59, 61] {
        put("blog:seldom", days_ago).await;
    }
    assert_eq!(ledger.prune(noon()).await.unwrap().occurrences, 3);
    assert_eq!(ledger.occurrences(&task("blog:often"), 10).await.unwrap().len(), 3);
    let seldom = ledger.occurrences(&task("blog:seldom"), 10).await.unwrap();
    assert_eq!(seldom.last().unwrap().due_at, noon() - seconds(59 * DAY));
    assert_eq!(seldom.len(), 2);
}

fn text(bytes: usize) -> String {
    // Text that is not compressed to nothing.
    (0..)
        .map(|n: u64| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .flat_map(|part| part.into_bytes())
        .take(bytes)
        .map(char::from)
        .collect()
}

#[tokio::test]
async fn the_oldest_go_when_there_are_too_many_bytes_and_the_files_shrink() {
    let dir = tempfile::tempdir().unwrap();
    let limit = 2 << 20;
    let ledger = open_with(dir.path(), Retention { bytes: limit, ..Retention::default() });
    let mut ids = Vec::new();
    for number in 0..60 {
        let mut run = ended("blog:digest", noon() - seconds(DAY - number), RunState::Succeeded);
        run.run.result = Some(text(60_000).into());
        let id = run.run.id;
        ids.push(id);
        ledger.save(run).await.unwrap();
        let line = RunLine {
            n: 0,
            at: noon(),
            stream: "stdout".to_owned(),
            line: text(40_000),
            continues: false,
            attempt: 1,
            skipped: 0,
        };
        ledger.append_log(id, vec![line], 1 << 30).await.unwrap();
    }
    let file = dir.path().join("ledger.db");
    let before = ledger.stats();
    assert!(before.database_bytes > limit && before.log_bytes > limit, "{before:?}");
    let report = ledger.prune(noon()).await.unwrap();
    let after = ledger.stats();
    assert_eq!(report.bytes, after.database_bytes + after.log_bytes);
    // Free pages that stay for later are within the limit or beside it.
    assert!(report.bytes <= limit + 64 * 4096, "{report:?}");
    assert!(report.runs < 55, "no more than needed: {report:?}");
    assert_eq!(file.metadata().unwrap().len(), after.database_bytes);
    ids.drain(..report.runs as usize);
    ids.reverse();
    assert_eq!(left(&ledger).await, ids);
    assert_eq!(ledger.log(ids[0], 0, 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn nothing_of_a_pruned_run_stays() {
    let dir = tempfile::tempdir().unwrap();
    let retention = Retention { age: Duration::ZERO, ..Retention::default() };
    let ledger = open_with(dir.path(), retention);
    let mut run = ended("blog:digest", noon() - seconds(DAY), RunState::Succeeded);
    run.input = "in".into();
    run.run.result = Some("out".into());
    let id = run.run.id;
    ledger.save(run).await.unwrap();
    let step = Step {
        name: "a".to_owned(),
        state: RunState::Succeeded,
        run: None,
        version: None,
        registry: None,
        started_at: None,
        ended_at: None,
        result: None,
        error: None,
    };
    ledger.put_step(id, 0, step).await.unwrap();
    ledger.append_log(id, Vec::new(), 1 << 30).await.unwrap();
    ledger.end_log(id).await.unwrap();
    ledger.prune(noon()).await.unwrap();
    let rows = |database: &rusqlite::Connection| {
        let sql = "SELECT (SELECT count(*) FROM runs) + (SELECT count(*) FROM inputs)
             + (SELECT count(*) FROM results) + (SELECT count(*) FROM steps)";
        Ok(database.query_row(sql, [], |row| row.get::<_, i64>(0))?)
    };
    assert_eq!(ledger.read(rows).await.unwrap(), 0);
    assert_eq!(ledger.stats().log_bytes, 0);
    assert!(ledger.stats().runs.is_empty());
}

#[tokio::test]
async fn logs_without_a_run_go_when_they_are_old_and_so_do_empty_folders() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let run = RunId::new_now();
    ledger.append_log(run, Vec::new(), 1 << 30).await.unwrap();
    let days = || std::fs::read_dir(dir.path().join("runs")).unwrap().count();
    let made = run.made_at().unwrap();
    ledger.prune(made + seconds(59 * DAY)).await.unwrap();
    assert_eq!(days(), 1);
    ledger.prune(made + seconds(62 * DAY)).await.unwrap();
    ledger.prune(made + seconds(62 * DAY)).await.unwrap();
    assert_eq!(days(), 0);
}
