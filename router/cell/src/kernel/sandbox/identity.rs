//! The user of this process and its capabilities. A process of a root router is root until a user
//! is assigned; then each thread becomes that user and keeps only the capabilities that it needs.

use std::io;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use caps::{CapSet, Capability, CapsHashSet};
use libc::{c_long, gid_t};
use switchyard_protocol::{FileRights, Identity};

/// The capabilities that are needed until a user is assigned. The last two are those of
/// [`FileRights`].
const UNTIL_ASSIGNED: [Capability; 4] = [
    Capability::CAP_SETUID,
    Capability::CAP_SETGID,
    Capability::CAP_DAC_READ_SEARCH,
    Capability::CAP_DAC_OVERRIDE,
];

/// `_LINUX_CAPABILITY_VERSION_3`: two words for each set.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// The process as it was started.
struct InitialIdentity {
    /// The capabilities that are left, a bit for each.
    capabilities: u64,
    parent: u32,
}

static ORIGIN: OnceLock<InitialIdentity> = OnceLock::new();

/// Gives up all capabilities but those that are needed until a user is assigned. Must be called
/// before any other thread exists.
///
/// # Errors
/// The kernel refuses the capabilities, or they were reduced before.
pub(crate) fn reduce() -> Result<()> {
    let had = caps::read(None, CapSet::Permitted)?;
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        // Without this, `access(2)`, with which Deno checks for a file, ignores the capabilities of
        // a user and does not find what `open` finds. Each thread sets the capabilities that it
        // keeps.
        control(libc::PR_SET_SECUREBITS, libc::SECBIT_NO_SETUID_FIXUP as libc::c_ulong)
            .context("let files exist for users who can open them")?;
    }
    let kept: CapsHashSet = had.intersection(&CapsHashSet::from(UNTIL_ASSIGNED)).copied().collect();
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new())?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    // Without this, the kernel drops all of them with the user, before a thread can set those it
    // keeps.
    control(libc::PR_SET_KEEPCAPS, 1).context("keep capabilities over a change of user")?;
    let capabilities = kept.iter().map(Capability::bitmask).fold(0, |all, bit| all | bit);
    let origin = InitialIdentity { capabilities, parent: std::os::unix::process::parent_id() };
    ensure!(ORIGIN.set(origin).is_ok(), "capabilities are reduced once");
    Ok(())
}

/// The change of user and capabilities that each thread makes for itself.
#[derive(Debug)]
pub(super) struct IdentityChange {
    identity: Option<Identity>,
    /// The capabilities that stay, a bit for each.
    capabilities: u64,
}

impl IdentityChange {
    /// The change to `identity`. Without one, the user stays the same, with at most the right to
    /// read.
    pub(super) fn new(identity: Option<Identity>) -> Self {
        let rights = identity.as_ref().map_or(FileRights::Read, |identity| identity.rights);
        let wanted = match rights {
            FileRights::Own => 0,
            FileRights::Read => Capability::CAP_DAC_READ_SEARCH.bitmask(),
            FileRights::Write => {
                Capability::CAP_DAC_READ_SEARCH.bitmask() | Capability::CAP_DAC_OVERRIDE.bitmask()
            }
        };
        let held = ORIGIN.get().map_or(0, |origin| origin.capabilities);
        Self { identity, capabilities: wanted & held }
    }

    /// Makes the change for the calling thread alone, by bare system calls, as it may interrupt any
    /// code. Returns `true` if the kernel allowed all of it.
    pub(super) fn apply(&self) -> bool {
        self.identity.as_ref().is_none_or(become_user) && limit_capabilities(self.capabilities)
    }
}

/// Changes the user of the calling thread. The C library's functions would change all threads.
fn become_user(identity: &Identity) -> bool {
    let Identity { uid, gid, groups, .. } = identity;
    let (uid, gid) = (c_long::from(*uid), c_long::from(*gid));
    let groups: &[gid_t] = groups;
    // SAFETY: the pointer and the length are of a live slice; the rest are numbers.
    #[expect(unsafe_code, reason = "system calls for one thread")]
    unsafe {
        libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) == 0
            && libc::syscall(libc::SYS_setresgid, gid, gid, gid) == 0
            && libc::syscall(libc::SYS_setresuid, uid, uid, uid) == 0
    }
}

fn limit_capabilities(kept: u64) -> bool {
    let (low, high) = (kept as u32, (kept >> 32) as u32);
    // The calling thread.
    let header: [u32; 2] = [CAPABILITY_VERSION, 0];
    // Effective, permitted, inheritable; twice.
    let sets: [u32; 6] = [low, low, 0, high, high, 0];
    // SAFETY: both pointers are to live values of the sizes that this version has.
    #[expect(unsafe_code, reason = "system call for one thread")]
    unsafe {
        libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) == 0
    }
}

/// Restores the attributes that the kernel resets when a process changes its user: other processes
/// of the user cannot inspect it, and it ends with the router.
///
/// # Errors
/// The router has ended meanwhile.
pub(super) fn restore_attributes() -> Result<()> {
    control(libc::PR_SET_DUMPABLE, 0).context("close the process to others")?;
    control(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong).context("end with the router")?;
    let parent = std::os::unix::process::parent_id();
    ensure!(ORIGIN.get().is_none_or(|origin| origin.parent == parent), "the router has ended");
    Ok(())
}

fn control(option: libc::c_int, value: libc::c_ulong) -> io::Result<()> {
    // SAFETY: changes an attribute of this process.
    #[expect(unsafe_code, reason = "libc call")]
    let result = unsafe { libc::prctl(option, value, 0, 0, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
