//! Folders with the files of a live version, made ahead for the version after it. Linking all files
//! of a large project takes longer than everything else between an edit and its answer.

use std::collections::HashSet;
use std::path::PathBuf;

use super::Store;
use super::fill::link_all;
use crate::folder::remove;
use crate::version::{Tenant, Version};

/// Minimum number of files of a version that is prepared for. Fewer are linked in a few
/// milliseconds.
const MIN_FILES: usize = 1_000;

/// A folder that has links to all files of a version, and nothing else.
#[derive(Debug)]
pub(super) struct PreparedFolder {
    version: Version,
    folder: PathBuf,
}

impl Store {
    /// Prepares for the version after `version`, if that has a checkout with many files. Blocks.
    pub(crate) fn prepare(&self, version: &Version) {
        let folder = self.folder(&version.tenant(), &version.digest.short());
        let files = {
            let state = self.state();
            let is_ready =
                state.prepared.get(&version.tenant()).is_some_and(|ready| ready.version == *version);
            state.trusted.get(&folder).filter(|_| !is_ready).map(|(_, files)| files.clone())
        };
        let Some(files) = files.filter(|files| files.len() >= MIN_FILES) else { return };
        // Not pruned meanwhile.
        let checkout = self.pin(&folder, &version.project);
        let folder = self.unfinished(&version.project);
        if let Err(error) = link_all(&checkout.dir, &folder.join(version.project.as_str()), &files) {
            tracing::debug!("the version after {version} is not prepared for: {error}");
            return remove(&folder);
        }
        let ready = PreparedFolder { version: version.clone(), folder };
        let before = self.state().prepared.insert(version.tenant(), ready);
        if let Some(before) = before {
            remove(&before.folder);
        }
    }

    /// Hands over the folder that has the files of `version`, if there is one.
    pub(super) fn take_prepared(&self, version: &Version) -> Option<PathBuf> {
        let mut state = self.state();
        let tenant = version.tenant();
        state.prepared.get(&tenant).filter(|ready| ready.version == *version)?;
        state.prepared.remove(&tenant).map(|ready| ready.folder)
    }

    /// Removes the folder that was prepared for `tenant`, unless its version is one of `used`.
    pub(super) fn prune_prepared(&self, tenant: &Tenant, used: &HashSet<String>) {
        let unused = {
            let mut state = self.state();
            let is_used =
                state.prepared.get(tenant).is_some_and(|ready| used.contains(&ready.version.digest.short()));
            if is_used { None } else { state.prepared.remove(tenant) }
        };
        if let Some(unused) = unused {
            remove(&unused.folder);
        }
    }
}
