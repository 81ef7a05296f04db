//! The content types of request bodies, and the command lines that send them.

use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, TRANSFER_ENCODING};
use http::request::Parts;

use super::{GateError, authority};

/// The body that an endpoint reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// No body. A JSON document is ignored, because many clients send one with every POST.
    None,
    /// A JSON document like this one.
    Json(&'static str),
    /// Files as multipart/form-data, or one archive.
    Upload,
}

/// The content types of archives that are sent as they are. Clients that cannot name the type send
/// `application/octet-stream`.
pub const ARCHIVES: [&str; 10] = [
    "application/octet-stream",
    "application/x-tar",
    "application/tar",
    "application/gzip",
    "application/x-gzip",
    "application/x-gtar",
    "application/x-compressed-tar",
    "application/zstd",
    "application/zip",
    "application/x-zip-compressed",
];

const JSON: &str = "application/json";
const MULTIPART: &str = "multipart/form-data";

impl BodyKind {
    /// Checks that the body, if there is one, has the content type that is read here.
    ///
    /// # Errors
    /// There is a body with another content type, or without one.
    pub fn check(self, request: &Parts) -> Result<(), GateError> {
        let kind = media_type(&request.headers);
        let kind = kind.as_deref();
        let fits = match self {
            Self::None | Self::Json(_) => kind == Some(JSON) || !has_body(&request.headers),
            Self::Upload => kind.is_some_and(|kind| kind == MULTIPART || ARCHIVES.contains(&kind)),
        };
        if fits { Ok(()) } else { Err(GateError::UnsupportedMediaType(self.advice(request))) }
    }

    fn advice(self, request: &Parts) -> String {
        let curl = Curl::of(request);
        match self {
            Self::None => format!("this endpoint takes no body: {}", curl.line("")),
            Self::Json(example) => format!(
                "the body must be {JSON}: {}",
                curl.line(&format!("-H 'content-type: {JSON}' -d '{example}' "))
            ),
            Self::Upload => format!(
                "the body must be {MULTIPART}, or one archive as application/x-tar, \
                 application/gzip, application/zstd or application/zip: {} or {}",
                curl.line("-F 'file=@main.ts;filename=main.ts' "),
                curl.line("-H 'content-type: application/x-tar' --data-binary @project.tar ")
            ),
        }
    }
}

/// Returns the content type in lower case without parameters. `None` if the header is missing or
/// repeated.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let mut sent = headers.get_all(CONTENT_TYPE).iter();
    let kind = sent.next().filter(|_| sent.next().is_none())?.to_str().ok()?;
    Some(kind.split(';').next()?.trim().to_ascii_lowercase())
}

fn has_body(headers: &HeaderMap) -> bool {
    let is_empty = |length: &http::HeaderValue| length.as_bytes().iter().all(|digit| *digit == b'0');
    headers.contains_key(TRANSFER_ENCODING) || !headers.get_all(CONTENT_LENGTH).iter().all(is_empty)
}

/// A command line that repeats a request.
struct Curl<'r> {
    method: &'r str,
    authorization: &'static str,
    url: String,
}

impl<'r> Curl<'r> {
    fn of(request: &'r Parts) -> Self {
        let host = authority(request).ok().flatten();
        let host = host.map_or_else(|| "HOST".to_owned(), |host| host.to_string());
        let has_token = request.headers.contains_key(AUTHORIZATION);
        Self {
            method: request.method.as_str(),
            authorization: if has_token { "-H \"authorization: Bearer $TOKEN\" " } else { "" },
            url: format!("http://{host}{}", plain(request.uri.path())),
        }
    }

    fn line(&self, options: &str) -> String {
        let Self { method, authorization, url } = self;
        format!("curl -X {method} {authorization}{options}{url}")
    }
}

/// Returns the path, or a stand-in if a shell would read it as something else.
fn plain(path: &str) -> &str {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._".contains(&byte);
    if path.bytes().all(is_plain) { path } else { "/PATH" }
}
