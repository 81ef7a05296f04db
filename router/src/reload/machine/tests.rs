use switchyard_contract::digest::Digest;
use switchyard_contract::project::ProjectName;

use super::*;
use crate::project::diagnostic;
use crate::version::Tenant;

fn version(n: u8) -> Version {
    Version::new(&Tenant::first(&ProjectName::parse("a").unwrap()), Digest::of_files([("main.ts", [n; 32])]))
}

fn read(n: u8) -> Event {
    Event::Read { found: Found::Version(version(n)), retry: false }
}

fn bad() -> Outcome {
    Outcome::Bad(diagnostic("no"))
}

const CHANGED: Event = Event::Changed(Trigger::Watch);
const READ: Effect = Effect::Read(Trigger::Watch);

/// Plays `events` and returns what the last one leads to.
fn play(machine: &mut Machine, events: impl IntoIterator<Item = Event>) -> Vec<Effect> {
    events.into_iter().map(|event| machine.on(event)).last().unwrap()
}

fn live(n: u8) -> Machine {
    let mut machine = Machine::default();
    play(&mut machine, [CHANGED, read(n), Event::Built(Outcome::Good)]);
    assert_eq!(machine.live, Some(version(n)));
    machine
}

#[test]
fn a_change_is_read_built_and_published() {
    let mut machine = Machine::default();
    assert_eq!(machine.on(CHANGED), [READ]);
    assert_eq!(machine.on(read(1)), [Effect::Build(version(1))]);
    let publish = Effect::Publish { version: version(1), previous: None };
    assert_eq!(machine.on(Event::Built(Outcome::Good)), [publish]);
    assert_eq!(machine.work, Work::Idle);
}

#[test]
fn the_same_digest_ends_it() {
    let mut machine = live(1);
    assert_eq!(play(&mut machine, [CHANGED, read(1)]), [Effect::Unchanged]);
}

#[test]
fn a_failure_keeps_the_last_good_version() {
    let mut machine = live(1);
    let effects = play(&mut machine, [CHANGED, read(2), Event::Built(bad())]);
    assert!(matches!(&effects[..], [Effect::Fail(failed)] if failed.version == Some(version(2))));
    assert_eq!(machine.live, Some(version(1)));
    assert_eq!(play(&mut machine, [CHANGED, read(2)]), [Effect::Unchanged], "not built again");
    assert_eq!(play(&mut machine, [CHANGED, read(1)]), [Effect::Settle], "put back");
}

#[test]
fn a_failure_is_built_again_when_it_is_worth_it() {
    let mut machine = live(1);
    play(&mut machine, [CHANGED, read(2), Event::Built(bad())]);
    let again = Event::Read { found: Found::Version(version(2)), retry: true };
    assert_eq!(play(&mut machine, [CHANGED, again]), [Effect::Build(version(2))]);
}

#[test]
fn changes_during_a_build_are_one_more_attempt() {
    let mut machine = live(1);
    play(&mut machine, [CHANGED, read(2)]);
    assert_eq!(machine.on(CHANGED), [Effect::Hurry]);
    assert_eq!(machine.on(CHANGED), [Effect::Hurry]);
    let effects = machine.on(Event::Built(Outcome::Good));
    assert_eq!(effects, [Effect::Publish { version: version(2), previous: Some(version(1)) }, READ]);
    assert_eq!(play(&mut machine, [read(2)]), [Effect::Unchanged]);
    assert_eq!(machine.work, Work::Idle);
}

#[test]
fn what_changes_while_the_files_are_read_hurries_the_build_that_follows() {
    let mut machine = live(1);
    assert_eq!(play(&mut machine, [CHANGED, CHANGED, read(2)]), [Effect::Build(version(2)), Effect::Hurry]);
    let mut machine = live(1);
    let held = play(&mut machine, [CHANGED, Event::Hold, read(2)]);
    assert_eq!(held, [Effect::Build(version(2)), Effect::Hurry]);
}

#[test]
fn a_superseded_build_makes_room_for_the_newer_one() {
    let mut machine = live(1);
    play(&mut machine, [CHANGED, read(2), CHANGED]);
    assert_eq!(machine.on(Event::Built(Outcome::Superseded)), [Effect::Superseded, READ]);
    assert_eq!(machine.on(read(3)), [Effect::Build(version(3))]);
}

