//! Spans, and their way to the collector.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{Span as _, Status, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider, Span};

pub use opentelemetry::trace::SpanKind;

use crate::context::TraceContext;
use crate::export::Exporter;
use crate::queue::{SpanCounts, SpanQueue, Tally};
use crate::relay::Origin;
use crate::settings::{InvalidSetting, Settings};

/// The time that the last spans have at the end of the program.
const LAST_EXPORT: Duration = Duration::from_secs(2);

/// An attribute of a span.
pub type Attribute = (&'static str, Value);

/// The spans of this program, and those that it relays. Clones are the same.
#[derive(Debug, Clone)]
pub struct Tracing(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    queue: SpanQueue,
    ratio: f64,
}

/// A span to be.
#[derive(Debug, Clone)]
pub struct SpanDescription {
    /// A name of low cardinality: `GET`, `deploy`.
    pub name: Cow<'static, str>,
    /// The span's role in a call.
    pub kind: SpanKind,
    /// The time of its beginning. `None`: now.
    pub began: Option<SystemTime>,
    /// The attributes that are known at its beginning.
    pub attributes: Vec<Attribute>,
}

/// A span that has begun. Dropping it ends it.
#[derive(Debug)]
pub struct ActiveSpan(Span);

impl Tracing {
    /// Begins what the environment asks for, and starts the exporting thread. `None`: it asks for
    /// nothing. `service`: the name of the service, unless the environment has one.
    ///
    /// # Errors
    /// All variables with a value that cannot be used.
    pub fn from_environment(service: &'static str) -> Result<Option<Self>, Vec<InvalidSetting>> {
        let Some(settings) = Settings::read(|name| std::env::var(name).ok())? else { return Ok(None) };
        let tally = Arc::new(Tally::new(settings.queue));
        let exporter = Exporter::new(&settings, tally.clone()).map_err(|error| vec![error])?;
        let config = BatchConfigBuilder::default().with_max_queue_size(settings.queue).build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
        let resource = resource(service);
        let queue = SpanQueue::new(tally, processor, &resource);
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(settings.sampling.sampler())
            .with_span_processor(queue.clone())
            .build();
        let tracer = provider.tracer(service);
        Ok(Some(Self(Arc::new(Inner { provider, tracer, queue, ratio: settings.sampling.ratio }))))
    }

    /// Begins a span: a child of `parent`, or the first one of a trace.
    pub fn begin(&self, span: SpanDescription, parent: Option<&TraceContext>) -> ActiveSpan {
        let SpanDescription { name, kind, began, attributes } = span;
        let mut builder = self.0.tracer.span_builder(name).with_kind(kind);
        builder.start_time = began;
        builder.attributes =
            Some(attributes.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect());
        let parent = parent.map_or_else(Context::new, TraceContext::as_parent);
        ActiveSpan(self.0.tracer.build_with_context(builder, &parent))
    }

    /// Exports spans that a cell has sent, `most` of `sent`. Those that are malformed are counted. Returns
    /// false if the whole batch is.
    pub fn relay(&self, origin: &Origin, batch: &[u8], [most, sent]: [usize; 2]) -> bool {
        let read = origin.read(batch);
        let is_valid = read.is_ok();
        let spans = read.unwrap_or_default();
        let missing = if is_valid { sent.saturating_sub(spans.len()) } else { most };
        self.0.queue.tally.malformed(missing as u64);
        spans.into_iter().take(most).for_each(|span| self.0.queue.add(span));
        is_valid
    }

    /// Counts spans of a project that were not relayed, as it has sent too many.
    pub fn count_over_limit(&self, spans: u64) {
        self.0.queue.tally.over_limit(spans);
    }

    /// The share of traces that begin here and are exported.
    pub fn ratio(&self) -> f64 {
        self.0.ratio
    }

    /// Returns the numbers of exported and dropped spans so far.
    pub fn counts(&self) -> SpanCounts {
        self.0.queue.tally.counts()
    }

    /// Exports what is left, for a short time, and ends. Blocks.
    pub fn shut_down(&self) {
        // Spans that could not be exported were counted and logged, but for those of an export under way.
        if self.0.provider.shutdown_with_timeout(LAST_EXPORT).is_err() {
            let count = self.0.queue.tally.waiting();
            let after = LAST_EXPORT.as_secs();
            tracing::warn!(count, "the last {count} spans are lost: the collector took none within {after}s");
        }
    }
}

impl ActiveSpan {
    /// The parent of further spans.
    pub fn context(&self) -> TraceContext {
        TraceContext::new(self.0.span_context().clone())
    }

    /// Returns true if the span will be exported, so attributes are worth their cost.
    pub fn is_recording(&self) -> bool {
        self.0.is_recording()
    }

    /// Sets an attribute.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.0.set_attribute(KeyValue::new(key, value));
    }

    /// Marks the span as failed.
    pub fn fail(&mut self, message: impl Into<Cow<'static, str>>) {
        self.0.set_status(Status::error(message));
    }

    /// Ends the span at a time that is over.
    pub fn end_at(mut self, time: SystemTime) {
        self.0.end_with_timestamp(time);
    }
}

fn resource(service: &'static str) -> Resource {
    let detected = Resource::builder().build();
    let name = detected.get(&"service.name".into()).map(|name| name.to_string()).unwrap_or_default();
    let builder =
        Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    // The library's own default.
    if name.is_empty() || name.starts_with("unknown_service") {
        builder.with_service_name(service).build()
    } else {
        builder.build()
    }
}
