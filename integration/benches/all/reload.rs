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
    for debounce in [500, 20] {
        measure("file events", debounce, false).await;
    }
    measure("POST /_reload/{name}", 0, true).await;
    say("");
}

async fn measure(how: &str, debounce: u64, request: bool) {
    let volume = Volume::with("a", fixtures::hello("v0"));
    // The watch must not be faster than the requested reload.
    let quiet = if request { 3_600_000 } else { debounce };
    let router = Router::builder(&volume).flag("debounce", quiet).flag("spares", 2).start().await;
    let mut asker = Asker::new(&router.public).await;
    let mut times = Vec::new();
    for edit in 1..=EDITS {
        tokio::time::sleep(BETWEEN).await;
        let label = format!("v{edit}");
        let began = Instant::now();
        volume.write("a/main.ts", fixtures::hello(&label));
        let reload = request.then(|| {
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
    let shown = if request { "—".to_owned() } else { debounce.to_string() };
    say(format!(
        "| {how} | {shown} | {p50:.1} | {p95:.1} | {:.1} | {requests} | {failed} |",
        p50 - debounce as f64
    ));
}
