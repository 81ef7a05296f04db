//! Layers of the sandbox around cells that the kernel or the operator provides. Cells themselves put up
//! the rest.

use std::fmt::Display;
use std::path::Path;
use std::process::{Command, Output};

use switchyard_contract::admin::{LayerState, SandboxLayer};
use switchyard_program::settings::InvalidSetting;
use switchyard_protocol::SandboxSupport;

use crate::cells::Groups;
use crate::config::CellConfig;
use crate::gaps::Gaps;
use crate::user::{UserRange, Users};

/// The sandbox layers around cells that cells do not apply themselves.
pub(super) struct Sandbox {
    pub(super) users: Users,
    /// `None`: cells have no control groups.
    pub(super) groups: Option<Groups>,
    /// Each layer, and whether it is there.
    pub(super) layers: Vec<SandboxLayer>,
    /// Layers that this machine does not have, in words.
    pub(super) missing: Vec<String>,
    /// Collects those layers, and the ones that are missed later.
    pub(super) gaps: Gaps,
}

impl Sandbox {
    /// Adds control groups, if there are any.
    pub(super) fn with_groups(mut self, groups: Option<Groups>) -> Self {
        self.missing.extend(groups.iter().flat_map(Groups::missing));
        self.layers.extend(of_groups(groups.as_ref()));
        Self { groups, ..self }
    }
}

/// Returns the layers that this kernel supports, as the cell itself finds them.
///
/// # Errors
/// The program of cells does not run, or is another version.
pub(super) fn support(cell: &Path) -> Result<SandboxSupport, InvalidSetting> {
    let wrong = |error: &dyn Display| InvalidSetting(format!("cannot run {}: {error}", cell.display()));
    let output = probe(&mut Command::new(cell)).map_err(|error| wrong(&error))?;
    serde_json::from_slice(&output.stdout).map_err(|error| wrong(&error))
}

/// Returns the layers of the kernel.
pub(super) fn of_kernel(support: SandboxSupport) -> impl Iterator<Item = SandboxLayer> {
    support.layers().into_iter().map(move |(name, missing)| match missing {
        Some(missing) => SandboxLayer::new(name, LayerState::Off, missing),
        None if name == "seccomp" => SandboxLayer::new(name, LayerState::On, "system calls are filtered"),
        None => SandboxLayer::new(name, LayerState::On, format!("version {} of Landlock", support.landlock)),
    })
}

/// Returns the layer of users. `weaker`: in what way they are weaker than they could be.
pub(super) fn of_users(config: &CellConfig, users: &Users, weaker: &[String]) -> SandboxLayer {
    let (state, detail) = match (&config.cell_user, weaker.first()) {
        _ if !users.are_others() => {
            let detail = "all cells run as the user of the router: as root it gives each project a user of its own, \
                          unless --dangerously-run-cells-as-root is set";
            (LayerState::Off, detail.to_owned())
        }
        (Some(user), _) => {
            (LayerState::Partial, format!("the cells of all projects run as {user} (--cell-user)"))
        }
        (None, Some(weaker)) => (LayerState::Partial, format!("each project has its own, without {weaker}")),
        (None, None) => {
            let range = config.cell_users.unwrap_or(UserRange::DEFAULT);
            (LayerState::On, format!("each project has its own, of {range}"))
        }
    };
    SandboxLayer::new("users", state, detail)
}

/// Returns the layers that control groups provide.
fn of_groups(groups: Option<&Groups>) -> [SandboxLayer; 3] {
    let layer = |name, controller, without: &str| {
        if groups.is_some_and(|groups| groups.has(controller)) {
            return SandboxLayer::new(name, LayerState::On, "each cell has a control group with a limit");
        }
        let detail = format!("{without}; with --cgroup and the controller {controller} the kernel bounds it");
        SandboxLayer::new(name, LayerState::Partial, detail)
    };
    [
        layer("memory", "memory", "the router measures each cell, and ends one that is over its limit"),
        layer("threads", "pids", "the runtime bounds web workers, but no other threads"),
        layer("cpu", "cpu", "the kernel shares the processors among threads, whichever cell they are of"),
    ]
}

/// Runs the program of cells, which reports what its kernel supports.
pub(super) fn probe(cell: &mut Command) -> std::io::Result<Output> {
    cell.arg("--probe-sandbox").env_clear().output()
}
