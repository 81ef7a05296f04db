//! Time from new code until it serves, for projects with much to load: the first build of a project
//! and one after an edit, beside `deno serve` started with an empty cache and with a full one.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use switchyard_contract::admin::ReloadOutcome;
use switchyard_integration::router::{Router, State};
use switchyard_integration::volume::Volume;

use crate::stats::median;
use crate::{peers, say};

const ROUNDS: usize = 7;

/// Modules of the large graph.
const MODULES: usize = 1000;

/// Longer than a spare takes to be ready again.
const BETWEEN: Duration = Duration::from_millis(500);

pub(crate) async fn run() -> Result<()> {
    say("## Builds\n");
    say(format!("Until the new code serves, ms; {ROUNDS} rounds in turn, medians.\n"));
    say("| project | first build | after an edit | `deno serve`, empty cache | `deno serve`, full cache |");
    say("|---|---:|---:|---:|---:|");
    let react = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/projects/react");
    ensure!(react.join("node_modules").is_dir(), "run `npm ci` in {}", react.display());
    row("React, rendered on the server", "main.tsx", |volume| volume.copy_in(&react, "a")).await?;
    row(&format!("{MODULES} modules of TypeScript"), "main.ts", graph).await?;
    say("");
    Ok(())
}

async fn row(what: &str, main: &str, write: impl Fn(&Volume)) -> Result<()> {
    let mut times: [Vec<f64>; 4] = Default::default();
    for _ in 0..ROUNDS {
        let volume = Volume::new();
        write(&volume);
        let (first, edited) = ours(&volume, main).await?;
        let cache = tempfile::tempdir().context("make a folder for Deno's cache")?;
        let main = volume.path("a").join(main);
        let empty = theirs(&main, cache.path())?;
        let full = theirs(&main, cache.path())?;
        for (times, time) in times.iter_mut().zip([first, edited, empty, full]) {
            times.push(time);
        }
    }
    let [first, edited, empty, full] = times.map(|times| median(&times));
    say(format!("| {what} | {first:.0} | {edited:.0} | {empty:.0} | {full:.0} |"));
    Ok(())
}

/// The first build of a project by a running router, and the build after an edit of its main
/// module.
async fn ours(volume: &Volume, main: &str) -> Result<(f64, f64)> {
    volume.rename("a", "_a");
    let state = State::new();
    let router = Router::builder(volume).unwatched().state(&state).start().await;
    tokio::time::sleep(BETWEEN).await;
    volume.rename("_a", "a");
    let first = built(&router).await?;
    tokio::time::sleep(BETWEEN).await;
    let path = format!("a/{main}");
    volume.replace(&path, format!("{}\n// edited\n", volume.read(&path)));
    let edited = built(&router).await?;
    Ok((first, edited))
}

async fn built(router: &Router) -> Result<f64> {
    let began = Instant::now();
    let report = router.admin.reload("a").await;
    let took = began.elapsed().as_secs_f64() * 1e3;
    ensure!(report.outcome == ReloadOutcome::Live, "{report:?}");
    ensure!(router.public.get("/a/").await.status == 200, "it does not answer");
    Ok(took)
}

/// Time from the start of the process until it listens.
fn theirs(main: &Path, cache: &Path) -> Result<f64> {
    let began = Instant::now();
    let _deno = peers::deno_serve_with_cache(main, cache)?;
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

/// A main module that imports all others, each with fifty lines of typed code.
fn graph(volume: &Volume) {
    let mut main = String::new();
    for index in 0..MODULES {
        let mut module = String::new();
        for line in 0..50 {
            _ = writeln!(
                module,
                "export function f{line}(a: number, b: string): string {{ return b.repeat(a % 7) + {line}; }}"
            );
        }
        volume.write(&format!("a/m{index}.ts"), module);
        _ = writeln!(main, "import * as m{index} from './m{index}.ts';");
    }
    let all = (0..MODULES).map(|index| format!("m{index}")).collect::<Vec<_>>().join(", ");
    _ = writeln!(
        main,
        "const all = [{all}];\nexport default {{ fetch: () => new Response(String(all.length)) }};"
    );
    volume.write("a/main.ts", main);
}
