//! A commit as the preview of its branch: its projects have names of their own, and what they include
//! is on the volume as their source has put it there.

use std::collections::{BTreeMap, HashMap};

use super::{ReadCommit, ReadError, invalid};
use crate::git::ObjectId;
use switchyard_contract::project::ProjectName;

/// An entry of the volume that projects of a preview include: a shared one, or a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Borrowed {
    /// The id that the entry has in the commit.
    pub id: ObjectId,
    /// A project that includes it.
    pub by: ProjectName,
}

impl ReadCommit {
    /// Returns the entries of the volume that the projects of a preview include, by their names. They
    /// are its source's. Empty for a commit that is no preview.
    pub fn borrowed(&self) -> &BTreeMap<String, Borrowed> {
        &self.borrowed
    }

    /// Gives the projects the names of previews of `branch`.
    ///
    /// # Errors
    /// A name leaves no room for the branch's.
    pub(super) fn preview(mut self, branch: &str) -> Result<Self, ReadError> {
        let plan = self.plan.preview(branch).map_err(|faults| invalid(&faults))?;
        // The path is what a project keeps.
        let names: HashMap<_, _> =
            plan.projects.iter().map(|project| (project.path.as_str(), &project.name)).collect();
        let (mut projects, mut borrowed) = (BTreeMap::new(), BTreeMap::new());
        for ids in self.projects.values() {
            let Some(name) = names.get(ids.path.as_str()) else { continue };
            for include in &ids.includes {
                let entry = include.split('/').next().unwrap_or(include);
                if let Some(id) = self.id_of(entry) {
                    let one = || Borrowed { id: id.clone(), by: (*name).clone() };
                    borrowed.entry(entry.to_owned()).or_insert_with(one);
                }
            }
            projects.insert((*name).clone(), ids.clone());
        }
        (self.projects, self.borrowed, self.plan) = (projects, borrowed, plan);
        self.shared.clear();
        Ok(self)
    }

    /// The id of an entry that lies beside the projects.
    fn id_of(&self, entry: &str) -> Option<&ObjectId> {
        if let Some(shared) = self.shared.get(entry) {
            return Some(&shared.id);
        }
        self.projects.iter().find(|(name, _)| name.as_str() == entry).map(|(_, ids)| &ids.tree)
    }
}
