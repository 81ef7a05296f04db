//! The start of a cell's process: the control socket is taken off descriptor 0, the process ends
//! with the router, dumps no core, gains no privileges, and its allocator keeps little.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::os::unix::net::UnixStream;

use switchyard_protocol::LOW_NICE;

use super::sandbox;

/// Prepares the process and returns the control socket, its standard input. Must be called before
/// any other thread exists.
///
/// # Errors
/// The kernel refuses a setting of the process.
pub(crate) fn prepare(has_low_priority: bool) -> anyhow::Result<UnixStream> {
    close_inherited()?;
    let control = take_stdin()?;
    let has_own_session = leave_terminal();
    if has_low_priority {
        lower_priority(has_own_session);
    }
    isolate()?;
    disable_core_dumps()?;
    let_router_finish();
    allocate_from_one_arena();
    explain_failed_allocations();
    sandbox::reduce_capabilities()?;
    sandbox::forbid_calls()?;
    Ok(control)
}

/// Prepares a process that fetches packages: like a cell, but without a control socket, and with
/// files that cells of another user may read.
///
/// # Errors
/// The kernel refuses a setting of the process.
pub(crate) fn prepare_install() -> anyhow::Result<()> {
    close_inherited()?;
    leave_terminal();
    isolate()?;
    // SAFETY: changes a number of this process.
    #[expect(unsafe_code, reason = "libc call")]
    unsafe {
        libc::umask(0o022);
    }
    disable_core_dumps()?;
    sandbox::reduce_capabilities()?;
    sandbox::forbid_calls()
}

/// Replaces the whole environment. Must be called while no other thread reads it.
pub(crate) fn set_environment<'a>(variables: impl Iterator<Item = (&'a str, Cow<'a, str>)>) {
    let inherited: Vec<_> = std::env::vars_os().map(|(name, _)| name).collect();
    // SAFETY: no other thread reads it, as the caller promises.
    #[expect(unsafe_code, reason = "no thread reads the environment yet")]
    unsafe {
        for name in inherited {
            std::env::remove_var(name);
        }
        for (name, value) in variables {
            std::env::set_var(name, &*value);
        }
    }
}

/// Returns free memory of the allocator to the system.
pub(crate) fn trim_memory() {
    // SAFETY: malloc_trim may be called at any time.
    #[expect(unsafe_code, reason = "libc call")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Ends the process immediately, without destructors and exit handlers.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes no memory and does not return.
    #[expect(unsafe_code, reason = "libc call")]
    unsafe {
        libc::_exit(code)
    }
}

/// Closes descriptors that the router has inherited and passed on, such as a lock of the shell that
/// started it.
fn close_inherited() -> io::Result<()> {
    // SAFETY: nothing has been opened by this process yet.
    #[expect(unsafe_code, reason = "libc call")]
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    // Linux before 5.9 has no such call.
    let is_missing = || io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS);
    if result == 0 || is_missing() { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes the control socket off descriptor 0, which becomes /dev/null, so that the project can
/// neither use the socket nor pass it on.
fn take_stdin() -> io::Result<UnixStream> {
    let null = File::open("/dev/null")?;
    // SAFETY: all three calls use descriptors of this function, before any other thread exists.
    #[expect(unsafe_code, reason = "libc calls on descriptors")]
    let control = unsafe {
        let fd = libc::fcntl(libc::STDIN_FILENO, libc::F_DUPFD_CLOEXEC, 3);
        if fd < 0 || libc::dup2(null.as_raw_fd(), libc::STDIN_FILENO) < 0 {
            return Err(io::Error::last_os_error());
        }
        UnixStream::from_raw_fd(fd)
    };
    // The router may have made both ends of the pair non-blocking.
    control.set_nonblocking(false)?;
    Ok(control)
}

/// Leaves the router's terminal, so that Ctrl-C reaches the router alone. Returns true if the process
/// has a session of its own now: one that leads a group already gets none, and needs none.
fn leave_terminal() -> bool {
    // SAFETY: changes the session of this process.
    #[expect(unsafe_code, reason = "libc call")]
    unsafe {
        libc::setsid() >= 0
    }
}

/// Gives way to processes that serve, for the rest of the process's life. Must be called before other
/// threads exist, and while the process may write its own files in `/proc`. If it is not allowed,
/// nothing changes.
fn lower_priority(has_own_session: bool) {
    // SAFETY: changes a number of this thread, which later threads inherit.
    #[expect(unsafe_code, reason = "libc call")]
    unsafe {
        libc::nice(LOW_NICE);
    }
    // Many kernels share processors between sessions first, and the number counts within one.
    if has_own_session {
        let _ = std::fs::write("/proc/self/autogroup", LOW_NICE.to_string());
    }
}

/// Makes the process end with the router, gain no privileges and be closed to other processes of
/// the same user. The end of a router that ended earlier shows as the end of the control socket.
fn isolate() -> io::Result<()> {
    // SAFETY: these calls change flags of this process only.
    #[expect(unsafe_code, reason = "libc calls")]
    let result = unsafe {
        libc::umask(0o077);
        // A file that grows beyond its limit fails the write and does not end the process.
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong, 0, 0, 0)
            | libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1 as libc::c_ulong, 0, 0, 0)
            | libc::prctl(libc::PR_SET_DUMPABLE, 0 as libc::c_ulong, 0, 0, 0)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Keeps a request from preempting the router on its processor (SCHED_BATCH): the router forwards
/// all that it has, and the cell then answers in one go. On 2 busy cores this halves the cell's
/// cost of a small request; an idle processor wakes the cell as fast as before. If it is not
/// allowed, nothing changes.
fn let_router_finish() {
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: the pointer is to a live value of the right type.
    #[expect(unsafe_code, reason = "libc call")]
    unsafe {
        libc::sched_setscheduler(0, libc::SCHED_BATCH, &param);
    }
}

fn disable_core_dumps() -> io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live value of the right type.
    #[expect(unsafe_code, reason = "libc call")]
    let result = unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Prints a message when an allocation in V8's C++ fails, which otherwise aborts silently. The
/// router recognizes the text, which is that of Rust's allocator.
fn explain_failed_allocations() {
    #[expect(unsafe_code, reason = "C++'s library")]
    unsafe extern "C" {
        #[link_name = "_ZSt15set_new_handlerPFvvE"]
        fn set_new_handler(handler: extern "C" fn()) -> Option<extern "C" fn()>;
    }
    // SAFETY: `std::set_new_handler`; the handler is a function that does not return.
    #[expect(unsafe_code, reason = "C++'s library")]
    unsafe {
        set_new_handler(abort_out_of_memory);
    }
}

extern "C" fn abort_out_of_memory() {
    let _ = io::stderr().write_all(b"memory allocation of a part of V8 failed\n");
    std::process::abort()
}

/// Limits the allocator to one arena: one JavaScript thread does nearly all the work, and arenas of
/// other threads would only hold memory.
fn allocate_from_one_arena() {
    // SAFETY: called before any other thread exists.
    #[expect(unsafe_code, reason = "libc call")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
