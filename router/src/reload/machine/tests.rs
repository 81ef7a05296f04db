use switchyard_contract::digest::Digest;
use switchyard_contract::project::ProjectName;

use super::*;
use crate::project::diagnostic;
use crate::version::Tenant;

/// States without data.
#[derive(Debug, PartialEq)]
struct Bare;

#[derive(Debug, PartialEq)]
struct BareAttempt;

impl From<Look> for BareAttempt {
    fn from(_: Look) -> Self {
        Self
    }
}

impl Payload for Bare {
    type Attempt = BareAttempt;
    type Candidate = ();
    type Built = ();
    type Live = ();
    type Failure = Option<()>;

    fn hand_over(_: BareAttempt, _: &mut Look) {}
}

type Machine = super::Machine<Bare>;
type Event = super::Event<Bare>;
type Effect = super::Effect<Bare>;

const READ: Effect = Effect::Read(Trigger::Watch);
const UNCHANGED: Effect = Effect::Unchanged(BareAttempt);
const SETTLE: Effect = Effect::ClearStale(BareAttempt);
const DISCARD: Effect = Effect::Discard(Some(()));
const GOOD: Event = Event::Built(BuildOutcome::Good(()));
const GONE: Event = Event::Read { state: FolderState::Gone, retry: false };
const BUILD: Effect = Effect::Read(Trigger::Request);

fn version(n: u8) -> Version {
    Version::new(&Tenant::first(&ProjectName::parse("a").unwrap()), Digest::of_files([("main.ts", [n; 32])]))
}

fn changed() -> Event {
    Event::Changed(Trigger::Watch.into())
}

fn policy() -> Event {
    Event::Changed(Trigger::Policy.into())
}

/// A version that is to be built was read.
fn read(n: u8) -> Event {
    Event::Read { state: FolderState::Candidate(version(n), ()), retry: false }
}

/// The live version was read.
fn read_live(n: u8) -> Event {
    Event::Read { state: FolderState::Live(version(n)), retry: false }
}

/// The version that failed before was read.
fn read_failed(n: u8) -> Event {
    Event::Read { state: FolderState::FailedBefore(version(n)), retry: false }
}

fn invalid(retry: bool) -> Event {
    Event::Read { state: FolderState::Invalid(diagnostic("link")), retry }
}

fn bad() -> Event {
    Event::Built(BuildOutcome::Bad(diagnostic("no")))
}

fn superseded() -> Event {
    Event::Built(BuildOutcome::Superseded)
}

fn published(n: u8) -> PublishedVersion<()> {
    PublishedVersion { version: version(n), data: () }
}

fn publish(n: u8, previous: Option<u8>) -> Effect {
    Effect::Publish { version: version(n), previous: previous.map(published), attempt: BareAttempt }
}

fn remove(previous: Option<u8>) -> Effect {
    Effect::Remove { previous: previous.map(published), attempt: BareAttempt }
}

/// Plays `events` and returns the effects of the last one.
fn play(machine: &mut Machine, events: impl IntoIterator<Item = Event>) -> Vec<Effect> {
    events.into_iter().map(|event| machine.on(event)).last().unwrap()
}

fn live(n: u8) -> Machine {
    let mut machine = Machine::default();
    play(&mut machine, [changed(), read(n), GOOD]);
    assert_eq!(machine.live_version(), Some(&version(n)));
    machine
}

#[test]
fn a_change_is_read_built_and_published() {
    let mut machine = Machine::default();
    assert_eq!(machine.on(changed()), [READ]);
    assert_eq!(machine.on(read(1)), [Effect::Build(version(1))]);
    let expected = publish(1, None);
    assert_eq!(machine.on(GOOD), [expected]);
    assert!(machine.is_idle());
}

#[test]
fn the_same_digest_ends_it() {
    let mut machine = live(1);
    assert_eq!(play(&mut machine, [changed(), read_live(1)]), [UNCHANGED]);
}

