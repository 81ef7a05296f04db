//! A cell prepared for its version: bounds, folders, and the start message.

use std::path::Path;

use anyhow::{Context as _, Result};
use switchyard_contract::publisher::Url;
use switchyard_protocol::{Limits, ModuleCache, Start};

use super::{Cell, DATA, INSPECTOR, Inspector};
use crate::cells::{CellPaths, LaunchSpec, StartError, outside};
use crate::user::User;

impl Cell {
    /// Limits the process, gives it the project's folders, and returns its start message. Blocks.
    pub(super) fn prepare(&self, launch: &LaunchSpec) -> Result<Start, StartError> {
        let users = &self.settings.users;
        let user = users.of(&launch.version.tenant())?;
        let folders = self.folders_of(launch, user).map_err(StartError::NoProcess)?;
        self.bound(&launch.grant.limits).map_err(StartError::NoProcess)?;
        let mut start = launch.start(&self.settings, folders, None);
        start.identity = users.identity(user, &launch.version.project, &outside(&start))?;
        Ok(start)
    }

    /// Gives the folders of the version to the cell.
    fn folders_of(&self, launch: &LaunchSpec, user: User) -> Result<CellPaths> {
        let users = &self.settings.users;
        let data = self.settings.data.of(&launch.version.tenant());
        let claim = |folder: &Path| {
            users
                .claim(folder, user)
                .with_context(|| format!("give {} to user {}", folder.display(), user.uid))
        };
        let own = self.socket.parent().context("a socket is in a folder")?;
        claim(&data)?;
        let _ = self.data.set(data.as_path().into());
        claim(own)?;
        let share = |folder: &Path| format!("let user {} enter {}", user.uid, folder.display());
        users.share_checkout(launch.folder(), user).with_context(|| share(launch.folder()))?;
        if let Some(packages) = launch.checkout.packages().as_deref().and_then(Path::parent) {
            users.share_packages(packages, user).with_context(|| share(packages))?;
        }
        // The runtime got this path before the project was known.
        std::os::unix::fs::symlink(&data, own.join(DATA)).context("link the project's folder")?;
        let cache = self.cache(launch, user);
        let inspect = self.enable_inspector(launch).map(|inspector| inspector.socket.clone());
        let (socket, transport, probe) = (self.socket.clone(), self.transport.clone(), self.probe());
        Ok(CellPaths { socket, transport, probe, inspect, tmp: self.tmp.clone(), data, cache })
    }

    fn bound(&self, limits: &Limits) -> Result<()> {
        if let (Some(groups), Some(group)) = (&self.settings.groups, &self.group) {
            groups.limit(group, limits).context("bound a cell's control group")?;
        }
        let _ = self.limits.set(*limits);
        Ok(())
    }

    /// The folder for the version's compiled modules. Without one they are compiled again.
    fn cache(&self, LaunchSpec { version, grant, .. }: &LaunchSpec, user: User) -> Option<ModuleCache> {
        let cache = self.settings.caches.of(&version.tenant(), grant.cells)?;
        match self.settings.users.claim(&cache.dir, user) {
            Ok(()) => {
                let _ = self.modules.set(cache.dir.as_path().into());
                Some(cache)
            }
            Err(error) => {
                tracing::warn!(project.name = %version.project, "compiled modules are not kept: {error}");
                None
            }
        }
    }

    /// The access of debuggers to `launch`, if they are allowed.
    fn enable_inspector(&self, launch: &LaunchSpec) -> Option<&Inspector> {
        let may = self.settings.inspect.covers(launch.version.project.as_str());
        let entry = Url::from_file_path(launch.checkout.dir.join(&launch.entry.path)).ok().filter(|_| may)?;
        let socket = self.socket.with_file_name(INSPECTOR);
        Some(self.inspector.get_or_init(|| Inspector { socket, entry: entry.into() }))
    }
}
