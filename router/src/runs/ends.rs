//! The ends of runs on the disk, in `<state>/runs`: one file of JSON lines for each attempt, from its
//! end until the bridge has acknowledged it. Blocking.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use switchyard_contract::admin::RunAccepted;
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::RunId;
use switchyard_program::atomic_file;

use super::NumberedEvent;

/// The end of a file's name.
const SUFFIX: &str = ".jsonl";

/// The permission bits of a file: its lines may be anything.
const PRIVATE: u32 = 0o600;

/// The folder of ends.
#[derive(Debug, Clone)]
pub(super) struct EndFiles {
    dir: PathBuf,
}

/// The first line of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct EndHeader {
    pub(super) accepted: RunAccepted,
    pub(super) project: ProjectName,
    pub(super) at: Timestamp,
}

impl EndFiles {
    /// Opens the folder, and reads which ends it has, with the bytes of each. Files that are not
    /// understood are removed.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub(super) fn open(dir: PathBuf) -> io::Result<(Self, Vec<(EndHeader, u64)>)> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            match read_header(&path) {
                Some(header) => found.push(header),
                None => {
                    tracing::warn!("{} is not the end of a run: it is removed", path.display());
                    if let Err(error) = fs::remove_file(&path) {
                        tracing::warn!("{} cannot be removed: {error}", path.display());
                    }
                }
            }
        }
        Ok((Self { dir }, found))
    }

    /// Writes the end of an attempt. Returns the bytes of its file.
    ///
    /// # Errors
    /// The file cannot be written. No part of it stays.
    pub(super) fn write(&self, header: &EndHeader, events: &[NumberedEvent]) -> io::Result<u64> {
        let mut content = Vec::new();
        add(&mut content, header)?;
        events.iter().try_for_each(|event| add(&mut content, event))?;
        let RunAccepted { run, attempt, .. } = header.accepted;
        atomic_file::replace(&self.path(run, attempt), &content, PRIVATE)?;
        Ok(content.len() as u64)
    }

    /// Reads the events of an attempt.
    ///
    /// # Errors
    /// The file is gone, cannot be read, or is damaged.
    pub(super) fn read(&self, run: RunId, attempt: u32) -> io::Result<Vec<NumberedEvent>> {
        let text = fs::read_to_string(self.path(run, attempt))?;
        text.lines().skip(1).map(|line| serde_json::from_str(line).map_err(io::Error::other)).collect()
    }

    /// Removes the end of an attempt, if there is one.
    pub(super) fn remove(&self, run: RunId, attempt: u32) {
        match fs::remove_file(self.path(run, attempt)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(run = %run, "the end of a run cannot be removed: {error}");
            }
            _ => {}
        }
    }

    fn path(&self, run: RunId, attempt: u32) -> PathBuf {
        self.dir.join(format!("{run}.{attempt}{SUFFIX}"))
    }
}

fn add(content: &mut Vec<u8>, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *content, value)?;
    content.push(b'\n');
    Ok(())
}

fn read_header(path: &Path) -> Option<(EndHeader, u64)> {
    let (run, attempt) = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?.split_once('.')?;
    let named: (RunId, u32) = (run.parse().ok()?, attempt.parse().ok()?);
    let file = fs::File::open(path).ok()?;
    let bytes = file.metadata().ok()?.len();
    let mut line = String::new();
    BufReader::new(file).read_line(&mut line).ok()?;
    let header: EndHeader = serde_json::from_str(&line).ok()?;
    (named == (header.accepted.run, header.accepted.attempt)).then_some((header, bytes))
}

#[cfg(test)]
mod tests {
    use switchyard_contract::admin::RunEvent;
    use switchyard_contract::digest::Digest;
    use switchyard_contract::run::RunVersion;

    use super::*;

    fn header() -> EndHeader {
        let digest = Digest::from([1; 32]);
        let version = RunVersion { name: "blog@01".into(), digest, spec: "s".into(), commit: None };
        let accepted = RunAccepted { run: RunId::new_now(), attempt: 1, version, router: "r".into() };
        EndHeader { accepted, project: ProjectName::parse("blog").unwrap(), at: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn an_end_is_found_again_after_a_restart_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("runs");
        let (ends, found) = EndFiles::open(folder.clone()).unwrap();
        assert!(found.is_empty());
        let (header, at) = (header(), Timestamp::UNIX_EPOCH);
        let events = [1, 4].map(|number| NumberedEvent { number, event: RunEvent::Started { at } });
        let bytes = ends.write(&header, &events).unwrap();
        let (ends, found) = EndFiles::open(folder.clone()).unwrap();
        assert_eq!(found, [(header.clone(), bytes)]);
        let run = header.accepted.run;
        ends.remove(run, 2);
        assert_eq!(ends.read(run, 1).unwrap(), events);
        ends.remove(run, 1);
        ends.remove(run, 1);
        assert!(ends.read(run, 1).is_err());
        assert!(EndFiles::open(folder).unwrap().1.is_empty());
    }

    #[test]
    fn files_of_other_names_and_damaged_ones_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (ends, _) = EndFiles::open(dir.path().to_owned()).unwrap();
        let (kept, moved) = (header(), header());
        ends.write(&kept, &[]).unwrap();
        ends.write(&moved, &[]).unwrap();
        fs::rename(ends.path(moved.accepted.run, 1), ends.path(moved.accepted.run, 2)).unwrap();
        fs::write(ends.path(RunId::new_now(), 1), "{\"accepted").unwrap();
        fs::write(dir.path().join(".new-1"), "").unwrap();
        let (_, found) = EndFiles::open(dir.path().to_owned()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