#[test]
fn a_failure_keeps_the_last_good_version() {
    let mut machine = live(1);
    let effects = play(&mut machine, [changed(), read(2), bad()]);
    assert!(matches!(&effects[..], [Effect::Fail(failed, _)] if failed.version == Some(version(2))));
    assert_eq!(machine.live_version(), Some(&version(1)));
    assert_eq!(play(&mut machine, [changed(), read_failed(2)]), [UNCHANGED], "not built again");
    assert_eq!(play(&mut machine, [changed(), read_live(1)]), [SETTLE], "put back");
}

#[test]
fn a_failure_is_built_again_when_it_is_worth_it() {
    let mut machine = live(1);
    play(&mut machine, [changed(), read(2), bad()]);
    assert_eq!(play(&mut machine, [changed(), read(2)]), [Effect::Build(version(2))]);
}

#[test]
fn changes_during_a_build_are_one_more_attempt() {
    let mut machine = live(1);
    play(&mut machine, [changed(), read(2)]);
    assert_eq!(machine.on(changed()), [Effect::Hurry]);
    assert_eq!(machine.on(changed()), [Effect::Hurry]);
    let effects = machine.on(GOOD);
    assert_eq!(effects, [publish(2, Some(1)), READ]);
    assert_eq!(play(&mut machine, [read_live(2)]), [UNCHANGED]);
    assert!(machine.is_idle());
}

#[test]
fn what_changes_while_the_files_are_read_hurries_the_build_that_follows() {
    let mut machine = live(1);
    assert_eq!(
        play(&mut machine, [changed(), changed(), read(2)]),
        [Effect::Build(version(2)), Effect::Hurry]
    );
    let mut machine = live(1);
    let held = play(&mut machine, [changed(), Event::Hold, read(2)]);
    assert_eq!(held, [Effect::Build(version(2)), Effect::Hurry]);
}

#[test]
fn a_superseded_build_makes_room_for_the_newer_one() {
    let mut machine = live(1);
    play(&mut machine, [changed(), read(2), changed()]);
    assert_eq!(machine.on(superseded()), [Effect::Superseded, READ]);
    assert_eq!(machine.on(read(3)), [Effect::Build(version(3))]);
}

#[test]
fn a_folder_that_is_gone_takes_its_route_with_it() {
    let mut machine = live(1);
    assert_eq!(play(&mut machine, [changed(), GONE]), [remove(Some(1))]);
    assert!(machine.is_absent());
}

#[test]
fn an_invalid_project_is_reported_once() {
    let mut machine = live(1);
    assert!(matches!(&play(&mut machine, [changed(), invalid(false)])[..], [Effect::Fail(..)]));
    assert_eq!(play(&mut machine, [changed(), invalid(false)]), [UNCHANGED]);
}

#[test]
fn the_last_good_version_of_an_earlier_run_is_served_before_anything_is_read() {
    let mut machine = Machine::default();
    assert_eq!(machine.on(Event::Recorded(version(1))), [Effect::Build(version(1))]);
    let effects = machine.on(GOOD);
    let expected = publish(1, None);
    assert_eq!(effects, [expected, Effect::Read(Trigger::Scan)]);
    play(&mut machine, [read(2), bad()]);
    assert_eq!(machine.live_version(), Some(&version(1)));
}

#[test]
fn a_live_version_that_would_be_given_something_else_is_built_and_published_again() {
    let mut machine = live(1);
    assert_eq!(machine.on(policy()), [Effect::Read(Trigger::Policy)]);
    assert_eq!(machine.on(read(1)), [Effect::Build(version(1))]);
    let expected = publish(1, Some(1));
    assert_eq!(machine.on(GOOD), [expected]);
    assert_eq!(play(&mut machine, [policy(), read_live(1)]), [UNCHANGED]);
}

#[test]
fn a_live_version_that_fails_with_what_it_would_be_given_goes_on_as_it_is() {
    let mut machine = live(1);
    let effects = play(&mut machine, [policy(), read(1), bad()]);
    assert!(matches!(&effects[..], [Effect::Fail(failed, _)] if failed.version == Some(version(1))));
    assert_eq!(machine.live_version(), Some(&version(1)));
    assert_eq!(play(&mut machine, [changed(), read_failed(1)]), [UNCHANGED], "not built again");
    assert_eq!(play(&mut machine, [policy(), read(1)]), [Effect::Build(version(1))], "another policy");
    machine.on(bad());
    assert_eq!(play(&mut machine, [policy(), read_live(1)]), [SETTLE], "the policy put back");
}

