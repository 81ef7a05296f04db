//! The files that are picked up and whose runs have not ended, with the limits on them. Pure.

use std::collections::BTreeMap;

use switchyard_contract::bounds::FILE_OFFERS;
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::RunId;

use super::record::Record;

/// Maximum number of files of one project: as many as runs may wait by default, so that the bridge can
/// accept them.
const PROJECT_OFFERS: usize = 100;

/// All of them, by run: in the order in which they were picked up.
#[derive(Debug, Default)]
pub(super) struct OpenFiles(BTreeMap<RunId, Record>);

impl OpenFiles {
    pub(super) fn insert(&mut self, record: Record) {
        self.0.insert(record.run, record);
    }

    /// Returns true if it was there.
    pub(super) fn remove(&mut self, run: RunId) -> bool {
        self.0.remove(&run).is_some()
    }

    pub(super) fn get(&self, run: RunId) -> Option<&Record> {
        self.0.get(&run)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Record> {
        self.0.values()
    }

    /// Returns true if one more file of this project can be picked up.
    pub(super) fn has_room(&self, project: &ProjectName) -> bool {
        let of_project = self.0.values().filter(|record| record.tenant.project == *project).count();
        self.0.len() < FILE_OFFERS && of_project < PROJECT_OFFERS
    }
}

#[cfg(test)]
mod tests {
    use switchyard_contract::task::TaskName;

    use super::*;
    use crate::version::Tenant;

    #[test]
    fn a_project_with_many_files_leaves_room_for_others() {
        let project = |name: &str| ProjectName::parse(name).unwrap();
        let mut open = OpenFiles::default();
        let record = |project: &ProjectName| Record {
            run: RunId::new_now(),
            tenant: Tenant::first(project),
            task: TaskName::parse("t").unwrap(),
            folder: "in".into(),
            file: "x".into(),
            is_picked: true,
        };
        let first = record(&project("a"));
        open.insert(first.clone());
        (1..PROJECT_OFFERS).for_each(|_| open.insert(record(&project("a"))));
        assert!(!open.has_room(&project("a")) && open.has_room(&project("b")));
        assert!(open.remove(first.run) && !open.remove(first.run));
        assert!(open.has_room(&project("a")));
        assert_eq!(open.all().count(), PROJECT_OFFERS - 1);
    }
}
