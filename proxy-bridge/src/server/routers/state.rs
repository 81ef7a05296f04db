//! What one router has told of its projects: by events, in their order, and by answers, which come at
//! any time. Pure; who asks and listens is elsewhere.

use std::collections::{BTreeMap, HashSet};

use crate::admin::{State as ProjectState, Status, VersionName};
use crate::event::{Event, EventType};
use crate::incarnation::Incarnation;

/// What is known of a router's projects.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Which start of the router it is that tells this.
    router: Option<String>,
    projects: BTreeMap<String, Status>,
    /// The number of the last event of the stream.
    followed: Option<u64>,
    now: Moment,
    pulled: bool,
    /// The last answer of all projects was given when the router had read them all.
    complete: bool,
}

/// How far events had been heard when something was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Moment {
    /// The highest number of an event that counted.
    heard: u64,
    /// The highest number at which a project was known to be gone: an event below it says nothing of a
    /// project that is not known.
    gone: u64,
}

/// A question that was asked.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    pub(super) at: Moment,
    /// The answer counts also where it is behind events that had been heard. A router tells of an event a moment
    /// before it shows what came of it, so answers are believed so much only after some of them.
    pub(super) believed: bool,
}

/// What a router serves of a project.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Serves {
    /// It has not said so, or does not know yet itself.
    Unknown,
    Nothing,
    Digest(String),
}

impl Serves {
    /// The same files in another incarnation are something else: they have other data.
    pub(super) fn version(digest: &str, incarnation: Incarnation) -> Self {
        if incarnation.is_first() {
            Self::Digest(digest.to_owned())
        } else {
            Self::Digest(format!("{digest}.{incarnation}"))
        }
    }
}

