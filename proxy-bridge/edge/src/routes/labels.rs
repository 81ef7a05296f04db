//! Labels of hosts that are not simply the name of a project: those of names with capitals or `_`.

use std::sync::Arc;

use rpds::HashTrieMapSync;

use switchyard_contract::project::ProjectName;

/// The projects that share each of these labels, in the order in which they became known: the first one has the label.
#[derive(Debug, Clone)]
pub(super) struct Labels(HashTrieMapSync<String, Arc<[ProjectName]>>);

impl Default for Labels {
    fn default() -> Self {
        Self(HashTrieMapSync::new_sync())
    }
}

impl Labels {
    /// Adds a project that was not known. `known` gives the one that is called so, if it is known already.
    pub(super) fn insert<'a>(
        &mut self,
        project: &ProjectName,
        known: impl Fn(&str) -> Option<&'a ProjectName>,
    ) {
        let label = project.label();
        let is_plain = label == project.as_str();
        let sharers: Vec<_> = match self.0.get(&*label) {
            Some(sharers) => sharers.to_vec(),
            // The label of a plain name alone needs no entry.
            None if is_plain => return,
            None => known(&label).into_iter().cloned().collect(),
        };
        let all = sharers.into_iter().chain([project.clone()]).collect();
        self.0.insert_mut(label.into_owned(), all);
    }

    /// Takes a project out.
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

    /// The project that has the label, where that is not simply the project of this name.
    pub(super) fn holder(&self, label: &str) -> Option<&ProjectName> {
        self.sharers(label).first()
    }

    /// All projects with this label; none where it is simply the name of one.
    pub(super) fn sharers(&self, label: &str) -> &[ProjectName] {
        self.0.get(label).map(|sharers| &**sharers).unwrap_or_default()
    }
}
