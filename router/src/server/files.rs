//! The files that are read at start and again with each SIGHUP.

use std::path::Path;
use std::sync::Arc;

use tokio::signal::unix::Signal;
use tokio::task::spawn_blocking;

use crate::admin::Tokens;
use crate::config::Config;
use crate::live::{Command, Commands};
use crate::policy::{Policy, RequestLimits};

/// The tokens and the policy.
#[derive(Clone)]
pub(super) struct Files {
    pub(super) config: Config,
    pub(super) tokens: Option<Arc<Tokens>>,
    pub(super) commands: Commands,
}

impl Files {
    pub(super) fn are_named(&self) -> bool {
        self.tokens.is_some() || self.config.policy.is_some()
    }

    /// Runs until it is dropped.
    pub(super) async fn read_again(self, mut hangups: Signal) {
        while hangups.recv().await.is_some() {
            let files = self.clone();
            // It cannot fail but by a panic, which is logged.
            let policy = spawn_blocking(move || files.read()).await.ok().flatten();
            if let Some(policy) = policy {
                // It is refused only by a control flow that has ended.
                let _ = self.commands.send(Command::Policy(Arc::new(policy))).await;
            }
        }
    }

    /// Gives the policy, if one is named and good.
    fn read(&self) -> Option<Policy> {
        if let Some(tokens) = &self.tokens {
            tokens.read_again();
        }
        let file = self.config.policy.as_deref()?;
        match read_policy(&self.config, &self.config.state) {
            Ok(policy) => {
                tracing::info!("the policy was read again: {}", file.display());
                Some(policy)
            }
            Err(problems) => {
                for problem in problems {
                    tracing::error!("the policy stays as it was: {problem}");
                }
                None
            }
        }
    }
}

/// What the operator allows, over the limits that are flags.
///
/// # Errors
/// All that is wrong with the file.
pub(super) fn read_policy(config: &Config, state: &Path) -> Result<Policy, Vec<String>> {
    let requests = RequestLimits {
        time: config.request_timeout,
        body: config.max_body,
        in_flight: config.max_in_flight,
        ..RequestLimits::default()
    };
    match &config.policy {
        Some(file) => Policy::read(file, requests, state),
        None => Ok(Policy::new(requests)),
    }
}
