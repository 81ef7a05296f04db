//! The making of a checkout, file by file.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::copy::copy;
use super::error::CheckoutError;
use super::{Store, StoredVersion};
use crate::checkout::bounds::Pace;
use crate::checkout::hashes::FileHashes;
use crate::checkout::node_modules;
use crate::checkout::snapshot::Snapshot;
use crate::folder::{NOT_SHARED, remove};
use crate::version::Version;

/// A checkout that is being made from the files of a snapshot.
struct Draft<'a> {
    folder: PathBuf,
    /// The version that some of the files are linked from.
    previous: Option<StoredVersion>,
    /// `true`: the folder has all files of the previous version already.
    is_prepared: bool,
    version: &'a Version,
    snapshot: &'a Snapshot,
    pace: Pace<'a>,
}

impl Store {
    /// Makes the checkout of `version`, with links to unchanged files of the version `previous`.
    ///
    /// # Errors
    /// [`CheckoutError`].
    pub(super) fn fill(
        &self,
        version: &Version,
        snapshot: &Snapshot,
        previous: Option<&Version>,
        pace: Pace<'_>,
    ) -> Result<(), CheckoutError> {
        let previous = previous.filter(|previous| previous.tenant() == version.tenant());
        let previous =
            previous.and_then(|version| self.find_paced(&version.tenant(), &version.digest.short(), pace));
        let prepared = previous.as_ref().and_then(|previous| self.take_prepared(&previous.version));
        let is_prepared = prepared.is_some();
        let folder = prepared.unwrap_or_else(|| self.unfinished(&version.project));
        let draft = Draft { folder, previous, is_prepared, version, snapshot, pace };
        let made = draft.make(&self.folder(&version.tenant(), &version.digest.short()));
        if made.is_err() {
            remove(&draft.folder);
        }
        made
    }
}

impl Draft<'_> {
    /// Makes the checkout, and renames its folder to `name`.
    fn make(&self, name: &Path) -> Result<(), CheckoutError> {
        let dir = self.folder.join(self.version.project.as_str());
        self.remove_changed(&dir)?;
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        fs::set_permissions(&self.folder, Permissions::from_mode(NOT_SHARED))
            .with_context(|| format!("protect {}", self.folder.display()))?;
        let mut parents = ParentFolders::of(&dir);
        for (path, hash) in self.snapshot.files.iter() {
            (self.pace)(0)?;
            let unchanged = self.previous.as_ref().filter(|previous| previous.files.get(path) == Some(hash));
            if unchanged.is_some() && self.is_prepared {
                continue;
            }
            let to = dir.join(path);
            parents.make(&to).with_context(|| format!("create the folder of {}", to.display()))?;
            let linked = unchanged
                .is_some_and(|previous| fs::hard_link(previous.checkout.dir.join(path), &to).is_ok());
            if !linked {
                copy(self.snapshot, path, &to, hash, self.pace)?;
            }
        }
        let checkout = name.join(self.version.project.as_str());
        let previous = self.previous.as_ref().map(|previous| previous.checkout.dir.as_path());
        node_modules::link(&dir, &checkout, self.snapshot, previous, self.pace)?;
        fs::rename(&self.folder, name).with_context(|| format!("name {}", name.display()))?;
        Ok(())
    }

    /// Removes the files of a prepared folder that are not the snapshot's, and folders that are
    /// empty then: another file may have the name of one.
    fn remove_changed(&self, dir: &Path) -> Result<(), CheckoutError> {
        let Some(previous) = self.previous.as_ref().filter(|_| self.is_prepared) else { return Ok(()) };
        let is_changed = |(path, hash): &(&str, _)| self.snapshot.files.get(path) != Some(*hash);
        for (path, _) in previous.files.iter().filter(is_changed) {
            (self.pace)(0)?;
            let file = dir.join(path);
            fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
            let parents = file.ancestors().skip(1).take_while(|parent| *parent != dir);
            // Fails at the first one that is not empty.
            let _ = parents.into_iter().try_for_each(fs::remove_dir);
        }
        Ok(())
    }
}

/// The folders of files that are made one after the other. Most files lie in the folder of the one
/// before.
struct ParentFolders(PathBuf);

impl ParentFolders {
    /// For files in `dir`, which exists.
    fn of(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    /// Makes the folder of `file`.
    fn make(&mut self, file: &Path) -> io::Result<()> {
        let Some(parent) = file.parent().filter(|parent| *parent != self.0) else { return Ok(()) };
        fs::create_dir_all(parent)?;
        parent.clone_into(&mut self.0);
        Ok(())
    }
}

/// Links all `files` of the checkout in `from` into the new folder `to`.
///
/// # Errors
/// A folder or link cannot be made.
pub(super) fn link_all(from: &Path, to: &Path, files: &FileHashes) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let mut parents = ParentFolders::of(to);
    for path in files.keys() {
        let link = to.join(path);
        parents.make(&link)?;
        fs::hard_link(from.join(path), link)?;
    }
    Ok(())
}
