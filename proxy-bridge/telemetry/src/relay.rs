//! Spans that a cell has sent: read within bounds, and marked with the project that they are of. A
//! cell is not trusted: what it says about itself is replaced.

use std::borrow::Cow;
use std::str::FromStr as _;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1 as proto;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use prost::Message as _;

/// Attributes, events and links of one span: the specification's limits.
const MAX_ITEMS: usize = 128;

/// Bytes of a name or a key.
const MAX_NAME: usize = 256;

/// Bytes of a value. A stack trace is longer than most others.
const MAX_VALUE: usize = 8 * 1024;

/// The query of a request, which may contain secrets, as attributes have it.
const QUERY: &str = "url.query";

/// Attributes with a URL or a target, whose query is left out. The last two are those of older conventions.
const URLS: [&str; 3] = ["url.full", "http.url", "http.target"];

/// The attributes that only the router sets begin with it.
const OWN: &str = "switchyard.";

/// The version of a project that spans come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The project's name.
    pub project: String,
    /// The version's name.
    pub version: String,
}

impl Origin {
    /// Reads the spans of a batch. Malformed ones are left out.
    ///
    /// # Errors
    /// The batch is not OTLP.
    pub(crate) fn read(&self, batch: &[u8]) -> Result<Vec<SpanData>, prost::DecodeError> {
        let request = ExportTraceServiceRequest::decode(batch)?;
        let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        let spans = scopes.flat_map(|scope| {
            let name = scope.scope.map(named).unwrap_or_default();
            scope.spans.into_iter().map(move |span| (name.clone(), span))
        });
        Ok(spans.filter_map(|(scope, span)| self.span(scope, span)).collect())
    }

    fn span(&self, scope: InstrumentationScope, span: proto::Span) -> Option<SpanData> {
        let trace_state = TraceState::from_str(&span.trace_state).unwrap_or_default();
        let span_context = context(&span.trace_id, &span.span_id, trace_state)?;
        let parent_span_id = if span.parent_span_id.is_empty() {
            SpanId::INVALID
        } else {
            SpanId::from_bytes(span.parent_span_id.as_slice().try_into().ok()?)
        };
        let span_kind = match span.kind() {
            proto::span::SpanKind::Server => SpanKind::Server,
            proto::span::SpanKind::Client => SpanKind::Client,
            proto::span::SpanKind::Producer => SpanKind::Producer,
            proto::span::SpanKind::Consumer => SpanKind::Consumer,
            _ => SpanKind::Internal,
        };
        let start_time = time(span.start_time_unix_nano);
        let (mut attributes, dropped) = attributes(span.attributes);
        attributes.push(KeyValue::new("switchyard.project", self.project.clone()));
        attributes.push(KeyValue::new("switchyard.version", self.version.clone()));
        let mut events = SpanEvents::default();
        events.dropped_count = span.dropped_events_count.saturating_add(excess(span.events.len()));
        events.events = span.events.into_iter().take(MAX_ITEMS).map(event).collect();
        let mut links = SpanLinks::default();
        links.dropped_count = span.dropped_links_count.saturating_add(excess(span.links.len()));
        links.links = span.links.into_iter().take(MAX_ITEMS).filter_map(link).collect();
        Some(SpanData {
            span_context,
            parent_span_id,
            parent_span_is_remote: false,
            span_kind,
            name: Cow::Owned(cut(span.name, MAX_NAME)),
            start_time,
            end_time: time(span.end_time_unix_nano).max(start_time),
            attributes,
            dropped_attributes_count: span.dropped_attributes_count.saturating_add(dropped),
            events,
            links,
            status: status(span.status),
            instrumentation_scope: scope,
        })
    }
}

fn named(scope: common::InstrumentationScope) -> InstrumentationScope {
    let builder = InstrumentationScope::builder(cut(scope.name, MAX_NAME));
    if scope.version.is_empty() {
        builder.build()
    } else {
        builder.with_version(cut(scope.version, MAX_NAME)).build()
    }
}

fn context(trace: &[u8], span: &[u8], state: TraceState) -> Option<SpanContext> {
    let trace = TraceId::from_bytes(trace.try_into().ok()?);
    let span = SpanId::from_bytes(span.try_into().ok()?);
    let context = SpanContext::new(trace, span, TraceFlags::SAMPLED, false, state);
    context.is_valid().then_some(context)
}

fn time(nanoseconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds)
}

fn status(status: Option<proto::Status>) -> Status {
    let Some(status) = status else { return Status::Unset };
    match status.code() {
        proto::status::StatusCode::Unset => Status::Unset,
        proto::status::StatusCode::Ok => Status::Ok,
        proto::status::StatusCode::Error => Status::error(cut(status.message, MAX_VALUE)),
    }
}

fn event(event: proto::span::Event) -> Event {
    let (attributes, dropped) = attributes(event.attributes);
    let dropped = event.dropped_attributes_count.saturating_add(dropped);
    Event::new(cut(event.name, MAX_NAME), time(event.time_unix_nano), attributes, dropped)
}

fn link(link: proto::span::Link) -> Option<Link> {
    let (attributes, dropped) = attributes(link.attributes);
    let dropped = link.dropped_attributes_count.saturating_add(dropped);
    Some(Link::new(context(&link.trace_id, &link.span_id, TraceState::default())?, attributes, dropped))
}

