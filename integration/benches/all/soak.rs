//! Faults of all kinds for a while, in an order that the seed decides; then threads, descriptors,
//! sockets, temporary files, zombies and memory of the router must be back at their values.
//! `SOAK_SECONDS` (120) and `SOAK_SEED` (8, the number of the RFC) set duration and order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use switchyard_integration::faults::{self, Fault, Scene};
use switchyard_integration::usage::Usage;
use tokio::time::{sleep, timeout};

use crate::say;
use crate::stats::router_pid;

/// Number of workers: one that blocks must not hold up the others.
const LANES: usize = 2;

/// The warm-up of each worker before the first measurement, for pools, caches and threads.
const WARM_UP: usize = 12;

/// The memory that may remain: the allocator's caches, and the router's history of each project
/// (events, crashes, logs).
const SLACK: usize = 32 << 20;

/// Time for connections that are closed a while after their last request, and threads that end once
/// they are idle.
const QUIET: Duration = Duration::from_secs(60);

pub(crate) async fn run() -> Result<()> {
    let (seconds, seed) = (setting("SOAK_SECONDS", 120)?, setting("SOAK_SEED", 8)?);
    let all: Vec<_> = faults::all().collect();
    let names = (0..LANES).flat_map(|lane| all.iter().map(move |fault| (named(fault, lane), *fault)));
    let scene = Arc::new(Scene::with(names).await);
    let fresh = usage(&scene)?;
    soak(&scene, seed, |done| done >= WARM_UP).await?;
    let before = settled(&scene, fresh).await?;
    let bystander = scene.bystander().await;
    let end = Instant::now() + Duration::from_secs(seconds);
    let done = soak(&scene, seed + 1, move |_| Instant::now() >= end).await?;
    let seen = bystander.stop().await;
    let after = settled(&scene, before).await?;
    say(format!("## Soak: {done} faults in {seconds} s, seed {seed}\n"));
    say("| of the router | after the warm-up | after the soak |");
    say("|---|---:|---:|");
    for (name, before, after) in before.rows().into_iter().zip(after.rows()).map(|(b, a)| (b.0, b.1, a.1)) {
        say(format!("| {name} | {before} | {after} |"));
    }
    say("");
    ensure!(seen.failed() == 0, "{} requests of the bystander failed", seen.failed());
    ensure!(is_back(before, after), "the router has not returned to its earlier state");
    Ok(())
}

/// Commits faults until `is_over`, which gets the number per worker. Returns the total.
async fn soak(
    scene: &Arc<Scene>,
    seed: u64,
    is_over: impl Fn(usize) -> bool + Copy + Send + 'static,
) -> Result<usize> {
    let done = Arc::new(AtomicUsize::new(0));
    let lanes = (0..LANES).map(|lane| {
        let (scene, done) = (scene.clone(), done.clone());
        tokio::spawn(async move {
            let mut order = Shuffle(seed ^ ((lane as u64 + 1) << 32));
            let all: Vec<_> = faults::all().collect();
            for round in 0.. {
                if is_over(round) {
                    return;
                }
                let fault = all[order.below(all.len())];
                let name = named(fault, lane);
                scene.offer(&name, fault, &round.to_string()).await;
                scene.commit(&name, fault).await;
                scene.remove(&name).await;
                done.fetch_add(1, Ordering::SeqCst);
            }
        })
    });
    for lane in lanes.collect::<Vec<_>>() {
        lane.await.context("a fault did not end as expected")?;
    }
    Ok(done.load(Ordering::SeqCst))
}

/// Returns the router's usage once it is back at `before`, or after the time limit.
async fn settled(scene: &Scene, before: Usage) -> Result<Usage> {
    let settles = async {
        while !is_back(before, usage(scene)?) {
            sleep(Duration::from_millis(200)).await;
        }
        anyhow::Ok(())
    };
    match timeout(QUIET, settles).await {
        Ok(settled) => settled?,
        Err(_) => say(format!("(not settled within {QUIET:?})")),
    }
    usage(scene)
}

fn is_back(before: Usage, after: Usage) -> bool {
    let counts = |usage: Usage| {
        [usage.threads, usage.descriptors, usage.sockets, usage.children, usage.files, usage.zombies]
    };
    let pairs = counts(before).into_iter().zip(counts(after));
    pairs.into_iter().all(|(before, after)| after <= before) && after.memory <= before.memory + SLACK
}

fn usage(scene: &Scene) -> Result<Usage> {
    let pid = router_pid(&scene.router)?;
    Ok(Usage::of(pid, &scene.router.state.path().join("run")))
}

fn named(fault: &Fault, lane: usize) -> String {
    format!("{}-{lane}", fault.project())
}

fn setting(name: &str, default: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is {text:?}: use a whole number")),
        Err(_) => Ok(default),
    }
}

/// The same order for the same seed (splitmix64).
struct Shuffle(u64);

impl Shuffle {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}
