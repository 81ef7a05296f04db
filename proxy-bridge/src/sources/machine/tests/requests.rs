//! Requests: who is answered, when and with what; holding and publishing.

use super::*;

fn named(commit: &'static str) -> SyncOptions<&'static str> {
    SyncOptions { commit: Some(commit), ..SyncOptions::default() }
}

fn publish(id: u64, commit: Option<&'static str>) -> Event {
    Event::Published { id: RequestId(id), commit }
}

/// A source in hold with commit 2 ready, and 1 live.
fn ready() -> Machine {
    let mut machine = live_with("1", MachineSettings { hold: true, ..settings() });
    assert_eq!(play(&mut machine, [DUE, shown("2")]), [Effect::Read { commit: "2", prove: true }]);
    let emitted = Effect::Emit(SourceEvent::Ready { commit: "2" });
    assert_eq!(on(&mut machine, tree("a", "", "b")), [emitted, POLL]);
    assert_eq!(machine.work(), WorkKind::Ready("2"));
    machine
}

#[test]
fn a_request_is_answered_when_the_commit_is_live() {
    let mut machine = live("1");
    assert_eq!(on(&mut machine, request(7)), [FETCH]);
    play(&mut machine, [shown("2"), tree("a", "", "b")]);
    let outcome = Outcome::Live { commit: "2", previous: Some("1") };
    assert_eq!(
        on(&mut machine, LIVE),
        [synced("2", Some("1")), Effect::Prune, answered(&[7], outcome), POLL]
    );
}

#[test]
fn requests_during_a_fetch_wait_for_the_next_and_are_answered_together() {
    let mut machine = live("1");
    play(&mut machine, [request(1), request(2), request(3)]);
    let unchanged = || Outcome::Unchanged { commit: "1" };
    assert_eq!(on(&mut machine, shown("1")), [answered(&[1], unchanged()), POLL, FETCH]);
    assert_eq!(on(&mut machine, shown("1")), [answered(&[2, 3], unchanged()), POLL]);
}

#[test]
fn a_request_for_another_commit_supersedes_the_one_that_waits() {
    let mut machine = live("1");
    play(&mut machine, [request(1), request(2)]);
    let effects = on(&mut machine, request_with(3, named("0")));
    assert_eq!(effects, [answered(&[2], Outcome::Superseded)]);
    assert_eq!(on(&mut machine, shown("1")).last(), Some(&Effect::Fetch { commit: Some("0") }));
}

#[test]
fn a_webhook_does_not_take_the_place_of_a_request() {
    let mut machine = live("1");
    play(&mut machine, [DUE, request_with(1, named("0")), hinted("1")]);
    assert_eq!(on(&mut machine, shown("1")).last(), Some(&Effect::Fetch { commit: Some("0") }));
}

#[test]
fn a_chosen_commit_stays_until_the_ref_moves() {
    let mut machine = live("1");
    play(&mut machine, [request_with(1, named("0")), shown("0"), tree("a", "", "b"), LIVE]);
    assert_eq!(machine.saved().chosen, Some("0"));
    assert_eq!(play(&mut machine, [DUE, shown("1")]), [POLL]);
    assert_eq!(play(&mut machine, [DUE, shown("2")]), [read("2")]);
    assert_eq!(machine.saved().chosen, None);
}

#[test]
fn a_request_for_the_ref_ends_the_choice() {
    let mut machine = live("1");
    play(&mut machine, [request_with(1, named("0")), shown("0"), tree("a", "", "b"), LIVE]);
    assert_eq!(play(&mut machine, [request(2), shown("1")]), [read("1")]);
}

#[test]
fn a_named_commit_that_is_not_there_is_no_trouble_of_the_source() {
    let mut machine = live("1");
    on(&mut machine, request_with(1, named("9")));
    let effects = on(&mut machine, lost(ProblemKind::BranchGone));
    let failed = Outcome::Failed { commit: Some("9"), fault: fault(ProblemKind::BranchGone) };
    assert_eq!(effects[0], answered(&[1], failed));
    assert_eq!(machine.problem(), None);
}

#[test]
fn force_deploys_what_has_not_changed() {
    let mut machine = live("1");
    let options = SyncOptions { force: true, ..SyncOptions::default() };
    assert_eq!(play(&mut machine, [request_with(1, options), shown("1")]), [read("1")]);
    assert_eq!(on(&mut machine, tree("", "", "a b")), [deploy("1", "a b", "")]);
}

#[test]
fn too_many_requests_are_refused() {
    let mut machine = live("1");
    on(&mut machine, request(0));
    for id in 1..=MAX_WAITING as u64 {
        assert_eq!(on(&mut machine, request(id)), []);
    }
    assert_eq!(on(&mut machine, request(9999)), [answered(&[9999], Outcome::Busy)]);
}

#[test]
fn a_held_commit_goes_live_when_it_is_published() {
    let mut machine = ready();
    assert_eq!(play(&mut machine, [DUE, shown("2")]), [POLL], "not proven again");
    assert_eq!(on(&mut machine, publish(1, None)), [deploy("2", "a", "")]);
    assert!(
        on(&mut machine, LIVE).contains(&answered(&[1], Outcome::Live { commit: "2", previous: Some("1") }))
    );
    assert_eq!(machine.work(), WorkKind::Idle);
}

#[test]
fn a_request_in_hold_is_answered_with_ready() {
    let mut machine = ready();
    let effects = play(&mut machine, [request(1), shown("2")]);
    assert_eq!(effects, [answered(&[1], Outcome::Ready { commit: "2" }), POLL]);
}

#[test]
fn a_newer_commit_takes_the_place_of_the_held_one() {
    let mut machine = ready();
    play(&mut machine, [DUE, shown("3"), tree("a b", "", "")]);
    assert_eq!(on(&mut machine, publish(1, None)), [deploy("3", "a b", "")]);
}

#[test]
fn what_is_published_is_the_commit_that_was_ready_at_that_moment() {
    let mut machine = ready();
    play(&mut machine, [DUE, shown("3"), publish(1, None)]);
    let effects = on(&mut machine, tree("a b", "", ""));
    assert_eq!(effects.last(), Some(&Effect::Fetch { commit: Some("2") }));
    assert_eq!(on(&mut machine, shown("2")), [read("2")], "and not held");
    play(&mut machine, [tree("a", "", "b"), LIVE]);
    assert_eq!(play(&mut machine, [DUE, shown("3")]), [Effect::Read { commit: "3", prove: true }]);
}

#[test]
fn a_held_commit_that_fails_to_be_published_stays_ready() {
    let mut machine = ready();
    play(&mut machine, [publish(1, None), Event::Deployed(DeployOutcome::Unreachable("1 of 2".into()))]);
    assert_eq!(machine.work(), WorkKind::Ready("2"));
    assert_eq!(on(&mut machine, publish(2, None)), [deploy("2", "a", "")]);
}

#[test]
fn nothing_ready_and_a_freeze_are_told() {
    let mut machine = live_with("1", MachineSettings { hold: true, ..settings() });
    assert_eq!(on(&mut machine, publish(1, None)), [answered(&[1], Outcome::NothingToDo)]);
    let mut machine = ready();
    on(&mut machine, Event::Frozen("release".into()));
    assert_eq!(on(&mut machine, publish(1, None)), [answered(&[1], Outcome::Frozen("release".into()))]);
}

#[test]
fn a_ref_that_went_back_to_what_is_live_ends_the_hold() {
    let mut machine = ready();
    play(&mut machine, [DUE, shown("1")]);
    assert_eq!(machine.ready(), None);
}
