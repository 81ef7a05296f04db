//! Failures: what is shown, what is tried again and when. Whatever is live stays.

use super::*;

fn poll_after(effects: &[Effect]) -> Duration {
    match effects.last() {
        Some(Effect::Arm(Timer::Poll, time)) => *time,
        other => panic!("{other:?}"),
    }
}

fn bad(detail: &str) -> Event {
    Event::Deployed(DeployOutcome::Failed(detail.into()))
}

#[test]
fn a_failed_commit_is_not_tried_again_by_a_poll() {
    let mut machine = live("1");
    let effects = play(&mut machine, [DUE, shown("2"), tree("a", "", "b"), bad("main.ts:1")]);
    let reported = Fault { kind: ProblemKind::Failed, detail: "main.ts:1".into() };
    let emitted = Effect::Emit(SourceEvent::Failed { commit: "2", fault: reported });
    assert_eq!(effects, [emitted, POLL]);
    assert_eq!(machine.applied(), Some(&"1"));
    assert_eq!(play(&mut machine, [DUE, shown("2")]), [POLL]);
    assert_eq!(play(&mut machine, [hinted("2"), shown("2")]), [POLL], "a webhook that comes twice");
}

#[test]
fn a_failed_commit_is_tried_again_for_a_request_and_for_new_settings() {
    for reason in [request(1), Event::Configured(settings())] {
        let mut machine = live("1");
        play(&mut machine, [DUE, shown("2"), tree("a", "", "b"), bad("no")]);
        assert_eq!(play(&mut machine, [reason, shown("2")]), [read("2")]);
    }
}

#[test]
fn the_commit_after_a_failed_one_is_read_against_what_is_applied() {
    let mut machine = live("1");
    play(&mut machine, [DUE, shown("2"), tree("a", "", "b"), bad("no"), hinted("3"), shown("3")]);
    assert_eq!(machine.applied(), Some(&"1"), "the read is against this");
    play(&mut machine, [tree("a b", "", ""), LIVE]);
    assert_eq!((machine.applied(), machine.problem()), (Some(&"3"), None));
}

#[test]
fn a_ref_that_is_put_back_ends_the_failure() {
    let mut machine = live("1");
    play(&mut machine, [DUE, shown("2"), Event::Read(Err(fault(ProblemKind::Invalid))), DUE, shown("1")]);
    assert_eq!(machine.problem(), None);
}

#[test]
fn a_commit_of_an_overridden_project_is_tried_again_at_the_pace_of_the_poll_and_when_that_ends() {
    let mut machine = live("1");
    let overridden = || Event::Deployed(DeployOutcome::Overridden("source dev shop --disable".into()));
    play(&mut machine, [DUE, shown("2")]);
    for _ in 0..4 {
        let effects = play(&mut machine, [tree("a", "", "b"), overridden()]);
        assert!(effects.contains(&Effect::Arm(Timer::Retry, Duration::from_secs(30))), "{effects:?}");
        assert_eq!(machine.problem().map(|problem| problem.kind), Some(ProblemKind::Overridden));
        assert_eq!(play(&mut machine, [DUE, shown("2")]), [POLL], "a poll alone reads nothing");
        assert_eq!(play(&mut machine, [Event::Due(Timer::Retry), shown("2")]), [read("2")]);
    }
    play(&mut machine, [tree("a", "", "b"), LIVE]);
    assert_eq!((machine.applied(), machine.problem()), (Some(&"2"), None));
}

#[test]
fn a_proof_that_an_override_keeps_from_being_built_is_no_faster() {
    let mut machine = live("1");
    let effects = play(&mut machine, [DUE, shown("2"), Event::Read(Err(fault(ProblemKind::Overridden)))]);
    assert!(effects.contains(&Effect::Arm(Timer::Retry, Duration::from_secs(30))), "{effects:?}");
}

#[test]
fn a_silent_router_is_tried_again_by_back_off() {
    let mut machine = live("1");
    play(&mut machine, [DUE, shown("2")]);
    for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
        let silent = Event::Deployed(DeployOutcome::Unreachable("1 of 2".into()));
        let effects = play(&mut machine, [tree("a", "", "b"), silent]);
        assert!(effects.contains(&Effect::Arm(Timer::Retry, Duration::from_secs(seconds))), "{effects:?}");
        assert_eq!(play(&mut machine, [DUE, shown("2")]), [POLL], "not by a poll");
        assert_eq!(play(&mut machine, [Event::Due(Timer::Retry), shown("2")]), [read("2")]);
    }
    play(&mut machine, [tree("a", "", "b"), LIVE]);
    assert_eq!(on(&mut machine, Event::Due(Timer::Retry)), []);
}

#[test]
fn the_same_failure_is_reported_once() {
    let mut machine = live("1");
    let silent = || Event::Deployed(DeployOutcome::Refused("locked".into()));
    play(&mut machine, [DUE, shown("2"), tree("a", "", "b"), silent()]);
    let effects = play(&mut machine, [Event::Due(Timer::Retry), shown("2"), tree("a", "", "b"), silent()]);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Emit(_))), "{effects:?}");
}

