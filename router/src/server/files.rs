//! The files that settings name, read at the start and again on SIGHUP.

use std::path::Path;
use std::sync::Arc;

use switchyard_contract::publisher::Publisher;
use switchyard_contract::secret::Secret;
use switchyard_contract::settings_file::read_text;
use switchyard_edge::tls::Tls;
use switchyard_program::settings::InvalidSetting;
use switchyard_program::signal::{Reloads, log_reload};
use tokio::task::spawn_blocking;

use crate::access_log::AccessLog;
use crate::admin::Tokens;
use crate::config::RouterConfig;
use crate::live::{Command, Commands};
use crate::packages::Authorities;
use crate::policy::{Policy, PolicyError, RequestLimits};

/// Settings that name files, and the parts that use the content.
#[derive(Clone)]
pub(super) struct SettingsFiles {
    pub(super) config: RouterConfig,
    pub(super) tokens: Option<Arc<Tokens>>,
    pub(super) publisher: Option<Publisher>,
    pub(super) authorities: Authorities,
    /// TLS of the listeners that have it.
    pub(super) certificates: Vec<Tls>,
    pub(super) access_log: Option<Arc<AccessLog>>,
    pub(super) commands: Commands,
}

impl SettingsFiles {
    /// Reloads all files on each SIGHUP, until it is dropped.
    pub(super) async fn read_again(self, mut reloads: Reloads) {
        loop {
            let _reload = reloads.next().await;
            let files = self.clone();
            // Fails only by a panic, which is logged.
            let policy = spawn_blocking(move || files.read()).await.ok().flatten();
            if let Some(policy) = policy {
                // Fails only if the control task has ended.
                let _ = self.commands.send(Command::Policy(Arc::new(policy))).await;
            }
        }
    }

    /// Reads all files. Returns the policy, if there is a valid one.
    fn read(&self) -> Option<Policy> {
        let read = [
            self.read_tokens(),
            self.read_event_secret(),
            self.read_certificates(),
            self.reopen_access_log(),
        ];
        self.certificates.iter().for_each(Tls::read_again);
        if self.config.policy.is_none() && self.certificates.is_empty() && !read.contains(&true) {
            tracing::info!("SIGHUP: no setting names a file to reload (--policy and others)");
        }
        self.read_policy()
    }

    /// Returns true if the settings name a file with tokens.
    fn read_tokens(&self) -> bool {
        let Some(tokens) = &self.tokens else { return false };
        let count = tokens.read_again().map(|count| format!("{count} tokens"));
        log_reload("admin-token-file", count.map_err(|error| vec![error]));
        true
    }

    /// Returns true if the settings name a file with a secret.
    fn read_event_secret(&self) -> bool {
        let (Some(file), Some(publisher)) = (&self.config.admin.event_secret_file, &self.publisher) else {
            return false;
        };
        let read = read_secret(file).map(|secret| {
            publisher.set_secret(secret);
            "new events are signed with it".to_owned()
        });
        log_reload("event-secret-file", read.map_err(|error| vec![error]));
        true
    }

    /// Returns true if the settings name an access log.
    fn reopen_access_log(&self) -> bool {
        if let Some(log) = &self.access_log {
            log.reopen();
        }
        self.access_log.is_some()
    }

    /// Returns true if there is a file with certificates.
    fn read_certificates(&self) -> bool {
        let read = match read_authorities(self.config.cells.allow_install) {
            Ok(None) => return false,
            Ok(certificates) => {
                self.authorities.set(certificates);
                Ok("the certificates in SSL_CERT_FILE are trusted".to_owned())
            }
            Err(error) => Err(vec![error]),
        };
        log_reload("allow-install", read);
        true
    }

    fn read_policy(&self) -> Option<Policy> {
        let file = self.config.policy.as_deref()?;
        match read_policy(&self.config, &self.config.state) {
            Ok(policy) => {
                log_reload::<PolicyError>("policy", Ok(format!("{}, with its secrets", file.display())));
                Some(policy)
            }
            Err(problems) => {
                log_reload("policy", Err(problems));
                None
            }
        }
    }
}

fn read_secret(file: &Path) -> Result<Secret, InvalidSetting> {
    Secret::read(file).map_err(|error| InvalidSetting(format!("{:#}", anyhow::Error::from(error))))
}

/// Returns the certificates that OpenSSL and programs like it would trust, if packages are fetched.
///
/// # Errors
/// The file cannot be read, or contains no certificate.
pub(super) fn read_authorities(allow_install: bool) -> Result<Option<String>, InvalidSetting> {
    const FILE: &str = "SSL_CERT_FILE";
    let Some(file) = std::env::var_os(FILE).filter(|file| allow_install && !file.is_empty()) else {
        return Ok(None);
    };
    let wrong = |error: String| InvalidSetting(format!("{FILE}={}: {error}", Path::new(&file).display()));
    let text = read_text(Path::new(&file)).map_err(|error| wrong(error.to_string()))?;
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        return Err(wrong("contains no certificate: expected PEM".into()));
    }
    Ok(Some(text))
}

/// Returns the operator's policy, with the flags' limits for what it does not mention.
///
/// # Errors
/// All problems of the file.
pub(super) fn read_policy(config: &RouterConfig, state: &Path) -> Result<Policy, Vec<PolicyError>> {
    let requests = RequestLimits {
        time: config.requests.request_timeout,
        body: config.requests.max_body,
        max_in_flight: config.requests.max_in_flight,
        ..RequestLimits::default()
    };
    let policy = match &config.policy {
        Some(file) => Policy::read(file, requests, config.reads.limits(), state),
        None => Ok(Policy::new(requests, config.reads.limits())),
    };
    policy.map(|policy| policy.with_env_files(config.reload.dev))
}
