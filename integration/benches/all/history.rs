//! The history with a million runs: the time of a page of the list.

use std::time::Instant;

use anyhow::{Context as _, Result};
use futures_util::stream::{self, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use switchyard_bridge::ledger::{Ledger, LedgerSettings, Retention, StoredRun};
use switchyard_contract::run::{Run, RunFilter, RunId, RunState, RunTrigger};

use crate::report::{Table, number, pick, text};
use crate::stats::percentile;

const RUNS: usize = 1_000_000;
const TASKS: usize = 100;
const AT_ONCE: usize = 512;
const PAGES: usize = 50;

/// The most milliseconds of a page, by issue 15.
const GOAL: f64 = 20.0;

pub(crate) async fn run() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let retention = Retention { per_task: u64::MAX, bytes: u64::MAX, ..Retention::default() };
    let settings = LedgerSettings { dir: dir.path().join("history"), retention };
    let (ledger, _) = tokio::task::spawn_blocking(move || Ledger::open(settings)).await??;
    let now = Timestamp::now();
    let began = Instant::now();
    let count = pick(RUNS, 10_000);
    let accepted = stream::iter(0..count).map(|number| {
        let ledger = ledger.clone();
        async move { ledger.accept(stored(number, now)).await }
    });
    let mut accepted = accepted.buffer_unordered(AT_ONCE);
    while let Some(accepted) = accepted.next().await {
        accepted.context("accept a run")?;
    }
    let filled = began.elapsed().as_secs_f64();
    let about = format!(
        "{count} runs of {TASKS} tasks, accepted in {filled:.0} s; {PAGES} pages of 50 each. Goal: {GOAL} ms."
    );
    let columns = [text("list"), number("p50", "ms", 2), number("most", "ms", 2)];
    let mut table = Table::begin("history", "History", about, columns);
    let of_task = RunFilter { task: Some("p7:t7".parse()?), ..RunFilter::default() };
    let failed = RunFilter { states: vec![RunState::Failed], ..RunFilter::default() };
    let both = RunFilter { states: vec![RunState::Failed], ..of_task.clone() };
    for (name, filter) in
        [("all", RunFilter::default()), ("a task", of_task), ("failed", failed), ("a task, failed", both)]
    {
        measure(&ledger, name, filter, &mut table).await?;
    }
    ledger.close().await;
    table.end()
}

/// Measures pages one after the other, each where the one before ended.
async fn measure(ledger: &Ledger, name: &str, mut filter: RunFilter, table: &mut Table) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..PAGES {
        let began = Instant::now();
        let page = ledger.runs(filter.clone()).await?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        filter.cursor = page.next;
    }
    table.row([name.into(), percentile(&times, 50.0).into(), percentile(&times, 100.0).into()]);
    Ok(())
}

fn stored(number: usize, now: Timestamp) -> StoredRun {
    let task = number % TASKS;
    let state = if number.is_multiple_of(50) { RunState::Failed } else { RunState::Succeeded };
    let age = SignedDuration::from_secs(i64::try_from(RUNS - number).unwrap_or_default());
    let at = now.checked_sub(age).unwrap_or(now);
    let run = Run {
        id: RunId::new_now(),
        task: format!("p{}:t{task}", task % 10).parse().expect("it is a task"),
        is_pipeline: false,
        state,
        trigger: RunTrigger::Cron,
        by: None,
        key: None,
        scheduled_at: Some(at),
        queued_at: at,
        started_at: Some(at),
        ended_at: Some(at),
        version: None,
        consistency: Default::default(),
        attempt: 1,
        attempts: 1,
        next_attempt_at: None,
        parent: None,
        step: None,
        params: json!({}),
        result: Some(json!({ "number": number })),
        error: None,
        router: Some("http://127.0.0.1:8001".to_owned()),
        log_lines: 3,
    };
    StoredRun { run, input: Value::Null, boot: None }
}