impl State {
    /// Takes up with the router of this id. Another one than before begins anew, and what was known
    /// is forgotten. Returns whether it is another.
    pub(super) fn meet(&mut self, router: &str) -> bool {
        if self.router.as_deref() == Some(router) {
            return false;
        }
        *self = Self { router: Some(router.to_owned()), ..Self::default() };
        true
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

    pub(super) fn now(&self) -> Moment {
        self.now
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

    pub(super) fn serves(&self, project: &str) -> Serves {
        match self.projects.get(project) {
            Some(status) => {
                let live = status.live.as_ref();
                live.map_or(Serves::Unknown, |live| Serves::version(&live.digest, status.incarnation))
            }
            None if self.complete => Serves::Nothing,
            None => Serves::Unknown,
        }
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
            return self.projects.remove(&data.project).is_some();
        }
        let status = self.projects.entry(data.project.clone()).or_insert_with(|| unknown(&data.project));
        status.sequence = data.sequence;
        if event.kind == EventType::CellDied {
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

    /// Whether an event was heard that this answer does not know of.
    pub(super) fn is_ahead_of(&self, status: &Status) -> bool {
        self.projects.get(&status.name).is_some_and(|known| known.sequence > status.sequence)
    }

    /// Applies the answer to what was asked of one project. Returns whether anything is otherwise than
    /// before.
    pub(super) fn one(&mut self, status: Status, asked: Asked) -> bool {
        self.put(status, asked, asked.at.gone == self.now.gone)
    }

    /// Applies the answer to what was asked of all projects; `complete` when the router had read them all by
    /// then. Returns whether anything is otherwise than before.
    pub(super) fn all_told(&mut self, statuses: Vec<Status>, asked: Asked, complete: bool) -> bool {
        let mut changed = !self.pulled || self.complete != complete;
        (self.pulled, self.complete) = (true, complete);
        let none_gone = asked.at.gone == self.now.gone;
        let names: HashSet<_> = statuses.iter().map(|status| status.name.clone()).collect();
        let before = self.projects.len();
        self.projects.retain(|name, known| known.sequence > asked.at.heard || names.contains(name));
        if self.projects.len() != before {
            self.now.gone = self.now.gone.max(asked.at.heard);
            changed = true;
        }
        for status in statuses {
            changed |= self.put(status, asked, none_gone);
        }
        changed
    }

    /// `none_gone`: no project is known to have gone since the status was asked for.
    fn put(&mut self, status: Status, asked: Asked, none_gone: bool) -> bool {
        let counts = match self.projects.get(&status.name) {
            Some(known) => {
                let believed = asked.believed && known.sequence <= asked.at.heard;
                (status.sequence >= known.sequence || believed) && status != *known
            }
            // It may be the one that has gone. Whoever told of that has all asked again.
            None => none_gone,
        };
        if counts {
            self.now.heard = self.now.heard.max(status.sequence);
            self.projects.insert(status.name.clone(), status);
        }
        counts
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
        held: None,
        sequence: 0,
        grants: None,
        deaths: Vec::new(),
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
    use crate::event::tests::live as live_event;

    fn known(name: &str, sequence: u64, digest: Option<&str>) -> Status {
        let live = digest.map(|digest| VersionName { digest: digest.into(), version: format!("{name}@x") });
        Status { sequence, live, ..unknown(name) }
    }

    fn removed(project: &str, sequence: u64) -> Event {
        let mut event = live_event(project, sequence);
        event.kind = EventType::ProjectRemoved;
        (event.data.digest, event.data.version) = (None, None);
        event
    }

    fn pulled(statuses: Vec<Status>) -> State {
        let mut state = State::default();
        state.meet("r1");
        assert!(state.all_told(statuses, Asked::default(), true));
        state
    }

    #[test]
    fn an_answer_counts_unless_a_later_event_was_heard() {
        let mut state = pulled(vec![known("blog", 3, Some("a"))]);
        assert!(!state.event(&live_event("blog", 3)), "the answer told of it");
        assert!(state.event(&live_event("blog", 5)));
        let asked = Asked { at: state.now(), believed: false };
        assert!(!state.one(known("blog", 4, Some("a")), asked), "it is older than the event");
        assert_eq!(state.serves("blog"), Serves::Digest("ab".repeat(32)));
        assert!(state.one(known("blog", 5, Some("b")), asked), "the same event, and the whole status");
        assert_eq!(state.serves("blog"), Serves::Digest("b".into()));
    }

    #[test]
    fn an_answer_that_stays_behind_what_was_heard_before_the_question_counts_in_the_end() {
        let mut state = pulled(vec![known("blog", 8, Some("a"))]);
        // It was removed and came back, and nobody heard of that.
        let anew = known("blog", 0, None);
        assert!(state.is_ahead_of(&anew));
        let mut asked = Asked { at: state.now(), believed: false };
        assert!(!state.one(anew.clone(), asked));
        asked.believed = true;
        assert!(state.one(anew.clone(), asked));
        assert!(state.event(&live_event("blog", 9)));
        assert!(!state.one(anew, asked), "the event is younger than the question");
    }

    #[test]
    fn a_project_that_came_back_is_not_taken_back_by_older_news() {
        let mut state = pulled(vec![known("blog", 3, Some("a"))]);
        state.event(&removed("blog", 6));
        let asked = Asked { at: state.now(), believed: false };
        assert!(state.one(known("blog", 0, None), asked));
        assert!(!state.event(&live_event("blog", 5)));
        assert!(state.event(&live_event("blog", 7)));
    }

    #[test]
    fn a_failure_leaves_what_is_live() {
        let mut state = pulled(vec![known("blog", 3, Some("a"))]);
        let mut failed = live_event("blog", 4);
        failed.kind = EventType::ReloadFailed;
        failed.data.error = Some(crate::event::Diagnostic { message: "no".into(), ..Default::default() });
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
        failing.error = Some(crate::event::Diagnostic { message: "no".into(), ..Default::default() });
        let mut state = pulled(vec![failing.clone()]);
        let mut died = live_event("blog", 4);
        died.kind = EventType::CellDied;
        assert!(state.event(&died), "the rest is worth a question");
        assert_eq!(state.get("blog"), Some(&Status { sequence: 4, ..failing }));
        assert_eq!(state.serves("blog"), Serves::Digest("a".into()));
        died.data.project = "shop".into();
        assert!(state.event(&died));
        assert_eq!(state.serves("shop"), Serves::Unknown);
    }

    #[test]
    fn a_project_that_was_removed_does_not_come_back_with_older_news() {
        let mut state = pulled(vec![known("blog", 3, Some("a"))]);
        let asked = Asked { at: state.now(), believed: false };
        assert!(state.event(&removed("blog", 6)));
        assert!(!state.event(&live_event("blog", 5)));
        assert!(!state.one(known("blog", 5, Some("b")), asked));
        assert!(!state.all_told(vec![known("blog", 5, Some("b"))], asked, true));
        assert_eq!(state.serves("blog"), Serves::Nothing);
        assert!(state.event(&live_event("blog", 7)));
    }

    #[test]
    fn what_an_answer_leaves_out_is_gone_unless_it_came_since_the_question() {
        let mut state = pulled(vec![known("old", 1, Some("a"))]);
        let asked = Asked { at: state.now(), believed: false };
        assert!(state.event(&live_event("new", 2)));
        assert!(state.all_told(vec![known("other", 0, None)], asked, true));
        let names: Vec<_> = state.all().map(|status| status.name.as_str()).collect();
        assert_eq!(names, ["new", "other"]);
    }

    #[test]
    fn another_router_begins_anew() {
        let mut state = pulled(vec![known("blog", 900, Some("a"))]);
        assert!(!state.meet("r1"));
        assert!(state.meet("r2"));
        assert_eq!((state.is_pulled(), state.serves("blog")), (false, Serves::Unknown));
        assert!(state.event(&live_event("blog", 1)));
    }

    #[test]
    fn a_project_that_is_missing_is_gone_only_when_the_router_had_read_all() {
        let mut state = pulled(vec![]);
        assert_eq!(state.serves("blog"), Serves::Nothing);
        state.meet("r2");
        state.all_told(vec![], Asked::default(), false);
        assert_eq!(state.serves("blog"), Serves::Unknown);
    }
}