#[test]
fn a_policy_that_changes_during_a_hold_is_looked_at_when_it_ends() {
    let mut machine = prepared(live(1), 2);
    assert_eq!(machine.on(policy()), []);
    let expected = publish(2, Some(1));
    assert_eq!(machine.on(Event::Publish), [expected, Effect::Read(Trigger::Policy)]);
    assert_eq!(machine.on(read(2)), [Effect::Build(version(2))]);

    let mut machine = held(live(1));
    assert_eq!(play(&mut machine, [Event::Build, read(1)]), [Effect::Build(version(1))], "by a deploy too");
}

fn held(mut machine: Machine) -> Machine {
    assert_eq!(machine.on(Event::Hold), [Effect::Held]);
    machine
}

/// Held, and what is on the volume is built.
fn prepared(machine: Machine, n: u8) -> Machine {
    let mut machine = held(machine);
    assert_eq!(machine.on(Event::Build), [BUILD]);
    assert_eq!(machine.on(read(n)), [Effect::Build(version(n))]);
    let end = Effect::Staged(StagedKind::Version(version(n)));
    assert_eq!(machine.on(GOOD), [end]);
    machine
}

#[test]
fn a_change_during_a_hold_is_looked_at_when_it_ends() {
    let mut machine = held(live(1));
    assert_eq!(play(&mut machine, [changed(), Event::Changed(Trigger::Poll.into())]), []);
    assert!(machine.is_quiescent());
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
    assert_eq!(play(&mut machine, [changed(), Event::Hold]), []);
    assert!(!machine.is_quiescent());
    assert_eq!(machine.on(read_live(1)), [UNCHANGED, Effect::Held], "read");

    let mut machine = live(1);
    play(&mut machine, [changed(), read(2), changed()]);
    assert_eq!(machine.on(Event::Hold), [Effect::Hurry]);
    let expected = publish(2, Some(1));
    assert_eq!(machine.on(GOOD), [expected, Effect::Held], "built");
    assert_eq!(machine.on(Event::Release), [READ], "the change from before the hold");
}

#[test]
fn what_a_hold_superseded_is_read_when_it_ends() {
    let mut machine = live(1);
    play(&mut machine, [changed(), read(2), Event::Hold]);
    assert_eq!(machine.on(superseded()), [Effect::Superseded, Effect::Held]);
    play(&mut machine, [Event::Build, read(3), GOOD]);
    let expected = publish(3, Some(1));
    assert_eq!(machine.on(Event::Publish), [expected, Effect::Read(Trigger::Scan)]);
}

#[test]
fn a_build_of_a_deploy_publishes_nothing_until_the_deploy_requests_it() {
    let mut machine = prepared(live(1), 2);
    assert_eq!(machine.live_version(), Some(&version(1)));
    let expected = publish(2, Some(1));
    assert_eq!(machine.on(Event::Publish), [expected]);
    assert_eq!(machine.live_version(), Some(&version(2)));
    assert!(!machine.is_held());
}

#[test]
fn a_change_between_build_and_publish_is_looked_at_after_it() {
    let mut machine = prepared(live(1), 2);
    machine.on(changed());
    let expected = publish(2, Some(1));
    assert_eq!(machine.on(Event::Publish), [expected, READ]);
}

#[test]
fn a_build_of_a_deploy_that_fails_is_the_deploys_affair() {
    let mut machine = held(live(1));
    let effects = play(&mut machine, [Event::Build, read(2), bad()]);
    assert!(matches!(&effects[..], [Effect::StageFailed(failed, _)] if failed.version == Some(version(2))));
    assert_eq!(machine.live_version(), Some(&version(1)));
    assert!(machine.failed().is_none());
    assert_eq!(machine.on(Event::Publish), [], "there is nothing to publish");
    assert_eq!(machine.on(Event::Build), [BUILD], "it may be built again");
    assert!(matches!(&machine.on(invalid(true))[..], [Effect::StageFailed(..)]));
    assert_eq!(machine.on(Event::Release), [Effect::Read(Trigger::Scan)]);
    assert_eq!(machine.on(read_live(1)), [UNCHANGED], "it was put back");
}

