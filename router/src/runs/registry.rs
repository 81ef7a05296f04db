//! The runs that the router knows: admission within its limits, and the ends that wait to be
//! acknowledged. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use switchyard_contract::admin::{KnownRun, RunAccepted};
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::RunId;

use super::RunRefusal;

/// Ends that wait to be acknowledged: a bridge fetches them within moments, and after its absence
/// all at once.
const ENDS: usize = 1_000;

/// Bytes of their files.
const END_BYTES: u64 = 1 << 30;

/// Time after which nobody will ask for an end any more.
const END_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// All known runs. `A`: the handle to a run under way.
#[derive(Debug)]
pub(super) struct Registry<A> {
    /// Runs at once, of all projects.
    most: u32,
    runs: BTreeMap<RunId, Registered<A>>,
}

/// A known run.
#[derive(Debug, Clone)]
pub(super) struct Registered<A> {
    pub(super) accepted: RunAccepted,
    pub(super) project: ProjectName,
    pub(super) phase: Phase<A>,
}

/// The part of its life that a run is in.
#[derive(Debug, Clone)]
pub(super) enum Phase<A> {
    Active(A),
    Ended {
        at: Timestamp,
        /// Bytes of its file.
        bytes: u64,
        /// The handle, if the file could not be written.
        unsaved: Option<A>,
    },
}

/// The outcome of an admission.
#[derive(Debug, PartialEq)]
pub(super) enum Admitted<A> {
    New {
        handle: A,
        /// An earlier attempt, which has ended: its end is dropped.
        replaces: Option<u32>,
    },
    /// The same attempt was admitted before.
    Known(RunAccepted),
}

/// The reason why a run is not admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAdmitted {
    #[error("{most} runs are under way, which is the router's limit (--max-runs): try again later")]
    Router { most: u32 },
    #[error("{most} runs of {project} are under way, which is its limit (limits.runs): try again later")]
    Project { project: ProjectName, most: u32 },
    #[error("attempt {known} of this run is under way or has ended: send a later one")]
    Attempt { known: u32 },
}

impl<A: Clone> Registry<A> {
    pub(super) fn new(most: u32) -> Self {
        Self { most, runs: BTreeMap::new() }
    }

    pub(super) fn most(&self) -> u32 {
        self.most
    }

    /// Adds an attempt of a run that an earlier process has ended. Returns the attempt whose end is
    /// dropped, if there are two: the earlier one.
    pub(super) fn restore(
        &mut self,
        accepted: RunAccepted,
        project: ProjectName,
        at: Timestamp,
        bytes: u64,
    ) -> Option<u32> {
        let (run, attempt) = (accepted.run, accepted.attempt);
        let known = self.runs.get(&run).map(|known| known.accepted.attempt);
        if known.is_none_or(|known| known < attempt) {
            let phase = Phase::Ended { at, bytes, unsaved: None };
            self.runs.insert(run, Registered { accepted, project, phase });
        }
        known.map(|known| known.min(attempt))
    }

    /// The acceptance of this attempt, if it was admitted before.
    ///
    /// # Errors
    /// A later attempt was admitted, or another one is under way.
    pub(super) fn known(&self, run: RunId, attempt: u32) -> Result<Option<RunAccepted>, NotAdmitted> {
        let Some(known) = self.runs.get(&run) else { return Ok(None) };
        let at = known.accepted.attempt;
        if at == attempt {
            return Ok(Some(known.accepted.clone()));
        }
        let is_active = matches!(known.phase, Phase::Active(_));
        if attempt < at || is_active { Err(NotAdmitted::Attempt { known: at }) } else { Ok(None) }
    }

    /// Admits a run of a project that may have `project_most` at once.
    ///
    /// # Errors
    /// A limit is reached, or another attempt of it is known.
    pub(super) fn admit(
        &mut self,
        accepted: RunAccepted,
        project: &ProjectName,
        project_most: u32,
        make: impl FnOnce() -> A,
    ) -> Result<Admitted<A>, NotAdmitted> {
        if let Some(known) = self.known(accepted.run, accepted.attempt)? {
            return Ok(Admitted::Known(known));
        }
        let active = || self.runs.values().filter(|run| matches!(run.phase, Phase::Active(_)));
        if active().count() >= count(self.most) {
            return Err(NotAdmitted::Router { most: self.most });
        }
        if active().filter(|run| run.project == *project).count() >= count(project_most) {
            return Err(NotAdmitted::Project { project: project.clone(), most: project_most });
        }
        let handle = make();
        let (run, phase) = (accepted.run, Phase::Active(handle.clone()));
        let replaced = self.runs.insert(run, Registered { accepted, project: project.clone(), phase });
        Ok(Admitted::New { handle, replaces: replaced.map(|replaced| replaced.accepted.attempt) })
    }

