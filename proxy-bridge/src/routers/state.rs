//! What one router has told of its projects: by events, in their order, and by answers, which come at
//! any time. Pure; who asks and listens is elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use switchyard_contract::admin::{ProjectState, Projects, Status, VersionName};
use switchyard_contract::event::{Event, EventType};
use switchyard_contract::incarnation::Incarnation;

/// What is known of a router's projects.
#[derive(Debug, Default)]
pub(super) struct RouterState {
    /// Which start of the router it is that tells this.
    router: Option<String>,
    projects: BTreeMap<String, Status>,
    /// The number of the last event of the stream.
    followed: Option<u64>,
    now: EventPosition,
    /// The projects whose newest word is an event, with its number: the rest of their status is yet
    /// to be asked for.
    partial: BTreeMap<String, u64>,
    /// The revision up to which all answers have been applied.
    revision: Option<u64>,
    pulled: bool,
    /// The last answer of all projects was given when the router had read them all.
    complete: bool,
}

/// How far events had been heard when something was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct EventPosition {
    /// The highest number of an event that counted.
    heard: u64,
    /// The highest number at which a project was known to be gone: an event below it says nothing of a
    /// project that is not known.
    gone: u64,
}

/// A question that was asked.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PullQuery {
    pub(super) at: EventPosition,
    /// The answer counts also where it is behind events that had been heard. A router tells of an event a moment
    /// before it shows what came of it, so answers are believed so much only after some of them.
    pub(super) believed: bool,
}

/// What an answer has changed.
#[derive(Debug, Default, PartialEq)]
pub(super) struct StateChange {
    /// The projects that are otherwise known than before.
    pub(super) projects: BTreeSet<String>,
    /// What is known of projects that the router does not have is otherwise, too.
    pub(super) others: bool,
    /// The answer did not know of an event that had been heard before the question.
    pub(super) behind: bool,
}

/// What a router serves of a project.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ServedVersion {
    /// It has not said so, or does not know yet itself.
    Unknown,
    Nothing,
    /// As [`version_of`] writes it.
    Version(String),
}

/// Returns the text that stands for files in an incarnation: the digest alone in the first one. The
/// same files in another incarnation are something else: they have other data.
pub(super) fn version_of(digest: &str, incarnation: Incarnation) -> String {
    if incarnation.is_first() { digest.to_owned() } else { format!("{digest}.{incarnation}") }
}

impl RouterState {
    /// Takes up with the router of this id. Another one than before begins anew, and what was known
    /// is forgotten. Returns the projects that were known, when it is another.
    pub(super) fn meet(&mut self, router: &str) -> Option<BTreeSet<String>> {
        if self.router.as_deref() == Some(router) {
            return None;
        }
        let before = std::mem::replace(self, Self { router: Some(router.to_owned()), ..Self::default() });
        Some(before.projects.into_keys().collect())
    }

    pub(super) fn is_of(&self, router: &str) -> bool {
        self.router.as_deref() == Some(router)
    }

    /// Notes that the stream has come to this event.
    pub(super) fn follow(&mut self, event: &Event) {
        self.followed = Some(event.data.sequence);
    }

    /// What the stream is to be continued after.
    pub(super) fn followed(&self) -> Option<u64> {
        self.followed
    }

    pub(super) fn now(&self) -> EventPosition {
        self.now
    }

    /// The router's id, and the revision that changes are to be asked for after.
    pub(super) fn since(&self) -> Option<(String, u64)> {
        Some((self.router.clone()?, self.revision?))
    }

    /// Whether all projects were told once.
    pub(super) fn is_pulled(&self) -> bool {
        self.pulled
    }

