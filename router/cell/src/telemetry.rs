//! Deno's own telemetry, where the router exports spans: they go to the router, which knows whose
//! they are. No collector is within a cell's reach.

mod exporter;

use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::time::Duration;

use deno_core::{JsRuntime, v8};
use deno_runtime::deno_telemetry::{
    DenoIdGenerator, OTEL_GLOBALS, OtelConfig, OtelGlobals, OtelPropagators, OtelSharedRuntime, Sampler,
};
use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::logs::log_processor_with_async_runtime::BatchLogProcessor;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor;
use opentelemetry_sdk::trace::{BatchConfigBuilder, RandomIdGenerator, SpanProcessor as _};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketType};
use switchyard_telemetry::wire;

use self::exporter::{NoLogs, ToRouter};
use crate::deno::DENO_VERSION;
use crate::js;

/// Spans that wait to be sent. Further ones are dropped and counted nowhere, as Deno's processor keeps
/// its count to itself. So the queue is larger than what the router takes, which counts what it drops.
const QUEUE: usize = 16_384;

/// The time for which spans are collected: a trace should be whole soon.
const DELAY: Duration = Duration::from_millis(200);

/// The time that the router has to take a batch. It reads at once; a router that is too busy loses
/// spans.
const SEND_TIMEOUT: Duration = Duration::from_millis(500);

/// The share of the cell's own traces that are exported, those that no request began.
static RATIO: OnceLock<f64> = OnceLock::new();

/// The connection to the router that takes the spans.
pub(crate) struct SpanSocket(UnixStream);

/// Connects to the router if the arguments ask for telemetry. Must be called before the first isolate
/// is made.
///
/// # Errors
/// The router does not listen.
pub(crate) fn connect() -> anyhow::Result<Option<SpanSocket>> {
    let argument = std::env::args().find_map(|argument| {
        let value = argument.strip_prefix(wire::ARGUMENT)?.strip_prefix('=')?;
        value.parse::<f64>().ok()
    });
    let Some(ratio) = argument else { return Ok(None) };
    // By the kernel's own calls: the C library's refuse Unix sockets in this process.
    let socket = net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    net::connect(&socket, &SocketAddrUnix::new(wire::SOCKET)?)?;
    let socket = UnixStream::from(socket);
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    let _ = RATIO.set(ratio);
    Ok(Some(SpanSocket(socket)))
}

/// Returns the settings of Deno's bootstrap in each isolate.
pub(crate) fn config() -> OtelConfig {
    let tracing_enabled = RATIO.get().is_some();
    let propagators = tracing_enabled.then_some(OtelPropagators::TraceContext);
    OtelConfig { tracing_enabled, propagators: propagators.into_iter().collect(), ..OtelConfig::default() }
}

/// Has the spans of an isolate follow the sampling decision of their trace. Must be called before the
/// project's code runs.
pub(crate) fn follow_traces(runtime: &mut JsRuntime) {
    let Some(ratio) = RATIO.get() else { return };
    let code = include_str!("telemetry/sampling.js");
    let follow = js::load_function(runtime, "ext:switchyard/sampling.js", code);
    deno_core::scope!(scope, runtime);
    let follow = v8::Local::new(scope, follow);
    let ratio = v8::Number::new(scope, *ratio).into();
    let this = v8::undefined(scope).into();
    follow.call(scope, this, &[ratio]).expect("the cell's own code does not throw");
}

/// Starts the thread that sends the spans. Must be called once the process is confined, so that this
/// thread is, too.
pub(crate) fn start(socket: SpanSocket) {
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_max_export_batch_size(wire::BATCH_SPANS)
        .with_scheduled_delay(DELAY)
        .build();
    let exporter = ToRouter::new(socket.0);
    let span_processor =
        BatchSpanProcessor::builder(exporter, OtelSharedRuntime).with_batch_config(batches).build();
    let globals = OtelGlobals {
        span_processor,
        log_processor: BatchLogProcessor::builder(NoLogs, OtelSharedRuntime).build(),
        id_generator: DenoIdGenerator::Random(RandomIdGenerator::default()),
        meter_provider: SdkMeterProvider::builder().build(),
        builtin_instrumentation_scope: InstrumentationScope::builder("deno")
            .with_version(DENO_VERSION)
            .build(),
        span_event_count_limit: 128,
        span_attribute_count_limit: 128,
        span_attribute_value_length_limit: None,
        sampler: Sampler::default(),
        config: config(),
    };
    let _ = OTEL_GLOBALS.set(globals);
    deno_signals::before_exit(flush);
}

/// Sends the last spans. Waits for the router, for a short time only.
pub(crate) fn flush() {
    if let Some(globals) = OTEL_GLOBALS.get() {
        // A failure loses spans, and nothing else.
        let _ = globals.span_processor.force_flush();
    }
}
