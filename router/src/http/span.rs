//! The spans of requests, where spans are exported: each continues the client's trace, and its project
//! is sent a `traceparent` that names it.

use std::borrow::Cow;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Request};
use switchyard_telemetry::{ActiveSpan, SpanDescription, SpanKind, TraceContext, Tracing};

use crate::requests::RequestRecord;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The methods that spans have. Clients may invent others: their spans are called `HTTP`, and their method
/// is `_OTHER`.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"];

/// The maker of spans.
#[derive(Debug, Clone)]
pub(crate) struct RequestSpans {
    pub(crate) tracing: Tracing,
    /// `true`: a trace of the client's is not continued.
    pub(crate) ignores_clients: bool,
}

/// The span of a request under way.
#[derive(Debug)]
pub(super) struct RequestSpan {
    span: ActiveSpan,
    method: Option<&'static str>,
    scheme: &'static str,
}

impl RequestSpans {
    /// Begins the span of a request, and has it be the parent of what the project does.
    pub(super) fn begin<B>(&self, request: &mut Request<B>, scheme: &'static str) -> RequestSpan {
        let method = METHODS.into_iter().find(|method| *method == request.method().as_str());
        let name = Cow::Borrowed(method.unwrap_or("HTTP"));
        let parent = self.parent(request.headers());
        let span = SpanDescription { name, kind: SpanKind::Server, began: None, attributes: Vec::new() };
        let span = self.tracing.begin(span, parent.as_ref());
        let (context, headers) = (span.context(), request.headers_mut());
        for (name, value) in [(TRACEPARENT, context.traceparent()), (TRACESTATE, context.tracestate())] {
            match HeaderValue::try_from(value) {
                Ok(value) if !value.is_empty() => _ = headers.insert(name, value),
                _ => _ = headers.remove(name),
            }
        }
        RequestSpan { span, method, scheme }
    }

    fn parent(&self, headers: &HeaderMap) -> Option<TraceContext> {
        let mut parents = headers.get_all(TRACEPARENT).iter().filter(|_| !self.ignores_clients);
        let parent = parents.next()?.to_str().ok()?;
        if parents.next().is_some() {
            return None;
        }
        let states: Vec<_> =
            headers.get_all(TRACESTATE).iter().filter_map(|state| state.to_str().ok()).collect();
        TraceContext::parse(parent, Some(&states.join(",")))
    }
}

impl RequestSpan {
    /// Ends the span with what is known of the request.
    pub(super) fn end(mut self, project: Option<&str>, record: &RequestRecord) {
        let Self { span, method, scheme } = &mut self;
        if !span.is_recording() {
            return;
        }
        span.set("http.request.method", method.unwrap_or("_OTHER"));
        if method.is_none() {
            span.set("http.request.method_original", record.method().to_owned());
        }
        span.set("url.scheme", *scheme);
        span.set("url.path", record.path().to_owned());
        span.set("switchyard.request_id", record.id().to_owned());
        if record.status != 0 {
            span.set("http.response.status_code", i64::from(record.status));
        }
        if let Some(project) = project {
            span.set("switchyard.project", project.to_owned());
            if let Some(version) = record.version_name(project) {
                span.set("switchyard.version", version);
            }
        }
        if record.status >= 500 {
            span.set("error.type", record.status.to_string());
            span.fail(Cow::Borrowed(""));
        }
    }
}
