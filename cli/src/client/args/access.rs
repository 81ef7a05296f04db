//! The bridge that a command talks to, and the token for it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use reqwest::Url;
use reqwest::header::HeaderValue;
use switchyard_program::color::ColorChoice;
use switchyard_program::settings::Problem;

use super::invalid_token;
use crate::client::bridge::UNIX;

/// The variable with the token itself. A flag for it would show it to every user of the machine.
const TOKEN_VARIABLE: &str = "SWITCHYARD_TOKEN";

/// The bridge of `switchyard dev` and of `switchyard serve` with its defaults.
const DEFAULT_URL: &str = "http://127.0.0.1:9000/";

#[derive(Debug, Args)]
#[command(next_help_heading = "Bridge")]
pub(crate) struct Access {
    /// URL of the bridge, its port on this machine, or unix:/PATH; or in SWITCHYARD_TO [default: the default target,
    /// or http://127.0.0.1:9000]
    #[arg(long, value_name = "URL", env = "SWITCHYARD_TO", hide_env = true, value_parser = bridge_url)]
    pub(in super::super) to: Option<Url>,

    /// Target of switchyard.toml; or in SWITCHYARD_TARGET
    #[arg(long, value_name = "NAME")]
    target: Option<String>,

    /// File with the token; or the token itself in SWITCHYARD_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Colours: auto, always or never
    #[arg(long, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    pub(in super::super) color: ColorChoice,

    /// Print the bridge's JSON and nothing else
    #[arg(long)]
    pub(in super::super) json: bool,
}

/// A URL that no bridge can have. The message shows no URL that may contain a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidBridgeUrl {
    #[error(
        "invalid URL{}: expected http://HOST:PORT, https://HOST, HOST:PORT, a port of this machine such as 9000, or \
         unix:/PATH",
        shown(.0)
    )]
    Malformed(String),
    #[error("the URL must not contain a user name or a password: put the token in --token-file")]
    Credentials,
    #[error("the URL must not contain a query or a fragment: leave out everything from ? or #")]
    Query,
}

/// The text behind a space, unless it may contain a password.
fn shown(text: &str) -> String {
    if text.contains('@') { String::new() } else { format!(" {text:?}") }
}

/// Reads the URL of a bridge. `9000` and `:9000` are ports of this machine, and `host:9000` is a host
/// that is reached by HTTP. `unix:/PATH` is a Unix socket.
///
/// # Errors
/// It is no URL, or not of a bridge.
fn bridge_url(text: &str) -> Result<Url, InvalidBridgeUrl> {
    let port = text.strip_prefix(':').unwrap_or(text);
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let has_port = |text: &str| {
        text.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty()
                && !host.contains('/')
                && !port.is_empty()
                && port.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    let whole = match text {
        _ if is_port => format!("http://127.0.0.1:{port}/"),
        text if has_port(text) && !text.contains('@') => format!("http://{text}/"),
        text => text.to_owned(),
    };
    let url = Url::parse(&whole).map_err(|_| InvalidBridgeUrl::Malformed(text.to_owned()))?;
    if url.scheme() == UNIX && url.path().starts_with('/') && !url.has_host() {
        return Ok(url);
    }
    if !["http", "https"].contains(&url.scheme()) {
        return Err(InvalidBridgeUrl::Malformed(text.to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(InvalidBridgeUrl::Credentials);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(InvalidBridgeUrl::Query);
    }
    Ok(url)
}

/// The same as text.
///
/// # Errors
/// See [`bridge_url`].
pub(crate) fn bridge_text(text: &str) -> Result<String, InvalidBridgeUrl> {
    bridge_url(text).map(String::from)
}

impl Access {
    /// Returns the URL of the bridge.
    pub(in super::super) fn url(&self) -> Url {
        self.to.clone().unwrap_or_else(|| Url::parse(DEFAULT_URL).expect("the default is a URL"))
    }

    /// Returns the value of the authorization header, marked as sensitive so that no debug output shows
    /// it. `None`: there is no token.
    ///
    /// # Errors
    /// The file cannot be read, or does not contain a token.
    pub(in super::super) fn authorization(
        &self,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Option<HeaderValue>, Problem> {
        let token = match &self.token_file {
            Some(file) => std::fs::read_to_string(file).map_err(|error| {
                Problem::flag("token-file", format!("cannot read {}: {error}", file.display()))
            })?,
            None => match env(TOKEN_VARIABLE).filter(|token| !token.is_empty()) {
                Some(token) => token.to_string_lossy().into_owned(),
                None => return Ok(None),
            },
        };
        let token = token.trim();
        let is_valid = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        let header = is_valid.then(|| HeaderValue::from_str(&format!("Bearer {token}")).ok()).flatten();
        let mut header = header.ok_or_else(|| {
            invalid_token("is not a token: expected one word of visible ASCII characters".to_owned())
        })?;
        header.set_sensitive(true);
        Ok(Some(header))
    }
}
