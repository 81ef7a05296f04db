//! The walls that the operating system puts around a cell, under Deno's permissions: the user that it is, which calls it may
//! make (seccomp), which files and ports it may touch (Landlock), which addresses it may connect to.

mod calls;
mod files;
mod identity;
mod network;
mod threads;

use std::fmt;
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result, anyhow};
use switchyard_protocol::{Identity, Install, Permissions, Start, Walls};

pub(crate) use files::Rules;
use identity::Change;
pub(crate) use identity::reduce as reduce_capabilities;
use network::Egress;
pub(crate) use network::{not_public, resolvers};
use threads::Confinement;

/// What does not depend on the version: the calls that exist for this process. To be called before any other thread exists.
pub(crate) fn forbid_calls() -> Result<()> {
    calls::forbid().context("restrict system calls")
}

/// What does: on all threads, for good.
pub(crate) fn confine(start: &Start, rules: Rules) -> Result<()> {
    network::open(Egress::of(&start.permissions));
    let rules = rules.of(start).context("make rules for files")?;
    enter(start.identity.clone(), rules)
}

/// The same for what fetches packages: it reads the project, and writes what it fetches.
pub(crate) fn confine_install(install: &Install) -> Result<()> {
    let permissions = Permissions { private_net: install.private_net.clone(), ..Permissions::default() };
    network::open(Egress::of(&permissions));
    let rules = Rules::prepare()?.of_install(install).context("make rules for files")?;
    enter(install.identity.clone(), rules)
}

/// Becomes `identity` and nothing else, to see whether this machine allows it. To be called while there is one thread.
pub(crate) fn become_user(identity: Identity) -> Result<()> {
    enter(Some(identity), None)
}

/// Takes the user and the rules, and gives up what was needed for that. Without rules this kernel has no Landlock, as the
/// router has said at its start.
fn enter(identity: Option<Identity>, rules: Option<OwnedFd>) -> Result<()> {
    let user = identity.as_ref().map_or_else(String::new, |identity| format!("become user {}, ", identity.uid));
    let change = Change::new(identity);
    threads::confine(&Confinement { change, rules }).with_context(|| format!("{user}restrict files"))?;
    identity::stand_alone_again()?;
    calls::seal().context("restrict system calls")
}

/// Which of the walls this kernel has.
pub(crate) fn walls() -> Walls {
    Walls { landlock: files::abi(), seccomp: calls::exist() }
}

fn explained(what: &str, error: impl fmt::Display) -> anyhow::Error {
    anyhow!("{what}: {error}")
}
