//! The incarnations that a deploy ends or brings back.

use jiff::Timestamp;

use super::super::VolumeError;
use super::super::journal::JournalEntry;
use super::{RemovalTerms, Staging};
use switchyard_contract::incarnation::{EndedIncarnation, Incarnations};
use switchyard_contract::project::ProjectName;

impl Staging {
    /// Records the incarnations that end with this deploy, and the projects that are there again.
    /// From here on the deploy is not undone: routers may delete data. May be called again, also by
    /// another process.
    ///
    /// # Errors
    /// The volume fails.
    pub fn commit(&self, ending: &RemovalTerms) -> Result<(), VolumeError> {
        for entry in self.entries() {
            let Some(project) = entry.name.project() else { continue };
            let before = self.register.of(project)?;
            let mut after = before.clone();
            if entry.put.is_some() {
                after.removed = false;
            } else if before.removed && entry.before.is_none() {
                // The project was removed before: only its data is left.
                after.set_data(entry.data);
            } else if self.ended(&entry).is_none() {
                let version = ending.versions.get(project).cloned();
                let until = Timestamp::now().saturating_add(ending.keep).unwrap_or(Timestamp::MAX);
                after.end(self.deploy(), version, entry.data, until);
            }
            // Nothing is recorded of names that were never removed.
            if after != before {
                self.note(project, &after)?;
            }
        }
        Ok(())
    }

    /// Returns `true` when the deploy can no longer be undone.
    pub fn is_committed(&self) -> bool {
        self.entries().iter().any(|entry| self.ended(entry).is_some())
    }

    /// The incarnation that this deploy has ended by taking the project away.
    pub(super) fn ended(&self, entry: &JournalEntry) -> Option<EndedIncarnation> {
        let project = entry.name.project().filter(|_| entry.put.is_none())?;
        let incarnations = self.register.of(project).ok()?;
        incarnations.ended.into_iter().find(|ended| ended.deploy == self.deploy())
    }

    pub(super) fn note(&self, project: &ProjectName, incarnations: &Incarnations) -> Result<(), VolumeError> {
        self.register
            .put(project, incarnations)
            .map_err(|source| VolumeError::io("note which data is the project's", source))
    }

    pub(super) fn bring_back(&self, entry: &JournalEntry) -> Result<(), VolumeError> {
        let (Some(back), Some(project)) = (&entry.brings_back, entry.name.project()) else { return Ok(()) };
        let mut incarnations = back.before.clone();
        incarnations.bring_back(back.incarnation, self.deploy());
        self.note(project, &incarnations)
    }

    /// Ends an incarnation again that was to be brought back.
    pub(super) fn end_again(&self, entry: &JournalEntry) -> Result<(), VolumeError> {
        let (Some(back), Some(project)) = (&entry.brings_back, entry.name.project()) else { return Ok(()) };
        self.note(project, &back.before)
    }
}
