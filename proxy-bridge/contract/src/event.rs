//! Events about a project: the JSON that is posted to the ingress and replayed at `GET /events`.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::bounds;
use crate::commit::CommitInfo;
use crate::digest::Digest;
use crate::incarnation::Incarnation;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// The kind of the event.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// The time of the event, not of its delivery. RFC 3339 in JSON.
    pub timestamp: Timestamp,
    /// The subject and the details.
    pub data: EventData,
}

/// The kind of an event, in the past tense: applied, not merely accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum EventType {
    /// The new version answers requests now, and no new request goes to the one before it.
    #[serde(rename = "reload.live")]
    ReloadLive,
    /// The new version cannot be served. The version that was live before still is.
    #[serde(rename = "reload.failed")]
    ReloadFailed,
    /// The project's folder is gone, and so is its route.
    #[serde(rename = "project.removed")]
    ProjectRemoved,
    /// The process of a version that was live has ended.
    #[serde(rename = "version.retired")]
    VersionRetired,
    /// The process of the live version ended unexpectedly, or was ended because it exceeded a
    /// limit.
    #[serde(rename = "cell.died")]
    CellDied,
    /// A project claims a route to which another project has a better or an equal right. Both get
    /// an event.
    #[serde(rename = "route.conflict")]
    RouteConflict,
    /// The project is read from a local folder instead of the volume from now on.
    #[serde(rename = "override.set")]
    OverrideSet,
    /// The project is read from the volume again.
    #[serde(rename = "override.ended")]
    OverrideEnded,
}

impl EventType {
    /// The name as in JSON and in the `event:` field of `GET /events`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReloadLive => "reload.live",
            Self::ReloadFailed => "reload.failed",
            Self::ProjectRemoved => "project.removed",
            Self::VersionRetired => "version.retired",
            Self::CellDied => "cell.died",
            Self::RouteConflict => "route.conflict",
            Self::OverrideSet => "override.set",
            Self::OverrideEnded => "override.ended",
        }
    }
}

/// The subject of an event, and its details.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventData {
    /// The id of the router that sent the event.
    pub router: String,
    /// Counts the events of this router upwards, over all its projects; the `id:` at `GET /events`.
    pub sequence: u64,
    /// The project's name: `blog`.
    pub project: String,
    /// The digest of the version. `null` without a version: the project was removed, or failed
    /// before its files could be read.
    pub digest: Option<Digest>,
    /// `blog@3f9a1c2b7d4e`: the project and the digest's first 12 digits. None as for `digest`.
    pub version: Option<String>,
    /// The owner of the version's data: `first`, or 16 hex digits once the project was removed and
    /// deployed again.
    #[serde(default)]
    pub incarnation: Incarnation,
    /// The commit that the version's files came from. Absent unless a git source deployed them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitInfo>,
    /// The version that was live before, if any. In `reload.failed` it is live still.
    pub previous: Option<String>,
    /// The reason why the router read the project. `null` without one, as when a version is
    /// retired.
    pub trigger: Option<Trigger>,
    /// The files that the router found changed when it read the project. In `reload.live` and `reload.failed`
    /// only, and absent where it has nothing to compare with, as for the first version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<ChangedFiles>,
    /// The reason why the version cannot be served. In `reload.failed` only.
    pub error: Option<Diagnostic>,
    /// The time that each phase took. Empty for events that end no reload.
    #[serde(default)]
    pub timings_ms: Timings,
    /// The end of the cell. In `cell.died` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub death: Option<Death>,
    /// The claim that does not lead to its project. In `route.conflict` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<RouteConflict>,
    /// The folder of the override. In `override.set` and `override.ended` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
}

/// A host or a path prefix that a project claims in vain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteConflict {
    /// `www.example.com` or `/shop`
    pub route: String,
    /// The project that claims it.
    pub claimant: String,
    /// The project with the other claim. `null` when the operator's policy gives the route to no
    /// project.
    pub rival: Option<String>,
    /// The project that gets the requests. `null` when no project does.
    pub holder: Option<String>,
    /// The conflict in words, with the reason and what can be done.
    pub message: String,
}

/// The unexpected end of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Death {
    /// The kind of the end.
    pub reason: DeathReason,
    /// The end in words: `went over its memory limit (256 MiB)`, `exit code 3`, `signal 9`. At most
    /// [`bounds::DEATH_MESSAGE`] bytes.
    #[serde(deserialize_with = "death_message")]
    pub message: String,
    /// The exit code. Absent unless the reason is `exit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal's number. Absent unless the reason is `signal` or `abort`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Requests that were in it.
    pub in_flight: usize,
    /// Milliseconds until another cell of the same version is started. `null` when the version is
    /// stopped because its cells died again and again.
    pub restart_ms: Option<u64>,
}

