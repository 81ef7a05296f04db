//! Pages of runs: their order, their filters, and their cost.

use std::collections::HashSet;

use rusqlite::{Connection, params};
use switchyard_contract::run::{RunFilter, RunId, RunState};

use super::super::worker::Kind;
use super::super::{Ledger, LedgerError};
use super::{ended, noon, open, queued, seconds, task, version};

/// The ids of all runs of a filter, over all pages.
async fn all(ledger: &Ledger, mut filter: RunFilter) -> Vec<RunId> {
    let mut ids = Vec::new();
    loop {
        let page = ledger.runs(filter.clone()).await.unwrap();
        assert!(page.runs.len() <= filter.limit as usize);
        ids.extend(page.runs.iter().map(|run| run.id));
        filter.cursor = page.next;
        if filter.cursor.is_none() {
            return ids;
        }
    }
}

#[tokio::test]
async fn pages_have_each_run_once_the_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let mut made = Vec::new();
    for number in 0..25 {
        // Some at the same moment.
        let run = queued("blog:digest", noon() + seconds(number / 3));
        made.push(run.run.id);
        ledger.save(run).await.unwrap();
    }
    made.reverse();
    for limit in [1, 2, 7, 25, 1000] {
        assert_eq!(all(&ledger, RunFilter { limit, ..RunFilter::default() }).await, made);
    }
}

#[tokio::test]
async fn a_filter_finds_the_runs_that_meet_all_of_its_conditions() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let parent = RunId::new_now();
    let mut made = Vec::new();
    for number in 0..64_i64 {
        let name = ["blog:a", "blog:b", "shop:a", "shop:c"][number as usize % 4];
        let state = [RunState::Succeeded, RunState::Failed, RunState::Queued][number as usize % 3];
        let mut run = ended(name, noon() + seconds(number), state);
        run.run.version = (number % 5 < 2).then(|| version(if number % 5 == 0 { 'a' } else { 'b' }));
        run.run.parent = (number % 7 == 0).then_some(parent);
        ledger.save(run.clone()).await.unwrap();
        made.push(run.run);
    }
    made.reverse();
    let tasks = [None, Some("blog:a"), Some("shop:c"), Some("blog:never")];
    let projects = [None, Some("blog:x"), Some("never:x")];
    let states = [vec![], vec![RunState::Failed], vec![RunState::Queued, RunState::Failed]];
    let commits = [None, Some("a".repeat(7)), Some("b".repeat(40)), Some("c".repeat(7))];
    for (number, (task_name, project)) in
        tasks.iter().flat_map(|task| projects.map(|project| (task, project))).enumerate()
    {
        for (states, commit) in states.iter().flat_map(|states| commits.iter().map(move |one| (states, one)))
        {
            let filter = RunFilter {
                task: task_name.map(task),
                project: project.map(|name| task(name).project),
                states: states.clone(),
                commit: commit.clone(),
                parent: (number % 2 == 1).then_some(parent),
                since: (number % 3 == 1).then(|| noon() + seconds(10)),
                until: (number % 4 == 1).then(|| noon() + seconds(50)),
                limit: 3,
                cursor: None,
            };
            let holds = |run: &&switchyard_contract::run::Run| {
                let of = run.version.as_ref().and_then(|version| version.commit.as_ref());
                filter.task.as_ref().is_none_or(|task| run.task == *task)
                    && filter.project.as_ref().is_none_or(|project| run.task.project == *project)
                    && (states.is_empty() || states.contains(&run.state))
                    && commit.as_ref().is_none_or(|id| of.is_some_and(|of| of.commit.starts_with(id)))
                    && filter.parent.is_none_or(|parent| run.parent == Some(parent))
                    && filter.since.is_none_or(|since| run.queued_at >= since)
                    && filter.until.is_none_or(|until| run.queued_at < until)
            };
            let expected: Vec<_> = made.iter().filter(holds).map(|run| run.id).collect();
            assert_eq!(all(&ledger, filter.clone()).await, expected, "{filter:?}");
        }
    }
}

