//! Requests over the network: bounded in time, size and number, tried again where that may help, and not made at all for
//! a tarball that this machine has.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
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

use super::written::Written;
use super::{optional, package_names};
use crate::runtime::USER_AGENT;

/// The largest packages there are have less, unpacked.
const MAX_BODY: usize = 256 << 20;

/// In one installation, all together.
const MAX_ALL: u64 = 2 << 30;

/// Until an answer begins; a registry that builds a list of versions takes seconds.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);

/// For the whole of an answer: a large package over a slow line.
const BODY_PATIENCE: Duration = Duration::from_secs(120);

const ATTEMPTS: u32 = 4;

/// For what is not needed to start: a host that does not answer must not hold up the others.
const LAZY_HEAD_PATIENCE: Duration = Duration::from_secs(10);
const LAZY_ATTEMPTS: u32 = 2;

/// Before the second attempt; twice as long before each one after it.
const PAUSE: Duration = Duration::from_millis(200);

/// How a tarball begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];

const MAX_REDIRECTS: usize = 10;

/// Optional packages; each costs another attempt.
const MAX_LEFT_OUT: usize = 16;

#[derive(Debug)]
pub(crate) struct Client {
    http: deno_fetch::Client,
    downloads: Option<PathBuf>,
    /// What was taken from there or put there.
    used: Mutex<Vec<PathBuf>>,
    written: Arc<Written>,
    /// Which URLs had no answer, and why.
    unanswered: Mutex<Vec<(Url, String)>>,
    requests: AtomicU64,
    bytes: AtomicU64,
    /// Nothing that is asked for is needed to start.
    is_lazy: AtomicBool,
    /// Optional packages that no package is told to have.
    left_out: Mutex<BTreeSet<String>>,
    /// The first name that was not asked for because it is not valid.
    refused: Mutex<Option<String>>,
}

/// The same client, for modules.
#[derive(Debug, Clone)]
pub(super) struct Modules(pub(super) Arc<Client>);