/// The reason for a cell's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeathReason {
    /// The cell used more memory than its limit, or than V8 could have.
    Memory,
    /// The event loop was blocked for longer than its limit.
    EventLoop,
    /// The folders of the cell kept growing beyond their limits of disk.
    Disk,
    /// The cell exited: by `Deno.exit`, or by an uncaught error.
    Exit,
    /// V8, the runtime or the project aborted it; the message says why, where that was printed.
    Abort,
    /// Another signal.
    Signal,
    /// The cell's answers were errors or missing, and so was the answer to the router's probe, which runs
    /// none of the project's code.
    Unhealthy,
    /// The cell was to replace another one of the same version, and did not become ready.
    Load,
    /// The router lost it.
    Unknown,
}

impl DeathReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Memory,
        Self::EventLoop,
        Self::Disk,
        Self::Exit,
        Self::Abort,
        Self::Signal,
        Self::Unhealthy,
        Self::Load,
        Self::Unknown,
    ];

    /// The name as in JSON, in metrics and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::EventLoop => "event-loop",
            Self::Disk => "disk",
            Self::Exit => "exit",
            Self::Abort => "abort",
            Self::Signal => "signal",
            Self::Unhealthy => "unhealthy",
            Self::Load => "load",
            Self::Unknown => "unknown",
        }
    }
}

/// The reason why the router read a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// The scan when the router starts, or after lost file events.
    Scan,
    /// A file event.
    Watch,
    /// The comparison of digests at fixed intervals, where the file system sends no events.
    Poll,
    /// `POST /_reload`
    Request,
    /// The operator's policy for the project has changed.
    Policy,
}

impl fmt::Display for Trigger {
    /// Writes the name that JSON has.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scan => "scan",
            Self::Watch => "watch",
            Self::Poll => "poll",
            Self::Request => "request",
            Self::Policy => "policy",
        })
    }
}

/// The files in which a version differs from the one that was read before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangedFiles {
    /// The first of them in the order of their paths, relative to the project's directory; one of an include
    /// begins with `../`. At most [`bounds::DIAGNOSTIC_FILE`] bytes.
    #[serde(deserialize_with = "changed_file")]
    pub first: String,
    /// The number of files that are new, gone, or have another content.
    pub count: u64,
}

impl fmt::Display for ChangedFiles {
    /// Writes `main.ts`, or `lib/a.ts and 2 more`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count.saturating_sub(1) {
            0 => f.write_str(&self.first),
            others => write!(f, "{} and {others} more", self.first),
        }
    }
}

/// The time that each phase took, in milliseconds of wall-clock time. A phase that did not happen
/// is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Timings {
    /// Time from the first file event until the project was quiet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debounce: Option<f64>,
    /// Reading the files, their digest and the checkout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<f64>,
    /// Time from the checkout to a serving handler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<f64>,
    /// Time from the end of the build until new requests go to the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<f64>,
    /// Time from the first file event (or the request) to the end, waiting included: at least the
    /// sum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
}

/// The reason why a version cannot be served, in the project's own terms. Each text is cut to its
/// bound when it is read, regardless of its sender.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Diagnostic {
    /// One or more lines, without ANSI colours and without paths of the router's own. At most
    /// [`bounds::DIAGNOSTIC_MESSAGE`] bytes.
    #[serde(deserialize_with = "message")]
    pub message: String,
    /// The file, relative to the project's directory, with `/` between. At most
    /// [`bounds::DIAGNOSTIC_FILE`] bytes.
    #[serde(default, deserialize_with = "file")]
    pub file: Option<String>,
    /// 1-based.
    pub line: Option<u32>,
    /// 1-based, in UTF-16 units as JavaScript counts.
    pub column: Option<u32>,
    /// The lines around the place, numbered, with a caret under the column. At most
    /// [`bounds::DIAGNOSTIC_FRAME`] bytes.
    #[serde(default, deserialize_with = "frame")]
    pub frame: Option<String>,
}

impl Diagnostic {
    /// Returns the diagnostic with each text cut to its bound. The end of a cut text says how many
    /// bytes are missing.
    #[must_use]
    pub fn bounded(self) -> Self {
        Self {
            message: bounds::cut(self.message, bounds::DIAGNOSTIC_MESSAGE),
            file: self.file.map(|file| bounds::cut(file, bounds::DIAGNOSTIC_FILE)),
            frame: self.frame.map(|frame| bounds::cut(frame, bounds::DIAGNOSTIC_FRAME)),
            ..self
        }
    }

    /// Returns the part that a project's clients may see: the location and the beginning of the
    /// message, and none of its code.
    #[must_use]
    pub fn brief(&self) -> Self {
        let Self { message, file, line, column, .. } = self.clone();
        Self { message: bounds::cut(message, bounds::CLIENT_MESSAGE), file, line, column, frame: None }
    }
}

fn message<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    bounds::read_text(from, bounds::DIAGNOSTIC_MESSAGE)
}

fn death_message<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    bounds::read_text(from, bounds::DEATH_MESSAGE)
}

fn file<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    bounds::read_option(from, bounds::DIAGNOSTIC_FILE)
}

fn changed_file<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    bounds::read_text(from, bounds::DIAGNOSTIC_FILE)
}

