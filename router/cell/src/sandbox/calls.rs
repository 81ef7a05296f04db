//! The system calls of a cell. What is not listed does not exist for it (ENOSYS): no program is started, no process but
//! its own is signalled or looked at, nothing is mounted, traced, loaded into the kernel or asked of it through io_uring.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use libc::c_long;
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule};

use super::explained;

/// Allowed whatever the arguments are.
const PLAIN: &[c_long] = &[
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
    // What it is.
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getgroups,
    libc::SYS_getpgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getpriority,
    libc::SYS_getrandom,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_getrusage,
    libc::SYS_getsid,
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
    libc::SYS_fcntl,
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
    // Files: which of them is Landlock's to say.
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
    // The walls that are still to come only make it less.
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_restrict_self,
    libc::SYS_seccomp,
];

/// Allowed until the process has its user: see [`seal`].
const UNTIL_ASSIGNED: &[c_long] =
    &[libc::SYS_capset, libc::SYS_setgroups, libc::SYS_setresgid, libc::SYS_setresuid];

/// The same, as options of `prctl`: what the kernel resets with the user.
const PRCTL_UNTIL_ASSIGNED: [i64; 2] = [libc::PR_SET_DUMPABLE as i64, libc::PR_SET_PDEATHSIG as i64];

/// Names of an older time for the same things.
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

/// Whether this process has a filter.
static IS_FILTERED: AtomicBool = AtomicBool::new(false);

/// From here on, and for good.
pub(super) fn forbid() -> Result<()> {
    let program = program().map_err(|error| explained("make a filter", error))?;
    if exist() {
        seccompiler::apply_filter(&program).map_err(|error| explained("apply a filter", error))?;
        IS_FILTERED.store(true, Ordering::SeqCst);
    }
    // Else the router has said so at its start.
    Ok(())
}

/// Takes away, on all threads and for good, what was needed to become another user.
pub(super) fn seal() -> Result<()> {
    if !IS_FILTERED.load(Ordering::SeqCst) {
        return Ok(());
    }
    let program = seal_program().map_err(|error| explained("make a second filter", error))?;
    seccompiler::apply_filter_all_threads(&program).map_err(|error| explained("apply a second filter", error))
}

fn seal_program() -> Result<BpfProgram, seccompiler::BackendError> {
    let none = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into()?;
    let mut rules: Rules = UNTIL_ASSIGNED.iter().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_prctl, any_of(0, &PRCTL_UNTIL_ASSIGNED)?);
    SeccompFilter::new(rules, SeccompAction::Allow, none, arch)?.try_into()
}

/// Whether this kernel takes filters.
pub(super) fn exist() -> bool {
    // SAFETY: asks, and changes nothing.
    #[expect(unsafe_code, reason = "libc call")]
    unsafe {
        libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) >= 0
    }
}

fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    let none = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules()?, none, SeccompAction::Allow, arch)?.try_into()
}

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

fn rules() -> Result<Rules, seccompiler::BackendError> {
    let plain = PLAIN.iter().chain(OLDER).chain(UNTIL_ASSIGNED);
    let mut rules: Rules = plain.map(|call| (*call, Vec::new())).collect();
    let arg = |index, length, op, value| SeccompCondition::new(index, length, op, value);
    let is = |index, value: i64| arg(index, Dword, Eq, u64::from(value as u32));
    let own = i64::from(std::process::id());

    // clone3 has its flags in memory, where no filter sees them: without it, threads are made by clone.
    let thread = libc::CLONE_THREAD as u64;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![arg(0, Qword, MaskedEq(thread), thread)?])?]);
    for call in [libc::SYS_kill, libc::SYS_tgkill, libc::SYS_rt_sigqueueinfo, libc::SYS_rt_tgsigqueueinfo] {
        rules.insert(call, vec![SeccompRule::new(vec![is(0, own)?])?]);
    }
    // Its own limits, which only come down.
    rules.insert(libc::SYS_prlimit64, any_of(0, &[0, own])?);
    rules.insert(libc::SYS_prctl, any_of(0, &[&PRCTL[..], &PRCTL_UNTIL_ASSIGNED].concat())?);
    rules.insert(libc::SYS_ioctl, any_of(1, &IOCTL)?);

    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];
    let kinds = [libc::SOCK_STREAM, libc::SOCK_DGRAM];
    let mut sockets = Vec::new();
    for (family, kind) in families.into_iter().flat_map(|family| kinds.map(|kind| (family, kind))) {
        let kind = arg(1, Dword, MaskedEq(SOCKET_KIND), kind.unsigned_abs().into())?;
        sockets.push(SeccompRule::new(vec![is(0, family.into())?, kind])?);
    }
    // The names and numbers of interfaces, which the resolver asks for.
    let routes = vec![is(0, libc::AF_NETLINK.into())?, is(2, libc::NETLINK_ROUTE.into())?];
    sockets.push(SeccompRule::new(routes)?);
    rules.insert(libc::SYS_socket, sockets);
    rules.insert(libc::SYS_socketpair, any_of(0, &[libc::AF_UNIX.into()])?);
    Ok(rules)
}

/// Names of threads and of memory, and what Landlock asks for once more.
const PRCTL: [i64; 5] = [
    libc::PR_SET_NAME as i64,
    libc::PR_GET_NAME as i64,
    libc::PR_SET_NO_NEW_PRIVS as i64,
    libc::PR_GET_DUMPABLE as i64,
    libc::PR_SET_VMA as i64,
];

/// Of sockets, pipes and what may be a terminal; and a copy that shares its blocks (FICLONE).
const IOCTL: [i64; 7] = [
    libc::FIONREAD as i64,
    libc::FIONBIO as i64,
    libc::FIOCLEX as i64,
    libc::FIONCLEX as i64,
    libc::TCGETS as i64,
    libc::TIOCGWINSZ as i64,
    0x4004_9409,
];

fn any_of(index: u8, values: &[i64]) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let rule = |value: &i64| {
        let condition = SeccompCondition::new(index, Dword, Eq, u64::from(*value as u32))?;
        SeccompRule::new(vec![condition])
    };
    values.iter().map(rule).collect()
}
