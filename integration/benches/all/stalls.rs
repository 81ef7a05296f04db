//! The effect on the admin listener and on a neighbour's edits of projects that print, leave files
//! or fill the log: a steady probe of `/healthz`, and one edit after the other.

use std::time::{Duration, Instant};

use anyhow::Result;
use switchyard_contract::event::EventType;
use switchyard_integration::client::{Client, request};
use switchyard_integration::events::Events;
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

use crate::report::{Cell, Table, number, pick, text};
use crate::stats::{median, percentile};

const OFFENDERS: usize = 4;
const PHASE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(2);
const BETWEEN_EDITS: Duration = Duration::from_millis(100);

/// Each works for half a second per request; `/files` leaves 50,000 files behind.
const OFFENDER: &str = "const line = 'x'.repeat(100), tmp = Deno.env.get('TMPDIR');
const deeds = { '/busy'() {}, '/print'() { console.log(line); } };
Deno.serve({ onListen() {} }, async (request) => {
  const deed = new URL(request.url).pathname;
  if (deed === '/files') {
    for (let n = 0; n < 50_000; n++) {
      Deno.createSync(`${tmp}/${n}`).close();
      if (n % 500 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
    }
    setTimeout(() => Deno.exit(0), 0);
    return new Response('done');
  }
  const end = performance.now() + 500;
  for (let n = 1; performance.now() < end; n++) {
    deeds[deed]?.();
    if (n % 500 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
  }
  return new Response('done');
});
";

/// The requests to offenders in one phase, the number of offenders, and `true` if the log is read.
struct Phase {
    name: &'static str,
    deed: &'static str,
    offenders: usize,
    log_is_read: bool,
}

const PHASES: [Phase; 5] = [
    Phase { name: "alone", deed: "", offenders: 0, log_is_read: true },
    Phase { name: "four that are busy and harmless", deed: "busy", offenders: 4, log_is_read: true },
    Phase { name: "four that print without pause", deed: "print", offenders: 4, log_is_read: true },
    Phase { name: "the same, and the log is not read", deed: "print", offenders: 4, log_is_read: false },
    Phase {
        name: "50,000 files left behind, again and again",
        deed: "files",
        offenders: 1,
        log_is_read: true,
    },
];

pub(crate) async fn run() -> Result<()> {
    let volume = Volume::with("b", hello("0"));
    for n in 0..OFFENDERS {
        volume.write(&format!("a{n}/main.ts"), OFFENDER);
    }
    let router = Router::builder(&volume).flag("debounce", 20).flag("spares", 2).start().await;
    let phase = pick(PHASE, Duration::from_secs(2));
    let about =
        format!("{phase:?} each: `/healthz` every {PAUSE:?}, a save of a neighbour every {BETWEEN_EDITS:?}.");
    let columns = [
        text("beside"),
        number("healthz p50", "ms", 2),
        number("p99", "ms", 2),
        number("most", "ms", 1),
        number("edit to live p50", "ms", 0),
        number("p99", "ms", 0),
        number("healthz p99 to alone", "", 2),
        number("to harmless", "", 2),
    ];
    let title = "One project beside the others: the admin listener and a neighbour's edits";
    let mut table = Table::begin("stalls", title, about, columns);
    let mut p99s = Vec::new();
    for Phase { name, deed, offenders, log_is_read } in PHASES {
        if !log_is_read {
            router.log.pause();
        }
        let offending: Vec<_> = (0..offenders)
            .map(|n| tokio::spawn(ask_on(router.public.clone(), format!("/a{n}/{deed}"))))
            .collect();
        let probe = tokio::spawn(probe(router.admin.client.clone(), phase));
        let edits = edit(&router, &volume, phase).await;
        let times = probe.await.expect("the probe does not panic");
        offending.iter().for_each(|task| task.abort());
        router.log.resume();
        let p99 = percentile(&times, 99.0);
        p99s.push(p99);
        let cells: [Cell; 8] = [
            name.into(),
            median(&times).into(),
            p99.into(),
            percentile(&times, 100.0).into(),
            median(&edits).into(),
            percentile(&edits, 99.0).into(),
            (p99 / p99s[0]).into(),
            p99s.get(1).map(|harmless| p99 / harmless).into(),
        ];
        table.row(cells);
        // Output and files are handled before the next phase.
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    table.end()
}

async fn ask_on(public: Client, path: String) {
    loop {
        let connection = public.try_connect().await;
        if let Ok(mut connection) = connection {
            // A cell that has ended is started again.
            let _ = connection.try_send(request(&path)).await;
        }
    }
}

/// Milliseconds that answers of `/healthz` took.
async fn probe(admin: Client, phase: Duration) -> Vec<f64> {
    let (began, mut times) = (Instant::now(), Vec::new());
    let mut connection = admin.connect().await;
    while began.elapsed() < phase {
        let began = Instant::now();
        connection.get("/healthz").await;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(PAUSE).await;
    }
    times
}

/// Milliseconds from a save to the event that it is live.
async fn edit(router: &Router, volume: &Volume, phase: Duration) -> Vec<f64> {
    let (began, mut times) = (Instant::now(), Vec::new());
    let mut events = Events::follow(&router.admin.client, None).await;
    while began.elapsed() < phase {
        let saved = Instant::now();
        volume.replace("b/main.ts", hello(&format!("{saved:?}")));
        events.wait_for(EventType::ReloadLive, "b").await;
        times.push(saved.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(BETWEEN_EDITS).await;
    }
    times
}
