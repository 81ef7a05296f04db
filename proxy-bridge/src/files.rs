//! The files that settings name, read at the start and again on SIGHUP.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use switchyard_contract::secret::Secret;
use switchyard_contract::settings_file::read_text;
use switchyard_contract::verifier::Verifier;
use switchyard_edge::tls::Tls;
use switchyard_program::settings::InvalidSetting;
use switchyard_program::signal::{Reloads, log_reload};
use tokio::task::spawn_blocking;

use super::config::BridgeConfig;
use super::routers::Routers;
use super::sources::control::Sources;
use super::tokens::Tokens;

/// Settings that name files, and the parts that use the content.
#[derive(Clone)]
pub(super) struct SettingsFiles {
    token_file: Option<PathBuf>,
    admin_token_file: Option<PathBuf>,
    event_secret_file: Option<PathBuf>,
    sources: Option<Sources>,
    certificates: Vec<Tls>,
    tokens: Arc<Tokens>,
    verifier: Arc<Verifier>,
    routers: Routers,
}

impl SettingsFiles {
    pub(super) fn new(
        config: &BridgeConfig,
        tokens: &Arc<Tokens>,
        verifier: &Arc<Verifier>,
        routers: &Routers,
        sources: Option<&Sources>,
        certificates: &[Tls],
    ) -> Self {
        Self {
            token_file: config.deploys.token_file.clone(),
            admin_token_file: config.routers.admin_token_file.clone(),
            event_secret_file: config.routers.event_secret_file.clone(),
            sources: sources.cloned(),
            certificates: certificates.to_vec(),
            tokens: tokens.clone(),
            verifier: verifier.clone(),
            routers: routers.clone(),
        }
    }

    /// Reloads all files on each SIGHUP, until it is dropped.
    pub(super) async fn read_again(self, mut reloads: Reloads) {
        loop {
            let reload = reloads.next().await;
            if self.has_any() {
                reload.note_files();
            }
            let files = self.clone();
            // The task fails only by a panic, which is logged.
            let _ = spawn_blocking(move || files.read()).await;
        }
    }

    fn read(&self) {
        if self.token_file.is_some() {
            log_reload("token-file", self.tokens.reload().map(|count| format!("{count} tokens")));
        }
        if let Some(file) = &self.admin_token_file {
            log_reload("admin-token-file", self.reload_admin_token(file).map_err(|error| vec![error]));
        }
        if let Some(file) = &self.event_secret_file {
            log_reload("event-secret-file", self.reload_secret(file).map_err(|error| vec![error]));
        }
        if let Some(sources) = &self.sources {
            log_reload("sources", sources.reload().map(|count| format!("{count} sources")));
        }
        self.certificates.iter().for_each(Tls::read_again);
    }

    /// Returns true if a setting names a file.
    fn has_any(&self) -> bool {
        let files = [&self.token_file, &self.admin_token_file, &self.event_secret_file];
        let has_others = self.sources.is_some() || !self.certificates.is_empty();
        has_others || files.into_iter().any(Option::is_some)
    }

    /// Returns the summary for the log.
    fn reload_admin_token(&self, file: &Path) -> Result<String, InvalidSetting> {
        let token = read_admin_token(file)?;
        self.routers.set_admin_token(Some(&token)).map_err(|error| InvalidSetting(format!("{error:#}")))?;
        Ok("requests to the routers' admin listeners carry its token".to_owned())
    }

    /// Returns the summary for the log.
    fn reload_secret(&self, file: &Path) -> Result<String, InvalidSetting> {
        let secret = Secret::read(file)
            .map_err(|error| InvalidSetting(format!("{:#}", anyhow::Error::from(error))))?;
        self.verifier.replace([secret]);
        Ok("events are verified with its secret".to_owned())
    }
}

/// Returns the first token of a file in the format of the routers' `--admin-token-file`.
///
/// # Errors
/// The file cannot be read, is empty, or the token is not plain ASCII.
pub(super) fn read_admin_token(file: &Path) -> Result<String, InvalidSetting> {
    let shown = file.display();
    let text = read_text(file).map_err(|error| InvalidSetting(format!("{shown}: {error}")))?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let token = lines.next().ok_or_else(|| InvalidSetting(format!("{shown} contains no token")))?;
    if token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(token.to_owned());
    }
    Err(InvalidSetting(format!("{shown}: the token has spaces or characters outside ASCII")))
}
