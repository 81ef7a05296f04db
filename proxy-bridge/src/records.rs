//! The records of deploys on disk: `<projects>/.switchyard-bridge/deploys/<id>.json`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use switchyard_contract::deploy::DeployRecord;
use switchyard_program::atomic_file;

/// The most records that are kept, on disk and in memory: at about two kilobytes each, two megabytes.
pub const MAX_RECORDS: usize = 1000;

/// The folder of all records.
#[derive(Debug, Clone)]
pub struct RecordStore {
    folder: PathBuf,
}

impl RecordStore {
    /// Opens `folder`, creates it if it is missing, and reads the records in it, the oldest first. A
    /// file that is not a record of this version of the bridge is removed with a warning: history is
    /// all that it holds.
    ///
    /// # Errors
    /// The folder cannot be created or read, or a file in it cannot be removed.
    pub fn open(folder: PathBuf) -> io::Result<(Self, Vec<DeployRecord>)> {
        fs::create_dir_all(&folder)?;
        let mut records = Vec::new();
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                // A bridge was killed while it wrote this file. The record is in a file of its own.
                let _ = fs::remove_file(&path);
                continue;
            }
            match read(&path) {
                Ok(record) => records.push(record),
                Err(error) => {
                    tracing::warn!("removed {}, which is not a record: {error}", path.display());
                    fs::remove_file(&path)?;
                }
            }
        }
        records.sort_by(|a, b| (a.at, &a.deploy).cmp(&(b.at, &b.deploy)));
        Ok((Self { folder }, records))
    }

    /// Writes a record, or replaces it: as a whole, and durably.
    ///
    /// # Errors
    /// The volume fails. The record that was there before stays.
    pub fn put(&self, record: &DeployRecord) -> io::Result<()> {
        // The volume may be another folder than at the start.
        fs::create_dir_all(&self.folder)?;
        let content = serde_json::to_vec(record)?;
        atomic_file::write(&self.path(&record.deploy), &content, atomic_file::READABLE)
    }

    /// Removes the record of a deploy.
    pub fn remove(&self, deploy: &str) {
        // A record that cannot be removed is read at the next start, and removed then.
        let _ = fs::remove_file(self.path(deploy));
    }

    fn path(&self, deploy: &str) -> PathBuf {
        self.folder.join(format!("{deploy}.json"))
    }
}

fn read(path: &Path) -> io::Result<DeployRecord> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use switchyard_contract::deploy::{Action, DeployOutcome, DeployPhase, DeployedProject};
    use switchyard_contract::digest::Digest;
    use switchyard_contract::incarnation::Incarnation;
    use switchyard_contract::project::ProjectName;

    use super::*;

    pub(in super::super) fn record(deploy: &str, at: i64) -> DeployRecord {
        DeployRecord {
            deploy: deploy.to_owned(),
            action: Action::Deploy,
            phase: DeployPhase::Done,
            outcome: Some(DeployOutcome::Live),
            by: Some("ci".into()),
            at: Timestamp::from_second(at).unwrap(),
            message: None,
            commit: None,
            projects: vec![DeployedProject {
                project: ProjectName::parse("blog").unwrap(),
                digest: Some(Digest::from([7; 32])),
                version: Some("blog@070707070707".into()),
                own_digest: None,
                previous: None,
                incarnation: Incarnation::FIRST,
                removal: None,
                files: 1,
                bytes: 2,
            }],
            routers: Vec::new(),
            behind: Vec::new(),
            timings_ms: BTreeMap::from([("total".to_owned(), 12.5)]),
            status: Some(200),
            problem: None,
            idempotency_key: None,
        }
    }

    #[test]
    fn records_outlive_the_process_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let (records, none) = RecordStore::open(dir.path().join("deploys")).unwrap();
        assert!(none.is_empty());
        records.put(&record("b", 2)).unwrap();
        records.put(&record("a", 1)).unwrap();
        records.put(&record("c", 3)).unwrap();
        records.remove("c");
        let (_, found) = RecordStore::open(dir.path().join("deploys")).unwrap();
        assert_eq!(found, [record("a", 1), record("b", 2)]);
    }

    #[test]
    fn a_record_that_was_cut_off_does_not_stand_beside_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let (records, _) = RecordStore::open(dir.path().to_owned()).unwrap();
        records.put(&record("a", 1)).unwrap();
        fs::copy(dir.path().join("a.json"), dir.path().join("a.new")).unwrap();
        let (_, found) = RecordStore::open(dir.path().to_owned()).unwrap();
        assert_eq!(found, [record("a", 1)]);
        assert!(!dir.path().join("a.new").exists());
    }

    #[test]
    fn an_idempotency_key_is_kept_on_disk_and_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let (records, _) = RecordStore::open(dir.path().to_owned()).unwrap();
        let keyed = DeployRecord { idempotency_key: Some("k-1".into()), ..record("a", 1) };
        records.put(&keyed).unwrap();
        assert_eq!(RecordStore::open(dir.path().to_owned()).unwrap().1, std::slice::from_ref(&keyed));
        assert!(!serde_json::to_string(&keyed.without_key()).unwrap().contains("k-1"));
    }

    #[test]
    fn a_record_of_an_earlier_bridge_is_read_without_the_digest_of_its_own_files() {
        let dir = tempfile::tempdir().unwrap();
        let mut old = serde_json::to_value(record("a", 1)).unwrap();
        old["projects"][0]["own"] = "07".repeat(32).into();
        fs::write(dir.path().join("a.json"), old.to_string()).unwrap();
        let (_, found) = RecordStore::open(dir.path().to_owned()).unwrap();
        assert_eq!(found, [record("a", 1)]);
    }

    #[test]
    fn an_invalid_record_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.json"), "{").unwrap();
        let (_, found) = RecordStore::open(dir.path().to_owned()).unwrap();
        assert!(found.is_empty());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
