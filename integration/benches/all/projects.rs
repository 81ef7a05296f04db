//! Growth with the number of projects on one volume, a tenth of them broken: the first start and a
//! start that finds what was good before, the router's memory and CPU time, and its answers.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use switchyard_contract::admin::ReloadOutcome;
use switchyard_integration::client::request;
use switchyard_integration::fixtures;
use switchyard_integration::router::{Builder, Router, State};
use switchyard_integration::volume::Volume;
use tokio::time::{sleep, timeout};

use crate::report::{Cell, Table, number, pick};
use crate::stats::{children, cpu_time, median, own, pss, router_pid};

const PROJECTS: [usize; 4] = [10, 100, 1000, 10_000];

/// One of so many projects is broken.
const BROKEN_EACH: usize = 10;

/// Time limit for the start of a router, and what each project adds to it: at the first start that
/// is a process, some 50 ms of a core. The row of 10,000 projects takes minutes.
const START: Duration = Duration::from_secs(60);
const START_EACH: Duration = Duration::from_millis(80);

/// Time for which a router is left alone, until the first comparison of the volume is over as well.
const SETTLE: Duration = Duration::from_secs(5);

/// Time over which the CPU time of a router without work is measured.
const IDLE: Duration = Duration::from_secs(10);

const LOOKUPS: usize = 2000;
const RELOADS: usize = 20;

/// The goals: KB of memory of each project, and seconds of a second start.
const GOALS: [f64; 2] = [10.0, 5.0];

/// The measurements at one number of projects.
struct Growth {
    projects: usize,
    good: usize,
    /// Seconds from the start of the process until it is ready: the first time, and again.
    starts: [f64; 2],
    /// The router's own memory in MB.
    memory: f64,
    /// The cells and spares, and their memory in MB.
    cells: (usize, f64),
    /// Microseconds of an answer that the router gives without a cell.
    lookup: f64,
    /// Milliseconds of a requested reload.
    reload: f64,
    /// CPU time in percent of one core.
    idle: f64,
}

pub(crate) async fn run() -> Result<()> {
    let [memory, start] = GOALS;
    let about = format!(
        "One in {BROKEN_EACH} is broken. The first start builds every project in a process of its own, the second one \
         finds what was good before. Memory for each: of the projects that the row before does not have. Lookups: \
         {LOOKUPS} answers for broken projects, which no process gives. Reloads: {RELOADS} edits of one project, by \
         request. Goals: {memory} KB of the router's memory for each project, {start} s until a second start is ready."
    );
    let columns = [
        number("projects", "", 0),
        number("good", "", 0),
        number("first start", "s", 1),
        number("for each", "ms", 1),
        number("second start", "s", 1),
        number("for each", "ms", 2),
        number("router", "MB", 1),
        number("for each", "KB", 1),
        number("processes", "", 0),
        number("together", "MB", 0),
        number("lookup p50", "us", 0),
        number("reload p50", "ms", 1),
        number("idle CPU", "%", 1),
    ];
    let mut table = Table::begin("projects", "Many projects", about, columns);
    let mut before = None;
    for projects in pick(&PROJECTS[..], &PROJECTS[..2]) {
        match measure(*projects).await {
            Ok(growth) => {
                table.row(growth.row(before));
                before = Some((growth.projects, growth.memory));
            }
            // The rows before it are kept.
            Err(error) => {
                table.note(format!("{projects} projects: {error:#}."));
                break;
            }
        }
    }
    table.end()
}

impl Growth {
    /// A row of the table. `before`: the number of projects of the row before, and the memory with
    /// them in MB.
    fn row(&self, before: Option<(usize, f64)>) -> [Cell; 13] {
        let Self { projects, starts: [first, again], memory, .. } = *self;
        let each = |seconds: f64| Cell::from(seconds * 1e3 / projects as f64);
        let more = before.map(|(fewer, less)| (memory - less) * 1e3 / (projects - fewer) as f64);
        let (processes, their_memory) = self.cells;
        [
            projects.into(),
            self.good.into(),
            first.into(),
            each(first),
            again.into(),
            each(again),
            memory.into(),
            more.into(),
            processes.into(),
            their_memory.into(),
            self.lookup.into(),
            self.reload.into(),
            self.idle.into(),
        ]
    }
}

async fn measure(projects: usize) -> Result<Growth> {
    let volume = volume(projects);
    let state = State::new();
    let start = || Router::builder(&volume).state(&state).flag("debounce", "1h");
    let limit = START + START_EACH * u32::try_from(projects)?;
    let (router, first) = ready(start(), limit).await?;
    router.stop().await;
    let (router, again) = ready(start(), limit).await?;
    let good = good(&router).await;
    sleep(SETTLE).await;
    let pid = router_pid(&router)?;
    let before = cpu_time(pid)?;
    sleep(IDLE).await;
    let idle = cpu_time(pid)?.since(before).own / IDLE.as_secs_f64() * 100.0;
    let memory = own(pid)?;
    let cells = children(pid)?;
    let cells = (cells.len(), cells.iter().filter_map(|cell| pss(*cell).ok()).sum());
    let lookup = lookup(&router, projects).await?;
    let reload = reload(&router, &volume).await?;
    router.stop().await;
    Ok(Growth { projects, good, starts: [first, again], memory, cells, lookup, reload, idle })
}

fn is_broken(project: usize) -> bool {
    project.is_multiple_of(BROKEN_EACH)
}

fn volume(projects: usize) -> Volume {
    let volume = Volume::new();
    for n in 0..projects {
        let main =
            if is_broken(n) { "export default {{{".to_owned() } else { fixtures::hello(&n.to_string()) };
        volume.project(&format!("p{n}")).file("main.ts", main).write();
    }
    volume
}

/// Starts a router, and returns it with the seconds until it is ready.
async fn ready(builder: Builder, limit: Duration) -> Result<(Router, f64)> {
    let began = Instant::now();
    let router = builder.start_unready().await;
    let ready = async {
        while router.admin.client.get("/readyz").await.status != 200 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    if timeout(limit, ready).await.is_err() {
        let good = good(&router).await;
        bail!("the router is not ready within {limit:?}: {good} projects are live");
    }
    Ok((router, began.elapsed().as_secs_f64()))
}

async fn good(router: &Router) -> usize {
    router.admin.projects().await.values().filter(|project| project.live.is_some()).count()
}

/// The median time of an answer for broken projects, in microseconds.
async fn lookup(router: &Router, projects: usize) -> Result<f64> {
    let mut connection = router.public.connect().await;
    let mut times = Vec::new();
    for n in (0..projects).step_by(BROKEN_EACH).cycle().take(LOOKUPS) {
        let began = Instant::now();
        let reply = connection.try_send(request(&format!("/p{n}/"))).await?;
        times.push(began.elapsed().as_secs_f64() * 1e6);
        ensure!(reply.status == 503, "p{n} is broken: {} {}", reply.status, reply.text());
    }
    Ok(median(&times))
}

/// The median time of a requested reload, in milliseconds.
async fn reload(router: &Router, volume: &Volume) -> Result<f64> {
    let mut times = Vec::new();
    for edit in 0..RELOADS {
        volume.replace("p1/main.ts", fixtures::hello(&format!("edit {edit}")));
        let began = Instant::now();
        let report = router.admin.reload("p1").await;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        ensure!(report.outcome == ReloadOutcome::Live, "{report:?}");
        // A spare is ready again.
        sleep(Duration::from_millis(200)).await;
    }
    Ok(median(&times))
}