fn frame<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    bounds::read_option(from, bounds::DIAGNOSTIC_FRAME)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn live(project: &str, sequence: u64) -> Event {
        let digest = Digest::from([0xab; 32]);
        Event {
            kind: EventType::ReloadLive,
            timestamp: "2026-03-01T12:00:00Z".parse().unwrap(),
            data: EventData {
                router: "r1".into(),
                sequence,
                project: project.into(),
                digest: Some(digest),
                version: Some(format!("{project}@{}", digest.short())),
                incarnation: Incarnation::FIRST,
                commit: None,
                previous: None,
                trigger: Some(Trigger::Watch),
                changed: None,
                error: None,
                timings_ms: Timings { debounce: Some(20.5), total: Some(31.25), ..Timings::default() },
                death: None,
                conflict: None,
                folder: None,
            },
        }
    }

    #[test]
    fn an_event_is_the_json_that_the_design_promises() {
        let json = serde_json::to_value(live("blog", 7)).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "type": "reload.live",
                "timestamp": "2026-03-01T12:00:00Z",
                "data": {
                    "router": "r1", "sequence": 7, "project": "blog",
                    "digest": "ab".repeat(32), "version": "blog@abababababab",
                    "incarnation": "first",
                    "previous": null, "trigger": "watch", "error": null,
                    "timings_ms": {"debounce": 20.5, "total": 31.25}
                }
            })
        );
    }

    #[test]
    fn an_event_names_the_commit_of_its_version() {
        let mut event = live("blog", 7);
        event.data.commit = Some(CommitInfo {
            source: "shop".into(),
            commit: "ab".repeat(20),
            ref_name: Some("refs/heads/main".into()),
        });
        let json = serde_json::to_value(&event).unwrap();
        let expected =
            serde_json::json!({"source": "shop", "commit": "ab".repeat(20), "ref": "refs/heads/main"});
        assert_eq!(json["data"]["commit"], expected);
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
    }

    #[test]
    fn json_leads_back_to_the_same_event() {
        let mut event = live("blog", 7);
        event.kind = EventType::ReloadFailed;
        event.data.error = Some(Diagnostic { message: "no".into(), line: Some(3), ..Diagnostic::default() });
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
    }

    #[test]
    fn each_type_has_one_name_everywhere() {
        use EventType::{CellDied, OverrideEnded, OverrideSet, ProjectRemoved, ReloadFailed, ReloadLive};
        use EventType::{RouteConflict, VersionRetired};
        let of_reloads = [ReloadLive, ReloadFailed, ProjectRemoved, VersionRetired];
        for kind in of_reloads.into_iter().chain([CellDied, RouteConflict, OverrideSet, OverrideEnded]) {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        use DeathReason::{Abort, EventLoop, Exit, Load, Memory, Signal, Unhealthy, Unknown};
        for reason in [Memory, EventLoop, Exit, Abort, Signal, Unhealthy, Load, Unknown] {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }

    #[test]
    fn fields_that_a_newer_router_adds_do_not_break_an_older_reader() {
        let mut json = serde_json::to_value(live("blog", 7)).unwrap();
        json["data"]["colour"] = "green".into();
        json["data"].as_object_mut().unwrap().remove("timings_ms");
        assert_eq!(serde_json::from_value::<Event>(json).unwrap().data.timings_ms, Timings::default());
    }

    #[test]
    fn a_diagnostic_needs_its_message_alone() {
        let read: Diagnostic = serde_json::from_str(r#"{"message":"no"}"#).unwrap();
        assert_eq!(read, Diagnostic { message: "no".into(), ..Diagnostic::default() });
        assert!(serde_json::from_str::<Diagnostic>("{}").is_err());
    }

    /// Text from nothing to several times its bound, with characters of each length.
    fn long() -> impl Strategy<Value = String> {
        ("[a\u{0}\"\\u{e4}\u{20ac}\u{1f600}]{1,9}", 0..1_500_usize)
            .prop_map(|(text, times)| text.repeat(times))
    }

    proptest! {
        #![proptest_config(crate::fuzz())]

        #[test]
        fn a_diagnostic_is_bounded_whoever_wrote_it(message in long(), file in long(), frame in long(), line: u32) {
            let column = Some(line);
            let sent = Diagnostic { message, file: Some(file), line: Some(line), column, frame: Some(frame) };
            let read: Diagnostic = serde_json::from_str(&serde_json::to_string(&sent).unwrap()).unwrap();
            prop_assert_eq!(&read, &sent.bounded());
            prop_assert!(read.message.len() <= bounds::DIAGNOSTIC_MESSAGE);
            prop_assert!(read.file.as_ref().unwrap().len() <= bounds::DIAGNOSTIC_FILE);
            prop_assert!(read.frame.as_ref().unwrap().len() <= bounds::DIAGNOSTIC_FRAME);
            prop_assert!(serde_json::to_vec(&read).unwrap().len() < bounds::CONTROL_LINE);
            let brief = read.brief();
            prop_assert!(brief.message.len() <= bounds::CLIENT_MESSAGE && brief.frame.is_none());
            prop_assert_eq!((brief.file, brief.line, brief.column), (read.file, read.line, read.column));
        }
    }
}
