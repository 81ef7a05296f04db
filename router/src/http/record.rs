//! Records of requests, from their heads to the last bytes of their answers.

use std::cell::Cell;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Request, Response, StatusCode, Version};
use hyper::body::{Body as _, Frame, SizeHint};
use switchyard_contract::admin::VERSION;
use switchyard_contract::project::ProjectName;
use switchyard_edge::listener::{Caller, HandlerBody};
use switchyard_edge::request_id::{REQUEST_ID, RequestIds};

use super::body::{Body, BodyError};
use super::span::{RequestSpan, RequestSpans};
use crate::access_log::{AccessEntry, AccessLog, RequestDetails};
use crate::live::ProjectEntry;
use crate::requests::{self, RequestRecord, SHORT_DIGEST, micros};

/// Records the requests of one thread.
#[derive(Debug)]
pub(super) struct Recorder {
    ids: RequestIds,
    log: Option<Arc<AccessLog>>,
    /// `None`: no spans are exported.
    spans: Option<RequestSpans>,
    /// A monotonic time, and the wall clock's at the same instant, in microseconds since 1970.
    clock: Cell<(Instant, u64)>,
}

/// A request that is being answered. It is recorded when this is dropped.
#[derive(Debug)]
pub(super) struct Recording {
    /// `None`: it has no project.
    entry: Option<Arc<ProjectEntry>>,
    began: Instant,
    record: RequestRecord,
    /// The access log, if there is one, and what it has of the request besides.
    log: Option<(Arc<AccessLog>, Box<RequestDetails>)>,
    /// Boxed, as most routers export none.
    span: Option<Box<RequestSpan>>,
}

/// The body of an answer, with the recording of its request.
#[derive(Debug)]
pub(super) struct RecordedBody {
    // Dropped first: the request is over when its slot is free.
    body: Body,
    /// `None`: it became a tunnel, which has the recording.
    recording: Option<Recording>,
}

impl Recorder {
    pub(super) fn new(log: Option<Arc<AccessLog>>, spans: Option<RequestSpans>) -> Self {
        let recorder = Self { ids: RequestIds::default(), log, spans, clock: Cell::new((Instant::now(), 0)) };
        recorder.set_clock();
        recorder
    }

    /// Reads the wall clock, which may have been set. To be called once a second.
    pub(super) fn set_clock(&self) {
        self.clock.set((Instant::now(), requests::now_us()));
    }

    pub(super) fn ids(&self) -> &RequestIds {
        &self.ids
    }

    /// Returns true if each request has a span, which a plain request on the short way has not.
    pub(super) fn makes_spans(&self) -> bool {
        self.spans.is_some()
    }

    /// Gives a request its id, and begins its recording.
    pub(super) fn begin_request<B>(
        &self,
        request: &mut Request<B>,
        caller: &Caller,
    ) -> (Recording, HeaderValue) {
        let id = self.ids.set(request.headers_mut());
        let texts = [request.method().as_str(), id.to_str().unwrap_or_default(), request.uri().path()];
        let client = caller.client().ip(request.headers());
        let mut recording = self.begin(texts, client, Instant::now());
        let (headers, uri) = (request.headers(), request.uri());
        let value = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
        let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
        let host = authority.or_else(|| value("host")).unwrap_or_default();
        recording.set_details(host, uri.query(), protocol(request.version()), value);
        let scheme = caller.client().scheme();
        recording.span = self.spans.as_ref().map(|spans| Box::new(spans.begin(request, scheme)));
        (recording, id)
    }

    /// The recording of bytes that are no request, with its id.
    pub(super) fn begin_refused(&self, caller: &Caller) -> (Recording, HeaderValue) {
        let id = self.ids.next();
        let texts = ["-", id.to_str().unwrap_or_default(), "-"];
        let mut recording = self.begin(texts, caller.client().peer(), Instant::now());
        recording.set_details(b"", None, "-", |_| None);
        (recording, id)
    }

    /// The recording of a request whose head is known since `began`.
    pub(super) fn begin(&self, [method, id, path]: [&str; 3], client: IpAddr, began: Instant) -> Recording {
        let (moment, at) = self.clock.get();
        let began_us = at + micros(began.saturating_duration_since(moment));
        let mut record = RequestRecord::new(method, id, path);
        (record.client, record.began_us) = (client, began_us);
        let log = self.log.clone().map(|log| (log, Box::default()));
        Recording { entry: None, began, record, log, span: None }
    }
}

impl Recording {
    /// Notes the project that the request is for.
    pub(super) fn set_project(&mut self, entry: Arc<ProjectEntry>) {
        self.entry = Some(entry);
    }

