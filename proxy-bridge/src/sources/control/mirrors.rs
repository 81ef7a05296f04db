//! The mirrors that sources share: one for each repository and credential, open from its first use
//! until no source follows the repository.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use super::lock;
use crate::git::{Credential, Git, GitError, Mirror, MirrorLimits, Remote};
use crate::sources::commit::OtherMirrors;
use crate::sources::settings::SourceSettings;

/// Bytes that stay free on the disk of the mirrors.
const FREE: u64 = 64 << 20;

pub(super) struct Mirrors {
    git: Git,
    dir: PathBuf,
    /// The bounds of each mirror: the largest of its sources.
    bounds: std::sync::Mutex<HashMap<String, Bounds>>,
    open: Mutex<HashMap<String, OpenMirror>>,
    /// The repositories of submodules that each source has read, by the source's name.
    others: std::sync::Mutex<HashMap<String, Vec<Remote>>>,
}

/// A mirror that stays open: opening it looks through all its files.
struct OpenMirror {
    mirror: Arc<Mirror>,
    bounds: Bounds,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Bounds {
    bytes: u64,
    time: Duration,
}

impl Mirrors {
    pub(super) fn new(git: Git, dir: PathBuf) -> Self {
        Self {
            git,
            dir,
            bounds: std::sync::Mutex::default(),
            open: Mutex::default(),
            others: std::sync::Mutex::default(),
        }
    }

    /// Takes the bounds of all sources. A mirror has them from when it is next opened.
    pub(super) fn set_limits(&self, sources: &[SourceSettings]) {
        let mut bounds: HashMap<String, Bounds> = HashMap::new();
        for settings in sources {
            let bound = bounds.entry(key(&remote(settings))).or_default();
            bound.bytes = bound.bytes.max(settings.max_size.0);
            bound.time = bound.time.max(settings.timeout.0);
        }
        *lock(&self.bounds) = bounds;
        lock(&self.others).retain(|name, _| sources.iter().any(|settings| settings.name.as_str() == name));
    }

    /// The repositories of submodules that the source has read in this process.
    pub(super) fn others(&self, source: &str) -> Vec<Remote> {
        lock(&self.others).get(source).cloned().unwrap_or_default()
    }

    /// Opens the mirror of a source, or joins those who have it open.
    ///
    /// # Errors
    /// Another process has it, or the disk fails.
    pub(super) async fn open(&self, settings: &SourceSettings) -> Result<Arc<Mirror>, GitError> {
        self.open_remote(settings, remote(settings)).await
    }

    /// Opens the mirror of any repository for a source, whose bounds hold where no source follows it.
    async fn open_remote(&self, settings: &SourceSettings, remote: Remote) -> Result<Arc<Mirror>, GitError> {
        let key = key(&remote);
        let mut open = self.open.lock().await;
        let followed = lock(&self.bounds).clone();
        let others: Vec<_> = lock(&self.others).values().flatten().map(self::key).collect();
        open.retain(|key, known| {
            let is_used = Arc::strong_count(&known.mirror) > 1;
            is_used || followed.contains_key(key) || others.contains(key)
        });
        let own = Bounds { bytes: settings.max_size.0, time: settings.timeout.0 };
        let bounds = followed.get(&key).copied().unwrap_or(own);
        if let Some(known) = open.get(&key)
            && (known.bounds == bounds || Arc::strong_count(&known.mirror) > 1)
        {
            return Ok(known.mirror.clone());
        }
        open.remove(&key);
        let limits = MirrorLimits { budget: bounds.bytes, free: FREE };
        let git = self.git.with_timeout(bounds.time);
        let dir = match &remote.credential {
            Some(credential) => self.dir.join(credential_id(credential)),
            None => self.dir.clone(),
        };
        let mirror = Arc::new(Mirror::open(git, &dir, remote, limits).await?);
        open.insert(key, OpenMirror { mirror: mirror.clone(), bounds });
        Ok(mirror)
    }
}

impl OtherMirrors for Mirrors {
    async fn open_other(&self, settings: &SourceSettings, remote: Remote) -> Result<Arc<Mirror>, GitError> {
        {
            let mut others = lock(&self.others);
            let known = others.entry(settings.name.to_string()).or_default();
            if !known.contains(&remote) {
                known.push(remote.clone());
            }
        }
        self.open_remote(settings, remote).await
    }
}

fn remote(settings: &SourceSettings) -> Remote {
    Remote { url: settings.url.clone(), credential: settings.credential.clone() }
}

/// The repository and the credential. What one credential may read, another may not.
fn key(remote: &Remote) -> String {
    let credential = remote.credential.as_ref().map(credential_id).unwrap_or_default();
    format!("{credential} {}", remote.url)
}

/// An id of a credential, from the names of its files.
fn credential_id(credential: &Credential) -> String {
    let digest = Sha256::digest(format!("{credential:?}"));
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
