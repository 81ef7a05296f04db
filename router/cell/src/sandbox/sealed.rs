//! The second filter of system calls, applied to all threads before any of a project's code is
//! read: what a process needs to become a version's, and a version does not. It names what is
//! refused; the rest is the first filter's.

use std::collections::BTreeMap;

use anyhow::Result;
use libc::{c_int, c_long};
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, Ne};
use seccompiler::{BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule};

use super::calls::{PRCTL_SETTING_UP, SETTING_UP, any_of, exist};
use super::explained;

/// Refused whatever the arguments are, beside what sets the process up: `listen`, which opens a
/// port even of a socket that is bound to none (the listener of the version is there by now),
/// further filters, and modes of files by path.
const REFUSED: [c_long; 3] = [libc::SYS_listen, libc::SYS_seccomp, libc::SYS_fchmodat];

/// Older names for changing modes and times by path (see `modes`).
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[libc::SYS_chmod, libc::SYS_futimesat, libc::SYS_utime, libc::SYS_utimes];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// Options of sockets that reach beyond the socket, or into corners of the kernel, and that nothing
/// in a runtime sets.
const OPTIONS: [(c_int, c_int); 10] = [
    // The port of another process of the same user, shared.
    (libc::SOL_SOCKET, libc::SO_REUSEPORT),
    (libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF),
    (libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_EBPF),
    // Programs of the kernel, and a datagram socket without its filter.
    (libc::SOL_SOCKET, libc::SO_ATTACH_BPF),
    (libc::SOL_SOCKET, libc::SO_DETACH_FILTER),
    (libc::SOL_SOCKET, libc::SO_LOCK_FILTER),
    // Another way out than the machine's routes say.
    (libc::SOL_SOCKET, libc::SO_BINDTODEVICE),
    (libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX),
    // Protocols on top of others: TLS in the kernel, tunnels.
    (libc::SOL_TCP, libc::TCP_ULP),
    (libc::SOL_UDP, libc::UDP_ENCAP),
];

/// From here on, on all threads and for good.
pub(super) fn seal() -> Result<()> {
    let program = program().map_err(|error| explained("make a filter", error))?;
    if exist() {
        seccompiler::apply_filter_all_threads(&program)
            .map_err(|error| explained("apply a filter", error))?;
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
    let is = |index, value: c_int| SeccompCondition::new(index, Dword, Eq, u64::from(value.cast_unsigned()));
    let first = |value| SeccompRule::new(vec![is(0, value)?]);
    // Sockets of other cells, of the machine's services, and without a file.
    rules.insert(libc::SYS_socket, vec![first(libc::AF_UNIX)?]);
    // Times of files by path.
    let path = SeccompCondition::new(1, Qword, Ne, 0)?;
    rules.insert(libc::SYS_utimensat, vec![SeccompRule::new(vec![path])?]);
    rules.insert(libc::SYS_prctl, any_of(0, &PRCTL_SETTING_UP)?);
    let option = |(level, name): &(c_int, c_int)| SeccompRule::new(vec![is(1, *level)?, is(2, *name)?]);
    rules.insert(libc::SYS_setsockopt, OPTIONS.iter().map(option).collect::<Result<_, _>>()?);
    Ok(rules)
}