#[test]
fn a_folder_that_is_gone_takes_its_route_with_it() {
    let mut machine = live(1);
    let gone = Event::Read { found: Found::Gone, retry: false };
    assert_eq!(play(&mut machine, [CHANGED, gone]), [Effect::Remove { previous: Some(version(1)) }]);
    assert!(machine.is_absent());
}

#[test]
fn an_invalid_project_is_told_once() {
    let mut machine = live(1);
    let invalid = Event::Read { found: Found::Invalid(diagnostic("link")), retry: false };
    assert!(matches!(&play(&mut machine, [CHANGED, invalid.clone()])[..], [Effect::Fail(_)]));
    assert_eq!(play(&mut machine, [CHANGED, invalid]), [Effect::Unchanged]);
}

#[test]
fn the_last_good_version_of_an_earlier_run_is_served_before_anything_is_read() {
    let mut machine = Machine::default();
    assert_eq!(machine.on(Event::Known(version(1))), [Effect::Build(version(1))]);
    let effects = machine.on(Event::Built(Outcome::Good));
    let publish = Effect::Publish { version: version(1), previous: None };
    assert_eq!(effects, [publish, Effect::Read(Trigger::Scan)]);
    play(&mut machine, [read(2), Event::Built(bad())]);
    assert_eq!(machine.live, Some(version(1)));
}

fn outdated(n: u8) -> Event {
    Event::Read { found: Found::Outdated(version(n)), retry: true }
}

const POLICY: Event = Event::Changed(Trigger::Policy);

#[test]
fn a_live_version_that_would_be_given_something_else_is_built_and_published_again() {
    let mut machine = live(1);
    assert_eq!(machine.on(POLICY), [Effect::Read(Trigger::Policy)]);
    assert_eq!(machine.on(outdated(1)), [Effect::Build(version(1))]);
    let publish = Effect::Publish { version: version(1), previous: Some(version(1)) };
    assert_eq!(machine.on(Event::Built(Outcome::Good)), [publish]);
    assert_eq!(play(&mut machine, [POLICY, read(1)]), [Effect::Unchanged]);
}

#[test]
fn a_live_version_that_fails_with_what_it_would_be_given_goes_on_as_it_is() {
    let mut machine = live(1);
    let effects = play(&mut machine, [POLICY, outdated(1), Event::Built(bad())]);
    assert!(matches!(&effects[..], [Effect::Fail(failed)] if failed.version == Some(version(1))));
    assert_eq!(machine.live, Some(version(1)));
    let again = Event::Read { found: Found::Outdated(version(1)), retry: false };
    assert_eq!(play(&mut machine, [CHANGED, again]), [Effect::Unchanged], "not built again");
    assert_eq!(play(&mut machine, [POLICY, outdated(1)]), [Effect::Build(version(1))], "another policy");
    machine.on(Event::Built(bad()));
    assert_eq!(play(&mut machine, [POLICY, read(1)]), [Effect::Settle], "the policy put back");
}

#[test]
fn a_policy_that_changes_during_a_hold_is_looked_at_when_it_ends() {
    let mut machine = prepared(live(1), 2);
    assert_eq!(machine.on(POLICY), []);
    let publish = Effect::Publish { version: version(2), previous: Some(version(1)) };
    assert_eq!(machine.on(Event::Publish), [publish, Effect::Read(Trigger::Policy)]);
    assert_eq!(machine.on(outdated(2)), [Effect::Build(version(2))]);

    let mut machine = held(live(1));
    assert_eq!(
        play(&mut machine, [Event::Build, outdated(1)]),
        [Effect::Build(version(1))],
        "by a deploy too"
    );
}

const GONE: Event = Event::Read { found: Found::Gone, retry: false };
const BUILD: Effect = Effect::Read(Trigger::Request);

fn held(mut machine: Machine) -> Machine {
    assert_eq!(machine.on(Event::Hold), [Effect::Held]);
    machine
}

