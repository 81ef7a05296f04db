//! The files, folders and ports of a cell.

use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::Result;
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, Scope,
};
use switchyard_protocol::Start;

/// The newest that is known here: what a kernel does not have is left out.
const KNOWN: ABI = ABI::V7;

/// What the C library reads to find names, times and its own parts, and what the runtime reads of itself and of the
/// machine. Where one is missing there is nothing to allow.
const SYSTEM: &[&str] = &[
    "/dev/random",
    "/dev/urandom",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/timezone",
    "/lib",
    "/lib64",
    "/proc/cpuinfo",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/self",
    "/proc/stat",
    "/proc/uptime",
    "/run/systemd/resolve",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/usr/lib",
    "/usr/share/zoneinfo",
];

/// What the kernel understands, 0 for none of it.
pub(super) fn abi() -> i32 {
    // SAFETY: with this flag the call only tells a number.
    #[expect(unsafe_code, reason = "libc call")]
    let abi =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, 1_u32) };
    i32::try_from(abi).unwrap_or(0).max(0)
}

/// What `start` may touch. `None` where the kernel has no such rules.
pub(super) fn rules(start: &Start) -> Result<Option<OwnedFd>> {
    let looks = AccessFs::ReadFile | AccessFs::ReadDir;
    // No sockets, devices or pipes, and nothing is executed.
    let changes = looks
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::MakeSym
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        // No port is opened, whatever the code names: it is served on its socket.
        .handle_access(AccessNet::BindTcp)?
        // Nobody outside is signalled, or reached by a socket without a file.
        .scope(Scope::from_all(KNOWN))?
        .create()?;
    for path in SYSTEM {
        rules = allow(rules, Path::new(path), looks)?;
    }
    rules = allow(rules, Path::new("/dev/null"), looks | AccessFs::WriteFile)?;
    let permissions = &start.permissions;
    let read = [&start.checkout].into_iter().chain(&start.node_modules).chain(&permissions.read);
    for path in read {
        rules = allow(rules, path, looks)?;
    }
    for path in [&start.tmp, &start.data].into_iter().chain(&permissions.write) {
        rules = allow(rules, path, changes)?;
    }
    if let Some(dir) = start.socket.parent() {
        rules = allow(rules, dir, AccessFs::MakeSock | AccessFs::RemoveFile)?;
    }
    Ok(rules.into())
}

/// A path that is not there has nothing to allow.
fn allow(rules: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> Result<RulesetCreated> {
    let Ok(metadata) = path.metadata() else { return Ok(rules) };
    let access = if metadata.is_dir() { access } else { access & AccessFs::from_file(KNOWN) };
    Ok(rules.add_rule(PathBeneath::new(PathFd::new(path)?, access))?)
}
