//! The time from a save in a local folder, which a project is read from, until it is live.

use std::time::{Duration, Instant};

use anyhow::Result;
use switchyard_contract::admin::ReloadOutcome;
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

use crate::asker::Asker;
use crate::report::{Table, number, pick};
use crate::stats::percentile;

const SAVES: usize = 50;
const DEBOUNCE_MS: u64 = 50;

/// Longer than a build: the next save begins in quiet, with the spares full again.
const BETWEEN: Duration = Duration::from_millis(300);

/// The most milliseconds that 95 % of the saves may take, by issue 14.
const GOAL_P95: f64 = 100.0;

pub(super) async fn run() -> Result<()> {
    let (volume, local) = (Volume::with("a", hello("volume")), Volume::with("a", hello("v0")));
    let router = Router::builder(&volume)
        .flag("allow-override", local.root().display())
        .flag("debounce", DEBOUNCE_MS)
        .flag("spares", 2)
        .start()
        .await;
    let folder = local.path("a").canonicalize().expect("the folder is there");
    let report = router.admin.set_override("a", &folder).await;
    assert_eq!(report.outcome, ReloadOutcome::Live, "{report:?}");
    let mut asker = Asker::new(&router.public).await;
    let mut times = Vec::new();
    let saves = pick(SAVES, 5);
    for save in 1..=saves {
        tokio::time::sleep(BETWEEN).await;
        let label = format!("v{save}");
        let began = Instant::now();
        local.write("a/main.ts", hello(&label));
        times.push(asker.until("/a/", &label, began).await);
    }
    let (p50, p95) = (percentile(&times, 50.0), percentile(&times, 95.0));
    let Asker { requests, failures, .. } = asker;
    let failed = failures.len();
    let about =
        format!("{saves} saves (`--allow-override`, `--debounce {DEBOUNCE_MS}`), each until it is answered.");
    let columns = [
        number("p50", "ms", 1),
        number("p95", "ms", 1),
        number("goal p95", "ms", 0),
        number("requests", "", 0),
        number("failed", "", 0),
    ];
    let mut table = Table::begin("git-local", "Git sources: saves in a local folder", about, columns);
    table.row([p50.into(), p95.into(), GOAL_P95.into(), requests.into(), failed.into()]);
    table.end()
}
