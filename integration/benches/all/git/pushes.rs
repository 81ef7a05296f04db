//! The time from a signed webhook until its commit is live, and that of syncs with nothing new.

use std::time::Duration;

use futures_util::future::join_all;
use switchyard_integration::sources::{Scene, Source};

use super::row::{Kind, PHASES, Row, Way};
use crate::asker::Asker;
use crate::say;
use crate::stats::{median, percentile};

const PUSHES: usize = 50;

/// Longer than a build: the next push begins in quiet, with the spares full again.
const BETWEEN: Duration = Duration::from_millis(300);

const SMALL: Kind =
    Kind { name: "file", title: "10 files, file", way: Way::File, files: 9, bytes: 1000, changed: 9 };
const LARGE: Kind =
    Kind { name: "large", title: "2,000 files, 2 MB", files: 1999, bytes: 1000, changed: 0, ..SMALL };

/// The first one is what the large ones are compared with.
static KINDS: [Kind; 5] = [
    SMALL,
    Kind { name: "http", title: "10 files, http", way: Way::Http, ..SMALL },
    Kind { name: "ssh", title: "10 files, ssh", way: Way::Ssh, ..SMALL },
    LARGE,
    Kind { name: "largest", title: "2,000 files, 50 MB", bytes: 25_000, ..LARGE },
];
const SMALL_KINDS: usize = 3;

/// The most milliseconds that a push may take, by issue 14.
const GOAL_P99: f64 = 700.0;
/// The milliseconds that a project of 2,000 files may take on top of one of 10.
const GOAL_LARGE: f64 = 150.0;
/// The milliseconds of a sync with nothing new.
const GOAL_SYNC: f64 = 80.0;

pub(super) async fn run() {
    let mut rows = join_all(KINDS.iter().map(Row::start)).await;
    let sources: Vec<Source> = rows.iter().map(Row::source).collect();
    let scene = Scene::start_with(1, &sources, |router| router.flag("spares", 2), |bridge| bridge).await;
    for row in &rows {
        scene.api.sync(row.kind.name).await;
    }
    let mut asker = Asker::new(&scene.routers[0].public).await;
    for _ in 0..PUSHES {
        for row in &mut rows {
            let commit = row.commit().await;
            row.measure_push(&scene, &mut asker, &commit).await;
            tokio::time::sleep(BETWEEN).await;
            row.measure_sync(&scene.bridge.client).await;
        }
    }
    say(format!(
        "{PUSHES} pushes to each source in turn, one router. From the first byte of a signed webhook to \
         the first answer of the commit; a client asks every {:?}: {} requests, {} failed.\n",
        crate::asker::PAUSE,
        asker.requests,
        asker.failures.len()
    ));
    if let Some(first) = asker.failures.first() {
        say(format!("The first failure: {first}\n"));
    }
    pushes(&rows[..SMALL_KINDS]);
    large(&rows[SMALL_KINDS..], median(&rows[0].live));
    phases(&rows);
    syncs(&rows);
}

fn pushes(rows: &[Row]) {
    say("| all files changed | p50 ms | goal | p99 ms | goal |");
    say("|---|---:|---:|---:|---:|");
    for row in rows {
        let (p50, p99) = (median(&row.live), percentile(&row.live, 99.0));
        let goal = row.kind.way.goal();
        say(format!("| {} | {p50:.1} | {goal} | {p99:.1} | {GOAL_P99} |", row.kind.title));
    }
    say("");
}

fn large(rows: &[Row], small: f64) {
    say("| one file changed | p50 ms | p99 ms | p50 over 10 files | goal |");
    say("|---|---:|---:|---:|---:|");
    for row in rows {
        let (p50, p99) = (median(&row.live), percentile(&row.live, 99.0));
        let over = p50 - small;
        say(format!("| {}, file | {p50:.1} | {p99:.1} | {over:.1} | {GOAL_LARGE} |", row.kind.title));
    }
    say("");
}

/// The parts of the pushes.
fn phases(rows: &[Row]) {
    say("Their parts, p50 ms:\n");
    let shown = PHASES.map(|phase| format!(" {phase} |")).concat();
    say(format!("| | webhook, fetch and read |{shown}"));
    say(format!("|---|---:|{}", "---:|".repeat(PHASES.len())));
    for row in rows {
        let before = median(&row.phases["before"]);
        let shown = PHASES.map(|phase| format!(" {:.1} |", median(&row.phases[phase]))).concat();
        say(format!("| {} | {before:.1} |{shown}", row.kind.title));
    }
    say("");
}

fn syncs(rows: &[Row]) {
    say("`POST /sources/{source}/sync` with nothing new:\n");
    say("| | p50 ms | goal | p99 ms |");
    say("|---|---:|---:|---:|");
    for row in rows {
        let (p50, p99) = (median(&row.syncs), percentile(&row.syncs, 99.0));
        say(format!("| {} | {p50:.1} | {GOAL_SYNC} | {p99:.1} |", row.kind.title));
    }
    say("");
}

impl Way {
    /// The most milliseconds that half of the pushes may take.
    fn goal(self) -> f64 {
        match self {
            Self::File => 100.0,
            Self::Http | Self::Ssh => 250.0,
        }
    }
}
