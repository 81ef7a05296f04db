//! A project that does nothing wrong, and the effect of other projects on it.

use std::time::Instant;

use crate::fixtures::hello;
use crate::probe::{Answer, Probe, Report};
use crate::router::Router;
use crate::volume::Volume;

const NAME: &str = "bystander";

/// Enough to show that it is served: tests judge failures, not times.
const WARM_UP: u64 = 20;

/// Under a steady probe, from before a fault until after it.
#[derive(Debug)]
pub struct Bystander {
    probe: Probe,
    pid: Option<u32>,
    /// The time at which the other projects started.
    disturbed: Option<Instant>,
}

/// The answers that the bystander got.
#[derive(Debug)]
pub struct BystanderReport {
    report: Report,
    disturbed: Instant,
}

/// Puts the project on the volume.
pub fn write(volume: &Volume) {
    volume.project(NAME).file("main.ts", hello(NAME)).write();
}

impl Bystander {
    /// Served, and alone yet.
    pub async fn start(router: &Router) -> Self {
        let probe = Probe::start(&router.public, &format!("/{NAME}/")).await;
        probe.pass(WARM_UP).await;
        Self { probe, pid: router.admin.project(NAME).await.pid, disturbed: None }
    }

    /// Waits until this many more requests were answered.
    pub async fn pass(&self, requests: u64) {
        self.probe.pass(requests).await;
    }

    /// Returns the number of requests that were answered so far.
    pub fn answered(&self) -> u64 {
        self.probe.answered()
    }

    /// Marks the start of the other projects.
    pub fn disturb(&mut self) {
        self.disturbed = Some(Instant::now());
    }

    /// # Panics
    /// A request failed or was answered by another project, or the cell is another process now.
    pub async fn finish(self, router: &Router) {
        let pid = self.pid;
        self.stop().await.report.no_failures().versions_monotonic(&[NAME]);
        assert_eq!(router.admin.project(NAME).await.pid, pid, "the bystander's cell is another one");
    }

    /// Returns the report, without checks.
    pub async fn stop(self) -> BystanderReport {
        let report = self.probe.finish().await;
        BystanderReport { report, disturbed: self.disturbed.unwrap_or_else(Instant::now) }
    }
}

impl BystanderReport {
    /// Milliseconds that requests took which ended before the bystander was disturbed.
    pub fn alone(&self) -> Vec<f64> {
        self.times(|answer| answer.ended < self.disturbed)
    }

    /// Milliseconds that the others took.
    pub fn disturbed(&self) -> Vec<f64> {
        self.times(|answer| answer.ended >= self.disturbed)
    }

    /// Returns the number of requests with a wrong answer.
    pub fn failed(&self) -> usize {
        let failed = |answer: &&Answer| answer.status != Ok(200) || answer.label != NAME;
        self.report.answers.iter().filter(failed).count()
    }

    fn times(&self, which: impl Fn(&&Answer) -> bool) -> Vec<f64> {
        let took = |answer: &Answer| answer.ended.duration_since(answer.began).as_secs_f64() * 1e3;
        self.report.answers.iter().filter(which).map(took).collect()
    }
}
