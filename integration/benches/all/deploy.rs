//! The time of a deploy, from the first byte of the upload to the answer that every router serves
//! it, under steady requests.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::future::join_all;
use switchyard_integration::bridge::Bridge;
use switchyard_integration::bridge::record::Record;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::fixtures::hello;
use switchyard_integration::probe::{Probe, Report};
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;

use crate::report::{Table, number, pick, text};
use crate::stats::percentile;

const PHASES: [&str; 5] = ["receive", "store", "hold", "build", "publish"];

/// Longer than a build: the next deploy begins in quiet, with the spares full again.
const BETWEEN: Duration = Duration::from_millis(300);

/// The uploads and their number.
struct Kind {
    name: &'static str,
    times: usize,
    /// Besides `main.ts`.
    files: usize,
    /// The size of each file.
    bytes: usize,
    /// The number of files that differ between versions.
    changed: usize,
}

const SMALL: Kind = Kind { name: "10 files", times: 100, files: 9, bytes: 1000, changed: 9 };
const LARGE: Kind = Kind { name: "2,000 files, 50 MB", times: 5, files: 1999, bytes: 25_000, changed: 1999 };
const LARGE_ONE: Kind =
    Kind { name: "2,000 files, 50 MB, one changed", times: 5, files: 1999, bytes: 25_000, changed: 1 };

/// Side by side, each a project of its own.
const AT_ONCE: usize = 20;

pub(crate) async fn run() -> Result<()> {
    let about = "One router; one client sends the project a request every 4 ms.";
    let mut columns =
        vec![text("project"), number("deploys", "", 0), number("p50", "ms", 1), number("p99", "ms", 1)];
    columns.extend(PHASES.map(|phase| number(&format!("{phase} p50"), "ms", 1)));
    columns.extend([number("requests", "", 0), number("failed", "", 0)]);
    let mut table = Table::begin("deploy", "Upload to 200", about, columns);
    for kind in [SMALL, LARGE, LARGE_ONE] {
        one_by_one(kind, &mut table).await;
    }
    table.end()?;
    at_once().await
}

async fn one_by_one(kind: Kind, table: &mut Table) {
    let deploys = pick(kind.times, 3);
    let volume = Volume::with("a", hello("v0"));
    let (routers, bridge) = start(&volume).await;
    bridge.deploy_live("a", &kind.upload(0)).await;
    let probe = Probe::with_connections(&routers[0].public, "/a/", 1).await;
    let (mut times, mut phases) = (Vec::new(), BTreeMap::<&str, Vec<f64>>::new());
    for version in 1..=deploys {
        let upload = kind.upload(version);
        tokio::time::sleep(BETWEEN).await;
        let (ms, record) = timed(&bridge, "a", &upload).await;
        times.push(ms);
        for phase in PHASES {
            phases.entry(phase).or_default().push(record.timings_ms[phase]);
        }
    }
    let report = probe.finish().await;
    let (p50, p99) = (percentile(&times, 50.0), percentile(&times, 99.0));
    let mut cells = vec![kind.name.into(), deploys.into(), p50.into(), p99.into()];
    cells.extend(PHASES.map(|phase| percentile(&phases[phase], 50.0).into()));
    cells.extend([report.answers.len().into(), failed(&report).into()]);
    table.row(cells);
}

async fn at_once() -> Result<()> {
    let volume = Volume::with("a", hello("v0"));
    let (routers, bridge) = start(&volume).await;
    let probe = Probe::with_connections(&routers[0].public, "/a/", 1).await;
    let names: Vec<_> = (0..AT_ONCE).map(|index| format!("p{index}")).collect();
    let uploads: Vec<_> = (0..AT_ONCE).map(|index| SMALL.upload(index)).collect();
    let began = Instant::now();
    let deploys = names.iter().zip(&uploads).map(|(name, upload)| timed(&bridge, name, upload));
    let times: Vec<_> = join_all(deploys).await.into_iter().map(|(ms, _)| ms).collect();
    let elapsed = began.elapsed().as_secs_f64() * 1e3;
    let report = probe.finish().await;
    let about = format!("{AT_ONCE} new projects of {} at once, while another one gets requests.", SMALL.name);
    let columns = [
        number("all done after", "ms", 1),
        number("p50", "ms", 1),
        number("requests", "", 0),
        number("failed", "", 0),
    ];
    let mut table = Table::begin("deploy-at-once", "Uploads at once", about, columns);
    let p50 = percentile(&times, 50.0);
    table.row([elapsed.into(), p50.into(), report.answers.len().into(), failed(&report).into()]);
    table.end()
}

async fn start(volume: &Volume) -> (Replicas, Bridge) {
    let routers = Replicas::start_each(volume.root(), 1, |_, router| router.flag("spares", 2)).await;
    let bridge = routers.bridge().flag("max-uploads", AT_ONCE).start().await;
    (routers, bridge)
}

/// The time from connecting to the end of the answer, in milliseconds.
async fn timed(bridge: &Bridge, project: &str, upload: &Upload) -> (f64, Record) {
    let request = upload.to(&format!("/deploy/{project}"));
    let began = Instant::now();
    let mut connection = bridge.client.connect().await;
    let reply = connection.try_send(request).await.expect("a deploy is answered");
    let ms = began.elapsed().as_secs_f64() * 1e3;
    assert_eq!(reply.status, 200, "{}", reply.text());
    (ms, Record::of(&reply))
}

fn failed(report: &Report) -> usize {
    report.answers.iter().filter(|answer| answer.status != Ok(200)).count()
}

impl Kind {
    /// The upload of a version; the files that it has not changed are the same in all versions.
    fn upload(&self, version: usize) -> Upload {
        let mut files = vec![("main.ts".to_owned(), hello(&format!("v{version}")))];
        for index in 0..self.files {
            let version = if index < self.changed { version } else { 0 };
            let line = format!("{index} of {version}\n");
            let text = line.repeat(self.bytes.div_ceil(line.len()));
            files.push((format!("folder-{}/{index}.txt", index % 20), text[..self.bytes].to_owned()));
        }
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text)).collect();
        Upload::browser("project", &files)
    }
}
