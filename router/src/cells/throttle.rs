//! The share of the router's log that a project may fill. Pure: the time is passed in.

use std::collections::HashMap;
use std::time::Instant;

use switchyard_contract::project::ProjectName;

/// The limit of all projects together, in limits of one project.
const SHARES: u64 = 8;

/// The part of the common limit that is reserved for projects that have logged little: a quarter. A
/// few projects that print without pause leave it to the others.
const RESERVE: u64 = 4;

/// Bytes of a record besides its text: time, level, project, version, process, stream.
const RECORD: u64 = 256;

/// A number of lines, and of their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LogVolume {
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
}

/// The decision whether a line is logged.
#[derive(Debug)]
pub(super) struct Throttle {
    /// Bytes that one project may log in a minute, or at once after a quiet minute.
    limit: u64,
    all: Bucket,
    projects: HashMap<ProjectName, LogShare>,
}

#[derive(Debug)]
struct LogShare {
    bucket: Bucket,
    /// The output that was dropped since the project is known, and the part of it that was
    /// reported.
    dropped: LogVolume,
    reported: LogVolume,
}

/// A token bucket that fills up within a minute.
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

    /// Returns true if a line of `bytes` bytes may be logged.
    pub(super) fn admits(&mut self, project: &ProjectName, bytes: usize, now: Instant) -> bool {
        if !self.projects.contains_key(project) {
            let bucket = Bucket::new(self.limit, now);
            let share = LogShare { bucket, dropped: LogVolume::default(), reported: LogVolume::default() };
            self.projects.insert(project.clone(), share);
        }
        let Some(share) = self.projects.get_mut(project) else { return false };
        let bytes = bytes as u64;
        let cost = bytes + RECORD;
        let (own, all) = (share.bucket.fill(now), self.all.fill(now));
        let reserve = if own > share.bucket.capacity / 2 { 0 } else { self.all.capacity / RESERVE };
        let admits = own >= cost && all >= cost + reserve;
        if own >= cost {
            // Counted even if others leave no room: a project is not quiet because it is not
            // logged.
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

    /// The output of each project that was dropped since the last report.
    pub(super) fn report(&mut self) -> Vec<(ProjectName, LogVolume)> {
        let shares = self.projects.iter_mut().filter(|(_, share)| share.dropped != share.reported);
        let news = shares.map(|(project, share)| {
            let LogVolume { lines, bytes } = share.reported;
            share.reported = share.dropped;
            let since = LogVolume { lines: share.dropped.lines - lines, bytes: share.dropped.bytes - bytes };
            (project.clone(), since)
        });
        news.collect()
    }

    /// The output of each project that was dropped.
    pub(super) fn dropped(&self) -> Vec<(ProjectName, LogVolume)> {
        let shares = self.projects.iter().filter(|(_, share)| share.dropped.lines > 0);
        shares.map(|(project, share)| (project.clone(), share.dropped)).collect()
    }

    /// Forgets a project that is gone.
    pub(super) fn forget(&mut self, project: &ProjectName) {
        self.projects.remove(project);
    }
}

impl Bucket {
    fn new(capacity: u64, now: Instant) -> Self {
        Self { capacity, level: capacity, filled: now }
    }

    /// Adds the bytes since the last call and returns the level.
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
    /// 1000 bytes together with the rest of the record.
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

        /// The number of lines that are admitted of `lines`.
        fn print(&mut self, project: &str, lines: usize) -> usize {
            let project = ProjectName::parse(project).unwrap();
            (0..lines).filter(|_| self.throttle.admits(&project, LINE, self.now)).count()
        }

        fn pass(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }
    }

    #[test]
    fn a_project_logs_a_burst_and_then_its_share_a_minute() {
        let mut scene = Scene::new();
        assert_eq!(scene.print("a", 100), 60);
        assert_eq!(scene.print("a", 100), 0);
        scene.pass(10);
        assert_eq!(scene.print("a", 100), 10);
        scene.pass(3600);
        assert_eq!(scene.print("a", 100), 60, "no more than a minute's worth at once");
    }

    #[test]
    fn dropped_lines_are_counted_and_reported_once() {
        let mut scene = Scene::new();
        scene.print("quiet", 1);
        scene.print("a", 70);
        let project = ProjectName::parse("a").unwrap();
        let dropped = |lines| vec![(project.clone(), LogVolume { lines, bytes: lines * LINE as u64 })];
        assert_eq!(scene.throttle.report(), dropped(10));
        assert_eq!(scene.throttle.report(), []);
        scene.print("a", 5);
        assert_eq!(scene.throttle.report(), dropped(5));
        assert_eq!(scene.throttle.dropped(), dropped(15));
        scene.throttle.forget(&project);
        assert_eq!(scene.throttle.dropped(), []);
    }

    #[test]
    fn all_together_are_bounded_and_quiet_projects_are_logged_beside_noisy_ones() {
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