/// What is kept of an answer.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Client {
    /// # Errors
    /// The certificates are none.
    pub(super) fn new(
        downloads: Option<PathBuf>,
        authorities: Option<&str>,
        written: Arc<Written>,
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

    /// Sets that nothing that is asked for is needed to start.
    pub(super) fn set_lazy(&self, is_lazy: bool) {
        self.is_lazy.store(is_lazy, Ordering::Relaxed);
    }

    /// Has no package depend on the optional package `name` any more. Returns whether that is new.
    pub(super) fn leave_out(&self, name: &str) -> bool {
        let mut left_out = self.left_out.lock().expect("no panic while it is held");
        left_out.len() < MAX_LEFT_OUT && left_out.insert(name.to_owned())
    }

    pub(super) fn has_left_out(&self, name: &str) -> bool {
        self.left_out.lock().expect("no panic while it is held").contains(name)
    }

    fn without_those_left_out(&self, list: Vec<u8>) -> Vec<u8> {
        let left_out = self.left_out.lock().expect("no panic while it is held");
        optional::without(list, &left_out)
    }

    /// The first name of a package that was not asked for because it is not valid.
    pub(super) fn refused(&self) -> Option<String> {
        self.refused.lock().expect("no panic while it is held").clone()
    }

    fn check_name(&self, url: &Url) -> Result<(), String> {
        let Some(name) = package_names::refused(url) else { return Ok(()) };
        let error = package_names::error(&name).unwrap_or_default();
        self.refused.lock().expect("no panic while it is held").get_or_insert(name);
        Err(error)
    }

    /// How many there were so far.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// One of the tarballs may not be what it should be, and is not for the next installation to fail of as well.
    pub(super) fn forget_downloads(&self) {
        for path in self.used.lock().expect("no panic while it is held").drain(..) {
            let _ = fs::remove_file(path);
        }
    }

    /// Why there was no answer from a URL that is part of this text, which does not say so.
    pub(super) fn reason(&self, text: &str) -> Option<String> {
        let unanswered = self.unanswered.lock().expect("no panic while it is held");
        let mut known = unanswered.iter().filter(|(url, _)| text.contains(url.as_str()));
        known.next().map(|(_, reason)| reason.clone()).filter(|reason| !text.contains(reason))
    }

    async fn get(&self, url: &Url, headers: &HeaderMap) -> Result<Answer, String> {
        let mut pause = PAUSE;
        let attempts = if self.is_lazy.load(Ordering::Relaxed) { LAZY_ATTEMPTS } else { ATTEMPTS };
        for attempt in 1.. {
            let answer = self.get_once(url, headers).await;
            let again = match &answer {
                Ok(answer) => {
                    answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS
                }
                Err(Failure::Passing(_)) => true,
                Err(Failure::Final(_)) => false,
            };
            if !again || attempt >= attempts {
                return answer.map_err(|failure| {
                    let (Failure::Passing(reason) | Failure::Final(reason)) = failure;
                    let mut unanswered = self.unanswered.lock().expect("no panic while it is held");
                    unanswered.push((url.clone(), reason.clone()));
                    format!("{url}: {reason}")
                });
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        unreachable!("the last attempt returns")
    }

    async fn get_once(&self, url: &Url, headers: &HeaderMap) -> Result<Answer, Failure> {
        let mut request = http::Request::builder()
            .uri(url.as_str())
            .body(ReqBody::empty())
            .map_err(|error| Failure::Final(error.to_string()))?;
        request.headers_mut().extend(headers.clone());
        self.requests.fetch_add(1, Ordering::Relaxed);
        let is_lazy = self.is_lazy.load(Ordering::Relaxed);
        let patience = if is_lazy { LAZY_HEAD_PATIENCE } else { HEAD_PATIENCE };
        let sent = tokio::time::timeout(patience, self.http.clone().send(request)).await;
        let response = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(Failure::of(&error)),
            Err(_) => {
                return Err(Failure::Passing(format!("no answer within {} s", patience.as_secs())));
            }
        };
        let (head, body) = response.into_parts();
        let body = tokio::time::timeout(BODY_PATIENCE, Limited::new(body, MAX_BODY).collect()).await;
        let body = match body {
            Ok(Ok(body)) => body.to_bytes().to_vec(),
            Ok(Err(error)) => return Err(Failure::Passing(error.to_string())),
            Err(_) => {
                let reason = format!("the answer did not end within {} s", BODY_PATIENCE.as_secs());
                return Err(Failure::Passing(reason));
            }
        };
        let all = self.bytes.fetch_add(body.len() as u64, Ordering::Relaxed) + body.len() as u64;
        if all > MAX_ALL {
            return Err(Failure::Final(format!("the packages of one project are more than {MAX_ALL} bytes")));
        }
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// As [`Self::get`], wherever it is redirected to. Who it is told to is nobody else's to know.
    async fn follow(&self, url: Url, mut headers: HeaderMap) -> Result<Answer, String> {
        let mut url = url;
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.get(&url, &headers).await?;
            if !answer.status.is_redirection() || answer.status == StatusCode::NOT_MODIFIED {
                return Ok(answer);
            }
            let location = answer.headers.get(LOCATION).and_then(|location| location.to_str().ok());
            let next = location.and_then(|location| url.join(location).ok());
            let next = next.ok_or_else(|| format!("{url}: a redirect that leads nowhere"))?;
            if next.origin() != url.origin() {
                headers.remove(AUTHORIZATION);
            }
            url = next;
        }
        Err(format!("{url}: more than {MAX_REDIRECTS} redirects"))
    }

    /// Where a tarball is kept that anybody gets who asks for it.
    fn kept(&self, url: &Url, is_public: bool) -> Option<PathBuf> {
        let downloads = self.downloads.as_ref().filter(|_| is_public && url.path().ends_with(".tgz"))?;
        let path = downloads.join(hex(&Sha256::digest(url.as_str())));
        self.used.lock().expect("no panic while it is held").push(path.clone());
        Some(path)
    }
}

/// Why a request had no answer.
enum Failure {
    /// It may have one if it is made again.
    Passing(String),
    Final(String),
}

impl Failure {
    fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            if error
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
            {
                return Self::Final(
                    "the address is not public: it is the operator's policy that can open it (private_net)"
                        .into(),
                );
            }
            let reason = error.to_string();
            if !text.contains(&reason) {
                text = format!("{text}: {reason}");
            }
            cause = error.source();
        }
        Self::Passing(text)
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
        self.check_name(&url).map_err(|text| failed(None, text))?;
        let kept = self.kept(&url, auth.is_none());
        if let Some(found) = kept.as_deref().and_then(keep::read) {
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
        let answer = self.follow(url, headers).await.map_err(|text| failed(None, text))?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(NpmCacheHttpClientResponse::NotFound),
            StatusCode::NOT_MODIFIED => Ok(NpmCacheHttpClientResponse::NotModified),
            status if status.is_success() => {
                let is_tarball = answer.body.starts_with(&GZIP);
                if let Some(path) = kept.filter(|_| is_tarball) {
                    keep::write(&path, &answer.body);
                }
                if is_tarball {
                    self.written.make_room(&answer.body).await;
                }
                let body = if is_tarball { answer.body } else { self.without_those_left_out(answer.body) };
                let etag = answer.headers.get(ETAG).and_then(|etag| etag.to_str().ok());
                bytes(body, etag.map(str::to_owned))
            }
            status => Err(failed(Some(status.as_u16()), format!("{shown} answered {status}"))),
        }
    }
}

