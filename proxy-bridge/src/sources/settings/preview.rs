//! The settings of a preview: those of its source, for one branch.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{OnDrift, OnRemoval, PublishMode, SourceSettings};
use crate::git::RefTarget;
use crate::sources::preview_names::with_branch;
use switchyard_contract::incarnation::DataFate;
use switchyard_contract::project::ProjectName;
use switchyard_program::units::Span;

/// The time between two polls of a preview by itself. Its source asks for all branches at once, and
/// tells it of a new commit.
const POLL: Span = Span(Duration::from_secs(24 * 60 * 60));

/// The source and the branch of a preview.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewOf {
    /// The name of the source in the file.
    pub source: String,
    /// The branch, without `refs/heads/`.
    pub branch: String,
}

impl SourceSettings {
    /// Returns true if a branch is to have a preview. The branch that the source follows has none.
    pub fn has_preview(&self, branch: &str) -> bool {
        let own = self.target.ref_name();
        let is_own = own.as_deref().and_then(|name| name.strip_prefix("refs/heads/")) == Some(branch);
        let is_named = |previews: &super::Previews| previews.branches.iter().any(|one| one.matches(branch));
        !is_own && self.previews.as_ref().is_some_and(is_named)
    }

    /// Returns the settings of the preview of `branch`. `None` for a name that git does not allow, or
    /// for which the source's name leaves no room.
    pub fn preview(&self, branch: &str) -> Option<Self> {
        Some(Self {
            name: with_branch(self.name.as_str(), branch)?.parse().ok()?,
            target: RefTarget::branch(branch).ok()?,
            moving_tags: false,
            webhook: None,
            publish: PublishMode::Follow,
            previews: None,
            removed: OnRemoval::Remove,
            drift: OnDrift::Report,
            poll: POLL,
            preview: Some(PreviewOf { source: self.name.to_string(), branch: branch.to_owned() }),
            ..self.clone()
        })
    }

    /// Returns the projects that the settings name, those of a preview by their own names.
    pub fn named_projects(&self) -> impl Iterator<Item = ProjectName> {
        let named = self.projects.iter().filter_map(|rule| rule.name.as_ref());
        named.filter_map(|name| match &self.preview {
            None => Some(name.clone()),
            Some(preview) => ProjectName::parse(&with_branch(name.as_str(), &preview.branch)?).ok(),
        })
    }

    /// Returns what becomes of the data of a project that is removed. That of a preview goes.
    pub fn data_fate(&self) -> DataFate {
        if self.preview.is_some() { DataFate::Delete } else { DataFate::Keep }
    }
}
