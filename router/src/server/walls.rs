//! The walls around cells that are the kernel's or the operator's to give.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};

use switchyard_protocol::Walls;

use crate::cells::Groups;
use crate::user::User;

/// What is around cells besides what they do themselves.
pub(super) struct Walled {
    pub(super) user: Option<User>,
    pub(super) groups: Option<Groups>,
    /// What this machine does not have, in words.
    pub(super) lacks: Vec<String>,
}

/// The walls that this kernel lacks, as the cell itself sees it.
pub(super) fn lacks(cell: &Path, required: bool) -> Result<Vec<String>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{} does not run: {error}", cell.display());
    let output = ask(&mut Command::new(cell)).map_err(|error| wrong(&error))?;
    let walls: Walls = serde_json::from_slice(&output.stdout).map_err(|error| wrong(&error))?;
    let lacks: Vec<_> = walls.missing().into_iter().map(str::to_owned).collect();
    if required && !lacks.is_empty() {
        return Err(format!("this machine lacks {}", lacks.join("; ")));
    }
    Ok(lacks)
}

/// The user of this name, who has to be able to start `cell` and to get at what is in `state`.
pub(super) fn user(name: &str, state: &Path, cell: Option<&Path>) -> Result<User, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("only a router that runs as root can give its cells another user".into());
    }
    let user = uzers::get_user_by_name(name).ok_or_else(|| format!("there is no user {name:?}"))?;
    let user = match user.uid() {
        0 => return Err("name another user than root".into()),
        uid => User { uid, gid: user.primary_group_id() },
    };
    let Some(cell) = cell else { return Ok(user) };
    // The folder is entered as the user, which needs all that is above it.
    ask(Command::new(cell).uid(user.uid).gid(user.gid).current_dir(state)).map_err(|error| {
        format!(
            "{name} cannot get at {} or {}: {error}; let others enter the folders above them",
            state.display(),
            cell.display()
        )
    })?;
    Ok(user)
}

fn ask(cell: &mut Command) -> std::io::Result<Output> {
    cell.arg("--walls").env_clear().output()
}
