//! What became of each deploy: its record, kept in `<projects>/.switchyard-bridge/deploys/<id>.json`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::tokens::Action;
use switchyard_contract::admin::Report;
use switchyard_contract::digest::Digest;
use switchyard_contract::incarnation::{Data, Ended, Incarnation};
use switchyard_contract::project::ProjectName;

/// One deploy, as in the JSON of `GET /deploys/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its id.
    pub deploy: String,
    pub action: Action,
    pub phase: Phase,
    /// `None` until it is done.
    pub outcome: Option<Outcome>,
    /// The token's name; `None` where there are no tokens.
    pub by: Option<String>,
    pub at: Timestamp,
    pub message: Option<String>,
    pub projects: Vec<Deployed>,
    pub routers: Vec<Told>,
    /// The routers (admin URLs) that did not serve it yet when it was answered 200: they get no
    /// forwarded request of its projects until they do.
    #[serde(default)]
    pub behind: Vec<String>,
    /// By phase, and `total`.
    #[serde(default)]
    pub timings_ms: BTreeMap<String, f64>,
    /// Of the answer.
    pub status: Option<u16>,
    pub problem: Option<Value>,
    /// The idempotency key that it came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// One project of a deploy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployed {
    pub project: ProjectName,
    /// `None` when it is taken away.
    pub digest: Option<Digest>,
    pub version: Option<String>,
    /// The digest of the files that were deployed, when the version has included ones too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_digest: Option<Digest>,
    /// What was live before, at the first router that tells of it.
    pub previous: Option<String>,
    /// The incarnation that was deployed or removed.
    #[serde(default)]
    pub incarnation: Incarnation,
    /// The rest that is kept of a project that was removed; `None` while it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removal: Option<Removal>,
    pub files: u64,
    pub bytes: u64,
}

impl Deployed {
    /// The digest of the files that were deployed.
    pub fn files_digest(&self) -> Option<Digest> {
        self.own_digest.or(self.digest)
    }
}

/// The rest that a removal keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    pub at: Timestamp,
    /// The time until which a rollback brings the project back.
    pub until: Timestamp,
    /// The version that was live; `None` when no router served one.
    pub version: Option<String>,
    /// `keep`: its data comes back with it. `delete`: it is deleted.
    pub data: Data,
}

impl From<&Ended> for Removal {
    fn from(ended: &Ended) -> Self {
        Self { at: ended.at, until: ended.until, version: ended.version.clone(), data: ended.data }
    }
}

/// What one router said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// Its admin URL.
    pub router: String,
    pub reports: Vec<Report>,
    pub error: Option<String>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Receive,
    Store,
    Hold,
    Build,
    Publish,
    Done,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Live,
    Removed,
    /// It does not build.
    Failed,
    /// The upload or the request was not accepted.
    Refused,
    /// Too few routers answered.
    Unreachable,
    /// Somebody else changed the project meanwhile.
    Superseded,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Store => "store",
            Self::Hold => "hold",
            Self::Build => "build",
            Self::Publish => "publish",
            Self::Done => "done",
        }
    }
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Removed => "removed",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Superseded => "superseded",
        }
    }
}

impl Record {
    pub fn names(&self) -> impl Iterator<Item = &ProjectName> {
        self.projects.iter().map(|deployed| &deployed.project)
    }

    /// As it is shown: the key is the caller's own.
    #[must_use]
    pub fn without_key(mut self) -> Self {
        self.idempotency_key = None;
        self
    }

    /// Whether it made a version live.
    pub fn is_live(&self) -> bool {
        self.outcome == Some(Outcome::Live)
    }
}

/// The folder of all records.
#[derive(Debug, Clone)]
pub struct Records {
    folder: PathBuf,
}

/// How many records are kept, on disk and in memory: at about two kilobytes each, two megabytes.
pub const KEPT: usize = 1000;

impl Records {
    /// Opens `folder`, makes it if it is not there, and reads what is in it, the oldest first. A record that cannot
    /// be read is removed with a warning: it is of no use to anybody.
    pub fn open(folder: PathBuf) -> io::Result<(Self, Vec<Record>)> {
        fs::create_dir_all(&folder)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                // A process was killed while it wrote this; what there was before is beside it.
                let _ = fs::remove_file(&path);
                continue;
            }
            match read(&path) {
                Ok(record) => found.push(record),
                Err(error) => {
                    tracing::warn!("the record {} is removed: {error}", path.display());
                    fs::remove_file(&path)?;
                }
            }
        }
        found.sort_by(|a, b| (a.at, &a.deploy).cmp(&(b.at, &b.deploy)));
        Ok((Self { folder }, found))
    }

    /// Writes a record in the place of what there was of it, whole or not at all.
    pub fn put(&self, record: &Record) -> io::Result<()> {
        let path = self.path(&record.deploy);
        let unfinished = path.with_extension("new");
        // The volume may be another one since the start.
        fs::create_dir_all(&self.folder)?;
        fs::write(&unfinished, serde_json::to_vec(record)?)?;
        fs::rename(unfinished, path)
    }

    pub fn remove(&self, deploy: &str) {
        // A record that stays is read again at the next start, and removed then.
        let _ = fs::remove_file(self.path(deploy));
    }

    fn path(&self, deploy: &str) -> PathBuf {
        self.folder.join(format!("{deploy}.json"))
    }
}

fn read(path: &Path) -> io::Result<Record> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn record(deploy: &str, at: i64) -> Record {
        Record {
            deploy: deploy.to_owned(),
            action: Action::Deploy,
            phase: Phase::Done,
            outcome: Some(Outcome::Live),
            by: Some("ci".into()),
            at: Timestamp::from_second(at).unwrap(),
            message: None,
            projects: vec![Deployed {
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
        let (records, none) = Records::open(dir.path().join("deploys")).unwrap();
        assert!(none.is_empty());
        records.put(&record("b", 2)).unwrap();
        records.put(&record("a", 1)).unwrap();
        records.put(&record("c", 3)).unwrap();
        records.remove("c");
        let (_, found) = Records::open(dir.path().join("deploys")).unwrap();
        assert_eq!(found, [record("a", 1), record("b", 2)]);
    }

    #[test]
    fn a_record_that_was_cut_off_does_not_stand_beside_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let (records, _) = Records::open(dir.path().to_owned()).unwrap();
        records.put(&record("a", 1)).unwrap();
        fs::copy(dir.path().join("a.json"), dir.path().join("a.new")).unwrap();
        let (_, found) = Records::open(dir.path().to_owned()).unwrap();
        assert_eq!(found, [record("a", 1)]);
        assert!(!dir.path().join("a.new").exists());
    }

    #[test]
    fn an_idempotency_key_is_kept_on_disk_and_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let (records, _) = Records::open(dir.path().to_owned()).unwrap();
        let keyed = Record { idempotency_key: Some("k-1".into()), ..record("a", 1) };
        records.put(&keyed).unwrap();
        assert_eq!(Records::open(dir.path().to_owned()).unwrap().1, std::slice::from_ref(&keyed));
        assert!(!serde_json::to_string(&keyed.without_key()).unwrap().contains("k-1"));
    }

    #[test]
    fn what_is_no_record_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.json"), "{").unwrap();
        let (_, found) = Records::open(dir.path().to_owned()).unwrap();
        assert!(found.is_empty());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
