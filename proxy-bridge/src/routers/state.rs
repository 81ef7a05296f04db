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
    Status { name: name.to_owned(), ..Status::default() }
}

fn version(event: &Event) -> Option<VersionName> {
    let data = &event.data;
    Some(VersionName { digest: data.digest?.to_string(), version: data.version.clone()? })
}

#[cfg(test)]
mod tests;
