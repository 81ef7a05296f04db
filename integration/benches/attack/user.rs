//! The users that a router and its cells can be.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};

use rustix::process::geteuid;
use switchyard_integration::router::{Builder, State};
use switchyard_integration::volume::Volume;

/// The uid of `nobody` on Linux, which every system has.
const NOBODY: u32 = 65_534;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// The router is root, with the default users for cells.
    Root,
    /// The router is root, with `--cell-user nobody`.
    Nobody,
    /// The router is a plain user's.
    Plain,
}

impl User {
    /// The users that are possible for the caller.
    pub(crate) fn all() -> Vec<Self> {
        if geteuid().is_root() { vec![Self::Root, Self::Nobody, Self::Plain] } else { vec![Self::Plain] }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Nobody => "root, cells nobody",
            Self::Plain => "plain user",
        }
    }

    /// Starts the router as this user, which gets the state folder.
    pub(crate) fn router(self, builder: Builder, volume: &Volume, state: &State) -> Builder {
        let builder = builder.state(state);
        match self {
            Self::Root => builder,
            Self::Nobody => builder.flag("cell-user", "nobody"),
            Self::Plain if geteuid().is_root() => {
                chown(state.path(), Some(NOBODY), Some(NOBODY)).expect("root gives folders away");
                let readable = Permissions::from_mode(0o755);
                fs::set_permissions(volume.root(), readable).expect("root sets modes");
                builder.run_as(NOBODY)
            }
            Self::Plain => builder,
        }
    }
}
