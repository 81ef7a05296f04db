//! Overrides: a project is read from a local folder instead of the volume, or from the volume again.

use std::path::PathBuf;

use switchyard_contract::admin::Report;
use switchyard_contract::event::EventType;
use switchyard_contract::project::ProjectName;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::Control;
use crate::live::{DeployRefusal, DeployReply, EventDetails};
use crate::reload::attempt::{Caller, Look};
use crate::reload::machine::Event;
use crate::reload::tasks::{OverrideChange, RouterTask};

impl Control {
    /// The refusal of a deploy of `projects`, if one of them is not read from the volume.
    pub(super) fn overridden(&self, projects: &[ProjectName]) -> Option<DeployRefusal> {
        let overrides = self.settings.root.overrides();
        projects.iter().find_map(|project| {
            let folder = overrides.folder(project.as_str())?;
            Some(DeployRefusal::Overridden { project: project.clone(), folder })
        })
    }

    /// Has a project read from `folder`, which was checked, or from the volume. It is read at once.
    pub(super) fn set_override(
        &mut self,
        project: ProjectName,
        folder: Option<PathBuf>,
        reply: DeployReply<oneshot::Receiver<Report>>,
    ) {
        let known = self.projects.get(project.as_str());
        if let Some(by) = known.and_then(|known| known.deploy.clone()) {
            // The caller may be gone.
            let _ = reply.send(Err(DeployRefusal::Held { project, by }));
            return;
        }
        let (caller, report) = oneshot::channel();
        let _ = reply.send(Ok(report));
        let overrides = self.settings.root.overrides().clone();
        let before = overrides.folder(project.as_str());
        if before == folder {
            return self.reload(project.as_str(), caller);
        }
        overrides.set(&project, folder.clone());
        let change = OverrideChange { project, before, folder };
        self.tasks.spawn_for_router(async move {
            // A panic is logged. The project is read from the folder in any case.
            let _ = spawn_blocking(move || overrides.save()).await;
            RouterTask::OverrideSaved(change, caller)
        });
    }

    /// Reports the change of an override, and reads the project.
    pub(super) fn override_saved(&mut self, change: OverrideChange, caller: Caller) {
        let OverrideChange { project: name, before, folder } = change;
        let shown = |folder: &Option<PathBuf>| folder.as_ref().map(|folder| folder.display().to_string());
        let (kind, details) = match shown(&folder) {
            Some(folder) => {
                tracing::info!(
                    project.name = %name,
                    folder,
                    "{name} is read from {folder} instead of the volume (an override)"
                );
                (EventType::OverrideSet, EventDetails { folder: Some(folder), ..EventDetails::default() })
            }
            None => {
                tracing::info!(
                    project.name = %name,
                    folder = shown(&before),
                    "the override of {name} is over: it is read from the volume again"
                );
                (EventType::OverrideEnded, EventDetails { folder: shown(&before), ..EventDetails::default() })
            }
        };
        let sequence = self.parts.events.emit(kind, &name, details);
        let overridden = self.settings.root.overrides().folder(name.as_str());
        let project = self.projects.of(&name);
        project.sequence = sequence;
        project.overridden = overridden;
        // Those of the other folder. They are read next.
        project.files.on_disk = None;
        if self.parts.live.load().get(name.as_str()).is_some() {
            self.parts.live.put(project.entry());
        }
        self.step(&name, Event::Changed(Look::for_caller(Some(caller))));
    }
}
