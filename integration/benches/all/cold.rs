//! Time from a request for a project without a process until its answer: with a spare, and without.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use switchyard_contract::admin::ProjectState;
use switchyard_integration::eventually;
use switchyard_integration::fixtures;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

use crate::builds::modules;
use crate::report::{Cell, Table, number, pick, text};
use crate::stats::percentile;

const ROUNDS: usize = 20;

/// Longer than a spare takes to be ready again.
const BETWEEN: Duration = Duration::from_millis(500);

/// Modules of the larger project.
const MODULES: usize = 200;

/// The most milliseconds of the median with a spare.
const GOAL: f64 = 40.0;

const IDLE: &str = r#"{ "switchyard": { "idle": "1s" } }"#;

pub(crate) async fn run() -> Result<()> {
    let rounds = pick(ROUNDS, 5);
    let about = format!("{rounds} projects without a process, one request each.");
    let columns = [
        text("project"),
        number("spares", "", 0),
        number("p50", "ms", 1),
        number("p95", "ms", 1),
        number("goal of p50", "ms", 0),
    ];
    let mut table = Table::begin("cold", "First answer of a cold project", about, columns);
    let hello = |volume: &Volume, name: &str| {
        volume.write(&format!("{name}/main.ts"), fixtures::hello(name));
    };
    let large = |volume: &Volume, name: &str| modules(volume, name, MODULES);
    for spares in [2, 0] {
        let goal = (spares > 0).then_some(GOAL);
        for (what, times) in [
            ("hello world".to_owned(), measure(rounds, spares, hello).await?),
            (format!("{MODULES} modules of TypeScript"), measure(rounds, spares, large).await?),
        ] {
            let [p50, p95] = [50.0, 95.0].map(|percent| Cell::from(percentile(&times, percent)));
            table.row([what.into(), spares.into(), p50, p95, goal.into()]);
        }
    }
    table.end()
}

/// Milliseconds of the first answers.
async fn measure(rounds: usize, spares: usize, write: impl Fn(&Volume, &str)) -> Result<Vec<f64>> {
    let volume = Volume::new();
    let names: Vec<_> = (0..rounds).map(|n| format!("p{n}")).collect();
    for name in &names {
        volume.write(&format!("{name}/deno.json"), IDLE);
        write(&volume, name);
    }
    let router = Router::builder(&volume).flag("spares", spares).start().await;
    let mut times = Vec::new();
    for name in &names {
        eventually("it has no process", || async {
            router.admin.project(name).await.state == ProjectState::Idle
        })
        .await;
        tokio::time::sleep(BETWEEN).await;
        let began = Instant::now();
        let reply = router.public.get(&format!("/{name}/")).await;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        ensure!(reply.status == 200, "{}", reply.text());
    }
    Ok(times)
}
