//! Layers of the sandbox around cells that the kernel or the operator provides. Cells themselves put up
//! the rest.

use std::fmt::Display;
use std::path::Path;
use std::process::{Command, Output};

use switchyard_program::settings::InvalidSetting;
use switchyard_protocol::SandboxSupport;

use crate::cells::Groups;
use crate::gaps::Gaps;
use crate::user::Users;

/// The sandbox layers around cells that cells do not apply themselves.
pub(super) struct Sandbox {
    pub(super) users: Users,
    /// `None`: cells have no control groups.
    pub(super) groups: Option<Groups>,
    /// Layers that this machine does not have, in words.
    pub(super) missing: Vec<String>,
    /// Collects those layers, and the ones that are missed later.
    pub(super) gaps: Gaps,
}

impl Sandbox {
    /// Adds control groups, if there are any.
    pub(super) fn with_groups(mut self, groups: Option<Groups>) -> Self {
        self.missing.extend(groups.iter().flat_map(Groups::missing));
        Self { groups, ..self }
    }
}

/// Returns the layers that this kernel does not support, as the cell itself finds them.
///
/// # Errors
/// The program of cells does not run, or is another version.
pub(super) fn missing_layers(cell: &Path) -> Result<Vec<String>, InvalidSetting> {
    let wrong = |error: &dyn Display| InvalidSetting(format!("cannot run {}: {error}", cell.display()));
    let output = probe(&mut Command::new(cell)).map_err(|error| wrong(&error))?;
    let support: SandboxSupport = serde_json::from_slice(&output.stdout).map_err(|error| wrong(&error))?;
    Ok(support.missing().into_iter().map(str::to_owned).collect())
}

/// Runs the program of cells, which reports what its kernel supports.
pub(super) fn probe(cell: &mut Command) -> std::io::Result<Output> {
    cell.arg("--probe-sandbox").env_clear().output()
}
