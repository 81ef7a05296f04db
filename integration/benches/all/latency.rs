//! The cost of watching and reloading for a neighbour's requests: one client, while nothing happens
//! and while another project is edited, in turn.

use std::time::{Duration, Instant};

use anyhow::Result;
use switchyard_integration::fixtures;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

use crate::asker::{Answers, PAUSE};
use crate::report::{Table, number, pick, text};
use crate::stats::{median, percentile};

const ROUNDS: usize = 7;
const PHASE: Duration = Duration::from_secs(5);
/// The pause between two edits of the neighbour.
const EDIT_EVERY: Duration = Duration::from_secs(1);

pub(crate) async fn run() -> Result<()> {
    let (rounds, phase) = (pick(ROUNDS, 2), pick(PHASE, Duration::from_secs(2)));
    let volume = Volume::with("a", fixtures::hello("a"));
    volume.project("b").file("main.ts", fixtures::hello("b")).write();
    let router = Router::builder(&volume).flag("debounce", 20).flag("spares", 2).start().await;
    let names = ["nothing happens", "a neighbour is edited every second"];
    let (mut p50, mut p99, mut failed) = ([vec![], vec![]], [vec![], vec![]], 0);
    for round in 0..rounds {
        for edited in [false, true] {
            let editing = edited.then(|| edit(volume.path("b/main.ts"), round));
            let began = Instant::now();
            let answers = Answers::of(&router.public, "/a/", || began.elapsed() < phase).await;
            if let Some(editing) = editing {
                editing.abort();
            }
            p50[usize::from(edited)].push(percentile(&answers.times, 50.0));
            p99[usize::from(edited)].push(percentile(&answers.times, 99.0));
            failed += answers.failed;
        }
    }
    let about = format!(
        "One client sending a request every {PAUSE:?}, {rounds} rounds of {phase:?} each way in turn; medians. \
         {failed} failed."
    );
    let columns = [text("while"), number("p50", "ms", 2), number("p99", "ms", 2)];
    let mut table = Table::begin("latency", "Requests while a neighbour is reloaded", about, columns);
    for (index, name) in names.into_iter().enumerate() {
        table.row([name.into(), median(&p50[index]).into(), median(&p99[index]).into()]);
    }
    table.end()
}

fn edit(main: std::path::PathBuf, round: usize) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        for edit in 0.. {
            tokio::time::sleep(EDIT_EVERY).await;
            let text = fixtures::hello(&format!("b{round}.{edit}"));
            if tokio::fs::write(&main, text).await.is_err() {
                return;
            }
        }
    })
}
