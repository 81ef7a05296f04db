//! The memory of router and bridge over a thousand runs.

use anyhow::Result;
use futures_util::stream::{self, StreamExt as _};
use serde_json::json;
use switchyard_integration::runs::{Served, TaskProject, returns};
use switchyard_integration::volume::Volume;

use crate::report::{Table, number, pick};
use crate::stats::own;

const BEFORE: usize = 200;
const RUNS: usize = 1_000;
const AT_ONCE: usize = 4;

pub(super) async fn run() -> Result<()> {
    let volume = Volume::new();
    TaskProject::new("a").task("hello", json!({ "overlap": "allow" }), returns("hello")).write(&volume);
    let served = Served::start_with(&volume, |serve| serve.flag("spares", 4)).await;
    served.api.knows("a:hello").await;
    let pid = served.serve.pid();
    let (first, more) = (pick(BEFORE, 10), pick(RUNS, 20));
    runs(&served, first).await;
    let before = own(pid)?;
    runs(&served, more).await;
    let after = own(pid)?;
    let about = "Private memory (`Pss_Anon`) of router and bridge, which are one process.";
    let columns = [number("after runs", "", 0), number("memory", "MB", 1)];
    let mut table = Table::begin("runs-memory", "Tasks: memory", about, columns);
    table.row([first.into(), before.into()]);
    table.row([(first + more).into(), after.into()]);
    table.end()
}

async fn runs(served: &Served, count: usize) {
    let runs = (0..count).map(|_| served.api.start("a:hello").wait(10));
    let run = |start: switchyard_integration::runs::Start| async move { drop(start.succeeded().await) };
    stream::iter(runs).for_each_concurrent(AT_ONCE, run).await;
}
