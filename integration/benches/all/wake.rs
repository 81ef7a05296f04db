//! The first answer of a project that has no process, beside a start of `deno serve`.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use switchyard_integration::client::Client;
use switchyard_integration::eventually;
use switchyard_integration::fixtures;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

use crate::peers;
use crate::report::{Table, number, pick, text};
use crate::stats::percentile;

const STARTS: usize = 20;

/// Longer than a spare takes to be ready again.
const BETWEEN: Duration = Duration::from_millis(500);

pub(crate) async fn run() -> Result<()> {
    let starts = pick(STARTS, 5);
    let about = format!(
        "A hello world that was idle for a second has no process; a request starts one and waits for it. {starts} starts \
         each. For Deno: from the start of `deno serve`, with its cache, to the first answer."
    );
    let columns = [text("start"), number("p50", "ms", 1), number("p95", "ms", 1)];
    let mut table = Table::begin("wake", "The first answer of a cold project", about, columns);
    for spares in [2, 0] {
        let times = ours(spares, starts).await;
        let name = format!("`switchyard router`, {spares} spares");
        table.row([name.into(), percentile(&times, 50.0).into(), percentile(&times, 95.0).into()]);
    }
    let times = theirs(starts).await?;
    table.row(["`deno serve`".into(), percentile(&times, 50.0).into(), percentile(&times, 95.0).into()]);
    table.end()
}

/// Milliseconds from a request to its answer.
async fn ours(spares: usize, starts: usize) -> Vec<f64> {
    let volume = Volume::with("a", fixtures::hello("hello"));
    volume.write("a/deno.json", r#"{"switchyard": {"idle": "1s"}}"#);
    let router = Router::builder(&volume).flag("spares", spares).start().await;
    let mut times = Vec::new();
    for _ in 0..starts {
        eventually("the project has no process", || async {
            router.admin.client.get("/projects/a").await.json()["pid"].is_null()
        })
        .await;
        tokio::time::sleep(BETWEEN).await;
        let began = Instant::now();
        let reply = router.public.get("/a/").await;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    times
}

async fn theirs(starts: usize) -> Result<Vec<f64>> {
    let volume = Volume::with("a", fixtures::hello("hello"));
    let cache = tempfile::tempdir().context("make a folder for Deno's cache")?;
    let mut times = Vec::new();
    // The first one fills the cache.
    for start in 0..=starts {
        let began = Instant::now();
        let (_deno, address) = peers::deno_serve_with_cache(&volume.path("a/main.ts"), cache.path())?;
        let reply = Client::new(address).get("/").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        if start > 0 {
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(times)
}