/// Held, and what is on the volume is built.
fn prepared(machine: Machine, n: u8) -> Machine {
    let mut machine = held(machine);
    assert_eq!(machine.on(Event::Build), [BUILD]);
    assert_eq!(machine.on(read(n)), [Effect::Build(version(n))]);
    let end = Effect::Prepared(Ok(Prepared::Version(version(n))));
    assert_eq!(machine.on(Event::Built(Outcome::Good)), [end]);
    machine
}

#[test]
fn a_change_during_a_hold_is_looked_at_when_it_ends() {
    let mut machine = held(live(1));
    assert_eq!(play(&mut machine, [CHANGED, Event::Changed(Trigger::Poll)]), []);
    assert!(machine.rests());
    assert_eq!(machine.on(Event::Release), [READ]);
    assert_eq!(play(&mut machine, [read(2)]), [Effect::Build(version(2))]);
}

#[test]
fn a_hold_that_ends_is_looked_at_even_when_nothing_was_seen() {
    assert_eq!(held(live(1)).on(Event::Release), [Effect::Read(Trigger::Scan)]);
}

#[test]
fn a_hold_begins_when_the_attempt_under_way_has_ended() {
    let mut machine = live(1);
    assert_eq!(play(&mut machine, [CHANGED, Event::Hold]), []);
    assert!(!machine.rests());
    assert_eq!(machine.on(read(1)), [Effect::Unchanged, Effect::Held], "read");

    let mut machine = live(1);
    play(&mut machine, [CHANGED, read(2), CHANGED]);
    assert_eq!(machine.on(Event::Hold), [Effect::Hurry]);
    let publish = Effect::Publish { version: version(2), previous: Some(version(1)) };
    assert_eq!(machine.on(Event::Built(Outcome::Good)), [publish, Effect::Held], "built");
    assert_eq!(machine.on(Event::Release), [READ], "the change from before the hold");
}

#[test]
fn what_a_hold_superseded_is_read_when_it_ends() {
    let mut machine = live(1);
    play(&mut machine, [CHANGED, read(2), Event::Hold]);
    let superseded = Event::Built(Outcome::Superseded);
    assert_eq!(machine.on(superseded), [Effect::Superseded, Effect::Held]);
    play(&mut machine, [Event::Build, read(3), Event::Built(Outcome::Good)]);
    let publish = Effect::Publish { version: version(3), previous: Some(version(1)) };
    assert_eq!(machine.on(Event::Publish), [publish, Effect::Read(Trigger::Scan)]);
}

#[test]
fn a_build_of_a_deploy_publishes_nothing_until_it_is_told_to() {
    let mut machine = prepared(live(1), 2);
    assert_eq!(machine.live, Some(version(1)));
    let publish = Effect::Publish { version: version(2), previous: Some(version(1)) };
    assert_eq!(machine.on(Event::Publish), [publish]);
    assert_eq!((machine.live, machine.hold), (Some(version(2)), None));
}

#[test]
fn a_change_between_build_and_publish_is_looked_at_after_it() {
    let mut machine = prepared(live(1), 2);
    machine.on(CHANGED);
    let publish = Effect::Publish { version: version(2), previous: Some(version(1)) };
    assert_eq!(machine.on(Event::Publish), [publish, READ]);
}

#[test]
fn a_build_of_a_deploy_that_fails_is_the_deploys_affair() {
    let mut machine = held(live(1));
    let effects = play(&mut machine, [Event::Build, read(2), Event::Built(bad())]);
    assert!(matches!(&effects[..], [Effect::Prepared(Err(failed))] if failed.version == Some(version(2))));
    assert_eq!((&machine.live, &machine.failed), (&Some(version(1)), &None));
    assert_eq!(machine.on(Event::Publish), [], "there is nothing to publish");
    assert_eq!(machine.on(Event::Build), [BUILD], "it may be built again");
    let invalid = Event::Read { found: Found::Invalid(diagnostic("link")), retry: true };
    assert!(matches!(&machine.on(invalid)[..], [Effect::Prepared(Err(_))]));
    assert_eq!(machine.on(Event::Release), [Effect::Read(Trigger::Scan)]);
    assert_eq!(machine.on(read(1)), [Effect::Unchanged], "it was put back");
}

