//! The HTTP client of an installation: bounded in time, size and number of requests, with retries,
//! and without requests for tarballs in the shared store.

mod failure;
mod tarballs;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deno_cache_dir::file_fetcher::{HttpClient, SendError, SendResponse};
use deno_core::url::Url;
use deno_error::JsErrorBox;
use deno_npm_cache::{
    DownloadError, NpmCacheHttpClient, NpmCacheHttpClientBytesResponse, NpmCacheHttpClientResponse,
};
use deno_npmrc::RegistryConfig;
use deno_runtime::deno_fetch::{self, CreateHttpClientOptions, ReqBody, create_http_client};
use deno_runtime::deno_tls::create_default_root_cert_store;
use http::header::{AUTHORIZATION, ETAG, IF_NONE_MATCH, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use sha2::{Digest as _, Sha256};

use self::failure::{RequestError, RequestFailure};
use super::written::WrittenBytes;
use super::{optional, package_names};
use crate::deno::USER_AGENT;

/// The largest answer in bytes. The largest known packages have less, unpacked.
const MAX_BODY: usize = 256 << 20;

/// Bytes of all answers in one installation.
const MAX_TOTAL: u64 = 2 << 30;

/// The longest wait for the head of an answer: a registry that builds a list of versions takes
/// seconds.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest time for a whole body: a large package over a slow line.
const BODY_TIMEOUT: Duration = Duration::from_secs(120);

/// Attempts for a package or module that is needed to start.
const ATTEMPTS: u32 = 4;

/// The same for packages and modules that are not needed to start: a host that does not answer must
/// not delay the others.
const LAZY_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const LAZY_ATTEMPTS: u32 = 2;

/// The pause before the second attempt, doubled for each further one.
const PAUSE: Duration = Duration::from_millis(200);

/// The first bytes of a tarball.
const GZIP: [u8; 2] = [0x1f, 0x8b];

const MAX_REDIRECTS: usize = 10;

/// Optional packages that are left out, each of which costs another attempt.
const MAX_LEFT_OUT: usize = 16;

/// The client for registries.
#[derive(Debug)]
pub(crate) struct Client {
    http: deno_fetch::Client,
    /// The folder of the shared store of tarballs.
    downloads: Option<PathBuf>,
    /// Tarballs that were read from the store or written to it.
    used: Mutex<Vec<PathBuf>>,
    written: Arc<WrittenBytes>,
    /// URLs without an answer, with the reasons.
    unanswered: Mutex<Vec<(Url, String)>>,
    requests: AtomicU64,
    bytes: AtomicU64,
    /// `true`: further requests are not needed to start.
    is_lazy: AtomicBool,
    /// Optional packages that are removed from the registry's documents.
    left_out: Mutex<BTreeSet<String>>,
    /// The first name that was not requested because it is invalid.
    refused: Mutex<Option<String>>,
}

/// The client for remote modules.
#[derive(Debug, Clone)]
pub(super) struct ModuleClient(pub(super) Arc<Client>);

/// An answer with its whole body.
struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Client {
    /// # Errors
    /// Invalid certificates.
    pub(super) fn new(
        downloads: Option<PathBuf>,
        authorities: Option<&str>,
        written: Arc<WrittenBytes>,
    ) -> anyhow::Result<Self> {
        let options = CreateHttpClientOptions {
            root_cert_store: Some(create_default_root_cert_store()),
            ca_certs: authorities.map(|text| text.as_bytes().to_vec()).into_iter().collect(),
            ..CreateHttpClientOptions::default()
        };
        let http = create_http_client(USER_AGENT, options)?;
        let (used, unanswered, requests, bytes, left_out, is_lazy) = Default::default();
        let refused = Mutex::default();
        Ok(Self { http, downloads, used, written, unanswered, requests, bytes, left_out, is_lazy, refused })
    }

    /// Sets if further requests are not needed to start.
    pub(super) fn set_lazy(&self, is_lazy: bool) {
        self.is_lazy.store(is_lazy, Ordering::Relaxed);
    }

    /// Removes the optional package `name` from further documents. Returns `true` if that is new.
    pub(super) fn leave_out(&self, name: &str) -> bool {
        let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        left_out.len() < MAX_LEFT_OUT && left_out.insert(name.to_owned())
    }

    /// Returns `true` if an optional package of this name was removed.
    pub(super) fn has_left_out(&self, name: &str) -> bool {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    fn without_left_out(&self, document: Vec<u8>) -> Vec<u8> {
        let left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        optional::without(document, &left_out)
    }

    /// Returns the first name that was not requested because it is invalid.
    pub(super) fn refused(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn check_name(&self, url: &Url) -> Result<(), RequestError> {
        let Some(name) = package_names::refused(url) else { return Ok(()) };
        let error = package_names::error(&name).unwrap_or_default();
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(name);
        Err(RequestError::new(error))
    }

    /// Returns the number of requests so far.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Removes the tarballs that were used from the store, after a failure: one of them may be
    /// damaged.
    pub(super) fn forget_downloads(&self) {
        for path in self.used.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = fs::remove_file(path);
        }
    }

    /// Returns the reason why a URL in a text had no answer, unless the text contains it.
    pub(super) fn reason(&self, text: &str) -> Option<String> {
        let unanswered = self.unanswered.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = unanswered.iter().filter(|(url, _)| text.contains(url.as_str()));
        known.next().map(|(_, reason)| reason.clone()).filter(|reason| !text.contains(reason))
    }

    async fn get(&self, url: &Url, headers: &HeaderMap) -> Result<Response, RequestError> {
        let mut pause = PAUSE;
        let attempts = if self.is_lazy.load(Ordering::Relaxed) { LAZY_ATTEMPTS } else { ATTEMPTS };
        for attempt in 1.. {
            let answer = self.get_once(url, headers).await;
            let is_worth_retry = match &answer {
                Ok(answer) => {
                    answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS
                }
                Err(RequestFailure::Transient(_)) => true,
                Err(RequestFailure::Final(_)) => false,
            };
            if !is_worth_retry || attempt >= attempts {
                return answer.map_err(|failure| {
                    let (RequestFailure::Transient(reason) | RequestFailure::Final(reason)) = failure;
                    let mut unanswered = self.unanswered.lock().unwrap_or_else(PoisonError::into_inner);
                    unanswered.push((url.clone(), reason.clone()));
                    RequestError::new(format!("{url}: {reason}"))
                });
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        unreachable!("the last attempt returns")
    }

    async fn get_once(&self, url: &Url, headers: &HeaderMap) -> Result<Response, RequestFailure> {
        let mut request = http::Request::builder()
            .uri(url.as_str())
            .body(ReqBody::empty())
            .map_err(|error| RequestFailure::Final(error.to_string()))?;
        request.headers_mut().extend(headers.clone());
        self.requests.fetch_add(1, Ordering::Relaxed);
        let is_lazy = self.is_lazy.load(Ordering::Relaxed);
        let head_timeout = if is_lazy { LAZY_HEAD_TIMEOUT } else { HEAD_TIMEOUT };
        let sent = tokio::time::timeout(head_timeout, self.http.clone().send(request)).await;
        let response = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(RequestFailure::new(&error)),
            Err(_) => {
                return Err(RequestFailure::Transient(format!(
                    "no answer within {} s",
                    head_timeout.as_secs()
                )));
            }
        };
        let (head, body) = response.into_parts();
        let body = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await;
        let body = match body {
            Ok(Ok(body)) => body.to_bytes().to_vec(),
            Ok(Err(error)) => return Err(RequestFailure::Transient(error.to_string())),
            Err(_) => {
                let reason = format!("the answer did not end within {} s", BODY_TIMEOUT.as_secs());
                return Err(RequestFailure::Transient(reason));
            }
        };
        let all = self.bytes.fetch_add(body.len() as u64, Ordering::Relaxed) + body.len() as u64;
        if all > MAX_TOTAL {
            return Err(RequestFailure::Final(format!(
                "the packages of one project are more than {MAX_TOTAL} bytes"
            )));
        }
        Ok(Response { status: head.status, headers: head.headers, body })
    }

    /// Requests a URL and follows redirects. Drops the authorization for another origin.
    async fn follow(&self, url: Url, mut headers: HeaderMap) -> Result<Response, RequestError> {
        let mut url = url;
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.get(&url, &headers).await?;
            if !answer.status.is_redirection() || answer.status == StatusCode::NOT_MODIFIED {
                return Ok(answer);
            }
            let location = answer.headers.get(LOCATION).and_then(|location| location.to_str().ok());
            let next = location.and_then(|location| url.join(location).ok());
            let next = next.ok_or_else(|| RequestError::new(format!("{url}: invalid redirect")))?;
            if next.origin() != url.origin() {
                headers.remove(AUTHORIZATION);
            }
            url = next;
        }
        Err(RequestError::new(format!("{url}: more than {MAX_REDIRECTS} redirects")))
    }

    /// Returns the path in the store of a tarball that needs no authorization.
    fn stored(&self, url: &Url, is_public: bool) -> Option<PathBuf> {
        let downloads = self.downloads.as_ref().filter(|_| is_public && url.path().ends_with(".tgz"))?;
        let path = downloads.join(hex(&Sha256::digest(url.as_str())));
        self.used.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
        Some(path)
    }
}

#[async_trait::async_trait(?Send)]
impl NpmCacheHttpClient for Client {
    async fn download_with_retries_on_any_tokio_runtime(
        &self,
        url: Url,
        auth: Option<String>,
        etag: Option<String>,
        _registry: Option<&RegistryConfig>,
    ) -> Result<NpmCacheHttpClientResponse, DownloadError> {
        let failed =
            |status_code, text: String| DownloadError { status_code, error: JsErrorBox::generic(text) };
        let bytes = |bytes, etag| {
            Ok(NpmCacheHttpClientResponse::Bytes(NpmCacheHttpClientBytesResponse { bytes, etag }))
        };
        self.check_name(&url).map_err(|error| failed(None, error.to_string()))?;
        let stored = self.stored(&url, auth.is_none());
        if let Some(found) = stored.as_deref().and_then(tarballs::read) {
            self.written.make_room(&found).await;
            return bytes(found, None);
        }
        let mut headers = HeaderMap::new();
        for (name, value) in [(AUTHORIZATION, auth), (IF_NONE_MATCH, etag)] {
            let Some(value) = value else { continue };
            let value = HeaderValue::from_str(&value).map_err(|error| failed(None, error.to_string()))?;
            headers.insert(name, value);
        }
        let shown = url.clone();
        let answer = self.follow(url, headers).await.map_err(|error| failed(None, error.to_string()))?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(NpmCacheHttpClientResponse::NotFound),
            StatusCode::NOT_MODIFIED => Ok(NpmCacheHttpClientResponse::NotModified),
            status if status.is_success() => {
                let is_tarball = answer.body.starts_with(&GZIP);
                if let Some(path) = stored.filter(|_| is_tarball) {
                    tarballs::write(&path, &answer.body);
                }
                if is_tarball {
                    self.written.make_room(&answer.body).await;
                }
                let body = if is_tarball { answer.body } else { self.without_left_out(answer.body) };
                let etag = answer.headers.get(ETAG).and_then(|etag| etag.to_str().ok());
                bytes(body, etag.map(str::to_owned))
            }
            status => Err(failed(Some(status.as_u16()), format!("{shown} answered {status}"))),
        }
    }
}

#[async_trait::async_trait(?Send)]
impl HttpClient for ModuleClient {
    async fn send_no_follow(&self, url: &Url, headers: HeaderMap) -> Result<SendResponse, SendError> {
        let answer = self.0.get(url, &headers).await.map_err(|error| SendError::Failed(error.into()))?;
        match answer.status {
            StatusCode::NOT_MODIFIED => Ok(SendResponse::NotModified),
            StatusCode::NOT_FOUND => Err(SendError::NotFound),
            status if status.is_redirection() => Ok(SendResponse::Redirect(answer.headers)),
            status if status.is_success() => Ok(SendResponse::Success(answer.headers, answer.body)),
            status => Err(SendError::StatusCode(status)),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
