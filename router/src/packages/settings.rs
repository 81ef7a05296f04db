//! Settings of installations, and the certificates that may change while the router runs.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::user::Users;

/// Settings of a router that fetches packages.
#[derive(Debug, Clone)]
pub(crate) struct InstallerSettings {
    /// Path of `switchyard-cell`.
    pub(crate) binary: PathBuf,
    /// Maximum time of one installation.
    pub(crate) timeout: Duration,
    /// The users that installers run as.
    pub(crate) users: Arc<Users>,
    /// Variables of the operator's own environment that name registries, and their URLs.
    pub(crate) registries: Vec<(String, String)>,
    /// Certificates of authorities that are trusted besides Mozilla's.
    pub(crate) authorities: Authorities,
}

/// Certificates (PEM) that may be replaced while the router runs. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Authorities(Arc<RwLock<Option<String>>>);

impl Authorities {
    /// `None`: no certificates.
    pub(crate) fn new(certificates: Option<String>) -> Self {
        Self(Arc::new(RwLock::new(certificates)))
    }

    /// Replaces the certificates, for installations that start from now on.
    pub(crate) fn set(&self, certificates: Option<String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certificates;
    }

    /// The present certificates.
    pub(super) fn get(&self) -> Option<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
