//! The files that are read at start and again with each SIGHUP.

use std::path::Path;
use std::sync::Arc;

use switchyard_contract::publisher::Publisher;
use switchyard_contract::secret::Secret;
use switchyard_contract::settings_file::read_text;
use switchyard_program::signal::{Reloads, log_reload};
use tokio::task::spawn_blocking;

use crate::admin::Tokens;
use crate::config::Config;
use crate::live::{Command, Commands};
use crate::packages::Authorities;
use crate::policy::{Policy, PolicyError, RequestLimits};

/// The settings that are files, and the parts that know what is in them.
#[derive(Clone)]
pub(super) struct Files {
    pub(super) config: Config,
    pub(super) tokens: Option<Arc<Tokens>>,
    pub(super) publisher: Option<Publisher>,
    pub(super) authorities: Authorities,
    pub(super) commands: Commands,
}

impl Files {
    /// Runs until it is dropped.
    pub(super) async fn read_again(self, mut reloads: Reloads) {
        loop {
            reloads.next().await;
            let files = self.clone();
            // It cannot fail but by a panic, which is logged.
            let policy = spawn_blocking(move || files.read()).await.ok().flatten();
            if let Some(policy) = policy {
                // It is refused only by a control flow that has ended.
                let _ = self.commands.send(Command::Policy(Arc::new(policy))).await;
            }
        }
    }

    /// Reads all of them. Returns the policy, if one is named and valid.
    fn read(&self) -> Option<Policy> {
        let read = [self.read_tokens(), self.read_event_secret(), self.read_certificates()];
        if self.config.policy.is_none() && !read.contains(&true) {
            tracing::info!("SIGHUP: no file is named that could be read again (--policy and others)");
        }
        self.read_policy()
    }

    /// Returns whether there is such a file, as the next two do.
    fn read_tokens(&self) -> bool {
        let Some(tokens) = &self.tokens else { return false };
        let count = tokens.read_again().map(|count| format!("{count} tokens"));
        log_reload("admin-token-file", count.map_err(|error| vec![error.to_string()]));
        true
    }

    fn read_event_secret(&self) -> bool {
        let (Some(target), Some(publisher)) = (&self.config.events, &self.publisher) else { return false };
        let read = read_secret(&target.secret_file).map(|secret| {
            publisher.set_secret(secret);
            "events are signed with it".to_owned()
        });
        log_reload("event-secret-file", read.map_err(|problem| vec![problem]));
        true
    }

    fn read_certificates(&self) -> bool {
        let read = match read_authorities(self.config.allow_install) {
            Ok(None) => return false,
            Ok(certificates) => {
                self.authorities.set(certificates);
                Ok("the certificates of SSL_CERT_FILE are trusted".to_owned())
            }
            Err(problem) => Err(vec![problem]),
        };
        log_reload("allow-install", read);
        true
    }

    fn read_policy(&self) -> Option<Policy> {
        let file = self.config.policy.as_deref()?;
        match read_policy(&self.config, &self.config.state) {
            Ok(policy) => {
                log_reload("policy", Ok(format!("{}, with its secrets", file.display())));
                Some(policy)
            }
            Err(problems) => {
                log_reload("policy", Err(problems.iter().map(ToString::to_string).collect()));
                None
            }
        }
    }
}

fn read_secret(file: &Path) -> Result<Secret, String> {
    Secret::read(file).map_err(|error| format!("{:#}", anyhow::Error::from(error)))
}

/// The certificates that OpenSSL and programs like it would trust, where packages are fetched.
///
/// # Errors
/// The file cannot be read, or has no certificate.
pub(super) fn read_authorities(allow_install: bool) -> Result<Option<String>, String> {
    const FILE: &str = "SSL_CERT_FILE";
    let Some(file) = std::env::var_os(FILE).filter(|file| allow_install && !file.is_empty()) else {
        return Ok(None);
    };
    let wrong = |error| format!("{FILE} names {}: {error}", Path::new(&file).display());
    let text = read_text(Path::new(&file)).map_err(|error| wrong(error.to_string()))?;
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        return Err(wrong("no certificate is in it (PEM)".into()));
    }
    Ok(Some(text))
}

/// What the operator allows, over the limits that are flags.
///
/// # Errors
/// All that is wrong with the file.
pub(super) fn read_policy(config: &Config, state: &Path) -> Result<Policy, Vec<PolicyError>> {
    let requests = RequestLimits {
        time: config.request_timeout,
        body: config.max_body,
        max_in_flight: config.max_in_flight,
        ..RequestLimits::default()
    };
    match &config.policy {
        Some(file) => Policy::read(file, requests, config.reads, state),
        None => Ok(Policy::new(requests, config.reads)),
    }
}
