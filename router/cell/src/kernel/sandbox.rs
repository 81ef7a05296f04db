//! The sandbox layers of the operating system, below Deno's permissions: the process's user, its
//! system calls (seccomp), its files and ports (Landlock), and the addresses that it connects to.

mod calls;
mod datagrams;
mod files;
mod filter;
mod hooks;
mod identity;
mod listener;
mod modes;
mod network;
mod sealed;
mod threads;

use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};
use switchyard_protocol::{Identity, InstallRequest, Permissions, SandboxSupport, Start};

pub(crate) use self::files::FileRules;
use self::identity::IdentityChange;
pub(crate) use self::identity::reduce as reduce_capabilities;
use self::network::EgressRules;
pub(crate) use self::network::{name_servers, non_public_networks};
use self::threads::ThreadChange;

/// Limits the system calls of this process, independently of the version. Must be called before any
/// other thread exists.
///
/// # Errors
/// The kernel refuses the filter.
pub(crate) fn forbid_calls() -> Result<()> {
    calls::forbid().context("restrict system calls")
}

/// Becomes the user that was assigned, with the capabilities of its rights only: on all threads,
/// permanently. Must be called before anything of a project is read.
///
/// # Errors
/// The kernel refuses the user, or the router has ended.
pub(crate) fn become_user(identity: Option<Identity>) -> Result<()> {
    let user = identity.as_ref().map_or("the router's".to_owned(), |identity| identity.uid.to_string());
    threads::apply(&ThreadChange::Become(IdentityChange::new(identity)))
        .with_context(|| format!("become user {user}"))?;
    identity::restore_attributes()
}

/// Confines the process to what the version may use: on all threads, permanently.
///
/// The version's sockets listen from here on; they get their names when a server is bound to them.
/// So this comes after the change of the user and after the debuggers' listener.
///
/// # Errors
/// A listener cannot be made, or the kernel refuses the rules or the filter.
pub(crate) fn confine(start: &Start, rules: FileRules) -> Result<()> {
    network::open(EgressRules::new(&start.permissions));
    listener::reserve([&start.socket, &start.transport, &start.probe])
        .context("make the version's listeners")?;
    restrict(rules.for_version(start))
}

/// Confines a process that fetches packages: it reads the project and writes the packages.
///
/// # Errors
/// The kernel refuses the rules or the filter.
pub(crate) fn confine_install(install: &InstallRequest) -> Result<()> {
    let permissions = Permissions { private_net: install.private_net.clone(), ..Permissions::default() };
    network::open(EgressRules::new(&permissions));
    restrict(FileRules::prepare()?.for_install(install))
}

fn restrict(rules: Result<Option<OwnedFd>>) -> Result<()> {
    // Without Landlock there are no rules. The router has reported that at its start.
    if let Some(rules) = rules.context("make rules for files")? {
        threads::apply(&ThreadChange::Restrict(rules)).context("restrict files")?;
    }
    sealed::seal().context("restrict system calls further")
}

/// Returns the sandbox layers that this kernel supports.
pub(crate) fn support() -> SandboxSupport {
    SandboxSupport { landlock: files::landlock_abi(), seccomp: filter::is_supported() }
}
