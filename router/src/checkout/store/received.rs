//! Checkouts of versions that a bridge has made again: their files come as a tar.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use switchyard_contract::digest::Digest;
use switchyard_contract::event::Diagnostic;
use switchyard_contract::project::ProjectName;
use tar::{Archive, EntryType};

use super::Store;
use super::error::CheckoutError;
use crate::checkout::bounds::{Interruption, ReadBounds};
use crate::checkout::hashes::HashCache;
use crate::checkout::node_modules;
use crate::checkout::scan::IncludeSource;
use crate::checkout::snapshot::{SnapshotError, snapshot};
use crate::folder::{NOT_SHARED, remove};
use crate::root::Place;
use crate::version::Version;

/// Files and bytes that are unpacked: more than any project may have. Its own limits follow when
/// the files are read.
const MAX_FILES: u64 = 1_000_000;
/// See [`MAX_FILES`].
const MAX_BYTES: u64 = 16 << 30;

/// The files of a project and of the folders beside it, in a folder that is removed when this is
/// dropped.
#[derive(Debug)]
pub(crate) struct ReceivedFiles {
    folder: PathBuf,
}

impl Drop for ReceivedFiles {
    fn drop(&mut self) {
        remove(&self.folder);
    }
}

/// The reason why received files are not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    #[error("the tar cannot be read: {0}")]
    Damaged(io::Error),
    #[error("the tar has {0}: only files at plain relative paths are taken")]
    Refused(String),
    #[error("the tar has more than {MAX_FILES} files, or {MAX_BYTES} bytes")]
    TooLarge,
    #[error("{}", .0.message)]
    Invalid(Diagnostic),
    #[error("the files have the digest {0}, which is that of another version")]
    OtherFiles(Digest),
    #[error("the files cannot be stored: {0:#}")]
    Failed(anyhow::Error),
    #[error("the files were not read in time")]
    Interrupted,
}

impl From<Interruption> for ReceiveError {
    fn from(_: Interruption) -> Self {
        Self::Interrupted
    }
}

impl From<CheckoutError> for ReceiveError {
    fn from(error: CheckoutError) -> Self {
        match error {
            CheckoutError::Invalid(diagnostic) => Self::Invalid(diagnostic),
            CheckoutError::Interrupted => Self::Interrupted,
            error @ CheckoutError::Moved => Self::Failed(error.into()),
            CheckoutError::Failed(error) => Self::Failed(error),
        }
    }
}

impl From<io::Error> for ReceiveError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl Store {
    /// Unpacks a tar with the files of `project`, as `<project>/…`, and of folders and files beside
    /// it.
    ///
    /// # Errors
    /// The tar is damaged, too large or has other entries; or the disk fails.
    pub(crate) fn unpack(
        &self,
        project: &ProjectName,
        tar: impl Read,
    ) -> Result<ReceivedFiles, ReceiveError> {
        let received = ReceivedFiles { folder: self.unfinished(project) };
        fs::create_dir_all(received.folder.join(project.as_str()))?;
        fs::set_permissions(&received.folder, Permissions::from_mode(NOT_SHARED))?;
        let (mut files, mut bytes) = (0, 0);
        for entry in Archive::new(tar).entries().map_err(ReceiveError::Damaged)? {
            let mut entry = entry.map_err(ReceiveError::Damaged)?;
            let path = entry.path().map_err(ReceiveError::Damaged)?.into_owned();
            let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
            if !is_plain || path.as_os_str().is_empty() || entry.header().entry_type() != EntryType::Regular {
                return Err(ReceiveError::Refused(path.display().to_string()));
            }
            files += 1;
            bytes += entry.size();
            if files > MAX_FILES || bytes > MAX_BYTES {
                return Err(ReceiveError::TooLarge);
            }
            write(&mut entry, &received.folder.join(path))?;
        }
        Ok(received)
    }

    /// Makes the checkout of `version` from files that were received. Its packages are those that
    /// the project has at `place` now, as for every version that is kept.
    ///
    /// # Errors
    /// The files are not those of the version, or are over a limit; or the disk fails.
    pub(crate) fn keep(
        &self,
        version: &Version,
        received: &ReceivedFiles,
        previous: Option<&Version>,
        place: &Place,
        bounds: ReadBounds<'_>,
    ) -> Result<(), ReceiveError> {
        if self.find(version, bounds.pace).is_some() {
            return Ok(());
        }
        let dir = received.folder.join(version.project.as_str());
        // It was checked whether the project may include them when the version was live.
        let includes = IncludeSource::Configuration(&|_, _| Ok(()));
        let found = match snapshot(&dir, includes, bounds, &mut HashCache::default()) {
            Ok(found) if found.digest == version.digest => found,
            Ok(found) => return Err(ReceiveError::OtherFiles(found.digest)),
            Err(SnapshotError::Invalid(diagnostic)) => return Err(ReceiveError::Invalid(diagnostic)),
            Err(SnapshotError::Interrupted) => return Err(ReceiveError::Interrupted),
            Err(SnapshotError::Gone) => {
                return Err(io::Error::from(io::ErrorKind::NotFound).into());
            }
        };
        let made = self.make(version, &found, previous, bounds.pace)?;
        match self.snapshot(&version.project, place, bounds, &mut HashCache::default()) {
            Ok(volume) => node_modules::link(&made.dir, &made.dir, &volume, None, bounds.pace)
                .map_err(|error| CheckoutError::from(error).into()),
            Err(SnapshotError::Interrupted) => Err(ReceiveError::Interrupted),
            // Its packages are fetched, if the router may; otherwise the run says what is missing.
            Err(error) => {
                tracing::debug!("{version} is kept without packages: {error:?}");
                Ok(())
            }
        }
    }
}

