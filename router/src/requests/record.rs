//! The record of one request.

use std::net::{IpAddr, Ipv4Addr};

use jiff::Timestamp;
use switchyard_contract::admin::RequestInfo;
use switchyard_contract::bounds::{RECORDED_METHOD, RECORDED_PATH};

/// Microseconds of a minute.
pub(super) const MINUTE_US: u64 = 60_000_000;

/// Bytes of a digest that name a version.
pub(crate) const SHORT_DIGEST: usize = 6;

/// A request that has ended.
#[derive(Debug)]
pub(crate) struct RequestRecord {
    /// The method, the id and the path, one after the other: one allocation for all of them.
    text: Box<str>,
    method: u8,
    id: u8,
    /// 0: the client left before the answer.
    pub(crate) status: u16,
    /// The time at which it was routed, in microseconds since 1970.
    pub(crate) began_us: u64,
    pub(crate) total_us: u64,
    pub(crate) head_us: u32,
    pub(crate) queued_us: u32,
    /// Bytes of the answer's body.
    pub(crate) bytes: u64,
    pub(crate) version: Option<[u8; SHORT_DIGEST]>,
    pub(crate) client: IpAddr,
    pub(crate) is_websocket: bool,
    /// The answer's body came to its end.
    pub(crate) is_whole: bool,
}

impl Default for RequestRecord {
    fn default() -> Self {
        Self {
            text: Box::default(),
            method: 0,
            id: 0,
            status: 0,
            began_us: 0,
            total_us: 0,
            head_us: 0,
            queued_us: 0,
            bytes: 0,
            version: None,
            client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            is_websocket: false,
            is_whole: false,
        }
    }
}

impl RequestRecord {
    /// The record of a request that has begun. What is too long is cut off.
    pub(crate) fn new(method: &str, id: &str, path: &str) -> Self {
        let method = &method[..method.floor_char_boundary(RECORDED_METHOD)];
        let path = &path[..path.floor_char_boundary(RECORDED_PATH)];
        let mut text = String::with_capacity(method.len() + id.len() + path.len());
        text.push_str(method);
        text.push_str(id);
        text.push_str(path);
        // Both lengths are bounded: ids by `RequestIds`.
        let [method, id] = [method, id].map(|part| u8::try_from(part.len()).unwrap_or(u8::MAX));
        Self { text: text.into_boxed_str(), method, id, ..Self::default() }
    }

    pub(crate) fn method(&self) -> &str {
        &self.text[..usize::from(self.method)]
    }

    pub(crate) fn id(&self) -> &str {
        &self.text[usize::from(self.method)..][..usize::from(self.id)]
    }

    pub(crate) fn path(&self) -> &str {
        &self.text[usize::from(self.method) + usize::from(self.id)..]
    }

    /// Returns true for the record that was taken: see [`std::mem::take`].
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The minute in which it ended, since 1970.
    pub(super) fn minute(&self) -> u32 {
        u32::try_from(self.began_us.saturating_add(self.total_us) / MINUTE_US).unwrap_or(u32::MAX)
    }

    /// Returns true if its duration says something about the project.
    pub(super) fn has_duration(&self) -> bool {
        self.status != 0 && !self.is_websocket
    }

    /// The name of the version that it was sent to.
    pub(crate) fn version_name(&self, project: &str) -> Option<String> {
        self.version.map(|bytes| version_name(project, bytes))
    }

    /// The record as a client sees it.
    pub(crate) fn info(&self, project: &str) -> RequestInfo {
        let began = i64::try_from(self.began_us).ok().and_then(|at| Timestamp::from_microsecond(at).ok());
        let millis = |micros: u64| micros as f64 / 1e3;
        RequestInfo {
            timestamp: began.unwrap_or_default(),
            id: self.id().to_owned(),
            project: project.to_owned(),
            version: self.version_name(project),
            method: self.method().to_owned(),
            path: self.path().to_owned(),
            status: (self.status != 0).then_some(self.status),
            bytes: self.bytes,
            total_ms: millis(self.total_us),
            head_ms: (self.status != 0).then(|| millis(self.head_us.into())),
            queued_ms: millis(self.queued_us.into()),
            client: self.client,
            websocket: self.is_websocket,
            cut_off: self.status != 0 && !self.is_whole,
        }
    }
}

fn version_name(project: &str, digest: [u8; SHORT_DIGEST]) -> String {
    format!("{project}@{}", digest.map(|byte| format!("{byte:02x}")).concat())
}
