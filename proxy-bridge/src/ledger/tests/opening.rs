//! Opening again, after a kill, after damage, and beside another process; and a full disk.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use switchyard_contract::run::RunState;

use super::super::worker::Kind;
use super::super::{Accepted, Ledger, LedgerError, LedgerSettings, Retention};
use super::{ended, noon, open, queued};

fn settings(dir: &Path) -> LedgerSettings {
    LedgerSettings { dir: dir.to_owned(), retention: Retention::default() }
}

#[tokio::test]
async fn a_closed_history_opens_again_with_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let run = queued("blog:digest", noon());
    let ledger = open(dir.path());
    ledger.accept(run.clone()).await.unwrap();
    ledger.close().await;
    assert_eq!(ledger.run(run.run.id).await, Err(LedgerError::Closed));
    let ledger = open(dir.path());
    assert_eq!(ledger.open_runs().await.unwrap(), [run]);
    assert_eq!(ledger.stats().runs[&RunState::Queued], 1);
}

#[tokio::test]
async fn what_was_accepted_survives_a_kill_at_that_moment() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ledger = open(dir.path());
    let run = queued("blog:digest", noon());
    ledger.accept(run.clone()).await.unwrap();
    // The files as a killed process leaves them.
    for name in ["ledger.db", "ledger.db-wal"] {
        fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    assert_eq!(open(copy.path()).open_runs().await.unwrap(), [run]);
}

#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let of = dir.path().join("history");
    let ledger = open(&of);
    ledger.accept(queued("blog:digest", noon())).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&of), 0o700);
    assert_eq!(mode(&of.join("ledger.db")), 0o600);
    assert_eq!(mode(&of.join("ledger.db-wal")), 0o600);
}

#[tokio::test]
async fn a_second_process_is_told_that_the_history_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let _ledger = open(dir.path());
    let second = Ledger::open_within(settings(dir.path()), Duration::from_millis(1)).unwrap_err();
    assert!(matches!(second, LedgerError::Busy(_)), "{second:?}");
    assert!(second.to_string().contains("another bridge"), "{second}");
}

#[tokio::test]
async fn an_opening_waits_for_the_process_before_to_close_the_history() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let run = queued("blog:digest", noon());
    ledger.accept(run.clone()).await.unwrap();
    let next = settings(dir.path());
    let opening = tokio::task::spawn_blocking(move || Ledger::open(next));
    ledger.close().await;
    let (ledger, _) = opening.await.unwrap().unwrap();
    assert_eq!(ledger.open_runs().await.unwrap(), [run]);
}

#[tokio::test]
async fn a_damaged_history_is_moved_aside_with_its_logs_and_a_new_one_is_begun() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let log = dir.path().join("runs/2026-11-29");
        fs::create_dir_all(&log).unwrap();
        fs::write(log.join("x.log"), "{}\n").unwrap();
        fs::write(dir.path().join("ledger.db"), format!("not a database, {round}").repeat(1000)).unwrap();
        let (ledger, report) = Ledger::open(settings(dir.path())).unwrap();
        let notice = report.notice().unwrap();
        let aside = report.moved_aside.unwrap();
        assert!(notice.contains(&aside.display().to_string()), "{notice}");
        assert!(aside.join("ledger.db").exists() && aside.join("runs/2026-11-29/x.log").exists());
        assert_eq!(ledger.accept(queued("blog:digest", noon())).await.unwrap(), Accepted::New);
        ledger.close().await;
    }
    let damaged = fs::read_dir(dir.path()).unwrap().flatten().filter(|entry| entry.path().is_dir());
    assert_eq!(damaged.count(), 3, "two damaged ones, and the logs");
}

#[tokio::test]
async fn a_history_that_was_emptied_is_reported_and_a_new_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ledger.db"), "").unwrap();
    let (ledger, report) = Ledger::open(settings(dir.path())).unwrap();
    assert_eq!(report.moved_aside, None);
    ledger.close().await;
    fs::create_dir_all(dir.path().join("runs/2026-11-29")).unwrap();
    fs::write(dir.path().join("ledger.db"), "").unwrap();
    let (ledger, report) = Ledger::open(settings(dir.path())).unwrap();
    assert!(report.notice().is_some());
    assert_eq!(ledger.accept(queued("blog:digest", noon())).await.unwrap(), Accepted::New);
}

#[tokio::test]
async fn damage_within_the_file_is_found_at_the_opening() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    for _ in 0..200 {
        ledger.save(queued("blog:digest", noon())).await.unwrap();
    }
    ledger.close().await;
    let file = dir.path().join("ledger.db");
    let mut bytes = fs::read(&file).unwrap();
    let end = bytes.len();
    bytes[8192..end].fill(0x5a);
    fs::write(&file, bytes).unwrap();
    let (ledger, report) = Ledger::open(settings(dir.path())).unwrap();
    assert!(report.moved_aside.is_some());
    assert_eq!(ledger.open_runs().await.unwrap(), []);
}

#[tokio::test]
async fn the_history_of_a_newer_bridge_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let newer = |database: &rusqlite::Connection| Ok(database.execute_batch("PRAGMA user_version = 99")?);
    ledger.calls.call(Kind::Write, newer).await.unwrap();
    ledger.close().await;
    let error = Ledger::open(settings(dir.path())).unwrap_err();
    assert!(matches!(error, LedgerError::Newer { found: 99, .. }), "{error:?}");
}

#[tokio::test]
async fn a_full_disk_refuses_what_does_not_fit_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let done = ended("blog:digest", noon(), RunState::Succeeded);
    ledger.save(done.clone()).await.unwrap();
    let no_more = |database: &rusqlite::Connection| {
        let pages: i64 = database.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        let sql = format!("PRAGMA max_page_count = {}", pages + 2);
        Ok(database.query_row(&sql, [], |_| Ok(()))?)
    };
    ledger.calls.call(Kind::Read, no_more).await.unwrap();
    let mut large = queued("blog:large", noon());
    large.input = "x".repeat(1 << 20).into();
    let small = queued("blog:small", noon());
    let (refused, accepted) = tokio::join!(ledger.accept(large.clone()), ledger.accept(small.clone()));
    assert_eq!(refused, Err(LedgerError::Full));
    assert_eq!(accepted, Ok(Accepted::New));
    assert_eq!(ledger.run(large.run.id).await.unwrap(), None);
    assert_eq!(ledger.open_runs().await.unwrap(), [small]);
    assert!(ledger.delete(done.run.id).await.unwrap());
}
