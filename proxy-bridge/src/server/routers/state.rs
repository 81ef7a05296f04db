//! What one router has told of its projects: by events, in their order, and by answers, which come at
//! any time. Pure; who asks and listens is elsewhere.

use std::collections::{BTreeMap, HashSet};

use crate::admin::{State as ProjectState, Status, VersionName};
use crate::event::{Event, EventType};

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

/// What a router serves of a project.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Serves {
    /// It has not said so, or does not know yet itself.
    Unknown,
    Nothing,
    Digest(String),
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
                status.live.as_ref().map_or(Serves::Unknown, |live| Serves::Digest(live.digest.clone()))
            }
            None if self.complete => Serves::Nothing,
            None => Serves::Unknown,
        }
    }

    /// Applies what an event says by itself; the rest of the project's status is asked for. Returns
    /// whether anything is otherwise than before.
    pub(super) fn event(&mut self, event: &Event) -> bool {
        let data = &event.data;
        let known = self.projects.get(&data.project).map_or(self.now.gone, |status| status.sequence);
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
        status.on_disk = version(event);
        status.error.clone_from(&data.error);
        if event.kind == EventType::ReloadLive {
            status.state = ProjectState::Live;
            status.live = version(event);
            status.last_good = version(event);
        } else {
            status.state = ProjectState::Failed;
        }
        true
    }

    /// Applies the answer to what was asked of one project at `asked`. Returns whether anything is
    /// otherwise than before.
    pub(super) fn one(&mut self, status: Status, asked: Moment) -> bool {
        self.put(status, asked.gone == self.now.gone)
    }

    /// Applies the answer to what was asked of all projects at `asked`; `complete` when the router had
    /// read them all by then. Returns whether anything is otherwise than before.
    pub(super) fn all_told(&mut self, statuses: Vec<Status>, asked: Moment, complete: bool) -> bool {
        let mut changed = !self.pulled || self.complete != complete;
        (self.pulled, self.complete) = (true, complete);
        let none_gone = asked.gone == self.now.gone;
        let names: HashSet<_> = statuses.iter().map(|status| status.name.clone()).collect();
        let before = self.projects.len();
        self.projects.retain(|name, known| known.sequence > asked.heard || names.contains(name));
        if self.projects.len() != before {
            self.now.gone = self.now.gone.max(asked.heard);
            changed = true;
        }
        for status in statuses {
            changed |= self.put(status, none_gone);
        }
        changed
    }

    /// `none_gone`: no project is known to have gone since the status was asked for.
    fn put(&mut self, status: Status, none_gone: bool) -> bool {
        let newer = match self.projects.get(&status.name) {
            Some(known) => status.sequence >= known.sequence && status != *known,
            // It may be the one that has gone. Whoever told of that has all asked again.
            None => none_gone,
        };
        if newer {
            self.now.heard = self.now.heard.max(status.sequence);
            self.projects.insert(status.name.clone(), status);
        }
        newer
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
        in_flight: 0,
        draining: Vec::new(),
        reloads: Vec::new(),
        routes: Vec::new(),
        held: None,
        sequence: 0,
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
        assert!(state.all_told(statuses, Moment::default(), true));
        state
    }

    #[test]
    fn an_answer_counts_unless_a_later_event_was_heard() {
        let mut state = pulled(vec![known("blog", 3, Some("a"))]);
        assert!(!state.event(&live_event("blog", 3)), "the answer told of it");
        assert!(state.event(&live_event("blog", 5)));
        let asked = state.now();
        assert!(!state.one(known("blog", 4, Some("a")), asked), "it is older than the event");
        assert_eq!(state.serves("blog"), Serves::Digest("ab".repeat(32)));
        assert!(state.one(known("blog", 5, Some("b")), asked), "the same event, and the whole status");
        assert_eq!(state.serves("blog"), Serves::Digest("b".into()));
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
    fn a_project_that_was_removed_does_not_come_back_with_older_news() {
        let mut state = pulled(vec![known("blog", 3, Some("a"))]);
        let asked = state.now();
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
        let asked = state.now();
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
        state.all_told(vec![], Moment::default(), false);
        assert_eq!(state.serves("blog"), Serves::Unknown);
    }
}
