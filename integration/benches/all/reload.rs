//! Time from an edit to the first answer of the new code, as seen by a client that sends requests
//! all the time.

use std::time::{Duration, Instant};

use switchyard_contract::admin::ReloadOutcome;
use switchyard_integration::fixtures;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

use crate::asker::{Asker, PAUSE};
use crate::say;
use crate::stats::percentile;

const EDITS: usize = 30;

/// Longer than a build: the next edit begins in quiet, with the spares full again.
const BETWEEN: Duration = Duration::from_millis(300);

pub(crate) async fn run() {
    say("## Edit to first new answer\n");
    say(format!("{EDITS} edits of a hello world, one client sending a request every {PAUSE:?}.\n"));
    say("| how | debounce | p50 ms | p95 ms | p50 over debounce | requests | failed |");
    say("|---|---:|---:|---:|---:|---:|---:|");
    for debounce in [Some(500), Some(20), None] {
        measure(Way::Write, debounce).await;
    }
    measure(Way::Rename, None).await;
    // The watch must not be faster than the requested reload.
    measure(Way::Request, Some(3_600_000)).await;
    say("");
}

/// How an edit is made, and how the router gets to know of it.
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
async fn measure(way: Way, debounce: Option<u64>) {
    let volume = Volume::with("a", fixtures::hello("v0"));
    let flag = debounce.map_or_else(|| "auto".to_owned(), |ms| ms.to_string());
    let router = Router::builder(&volume).flag("debounce", &flag).flag("spares", 2).start().await;
    let mut asker = Asker::new(&router.public).await;
    let mut times = Vec::new();
    for edit in 1..=EDITS {
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
    let shown = if way == Way::Request { "—" } else { &flag };
    let over = quiet.map_or_else(|| "—".to_owned(), |quiet| format!("{:.1}", p50 - quiet as f64));
    say(format!("| {how} | {shown} | {p50:.1} | {p95:.1} | {over} | {requests} | {failed} |"));
}
