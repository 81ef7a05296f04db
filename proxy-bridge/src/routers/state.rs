//! The projects of one router as it reported them: by events, in their order, and by answers, which
//! come at any time. Pure: the connection is elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use switchyard_contract::admin::{ProjectState, Projects, Status, VersionName};
use switchyard_contract::event::{Event, EventType};
use switchyard_contract::incarnation::Incarnation;

/// The known state of a router's projects.
#[derive(Debug, Default)]
pub(super) struct RouterState {
    /// The router's id: another one after each of its starts.
    router: Option<String>,
    projects: BTreeMap<String, Status>,
    /// The number of the last event of the stream.
    followed: Option<u64>,
    now: EventPosition,
    /// The projects with an event as their newest report, and its number. The rest of their status
    /// has yet to be requested.
    partial: BTreeMap<String, u64>,
    /// The revision up to which all answers have been applied.
    revision: Option<u64>,
    pulled: bool,
    /// The last answer of all projects was given when the router had read them all.
    complete: bool,
}

/// The events that had been received when a question was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct EventPosition {
    /// The highest number of an event that counted.
    heard: u64,
    /// The highest number at which a project was known to be gone: an event below it says nothing
    /// about a project that is not known.
    gone: u64,
}

/// A request for the router's statuses, with the position in the event stream at which it was sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PullQuery {
    pub(super) at: EventPosition,
    /// `true`: the answer counts also where it does not know events that were received before. A
    /// router sends an event a moment before its answers show it, so only later answers are trusted
    /// so much.
    pub(super) believed: bool,
}

/// The changes that an answer brought.
#[derive(Debug, Default, PartialEq)]
pub(super) struct StateChange {
    /// The projects that are otherwise known than before.
    pub(super) projects: BTreeSet<String>,
    /// `true`: the state of projects that the router does not have has changed, too.
    pub(super) others: bool,
    /// The answer did not know of an event that had been heard before the question.
    pub(super) behind: bool,
}

/// The version of a project that a router serves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ServedVersion {
    /// The router has not reported it, or does not know it yet.
    Unknown,
    Nothing,
    /// The version, as [`version_of`] writes it.
    Version(String),
}

/// Returns the text that stands for files in an incarnation: the digest alone in the first one. The
/// same files in another incarnation are something else: they have other data.
pub(super) fn version_of(digest: &str, incarnation: Incarnation) -> String {
    if incarnation.is_first() { digest.to_owned() } else { format!("{digest}.{incarnation}") }
}

impl RouterState {
    /// Begins with the router of this id. If it is another one than before, all state is forgotten.
    /// Returns the projects that were known then, or `None` if it is the same router.
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

    /// Returns the router's id, once it is known.
    pub(super) fn router_id(&self) -> Option<&str> {
        self.router.as_deref()
    }

    /// Notes that the stream has come to this event.
    pub(super) fn follow(&mut self, event: &Event) {
        self.followed = Some(event.data.sequence);
    }

    /// Returns the number of the event after which the stream continues.
    pub(super) fn followed(&self) -> Option<u64> {
        self.followed
    }

    pub(super) fn now(&self) -> EventPosition {
        self.now
    }

    /// Returns the router's id, and the revision after which changes are requested.
    pub(super) fn since(&self) -> Option<(String, u64)> {
        Some((self.router.clone()?, self.revision?))
    }

    /// Returns true if all projects were reported once.
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

    /// Returns the same for a router that had read all projects when it last answered. One that is
    /// starting may yet serve the version from before.
    pub(super) fn serves_surely(&self, project: &str) -> ServedVersion {
        if self.complete { self.serves(project) } else { ServedVersion::Unknown }
    }

    /// Applies the facts in an event; the rest of the project's status is requested. Returns true
    /// if anything has changed.
    pub(super) fn event(&mut self, event: &Event) -> bool {
        let data = &event.data;
        // 0 is a project without an event: it is new, or came back.
        let last = self.projects.get(&data.project).map(|status| status.sequence).filter(|last| *last > 0);
        let known = last.unwrap_or(self.now.gone);
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
        match event.kind {
            // The served version stays.
            EventType::CellDied | EventType::RouteConflict => return true,
            EventType::OverrideSet => {
                status.overridden.clone_from(&data.folder);
                status.on_disk = None;
                return true;
            }
            EventType::OverrideEnded => {
                status.overridden = None;
                status.on_disk = None;
                return true;
            }
            _ => {}
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
        // Statuses that did not count must come again.
        if none_gone && !changed.behind {
            self.revision = Some(revision);
        }
        changed
    }

    /// Returns true if an event was received that this status does not know.
    fn is_ahead_of(&self, status: &Status) -> bool {
        self.projects.get(&status.name).is_some_and(|known| known.sequence > status.sequence)
    }

    /// Removes a project that the router no longer has, unless an event about it arrived after the
    /// request.
    fn remove(&mut self, name: &str, asked: PullQuery) -> bool {
        if self.projects.get(name).is_none_or(|known| known.sequence > asked.at.heard) {
            return false;
        }
        self.projects.remove(name);
        self.partial.remove(name);
        self.now.gone = self.now.gone.max(asked.at.heard);
        true
    }

    /// Stores a status, if it counts. `none_gone`: no project is known to have gone since the
    /// question.
    fn put(&mut self, status: Status, asked: PullQuery, none_gone: bool) -> bool {
        let known = self.projects.get(&status.name);
        let counts = match known {
            Some(known) => {
                let believed = asked.believed && known.sequence <= asked.at.heard;
                status.sequence >= known.sequence || believed
            }
            // The project may be the one that has gone: all changes are requested again.
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

/// Returns the status of a project of which only the name is known.
fn unknown(name: &str) -> Status {
    Status { name: name.to_owned(), ..Status::default() }
}

fn version(event: &Event) -> Option<VersionName> {
    let data = &event.data;
    Some(VersionName {
        digest: data.digest?.to_string(),
        version: data.version.clone()?,
        commit: data.commit.clone(),
    })
}

#[cfg(test)]
mod tests;
