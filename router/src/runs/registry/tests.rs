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
    admit_step(registry, run, 0, of, attempt)
}

/// Attempt [`WAITS`] is that of a run that waits for its step.
fn admit_step(
    registry: &mut Registry<u32>,
    run: RunId,
    depth: u32,
    of: &str,
    attempt: u32,
) -> Result<Admitted<u32>, NotAdmitted> {
    let (accepted, project) = (accepted(run, attempt), &project(of));
    registry.admit(Candidate { accepted, project, depth, project_most: 2 }, || attempt)
}

const WAITS: u32 = 9;

impl Handle for u32 {
    fn waits_for_run(&self) -> bool {
        *self == WAITS
    }
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
fn a_run_that_waits_for_its_step_leaves_its_slot_to_steps_alone() {
    let mut registry = Registry::new(2);
    let full = Err(NotAdmitted::Router { most: 2 });
    for of in ["blog", "shop"] {
        admit(&mut registry, RunId::new_now(), WAITS, of).unwrap();
    }
    assert_eq!(admit(&mut registry, RunId::new_now(), 1, "wiki"), full);
    for depth in 1..=4 {
        for of in ["blog", "shop"] {
            admit_step(&mut registry, RunId::new_now(), depth, of, WAITS).unwrap();
        }
        assert_eq!(admit_step(&mut registry, RunId::new_now(), depth, "wiki", 1), full, "{depth}");
    }
    // Two that compute fill the router also for steps.
    for _ in 0..2 {
        admit_step(&mut registry, RunId::new_now(), 5, "blog", 1).unwrap();
    }
    assert_eq!(admit_step(&mut registry, RunId::new_now(), 6, "shop", 1), full);
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
        let restored = order.map(|attempt| registry.restore(accepted(run, attempt), project("blog"), NOW, 1));
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
