//! The data path: requests a second, latencies and processor time, of Switchyard and of what people
//! would use instead.

use std::time::Duration;

use anyhow::{Context as _, Result};
use switchyard_integration::fixtures;

use crate::lane::{App, Lane, Server};
use crate::report::{Cell, Table, number, pick, text};
use crate::stats::{median, percentile, ratios};
use crate::steady::Steady;
use crate::wrk::{Load, Sample};

/// Servers take turns in each round, so that a slower machine affects all alike.
const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_secs(4);

/// Before the first round: until code is compiled and pools are filled.
const WARM_UP: Duration = Duration::from_secs(1);

const FOUR: [Server; 4] = [Server::Deno, Server::Nginx, Server::Hop, Server::Switchyard];
const ALL: [Server; 7] = [
    Server::Deno,
    Server::Nginx,
    Server::Hop,
    Server::Switchyard,
    Server::Bun,
    Server::Workerd,
    Server::Wrangler,
];
const ESSENTIAL: [Server; 3] = [Server::Deno, Server::Nginx, Server::Switchyard];

/// Requests of one kind.
struct Workload {
    name: &'static str,
    app: App,
    servers: Vec<Server>,
    connections: &'static [u32],
    /// For wrk, in Lua.
    script: &'static str,
    /// True: also measured at a fixed rate.
    is_steady: bool,
}

impl Workload {
    fn hello() -> Self {
        Self {
            name: "hello world",
            app: App::new(fixtures::hello("Hello, World!")),
            servers: ALL.to_vec(),
            connections: &[64, 8],
            script: "",
            is_steady: true,
        }
    }

    fn of(name: &'static str, app: App, script: &'static str) -> Self {
        Self { name, app, servers: FOUR.to_vec(), connections: &[64], script, is_steady: false }
    }

    fn all() -> Result<Vec<Self>> {
        let echo = "export default { async fetch(request) { return Response.json(await request.json()); } };";
        let large = "const answer = new Uint8Array(65536).fill(120);
            export default { fetch: () => new Response(answer) };";
        Ok(vec![
            Self::hello(),
            Self::of("1 KB of JSON, echoed", App::new(echo), POST_1_KB),
            Self::of("an answer of 64 KB", App::new(large), ""),
            Self::of("50 projects in turn", App::many(50, fixtures::hello("Hello, World!")), FIFTY_PATHS),
            Self::of("an Express app", App::express()?, ""),
        ])
    }
}

const POST_1_KB: &str = "wrk.method = 'POST'
wrk.headers['Content-Type'] = 'application/json'
wrk.body = '{\"text\":\"' .. string.rep('x', 1013) .. '\"}'";

const FIFTY_PATHS: &str = "local n = 0
function request()
  n = (n + 1) % 50
  return wrk.format('GET', '/p' .. n .. '/')
end";

pub(crate) async fn run() -> Result<()> {
    measure(Workload::all()?).await
}

/// A hello world, by the servers that matter most.
pub(crate) async fn essentials() -> Result<()> {
    measure(vec![Workload { servers: ESSENTIAL.to_vec(), is_steady: false, ..Workload::hello() }]).await
}

async fn measure(workloads: Vec<Workload>) -> Result<()> {
    let (rounds, time) = (pick(ROUNDS, 3), pick(TIME, Duration::from_secs(2)));
    let about = format!(
        "wrk with one thread on the same machine, {rounds} rounds of {time:?} in turn; medians, and medians of the \
         ratios round by round. nginx has as many workers as cores and kept connections to `deno serve` on a Unix \
         socket; so has the hop, which only forwards (hyper on both sides): the baseline of a proxy in Rust. CPU is \
         user and system time of all processes of the server, per request. The p99 at a fixed rate is at half of \
         nginx's rate, counted from the time at which a request was due; it is missing where the server does not keep \
         up. Of the 50 projects, nginx has a `deno serve` \
         for each; Deno alone and the hop have one for all."
    );
    let columns = [
        text("requests"),
        number("connections", "", 0),
        text("server"),
        number("requests/s", "", 0),
        number("to Deno", "", 2),
        number("to nginx", "", 2),
        number("p50", "ms", 2),
        number("p99", "ms", 2),
        number("p99 at a fixed rate", "ms", 2),
        number("CPU", "µs", 1),
    ];
    let mut table = Table::begin("data-path", "The data path", about, columns);
    for workload in workloads {
        let mut lanes = Vec::new();
        for server in &workload.servers {
            lanes.push(server.start(&workload.app).await.with_context(|| workload.name)?);
        }
        for connections in workload.connections {
            let load = Load { connections: *connections, time, script: workload.script };
            compare(&mut table, &workload, &lanes, load, rounds).await?;
        }
    }
    table.end()
}

async fn compare(
    table: &mut Table,
    workload: &Workload,
    lanes: &[Lane],
    load: Load,
    rounds: usize,
) -> Result<()> {
    for lane in lanes {
        Load { time: WARM_UP, ..load }.put_on(lane).await?;
    }
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); lanes.len()];
    for _ in 0..rounds {
        for (lane, samples) in lanes.iter().zip(&mut samples) {
            samples.push(load.put_on(lane).await?);
        }
    }
    let values = |lane: usize, of: fn(&Sample) -> f64| samples[lane].iter().map(of).collect::<Vec<_>>();
    let rates = |lane| values(lane, |sample| sample.rate);
    let of = |server| lanes.iter().position(|lane| lane.server == server).map(rates);
    let (deno, nginx) = (of(Server::Deno), of(Server::Nginx));
    let steady = match &nginx {
        Some(rates) if workload.is_steady => steady(lanes, load, median(rates) / 2.0, rounds).await?,
        _ => Vec::new(),
    };
    let ratio = |lane, to: &Option<Vec<f64>>| to.as_ref().map(|to| median(&ratios(&rates(lane), to)));
    for (index, lane) in lanes.iter().enumerate() {
        let cells: [Cell; 10] = [
            workload.name.into(),
            f64::from(load.connections).into(),
            lane.server.name().into(),
            median(&rates(index)).into(),
            ratio(index, &deno).into(),
            ratio(index, &nginx).into(),
            median(&values(index, |sample| sample.p50)).into(),
            median(&values(index, |sample| sample.p99)).into(),
            steady.get(index).copied().flatten().into(),
            median(&values(index, |sample| sample.cpu)).into(),
        ];
        table.row(cells);
    }
    Ok(())
}

/// The p99 of each lane at this rate; `None` for those that did not keep up in any round, or that are
/// not asked.
async fn steady(lanes: &[Lane], load: Load, rate: f64, rounds: usize) -> Result<Vec<Option<f64>>> {
    let mut p99s: Vec<Vec<f64>> = vec![Vec::new(); lanes.len()];
    for _ in 0..rounds {
        for (lane, p99s) in lanes.iter().zip(&mut p99s) {
            if !FOUR.contains(&lane.server) {
                continue;
            }
            let steady = Steady {
                address: lane.address,
                path: lane.path.clone(),
                connections: load.connections as usize,
                rate,
                time: load.time,
            };
            let latencies = tokio::task::spawn_blocking(move || steady.run()).await?;
            let latencies = latencies.with_context(|| lane.server.name())?;
            p99s.extend(latencies.map(|latencies| percentile(&latencies, 99.0)));
        }
    }
    Ok(p99s.iter().map(|p99s| (!p99s.is_empty()).then(|| median(p99s))).collect())
}
