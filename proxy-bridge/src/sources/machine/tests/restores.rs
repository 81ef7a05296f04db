//! Drift: what is applied is put back, whatever becomes of the ref's newest commit.

use super::*;

const FETCH_APPLIED: Effect = Effect::Fetch { commit: Some("1") };

fn in_hold() -> MachineSettings {
    MachineSettings { hold: true, ..settings() }
}

#[test]
fn a_drifted_project_is_put_back() {
    let mut machine = live("1");
    assert_eq!(on(&mut machine, Event::Drifted), [FETCH_APPLIED]);
    assert_eq!(on(&mut machine, shown("1")), [read("1")]);
    assert_eq!(on(&mut machine, tree("a", "", "b")), [deploy("1", "a", "")]);
    assert_eq!(on(&mut machine, LIVE).first(), Some(&synced("1", Some("1"))));
    assert_eq!((machine.applied(), machine.saved().chosen), (Some(&"1"), None));
}

#[test]
fn a_source_in_hold_puts_back_what_is_applied_and_keeps_the_commit_that_waits() {
    let mut machine = live_with("1", in_hold());
    play(&mut machine, [DUE, shown("2"), tree("a", "", "b")]);
    assert_eq!(play(&mut machine, [Event::Drifted, shown("1")]), [read("1")], "without a proof");
    assert_eq!(on(&mut machine, tree("b", "", "a")), [deploy("1", "b", "")]);
    on(&mut machine, LIVE);
    assert_eq!((machine.applied(), machine.work()), (Some(&"1"), WorkKind::Ready("2")));
}

#[test]
fn a_broken_newest_commit_does_not_keep_drift_from_being_put_back() {
    let mut machine = live("1");
    let failed = Event::Deployed(DeployOutcome::Failed("no".into()));
    play(&mut machine, [DUE, shown("2"), tree("a", "", "b"), failed]);
    play(&mut machine, [Event::Drifted, shown("1"), tree("b", "", "a"), LIVE]);
    assert_eq!(machine.failed().map(|failed| failed.commit), Some("2"), "it is still the newest");
    assert_eq!(play(&mut machine, [DUE, shown("2")]), [POLL], "and is not tried again");
}

#[test]
fn what_cannot_be_put_back_is_told_and_is_no_fault_of_the_newest_commit() {
    let mut machine = live("1");
    let silent = Event::Deployed(DeployOutcome::Unreachable("silent".into()));
    let effects = play(&mut machine, [Event::Drifted, shown("1"), tree("a", "", "b"), silent]);
    assert!(matches!(effects.first(), Some(Effect::Emit(SourceEvent::Failed { commit: "1", .. }))));
    assert_eq!(machine.problem(), None);
}

#[test]
fn nothing_is_put_back_in_a_freeze_and_nothing_is_removed_by_it() {
    let mut machine = live("1");
    on(&mut machine, Event::Frozen("release".into()));
    assert!(play(&mut machine, [Event::Drifted, shown("1")]).iter().all(|effect| *effect != read("1")));
    on(&mut machine, Event::Unfrozen);
    play(&mut machine, [shown("1")]);
    let effects = play(&mut machine, [Event::Drifted, shown("1"), tree("a", "b c", "")]);
    assert_eq!(effects, [deploy("1", "a", "")]);
}

#[test]
fn what_is_applied_when_the_sync_begins_is_put_back() {
    let mut machine = live("1");
    play(&mut machine, [DUE, shown("2"), tree("a", "", "b"), Event::Drifted]);
    assert_eq!(on(&mut machine, LIVE).last(), Some(&Effect::Fetch { commit: Some("2") }));
}

#[test]
fn a_commit_that_somebody_chose_waits_to_be_published_until_the_ref_moves() {
    let mut machine = live_with("1", in_hold());
    play(&mut machine, [DUE, shown("2"), tree("a", "", "b")]);
    let options = SyncOptions { commit: Some("0"), ..SyncOptions::default() };
    play(&mut machine, [request_with(1, options), shown("0"), tree("a", "", "b")]);
    assert_eq!(machine.work(), WorkKind::Ready("0"));
    play(&mut machine, [DUE, shown("2")]);
    assert_eq!(machine.work(), WorkKind::Ready("0"), "the ref has not moved");
    play(&mut machine, [DUE, shown("3"), tree("a", "", "b")]);
    assert_eq!(machine.work(), WorkKind::Ready("3"));
}
