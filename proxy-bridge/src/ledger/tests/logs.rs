//! Logs of runs.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use switchyard_contract::run::{RunId, RunLine};

use super::{noon, open};

fn lines(numbers: std::ops::Range<u64>) -> Vec<RunLine> {
    let line = |n| RunLine {
        n,
        at: noon(),
        stream: "stdout".to_owned(),
        line: format!("line {n} \u{1b}[1m ü"),
        continues: false,
        attempt: 1,
        skipped: 0,
    };
    numbers.map(line).collect()
}

fn file(dir: &Path, run: RunId, end: &str) -> PathBuf {
    let day = run.made_at().unwrap().to_string()[..10].to_owned();
    dir.join("runs").join(day).join(format!("{run}.{end}"))
}

#[tokio::test]
async fn a_log_is_read_from_any_line_on_also_once_it_is_compressed() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let run = RunId::new_now();
    assert_eq!(ledger.log(run, 0, 10).await.unwrap(), []);
    ledger.append_log(run, lines(0..3), 1 << 30).await.unwrap();
    assert_eq!(ledger.log(run, 0, 10).await.unwrap(), lines(0..3));
    ledger.append_log(run, lines(3..1000), 1 << 30).await.unwrap();
    let plain = ledger.stats().log_bytes;
    for compressed in [false, true] {
        assert_eq!(ledger.log(run, 3, 2).await.unwrap(), lines(3..5));
        assert_eq!(ledger.log(run, 5, 2).await.unwrap(), lines(5..7));
        assert_eq!(ledger.log(run, 1, 1).await.unwrap(), lines(1..2));
        assert_eq!(ledger.log(run, 998, 10).await.unwrap(), lines(998..1000));
        assert_eq!(ledger.log(run, 1000, 10).await.unwrap(), []);
        assert_eq!(file(dir.path(), run, "log").exists(), !compressed);
        assert_eq!(file(dir.path(), run, "log.zst").exists(), compressed);
        ledger.end_log(run).await.unwrap();
    }
    let compressed = ledger.stats().log_bytes;
    assert!(compressed > 0 && compressed < plain / 4, "{plain} {compressed}");
    ledger.close().await;
    assert_eq!(open(dir.path()).stats().log_bytes, compressed);
}

#[tokio::test]
async fn a_log_goes_on_after_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let run = RunId::new_now();
    ledger.end_log(run).await.unwrap();
    for part in [0..2, 2..4] {
        ledger.append_log(run, lines(part), 1 << 30).await.unwrap();
        ledger.end_log(run).await.unwrap();
    }
    ledger.append_log(run, lines(4..5), 1 << 30).await.unwrap();
    assert_eq!(ledger.log(run, 0, 10).await.unwrap(), lines(0..5));
    let on_disk = file(dir.path(), run, "log").metadata().unwrap().len();
    assert_eq!(ledger.stats().log_bytes, on_disk);
}

#[tokio::test]
async fn half_a_line_of_a_killed_bridge_is_cut_when_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let run = RunId::new_now();
    ledger.append_log(run, lines(0..2), 1 << 30).await.unwrap();
    let mut half = OpenOptions::new().append(true).open(file(dir.path(), run, "log")).unwrap();
    half.write_all(format!(r#"{{"n": 2, "line": "{}"#, "x".repeat(10_000)).as_bytes()).unwrap();
    assert_eq!(ledger.log(run, 0, 10).await.unwrap(), lines(0..2));
    ledger.append_log(run, lines(2..3), 1 << 30).await.unwrap();
    assert_eq!(ledger.log(run, 0, 10).await.unwrap(), lines(0..3));
}

#[tokio::test]
async fn a_damaged_line_is_shown_as_such_and_the_others_keep_their_places() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let run = RunId::new_now();
    ledger.append_log(run, lines(0..1), 1 << 30).await.unwrap();
    let mut damaged = OpenOptions::new().append(true).open(file(dir.path(), run, "log")).unwrap();
    damaged.write_all(b"\xff\xfe\n").unwrap();
    ledger.append_log(run, lines(2..3), 1 << 30).await.unwrap();
    let read = ledger.log(run, 0, 10).await.unwrap();
    assert_eq!((&read[0], &read[2]), (&lines(0..1)[0], &lines(2..3)[0]));
    assert!(read[1].line.contains("cannot be read"), "{read:?}");
}

#[tokio::test]
async fn the_middle_of_a_large_log_is_left_out_and_its_indices_stay() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let run = RunId::new_now();
    let most = 20_000;
    for start in (0..10_000).step_by(100) {
        ledger.append_log(run, lines(start..start + 100), most).await.unwrap();
        assert!(file(dir.path(), run, "log").metadata().unwrap().len() < 2 * most);
    }
    let all = ledger.log(run, 0, 100_000).await.unwrap();
    let gaps: Vec<_> = all.iter().filter(|line| line.skipped > 0).collect();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(all.iter().map(RunLine::count).sum::<u64>(), 10_000);
    assert_eq!((all[0].n, all.last().unwrap().n), (0, 9_999));
    // A reader that had come to the middle goes on behind it.
    let later = ledger.log(run, 5_000, 10).await.unwrap();
    let next = 5_000 + later[0].count();
    assert!(later[0].skipped > 0 && later[1].n == next, "{later:?}");
    assert_eq!(ledger.log(run, 9_990, 100).await.unwrap(), lines(9_990..10_000));
}