    pub(super) fn get(&self, project: &str) -> Option<&Status> {
        self.projects.get(project)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Status> {
        self.projects.values()
    }

    pub(super) fn serves(&self, project: &str) -> ServedVersion {
        match self.projects.get(project) {
            Some(status) => {
                let version = |live: &VersionName| version_of(&live.digest, status.incarnation);
                status
                    .live
                    .as_ref()
                    .map_or(ServedVersion::Unknown, |live| ServedVersion::Version(version(live)))
            }
            None if self.complete => ServedVersion::Nothing,
            None => ServedVersion::Unknown,
        }
    }

    /// The same, of a router that had read all projects when it last answered. One that is starting
    /// may yet serve what it served before.
    pub(super) fn serves_surely(&self, project: &str) -> ServedVersion {
        if self.complete { self.serves(project) } else { ServedVersion::Unknown }
    }

    /// Applies what an event says by itself; the rest of the project's status is asked for. Returns
    /// whether anything is otherwise than before.
    pub(super) fn event(&mut self, event: &Event) -> bool {
        let data = &event.data;
        // 0 is a project that no event told of: it is new, or came back.
        let told = self.projects.get(&data.project).map(|status| status.sequence).filter(|told| *told > 0);
        let known = told.unwrap_or(self.now.gone);
        if data.sequence <= known || event.kind == EventType::VersionRetired {
            return false;
        }
        self.now.heard = self.now.heard.max(data.sequence);
        if event.kind == EventType::ProjectRemoved {
            self.now.gone = self.now.gone.max(data.sequence);
            self.partial.remove(&data.project);
            return self.projects.remove(&data.project).is_some();
        }
        self.partial.insert(data.project.clone(), data.sequence);
        let status = self.projects.entry(data.project.clone()).or_insert_with(|| unknown(&data.project));
        status.sequence = data.sequence;
        if matches!(event.kind, EventType::CellDied | EventType::RouteConflict) {
            // What is served stays what it was.
            return true;
        }
        status.on_disk = version(event);
        status.error.clone_from(&data.error);
        if event.kind == EventType::ReloadLive {
            status.state = ProjectState::Live;
            status.incarnation = data.incarnation;
            status.live = version(event);
            status.last_good = version(event);
        } else {
            status.state = ProjectState::Failed;
        }
        true
    }

    /// Applies an answer; `complete` when the router had read all projects by then.
    pub(super) fn answer(&mut self, answer: Projects, asked: PullQuery, complete: bool) -> StateChange {
        let Projects { revision, since, projects, removed, .. } = answer;
        let mut changed =
            StateChange { others: !self.pulled || self.complete != complete, ..StateChange::default() };
        (self.pulled, self.complete) = (true, complete);
        let none_gone = asked.at.gone == self.now.gone;
        changed.behind = !asked.believed && projects.iter().any(|status| self.is_ahead_of(status));
        let gone: Vec<_> = match since {
            Some(_) => removed,
            None => {
                let names: BTreeSet<_> = projects.iter().map(|status| status.name.as_str()).collect();
                self.projects.keys().filter(|name| !names.contains(name.as_str())).cloned().collect()
            }
        };
        changed.projects.extend(gone.into_iter().filter(|name| self.remove(name, asked)));
        for status in projects {
            let name = status.name.clone();
            if self.put(status, asked, none_gone) {
                changed.projects.insert(name);
            }
        }
        changed.behind |= !asked.believed && self.partial.values().any(|heard| *heard <= asked.at.heard);
        // What did not count has to come again.
        if none_gone && !changed.behind {
            self.revision = Some(revision);
        }
        changed
    }

    /// Whether an event was heard that this answer does not know of.
    fn is_ahead_of(&self, status: &Status) -> bool {
        self.projects.get(&status.name).is_some_and(|known| known.sequence > status.sequence)
    }

    /// Takes out a project that the router does not have any more, unless an event has told of it
    /// since the question.
    fn remove(&mut self, name: &str, asked: PullQuery) -> bool {
        if self.projects.get(name).is_none_or(|known| known.sequence > asked.at.heard) {
            return false;
        }
        self.projects.remove(name);
        self.partial.remove(name);
        self.now.gone = self.now.gone.max(asked.at.heard);
        true
    }

    /// `none_gone`: no project is known to have gone since the status was asked for.
    fn put(&mut self, status: Status, asked: PullQuery, none_gone: bool) -> bool {
        let known = self.projects.get(&status.name);
        let counts = match known {
            Some(known) => {
                let believed = asked.believed && known.sequence <= asked.at.heard;
                status.sequence >= known.sequence || believed
            }
            // It may be the one that has gone: all that has changed is asked for again.
            None => none_gone,
        };
        if !counts {
            return false;
        }
        self.partial.remove(&status.name);
        if known == Some(&status) {
            return false;
        }
        self.now.heard = self.now.heard.max(status.sequence);
        self.projects.insert(status.name.clone(), status);
        true
    }
}

/// A project of which nothing is known but that there is one.
fn unknown(name: &str) -> Status {
    Status {
        name: name.to_owned(),
        state: ProjectState::Building,
        on_disk: None,
        live: None,
        last_good: None,
        error: None,
        pid: None,
        pids: Vec::new(),
        in_flight: 0,
        waiting: 0,
        draining: Vec::new(),
        reloads: Vec::new(),
        routes: Vec::new(),
        claims: Vec::new(),
        conflicts: Vec::new(),
        held_by: None,
        sequence: 0,
        grants: None,
        crashes: Vec::new(),
        entry: None,
        crons: Vec::new(),
        incarnation: Incarnation::FIRST,
    }
}

fn version(event: &Event) -> Option<VersionName> {
    let data = &event.data;
    Some(VersionName { digest: data.digest?.to_string(), version: data.version.clone()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str, sequence: u64, digest: Option<&str>) -> Status {
        let live = digest.map(|digest| VersionName { digest: digest.into(), version: format!("{name}@x") });
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
        Projects {
            router: "r1".into(),
            installs: false,
            revision: 7,
            since: None,
            projects,
            removed: Vec::new(),
        }
    }

    /// An answer that has what changed after some revision.
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

    /// Applies a change of one project. Returns whether anything is otherwise than before.
    fn one(state: &mut RouterState, status: Status, asked: PullQuery) -> bool {
        let name = status.name.clone();
        state.answer(changes(8, vec![status], &[]), asked, true).projects.contains(&name)
    }

    fn asked(state: &RouterState) -> PullQuery {
        PullQuery { at: state.now(), believed: false }
    }

    #[test]
    fn an_answer_counts_unless_a_later_event_was_heard() {
        let mut state = pulled(vec![known("blog", 3, Some("a"))]);
        assert!(!state.event(&live_event("blog", 3)), "the answer told of it");
        assert!(state.event(&live_event("blog", 5)));
        let asked = PullQuery { at: state.now(), believed: false };
        assert!(!one(&mut state, known("blog", 4, Some("a")), asked), "it is older than the event");
        assert_eq!(state.serves("blog"), ServedVersion::Version("ab".repeat(32)));
        assert!(one(&mut state, known("blog", 5, Some("b")), asked), "the same event, and the whole status");
        assert_eq!(state.serves("blog"), ServedVersion::Version("b".into()));
    }

    #[test]
    fn an_answer_that_stays_behind_what_was_heard_before_the_question_counts_in_the_end() {
        let mut state = pulled(vec![known("blog", 8, Some("a"))]);
        // It was removed and came back, and nobody heard of that.
        let anew = known("blog", 0, None);
        let mut asked = PullQuery { at: state.now(), believed: false };
        let changed = state.answer(changes(8, vec![anew.clone()], &[]), asked, true);
        assert!(changed.behind && changed.projects.is_empty());
        assert_eq!(state.since(), Some(("r1".to_owned(), 7)), "it is asked for once more");
        asked.believed = true;
        assert!(one(&mut state, anew.clone(), asked));
        assert!(state.event(&live_event("blog", 9)));
        assert!(!one(&mut state, anew, asked), "the event is younger than the question");
    }

    #[test]
    fn a_project_that_came_back_is_not_taken_back_by_older_news() {
        let mut state = pulled(vec![known("blog", 3, Some("a"))]);
        state.event(&removed("blog", 6));
        let asked = PullQuery { at: state.now(), believed: false };
        assert!(one(&mut state, known("blog", 0, None), asked));
        assert!(!state.event(&live_event("blog", 5)));
        assert!(state.event(&live_event("blog", 7)));
    }

    #[test]
    fn a_failure_leaves_what_is_live() {
        let mut state = pulled(vec![known("blog", 3, Some("a"))]);
        let mut failed = live_event("blog", 4);
        failed.kind = EventType::ReloadFailed;
        failed.data.error =
            Some(switchyard_contract::event::Diagnostic { message: "no".into(), ..Default::default() });
        assert!(state.event(&failed));
        let status = state.get("blog").unwrap();
        assert_eq!(
            (status.state, status.live.as_ref().unwrap().digest.as_str()),
            (ProjectState::Failed, "a")
        );
        assert_eq!(status.error.as_ref().unwrap().message, "no");
        assert!(state.event(&live_event("blog", 5)));
        assert_eq!(state.get("blog").unwrap().error, None);
    }

    #[test]
    fn a_cell_that_died_changes_nothing_of_what_is_served() {
        let mut failing = known("blog", 3, Some("a"));
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
        let mut state = pulled(vec![known("blog", 3, Some("a"))]);
        let asked = PullQuery { at: state.now(), believed: false };
        assert!(state.event(&removed("blog", 6)));
        assert!(!state.event(&live_event("blog", 5)));
        assert!(!one(&mut state, known("blog", 5, Some("b")), asked));
        let changed = state.answer(all(vec![known("blog", 5, Some("b"))]), asked, true);
        assert_eq!((changed.projects, changed.others), (BTreeSet::new(), false));
        assert_eq!(state.serves("blog"), ServedVersion::Nothing);
        assert!(state.event(&live_event("blog", 7)));
    }

    #[test]
    fn what_an_answer_leaves_out_is_gone_unless_it_came_since_the_question() {
        let mut state = pulled(vec![known("old", 1, Some("a"))]);
        let asked = PullQuery { at: state.now(), believed: false };
        assert!(state.event(&live_event("new", 2)));
        let changed = state.answer(all(vec![known("other", 0, None)]), asked, true);
        assert_eq!(changed.projects, BTreeSet::from(["old".to_owned(), "other".to_owned()]));
        let names: Vec<_> = state.all().map(|status| status.name.as_str()).collect();
        assert_eq!(names, ["new", "other"]);
    }

    #[test]
    fn another_router_begins_anew() {
        let mut state = pulled(vec![known("blog", 900, Some("a"))]);
        assert_eq!(state.meet("r1"), None);
        assert_eq!(state.meet("r2"), Some(BTreeSet::from(["blog".to_owned()])));
        assert_eq!(state.since(), None);
        assert_eq!((state.is_pulled(), state.serves("blog")), (false, ServedVersion::Unknown));
        assert!(state.event(&live_event("blog", 1)));
    }

    #[test]
    fn a_project_that_is_missing_is_gone_only_when_the_router_had_read_all() {
        let mut state = pulled(vec![]);
        assert_eq!(state.serves("blog"), ServedVersion::Nothing);
        state.meet("r2");
        state.answer(all(vec![]), PullQuery::default(), false);
        assert_eq!(state.serves("blog"), ServedVersion::Unknown);
    }

    #[test]
    fn changes_leave_what_they_do_not_name_and_lead_to_the_next_question() {
        let mut state = pulled(vec![known("blog", 3, Some("a")), known("shop", 4, Some("b"))]);
        let asked = asked(&state);
        let changed = state.answer(changes(9, vec![known("zoo", 0, None)], &["blog", "never"]), asked, true);
        let names = BTreeSet::from(["blog".to_owned(), "zoo".to_owned()]);
        assert_eq!(changed, StateChange { projects: names, others: false, behind: false });
        assert_eq!(state.serves("blog"), ServedVersion::Nothing);
        assert_eq!(state.serves("shop"), ServedVersion::Version("b".into()));
        assert_eq!(state.since(), Some(("r1".to_owned(), 9)));
    }

    #[test]
    fn changes_without_the_project_of_an_event_are_behind_it() {
        let mut state = pulled(vec![known("blog", 3, Some("a"))]);
        assert!(state.event(&live_event("blog", 4)));
        let asked = asked(&state);
        assert!(state.answer(changes(9, vec![], &[]), asked, true).behind);
        assert_eq!(state.since(), Some(("r1".to_owned(), 7)));
        let changed = state.answer(changes(9, vec![known("blog", 4, Some("b"))], &[]), asked, true);
        assert!(!changed.behind && changed.projects.contains("blog"));
        assert_eq!(state.since(), Some(("r1".to_owned(), 9)));
    }

    #[test]
    fn the_same_files_in_another_incarnation_are_another_version() {
        let mut state = pulled(vec![known("blog", 3, Some("a"))]);
        let later = Incarnation::from_number(0xab);
        let asked = asked(&state);
        let status = Status { incarnation: later, ..known("blog", 3, Some("a")) };
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
        let mut state = pulled(vec![known("blog", 3, Some("a"))]);
        let asked = asked(&state);
        assert!(state.event(&live_event("blog", 4)));
        assert!(!state.answer(changes(9, vec![], &[]), asked, true).behind);
    }
}
