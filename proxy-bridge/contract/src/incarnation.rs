//! The incarnations of a project: `remove` ends one, and the next one begins without data.
//!
//! The bridge keeps one file for each name that was ever removed,
//! `.switchyard-bridge/incarnations/<project>.json` on the volume. Routers read it with the
//! project, and keep what belongs to an incarnation in folders of its own.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::project::ProjectName;

/// The folder of these files, below the projects' folder.
const FOLDER: &str = ".switchyard-bridge/incarnations";

/// Removals that the file of one name records: some ten kilobytes. Routers delete the data of an
/// incarnation only while it is recorded, so the oldest record makes room for a new one only when
/// its data was to be deleted.
pub const MAX_ENDED: usize = 50;

/// The identity of a project between its first deploy (or sight) and its removal. Shown as `first`,
/// or as 16 hex digits.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Default,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String)]
pub struct Incarnation(u64);

/// A text that names no incarnation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid incarnation {0:?}: expected \"first\" or 16 hex digits")]
pub struct InvalidIncarnation(String);

impl Incarnation {
    /// The incarnation of every project that was never removed.
    pub const FIRST: Self = Self(0);

    const LATER_LEN: usize = 16;

    /// The incarnation with this number; 0 is the first one.
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// Returns an incarnation that nothing belongs to yet.
    fn fresh() -> Self {
        // Never 0, which is the first incarnation: a UUID of version 4 has bits that are set.
        Self(Uuid::new_v4().as_u64_pair().0)
    }

    /// Returns `true` for the incarnation of projects that were never removed.
    pub const fn is_first(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_first() { f.write_str("first") } else { write!(f, "{:016x}", self.0) }
    }
}

impl FromStr for Incarnation {
    type Err = InvalidIncarnation;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "first" {
            return Ok(Self::FIRST);
        }
        let is_digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        let number = (text.len() == Self::LATER_LEN && text.bytes().all(is_digit))
            .then(|| u64::from_str_radix(text, 16).ok())
            .flatten();
        number.filter(|number| *number != 0).map(Self).ok_or_else(|| InvalidIncarnation(text.to_owned()))
    }
}

impl TryFrom<String> for Incarnation {
    type Error = InvalidIncarnation;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Incarnation> for String {
    fn from(incarnation: Incarnation) -> Self {
        incarnation.to_string()
    }
}

/// The fate of a project's data when the project is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DataFate {
    /// Kept until the project can no longer be restored.
    #[default]
    Keep,
    /// Every router deletes it.
    Delete,
}

/// An incarnation that a removal has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedIncarnation {
    /// The incarnation that has ended.
    pub incarnation: Incarnation,
    /// The id of the deploy that removed the project.
    pub deploy: String,
    /// The time of the removal.
    pub at: Timestamp,
    /// The time until which its versions are kept, and its data unless that was to be deleted.
    pub until: Timestamp,
    /// The version that was live (`blog@3f9a1c2b7d4e`); `None` when no router served one.
    pub version: Option<String>,
    /// The fate of its data.
    pub data: DataFate,
}

/// The file of one name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Incarnations {
    /// The incarnation of the folder on the volume, or of the next folder that will be there.
    pub current: Incarnation,
    /// `true` from a removal until the name is deployed again.
    pub removed: bool,
    /// The newest removal first.
    pub ended: Vec<EndedIncarnation>,
}

impl Incarnations {
    /// The folder of these files on the volume.
    pub fn folder(projects: &Path) -> PathBuf {
        projects.join(FOLDER)
    }

    /// The file of `project`.
    pub fn path(projects: &Path, project: &ProjectName) -> PathBuf {
        Self::folder(projects).join(format!("{project}.json"))
    }

    /// Reads the file of `project`. `None` if it does not exist.
    ///
    /// # Errors
    /// The file cannot be read or parsed. The error names it.
    pub fn read(projects: &Path, project: &ProjectName) -> io::Result<Option<Self>> {
        let path = Self::path(projects, project);
        let named = |error: &dyn fmt::Display| {
            let detail = format!(
                "{}: {error}; restore the file from a backup: it says which data is this project's",
                path.display()
            );
            io::Error::other(detail)
        };
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| named(&error)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(error) => Err(named(&error)),
        }
    }

    /// The removal after which nothing was deployed.
    pub fn last_removal(&self) -> Option<&EndedIncarnation> {
        self.ended.first().filter(|_| self.removed)
    }

    /// Returns the record of the end of `incarnation`; `None` when it has not ended, or is not
    /// recorded.
    pub fn end_of(&self, incarnation: Incarnation) -> Option<&EndedIncarnation> {
        self.ended.iter().find(|ended| ended.incarnation == incarnation)
    }
}