#[tokio::test]
async fn a_page_has_no_results_and_ends_early_when_the_parameters_are_large() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    for _ in 0..8 {
        let mut run = ended("blog:digest", noon(), RunState::Succeeded);
        run.run.params = "p".repeat(1 << 20).into();
        run.run.result = Some("r".repeat(100).into());
        ledger.save(run).await.unwrap();
    }
    let page = ledger.runs(RunFilter::default()).await.unwrap();
    assert_eq!(page.runs.len(), 4);
    assert!(page.next.is_some() && page.runs.iter().all(|run| run.result.is_none()));
    assert_eq!(all(&ledger, RunFilter::default()).await.len(), 8);
}

#[tokio::test]
async fn a_cursor_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    for cursor in ["", "x", "1", "1.x", "1.2.3"] {
        let filter = RunFilter { cursor: Some(cursor.to_owned()), ..RunFilter::default() };
        assert_eq!(ledger.runs(filter).await, Err(LedgerError::Cursor(cursor.to_owned())));
    }
}

const MANY: i64 = 100_000;

/// Puts many runs of ten tasks into the history: one in a thousand failed, the last one is open.
fn fill(database: &Connection) -> Result<(), LedgerError> {
    let mut seen = HashSet::new();
    let mut copy = database.prepare(
        "INSERT INTO runs (id, project, task, state, queued_at, ended_at, commit_no, record)
         SELECT ?1, project, task, ?2, ?3, ?3, (SELECT no FROM names WHERE text = ?4), ?5
         FROM runs WHERE task = (SELECT no FROM names WHERE text = ?6) LIMIT 1",
    )?;
    for number in 0..MANY {
        let state = if number % 1000 == 0 { RunState::Failed } else { RunState::Succeeded };
        let name = format!("p{}:t{}", number % 5, number % 10);
        let mut run = ended(&name, noon() + seconds(number), state);
        let commit = if number < 1000 { 'a' } else { 'b' };
        run.run.version = Some(version(commit));
        if seen.insert((name.clone(), commit)) {
            // Its names get their numbers.
            super::super::runs::save(database, &run)?;
            continue;
        }
        copy.execute(params![
            run.run.id.as_bytes(),
            super::super::codes::code(state),
            run.run.queued_at.as_microsecond(),
            commit.to_string().repeat(40),
            serde_json::to_string(&run.run)?,
            name
        ])?;
    }
    Ok(())
}

#[tokio::test]
async fn no_filter_reads_many_more_rows_of_a_large_history_than_its_page_has() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    ledger.calls.call(Kind::Write, fill).await.unwrap();
    let page = RunFilter::default;
    let failed = vec![RunState::Failed];
    let filters = [
        page(),
        RunFilter { states: failed.clone(), ..page() },
        RunFilter { task: Some(task("p1:t1")), ..page() },
        RunFilter { task: Some(task("p0:t0")), states: failed.clone(), ..page() },
        RunFilter { project: Some(task("p0:t0").project), states: failed.clone(), ..page() },
        RunFilter { commit: Some("a".repeat(10)), ..page() },
        RunFilter { task: Some(task("p1:t1")), commit: Some("a".repeat(40)), ..page() },
        RunFilter { until: Some(noon() + seconds(500)), ..page() },
        RunFilter { parent: Some(RunId::new_now()), ..page() },
    ];
    for filter in filters {
        let expected = if filter.parent.is_some() { 0 } else { 50 };
        let shown = format!("{filter:?}");
        let next = ledger.runs(filter.clone()).await.unwrap();
        assert_eq!(next.runs.len(), expected, "{shown}");
        let work = move |database: &Connection| super::super::page::cost(database, &filter);
        let (steps, sorts) = ledger.calls.call(Kind::Read, work).await.unwrap();
        assert_eq!(sorts, 0, "{shown}");
        assert!(steps < 5_000, "{shown}: {steps} steps");
    }
}
