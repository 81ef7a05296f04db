//! A burst of new files in one project: the time until they are served, the edits after it, and the
//! cost for a neighbour's requests, beside the same burst in a folder that no router watches.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::{Router, State};
use switchyard_integration::volume::Volume;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::asker::{Answers, Asker, PAUSE};
use crate::report::{Cell, Table, number, pick, text};
use crate::stats::{median, percentile};

const FILES: usize = 20_000;
/// The folders that the files lie in.
const FOLDERS: usize = 200;
const ROUNDS: usize = 3;

/// Time for which the neighbour is asked while nothing else happens.
const ALONE: Duration = Duration::from_secs(5);

/// Time for which files are written elsewhere: about as long as a burst takes until it is live.
const ELSEWHERE: Duration = Duration::from_secs(2);

/// Time without any change after a burst, in which its files and those of the checkout settle.
const REST: Duration = Duration::from_secs(3);

/// Pause before an edit: the edit before was read by request and by the watch, and its version is
/// prepared for.
const BETWEEN: Duration = Duration::from_millis(1500);

/// Edits after a burst, each way. The median counts.
const EDITS: usize = 5;

/// The quiet times, and how many milliseconds of each a lone change of the whole project waits.
const DEBOUNCES: [(&str, f64); 2] = [("500ms", 500.0), ("auto", 500.0)];

/// The goals: seconds until a burst is live, milliseconds of the next edit, and the
/// neighbour's p99 in multiples of that alone.
const GOALS: [f64; 3] = [3.0, 150.0, 1.5];

/// The measurements of one round.
struct Round {
    /// Seconds in which the files were written.
    written: f64,
    /// Seconds from the last write to the first answer of the new code.
    live: f64,
    /// Milliseconds from an edit of the project to its first new answer, beyond the quiet time.
    saved: f64,
    /// The same, for an edit whose reload is requested.
    requested: f64,
    /// Milliseconds from an edit of the neighbour, right after the last write, to its first new
    /// answer, beyond the quiet time.
    neighbour: f64,
    /// The neighbour's p99 in milliseconds: alone, while the files are written elsewhere, and from
    /// the first file of the burst until it is live.
    p99: [f64; 3],
    failed: usize,
}

pub(crate) async fn run() -> Result<()> {
    let [live, edit, p99] = GOALS;
    let rounds = pick(ROUNDS, 1);
    let about = format!(
        "{FILES} new files in {FOLDERS} folders of one project; a neighbour gets a request every {PAUSE:?}. Medians \
         of {rounds} rounds. Saves: beyond the quiet time. Elsewhere: the same files again and again in a \
         folder that is not watched. \
         Goals: live {live} s after the last write, the next edit within {edit} ms, p99 at most {p99} of alone."
    );
    let columns = [
        text("debounce"),
        number("written in", "s", 1),
        number("live after", "s", 2),
        number("next save", "ms", 0),
        number("next by request", "ms", 0),
        number("neighbour's save", "ms", 0),
        number("p99 alone", "ms", 2),
        number("p99 elsewhere", "ms", 2),
        number("p99 burst", "ms", 2),
        number("to alone", "", 2),
        number("to elsewhere", "", 2),
        number("failed", "", 0),
    ];
    let mut table = Table::begin("burst", "A burst of files in one project", about, columns);
    // Removed at the end: ext4 makes files slowly for minutes after many were removed.
    let mut kept = Vec::new();
    for (debounce, quiet) in DEBOUNCES {
        let mut measured = Vec::new();
        for _ in 0..rounds {
            let scene = Scene::new();
            measured.push(scene.round(debounce, quiet).await?);
            kept.push(scene);
        }
        table.row(row(debounce, &measured));
    }
    table.end()
}

fn row(debounce: &str, rounds: &[Round]) -> [Cell; 12] {
    let of = |get: fn(&Round) -> f64| Cell::from(median(&rounds.iter().map(get).collect::<Vec<_>>()));
    [
        debounce.into(),
        of(|round| round.written),
        of(|round| round.live),
        of(|round| round.saved),
        of(|round| round.requested),
        of(|round| round.neighbour),
        of(|round| round.p99[0]),
        of(|round| round.p99[1]),
        of(|round| round.p99[2]),
        of(|round| round.p99[2] / round.p99[0]),
        of(|round| round.p99[2] / round.p99[1]),
        rounds.iter().map(|round| round.failed).sum::<usize>().into(),
    ]
}

