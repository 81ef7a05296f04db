//! The records of files that are picked up, in `<state>/files`: one file for each, from the moment
//! before it is moved until its run has ended. Projects cannot write there. Blocking.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use switchyard_contract::admin::FileOffer;
use switchyard_contract::run::RunId;
use switchyard_contract::task::TaskName;
use switchyard_program::atomic_file;

use crate::version::Tenant;

/// The end of a record's name.
const SUFFIX: &str = ".json";

/// The permission bits of a record.
const PRIVATE: u32 = 0o600;

/// A file that is picked up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The run that it starts.
    pub(super) run: RunId,
    #[serde(with = "tenant")]
    pub(super) tenant: Tenant,
    pub(super) task: TaskName,
    /// The folder that it lay in, relative to `DATA_DIR`.
    pub(super) folder: String,
    pub(super) file: String,
    /// `false`: it is about to be moved.
    pub(super) is_picked: bool,
}

impl Record {
    pub(super) fn offer(&self) -> FileOffer {
        FileOffer {
            run: self.run,
            project: self.tenant.project.clone(),
            task: self.task.clone(),
            file: self.file.clone(),
        }
    }
}

/// The folder of records.
#[derive(Debug)]
pub(super) struct Records {
    dir: PathBuf,
}

impl Records {
    /// Opens the folder, and reads all records. Files that are none are removed.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub(super) fn open(dir: PathBuf) -> io::Result<(Self, Vec<Record>)> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            match read(&path) {
                Some(record) => found.push(record),
                None => {
                    tracing::warn!("{} is not the record of a file: it is removed", path.display());
                    if let Err(error) = fs::remove_file(&path) {
                        tracing::warn!("{} cannot be removed: {error}", path.display());
                    }
                }
            }
        }
        Ok((Self { dir }, found))
    }

    /// Writes a record. It is durable when this returns.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn write(&self, record: &Record) -> io::Result<()> {
        let content = serde_json::to_vec(record).map_err(io::Error::other)?;
        atomic_file::write(&self.path(record.run), &content, PRIVATE)
    }

    /// Removes a record, if there is one.
    pub(super) fn remove(&self, run: RunId) {
        let path = self.path(run);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("{} cannot be removed: {error}", path.display());
            }
            _ => {}
        }
    }

    fn path(&self, run: RunId) -> PathBuf {
        self.dir.join(format!("{run}{SUFFIX}"))
    }
}

/// Reads a record under its own name.
fn read(path: &Path) -> Option<Record> {
    let record: Record = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (path.file_name()?.to_str()? == format!("{}{SUFFIX}", record.run)).then_some(record)
}

/// A tenant as the name of its folder.
mod tenant {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::version::Tenant;

    pub(super) fn serialize<S: Serializer>(tenant: &Tenant, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(tenant)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tenant, D::Error> {
        let text = String::deserialize(deserializer)?;
        Tenant::of_folder(&text).ok_or_else(|| D::Error::custom("not a tenant's folder"))
    }
}

#[cfg(test)]
mod tests {
    use switchyard_contract::incarnation::Incarnation;
    use switchyard_contract::project::ProjectName;

    use super::*;

    #[test]
    fn records_outlive_the_process_and_other_files_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let (records, found) = Records::open(dir.path().join("files")).unwrap();
        assert_eq!(found, []);
        let record = Record {
            run: RunId::new_now(),
            tenant: Tenant::new(&ProjectName::parse("blog").unwrap(), Incarnation::from_number(7)),
            task: TaskName::parse("import").unwrap(),
            folder: "pending".into(),
            file: "a.json".into(),
            is_picked: true,
        };
        records.write(&record).unwrap();
        fs::write(dir.path().join("files/other.json"), "{}").unwrap();
        let (records, found) = Records::open(dir.path().join("files")).unwrap();
        assert_eq!(found, std::slice::from_ref(&record));
        assert_eq!(fs::read_dir(dir.path().join("files")).unwrap().count(), 1);
        records.remove(record.run);
        records.remove(record.run);
        assert_eq!(Records::open(dir.path().join("files")).unwrap().1, []);
    }
}
