//! What makes a process a cell: the control socket taken off fd 0, death with the router, no core dumps, no new
//! privileges, and an allocator that keeps little.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::os::unix::net::UnixStream;

use crate::sandbox;

/// Prepares the process and returns the control socket that it was started with as its standard input. To be called
/// before any other thread exists.
pub(crate) fn prepare() -> anyhow::Result<UnixStream> {
    close_inherited()?;
    let control = take_stdin()?;
    stand_alone()?;
    no_core_dumps()?;
    let_the_router_finish();
    allocate_from_one_arena();
    explain_failed_allocations();
    sandbox::reduce_capabilities()?;
    sandbox::forbid_calls()?;
    Ok(control)
}

/// Prepares a process that fetches packages: as a cell, but that it has no control socket, and that cells of another user
/// may read what it makes.
pub(crate) fn prepare_install() -> anyhow::Result<()> {
    close_inherited()?;
    stand_alone()?;
    // SAFETY: changes a number of this process.
    #[expect(unsafe_code, reason = "libc call")]
    unsafe {
        libc::umask(0o022);
    }
    no_core_dumps()?;
    sandbox::reduce_capabilities()?;
    sandbox::forbid_calls()
}

/// What the process was started with goes: this is its environment from now on. To be called while no other thread looks
/// at it.
pub(crate) fn set_environment<'a>(given: impl Iterator<Item = (&'a str, Cow<'a, str>)>) {
    let inherited: Vec<_> = std::env::vars_os().map(|(name, _)| name).collect();
    // SAFETY: nobody else looks, as the caller promises.
    #[expect(unsafe_code, reason = "no thread reads the environment yet")]
    unsafe {
        for name in inherited {
            std::env::remove_var(name);
        }
        for (name, value) in given {
            std::env::set_var(name, &*value);
        }
    }
}

/// Gives memory that the load left free back to the system.
pub(crate) fn trim_memory() {
    // SAFETY: malloc_trim may be called at any time.
    #[expect(unsafe_code, reason = "libc call")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Ends the process here and now: no destructor, no exit handler, whatever the other threads do.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes no memory and does not return.
    #[expect(unsafe_code, reason = "libc call")]
    unsafe {
        libc::_exit(code)
    }
}

/// Closes what the router has inherited and handed on, such as a lock of the shell that started it: none of it is for a
/// project.
fn close_inherited() -> io::Result<()> {
    // SAFETY: nothing has been opened by this process yet.
    #[expect(unsafe_code, reason = "libc call")]
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    // Before Linux 5.9 there is no such call.
    let is_missing = || io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS);
    if result == 0 || is_missing() { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Fd 0 becomes /dev/null, so that the project cannot talk on the control socket, nor hand it to anyone.
fn take_stdin() -> io::Result<UnixStream> {
    let null = File::open("/dev/null")?;
    // SAFETY: all three calls work on descriptors that this function owns, before any other thread exists.
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

/// Dies with the router (one that died before this is seen as the end of the control socket), gains no privileges,
/// cannot be looked into by another process of the same user, and does not hear what is typed at the router's terminal: Ctrl-C is the router's to handle.
fn stand_alone() -> io::Result<()> {
    // SAFETY: these calls change flags of this process only.
    #[expect(unsafe_code, reason = "libc calls")]
    let result = unsafe {
        libc::umask(0o077);
        // A file that grows beyond its bound is an error of that write, and not the end.
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        // Fails in a process that leads a group already: then it has been done.
        libc::setsid();
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong, 0, 0, 0)
            | libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1 as libc::c_ulong, 0, 0, 0)
            | libc::prctl(libc::PR_SET_DUMPABLE, 0 as libc::c_ulong, 0, 0, 0)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A request does not push the router off its processor in the middle of its work (SCHED_BATCH): the router hands out
/// all that it has, and the cell then answers it in one go. On 2 full cores this halves what a small request costs the
/// cell. On a processor that is idle the cell is woken as fast as ever. Where it is not allowed, all goes on as before.
fn let_the_router_finish() {
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: the pointer is to a live value of the right type.
    #[expect(unsafe_code, reason = "libc call")]
    unsafe {
        libc::sched_setscheduler(0, libc::SCHED_BATCH, &param);
    }
}

fn no_core_dumps() -> io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live value of the right type.
    #[expect(unsafe_code, reason = "libc call")]
    let result = unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What V8's C++ does when an allocation fails is to abort without a word. Now it says why, in the words of Rust's
/// allocator, by which the router knows it.
fn explain_failed_allocations() {
    #[expect(unsafe_code, reason = "C++'s library")]
    unsafe extern "C" {
        #[link_name = "_ZSt15set_new_handlerPFvvE"]
        fn set_new_handler(handler: extern "C" fn()) -> Option<extern "C" fn()>;
    }
    // SAFETY: `std::set_new_handler`; the handler is a function that does not return.
    #[expect(unsafe_code, reason = "C++'s library")]
    unsafe {
        set_new_handler(give_up);
    }
}

extern "C" fn give_up() {
    let _ = io::stderr().write_all(b"memory allocation of a part of V8 failed\n");
    std::process::abort()
}

/// One JavaScript thread does nearly all the work: an arena for each of the others would only hold memory.
fn allocate_from_one_arena() {
    // SAFETY: called before any other thread exists.
    #[expect(unsafe_code, reason = "libc call")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
