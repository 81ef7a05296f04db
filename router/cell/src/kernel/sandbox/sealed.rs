//! The second filter, applied to all threads before any of a project's code is read. It refuses
//! calls that a process needs only to become a version; all others are left to the first filter.

use std::collections::BTreeMap;

use anyhow::Result;
use libc::{c_int, c_long};
use seccompiler::SeccompCmpArgLen::Qword;
use seccompiler::SeccompCmpOp::Ne;
use seccompiler::{BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule};

use super::calls::{PRCTL_SETTING_UP, SETTING_UP};
use super::filter::{any_of, equals, failed, is_supported};

/// Calls that are refused with any arguments, besides those that set the process up: `listen`,
/// which opens a port even for an unbound socket (the version's listener exists by now), further
/// filters, and changes of files' modes by path.
const REFUSED: [c_long; 3] = [libc::SYS_listen, libc::SYS_seccomp, libc::SYS_fchmodat];

/// Older names of calls that change modes and times by path (see `modes`).
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[libc::SYS_chmod, libc::SYS_futimesat, libc::SYS_utime, libc::SYS_utimes];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// Options of sockets with effects beyond the socket, or in rarely used parts of the kernel.
/// Nothing in a runtime sets them.
const OPTIONS: [(c_int, c_int); 10] = [
    // Sharing the port of another process of the same user.
    (libc::SOL_SOCKET, libc::SO_REUSEPORT),
    (libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF),
    (libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_EBPF),
    // Programs in the kernel, and datagram sockets without their filter.
    (libc::SOL_SOCKET, libc::SO_ATTACH_BPF),
    (libc::SOL_SOCKET, libc::SO_DETACH_FILTER),
    (libc::SOL_SOCKET, libc::SO_LOCK_FILTER),
    // Ways out that are not the machine's routes.
    (libc::SOL_SOCKET, libc::SO_BINDTODEVICE),
    (libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX),
    // Protocols on top of others: TLS in the kernel, tunnels.
    (libc::SOL_TCP, libc::TCP_ULP),
    (libc::SOL_UDP, libc::UDP_ENCAP),
];

/// Applies the filter to all threads, permanently.
///
/// # Errors
/// The kernel refuses the filter.
pub(super) fn seal() -> Result<()> {
    let program = program().map_err(|error| failed("make a filter", error))?;
    if is_supported() {
        seccompiler::apply_filter_all_threads(&program).map_err(|error| failed("apply a filter", error))?;
    }
    Ok(())
}

fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    let refused = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules()?, SeccompAction::Allow, refused, arch)?.try_into()
}

fn rules() -> Result<BTreeMap<c_long, Vec<SeccompRule>>, seccompiler::BackendError> {
    let always = REFUSED.iter().chain(OLDER).chain(SETTING_UP);
    let mut rules: BTreeMap<_, _> = always.map(|call| (*call, Vec::new())).collect();
    // Sockets of other cells and of the machine's services, and those without a file.
    rules.insert(libc::SYS_socket, any_of(0, &[libc::AF_UNIX.into()])?);
    // Changes of files' times by path.
    let path = SeccompCondition::new(1, Qword, Ne, 0)?;
    rules.insert(libc::SYS_utimensat, vec![SeccompRule::new(vec![path])?]);
    rules.insert(libc::SYS_prctl, any_of(0, &PRCTL_SETTING_UP)?);
    let option = |(level, name): &(c_int, c_int)| {
        SeccompRule::new(vec![equals(1, i64::from(*level))?, equals(2, i64::from(*name))?])
    };
    rules.insert(libc::SYS_setsockopt, OPTIONS.iter().map(option).collect::<Result<_, _>>()?);
    Ok(rules)
}