#[test]
fn what_is_live_already_and_what_is_gone_are_published_too() {
    let mut machine = held(live(1));
    assert_eq!(play(&mut machine, [Event::Build, read_live(1)]), [Effect::Staged(StagedKind::Unchanged)]);
    assert_eq!(machine.on(Event::Publish), [UNCHANGED]);

    let mut machine = live(1);
    play(&mut machine, [changed(), read(2), bad()]);
    let mut machine = held(machine);
    play(&mut machine, [Event::Build, read_live(1)]);
    assert_eq!(machine.on(Event::Publish), [SETTLE], "the failure before it is over");

    let mut machine = held(live(1));
    assert_eq!(play(&mut machine, [Event::Build, GONE]), [Effect::Staged(StagedKind::Gone)]);
    assert_eq!(machine.live_version(), Some(&version(1)), "not yet");
    assert_eq!(machine.on(Event::Publish), [remove(Some(1))]);
    assert!(machine.is_absent());
}

#[test]
fn a_second_build_drops_what_the_first_gave() {
    let mut machine = prepared(live(1), 2);
    assert_eq!(machine.on(Event::Build), [DISCARD, BUILD]);
    assert_eq!(machine.on(Event::Publish), [], "not while it is built again");
    play(&mut machine, [read(3)]);
    assert_eq!(machine.on(Event::Build), [Effect::Hurry], "in the middle of a build");
    assert_eq!(machine.on(GOOD), [DISCARD, BUILD]);
    play(&mut machine, [read(4), Event::Build]);
    assert_eq!(machine.on(superseded()), [Effect::Discard(None), BUILD]);
}

#[test]
fn a_hold_that_ends_drops_what_was_built() {
    assert_eq!(prepared(live(1), 2).on(Event::Release), [DISCARD, Effect::Read(Trigger::Scan)]);
}

#[test]
fn a_hold_that_ends_in_the_middle_of_a_build_publishes_nothing() {
    let mut machine = held(live(1));
    play(&mut machine, [Event::Build, read(2)]);
    assert_eq!(machine.on(Event::Release), [Effect::Hurry]);
    assert_eq!(machine.on(GOOD), [DISCARD, Effect::Read(Trigger::Scan)]);
    assert_eq!(machine.live_version(), Some(&version(1)));

    let mut machine = held(live(1));
    assert_eq!(play(&mut machine, [Event::Build, Event::Release]), [], "while it is read");
    assert_eq!(machine.on(read(2)), [Effect::Discard(None), Effect::Read(Trigger::Scan)]);
}

#[test]
fn the_next_hold_waits_for_what_the_one_before_dropped() {
    let mut machine = held(live(1));
    play(&mut machine, [Event::Build, read(2), Event::Release]);
    assert_eq!(machine.on(Event::Hold), [Effect::Hurry]);
    assert_eq!(machine.on(bad()), [Effect::Discard(None), Effect::Held]);
    assert!(machine.is_quiescent());
}

#[test]
fn a_project_that_is_not_there_yet_can_be_held() {
    let mut machine = prepared(Machine::default(), 1);
    assert!(!machine.is_absent());
    assert_eq!(machine.on(Event::Publish), [publish(1, None)]);

    let mut machine = held(Machine::default());
    assert_eq!(play(&mut machine, [Event::Release, GONE]), [remove(None)]);
    assert!(machine.is_absent());
}

#[test]
fn an_earlier_runs_version_that_is_being_started_is_live_before_a_hold_begins() {
    let mut machine = Machine::default();
    play(&mut machine, [Event::Recorded(version(1)), Event::Hold]);
    let expected = publish(1, None);
    assert_eq!(machine.on(GOOD), [expected, Effect::Held]);
    assert_eq!(machine.on(Event::Release), [Effect::Read(Trigger::Scan)]);
}

#[test]
fn without_a_hold_nothing_a_deploy_asks_for_is_done() {
    let mut machine = live(1);
    for event in [Event::Build, Event::Publish, Event::Release] {
        assert_eq!(machine.on(event), []);
        assert!(machine.is_idle());
    }
}