impl Incarnations {
    /// Ends the current incarnation and begins the next one.
    pub fn end(&mut self, deploy: &str, version: Option<String>, data: DataFate, until: Timestamp) {
        let ended = EndedIncarnation {
            incarnation: self.current,
            deploy: deploy.to_owned(),
            at: Timestamp::now(),
            until,
            version,
            data,
        };
        self.ended.insert(0, ended);
        self.current = Incarnation::fresh();
        self.removed = true;
        self.set_data(data);
        self.make_room();
    }

    /// Marks the data of all ended incarnations for deletion if `data` says so: deleting the data
    /// of a name deletes all of it.
    pub fn set_data(&mut self, data: DataFate) {
        if data == DataFate::Delete {
            self.ended.iter_mut().for_each(|ended| ended.data = DataFate::Delete);
        }
    }

    /// Makes `incarnation`, which had ended, the current one again.
    pub fn bring_back(&mut self, incarnation: Incarnation, deploy: &str) {
        let Some(index) = self.ended.iter().position(|ended| ended.incarnation == incarnation) else {
            return;
        };
        let ended = self.ended.remove(index);
        // Files that were put there in the meantime may have written data. It is deleted when the
        // data of the removed project would have been.
        let meanwhile = EndedIncarnation {
            incarnation: self.current,
            deploy: deploy.to_owned(),
            at: ended.at,
            until: ended.until,
            version: None,
            data: DataFate::Keep,
        };
        self.ended.insert(0, meanwhile);
        self.current = incarnation;
        self.removed = false;
        self.make_room();
    }

    /// Returns `true` while one more removal that keeps its data can be noted.
    pub fn has_room(&self) -> bool {
        self.ended.len() < MAX_ENDED || self.ended.iter().any(is_spent)
    }

    fn make_room(&mut self) {
        while self.ended.len() > MAX_ENDED {
            let Some(oldest) = self.ended.iter().rposition(is_spent) else { break };
            self.ended.remove(oldest);
        }
    }
}

/// Returns `true` when nothing is kept for it any more.
fn is_spent(ended: &EndedIncarnation) -> bool {
    ended.data == DataFate::Delete || ended.until < Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incarnation_is_written_as_it_is_read() {
        let later = Incarnation::from_number(0xab);
        for (incarnation, text) in [(Incarnation::FIRST, "first"), (later, "00000000000000ab")] {
            assert_eq!(incarnation.to_string(), text);
            assert_eq!(text.parse(), Ok(incarnation));
        }
        for wrong in ["", "0", "0000000000000000", "00000000000000AB", "../../../../../a", "+0000000000000ab"]
        {
            assert_eq!(wrong.parse::<Incarnation>(), Err(InvalidIncarnation(wrong.to_owned())));
        }
    }

    #[test]
    fn a_file_that_cannot_be_parsed_is_an_error_and_never_the_first_incarnation() {
        let projects = tempfile::tempdir().unwrap();
        let blog = ProjectName::parse("blog").unwrap();
        assert_eq!(Incarnations::read(projects.path(), &blog).unwrap(), None);
        let path = Incarnations::path(projects.path(), &blog);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "{").unwrap();
        let error = Incarnations::read(projects.path(), &blog).unwrap_err();
        assert!(error.to_string().contains("blog.json"), "{error}");
    }

    fn until(hours: i64) -> Timestamp {
        Timestamp::now() + jiff::SignedDuration::from_hours(hours)
    }

    #[test]
    fn a_removal_ends_an_incarnation_and_a_rollback_brings_it_back() {
        let mut blog = Incarnations::default();
        blog.end("d1", Some("blog@1".into()), DataFate::Keep, until(1));
        let second = blog.current;
        assert!(!second.is_first() && blog.removed);
        assert_eq!(blog.last_removal().unwrap().incarnation, Incarnation::FIRST);
        blog.bring_back(Incarnation::FIRST, "d2");
        assert_eq!((blog.current, blog.removed), (Incarnation::FIRST, false));
        assert!(blog.end_of(second).is_some() && blog.end_of(Incarnation::FIRST).is_none());
        blog.end("d3", None, DataFate::Delete, until(1));
        assert!(blog.current != second && !blog.current.is_first());
        assert!(blog.ended.iter().all(|ended| ended.data == DataFate::Delete));
    }

    #[test]
    fn data_that_is_kept_is_never_forgotten_for_want_of_room() {
        let mut blog = Incarnations::default();
        for _ in 0..MAX_ENDED {
            assert!(blog.has_room());
            blog.end("d", None, DataFate::Keep, until(1));
        }
        assert!(!blog.has_room());
        blog.end("d", None, DataFate::Delete, until(1));
        assert!(blog.has_room() && blog.ended.len() == MAX_ENDED);
    }
}
