//! A collector of traces: a real HTTP server that speaks OTLP, in both of its encodings.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;
use tokio::net::{TcpListener, TcpStream};

use crate::eventually;

/// A collector that keeps all that it gets. Dropping it leaves the listener to the test's runtime,
/// which ends with the test.
#[derive(Debug)]
pub struct Collector {
    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    spans: Vec<Span>,
    headers: Vec<HeaderMap>,
}

/// A span that has arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// `service.name` of its resource.
    pub service: String,
    pub name: String,
    pub kind: SpanKind,
    /// Hex digits.
    pub trace: String,
    pub id: String,
    /// Empty for the first span of a trace.
    pub parent: String,
    pub tracestate: String,
    /// `true`: it is marked as failed.
    pub is_error: bool,
    pub began_ns: u64,
    pub ended_ns: u64,
    attributes: Vec<(String, String)>,
    resource: Vec<(String, String)>,
}

impl Span {
    /// An attribute as text, of the span or else of its resource. Empty without one.
    pub fn attribute(&self, name: &str) -> &str {
        let mut all = self.attributes.iter().chain(&self.resource);
        all.find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// The number of attributes with this name.
    pub fn count(&self, name: &str) -> usize {
        self.attributes.iter().filter(|(key, _)| key == name).count()
    }
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::default();
        tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { endpoint: format!("http://{address}"), state }
    }

    /// Waits for a span, and returns it.
    pub async fn span(&self, what: &str, is: impl Fn(&Span) -> bool) -> Span {
        eventually(what, || std::future::ready(self.spans().iter().any(&is))).await;
        self.spans().into_iter().find(is).expect("it has just been there")
    }

    /// The spans that have arrived.
    pub fn spans(&self) -> Vec<Span> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).spans.clone()
    }

    /// The headers of the exports so far.
    pub fn headers(&self) -> Vec<HeaderMap> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).headers.clone()
    }
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, state.clone()));
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let service = service_fn(move |request| answer(request, state.clone()));
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let export = match parts.headers.get("content-type").and_then(|value| value.to_str().ok()) {
        _ if parts.uri.path() != "/v1/traces" => None,
        Some("application/x-protobuf") => ExportTraceServiceRequest::decode(body).ok(),
        Some("application/json") => serde_json::from_slice(&body).ok(),
        _ => None,
    };
    let mut response = Response::new(Full::default());
    match export {
        Some(export) => {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.headers.push(parts.headers);
            state.spans.extend(spans(export));
        }
        None => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    Ok(response)
}

fn spans(export: ExportTraceServiceRequest) -> impl Iterator<Item = Span> {
    export.resource_spans.into_iter().flat_map(|of_resource| {
        let resource = texts(of_resource.resource.unwrap_or_default().attributes);
        let service = resource.iter().find(|(key, _)| key == "service.name");
        let service = service.map(|(_, name)| name.clone()).unwrap_or_default();
        let all = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        all.map(move |span| Span {
            service: service.clone(),
            kind: span.kind(),
            name: span.name,
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            tracestate: span.trace_state,
            is_error: span.status.is_some_and(|status| status.code == 2),
            began_ns: span.start_time_unix_nano,
            ended_ns: span.end_time_unix_nano,
            attributes: texts(span.attributes),
            resource: resource.clone(),
        })
        .collect::<Vec<_>>()
    })
}

fn texts(attributes: Vec<KeyValue>) -> Vec<(String, String)> {
    let text = |value: Value| match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(is) => is.to_string(),
        other => format!("{other:?}"),
    };
    let value = |attribute: &KeyValue| attribute.value.clone()?.value.map(text);
    attributes.iter().map(|attribute| (attribute.key.clone(), value(attribute).unwrap_or_default())).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
