//! Previews as sources that run: they are started, found, and dropped.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::super::command::Command;
use super::super::{Running, Sources, lock};
use super::Keeper;
use crate::sources::settings::{PreviewOf, SourceSettings};

/// A preview that runs.
pub(super) struct State {
    pub(super) branch: String,
    pub(super) seen: Option<String>,
    pub(super) has_problem: bool,
    pub(super) is_ending: bool,
}

impl Sources {
    /// Runs the previews of a source that have a state, and the keeper of a source that has previews.
    pub(in super::super) fn resume_previews(
        &self,
        sources: &mut BTreeMap<String, Running>,
        settings: &SourceSettings,
        known: &[PreviewOf],
    ) {
        let mut has_previews = settings.previews.is_some();
        for preview in known.iter().filter(|preview| preview.source == settings.name.as_str()) {
            let Some(preview) = settings.preview(&preview.branch) else { continue };
            let name = preview.name.to_string();
            sources.entry(name).or_insert_with(|| self.run(Arc::new(preview), None));
            has_previews = true;
        }
        let Some(running) = sources.get_mut(settings.name.as_str()) else { return };
        if running.keeper.is_none() && has_previews {
            running.keeper = Some(Keeper::start(self.clone(), running));
        }
    }

    pub(super) fn settings(&self, name: &str) -> Option<Arc<SourceSettings>> {
        self.sources().get(name).map(|running| running.settings.clone())
    }

    /// The previews of a source, by their names.
    pub(super) fn previews_of(&self, source: &str) -> BTreeMap<String, State> {
        let state = |(name, running): (&String, &Running)| {
            let preview = running.settings.preview.as_ref().filter(|preview| preview.source == source)?;
            let status = running.status.borrow();
            let state = State {
                branch: preview.branch.clone(),
                seen: status.seen.clone(),
                has_problem: status.problem.is_some(),
                is_ending: running.is_ending,
            };
            Some((name.clone(), state))
        };
        self.sources().iter().filter_map(state).collect()
    }

    /// Blocking.
    pub(super) fn start_preview(&self, settings: SourceSettings) -> std::io::Result<()> {
        let Some(preview) = &settings.preview else { return Ok(()) };
        self.0.context.store.begin(settings.name.as_str(), preview)?;
        let mut sources = self.sources();
        // The file may have been read again meanwhile, without the source.
        if sources.contains_key(&preview.source) {
            let name = settings.name.to_string();
            sources.entry(name).or_insert_with(|| self.run(Arc::new(settings), None));
        }
        Ok(())
    }

    pub(super) fn configure_preview(&self, settings: SourceSettings) {
        if let Some(running) = self.sources().get_mut(settings.name.as_str()) {
            running.configure(Arc::new(settings), None);
        }
    }

    /// Has a preview remove all that it has. Returns the end of that; `None`: try again later.
    pub(super) fn end_preview(&self, name: &str) -> Option<oneshot::Receiver<()>> {
        let (done, ended) = oneshot::channel();
        let mut sources = self.sources();
        let running = sources.get_mut(name)?;
        running.commands.try_send(Command::End { done }).ok()?;
        running.is_ending = true;
        Some(ended)
    }

    /// Drops a preview that has ended.
    pub(super) fn forget(&self, name: &str) {
        self.sources().remove(name);
        let woken = self.0.context.owners().retain(|source| source != name);
        self.0.context.wake(woken);
        lock(&self.0.context.tasks).remove(name);
        lock(&self.0.context.applied).remove(name);
    }
}
