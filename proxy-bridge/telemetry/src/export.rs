//! The export of batches: an HTTP client, and the counts of what the collector accepted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::SpanData;
use reqwest::{Certificate, Client, redirect};
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
}

impl Exporter {
    /// # Errors
    /// A variable has a value that cannot be used.
    pub(crate) fn new(settings: &Settings, tally: Arc<Tally>) -> Result<Self, InvalidSetting> {
        let protocol = if settings.is_json { Protocol::HttpJson } else { Protocol::HttpBinary };
        let builder = SpanExporter::builder().with_http();
        let builder = builder.with_protocol(protocol).with_http_client(Collector::new(settings)?);
        let otlp = builder.build().map_err(|error| InvalidSetting {
            name: "OTEL_EXPORTER_OTLP_*".to_owned(),
            value: String::new(),
            why: error.to_string(),
        })?;
        Ok(Self { otlp, tally, is_failing: AtomicBool::new(false) })
    }

    fn log(&self, result: &OTelSdkResult) {
        let has_failed = self.is_failing.swap(result.is_err(), Relaxed);
        match result {
            Err(error) if !has_failed => {
                tracing::warn!(
                    "spans are not exported, and are dropped until the collector answers: {error}"
                );
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
    /// `Some` until it is dropped.
    runtime: Option<Runtime>,
}

impl Collector {
    fn new(settings: &Settings) -> Result<Self, InvalidSetting> {
        let mut authorities = Vec::new();
        if let Some(path) = &settings.certificate {
            let invalid = |why: String| InvalidSetting {
                name: "OTEL_EXPORTER_OTLP_CERTIFICATE".to_owned(),
                value: path.clone(),
                why,
            };
            let pem = std::fs::read(path).map_err(|error| invalid(error.to_string()))?;
            authorities = Certificate::from_pem_bundle(&pem).map_err(|error| invalid(error.to_string()))?;
        }
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
                .tls_certs_merge(authorities.iter().cloned())
        });
        let client = client.map_err(|error| unusable(error.to_string()))?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| unusable(error.to_string()))?;
        Ok(Self { client, runtime: Some(runtime) })
    }

    async fn post(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let request = self.client.request(parts.method, parts.uri.to_string()).headers(parts.headers);
        let mut response = request.body(body).send().await.map_err(https::reason)?.error_for_status()?;
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if answer.len() + chunk.len() > MAX_ANSWER {
                return Err("the collector's answer is too long".into());
            }
            answer.extend_from_slice(&chunk);
        }
        Ok(Response::builder().status(status).body(answer.into())?)
    }
}

#[async_trait::async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let runtime = self.runtime.as_ref().ok_or("the exporter has ended")?;
        runtime.block_on(self.post(request))
    }
}

impl Drop for Collector {
    /// A runtime that is dropped on another one's thread must not wait.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