/// Returns the attributes, and the number of those that were dropped.
fn attributes(mut attributes: Vec<common::KeyValue>) -> (Vec<KeyValue>, u32) {
    attributes.retain(|attribute| attribute.key != QUERY);
    let count = attributes.len();
    let kept: Vec<_> = attributes
        .into_iter()
        .filter(|attribute| !attribute.key.starts_with(OWN))
        .filter_map(|attribute| {
            let value = match attribute.value?.value? {
                Any::StringValue(url) if URLS.contains(&attribute.key.as_str()) => without_query(url).into(),
                other => value(other)?,
            };
            Some(KeyValue::new(cut(attribute.key, MAX_NAME), value))
        })
        .take(MAX_ITEMS)
        .collect();
    let dropped = u32::try_from(count - kept.len()).unwrap_or(u32::MAX);
    (kept, dropped)
}

/// Arrays of strings are the only ones that instrumentation uses for HTTP; others are dropped.
fn value(value: Any) -> Option<Value> {
    match value {
        Any::StringValue(text) => Some(cut(text, MAX_VALUE).into()),
        Any::BoolValue(value) => Some(value.into()),
        Any::IntValue(value) => Some(value.into()),
        Any::DoubleValue(value) => Some(value.into()),
        Any::ArrayValue(array) => {
            let texts = array.values.into_iter().take(MAX_ITEMS).map(|item| match item.value {
                Some(Any::StringValue(text)) => Some(StringValue::from(cut(text, MAX_VALUE))),
                _ => None,
            });
            Some(Value::Array(Array::String(texts.collect::<Option<_>>()?)))
        }
        _ => None,
    }
}

/// Returns a URL without its query and fragment.
fn without_query(mut url: String) -> String {
    url.truncate(url.find(['?', '#']).unwrap_or(url.len()));
    cut(url, MAX_VALUE)
}

/// Cuts a text at a character, to at most `most` bytes.
fn cut(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text
}

fn excess(items: usize) -> u32 {
    u32::try_from(items.saturating_sub(MAX_ITEMS)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Header, encode};

    fn origin() -> Origin {
        Origin { project: "blog".to_owned(), version: "blog@1".to_owned() }
    }

    fn span() -> SpanData {
        let context = context(&[1; 16], &[2; 8], TraceState::default()).unwrap();
        SpanData {
            span_context: context.clone(),
            parent_span_id: SpanId::from_bytes([3; 8]),
            parent_span_is_remote: false,
            span_kind: SpanKind::Server,
            name: "GET".into(),
            start_time: time(1_700_000_000_000_000_000),
            end_time: time(1_700_000_001_000_000_000),
            attributes: vec![KeyValue::new("http.request.method", "GET"), KeyValue::new("n", 7)],
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::error("broken"),
            instrumentation_scope: InstrumentationScope::builder("deno").with_version("2").build(),
        }
    }

    fn read(span: SpanData) -> SpanData {
        let frame = encode(&[span]).unwrap();
        origin().read(&frame[Header::LENGTH..]).unwrap().remove(0)
    }

    #[test]
    fn a_span_arrives_as_it_was_sent_with_its_project() {
        let mut expected = span();
        expected.attributes.push(KeyValue::new("switchyard.project", "blog"));
        expected.attributes.push(KeyValue::new("switchyard.version", "blog@1"));
        assert_eq!(read(span()), expected);
    }

    #[test]
    fn a_cell_cannot_claim_to_be_another_project() {
        let mut forged = span();
        forged.attributes.push(KeyValue::new("switchyard.project", "shop"));
        let read = read(forged);
        let projects: Vec<_> = read
            .attributes
            .iter()
            .filter(|attribute| attribute.key.as_str() == "switchyard.project")
            .collect();
        assert_eq!(projects, [&KeyValue::new("switchyard.project", "blog")]);
        assert_eq!(read.dropped_attributes_count, 1);
    }

    #[test]
    fn queries_stay_behind_as_they_may_have_secrets() {
        let mut sent = span();
        sent.attributes = ["url.full", "http.url", "url.query", "own"]
            .map(|name| KeyValue::new(name, "https://a.example/x?token=secret#part"))
            .to_vec();
        let read = read(sent);
        let texts: Vec<_> = read.attributes.iter().map(|attribute| attribute.value.to_string()).collect();
        let url = "https://a.example/x";
        assert_eq!(texts[..3], [url, url, "https://a.example/x?token=secret#part"]);
        assert_eq!((texts.len(), read.dropped_attributes_count), (5, 0));
    }

    #[test]
    fn what_is_too_long_is_cut_and_what_is_too_much_is_dropped() {
        let mut large = span();
        large.name = "é".repeat(MAX_NAME).into();
        large.attributes = (0..200).map(|n| KeyValue::new(format!("k{n}"), "x".repeat(10_000))).collect();
        let read = origin().read(&encode_any(vec![large])).unwrap().remove(0);
        assert_eq!((read.name.len(), read.attributes.len()), (MAX_NAME, MAX_ITEMS + 2));
        assert_eq!(read.dropped_attributes_count, 72);
        assert!(matches!(&read.attributes[0].value, Value::String(text) if text.as_str().len() == MAX_VALUE));
    }

    #[test]
    fn malformed_spans_are_left_out_and_what_is_not_otlp_is_refused() {
        let mut request =
            ExportTraceServiceRequest::decode(&encode(&[span()]).unwrap()[Header::LENGTH..]).unwrap();
        request.resource_spans[0].scope_spans[0].spans[0].trace_id = vec![1, 2, 3];
        assert_eq!(origin().read(&request.encode_to_vec()).unwrap(), []);
        assert!(origin().read(b"\xff\xff\xff").is_err());
    }

    /// Encodes a batch of any size.
    fn encode_any(spans: Vec<SpanData>) -> Vec<u8> {
        use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
        let resource_spans = group_spans_by_resource_and_scope(spans, &Default::default());
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }
}
