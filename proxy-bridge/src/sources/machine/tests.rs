use super::*;

mod failures;
mod properties;
mod removals;
mod requests;
mod restores;

use std::time::Duration;

use switchyard_contract::project::ProjectName;

type Machine = super::Machine<&'static str>;
type Event = super::Event<&'static str>;
type Effect = super::Effect<&'static str>;
type Outcome = super::Outcome<&'static str>;

const POLL: Effect = Effect::Arm(Timer::Poll, Duration::from_secs(30));
const FETCH: Effect = Effect::Fetch { commit: None };
const DUE: Event = Event::Due(Timer::Poll);
const LIVE: Event = Event::Deployed(DeployOutcome::Live);

fn settings() -> MachineSettings {
    MachineSettings {
        name: "shop".into(),
        poll: Duration::from_secs(30),
        hold: false,
        removed: RemovedProjects::Ask,
    }
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn names(list: &str) -> Vec<ProjectName> {
    list.split_whitespace().map(|name| ProjectName::parse(name).unwrap()).collect()
}

/// A whole tree: changed, removed and unchanged projects.
fn tree(changed: &str, removed: &str, unchanged: &str) -> Event {
    Event::Read(Ok(Changes {
        is_whole: true,
        added: Vec::new(),
        changed: names(changed),
        removed: names(removed),
        unchanged: names(unchanged),
    }))
}

fn shown(commit: &'static str) -> Event {
    Event::Fetched(Ok(commit))
}

fn fault(kind: ProblemKind) -> Fault {
    Fault { kind, detail: "it is so".into() }
}

fn lost(kind: ProblemKind) -> Event {
    Event::Fetched(Err(fault(kind)))
}

fn request(id: u64) -> Event {
    request_with(id, SyncOptions::default())
}

fn request_with(id: u64, options: SyncOptions<&'static str>) -> Event {
    Event::Requested { id: RequestId(id), options }
}

fn hinted(after: &'static str) -> Event {
    Event::Hinted { after: Some(after) }
}

fn read(commit: &'static str) -> Effect {
    Effect::Read { commit, prove: false }
}

fn deploy(commit: &'static str, projects: &str, removal: &str) -> Effect {
    Effect::Deploy { commit, set: CommitSet { projects: names(projects), removal: names(removal) } }
}

fn answered(ids: &[u64], outcome: Outcome) -> Effect {
    Effect::Answer(ids.iter().copied().map(RequestId).collect(), outcome)
}

fn synced(commit: &'static str, previous: Option<&'static str>) -> Effect {
    Effect::Emit(SourceEvent::Synced { commit, previous })
}

fn on(machine: &mut Machine, event: Event) -> Vec<Effect> {
    machine.on(event, time(0), 0.5)
}

/// Plays `events` and returns the effects of the last one.
fn play(machine: &mut Machine, events: impl IntoIterator<Item = Event>) -> Vec<Effect> {
    events.into_iter().map(|event| on(machine, event)).last().unwrap()
}

/// A source with a live commit of the projects a and b.
fn live(commit: &'static str) -> Machine {
    live_with(commit, settings())
}

fn live_with(commit: &'static str, settings: MachineSettings) -> Machine {
    let saved = SavedState { applied: Some(commit), seen: Some(commit), ..SavedState::default() };
    let mut machine = Machine::new(settings, saved);
    play(&mut machine, [DUE, shown(commit), tree("", "", "a b")]);
    assert_eq!((machine.applied(), machine.work()), (Some(&commit), WorkKind::Idle));
    machine
}

#[test]
fn a_new_commit_is_fetched_read_and_deployed() {
    let mut machine = Machine::new(settings(), SavedState::default());
    assert_eq!(on(&mut machine, DUE), [FETCH]);
    assert_eq!(on(&mut machine, shown("1")), [read("1")]);
    assert_eq!(on(&mut machine, tree("a b", "", "")), [deploy("1", "a b", "")]);
    assert_eq!(machine.applied(), None, "not before the routers say so");
    assert_eq!(on(&mut machine, LIVE), [synced("1", None), Effect::Prune, POLL]);
    assert_eq!(machine.applied(), Some(&"1"));
}

#[test]
fn a_poll_without_news_reads_nothing() {
    let mut machine = live("1");
    assert_eq!(play(&mut machine, [DUE, shown("1")]), [POLL]);
}

#[test]
fn polls_are_spread_by_a_tenth() {
    for (jitter, millis) in [(0.0, 27_000), (0.5, 30_000), (1.0, 33_000), (f64::NAN, 30_000), (7.0, 33_000)] {
        let mut machine = live("1");
        on(&mut machine, DUE);
        let effects = machine.on(shown("1"), time(0), jitter);
        let [Effect::Arm(Timer::Poll, poll)] = effects[..] else { panic!("{effects:?}") };
        assert_eq!(poll.as_millis(), millis, "{jitter}");
    }
}

#[test]
fn a_commit_that_touches_no_project_is_recorded() {
    let mut machine = live("1");
    let effects = play(&mut machine, [request(1), shown("2"), tree("", "", "a b")]);
    assert_eq!(effects, [deploy("2", "", "")]);
    assert!(on(&mut machine, LIVE).contains(&answered(&[1], Outcome::Unchanged { commit: "2" })));
    assert_eq!(machine.applied(), Some(&"2"));
}

#[test]
fn the_first_sync_reads_what_is_applied_again() {
    let saved = SavedState { applied: Some("1"), seen: Some("1"), ..SavedState::default() };
    let mut machine = Machine::new(settings(), saved);
    assert_eq!(play(&mut machine, [DUE, shown("1")]), [read("1")]);
}

#[test]
fn new_settings_read_the_same_commit_again_until_it_is_live() {
    let mut machine = live("1");
    assert_eq!(on(&mut machine, Event::Configured(settings())), [FETCH]);
    assert_eq!(on(&mut machine, shown("1")), [read("1")]);
    let failed = Event::Deployed(DeployOutcome::Failed("no".into()));
    play(&mut machine, [tree("c", "", "a b"), failed]);
    assert_eq!(play(&mut machine, [DUE, shown("1")]), [POLL], "it has failed");
    assert!(machine.failed().is_some(), "c is still not there");
    play(&mut machine, [request(1), shown("1"), tree("c", "", "a b"), LIVE]);
    assert_eq!(machine.problem(), None);
    assert_eq!(play(&mut machine, [DUE, shown("1")]), [POLL]);
}

#[test]
fn settings_that_change_during_a_read_are_read_for_again() {
    let mut machine = live("1");
    play(&mut machine, [DUE, shown("2"), Event::Configured(settings()), tree("a", "", "b")]);
    assert_eq!(on(&mut machine, LIVE).last(), Some(&FETCH));
    assert_eq!(on(&mut machine, shown("2")), [read("2")]);
}

#[test]
fn five_pushes_during_a_deploy_are_one_more_sync() {
    let mut machine = live("1");
    play(&mut machine, [hinted("2"), shown("2"), tree("a", "", "b")]);
    for push in ["3", "4", "5", "6"] {
        assert_eq!(on(&mut machine, hinted(push)), []);
    }
    assert_eq!(on(&mut machine, LIVE).last(), Some(&FETCH));
    play(&mut machine, [shown("6"), tree("a", "", "b")]);
    assert_eq!(on(&mut machine, LIVE).last(), Some(&POLL), "and none follows");
}

#[test]
fn a_webhook_for_the_commit_of_the_fetch_under_way_needs_no_other() {
    let mut machine = live("1");
    play(&mut machine, [DUE, hinted("2"), shown("2"), tree("a", "", "b")]);
    assert_eq!(on(&mut machine, LIVE).last(), Some(&POLL));
}

#[test]
fn a_webhook_without_a_commit_during_a_fetch_has_another_follow() {
    let mut machine = live("1");
    let effects = play(&mut machine, [DUE, hinted("1"), Event::Hinted { after: None }, shown("1")]);
    assert_eq!(effects, [POLL, FETCH]);
}

#[test]
fn a_commit_that_the_server_does_not_show_yet_is_asked_for_four_times() {
    let mut machine = live("1");
    on(&mut machine, hinted("2"));
    for millis in [200, 800, 4_000, 10_000] {
        let again = Effect::Arm(Timer::Hint, Duration::from_millis(millis));
        assert_eq!(on(&mut machine, shown("1")), [again, POLL]);
        assert_eq!(on(&mut machine, Event::Due(Timer::Hint)), [FETCH]);
    }
    assert_eq!(on(&mut machine, shown("1")), [POLL]);
    assert_eq!(on(&mut machine, Event::Due(Timer::Hint)), [], "polling goes on");
}

#[test]
fn the_repeated_questions_end_when_the_commit_is_shown() {
    let mut machine = live("1");
    play(&mut machine, [hinted("2"), shown("1"), Event::Due(Timer::Hint)]);
    assert_eq!(on(&mut machine, shown("2")), [read("2")]);
    play(&mut machine, [tree("a", "", "b"), LIVE]);
    assert_eq!(on(&mut machine, Event::Due(Timer::Hint)), []);
}

#[test]
fn a_frozen_source_is_polled_and_nothing_is_deployed() {
    let mut machine = live("1");
    on(&mut machine, Event::Frozen("release".into()));
    assert_eq!(play(&mut machine, [DUE, shown("2")]), [POLL]);
    assert_eq!(machine.saved().seen, Some("2"));
    let frozen = Outcome::Frozen("release".into());
    assert_eq!(on(&mut machine, request(1)), [answered(&[1], frozen)]);
    assert_eq!(on(&mut machine, Event::Unfrozen).last(), Some(&FETCH));
    assert_eq!(on(&mut machine, shown("2")), [read("2")]);
}

#[test]
fn a_freeze_during_a_sync_ends_it_and_all_who_wait_hear_of_it() {
    let mut machine = live("1");
    play(&mut machine, [request(1), shown("2"), request(2), Event::Frozen("release".into())]);
    let frozen = || Outcome::Frozen("release".into());
    let effects = on(&mut machine, tree("a", "", "b"));
    assert_eq!(effects, [answered(&[1], frozen()), POLL, answered(&[2], frozen())]);
}

#[test]
fn a_deploy_under_way_is_not_stopped_by_a_freeze() {
    let mut machine = live("1");
    play(&mut machine, [DUE, shown("2"), tree("a", "", "b"), Event::Frozen("release".into()), LIVE]);
    assert_eq!(machine.applied(), Some(&"2"));
}

#[test]
fn a_window_denies_until_it_opens_and_a_freeze_outlasts_it() {
    let mut machine = live("1");
    on(&mut machine, Event::WindowClosed { until: time(3600) });
    let Some(reason) = machine.frozen() else { panic!("not frozen") };
    assert!(reason.contains("1970-01-01T01:00:00Z"), "{reason}");
    on(&mut machine, Event::Frozen("release".into()));
    on(&mut machine, Event::WindowOpened);
    assert_eq!(machine.frozen().as_deref(), Some("release"));
    assert_eq!(play(&mut machine, [shown("2")]), [POLL]);
}
