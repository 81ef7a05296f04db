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

/// The handle to a run under way.
pub(super) trait Handle: Clone {
    /// Returns true if the run waits for a step that is a run of its own.
    fn waits_for_run(&self) -> bool;
}

/// A run that is to be admitted.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    pub(super) accepted: RunAccepted,
    pub(super) project: &'a ProjectName,
    /// Runs above it, if it is a step.
    pub(super) depth: u32,
    /// Runs of the project at once.
    pub(super) project_most: u32,
}

/// A known run.
#[derive(Debug, Clone)]
pub(super) struct Registered<A> {
    pub(super) accepted: RunAccepted,
    pub(super) project: ProjectName,
    /// Runs above it, if it is a step.
    depth: u32,
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

impl<A: Handle> Registry<A> {
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
            self.runs.insert(run, Registered { accepted, project, depth: 0, phase });
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

    /// Admits a run, if the router and the project have room for it.
    ///
    /// # Errors
    /// A limit is reached, or another attempt of it is known.
    pub(super) fn admit(
        &mut self,
        candidate: Candidate<'_>,
        make: impl FnOnce() -> A,
    ) -> Result<Admitted<A>, NotAdmitted> {
        let Candidate { accepted, project, depth, project_most } = candidate;
        if let Some(known) = self.known(accepted.run, accepted.attempt)? {
            return Ok(Admitted::Known(known));
        }
        if !self.has_room(self.most, depth, |_| true) {
            return Err(NotAdmitted::Router { most: self.most });
        }
        if !self.has_room(project_most, depth, |run| run.project == *project) {
            return Err(NotAdmitted::Project { project: project.clone(), most: project_most });
        }
        let handle = make();
        let (run, phase) = (accepted.run, Phase::Active(handle.clone()));
        let replaced = self.runs.insert(run, Registered { accepted, project: project.clone(), depth, phase });
        Ok(Admitted::New { handle, replaces: replaced.map(|replaced| replaced.accepted.attempt) })
    }

    /// Returns true if another run of this depth may begin beside those that are `counted`. A run that
    /// waits for its step leaves its slot to steps, or they would wait for each other. The number of
    /// processes is bounded, as there are at most `most` runs of each depth.
    fn has_room(&self, most: u32, depth: u32, counted: impl Fn(&Registered<A>) -> bool) -> bool {
        let (mut all, mut waiting, mut as_deep) = (0, 0, 0);
        for run in self.runs.values().filter(|run| counted(run)) {
            let Phase::Active(handle) = &run.phase else { continue };
            all += 1;
            waiting += usize::from(handle.waits_for_run());
            as_deep += usize::from(run.depth == depth);
        }
        let most = count(most);
        if depth == 0 { all < most } else { all - waiting < most && as_deep < most }
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
mod tests;
