//! Which bridge is asked, and with which token: by flag, or by variable.

use std::ffi::OsString;

use reqwest::Url;
use reqwest::header::HeaderValue;

use super::Values;

/// The bridge's URL, where `--to` is not given.
const TO_VARIABLE: &str = "SWITCHYARD_TO";

/// The token itself, where `--token-file` is not given: an argument would be seen by every user of the machine.
const TOKEN_VARIABLE: &str = "SWITCHYARD_TOKEN";

impl Values {
    pub(super) fn names_bridge(&self, env: impl Fn(&str) -> Option<OsString>) -> bool {
        self.is_set("to") || env(TO_VARIABLE).is_some_and(|to| !to.is_empty())
    }

    pub(super) fn to(&mut self, env: impl Fn(&str) -> Option<OsString>) -> Option<Url> {
        let (whose, text) = match self.given.remove("to") {
            Some(text) => ("--to", text),
            None => (TO_VARIABLE, env(TO_VARIABLE).unwrap_or_default()),
        };
        if text.is_empty() {
            self.problem(format!("--to: is required: the bridge's URL (or {TO_VARIABLE})"));
            return None;
        }
        let url = bridge_url(&text.to_string_lossy());
        url.map_err(|why| self.problem(format!("{whose}: {why}"))).ok()
    }

    pub(super) fn authorization(&mut self, env: impl Fn(&str) -> Option<OsString>) -> Option<HeaderValue> {
        let token = match self.given.remove("token-file") {
            Some(file) => match std::fs::read_to_string(&file) {
                Ok(text) => text,
                Err(error) => {
                    self.problem(format!("--token-file: {file:?} cannot be read: {error}"));
                    return None;
                }
            },
            None => env(TOKEN_VARIABLE).filter(|token| !token.is_empty())?.to_string_lossy().into_owned(),
        };
        let token = token.trim();
        let is_one = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        let Some(mut value) =
            is_one.then(|| HeaderValue::from_str(&format!("Bearer {token}")).ok()).flatten()
        else {
            self.problem(format!(
                "--token-file or {TOKEN_VARIABLE}: holds no token: one word of visible ASCII characters"
            ));
            return None;
        };
        value.set_sensitive(true);
        Some(value)
    }
}

/// The reason never shows the text: a password may be in it.
fn bridge_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}; write http://host:port"))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err("is no http:// or https:// URL".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a name or a password; give the token in --token-file".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end with the path: leave out what is behind ? or #".to_owned());
    }
    Ok(url)
}