/// The folders of one round.
struct Scene {
    volume: Volume,
    elsewhere: Volume,
    state: State,
}

impl Scene {
    fn new() -> Self {
        let volume = Volume::in_memory();
        for name in ["a", "b", "c"] {
            volume.write(&format!("{name}/main.ts"), hello("before"));
        }
        Self { volume, elsewhere: Volume::in_memory(), state: State::new() }
    }

    async fn round(&self, debounce: &str, quiet: f64) -> Result<Round> {
        let Self { volume, elsewhere, state } = self;
        let router =
            Router::builder(volume).state(state).flag("debounce", debounce).flag("spares", 2).start().await;

        let began = Instant::now();
        let alone = Answers::of(&router.public, "/b/", || began.elapsed() < ALONE).await;
        let (neighbour, over) = ask_neighbour(&router);
        let began = Instant::now();
        while began.elapsed() < ELSEWHERE {
            write_files(elsewhere.path("a")).await.expect("the writer does not panic");
        }
        over.store(true, Ordering::Relaxed);
        let beside = neighbour.await.expect("the client does not panic");

        let (neighbour, over) = ask_neighbour(&router);
        let began = Instant::now();
        write_files(volume.path("a")).await.expect("the writer does not panic");
        volume.write("a/main.ts", hello("burst"));
        let (written, last) = (began.elapsed().as_secs_f64(), Instant::now());
        let other = tokio::spawn({
            let public = router.public.clone();
            volume.write("c/main.ts", hello("1"));
            async move { Asker::new(&public).await.until("/c/", "1", last).await }
        });
        let mut asker = Asker::new(&router.public).await;
        let live = asker.until("/a/", "burst", last).await / 1e3;
        over.store(true, Ordering::Relaxed);
        let burst = neighbour.await.expect("the client does not panic");
        let other = other.await.expect("the client does not panic");

        tokio::time::sleep(REST).await;
        let (mut saved, mut requested) = (Vec::new(), Vec::new());
        for edit in 0..EDITS {
            tokio::time::sleep(BETWEEN).await;
            let label = format!("saved {edit}");
            let began = Instant::now();
            volume.replace("a/main.ts", hello(&label));
            saved.push(asker.until("/a/", &label, began).await - quiet);
            tokio::time::sleep(BETWEEN).await;
            let label = format!("requested {edit}");
            let began = Instant::now();
            volume.replace("a/main.ts", hello(&label));
            let report = router.admin.reload("a").await;
            // The watch may have been first.
            ensure!(report.error.is_none(), "{report:?}");
            requested.push(asker.until("/a/", &label, began).await);
        }
        Ok(Round {
            written,
            live,
            saved: median(&saved),
            requested: median(&requested),
            neighbour: other - quiet,
            p99: [&alone, &beside, &burst].map(|answers| percentile(&answers.times, 99.0)),
            failed: [alone, beside, burst].iter().map(|answers| answers.failed).sum::<usize>()
                + asker.failures.len(),
        })
    }
}

/// Asks the neighbour all the time, until the returned flag is set.
fn ask_neighbour(router: &Router) -> (JoinHandle<Answers>, Arc<AtomicBool>) {
    let over = Arc::new(AtomicBool::new(false));
    let (public, is_over) = (router.public.clone(), over.clone());
    let asking =
        tokio::spawn(async move { Answers::of(&public, "/b/", || !is_over.load(Ordering::Relaxed)).await });
    (asking, over)
}

/// Writes the files below `folder`, as fast as one thread can.
fn write_files(folder: PathBuf) -> JoinHandle<()> {
    spawn_blocking(move || {
        for file in 0..FILES {
            let inside = folder.join(format!("files/{}", file % FOLDERS));
            if file < FOLDERS {
                std::fs::create_dir_all(&inside).expect("a folder can be made");
            }
            let text = format!("export default {file};\n{}", "// filler\n".repeat(20));
            std::fs::write(inside.join(format!("{file}.ts")), text).expect("a file can be written");
        }
    })
}
