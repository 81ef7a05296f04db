//! The files that settings name, read at the start and again on SIGHUP.

use std::ffi::OsString;
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

/// The variable that names a file with certificates of authorities.
const AUTHORITIES: &str = "SSL_CERT_FILE";

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
            let reload = reloads.next().await;
            if self.has_any() {
                reload.note_files();
            }
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
        self.read_tokens();
        self.read_event_secret();
        self.read_certificates();
        if let Some(log) = &self.access_log {
            log.reopen();
        }
        self.certificates.iter().for_each(Tls::read_again);
        self.read_policy()
    }

    /// Returns true if a setting names a file.
    fn has_any(&self) -> bool {
        let settings = [
            self.tokens.is_some(),
            self.config.admin.event_secret_file.is_some(),
            self.access_log.is_some(),
            self.config.policy.is_some(),
            !self.certificates.is_empty(),
            authorities_file(self.config.cells.allow_install).is_some(),
        ];
        settings.contains(&true)
    }

    fn read_tokens(&self) {
        let Some(tokens) = &self.tokens else { return };
        let count = tokens.read_again().map(|count| format!("{count} tokens"));
        log_reload("admin-token-file", count.map_err(|error| vec![error]));
    }

    fn read_event_secret(&self) {
        let (Some(file), Some(publisher)) = (&self.config.admin.event_secret_file, &self.publisher) else {
            return;
        };
        let read = read_secret(file).map(|secret| {
            publisher.set_secret(secret);
            "new events are signed with it".to_owned()
        });
        log_reload("event-secret-file", read.map_err(|error| vec![error]));
    }

    fn read_certificates(&self) {
        let read = match read_authorities(self.config.cells.allow_install) {
            Ok(None) => return,
            Ok(certificates) => {
                self.authorities.set(certificates);
                Ok("the certificates in SSL_CERT_FILE are trusted".to_owned())
            }
            Err(error) => Err(vec![error]),
        };
        log_reload("allow-install", read);
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
    let Some(file) = authorities_file(allow_install) else { return Ok(None) };
    let wrong =
        |error: String| InvalidSetting(format!("{AUTHORITIES}={}: {error}", Path::new(&file).display()));
    let text = read_text(Path::new(&file)).map_err(|error| wrong(error.to_string()))?;
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        return Err(wrong("contains no certificate: expected PEM".into()));
    }
    Ok(Some(text))
}

fn authorities_file(allow_install: bool) -> Option<OsString> {
    std::env::var_os(AUTHORITIES).filter(|file| allow_install && !file.is_empty())
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
