//! A router's state: events and answers in all their orders.

use super::*;

fn status(name: &str, sequence: u64, digest: Option<&str>) -> Status {
    let live = digest.map(|digest| VersionName {
        digest: digest.into(),
        version: format!("{name}@x"),
        commit: None,
    });
    Status { sequence, live, ..unknown(name) }
}

fn live_event(project: &str, sequence: u64) -> Event {
    let digest = "ab".repeat(32);
    let json = serde_json::json!({
        "type": "reload.live", "timestamp": "2026-03-01T12:00:00Z",
        "data": {
            "router": "r1", "sequence": sequence, "project": project, "digest": digest,
            "version": format!("{project}@abababababab"), "incarnation": "first", "trigger": "watch"
        }
    });
    serde_json::from_value(json).expect("the JSON of an event is one")
}

fn removed(project: &str, sequence: u64) -> Event {
    let mut event = live_event(project, sequence);
    event.kind = EventType::ProjectRemoved;
    (event.data.digest, event.data.version) = (None, None);
    event
}

/// An answer that has every project.
fn all(projects: Vec<Status>) -> Projects {
    Projects { router: "r1".into(), installs: false, revision: 7, since: None, projects, removed: Vec::new() }
}

/// An answer with the changes after some revision.
fn changes(revision: u64, projects: Vec<Status>, removed: &[&str]) -> Projects {
    let removed = removed.iter().map(ToString::to_string).collect();
    Projects { revision, since: Some(7), removed, ..all(projects) }
}

fn pulled(statuses: Vec<Status>) -> RouterState {
    let mut state = RouterState::default();
    state.meet("r1");
    assert!(state.answer(all(statuses), PullQuery::default(), true).others);
    state
}

/// Applies a change of one project. Returns true if anything has changed.
fn one(state: &mut RouterState, status: Status, asked: PullQuery) -> bool {
    let name = status.name.clone();
    state.answer(changes(8, vec![status], &[]), asked, true).projects.contains(&name)
}

fn asked(state: &RouterState) -> PullQuery {
    PullQuery { at: state.now(), believed: false }
}

#[test]
fn an_answer_counts_unless_a_later_event_was_heard() {
    let mut state = pulled(vec![status("blog", 3, Some("a"))]);
    assert!(!state.event(&live_event("blog", 3)), "the answer has reported it");
    assert!(state.event(&live_event("blog", 5)));
    let asked = PullQuery { at: state.now(), believed: false };
    assert!(!one(&mut state, status("blog", 4, Some("a")), asked), "it is older than the event");
    assert_eq!(state.serves("blog"), ServedVersion::Version("ab".repeat(32)));
    assert!(one(&mut state, status("blog", 5, Some("b")), asked), "the same event, and the whole status");
    assert_eq!(state.serves("blog"), ServedVersion::Version("b".into()));
}

#[test]
fn an_answer_that_stays_older_than_an_earlier_event_is_accepted_eventually() {
    let mut state = pulled(vec![status("blog", 8, Some("a"))]);
    // The project was removed and came back, and no event about that arrived.
    let anew = status("blog", 0, None);
    let mut asked = PullQuery { at: state.now(), believed: false };
    let changed = state.answer(changes(8, vec![anew.clone()], &[]), asked, true);
    assert!(changed.behind && changed.projects.is_empty());
    assert_eq!(state.since(), Some(("r1".to_owned(), 7)), "it is requested once more");
    asked.believed = true;
    assert!(one(&mut state, anew.clone(), asked));
    assert!(state.event(&live_event("blog", 9)));
    assert!(!one(&mut state, anew, asked), "the event is younger than the question");
}

#[test]
fn a_project_that_came_back_is_not_taken_back_by_older_news() {
    let mut state = pulled(vec![status("blog", 3, Some("a"))]);
    state.event(&removed("blog", 6));
    let asked = PullQuery { at: state.now(), believed: false };
    assert!(one(&mut state, status("blog", 0, None), asked));
    assert!(!state.event(&live_event("blog", 5)));
    assert!(state.event(&live_event("blog", 7)));
}

#[test]
fn a_failure_leaves_what_is_live() {
    let mut state = pulled(vec![status("blog", 3, Some("a"))]);
    let mut failed = live_event("blog", 4);
    failed.kind = EventType::ReloadFailed;
    failed.data.error =
        Some(switchyard_contract::event::Diagnostic { message: "no".into(), ..Default::default() });
    assert!(state.event(&failed));
    let status = state.get("blog").unwrap();
    assert_eq!((status.state, status.live.as_ref().unwrap().digest.as_str()), (ProjectState::Failed, "a"));
    assert_eq!(status.error.as_ref().unwrap().message, "no");
    assert!(state.event(&live_event("blog", 5)));
    assert_eq!(state.get("blog").unwrap().error, None);
}

#[test]
fn a_cell_that_died_changes_nothing_of_what_is_served() {
    let mut failing = status("blog", 3, Some("a"));
    failing.state = ProjectState::Failed;
    failing.error =
        Some(switchyard_contract::event::Diagnostic { message: "no".into(), ..Default::default() });
    let mut state = pulled(vec![failing.clone()]);
    let mut died = live_event("blog", 4);
    died.kind = EventType::CellDied;
    assert!(state.event(&died), "the rest is worth a question");
    assert_eq!(state.get("blog"), Some(&Status { sequence: 4, ..failing }));
    assert_eq!(state.serves("blog"), ServedVersion::Version("a".into()));
    died.data.project = "shop".into();
    assert!(state.event(&died));
    assert_eq!(state.serves("shop"), ServedVersion::Unknown);
}

