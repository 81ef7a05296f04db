//! Time from an edit to the first answer of the new code, as seen by a client that sends requests
//! all the time.

use std::time::{Duration, Instant};

use anyhow::Result;
use switchyard_contract::admin::ReloadOutcome;
use switchyard_integration::fixtures;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

use crate::asker::{Asker, PAUSE};
use crate::report::{Cell, Table, number, pick, text};
use crate::stats::percentile;

const EDITS: usize = 30;

/// Longer than a build: the next edit begins in quiet, with the spares full again.
const BETWEEN: Duration = Duration::from_millis(300);

pub(crate) async fn run() -> Result<()> {
    let edits = pick(EDITS, 5);
    let about = format!("{edits} edits of a hello world, one client sending a request every {PAUSE:?}.");
    let columns = [
        text("how"),
        text("debounce"),
        number("p50", "ms", 1),
        number("p95", "ms", 1),
        number("p50 over debounce", "ms", 1),
        number("requests", "", 0),
        number("failed", "", 0),
    ];
    let mut table = Table::begin("reload", "Edit to first new answer", about, columns);
    for debounce in [Some(500), Some(20), None] {
        table.row(measure(Way::Write, debounce, edits).await);
    }
    table.row(measure(Way::Rename, None, edits).await);
    // The watch must not be faster than the requested reload.
    table.row(measure(Way::Request, Some(3_600_000), edits).await);
    table.end()
}

/// The way in which an edit is made, and the router learns of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Written in place.
    Write,
    /// Written beside and renamed.
    Rename,
    /// Written in place, and a reload is requested.
    Request,
}

/// `debounce`: in milliseconds; `None`: automatic.
async fn measure(way: Way, debounce: Option<u64>, edits: usize) -> [Cell; 7] {
    let volume = Volume::with("a", fixtures::hello("v0"));
    let flag = debounce.map_or_else(|| "auto".to_owned(), |ms| ms.to_string());
    let router = Router::builder(&volume).flag("debounce", &flag).flag("spares", 2).start().await;
    let mut asker = Asker::new(&router.public).await;
    let mut times = Vec::new();
    for edit in 1..=edits {
        tokio::time::sleep(BETWEEN).await;
        let label = format!("v{edit}");
        let began = Instant::now();
        match way {
            Way::Rename => volume.replace("a/main.ts", fixtures::hello(&label)),
            Way::Write | Way::Request => volume.write("a/main.ts", fixtures::hello(&label)),
        }
        let reload = (way == Way::Request).then(|| {
            let admin = router.admin.clone();
            tokio::spawn(async move { admin.reload("a").await })
        });
        times.push(asker.until("/a/", &label, began).await);
        if let Some(reload) = reload {
            assert_eq!(reload.await.expect("a reload is answered").outcome, ReloadOutcome::Live);
        }
    }
    let Asker { requests, failures, .. } = asker;
    let failed = failures.len();
    let (p50, p95) = (percentile(&times, 50.0), percentile(&times, 95.0));
    let (how, quiet) = match way {
        Way::Write => ("file events", debounce),
        Way::Rename => ("file events of a rename", debounce),
        Way::Request => ("POST /_reload/{name}", Some(0)),
    };
    let shown = (way != Way::Request).then_some(flag);
    let over = quiet.map(|quiet| p50 - quiet as f64);
    [how.into(), shown.into(), p50.into(), p95.into(), over.into(), requests.into(), failed.into()]
}
