//! The files of the record: one a project, each whole at every instant.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use switchyard_contract::digest::Digest;
use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::project::ProjectName;

use super::LastGood;
use crate::project::SupabaseFunction;
use crate::version::{Tenant, Version};

/// The extension of a record.
const EXTENSION: &str = "json";

/// The extension of a file that is being written.
const UNFINISHED: &str = "new";

/// The mode of the files, as far as the umask allows it.
const FILE_MODE: u32 = 0o666;

/// The folder of the files.
#[derive(Debug, Clone)]
pub(super) struct RecordFiles(pub(super) PathBuf);

/// The content of a file.
#[derive(Serialize, Deserialize)]
struct RecordFile {
    digest: Digest,
    #[serde(default)]
    incarnation: Incarnation,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claims: Option<BTreeMap<String, Timestamp>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gone: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    function: Option<SupabaseFunction>,
}

impl RecordFiles {
    pub(super) fn all(&self) -> Result<BTreeMap<ProjectName, LastGood>> {
        let Self(dir) = self;
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
            let path = entry.context("read the last good versions")?.path();
            if path.extension().is_some_and(|extension| extension == UNFINISHED) {
                let _ = fs::remove_file(&path);
                continue;
            }
            match read(&path) {
                Ok((_, Some(_))) => {}
                Ok((last_good, None)) => {
                    all.insert(last_good.version.project.clone(), last_good);
                }
                Err(error) => tracing::warn!("{} is passed over: {error:#}", path.display()),
            }
        }
        Ok(all)
    }

    pub(super) fn put(&self, last_good: &LastGood, gone: Option<Timestamp>) -> Result<()> {
        let LastGood { version, claims, function } = last_good;
        let path = self.path(&version.project);
        // A project that is gone returns its claims.
        let claims = claims.as_ref().filter(|_| gone.is_none());
        let claims = claims.map(|all| all.iter().map(|(route, since)| (route.to_string(), *since)).collect());
        let function = function.clone();
        let recorded =
            RecordFile { digest: version.digest, incarnation: version.incarnation, claims, gone, function };
        let text = serde_json::to_vec(&recorded).context("write a digest")?;
        if fs::read(&path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        self.write(&path, &text).with_context(|| format!("write {}", path.display()))
    }

    /// Writes a file beside `path` and renames it. The file is on the disk before it gets its name,
    /// so that no crash leaves half of it there.
    fn write(&self, path: &Path, text: &[u8]) -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .suffix(&format!(".{UNFINISHED}"))
            .permissions(fs::Permissions::from_mode(FILE_MODE))
            .tempfile_in(&self.0)?;
        file.write_all(text)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }

    pub(super) fn set_gone(&self, project: &ProjectName, since: Timestamp) -> Result<()> {
        match read(&self.path(project)) {
            Ok((last_good, None)) => self.put(&last_good, Some(since)),
            _ => Ok(()),
        }
    }

    pub(super) fn remove(&self, project: &ProjectName) -> Result<()> {
        match fs::remove_file(self.path(project)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub(super) fn path(&self, project: &ProjectName) -> PathBuf {
        self.0.join(project.as_str()).with_extension(EXTENSION)
    }
}

/// Reads the record of a project, and the time since which its folder is gone.
pub(super) fn read(path: &Path) -> Result<(LastGood, Option<Timestamp>)> {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let project = ProjectName::parse(name)?;
    let text = fs::read(path).context("read it")?;
    let recorded: RecordFile = serde_json::from_slice(&text).context("parse it")?;
    let version = Version::new(&Tenant::new(&project, recorded.incarnation), recorded.digest);
    // A text that is not a valid route any more is not a claim.
    let claim = |(route, since): (String, Timestamp)| Some((route.parse().ok()?, since));
    let claims = recorded.claims.map(|claims| claims.into_iter().filter_map(claim).collect());
    Ok((LastGood { version, claims, function: recorded.function }, recorded.gone))
}