#[test]
fn what_is_live_already_and_what_is_gone_are_published_too() {
    let mut machine = held(live(1));
    assert_eq!(play(&mut machine, [Event::Build, read(1)]), [Effect::Prepared(Ok(Prepared::Unchanged))]);
    assert_eq!(machine.on(Event::Publish), [Effect::Unchanged]);

    let mut machine = live(1);
    play(&mut machine, [CHANGED, read(2), Event::Built(bad())]);
    let mut machine = held(machine);
    play(&mut machine, [Event::Build, read(1)]);
    assert_eq!(machine.on(Event::Publish), [Effect::Settle], "the failure before it is over");

    let mut machine = held(live(1));
    assert_eq!(play(&mut machine, [Event::Build, GONE]), [Effect::Prepared(Ok(Prepared::Gone))]);
    assert_eq!(machine.live, Some(version(1)), "not yet");
    assert_eq!(machine.on(Event::Publish), [Effect::Remove { previous: Some(version(1)) }]);
    assert!(machine.is_absent());
}

#[test]
fn a_second_build_drops_what_the_first_gave() {
    let mut machine = prepared(live(1), 2);
    assert_eq!(machine.on(Event::Build), [Effect::Drop, BUILD]);
    assert_eq!(machine.on(Event::Publish), [], "not while it is built again");
    play(&mut machine, [read(3)]);
    assert_eq!(machine.on(Event::Build), [Effect::Hurry], "in the middle of a build");
    assert_eq!(machine.on(Event::Built(Outcome::Good)), [Effect::Drop, BUILD]);
    play(&mut machine, [read(4), Event::Build]);
    assert_eq!(machine.on(Event::Built(Outcome::Superseded)), [Effect::Drop, BUILD]);
}

#[test]
fn a_hold_that_ends_drops_what_was_built() {
    assert_eq!(prepared(live(1), 2).on(Event::Release), [Effect::Drop, Effect::Read(Trigger::Scan)]);
}

#[test]
fn a_hold_that_ends_in_the_middle_of_a_build_publishes_nothing() {
    let mut machine = held(live(1));
    play(&mut machine, [Event::Build, read(2)]);
    assert_eq!(machine.on(Event::Release), [Effect::Hurry]);
    assert_eq!(machine.on(Event::Built(Outcome::Good)), [Effect::Drop, Effect::Read(Trigger::Scan)]);
    assert_eq!(machine.live, Some(version(1)));

    let mut machine = held(live(1));
    assert_eq!(play(&mut machine, [Event::Build, Event::Release]), [], "while it is read");
    assert_eq!(machine.on(read(2)), [Effect::Drop, Effect::Read(Trigger::Scan)]);
}

#[test]
fn the_next_hold_waits_for_what_the_one_before_dropped() {
    let mut machine = held(live(1));
    play(&mut machine, [Event::Build, read(2), Event::Release]);
    assert_eq!(machine.on(Event::Hold), [Effect::Hurry]);
    assert_eq!(machine.on(Event::Built(bad())), [Effect::Drop, Effect::Held]);
    assert!(machine.rests());
}

#[test]
fn a_project_that_is_not_there_yet_can_be_held() {
    let mut machine = prepared(Machine::default(), 1);
    assert!(!machine.is_absent());
    assert_eq!(machine.on(Event::Publish), [Effect::Publish { version: version(1), previous: None }]);

    let mut machine = held(Machine::default());
    assert_eq!(play(&mut machine, [Event::Release, GONE]), [Effect::Remove { previous: None }]);
    assert!(machine.is_absent());
}

#[test]
fn an_earlier_runs_version_that_is_being_started_is_live_before_a_hold_begins() {
    let mut machine = Machine::default();
    play(&mut machine, [Event::Known(version(1)), Event::Hold]);
    let publish = Effect::Publish { version: version(1), previous: None };
    assert_eq!(machine.on(Event::Built(Outcome::Good)), [publish, Effect::Held]);
    assert_eq!(machine.on(Event::Release), [Effect::Read(Trigger::Scan)]);
}

#[test]
fn without_a_hold_nothing_a_deploy_asks_for_is_done() {
    let mut machine = live(1);
    for event in [Event::Build, Event::Publish, Event::Release] {
        assert_eq!(machine.on(event), []);
        assert_eq!(machine.work, Work::Idle);
    }
}
