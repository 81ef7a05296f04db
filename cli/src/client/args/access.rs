//! The bridge that a command talks to, and the token for it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use reqwest::Url;
use reqwest::header::HeaderValue;
use switchyard_program::settings::Problem;

use super::invalid_token;

/// The variable with the token itself. A flag for it would show it to every user of the machine.
const TOKEN_VARIABLE: &str = "SWITCHYARD_TOKEN";

#[derive(Debug, Args)]
#[command(next_help_heading = "Bridge")]
pub(crate) struct Access {
    /// URL of the bridge; or in SWITCHYARD_TO
    #[arg(long, value_name = "URL", env = "SWITCHYARD_TO", hide_env = true, value_parser = bridge_url)]
    pub(in super::super) to: Option<Url>,

    /// File with the token; or the token itself in SWITCHYARD_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Print the bridge's JSON and nothing else
    #[arg(long)]
    pub(in super::super) json: bool,
}

/// A URL that no bridge can have. The message never shows the URL, which may contain a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum InvalidBridgeUrl {
    #[error("invalid URL: expected http://host:port")]
    Malformed,
    #[error("invalid URL: expected http://… or https://…")]
    Scheme,
    #[error("the URL must not contain a user name or a password: put the token in --token-file")]
    Credentials,
    #[error("the URL must not contain a query or a fragment: leave out everything from ? or #")]
    Query,
}

fn bridge_url(text: &str) -> Result<Url, InvalidBridgeUrl> {
    let url = Url::parse(text).map_err(|_| InvalidBridgeUrl::Malformed)?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(InvalidBridgeUrl::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(InvalidBridgeUrl::Credentials);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(InvalidBridgeUrl::Query);
    }
    Ok(url)
}

impl Access {
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
