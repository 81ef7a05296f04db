//! OpenTelemetry: spans of the router and the bridge, and of cells, in one export by OTLP.
//!
//! The standard variables (`OTEL_…`) configure it; without an endpoint nothing of it exists. Cells
//! send their spans to the router, which says whose they are.
//!
//! - [`Tracing`]: spans, and their export by a thread of its own
//! - [`TraceContext`]: the place of a span in its trace, as `traceparent` and `tracestate` carry it
//! - [`wire`]: spans of a cell on their way to its router

#[cfg(feature = "export")]
mod context;
#[cfg(feature = "export")]
mod export;
#[cfg(feature = "export")]
mod queue;
#[cfg(feature = "export")]
mod relay;
#[cfg(feature = "export")]
mod settings;
#[cfg(feature = "export")]
mod tracing;
pub mod wire;

#[cfg(feature = "export")]
pub use self::context::TraceContext;
#[cfg(feature = "export")]
pub use self::queue::SpanCounts;
#[cfg(feature = "export")]
pub use self::relay::Origin;
#[cfg(feature = "export")]
pub use self::settings::InvalidSetting;
#[cfg(feature = "export")]
pub use self::tracing::{ActiveSpan, Attribute, SpanDescription, SpanKind, Tracing};
