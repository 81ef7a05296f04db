//! The time from a signed webhook until its commit is live, and that of syncs with nothing new.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::join_all;
use switchyard_integration::sources::{Scene, Source};

use super::row::{Kind, PHASES, Row, Way};
use crate::asker::Asker;
use crate::report::{Table, number, pick, text};
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

pub(super) async fn run() -> Result<()> {
    let mut rows = join_all(KINDS.iter().map(Row::start)).await;
    let sources: Vec<Source> = rows.iter().map(Row::source).collect();
    let scene = Scene::start_with(1, &sources, |router| router.flag("spares", 2), |bridge| bridge).await;
    for row in &rows {
        scene.api.sync(row.kind.name).await;
    }
    let mut asker = Asker::new(&scene.routers[0].public).await;
    let count = pick(PUSHES, 3);
    for _ in 0..count {
        for row in &mut rows {
            let commit = row.commit().await;
            row.measure_push(&scene, &mut asker, &commit).await;
            tokio::time::sleep(BETWEEN).await;
            row.measure_sync(&scene.bridge.client).await;
        }
    }
    let mut about = format!(
        "{count} pushes to each source in turn, one router. From the first byte of a signed webhook to \
         the first answer of the commit; a client asks every {:?}: {} requests, {} failed.",
        crate::asker::PAUSE,
        asker.requests,
        asker.failures.len()
    );
    if let Some(first) = asker.failures.first() {
        about += &format!(" The first failure: {first}");
    }
    pushes(&rows[..SMALL_KINDS], about)?;
    large(&rows[SMALL_KINDS..], median(&rows[0].live))?;
    phases(&rows)?;
    syncs(&rows)
}

fn pushes(rows: &[Row], about: String) -> Result<()> {
    let columns = [
        text("source"),
        number("p50", "ms", 1),
        number("goal p50", "ms", 0),
        number("p99", "ms", 1),
        number("goal p99", "ms", 0),
    ];
    let mut table = Table::begin("git-pushes", "Git sources: pushes, all files changed", about, columns);
    for row in rows {
        let (p50, p99) = (median(&row.live), percentile(&row.live, 99.0));
        let goal = row.kind.way.goal();
        table.row([row.kind.title.into(), p50.into(), goal.into(), p99.into(), GOAL_P99.into()]);
    }
    table.end()
}

fn large(rows: &[Row], small: f64) -> Result<()> {
    let columns = [
        text("source"),
        number("p50", "ms", 1),
        number("p99", "ms", 1),
        number("p50 over 10 files", "ms", 1),
        number("goal", "ms", 0),
    ];
    let about = "In the same run.";
    let mut table = Table::begin("git-large", "Git sources: pushes, one file changed", about, columns);
    for row in rows {
        let (p50, p99) = (median(&row.live), percentile(&row.live, 99.0));
        let title = format!("{}, file", row.kind.title);
        table.row([title.into(), p50.into(), p99.into(), (p50 - small).into(), GOAL_LARGE.into()]);
    }
    table.end()
}

/// The parts of the pushes.
fn phases(rows: &[Row]) -> Result<()> {
    let mut columns = vec![text("source"), number("webhook, fetch and read", "ms", 1)];
    columns.extend(PHASES.map(|phase| number(phase, "ms", 1)));
    let mut table = Table::begin("git-phases", "Git sources: the parts of a push", "Medians.", columns);
    for row in rows {
        let mut cells = vec![row.kind.title.into(), median(&row.phases["before"]).into()];
        cells.extend(PHASES.map(|phase| median(&row.phases[phase]).into()));
        table.row(cells);
    }
    table.end()
}

fn syncs(rows: &[Row]) -> Result<()> {
    let about = "`POST /sources/{source}/sync` with nothing new.";
    let columns =
        [text("source"), number("p50", "ms", 1), number("goal p50", "ms", 0), number("p99", "ms", 1)];
    let mut table = Table::begin("git-syncs", "Git sources: syncs", about, columns);
    for row in rows {
        let (p50, p99) = (median(&row.syncs), percentile(&row.syncs, 99.0));
        table.row([row.kind.title.into(), p50.into(), GOAL_SYNC.into(), p99.into()]);
    }
    table.end()
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
