//! A registry of packages on this machine: npm's, JSR's and any other files that are imported by
//! their URL.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};
use tokio::net::{TcpListener, TcpStream};

use crate::router::{Builder, Router};
use crate::volume::Volume;

/// Dropping it leaves the listener to the test's runtime, which ends with the test.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
    shelves: Arc<Mutex<Shelves>>,
}

#[derive(Debug, Default)]
struct Shelves {
    /// By path: content type and content, or a redirect to another path.
    files: BTreeMap<String, (String, Bytes)>,
    /// The npm metadata of each package, by name.
    packages: BTreeMap<String, Value>,
    /// The JSR metadata of each package, by name.
    jsr: BTreeMap<String, Value>,
    token: Option<String>,
    requests: Vec<String>,
}

impl Registry {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let shelves = Arc::new(Mutex::default());
        tokio::spawn(accept(listener, Arc::clone(&shelves)));
        Self { address, shelves }
    }

    /// Returns the file for a path that begins with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A router that fetches packages from here.
    pub fn router(&self, volume: &Volume) -> Builder {
        self.known(volume).flag("allow-install", "")
    }

    /// The same, which also watches the volume.
    pub fn watched(&self, volume: &Volume) -> Builder {
        self.name_to(Router::builder(volume)).flag("allow-install", "")
    }

    /// A router that is configured with it, but fetches nothing.
    pub fn known(&self, volume: &Volume) -> Builder {
        self.name_to(Router::builder(volume).unwatched())
    }

    fn name_to(&self, router: Builder) -> Builder {
        router.env("NPM_CONFIG_REGISTRY", &self.url("/")).env("JSR_URL", &self.url("/"))
    }

    /// Requires this token from now on.
    pub fn require_token(&self, token: &str) {
        self.shelves().token = Some(token.to_owned());
    }

    /// Publishes a version of an npm package. `manifest` is its package.json besides name and
    /// version.
    pub fn publish(&self, name: &str, version: &str, manifest: Value, files: &[(&str, &str)]) {
        let text = described(name, version, manifest.clone()).to_string();
        let tarball = tarball(files.iter().copied().chain([("package.json", text.as_str())]));
        self.publish_tarball(name, version, manifest, tarball);
    }

    /// The same with a tarball, gzipped, that may have anything in it.
    pub fn publish_tarball(&self, name: &str, version: &str, manifest: Value, tarball: Vec<u8>) {
        let mut package = described(name, version, manifest);
        let path = format!("/{name}/-/{version}.tgz");
        let integrity = format!("sha512-{}", STANDARD.encode(Sha512::digest(&tarball)));
        package["dist"] = json!({"tarball": self.url(&path), "integrity": integrity});
        let mut shelves = self.shelves();
        let index = shelves
            .packages
            .entry(name.to_owned())
            .or_insert_with(|| json!({"name": name, "dist-tags": {}, "versions": {}, "time": {}}));
        index["dist-tags"]["latest"] = version.into();
        index["time"][version] = "2020-01-01T00:00:00.000Z".into();
        index["versions"][version] = package;
        shelves.files.insert(path, ("application/octet-stream".into(), tarball.into()));
    }

    /// Replaces the tarball of a version by another one than was published.
    pub fn tamper(&self, name: &str, version: &str) {
        let other = tarball([("index.js", "module.exports = 'tampered';")].into_iter());
        self.file(&format!("/{name}/-/{version}.tgz"), "application/octet-stream", other);
    }

    /// Publishes a version of a JSR package, `@scope/name`, whose entry is `mod.ts`.
    pub fn publish_jsr(&self, name: &str, version: &str, files: &[(&str, &str)]) {
        let mut manifest = json!({});
        for (path, text) in files {
            let checksum: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
            manifest[format!("/{path}")] =
                json!({"size": text.len(), "checksum": format!("sha256-{checksum}")});
            self.file(&format!("/{name}/{version}/{path}"), "text/typescript", *text);
        }
        let meta = json!({"exports": {".": "./mod.ts"}, "manifest": manifest});
        self.file(&format!("/{name}/{version}_meta.json"), "application/json", meta.to_string());
        let mut shelves = self.shelves();
        let index = shelves.jsr.entry(name.to_owned()).or_insert_with(|| json!({"versions": {}}));
        index["versions"][version] = json!({"createdAt": "2020-01-01T00:00:00.000Z"});
        let text = index.to_string();
        shelves.files.insert(format!("/{name}/meta.json"), ("application/json".into(), text.into()));
    }

    /// Serves a file.
    pub fn file(&self, path: &str, content_type: &str, content: impl Into<Vec<u8>>) {
        let content = Bytes::from(content.into());
        self.shelves().files.insert(path.to_owned(), (content_type.to_owned(), content));
    }

    /// Redirects from one path to another.
    pub fn redirect(&self, from: &str, to: &str) {
        self.file(from, "redirect", to);
    }

    /// Returns the paths requested since the last call.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.shelves().requests)
    }

    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().expect("no holder of this lock panics")
    }
}

impl Shelves {
    fn answer<B>(&mut self, request: &Request<B>) -> Response<Full<Bytes>> {
        let path = request.uri().path().replace("%2f", "/").replace("%2F", "/");
        self.requests.push(path.clone());
        let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if let Some(token) = &self.token
            && given != Some(&format!("Bearer {token}"))
        {
            return respond(401, "text/plain", "a token is needed");
        }
        if let Some(package) = self.packages.get(path.trim_start_matches('/')) {
            return respond(200, "application/json", package.to_string());
        }
        match self.files.get(&path) {
            Some((kind, to)) if kind == "redirect" => {
                let mut response = respond(302, "text/plain", "");
                let to = to.as_ref().try_into().expect("a path is a header's value");
                response.headers_mut().insert(LOCATION, to);
                response
            }
            Some((kind, content)) => respond(200, kind, content.clone()),
            None => respond(404, "text/plain", "not found"),
        }
    }
}

fn described(name: &str, version: &str, mut manifest: Value) -> Value {
    manifest["name"] = name.into();
    manifest["version"] = version.into();
    manifest
}

fn respond(status: u16, content_type: &str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header(CONTENT_TYPE, content_type);
    response.body(Full::new(body.into())).expect("it is a response")
}

fn tarball<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive
            .append_data(&mut header, format!("package/{path}"), text.as_bytes())
            .expect("memory can be written");
    }
    archive.into_inner().and_then(GzEncoder::finish).expect("memory can be written")
}

async fn accept(listener: TcpListener, shelves: Arc<Mutex<Shelves>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, Arc::clone(&shelves)));
    }
}

async fn serve(stream: TcpStream, shelves: Arc<Mutex<Shelves>>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = shelves.lock().expect("no holder of this lock panics").answer(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