#[async_trait::async_trait(?Send)]
impl HttpClient for Modules {
    async fn send_no_follow(&self, url: &Url, headers: HeaderMap) -> Result<SendResponse, SendError> {
        let answer = self.0.get(url, &headers).await.map_err(|text| SendError::Failed(text.into()))?;
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

/// Tarballs on disk, each behind its own hash: what a power cut or a full disk has left of one is not taken for it. That
/// it is the package that was asked for is checked with each use, against the registry's word or the lock's.
mod keep {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};

    const HASH: usize = 32;

    /// Installations for other projects, which may be another user's of the same group, use it too.
    const MODE: u32 = 0o664;

    pub(super) fn read(path: &Path) -> Option<Vec<u8>> {
        let mut kept = fs::read(path).ok()?;
        let body = kept.split_off(kept.len().min(HASH));
        if Sha256::digest(&body).as_slice() != kept {
            return None;
        }
        // The oldest go first when there are too many.
        if let Ok(file) = fs::File::options().append(true).open(path) {
            // Whoever may write to a file may set its times to the present, and to no other.
            let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
            let _ = futimens(&file, &Timestamps { last_access: now, last_modification: now });
        }
        Some(body)
    }

    /// To keep it is a help and no duty.
    pub(super) fn write(path: &Path, body: &[u8]) {
        let unfinished = path.with_extension(std::process::id().to_string());
        let hash = Sha256::digest(body);
        let written = fs::write(&unfinished, [hash.as_slice(), body].concat())
            .and_then(|()| fs::set_permissions(&unfinished, fs::Permissions::from_mode(MODE)));
        if written.and_then(|()| fs::rename(&unfinished, path)).is_err() {
            let _ = fs::remove_file(&unfinished);
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_is_damaged_is_not_taken() {
            let dir = std::env::temp_dir().join(format!("switchyard-keep-{}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            let path = dir.join("a");
            assert_eq!(read(&path), None);
            write(&path, b"a tarball");
            assert_eq!(read(&path).as_deref(), Some(b"a tarball".as_slice()));
            for damaged in [&b""[..], b"short", &fs::read(&path).unwrap()[..40]] {
                fs::write(&path, damaged).unwrap();
                assert_eq!(read(&path), None);
            }
            fs::remove_dir_all(dir).unwrap();
        }
    }
}
