//! The first filter: the system calls of a cell. A call that is not listed fails with ENOSYS: a
//! cell starts no program, signals and inspects no process but its own, and mounts, traces and
//! loads nothing. io_uring does not exist for it either.

use std::collections::BTreeMap;

use anyhow::Result;
use libc::c_long;
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::MaskedEq;
use seccompiler::{BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule};

use super::filter::{any_of, equals, failed, is_supported};

/// Calls that are allowed with any arguments.
const ANY_ARGUMENTS: &[c_long] = &[
    // Memory.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mincore,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_msync,
    libc::SYS_munlock,
    libc::SYS_munmap,
    libc::SYS_pkey_alloc,
    libc::SYS_pkey_free,
    libc::SYS_pkey_mprotect,
    // Threads and time.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_get_robust_list,
    libc::SYS_getcpu,
    libc::SYS_getitimer,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getattr,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_setitimer,
    libc::SYS_timer_create,
    libc::SYS_timer_delete,
    libc::SYS_timer_settime,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_gettime,
    libc::SYS_timerfd_settime,
    libc::SYS_times,
    // Signals to itself.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_signalfd4,
    // Attributes of the process and the machine.
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getgroups,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getpriority,
    libc::SYS_getrandom,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_getrusage,
    libc::SYS_getuid,
    libc::SYS_sysinfo,
    libc::SYS_umask,
    libc::SYS_uname,
    // Waiting for descriptors.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    // Descriptors.
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_fadvise64,
    libc::SYS_flock,
    libc::SYS_lseek,
    libc::SYS_pipe2,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_read,
    libc::SYS_readahead,
    libc::SYS_readv,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_write,
    libc::SYS_writev,
    // Files: Landlock decides which.
    libc::SYS_chdir,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fallocate,
    libc::SYS_fchdir,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fdatasync,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_rm_watch,
    libc::SYS_linkat,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_readlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_symlinkat,
    libc::SYS_sync_file_range,
    libc::SYS_truncate,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
    // Sockets, of the families below.
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_listen,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
];

/// Calls that turn a spare into a version: Landlock's rules, and the change of the user. The second
/// filter refuses them.
pub(super) const SETTING_UP: &[c_long] = &[
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_restrict_self,
    libc::SYS_capset,
    libc::SYS_setgroups,
    libc::SYS_setresgid,
    libc::SYS_setresuid,
];

/// Older names of the same calls.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_alarm,
    libc::SYS_arch_prctl,
    libc::SYS_chmod,
    libc::SYS_creat,
    libc::SYS_dup2,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_futimesat,
    libc::SYS_getdents,
    libc::SYS_getpgrp,
    libc::SYS_inotify_init,
    libc::SYS_link,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_pause,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_rmdir,
    libc::SYS_select,
    libc::SYS_signalfd,
    libc::SYS_stat,
    libc::SYS_symlink,
    libc::SYS_time,
    libc::SYS_unlink,
    libc::SYS_utime,
    libc::SYS_utimes,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

const SOCKET_KIND: u64 = 0xf;

/// Applies the filter to this process, permanently.
///
/// # Errors
/// The kernel refuses the filter.
pub(super) fn forbid() -> Result<()> {
    let program = program().map_err(|error| failed("make a filter", error))?;
    if is_supported() {
        seccompiler::apply_filter(&program).map_err(|error| failed("apply a filter", error))?;
    }
    // If not, the router has reported it at its start.
    Ok(())
}

fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    let refused = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules()?, refused, SeccompAction::Allow, arch)?.try_into()
}

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