    /// Notes the end of a run.
    pub(super) fn end(&mut self, run: RunId, at: Timestamp, bytes: u64, is_saved: bool) {
        if let Some(known) = self.runs.get_mut(&run)
            && let Phase::Active(handle) = &known.phase
        {
            let unsaved = (!is_saved).then(|| handle.clone());
            known.phase = Phase::Ended { at, bytes, unsaved };
        }
    }

    /// Drops ends that are too many, too large together, or too old. Returns their runs and attempts.
    pub(super) fn prune(&mut self, now: Timestamp) -> Vec<(RunId, u32)> {
        let ended = self.runs.iter().filter_map(|(run, known)| match known.phase {
            Phase::Ended { at, bytes, .. } => Some((at, *run, known.accepted.attempt, bytes)),
            Phase::Active(_) => None,
        });
        let mut ended: Vec<_> = ended.collect();
        ended.sort_unstable_by(|one, other| other.cmp(one));
        let mut total = 0;
        let mut pruned = Vec::new();
        for (place, (at, run, attempt, bytes)) in ended.into_iter().enumerate() {
            total += bytes;
            let is_old = now.duration_since(at).unsigned_abs() > END_AGE && at < now;
            if place >= ENDS || total > END_BYTES || is_old {
                self.runs.remove(&run);
                pruned.push((run, attempt));
            }
        }
        pruned
    }

    pub(super) fn get(&self, run: RunId) -> Option<&Registered<A>> {
        self.runs.get(&run)
    }

    /// Drops an attempt of a run that has ended.
    ///
    /// # Errors
    /// The run is unknown or under way, or another attempt of it is known.
    pub(super) fn acknowledge(&mut self, run: RunId, attempt: u32) -> Result<(), RunRefusal> {
        let known = self.runs.get(&run).ok_or(RunRefusal::UnknownRun(run))?;
        known.check_attempt(attempt)?;
        if matches!(known.phase, Phase::Active(_)) {
            return Err(RunRefusal::UnderWay);
        }
        self.runs.remove(&run);
        Ok(())
    }

    /// The handles of all runs under way.
    pub(super) fn active(&self) -> Vec<A> {
        let handle = |run: &Registered<A>| match &run.phase {
            Phase::Active(handle) => Some(handle.clone()),
            Phase::Ended { .. } => None,
        };
        self.runs.values().filter_map(handle).collect()
    }

    /// All runs, by id.
    pub(super) fn list(&self) -> Vec<KnownRun> {
        let known = self.runs.values().map(|run| KnownRun {
            run: run.accepted.run,
            attempt: run.accepted.attempt,
            project: run.project.clone(),
            version: run.accepted.version.clone(),
            ended: matches!(run.phase, Phase::Ended { .. }),
        });
        known.collect()
    }
}

impl<A> Registered<A> {
    /// Refuses a message about another attempt.
    pub(super) fn check_attempt(&self, named: u32) -> Result<(), RunRefusal> {
        let known = self.accepted.attempt;
        if known == named { Ok(()) } else { Err(RunRefusal::OtherAttempt { known, named }) }
    }
}

