//! The export of batches: an HTTP client, and the counts of what the collector accepted.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::SpanData;
use reqwest::{Client, Url, redirect};
use tokio::runtime::{self, Runtime};

use switchyard_contract::https;

use crate::queue::Tally;
use crate::settings::{InvalidSetting, Settings};

/// The longest answer of a collector that is read: it names spans that it did not accept.
const MAX_ANSWER: usize = 64 * 1024;

/// Exports batches by OTLP. Called on the exporting thread alone.
#[derive(Debug)]
pub(crate) struct Exporter {
    otlp: SpanExporter,
    tally: Arc<Tally>,
    /// `true`: the last export failed, which is logged once.
    is_failing: AtomicBool,
    reason: LastReason,
}

/// The reason why the last request failed. The error of an export does not have it.
type LastReason = Arc<Mutex<Option<String>>>;

impl Exporter {
    /// # Errors
    /// A variable has a value that cannot be used.
    pub(crate) fn new(settings: &Settings, tally: Arc<Tally>) -> Result<Self, InvalidSetting> {
        let protocol = if settings.is_json { Protocol::HttpJson } else { Protocol::HttpBinary };
        let builder = SpanExporter::builder().with_http();
        let collector = Collector::new(settings)?;
        let reason = collector.reason.clone();
        let builder = builder.with_protocol(protocol).with_http_client(collector);
        let otlp = builder.build().map_err(|error| InvalidSetting {
            name: "OTEL_EXPORTER_OTLP_*".to_owned(),
            value: String::new(),
            why: error.to_string(),
        })?;
        Ok(Self { otlp, tally, is_failing: AtomicBool::new(false), reason })
    }

    fn log(&self, result: &OTelSdkResult) {
        let has_failed = self.is_failing.swap(result.is_err(), Relaxed);
        match result {
            Err(error) if !has_failed => {
                let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner).take();
                let why = reason.unwrap_or_else(|| error.to_string());
                tracing::warn!("spans are not exported, and are dropped until the collector answers: {why}");
            }
            Ok(()) if has_failed => tracing::info!("spans are exported again"),
            _ => {}
        }
    }
}

impl opentelemetry_sdk::trace::SpanExporter for Exporter {
    /// Always succeeds: the processor would log each failure.
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.otlp.export(batch).await;
        self.tally.left(spans, result.is_ok());
        self.log(&result);
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.otlp.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.otlp.set_resource(resource);
    }
}

/// The client of a collector. It blocks, as the exporting thread has nothing else to do.
#[derive(Debug)]
struct Collector {
    client: Client,
    reason: LastReason,
    /// `Some` until it is dropped.
    runtime: Option<Runtime>,
}

impl Collector {
    fn new(settings: &Settings) -> Result<Self, InvalidSetting> {
        let unusable = |why: String| InvalidSetting {
            name: "OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(),
            value: String::new(),
            why,
        };
        let client = https::build(|| {
            Client::builder()
                .timeout(settings.timeout)
                .redirect(redirect::Policy::none())
                .user_agent(concat!("switchyard/", env!("CARGO_PKG_VERSION")))
                .tls_certs_merge(settings.certificates.iter().cloned())
        });
        let client = client.map_err(|error| unusable(error.to_string()))?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| unusable(error.to_string()))?;
        Ok(Self { client, reason: LastReason::default(), runtime: Some(runtime) })
    }

    async fn post(&self, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
        let (parts, body) = request.into_parts();
        let url = Url::parse(&parts.uri.to_string()).map_err(|error| error.to_string())?;
        let shown = shown(&url);
        let failed = |error: reqwest::Error| format!("POST {shown}: {}", https::reason(error));
        let request = self.client.request(parts.method, url).headers(parts.headers);
        let mut response = request.body(body).send().await.map_err(failed)?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("POST {shown} was answered with {status}"));
        }
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if answer.len() + chunk.len() > MAX_ANSWER {
                return Err("the collector's answer is too long".to_owned());
            }
            answer.extend_from_slice(&chunk);
        }
        Response::builder().status(status).body(answer.into()).map_err(|error| error.to_string())
    }
}

#[async_trait::async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let runtime = self.runtime.as_ref().ok_or("the exporter has ended")?;
        let sent = runtime.block_on(self.post(request));
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = sent.as_ref().err().cloned();
        Ok(sent?)
    }
}

/// Returns a URL without what may be secret in it.
fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

impl Drop for Collector {
    /// A runtime that is dropped on another one's thread must not wait.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