fn rules() -> Result<Rules, seccompiler::BackendError> {
    let calls = ANY_ARGUMENTS.iter().chain(OLDER).chain(SETTING_UP);
    let mut rules: Rules = calls.map(|call| (*call, Vec::new())).collect();
    let arg = |index, length, op, value| SeccompCondition::new(index, length, op, value);
    let own = i64::from(std::process::id());

    // clone3 has its flags in memory, which filters cannot read: without it, threads are made with
    // clone. None of them has a namespace of its own or is traced.
    let thread = libc::CLONE_THREAD as u64;
    let flags = arg(0, Qword, MaskedEq(thread | NO_THREAD_FLAGS), thread)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![flags])?]);
    for call in [libc::SYS_kill, libc::SYS_tgkill, libc::SYS_rt_sigqueueinfo, libc::SYS_rt_tgsigqueueinfo] {
        rules.insert(call, vec![SeccompRule::new(vec![equals(0, own)?])?]);
    }
    // The process's own limits: each has a hard limit that is never exceeded.
    for call in [libc::SYS_prlimit64, libc::SYS_getpgid, libc::SYS_getsid] {
        rules.insert(call, any_of(0, &[0, own])?);
    }
    rules.insert(libc::SYS_fcntl, any_of(1, &FCNTL)?);
    rules.insert(libc::SYS_prctl, any_of(0, &[&PRCTL[..], &PRCTL_SETTING_UP].concat())?);
    rules.insert(libc::SYS_ioctl, any_of(1, &IOCTL)?);

    rules.insert(libc::SYS_socket, sockets()?);
    // No pairs of datagram sockets: either end could send to any socket with a name.
    let pair = vec![equals(0, libc::AF_UNIX.into())?, kind(libc::SOCK_STREAM)?];
    rules.insert(libc::SYS_socketpair, vec![SeccompRule::new(pair)?]);
    // The second filter, for all threads.
    let filter = i64::from(libc::SECCOMP_SET_MODE_FILTER);
    let second = vec![equals(0, filter)?, equals(1, libc::SECCOMP_FILTER_FLAG_TSYNC as i64)?];
    rules.insert(libc::SYS_seccomp, vec![SeccompRule::new(second)?]);
    Ok(rules)
}

/// Sockets for TCP, UDP, the version's own listener, and the names and numbers of interfaces, which
/// the resolver needs. The kernel's other protocols are left out: Landlock's rules for ports do not
/// cover them.
fn sockets() -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let mut sockets = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let protocols = [(libc::SOCK_STREAM, libc::IPPROTO_TCP), (libc::SOCK_DGRAM, libc::IPPROTO_UDP)];
        for (kind_of, protocol) in protocols {
            for protocol in [0, protocol] {
                let conditions = vec![equals(0, family.into())?, kind(kind_of)?, equals(2, protocol.into())?];
                sockets.push(SeccompRule::new(conditions)?);
            }
        }
    }
    sockets.push(SeccompRule::new(vec![equals(0, libc::AF_UNIX.into())?, kind(libc::SOCK_STREAM)?])?);
    let routes = vec![equals(0, libc::AF_NETLINK.into())?, equals(2, libc::NETLINK_ROUTE.into())?];
    sockets.push(SeccompRule::new(routes)?);
    Ok(sockets)
}

fn kind(of: libc::c_int) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(1, Dword, MaskedEq(SOCKET_KIND), of.unsigned_abs().into())
}

/// The flags of clone that no thread is made with.
const NO_THREAD_FLAGS: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_PTRACE
    | libc::CLONE_PIDFD) as u32 as u64;

/// Commands of fcntl for descriptors, their flags, and locks on files.
///
/// Left out are the owner of signals (`F_SETOWN`, `F_SETSIG`), which before Linux 6.12 may be any
/// process of the same user; leases (`F_SETLEASE`), which delay other processes that open the file;
/// and the size of pipes.
const FCNTL: [i64; 12] = [
    libc::F_DUPFD as i64,
    libc::F_DUPFD_CLOEXEC as i64,
    libc::F_GETFD as i64,
    libc::F_SETFD as i64,
    libc::F_GETFL as i64,
    libc::F_SETFL as i64,
    libc::F_GETLK as i64,
    libc::F_SETLK as i64,
    libc::F_SETLKW as i64,
    libc::F_OFD_GETLK as i64,
    libc::F_OFD_SETLK as i64,
    libc::F_OFD_SETLKW as i64,
];

/// Options of prctl for names of threads and of memory, and those that the second filter needs.
const PRCTL: [i64; 6] = [
    libc::PR_SET_NAME as i64,
    libc::PR_GET_NAME as i64,
    libc::PR_GET_SECCOMP as i64,
    libc::PR_SET_NO_NEW_PRIVS as i64,
    libc::PR_GET_DUMPABLE as i64,
    libc::PR_SET_VMA as i64,
];

/// Options of prctl for attributes that the kernel resets when a process changes its user. The
/// second filter refuses them too.
pub(super) const PRCTL_SETTING_UP: [i64; 2] = [libc::PR_SET_DUMPABLE as i64, libc::PR_SET_PDEATHSIG as i64];

/// Requests of ioctl for sockets, pipes and terminals, and for a copy that shares its blocks
/// (FICLONE).
const IOCTL: [i64; 7] = [
    libc::FIONREAD as i64,
    libc::FIONBIO as i64,
    libc::FIOCLEX as i64,
    libc::FIONCLEX as i64,
    libc::TCGETS as i64,
    libc::TIOCGWINSZ as i64,
    0x4004_9409,
];
