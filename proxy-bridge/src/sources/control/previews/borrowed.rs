//! The rule for what the projects of a preview include: it is their source's, and must be the same in
//! the commit.

use super::super::{Context, lock};
use crate::sources::commit::ReadCommit;
use crate::sources::machine::{Fault, ProblemKind};
use crate::sources::settings::{PreviewOf, SourceSettings};
use switchyard_contract::project::ProjectName;

impl Context {
    /// # Errors
    /// The projects of a preview include something that on the volume is another than in its commit.
    pub(in super::super) fn check_borrowed(
        &self,
        settings: &SourceSettings,
        read: &ReadCommit,
    ) -> Result<(), Fault> {
        let Some(PreviewOf { source, branch }) = &settings.preview else { return Ok(()) };
        let applied = lock(&self.applied).get(source).cloned();
        let applied = applied.as_deref().map(lock);
        for (entry, borrowed) in read.borrowed() {
            let there = applied.as_ref().and_then(|applied| {
                let project = || applied.projects.get(&ProjectName::parse(entry).ok()?).map(|one| &one.tree);
                applied.shared.get(entry).or_else(project)
            });
            if there == Some(&borrowed.id) {
                continue;
            }
            let there = there.map_or("has none".to_owned(), |id| format!("has {}", id.short()));
            let detail = format!(
                "{} includes {entry}, which in the branch {branch} is {}, while source {source} {there} on \
                 the volume: a preview is built with what its source shares. Bring the branch up to date, \
                 and change {entry} on the branch that {source} follows",
                borrowed.by,
                borrowed.id.short()
            );
            return Err(Fault { kind: ProblemKind::Invalid, detail });
        }
        Ok(())
    }
}