#[test]
fn a_server_that_does_not_answer_is_reported_after_three_failures() {
    let mut machine = live("1");
    for (seconds, is_reported) in [(1, false), (2, false), (4, true), (8, false)] {
        let effects = play(&mut machine, [DUE, lost(ProblemKind::Unreachable)]);
        assert_eq!(effects.iter().any(|effect| matches!(effect, Effect::Emit(_))), is_reported);
        assert_eq!(poll_after(&effects), Duration::from_secs(seconds));
    }
    let recovered = Effect::Emit(SourceEvent::Recovered);
    assert_eq!(play(&mut machine, [DUE, shown("1")]), [recovered, POLL]);
    assert_eq!(machine.problem(), None);
}

#[test]
fn a_server_that_does_not_answer_is_reported_after_five_minutes() {
    let mut machine = live("1");
    play(&mut machine, [DUE, lost(ProblemKind::Unreachable), DUE]);
    let effects = machine.on(lost(ProblemKind::Unreachable), time(300), 0.5);
    assert!(matches!(effects[0], Effect::Emit(SourceEvent::Trouble(_))), "{effects:?}");
    assert_eq!(machine.problem().map(|problem| problem.since), Some(time(0)), "since the first");
}

#[test]
fn other_troubles_are_reported_at_once_and_once() {
    for (kind, seconds) in [
        (ProblemKind::Unauthorized, 30),
        (ProblemKind::HostKey, 30),
        (ProblemKind::BranchGone, 30),
        (ProblemKind::TooLarge, 300),
        (ProblemKind::DiskFull, 1),
    ] {
        let mut machine = live("1");
        let effects = play(&mut machine, [DUE, lost(kind)]);
        assert_eq!(effects[0], Effect::Emit(SourceEvent::Trouble(fault(kind))));
        assert_eq!(poll_after(&effects), Duration::from_secs(seconds), "{kind:?}");
        assert_eq!(machine.problem().map(|problem| problem.kind), Some(kind));
        assert_eq!(machine.applied(), Some(&"1"), "it serves on");
        assert_eq!(play(&mut machine, [DUE, lost(kind)]).len(), 1, "polling goes on");
    }
}

#[test]
fn a_request_hears_of_the_trouble() {
    let mut machine = live("1");
    let effects = play(&mut machine, [request(1), lost(ProblemKind::Unauthorized)]);
    let failed = Outcome::Failed { commit: None, fault: fault(ProblemKind::Unauthorized) };
    assert!(effects.contains(&answered(&[1], failed)));
}

#[test]
fn a_trouble_of_fetching_hides_the_failed_commit_until_it_passes() {
    let mut machine = live("1");
    play(&mut machine, [DUE, shown("2"), tree("a", "", "b"), bad("no"), DUE, lost(ProblemKind::HostKey)]);
    assert_eq!(machine.problem().map(|problem| problem.kind), Some(ProblemKind::HostKey));
    play(&mut machine, [DUE, shown("2")]);
    assert_eq!(machine.problem().map(|problem| problem.kind), Some(ProblemKind::Failed));
}

#[test]
fn a_damaged_mirror_is_repaired_and_fetched_again_once() {
    let mut machine = live("1");
    assert_eq!(play(&mut machine, [request(1), lost(ProblemKind::Damaged)]), [Effect::Repair, FETCH]);
    let effects = on(&mut machine, lost(ProblemKind::Damaged));
    assert_eq!(effects[0], Effect::Emit(SourceEvent::Trouble(fault(ProblemKind::Damaged))));
    assert_eq!(machine.work(), WorkKind::Idle);
}

#[test]
fn damage_that_a_read_finds_is_repaired_too() {
    let mut machine = live("1");
    let damaged = || Event::Read(Err(fault(ProblemKind::Damaged)));
    assert_eq!(play(&mut machine, [DUE, shown("2"), damaged()]), [Effect::Repair, FETCH]);
    assert_eq!(on(&mut machine, shown("2")), [read("2")]);
    let effects = on(&mut machine, damaged());
    assert!(effects.contains(&Effect::Arm(Timer::Retry, Duration::from_secs(1))), "{effects:?}");
}

#[test]
fn a_commit_whose_project_another_source_had_is_tried_again_when_that_lets_go_of_it() {
    let mut machine = live("1");
    play(&mut machine, [DUE, shown("2"), Event::Read(Err(fault(ProblemKind::Invalid)))]);
    assert!(machine.failed().is_some());
    assert_eq!(on(&mut machine, Event::Contested), [FETCH]);
    assert_eq!(on(&mut machine, shown("2")), [read("2")]);
    assert_eq!(on(&mut machine, tree("a", "", "b")), [deploy("2", "a", "")]);
    on(&mut machine, LIVE);
    assert_eq!((machine.failed(), machine.applied()), (None, Some(&"2")));
}

#[test]
fn a_question_ends_when_another_source_has_taken_the_project_over() {
    let mut machine = live("1");
    play(&mut machine, [DUE, shown("2"), tree("a", "b", "c d"), LIVE]);
    assert!(machine.asks().is_some());
    play(&mut machine, [Event::Contested, shown("2"), tree("", "", "a c d")]);
    assert_eq!((machine.asks(), machine.is_busy()), (None, false));
}
