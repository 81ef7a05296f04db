//! The share of the router's log that a project may fill. Pure: time is passed in.

use std::collections::HashMap;
use std::time::Instant;

use switchyard_contract::project::ProjectName;

/// All projects together may log as much as this many that log as much as one may.
const SHARES: u64 = 8;

/// The last part of what all may log is for those that have logged little: a quarter. A few that print without pause leave it
/// to the others.
const RESERVE: u64 = 4;

/// What a record has besides its text: time, level, project, version, process, stream.
const RECORD: u64 = 256;

/// Lines and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Volume {
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
}

/// Decides of each line whether it is logged.
#[derive(Debug)]
pub(super) struct Throttle {
    /// Bytes that one project may log in a minute, and at once after a quiet one.
    limit: u64,
    all: Bucket,
    projects: HashMap<ProjectName, Share>,
}

#[derive(Debug)]
struct Share {
    bucket: Bucket,
    /// Since the project is known, and what of it was reported.
    dropped: Volume,
    reported: Volume,
}

/// Fills up within a minute.
#[derive(Debug)]
struct Bucket {
    capacity: u64,
    level: u64,
    filled: Instant,
}

impl Throttle {
    pub(super) fn new(limit: u64, now: Instant) -> Self {
        Self { limit, all: Bucket::new(limit.saturating_mul(SHARES), now), projects: HashMap::new() }
    }

    /// Whether a line of so many bytes is logged.
    pub(super) fn admits(&mut self, project: &ProjectName, bytes: usize, now: Instant) -> bool {
        if !self.projects.contains_key(project) {
            let bucket = Bucket::new(self.limit, now);
            let share = Share { bucket, dropped: Volume::default(), reported: Volume::default() };
            self.projects.insert(project.clone(), share);
        }
        let Some(share) = self.projects.get_mut(project) else { return false };
        let bytes = bytes as u64;
        let cost = bytes + RECORD;
        let (own, all) = (share.bucket.fill(now), self.all.fill(now));
        let reserve = if own > share.bucket.capacity / 2 { 0 } else { self.all.capacity / RESERVE };
        let admits = own >= cost && all >= cost + reserve;
        if own >= cost {
            // Also for what others leave no room for: a project is not quiet because it is not logged.
            share.bucket.level -= cost;
        }
        if admits {
            self.all.level -= cost;
        } else {
            share.dropped.lines += 1;
            share.dropped.bytes += bytes;
        }
        admits
    }

    /// What was dropped of each project since it was reported last.
    pub(super) fn report(&mut self) -> Vec<(ProjectName, Volume)> {
        let shares = self.projects.iter_mut().filter(|(_, share)| share.dropped != share.reported);
        let news = shares.map(|(project, share)| {
            let Volume { lines, bytes } = share.reported;
            share.reported = share.dropped;
            let since = Volume { lines: share.dropped.lines - lines, bytes: share.dropped.bytes - bytes };
            (project.clone(), since)
        });
        news.collect()
    }

    /// What was dropped of each project, if anything was.
    pub(super) fn dropped(&self) -> Vec<(ProjectName, Volume)> {
        let shares = self.projects.iter().filter(|(_, share)| share.dropped.lines > 0);
        shares.map(|(project, share)| (project.clone(), share.dropped)).collect()
    }

    /// The project is gone.
    pub(super) fn forget(&mut self, project: &ProjectName) {
        self.projects.remove(project);
    }
}

impl Bucket {
    fn new(capacity: u64, now: Instant) -> Self {
        Self { capacity, level: capacity, filled: now }
    }

    /// Returns what is in it.
    fn fill(&mut self, now: Instant) -> u64 {
        let micros = now.saturating_duration_since(self.filled).as_micros();
        let more = u64::try_from(u128::from(self.capacity) * micros / 60_000_000).unwrap_or(u64::MAX);
        if more > 0 {
            self.level = self.level.saturating_add(more).min(self.capacity);
            self.filled = now;
        }
        self.level
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMIT: u64 = 60_000;
    /// With what a record has besides, 1000.
    const LINE: usize = 744;

    struct Scene {
        throttle: Throttle,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let now = Instant::now();
            Self { throttle: Throttle::new(LIMIT, now), now }
        }

        /// How many lines of so many are admitted.
        fn print(&mut self, project: &str, lines: usize) -> usize {
            let project = ProjectName::parse(project).unwrap();
            (0..lines).filter(|_| self.throttle.admits(&project, LINE, self.now)).count()
        }

        fn pass(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }
    }

    #[test]
    fn a_project_logs_a_burst_and_then_so_much_a_minute() {
        let mut scene = Scene::new();
        assert_eq!(scene.print("a", 100), 60);
        assert_eq!(scene.print("a", 100), 0);
        scene.pass(10);
        assert_eq!(scene.print("a", 100), 10);
        scene.pass(3600);
        assert_eq!(scene.print("a", 100), 60, "no more than a minute's worth at once");
    }

    #[test]
    fn what_is_dropped_is_counted_and_reported_once() {
        let mut scene = Scene::new();
        scene.print("quiet", 1);
        scene.print("a", 70);
        let project = ProjectName::parse("a").unwrap();
        let dropped = |lines| vec![(project.clone(), Volume { lines, bytes: lines * LINE as u64 })];
        assert_eq!(scene.throttle.report(), dropped(10));
        assert_eq!(scene.throttle.report(), []);
        scene.print("a", 5);
        assert_eq!(scene.throttle.report(), dropped(5));
        assert_eq!(scene.throttle.dropped(), dropped(15));
        scene.throttle.forget(&project);
        assert_eq!(scene.throttle.dropped(), []);
    }

    #[test]
    fn all_together_are_bounded_and_the_quiet_are_heard_beside_the_noisy() {
        let mut scene = Scene::new();
        let noisy: Vec<_> = (0..20).map(|n| format!("noisy-{n}")).collect();
        let all = (SHARES * LIMIT / 1000) as usize;
        let flood = |scene: &mut Scene| noisy.iter().map(|name| scene.print(name, 100)).sum::<usize>();
        assert_eq!(flood(&mut scene), all);
        let mut logged = 0;
        for _ in 0..600 {
            scene.pass(1);
            logged += flood(&mut scene);
            assert_eq!(scene.print("quiet", 1), 1);
        }
        assert!((5 * all..10 * all).contains(&logged), "{logged} in ten minutes");
    }
}
