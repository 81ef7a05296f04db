//! The files that are read at start and again with each SIGHUP.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::config::Config;
use super::routers::Routers;
use super::tokens::Tokens;
use switchyard_contract::secret::Secret;
use switchyard_contract::settings_file::read_text;
use switchyard_contract::verifier::Verifier;
use switchyard_program::signal::{Reloads, log_reload};

/// The settings that are files, and the parts that use their content.
#[derive(Clone)]
pub(super) struct SettingsFiles {
    token_file: Option<PathBuf>,
    admin_token_file: Option<PathBuf>,
    event_secret_file: Option<PathBuf>,
    tokens: Arc<Tokens>,
    verifier: Arc<Verifier>,
    routers: Routers,
}

impl SettingsFiles {
    pub(super) fn new(
        config: &Config,
        tokens: &Arc<Tokens>,
        verifier: &Arc<Verifier>,
        routers: &Routers,
    ) -> Self {
        Self {
            token_file: config.token_file.clone(),
            admin_token_file: config.admin_token_file.clone(),
            event_secret_file: config.event_secret_file.clone(),
            tokens: tokens.clone(),
            verifier: verifier.clone(),
            routers: routers.clone(),
        }
    }

    /// Runs until it is dropped.
    pub(super) async fn read_again(self, mut reloads: Reloads) {
        loop {
            reloads.next().await;
            let files = self.clone();
            // The only failure is a panic, which is logged.
            let _ = spawn_blocking(move || files.read()).await;
        }
    }

    fn read(&self) {
        if self.token_file.is_some() {
            log_reload("token-file", self.tokens.reload().map(|count| format!("{count} tokens")));
        }
        if let Some(file) = &self.admin_token_file {
            log_reload("admin-token-file", self.read_admin_token(file).map_err(|problem| vec![problem]));
        }
        if let Some(file) = &self.event_secret_file {
            log_reload("event-secret-file", self.read_secret(file).map_err(|problem| vec![problem]));
        }
        if [&self.token_file, &self.admin_token_file, &self.event_secret_file]
            .into_iter()
            .all(Option::is_none)
        {
            tracing::info!("SIGHUP: no file is named that could be read again (--token-file and others)");
        }
    }

    fn read_admin_token(&self, file: &Path) -> Result<String, String> {
        let token = admin_token(file)?;
        self.routers.set_admin_token(Some(&token)).map_err(|error| format!("{error:#}"))?;
        Ok("the routers are asked with its token".to_owned())
    }

    fn read_secret(&self, file: &Path) -> Result<String, String> {
        let secret = Secret::read(file).map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
        self.verifier.replace([secret]);
        Ok("events are checked by its secret".to_owned())
    }
}

/// Returns the first token of a file in the format of the routers' `--admin-token-file`.
pub(super) fn admin_token(file: &Path) -> Result<String, String> {
    let text = read_text(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let token = lines.next().ok_or_else(|| format!("{} holds no token", file.display()))?;
    let plain = token.bytes().all(|byte| byte.is_ascii_graphic());
    plain
        .then(|| token.to_owned())
        .ok_or_else(|| format!("{}: the token has blanks or characters beyond ASCII", file.display()))
}