fn count(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use switchyard_contract::digest::Digest;
    use switchyard_contract::run::RunVersion;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn project(name: &str) -> ProjectName {
        ProjectName::parse(name).unwrap()
    }

    fn accepted(run: RunId, attempt: u32) -> RunAccepted {
        let digest = Digest::from([1; 32]);
        let version = RunVersion { name: "blog@01".into(), digest, spec: "s".into(), commit: None };
        RunAccepted { run, attempt, version, router: "r".into() }
    }

    fn admit(
        registry: &mut Registry<u32>,
        run: RunId,
        attempt: u32,
        of: &str,
    ) -> Result<Admitted<u32>, NotAdmitted> {
        registry.admit(accepted(run, attempt), &project(of), 2, || attempt)
    }

    fn new(handle: u32) -> Result<Admitted<u32>, NotAdmitted> {
        Ok(Admitted::New { handle, replaces: None })
    }

    #[test]
    fn the_same_attempt_again_is_the_same_run() {
        let (mut registry, run) = (Registry::new(4), RunId::new_now());
        assert_eq!(admit(&mut registry, run, 1, "blog"), new(1));
        assert_eq!(admit(&mut registry, run, 1, "blog"), Ok(Admitted::Known(accepted(run, 1))));
        assert_eq!(admit(&mut registry, run, 2, "blog"), Err(NotAdmitted::Attempt { known: 1 }));
        registry.end(run, NOW, 10, true);
        assert_eq!(registry.known(run, 1), Ok(Some(accepted(run, 1))));
        assert_eq!(admit(&mut registry, run, 2, "blog"), Ok(Admitted::New { handle: 2, replaces: Some(1) }));
        assert_eq!(admit(&mut registry, run, 1, "blog"), Err(NotAdmitted::Attempt { known: 2 }));
    }

    #[test]
    fn runs_at_once_are_limited_for_the_router_and_for_a_project() {
        let mut registry = Registry::new(3);
        let ids: Vec<_> = (0..4).map(|_| RunId::new_now()).collect();
        assert_eq!(admit(&mut registry, ids[0], 1, "blog"), new(1));
        assert_eq!(admit(&mut registry, ids[1], 1, "blog"), new(1));
        let full = NotAdmitted::Project { project: project("blog"), most: 2 };
        assert_eq!(admit(&mut registry, ids[2], 1, "blog"), Err(full));
        assert_eq!(admit(&mut registry, ids[2], 1, "shop"), new(1));
        assert_eq!(admit(&mut registry, ids[3], 1, "shop"), Err(NotAdmitted::Router { most: 3 }));
        registry.end(ids[0], NOW, 1, true);
        assert_eq!(admit(&mut registry, ids[3], 1, "blog"), new(1));
    }

    #[test]
    fn an_end_is_kept_until_it_is_acknowledged() {
        let (mut registry, run) = (Registry::new(3), RunId::new_now());
        admit(&mut registry, run, 1, "blog").unwrap();
        assert!(matches!(registry.acknowledge(run, 1), Err(RunRefusal::UnderWay)));
        registry.end(run, NOW, 1, false);
        assert!(matches!(registry.get(run).unwrap().phase, Phase::Ended { unsaved: Some(1), .. }));
        assert!(registry.list()[0].ended && registry.active().is_empty());
        registry.acknowledge(run, 1).unwrap();
        assert!(registry.list().is_empty());
        assert!(matches!(registry.acknowledge(run, 1), Err(RunRefusal::UnknownRun(_))));
    }

    #[test]
    fn a_late_acknowledgement_of_one_attempt_leaves_the_end_of_the_next_one() {
        let (mut registry, run) = (Registry::new(3), RunId::new_now());
        for attempt in [1, 2] {
            admit(&mut registry, run, attempt, "blog").unwrap();
            registry.end(run, NOW, 1, true);
        }
        let refused = registry.acknowledge(run, 1);
        assert!(matches!(refused, Err(RunRefusal::OtherAttempt { known: 2, named: 1 })), "{refused:?}");
        assert!(registry.list()[0].ended);
        registry.acknowledge(run, 2).unwrap();
    }

    #[test]
    fn of_two_attempts_that_an_earlier_process_has_left_the_later_one_is_kept() {
        let run = RunId::new_now();
        for order in [[1, 2], [2, 1]] {
            let mut registry = Registry::<u32>::new(3);
            let restored =
                order.map(|attempt| registry.restore(accepted(run, attempt), project("blog"), NOW, 1));
            assert_eq!(restored, [None, Some(1)]);
            assert_eq!(registry.get(run).unwrap().accepted.attempt, 2);
        }
    }

    #[test]
    fn ends_are_bounded_in_number_size_and_age() {
        let mut registry = Registry::<u32>::new(3);
        let ids: Vec<_> = (0..ENDS + 2).map(|_| RunId::new_now()).collect();
        let at = |n: usize| NOW + Duration::from_secs(n as u64);
        for (n, run) in ids.iter().enumerate() {
            registry.restore(accepted(*run, 1), project("blog"), at(n), 1);
        }
        assert_eq!(registry.prune(at(ENDS)), [(ids[1], 1), (ids[0], 1)], "the oldest go");
        registry.restore(accepted(ids[0], 1), project("blog"), at(2 * ENDS), END_BYTES);
        assert_eq!(registry.prune(at(ENDS)).len(), ENDS);
        assert_eq!(registry.prune(at(2 * ENDS) + END_AGE + Duration::from_secs(1)), [(ids[0], 1)]);
    }
}