    /// Notes what the access log has of the request besides.
    pub(super) fn set_details<'h>(
        &mut self,
        host: &[u8],
        query: Option<&str>,
        protocol: &'static str,
        header: impl Fn(&str) -> Option<&'h [u8]>,
    ) {
        if let Some((log, details)) = &mut self.log {
            **details = RequestDetails::new(host, query, protocol, header, log.has_queries());
        }
    }

    /// Notes the time for which the request has waited for a slot.
    pub(super) fn set_queued(&mut self, queued: Duration) {
        self.record.queued_us = short(queued);
    }

    /// Notes the version that the request is given to.
    pub(super) fn set_version(&mut self, digest: &[u8; 32]) {
        self.record.version = digest.first_chunk().copied();
    }

    /// The same, by the version's name.
    pub(super) fn set_version_name(&mut self, name: &HeaderValue) {
        self.record.version = digest_in(name);
    }

    /// Gives the request up, without a record: it is begun again.
    pub(super) fn discard(mut self) {
        self.record = RequestRecord::default();
    }

    /// Notes the head of the answer, and goes on with its body.
    pub(super) fn answer(mut self, response: Response<Body>) -> Response<RecordedBody> {
        let record = &mut self.record;
        record.status = response.status().as_u16();
        record.head_us = short(self.began.elapsed());
        record.is_whole = response.body().is_end_stream();
        response.map(|body| RecordedBody { body, recording: Some(self) })
    }

    /// Notes the head of an answer with all its headers, and goes on with its body, or with the
    /// tunnel that the connection becomes.
    pub(super) fn answer_with_headers(
        mut self,
        mut response: Response<Body>,
        id: HeaderValue,
        caller: &Caller,
    ) -> Response<RecordedBody> {
        if let Some(name) = response.headers().get(VERSION) {
            self.set_version_name(name);
        }
        response.headers_mut().insert(REQUEST_ID, id);
        let mut response = self.answer(response);
        if response.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some(mut recording) = response.body_mut().recording.take()
        {
            recording.record.is_websocket = true;
            recording.record.is_whole = true;
            caller.keep_with_tunnel(recording);
        }
        response
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let mut record = std::mem::take(&mut self.record);
        if record.is_empty() {
            return;
        }
        record.total_us = micros(self.began.elapsed());
        if let Some((log, details)) = self.log.take() {
            let project = self.entry.as_ref().map(|entry| entry.project.clone());
            let request = record.info(project.as_ref().map_or("", ProjectName::as_str));
            log.add(AccessEntry { project, request, details: *details });
        }
        if let Some(span) = self.span.take() {
            span.end(self.entry.as_ref().map(|entry| entry.project.as_str()), &record);
        }
        if let Some(entry) = &self.entry {
            entry.ended.add(record);
        }
    }
}

/// Returns the digest in the name of a version.
fn digest_in(name: &HeaderValue) -> Option<[u8; SHORT_DIGEST]> {
    let (_, digits) = name.to_str().ok()?.rsplit_once('@')?;
    let number = u64::from_str_radix(digits.get(..2 * SHORT_DIGEST)?, 16).ok()?;
    number.to_be_bytes().last_chunk().copied()
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// Returns microseconds, at most an hour and some.
fn short(duration: Duration) -> u32 {
    u32::try_from(micros(duration)).unwrap_or(u32::MAX)
}

impl HandlerBody for RecordedBody {
    fn is_own(&self) -> bool {
        matches!(self.body, Body::Own(_))
    }

    fn request_id(&self) -> Option<&str> {
        self.recording.as_ref().map(|recording| recording.record.id())
    }
}

impl hyper::body::Body for RecordedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { body, recording } = self.get_mut();
        let polled = Pin::new(&mut *body).poll_frame(cx);
        if let (Poll::Ready(frame), Some(recording)) = (&polled, recording) {
            let record = &mut recording.record;
            match frame {
                Some(Ok(frame)) => {
                    record.bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
                    record.is_whole = body.is_end_stream();
                }
                Some(Err(_)) => {}
                None => record.is_whole = true,
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use switchyard_protocol::Mark;

    use super::*;

    #[test]
    fn a_request_id_is_kept_if_it_can_mark_lines_of_the_log() {
        let ids = RequestIds::default();
        let (longest, too_long) = ("x".repeat(64), "x".repeat(65));
        for id in ["my-1", "-_.:/+=@", "a b", "a\"b", "a,b", "a%b", "", &longest, &too_long] {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(id).unwrap());
            assert_eq!(ids.set(&mut headers) == id, Mark::parse(id).is_some(), "{id:?}");
        }
    }

    #[test]
    fn the_name_of_a_version_has_its_digest() {
        let digest = |name| digest_in(&HeaderValue::from_static(name));
        assert_eq!(digest("blog@0f9a1c2b7d4e"), Some([0x0f, 0x9a, 0x1c, 0x2b, 0x7d, 0x4e]));
        assert_eq!(digest("blog"), None);
    }
}