fn write(from: &mut impl Read, path: &Path) -> Result<(), ReceiveError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = File::create_new(path)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer).map_err(ReceiveError::Damaged)? {
            0 => return Ok(()),
            read => file.write_all(&buffer[..read])?,
        }
    }
}

#[cfg(test)]
mod tests {
    use tar::{Builder, Header};

    use super::*;
    use crate::policy::ReadLimits;
    use crate::version::Tenant;

    fn archive(files: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = Builder::new(Vec::new());
        for (path, text) in files {
            let mut header = Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn digest(files: &[(&str, &str)]) -> Digest {
        use sha2::{Digest as _, Sha256};
        Digest::of_files(files.iter().map(|(path, text)| (*path, Sha256::digest(text.as_bytes()).into())))
    }

    struct Scene {
        dir: tempfile::TempDir,
        store: Store,
        name: ProjectName,
    }

    impl Scene {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("volume/blog")).unwrap();
            fs::write(dir.path().join("volume/blog/main.ts"), "new").unwrap();
            let store = Store::open(&dir.path().join("state")).unwrap();
            Self { dir, store, name: ProjectName::parse("blog").unwrap() }
        }

        fn keep(&self, tar: &[u8], digest: Digest) -> Result<Version, ReceiveError> {
            let version = Version::new(&Tenant::first(&self.name), digest);
            let received = self.store.unpack(&self.name, tar)?;
            let bounds = ReadBounds { limits: ReadLimits::default(), pace: &|_| Ok(()) };
            let place = Place::on_volume(self.dir.path().join("volume/blog"));
            self.store.keep(&version, &received, None, &place, bounds)?;
            Ok(version)
        }

        fn folders(&self) -> Vec<String> {
            let entries = fs::read_dir(self.dir.path().join("state/checkouts")).unwrap();
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
        }
    }

    #[test]
    fn received_files_become_a_checkout_with_the_included_folders_alone() {
        let scene = Scene::new();
        let config = r#"{"switchyard": {"include": ["../_lib"]}}"#;
        let tar = archive(&[
            ("blog/deno.json", config),
            ("blog/main.ts", "old"),
            ("_lib/a.ts", "a"),
            ("_other/b.ts", "b"),
        ]);
        let digest = digest(&[("deno.json", config), ("main.ts", "old"), ("../_lib/a.ts", "a")]);
        let version = scene.keep(&tar, digest).unwrap();
        let kept = scene.store.find_by_digits(&version.tenant(), &digest.short()).unwrap();
        assert_eq!(fs::read_to_string(kept.checkout.dir.join("main.ts")).unwrap(), "old");
        assert_eq!(fs::read_to_string(kept.checkout.dir.join("../_lib/a.ts")).unwrap(), "a");
        assert!(!kept.checkout.dir.join("../_other").exists());
        assert_eq!(scene.folders(), [format!("blog@{}", digest.short())]);
    }

    #[test]
    fn a_checkout_of_received_files_has_the_packages_of_the_project() {
        let scene = Scene::new();
        fs::create_dir_all(scene.dir.path().join("volume/blog/node_modules/ms")).unwrap();
        let version =
            scene.keep(&archive(&[("blog/main.ts", "old")]), digest(&[("main.ts", "old")])).unwrap();
        assert!(scene.store.pinned(&version).dir.join("node_modules/ms").is_dir());
    }

    #[test]
    fn other_files_than_those_of_the_version_are_not_kept() {
        let scene = Scene::new();
        let tar = archive(&[("blog/main.ts", "other")]);
        let refused = scene.keep(&tar, digest(&[("main.ts", "old")])).unwrap_err();
        assert!(matches!(refused, ReceiveError::OtherFiles(_)), "{refused}");
        assert!(scene.folders().is_empty());
    }

    #[test]
    fn a_tar_that_leads_out_of_its_folder_or_has_links_is_refused() {
        let scene = Scene::new();
        let mut link = Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        link.append_link(&mut header, "blog/link", "/etc").unwrap();
        let link = link.into_inner().unwrap();
        let mut outside = archive(&[("blog/main.ts", "x")]);
        outside[..12].copy_from_slice(b"../main.ts\0\0");
        // The checksum of the header is that of its bytes, with blanks in its own place.
        let sum: u32 = outside[..512]
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
            .sum();
        outside[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        for tar in [link, outside] {
            let refused = scene.keep(&tar, digest(&[])).unwrap_err();
            assert!(matches!(refused, ReceiveError::Refused(_)), "{refused}");
        }
        assert!(scene.folders().is_empty());
    }
}
