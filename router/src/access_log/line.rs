//! The lines of the access log, and what is left out of them.

use std::io::Write as _;

use serde::Serialize;
use switchyard_contract::admin::RequestInfo;
use switchyard_contract::bounds::RECORDED_HEADER;
use switchyard_contract::project::ProjectName;

use crate::config::AccessLogFormat;

/// Parts of names of parameters whose values are not logged.
const SECRETS: [&str; 17] = [
    "token",
    "secret",
    "pass",
    "pwd",
    "key",
    "auth",
    "sig",
    "cred",
    "sess",
    "jwt",
    "code",
    "state",
    "otp",
    "bearer",
    "ticket",
    "assertion",
    "saml",
];

/// Words of names for the same. They are too short to be looked for in other words.
const SECRET_WORDS: [&str; 2] = ["pin", "sid"];

/// The status in the combined format for a client that left before the answer, as nginx has it.
const CLIENT_LEFT: u16 = 499;

/// The parts of a line that the request's record does not have.
#[derive(Debug, Default)]
pub(crate) struct RequestDetails {
    host: Box<str>,
    query: Option<Box<str>>,
    protocol: &'static str,
    user_agent: Option<Box<str>>,
    referer: Option<Box<str>>,
}

/// A request that has ended.
#[derive(Debug)]
pub(crate) struct AccessEntry {
    /// `None`: the request had no project.
    pub(crate) project: Option<ProjectName>,
    pub(crate) request: RequestInfo,
    pub(crate) details: RequestDetails,
}

/// A line of JSON.
#[derive(Serialize)]
struct JsonLine<'a> {
    time: String,
    id: &'a str,
    client: std::net::IpAddr,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<&'a str>,
    protocol: &'a str,
    status: Option<u16>,
    bytes: u64,
    total_ms: f64,
    head_ms: Option<f64>,
    queued_ms: f64,
    project: Option<&'a str>,
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    websocket: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut_off: bool,
}

impl RequestDetails {
    /// The details of a request. `query` is logged, without the values of what may be secrets.
    pub(crate) fn new<'h>(
        host: &[u8],
        query: Option<&str>,
        protocol: &'static str,
        header: impl Fn(&str) -> Option<&'h [u8]>,
        has_queries: bool,
    ) -> Self {
        let query = query.filter(|_| has_queries);
        let referer = header("referer").map(text);
        Self {
            host: text(host),
            query: query.map(|query| redact(query).into()),
            protocol,
            user_agent: header("user-agent").map(text),
            referer: referer.and_then(|referer| without_secrets(&referer, has_queries)).map(Into::into),
        }
    }
}

/// Returns a bounded text.
fn text(bytes: &[u8]) -> Box<str> {
    String::from_utf8_lossy(&bytes[..bytes.len().min(RECORDED_HEADER)]).into()
}

/// Returns a URL without user, password and fragment, and without its query unless that is logged. `None`:
/// it is no URL.
fn without_secrets(url: &str, has_queries: bool) -> Option<String> {
    let url = url.split('#').next().unwrap_or_default();
    let (url, query) = url.split_once('?').map_or((url, None), |(url, query)| (url, Some(query)));
    let (scheme, rest) = url.split_once("://")?;
    let is_scheme = scheme.bytes().all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    if scheme.is_empty() || host.is_empty() || !is_scheme {
        return None;
    }
    let query = query.filter(|_| has_queries).map(|query| format!("?{}", redact(query)));
    Some(format!("{scheme}://{host}{path}{}", query.unwrap_or_default()))
}

/// Returns a query without the values of parameters that may be secrets by their names.
fn redact(query: &str) -> String {
    let separators = ['&', ';'];
    let parts = query.split_inclusive(separators).map(|part| match part.split_once('=') {
        Some((name, value)) if is_secret(name) => {
            let separator = &value[value.trim_end_matches(separators).len()..];
            format!("{name}=[redacted]{separator}")
        }
        _ => part.to_owned(),
    });
    let mut query: String = parts.collect();
    query.truncate(query.floor_char_boundary(RECORDED_HEADER));
    query
}

fn is_secret(name: &str) -> bool {
    // An encoded name could hide what it is.
    let name = name.to_ascii_lowercase();
    let mut words = name.split(|character: char| !character.is_ascii_alphanumeric());
    name.contains('%')
        || SECRETS.iter().any(|secret| name.contains(secret))
        || words.any(|word| SECRET_WORDS.contains(&word))
}

impl AccessEntry {
    /// Appends the line about the request.
    pub(super) fn write(&self, format: AccessLogFormat, out: &mut Vec<u8>) {
        match format {
            AccessLogFormat::Json => self.write_json(out),
            AccessLogFormat::Combined => self.write_combined(out),
        }
        out.push(b'\n');
    }

    fn write_json(&self, out: &mut Vec<u8>) {
        let Self { project, request, details } = self;
        let line = JsonLine {
            // As many digits as the router's clock has.
            time: format!("{:.6}", request.timestamp),
            id: &request.id,
            client: request.client,
            method: &request.method,
            host: &details.host,
            path: &request.path,
            query: details.query.as_deref(),
            protocol: details.protocol,
            status: request.status,
            bytes: request.bytes,
            total_ms: request.total_ms,
            head_ms: request.head_ms,
            queued_ms: request.queued_ms,
            project: project.as_ref().map(ProjectName::as_str),
            version: request.version.as_deref(),
            user_agent: details.user_agent.as_deref(),
            referer: details.referer.as_deref(),
            websocket: request.websocket,
            cut_off: request.cut_off,
        };
        serde_json::to_writer(out, &line).expect("a line is plain data");
    }

    /// The format of Apache and nginx.
    fn write_combined(&self, out: &mut Vec<u8>) {
        let Self { request, details, .. } = self;
        let at = request.timestamp.strftime("%d/%b/%Y:%H:%M:%S +0000");
        let query = details.query.as_deref().map(|query| format!("?{query}")).unwrap_or_default();
        let quoted = |text: &Option<Box<str>>| escape(text.as_deref().unwrap_or("-"));
        let status = request.status.unwrap_or(CLIENT_LEFT);
        let (method, path) = (escape(&request.method), escape(&(request.path.clone() + &query)));
        let written = write!(
            out,
            "{} - - [{at}] \"{method} {path} {}\" {status} {} \"{}\" \"{}\"",
            request.client,
            details.protocol,
            request.bytes,
            quoted(&details.referer),
            quoted(&details.user_agent),
        );
        written.expect("a vector takes everything");
    }
}

/// Escapes what could end a quoted text, or a line.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            _ if character.is_control() => escaped.push_str(&format!("\\x{:02X}", u32::from(character))),
            _ => escaped.push(character),
        }
    }
    escaped
}