#[test]
fn a_project_that_was_removed_does_not_come_back_with_older_news() {
    let mut state = pulled(vec![status("blog", 3, Some("a"))]);
    let asked = PullQuery { at: state.now(), believed: false };
    assert!(state.event(&removed("blog", 6)));
    assert!(!state.event(&live_event("blog", 5)));
    assert!(!one(&mut state, status("blog", 5, Some("b")), asked));
    let changed = state.answer(all(vec![status("blog", 5, Some("b"))]), asked, true);
    assert_eq!((changed.projects, changed.others), (BTreeSet::new(), false));
    assert_eq!(state.serves("blog"), ServedVersion::Nothing);
    assert!(state.event(&live_event("blog", 7)));
}

#[test]
fn projects_missing_from_an_answer_are_removed_unless_they_appeared_since_the_request() {
    let mut state = pulled(vec![status("old", 1, Some("a"))]);
    let asked = PullQuery { at: state.now(), believed: false };
    assert!(state.event(&live_event("new", 2)));
    let changed = state.answer(all(vec![status("other", 0, None)]), asked, true);
    assert_eq!(changed.projects, BTreeSet::from(["old".to_owned(), "other".to_owned()]));
    let names: Vec<_> = state.all().map(|status| status.name.as_str()).collect();
    assert_eq!(names, ["new", "other"]);
}

#[test]
fn another_router_starts_from_scratch() {
    let mut state = pulled(vec![status("blog", 900, Some("a"))]);
    assert_eq!(state.meet("r1"), None);
    assert_eq!(state.meet("r2"), Some(BTreeSet::from(["blog".to_owned()])));
    assert_eq!(state.since(), None);
    assert_eq!((state.is_pulled(), state.serves("blog")), (false, ServedVersion::Unknown));
    assert!(state.event(&live_event("blog", 1)));
}

#[test]
fn a_missing_project_counts_as_removed_only_if_the_router_had_read_everything() {
    let mut state = pulled(vec![]);
    assert_eq!(state.serves("blog"), ServedVersion::Nothing);
    state.meet("r2");
    state.answer(all(vec![]), PullQuery::default(), false);
    assert_eq!(state.serves("blog"), ServedVersion::Unknown);
}

#[test]
fn changes_keep_unnamed_projects_and_set_the_next_revision() {
    let mut state = pulled(vec![status("blog", 3, Some("a")), status("shop", 4, Some("b"))]);
    let asked = asked(&state);
    let changed = state.answer(changes(9, vec![status("zoo", 0, None)], &["blog", "never"]), asked, true);
    let names = BTreeSet::from(["blog".to_owned(), "zoo".to_owned()]);
    assert_eq!(changed, StateChange { projects: names, others: false, behind: false });
    assert_eq!(state.serves("blog"), ServedVersion::Nothing);
    assert_eq!(state.serves("shop"), ServedVersion::Version("b".into()));
    assert_eq!(state.since(), Some(("r1".to_owned(), 9)));
}

#[test]
fn changes_without_the_project_of_an_event_are_behind_it() {
    let mut state = pulled(vec![status("blog", 3, Some("a"))]);
    assert!(state.event(&live_event("blog", 4)));
    let asked = asked(&state);
    assert!(state.answer(changes(9, vec![], &[]), asked, true).behind);
    assert_eq!(state.since(), Some(("r1".to_owned(), 7)));
    let changed = state.answer(changes(9, vec![status("blog", 4, Some("b"))], &[]), asked, true);
    assert!(!changed.behind && changed.projects.contains("blog"));
    assert_eq!(state.since(), Some(("r1".to_owned(), 9)));
}

#[test]
fn the_same_files_in_another_incarnation_are_another_version() {
    let mut state = pulled(vec![status("blog", 3, Some("a"))]);
    let later = Incarnation::from_number(0xab);
    let asked = asked(&state);
    let status = Status { incarnation: later, ..status("blog", 3, Some("a")) };
    assert!(one(&mut state, status, asked), "nothing else has changed");
    assert_eq!(state.serves("blog"), ServedVersion::Version("a.00000000000000ab".into()));
    assert!(state.event(&live_event("blog", 4)));
    assert_eq!(
        state.serves("blog"),
        ServedVersion::Version("ab".repeat(32)),
        "the event names the first one"
    );
    let mut again = live_event("blog", 5);
    again.data.incarnation = later;
    assert!(state.event(&again));
    assert_eq!(state.serves("blog"), ServedVersion::Version(version_of(&"ab".repeat(32), later)));
}

#[test]
fn an_event_that_is_heard_after_the_question_makes_no_answer_late() {
    let mut state = pulled(vec![status("blog", 3, Some("a"))]);
    let asked = asked(&state);
    assert!(state.event(&live_event("blog", 4)));
    assert!(!state.answer(changes(9, vec![], &[]), asked, true).behind);
}
