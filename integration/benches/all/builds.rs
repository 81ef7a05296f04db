//! Time from new code until it serves, for projects with much to load: the first build of a project
//! and one after an edit, beside `deno serve` started with an empty cache and with a full one.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use switchyard_contract::admin::ReloadOutcome;
use switchyard_integration::router::{Router, State};
use switchyard_integration::volume::Volume;

use crate::peers;
use crate::report::{Cell, Table, number, pick, text};
use crate::stats::median;

const ROUNDS: usize = 7;

/// Modules of the graphs.
const MODULES: [usize; 2] = [200, 1000];

/// Longer than a spare takes to be ready again.
const BETWEEN: Duration = Duration::from_millis(500);

pub(crate) async fn run() -> Result<()> {
    let rounds = pick(ROUNDS, 1);
    let about = format!(
        "Until the new code serves; {rounds} rounds in turn, medians. After an edit: of the main module, and a reload \
         is requested."
    );
    let columns = [
        text("project"),
        number("first build", "ms", 0),
        number("after an edit", "ms", 0),
        number("`deno serve`, empty cache", "ms", 0),
        number("`deno serve`, full cache", "ms", 0),
    ];
    let mut table = Table::begin("builds", "Builds", about, columns);
    let react = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/projects/react");
    ensure!(react.join("node_modules").is_dir(), "run `npm ci` in {}", react.display());
    let copy_react = |volume: &Volume| volume.copy_in(&react, "a");
    table.row(row("React, rendered on the server", "main.tsx", rounds, copy_react).await?);
    for count in MODULES {
        let what = format!("{count} modules of TypeScript");
        table.row(row(&what, "main.ts", rounds, |volume| modules(volume, "a", count)).await?);
    }
    table.end()
}

async fn row(what: &str, main: &str, rounds: usize, write: impl Fn(&Volume)) -> Result<Vec<Cell>> {
    let mut times: [Vec<f64>; 4] = Default::default();
    for _ in 0..rounds {
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
    let medians = times.iter().map(|times| median(times).into());
    Ok([Cell::from(what)].into_iter().chain(medians).collect())
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

/// Writes a project whose main module imports `count` others, each with fifty lines of typed code.
pub(crate) fn modules(volume: &Volume, name: &str, count: usize) {
    let mut main = String::new();
    for index in 0..count {
        let mut module = String::new();
        for line in 0..50 {
            _ = writeln!(
                module,
                "export function f{line}(a: number, b: string): string {{ return b.repeat(a % 7) + {line}; }}"
            );
        }
        volume.write(&format!("{name}/m{index}.ts"), module);
        _ = writeln!(main, "import * as m{index} from './m{index}.ts';");
    }
    let all = (0..count).map(|index| format!("m{index}")).collect::<Vec<_>>().join(", ");
    _ = writeln!(
        main,
        "const all = [{all}];\nexport default {{ fetch: () => new Response(String(all.length)) }};"
    );
    volume.write(&format!("{name}/main.ts"), main);
}
