//! The states of sources on disk: a JSON file each, written beside and renamed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::git::ObjectId;
use crate::sources::commit::AppliedProject;
use crate::sources::machine::SavedState;
use crate::sources::preview_names::SEPARATOR;
use crate::sources::settings::PreviewOf;
use switchyard_contract::project::ProjectName;

/// All of a source that outlives the process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Applied {
    /// The state of its machine.
    #[serde(default)]
    pub(super) saved: SavedState<ObjectId>,
    /// The ref that led to the applied commit.
    #[serde(default)]
    pub(super) ref_name: Option<String>,
    /// The projects that are live.
    #[serde(default)]
    pub(super) projects: BTreeMap<ProjectName, AppliedProject>,
    /// The ids of the shared entries on the volume, by name.
    #[serde(default)]
    pub(super) shared: BTreeMap<String, ObjectId>,
    /// The time at which the newest commit was last found to be live.
    #[serde(default)]
    pub(super) synced_at: Option<Timestamp>,
    /// The commit that the followed tag named when it was first seen, by its name.
    #[serde(default)]
    pub(super) tag: Option<(String, ObjectId)>,
    /// The source and the branch that this is a preview of.
    #[serde(default)]
    pub(super) preview: Option<PreviewOf>,
    /// The times of the commits of branches that could have previews, in seconds since 1970.
    #[serde(default)]
    pub(super) branches: BTreeMap<ObjectId, i64>,
}

impl Applied {
    /// Has the shared entries count as other ones, so that the next deploy puts all of them.
    pub(super) fn forget_shared(&mut self) {
        for id in self.shared.values_mut() {
            *id = ObjectId::none(id.format());
        }
    }
}

/// The folder of the states.
#[derive(Debug, Clone)]
pub(super) struct Store {
    dir: PathBuf,
}

impl Store {
    /// Makes the folder.
    ///
    /// # Errors
    /// The disk fails.
    pub(super) fn open(dir: PathBuf) -> Result<Self> {
        fs::create_dir_all(&dir).with_context(|| format!("make the folder {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// The state of a source. One that cannot be read counts as none: everything is compared anew.
    pub(super) fn read(&self, source: &str) -> Applied {
        let file = self.file(source);
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Applied::default(),
            Err(error) => {
                tracing::error!(source, "the state in {} cannot be read: {error}", file.display());
                return Applied::default();
            }
        };
        serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::error!(source, "the state in {} is damaged: {error}", file.display());
            Applied::default()
        })
    }

    /// The previews that have a state. Blocking.
    pub(super) fn previews(&self) -> Vec<PreviewOf> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::error!("the states in {} cannot be listed: {error}", self.dir.display());
                return Vec::new();
            }
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let names = names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned));
        names.filter(|name| name.contains(SEPARATOR)).filter_map(|name| self.read(&name).preview).collect()
    }

    /// Writes that a source is a preview, before anything of it is on the volume. Blocking.
    ///
    /// # Errors
    /// The disk fails.
    pub(super) fn begin(&self, source: &str, preview: &PreviewOf) -> io::Result<()> {
        let known = self.read(source);
        if known.preview.as_ref() == Some(preview) {
            return Ok(());
        }
        let applied = Applied { preview: Some(preview.clone()), ..Applied::default() };
        replace(&self.file(source), &serde_json::to_vec(&applied)?)
    }

    /// Removes the state of a source.
    pub(super) async fn remove(&self, source: &str) {
        let file = self.file(source);
        match tokio::fs::remove_file(&file).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::error!(source, "the state in {} cannot be removed: {error}", file.display());
            }
            _ => {}
        }
    }

    /// Writes the state of a source.
    ///
    /// # Errors
    /// The disk fails, which is logged.
    pub(super) async fn write(&self, source: &str, applied: &Applied) -> io::Result<()> {
        let file = self.file(source);
        let shown = file.display().to_string();
        let written = async {
            let text = serde_json::to_vec(applied)?;
            spawn_blocking(move || replace(&file, &text)).await?
        };
        let written = written.await;
        if let Err(error) = &written {
            tracing::error!(
                source,
                "the state is lost when this process ends; its projects are compared anew then: {shown}: {error}"
            );
        }
        written
    }

    fn file(&self, source: &str) -> PathBuf {
        self.dir.join(format!("{source}.json"))
    }
}

fn replace(file: &Path, text: &[u8]) -> io::Result<()> {
    let beside = file.with_extension("new");
    let mut new = File::create(&beside)?;
    new.write_all(text)?;
    new.sync_data()?;
    fs::rename(&beside, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgotten_shared_entries_keep_their_names_and_equal_none_of_a_commit() {
        let id: ObjectId = "ab".repeat(20).parse().unwrap();
        let mut applied =
            Applied { shared: BTreeMap::from([("_lib".to_owned(), id.clone())]), ..Applied::default() };
        applied.forget_shared();
        let forgotten = applied.shared.get("_lib").unwrap();
        assert_ne!(*forgotten, id);
        assert_eq!(forgotten.as_str().parse().as_ref(), Ok(forgotten), "the state on disk can be read again");
    }
}
