//! Properties that hold for any order of events.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const COMMITS: [&str; 4] = ["1", "2", "3", "4"];

/// An event from outside, or the end of the work under way with one of its results.
#[derive(Debug, Clone)]
enum Step {
    Outside(Event),
    End(usize, bool, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let commit = || prop::sample::select(&COMMITS[..]);
    let options = (prop::option::of(commit()), any::<bool>(), any::<bool>())
        .prop_map(|(commit, allow_empty, force)| SyncOptions { commit, allow_empty, force });
    let step = prop_oneof![
        6 => (0..10_usize, any::<bool>(), 0..4_usize).prop_map(|(n, whole, c)| Step::End(n, whole, c)),
        1 => prop::sample::select(vec![Timer::Poll, Timer::Hint, Timer::Retry])
            .prop_map(|timer| Step::Outside(Event::Due(timer))),
        1 => prop::option::of(commit()).prop_map(|after| Step::Outside(Event::Hinted { after })),
        2 => options.prop_map(|options| Step::Outside(request_with(0, options))),
        1 => Just(Step::Outside(Event::Approved { id: RequestId(0) })),
        1 => prop::option::of(commit())
            .prop_map(|commit| Step::Outside(Event::Published { id: RequestId(0), commit })),
        1 => prop::sample::select(vec![
            Event::Frozen("release".into()),
            Event::Unfrozen,
            Event::Unfrozen,
            Event::WindowClosed { until: time(9) },
            Event::WindowOpened,
            Event::WindowOpened,
            Event::Drifted,
            Event::Drifted,
        ]).prop_map(Step::Outside),
        1 => (any::<bool>(), 0..3_usize).prop_map(|(hold, n)| {
            let removed = [RemovedProjects::Ask, RemovedProjects::Remove, RemovedProjects::Keep][n];
            Step::Outside(Event::Configured(MachineSettings { hold, removed, ..settings() }))
        }),
    ];
    prop::collection::vec(step, 1..120)
}

/// The world around the machine: the work that it has begun, and who waits.
struct World {
    machine: Machine,
    work: Option<Effect>,
    waiting: BTreeSet<u64>,
    last_id: u64,
    /// The projects that a whole tree did not have.
    removable: BTreeSet<ProjectName>,
}

impl World {
    fn on(&mut self, mut event: Event) {
        if let Event::Requested { id, .. } | Event::Approved { id } | Event::Published { id, .. } = &mut event
        {
            self.last_id += 1;
            *id = RequestId(self.last_id);
            self.waiting.insert(self.last_id);
        }
        let is_live = event == LIVE;
        let before = self.machine.applied().copied();
        let frozen = self.machine.frozen().is_some();
        for effect in self.machine.on(event, time(self.last_id as i64), 0.3) {
            match effect {
                Effect::Fetch { .. } | Effect::Read { .. } | Effect::Deploy { .. } => {
                    assert!(self.work.is_none(), "{effect:?} while {:?}", self.work);
                    if let Effect::Deploy { set, .. } = &effect {
                        assert!(set.removal.iter().all(|project| self.removable.contains(project)));
                        assert!(!frozen, "a deploy of a frozen source");
                    }
                    self.work = Some(effect);
                }
                Effect::Answer(ids, _) => {
                    assert!(!ids.is_empty());
                    for id in ids {
                        assert!(self.waiting.remove(&id.0), "{id:?} is answered twice");
                    }
                }
                _ => {}
            }
        }
        assert!(is_live || self.machine.applied().copied() == before, "applied without a deploy");
        assert_eq!(self.machine.is_busy(), self.work.is_some());
    }

    fn end(&mut self, n: usize, is_whole: bool, commit: usize) {
        let kinds = [
            ProblemKind::Unreachable,
            ProblemKind::Damaged,
            ProblemKind::BranchGone,
            ProblemKind::Invalid,
            ProblemKind::DiskFull,
        ];
        let event = match self.work.take() {
            None => return,
            Some(Effect::Fetch { commit: named }) => match kinds.get(n) {
                Some(kind) => lost(*kind),
                None => shown(named.unwrap_or(COMMITS[commit])),
            },
            Some(Effect::Read { .. }) => match kinds.get(n) {
                Some(kind) => Event::Read(Err(fault(*kind))),
                None => {
                    let removed = names(["", "c", "c d", "a b c d"][commit]);
                    if is_whole {
                        self.removable.extend(removed.iter().cloned());
                    }
                    let (changed, unchanged) = (names("a"), names("b e"));
                    Event::Read(Ok(Changes { is_whole, added: Vec::new(), changed, removed, unchanged }))
                }
            },
            Some(_) => Event::Deployed(match n {
                0 => DeployOutcome::Failed("no".into()),
                1 => DeployOutcome::Superseded("other".into()),
                2 => DeployOutcome::Unreachable("1 of 2".into()),
                3 => DeployOutcome::Refused("locked".into()),
                _ => DeployOutcome::Live,
            }),
        };
        self.on(event);
    }
}

proptest! {
    #[test]
    fn one_work_at_a_time_one_answer_each_and_nothing_goes_unread(steps in steps()) {
        let machine = Machine::new(settings(), SavedState::default());
        let mut world =
            World { machine, work: None, waiting: BTreeSet::new(), last_id: 0, removable: BTreeSet::new() };
        for step in steps {
            match step {
                Step::Outside(event) => world.on(event),
                Step::End(n, is_whole, commit) => world.end(n, is_whole, commit),
            }
        }
        // Whatever came before: when each work ends well, the machine comes to rest, everybody has
        // an answer, and the newest commit is live.
        for event in [Event::Unfrozen, Event::WindowOpened, Event::Configured(settings())] {
            world.on(event);
        }
        for _ in 0..30 {
            world.end(9, true, 0);
        }
        prop_assert!(world.work.is_none(), "it does not come to rest");
        prop_assert!(world.waiting.is_empty(), "{:?} wait", world.waiting);
        world.on(request(0));
        for _ in 0..10 {
            world.end(9, true, 0);
        }
        prop_assert_eq!(world.machine.applied(), Some(&"1"));
        prop_assert_eq!(world.machine.problem(), None);
    }
}
