//! The time of a deploy, from the first byte of the upload to the answer that every router serves
//! it, under steady requests.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use switchyard_integration::bridge::Bridge;
use switchyard_integration::bridge::record::Record;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::fixtures::hello;
use switchyard_integration::probe::{Probe, Report};
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;

use crate::say;
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

pub(crate) async fn run() {
    say("## Upload to 200\n");
    say("One router; one client sends the project a request every 4 ms.\n");
    let phases = PHASES.map(|phase| format!("{phase} p50 | ")).concat();
    say(format!("| project | deploys | p50 ms | p99 ms | {phases}requests | failed |"));
    say(format!("|---|---:|---:|---:|{}---:|---:|", "---:|".repeat(PHASES.len())));
    for kind in [SMALL, LARGE, LARGE_ONE] {
        one_by_one(kind).await;
    }
    say("");
    at_once().await;
}

async fn one_by_one(kind: Kind) {
    let volume = Volume::with("a", hello("v0"));
    let (routers, bridge) = start(&volume).await;
    bridge.deploy_live("a", &kind.upload(0)).await;
    let probe = Probe::with_connections(&routers[0].public, "/a/", 1).await;
    let (mut times, mut phases) = (Vec::new(), BTreeMap::<&str, Vec<f64>>::new());
    for version in 1..=kind.times {
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
    let phases = PHASES.map(|phase| format!("{:.1} | ", percentile(&phases[phase], 50.0))).concat();
    let (name, times, requests) = (kind.name, kind.times, report.answers.len());
    say(format!("| {name} | {times} | {p50:.1} | {p99:.1} | {phases}{requests} | {} |", failed(&report)));
}

async fn at_once() {
    let volume = Volume::with("a", hello("v0"));
    let (routers, bridge) = start(&volume).await;
    let probe = Probe::with_connections(&routers[0].public, "/a/", 1).await;
    let names: Vec<_> = (0..AT_ONCE).map(|index| format!("p{index}")).collect();
    let uploads: Vec<_> = (0..AT_ONCE).map(|index| SMALL.upload(index)).collect();
    let began = Instant::now();
    let deploys = names.iter().zip(&uploads).map(|(name, upload)| timed(&bridge, name, upload));
    let times: Vec<_> = join_all(deploys).await.into_iter().map(|(ms, _)| ms).collect();
    let wall = began.elapsed().as_secs_f64() * 1e3;
    let report = probe.finish().await;
    say(format!("{AT_ONCE} new projects of {} at once, while another one gets requests:\n", SMALL.name));
    say("| all done after ms | p50 ms | requests | failed |");
    say("|---:|---:|---:|---:|");
    let (p50, requests) = (percentile(&times, 50.0), report.answers.len());
    say(format!("| {wall:.1} | {p50:.1} | {requests} | {} |\n", failed(&report)));
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
