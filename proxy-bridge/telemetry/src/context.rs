//! The context of a span: its trace, its id and the sampling decision, as headers carry it.

use std::fmt;

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;

/// The length of `traceparent` in version 0: `00-<32 digits>-<16 digits>-<2 digits>`.
const TRACEPARENT_LENGTH: usize = 55;

/// The longest `tracestate` that is continued. W3C wants at least 512 bytes; longer ones are dropped.
const MAX_TRACESTATE: usize = 512;

/// A span that another one may be the child of, in this process or elsewhere.
#[derive(Clone, PartialEq)]
pub struct TraceContext(SpanContext);

impl TraceContext {
    /// Reads the headers of a request. `None`: the request belongs to no trace.
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        if traceparent.len() < TRACEPARENT_LENGTH {
            return None;
        }
        let tracestate = tracestate.filter(|state| state.len() <= MAX_TRACESTATE);
        let headers = Headers { traceparent, tracestate };
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
        let span = context.span().span_context().clone();
        span.is_valid().then_some(Self(span))
    }

    /// The value of `traceparent`.
    pub fn traceparent(&self) -> String {
        let mut set = Written::default();
        TraceContextPropagator::new().inject_context(&self.as_parent(), &mut set);
        set.traceparent
    }

    /// The value of `tracestate`. Empty without one.
    pub fn tracestate(&self) -> String {
        self.0.trace_state().header()
    }

    /// Returns true if the spans of the trace are exported.
    pub fn is_sampled(&self) -> bool {
        self.0.is_sampled()
    }

    /// The id of the trace: 32 hex digits.
    pub fn trace_id(&self) -> String {
        self.0.trace_id().to_string()
    }

    pub(crate) fn new(span: SpanContext) -> Self {
        Self(span)
    }

    /// The context of its children.
    pub(crate) fn as_parent(&self) -> Context {
        Context::new().with_remote_span_context(self.0.clone())
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceContext({})", self.traceparent())
    }
}

struct Headers<'a> {
    traceparent: &'a str,
    tracestate: Option<&'a str>,
}

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => Some(self.traceparent),
            "tracestate" => self.tracestate,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

#[derive(Default)]
struct Written {
    traceparent: String,
}

impl Injector for Written {
    fn set(&mut self, key: &str, value: String) {
        if key == "traceparent" {
            self.traceparent = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn headers_are_continued_as_they_came() {
        let context = TraceContext::parse(PARENT, Some("vendor=1,other=2")).unwrap();
        assert_eq!(
            (context.traceparent().as_str(), context.tracestate().as_str()),
            (PARENT, "vendor=1,other=2")
        );
        assert!(context.is_sampled());
        let unsampled = PARENT.replace("-01", "-00");
        assert!(!TraceContext::parse(&unsampled, None).unwrap().is_sampled());
        let long = format!("a={}", "x".repeat(600));
        assert_eq!(TraceContext::parse(PARENT, Some(&long)).unwrap().tracestate(), "");
    }

    #[test]
    fn malformed_headers_begin_a_new_trace() {
        for traceparent in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-1-1-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra",
        ] {
            assert_eq!(TraceContext::parse(traceparent, None), None, "{traceparent}");
        }
    }
}
