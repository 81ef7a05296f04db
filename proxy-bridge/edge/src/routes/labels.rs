//! Host labels that differ from the name of their project: those of names with capitals or `_`.

use std::sync::Arc;

use rpds::HashTrieMapSync;

use switchyard_contract::project::ProjectName;

/// The projects that share each of these labels, in the order in which they became known. The first
/// one has the label.
#[derive(Debug, Clone)]
pub(super) struct Labels(HashTrieMapSync<String, Arc<[ProjectName]>>);

impl Default for Labels {
    fn default() -> Self {
        Self(HashTrieMapSync::new_sync())
    }
}

impl Labels {
    /// Adds a project that was not known. `known` returns the known project with a name.
    pub(super) fn insert<'a>(
        &mut self,
        project: &ProjectName,
        known: impl Fn(&str) -> Option<&'a ProjectName>,
    ) {
        let label = project.label();
        let is_plain = label == project.as_str();
        let sharers: Vec<_> = match self.0.get(&*label) {
            Some(sharers) => sharers.to_vec(),
            // A plain name is its own label: no entry is needed.
            None if is_plain => return,
            None => known(&label).into_iter().cloned().collect(),
        };
        let all = sharers.into_iter().chain([project.clone()]).collect();
        self.0.insert_mut(label.into_owned(), all);
    }

    /// Removes a project.
    pub(super) fn remove(&mut self, project: &ProjectName) {
        let label = project.label();
        let Some(sharers) = self.0.get(&*label) else { return };
        let left: Arc<[_]> = sharers.iter().filter(|other| *other != project).cloned().collect();
        let is_plain = |name: &ProjectName| name.as_str() == label;
        match &*left {
            [] => self.0.remove_mut(&*label),
            [only] if is_plain(only) => self.0.remove_mut(&*label),
            _ => {
                self.0.insert_mut(label.into_owned(), left);
                true
            }
        };
    }

    /// Returns the project that has the label. `None` if that is the project with this name.
    pub(super) fn holder(&self, label: &str) -> Option<&ProjectName> {
        self.sharers(label).first()
    }

    /// Returns all projects with this label. Empty if the only one is the project with this name.
    pub(super) fn sharers(&self, label: &str) -> &[ProjectName] {
        self.0.get(label).map(|sharers| &**sharers).unwrap_or_default()
    }
}
