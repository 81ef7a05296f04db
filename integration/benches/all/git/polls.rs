//! The CPU time that polling takes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use switchyard_contract::source::SyncOutcome;
use switchyard_integration::git::Repository;
use switchyard_integration::sources::{Scene, Source};

use crate::report::{Table, number, pick};
use crate::stats::cpu_time;

const SOURCES: usize = 100;
const POLL_S: u64 = 30;
const DURATION: Duration = Duration::from_secs(60);

/// Repositories that are made at once: each is a process.
const AT_ONCE: usize = 4;

/// The time after the first syncs until nothing follows from them.
const BEFORE: Duration = Duration::from_secs(3);

/// The most percent of a core, by issue 14.
const GOAL_PERCENT: f64 = 2.0;

pub(super) async fn run() -> Result<()> {
    let repositories = repositories().await;
    let poll = format!("\"{POLL_S}s\"");
    let named = repositories.iter().enumerate().map(|(index, repository)| (format!("s{index}"), repository));
    let source = |(name, repository): (String, &Repository)| {
        Source::of(&name, repository).key("projects", r#"[{ path = "." }]"#).key("poll", &poll)
    };
    let sources: Vec<Source> = named.map(source).collect();
    let scene = Scene::start(&sources).await;
    for index in 0..SOURCES {
        let report = scene.api.sync(&format!("s{index}")).await;
        ensure!(matches!(report.outcome, SyncOutcome::Live | SyncOutcome::Unchanged), "{report:?}");
    }
    tokio::time::sleep(BEFORE).await;
    let pid = u32::try_from(scene.bridge.pid().as_raw_nonzero().get()).context("a process id is positive")?;
    let (began, polls, time) = (Instant::now(), count_polls(&scene).await?, cpu_time(pid)?);
    tokio::time::sleep(pick(DURATION, Duration::from_secs(31))).await;
    let spent = cpu_time(pid)?.since(time);
    let (seconds, polls) = (began.elapsed().as_secs_f64(), count_polls(&scene).await? - polls);
    ensure!(polls > 0.0, "nothing was polled");
    let percent = |spent: f64| spent / seconds * 100.0;
    let all = spent.own + spent.children;
    let about = format!(
        "{SOURCES} `file://` sources, each polled every {POLL_S} s, over {seconds:.0} s: CPU time of the bridge \
         and of the processes that it starts, % of a core."
    );
    let columns = [
        number("polls", "", 0),
        number("bridge", "%", 2),
        number("git", "%", 2),
        number("both", "%", 2),
        number("goal", "%", 0),
        number("both per poll", "ms", 1),
    ];
    let mut table = Table::begin("git-polls", "Git sources: polls", about, columns);
    table.row([
        polls.into(),
        percent(spent.own).into(),
        percent(spent.children).into(),
        percent(all).into(),
        GOAL_PERCENT.into(),
        (all * 1e3 / polls).into(),
    ]);
    table.end()
}

/// Returns repositories with a static site each: their versions need no cells.
async fn repositories() -> Vec<Repository> {
    let mut repositories = Vec::new();
    while repositories.len() < SOURCES {
        repositories.extend(join_all((0..AT_ONCE).map(|_| repository())).await);
    }
    repositories
}

async fn repository() -> Repository {
    let repository = Repository::create().await;
    repository.commit(&[("index.html", "<!doctype html><p>hello")], "A page").await;
    repository
}

/// The number of questions to servers so far.
async fn count_polls(scene: &Scene) -> Result<f64> {
    let text = scene.bridge.client.get("/metrics").await.text();
    let count = text.lines().find_map(|line| line.strip_prefix("switchyard_source_fetch_seconds_count "));
    count.context("find the number of fetches in the metrics")?.parse().context("parse a metric")
}
