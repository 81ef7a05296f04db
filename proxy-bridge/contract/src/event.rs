//! What happened to a project: the JSON that is posted to the ingress and replayed at `GET /events`.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::bounds;
use crate::digest::Digest;
use crate::incarnation::Incarnation;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    #[serde(rename = "type")]
    pub kind: EventType,
    /// When it happened (not when it was sent). RFC 3339 in JSON.
    pub timestamp: Timestamp,
    pub data: EventData,
}

/// What happened, in past tense: applied, not merely accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum EventType {
    /// The new version answers requests now, and no new request goes to the one before it.
    #[serde(rename = "reload.live")]
    ReloadLive,
    /// The new version cannot be served; what was live still is.
    #[serde(rename = "reload.failed")]
    ReloadFailed,
    /// The project's folder is gone, and so is its route.
    #[serde(rename = "project.removed")]
    ProjectRemoved,
    /// The process of a version that was live has ended.
    #[serde(rename = "version.retired")]
    VersionRetired,
    /// The process of the live version ended by itself, or went over a limit and was ended.
    #[serde(rename = "cell.died")]
    CellDied,
    /// A project claims a route that another one has a better or the same right to. Both get an event.
    #[serde(rename = "route.conflict")]
    RouteConflict,
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
        }
    }
}

/// To whom it happened, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventData {
    /// Which router says so.
    pub router: String,
    /// Counts the events of this router upwards, over all its projects; the `id:` at `GET /events`.
    pub sequence: u64,
    /// `blog`
    pub project: String,
    /// The content that this is about. None where there is none: a project that was removed, or one
    /// that failed before its files could be read.
    pub digest: Option<Digest>,
    /// `blog@3f9a1c2b7d4e`: the project and the digest's first 12 digits. None as for `digest`.
    pub version: Option<String>,
    /// The owner of the version's data: `first`, or 16 hex digits once the project was removed and
    /// deployed again.
    #[serde(default)]
    pub incarnation: Incarnation,
    /// The version that was live before, if any. In `reload.failed` it is live still.
    pub previous: Option<String>,
    /// What made the router look. None where nothing did, as when a version is retired.
    pub trigger: Option<Trigger>,
    /// Why the version cannot be served. In `reload.failed` only.
    pub error: Option<Diagnostic>,
    #[serde(default)]
    pub timings_ms: Timings,
    /// How the cell ended. In `cell.died` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub death: Option<Death>,
    /// The claim that does not lead to its project. In `route.conflict` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<RouteConflict>,
}

/// A host or a path prefix that a project claims in vain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteConflict {
    /// `www.example.com` or `/shop`
    pub route: String,
    /// The project that claims it.
    pub claimant: String,
    /// The project that is in the way; none when the operator's policy gives the route to no project.
    pub rival: Option<String>,
    /// The project that gets the requests; none when nobody does.
    pub holder: Option<String>,
    /// In words, with the reason and what can be done.
    pub message: String,
}

/// How a cell ended that was not told to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Death {
    pub reason: DeathReason,
    /// In words: `went over its memory limit (256 MiB)`, `exit code 3`, `signal 9`. At most
    /// [`bounds::DEATH_MESSAGE`] bytes.
    #[serde(deserialize_with = "death_message")]
    pub message: String,
    /// With `exit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// With `signal` and `abort`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Requests that were in it.
    pub in_flight: usize,
    /// Milliseconds until another cell of the same version is started; none when the version is stopped
    /// for dying again and again.
    pub restart_ms: Option<u64>,
}

/// Why a cell ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeathReason {
    /// More memory than its limit, or than V8 could have.
    Memory,
    /// Its event loop was blocked for longer than its limit.
    EventLoop,
    /// Its folders went on growing beyond its limits of disk.
    Disk,
    /// It exited: by `Deno.exit`, or by an error that nobody caught.
    Exit,
    /// V8, the runtime or the project aborted it; the message says why, where that was printed.
    Abort,
    /// Another signal.
    Signal,
    /// Its answers were errors or never came, and the router's probe, which asks nothing of the project, got none either.
    Unhealthy,
    /// It was to follow another one of the same version, and did not come to serve.
    Load,
    /// The router lost it.
    Unknown,
}

impl DeathReason {
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

/// What made the router look at a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// The scan when the router starts, or after lost file events.
    Scan,
    /// A file event.
    Watch,
    /// A look at the digests at fixed times, where the file system tells nothing.
    Poll,
    /// `POST /_reload`
    Request,
    /// The operator's policy has changed what the project is given.
    Policy,
}

/// How long each phase took, in milliseconds of wall-clock time. A phase that did not happen is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Timings {
    /// From the first file event until the project was quiet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debounce: Option<f64>,
    /// Reading the files, their digest and the checkout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<f64>,
    /// From the checkout to a handler that serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<f64>,
    /// From there until new requests go to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<f64>,
    /// From the first file event (or the request) to the end, waiting included: at least the sum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
}

/// Why a version cannot be served, in the project's own terms. One that is read is bounded, whoever
/// wrote it.
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
    /// The same with each text within its bound. Text that is left out is counted at the end of
    /// what is kept.
    #[must_use]
    pub fn bounded(self) -> Self {
        Self {
            message: bounds::cut(self.message, bounds::DIAGNOSTIC_MESSAGE),
            file: self.file.map(|file| bounds::cut(file, bounds::DIAGNOSTIC_FILE)),
            frame: self.frame.map(|frame| bounds::cut(frame, bounds::DIAGNOSTIC_FRAME)),
            ..self
        }
    }

    /// The part that a project's clients are told: the place and the beginning of the message, and
    /// none of its code.
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
                previous: None,
                trigger: Some(Trigger::Watch),
                error: None,
                timings_ms: Timings { debounce: Some(20.5), total: Some(31.25), ..Timings::default() },
                death: None,
                conflict: None,
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
    fn json_leads_back_to_the_same_event() {
        let mut event = live("blog", 7);
        event.kind = EventType::ReloadFailed;
        event.data.error = Some(Diagnostic { message: "no".into(), line: Some(3), ..Diagnostic::default() });
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
    }

    #[test]
    fn each_type_has_one_name_everywhere() {
        use EventType::{CellDied, ProjectRemoved, ReloadFailed, ReloadLive, RouteConflict, VersionRetired};
        for kind in [ReloadLive, ReloadFailed, ProjectRemoved, VersionRetired, CellDied, RouteConflict] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        use DeathReason::{Abort, EventLoop, Exit, Load, Memory, Signal, Unhealthy, Unknown};
        for reason in [Memory, EventLoop, Exit, Abort, Signal, Unhealthy, Load, Unknown] {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }

    #[test]
    fn what_a_newer_router_adds_does_not_stop_an_older_reader() {
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
