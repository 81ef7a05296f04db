//! The walls that the operating system puts around a cell, under Deno's permissions: which calls it may make (seccomp),
//! which files and ports it may touch (Landlock), which addresses it may connect to.

mod calls;
mod files;
mod network;
mod threads;

use std::fmt;

use anyhow::{Context as _, Result, anyhow};
use switchyard_protocol::{Install, Permissions, Start, Walls};

pub(crate) use files::Rules;
use network::Egress;
pub(crate) use network::{not_public, resolvers};

/// What does not depend on the version: the calls that exist for this process. To be called before any other thread exists.
pub(crate) fn forbid_calls() -> Result<()> {
    calls::forbid().context("restrict system calls")
}

/// What does: on all threads, for good.
pub(crate) fn confine(start: &Start, rules: Rules) -> Result<()> {
    network::open(Egress::of(&start.permissions));
    match rules.of(start).context("make rules for files")? {
        Some(rules) => threads::restrict(&rules).context("restrict files"),
        // The router has said at its start that this kernel has no Landlock.
        None => Ok(()),
    }
}

/// The same for what fetches packages: it reads the project, and writes what it fetches.
pub(crate) fn confine_install(install: &Install) -> Result<()> {
    let permissions = Permissions { private_net: install.private_net.clone(), ..Permissions::default() };
    network::open(Egress::of(&permissions));
    match Rules::prepare()?.of_install(install).context("make rules for files")? {
        Some(rules) => threads::restrict(&rules).context("restrict files"),
        None => Ok(()),
    }
}

/// Which of the walls this kernel has.
pub(crate) fn walls() -> Walls {
    Walls { landlock: files::abi(), seccomp: calls::exist() }
}

fn explained(what: &str, error: impl fmt::Display) -> anyhow::Error {
    anyhow!("{what}: {error}")
}
