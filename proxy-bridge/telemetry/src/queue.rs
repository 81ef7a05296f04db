//! The bounded queue of ended spans, with a count of what became of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Span, SpanData, SpanProcessor};

/// The numbers of spans so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpanCounts {
    /// Spans that the collector accepted.
    pub exported: u64,
    /// Spans that found the queue full.
    pub queue_full: u64,
    /// Spans that the collector did not accept.
    pub failed: u64,
    /// Spans beyond the share of their project.
    pub over_limit: u64,
    /// Spans of projects that are malformed.
    pub malformed: u64,
}

impl SpanCounts {
    /// The dropped spans, by reason.
    pub fn dropped(&self) -> [(&'static str, u64); 4] {
        [
            ("queue-full", self.queue_full),
            ("failed", self.failed),
            ("project-limit", self.over_limit),
            ("malformed", self.malformed),
        ]
    }
}

/// The counts of spans that wait, and of those that do not any more.
#[derive(Debug)]
pub(crate) struct Tally {
    /// The spans that wait, or are being exported.
    waiting: AtomicUsize,
    most: usize,
    exported: AtomicU64,
    queue_full: AtomicU64,
    failed: AtomicU64,
    over_limit: AtomicU64,
    malformed: AtomicU64,
}

/// The queue. A span that finds it full is dropped: nothing waits for a collector.
#[derive(Debug, Clone)]
pub(crate) struct SpanQueue {
    pub(crate) tally: Arc<Tally>,
    processor: Arc<BatchSpanProcessor>,
}

impl Tally {
    pub(crate) fn new(most: usize) -> Self {
        let zero = AtomicU64::default;
        Self {
            waiting: AtomicUsize::new(0),
            most,
            exported: zero(),
            queue_full: zero(),
            failed: zero(),
            over_limit: zero(),
            malformed: zero(),
        }
    }

    pub(crate) fn counts(&self) -> SpanCounts {
        SpanCounts {
            exported: self.exported.load(Relaxed),
            queue_full: self.queue_full.load(Relaxed),
            failed: self.failed.load(Relaxed),
            over_limit: self.over_limit.load(Relaxed),
            malformed: self.malformed.load(Relaxed),
        }
    }

    /// Notes that a batch has left the queue.
    pub(crate) fn left(&self, spans: usize, is_exported: bool) {
        self.waiting.fetch_sub(spans, Relaxed);
        let counter = if is_exported { &self.exported } else { &self.failed };
        counter.fetch_add(spans as u64, Relaxed);
    }

    pub(crate) fn over_limit(&self, spans: u64) {
        self.over_limit.fetch_add(spans, Relaxed);
    }

    pub(crate) fn malformed(&self, spans: u64) {
        self.malformed.fetch_add(spans, Relaxed);
    }

    /// The spans that wait, or are being exported.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    fn enter(&self) -> bool {
        let one_more = |waiting| (waiting < self.most).then_some(waiting + 1);
        let has_room = self.waiting.fetch_update(Relaxed, Relaxed, one_more).is_ok();
        if !has_room {
            self.queue_full.fetch_add(1, Relaxed);
        }
        has_room
    }
}

impl SpanQueue {
    /// `processor`: with room for as many spans as the tally lets in.
    pub(crate) fn new(tally: Arc<Tally>, mut processor: BatchSpanProcessor, resource: &Resource) -> Self {
        processor.set_resource(resource);
        Self { tally, processor: Arc::new(processor) }
    }

    /// Adds a span that has ended.
    pub(crate) fn add(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.tally.enter() {
            self.processor.on_end(span);
        }
    }
}

impl SpanProcessor for SpanQueue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.add(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }
}
