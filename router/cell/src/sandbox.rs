//! The walls that the operating system puts around a cell, under Deno's permissions: the user that it is, which calls it may
//! make (seccomp), which files and ports it may touch (Landlock), which addresses it may connect to.

mod calls;
mod datagrams;
mod files;
mod hooks;
mod identity;
mod listener;
mod modes;
mod network;
mod sealed;
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
use threads::Step;

/// What does not depend on the version: the calls that exist for this process. To be called before any other thread exists.
pub(crate) fn forbid_calls() -> Result<()> {
    calls::forbid().context("restrict system calls")
}

/// Becomes the user of the version, or of whatever the process is for, and keeps no more of root's capabilities than that has:
/// on all threads, for good. To be called before anything of a project is read.
pub(crate) fn become_user(identity: Option<Identity>) -> Result<()> {
    let user = identity.as_ref().map_or("the router's".to_owned(), |identity| identity.uid.to_string());
    threads::change(&Step::Become(Change::new(identity))).with_context(|| format!("become user {user}"))?;
    identity::stand_alone_again()
}

/// What depends on the version: on all threads, for good. The version's listener listens from here on, at a name that
/// it gets when a server is bound to it: so this comes behind all that decides whose the process
/// and its files are, and the debuggers' listener.
pub(crate) fn confine(start: &Start, rules: Rules) -> Result<()> {
    network::open(Egress::of(&start.permissions));
    listener::keep([&start.socket, &start.probe]).context("make the version's listeners")?;
    restrict(rules.of(start))
}

/// The same for what fetches packages: it reads the project, and writes what it fetches.
pub(crate) fn confine_install(install: &Install) -> Result<()> {
    let permissions = Permissions { private_net: install.private_net.clone(), ..Permissions::default() };
    network::open(Egress::of(&permissions));
    restrict(Rules::prepare()?.of_install(install))
}

fn restrict(rules: Result<Option<OwnedFd>>) -> Result<()> {
    // Without rules, the router has said at its start that this kernel has no Landlock.
    if let Some(rules) = rules.context("make rules for files")? {
        threads::change(&Step::Restrict(rules)).context("restrict files")?;
    }
    sealed::seal().context("restrict system calls further")
}

/// Which of the walls this kernel has.
pub(crate) fn walls() -> Walls {
    Walls { landlock: files::abi(), seccomp: calls::exist() }
}

fn explained(what: &str, error: impl fmt::Display) -> anyhow::Error {
    anyhow!("{what}: {error}")
}
