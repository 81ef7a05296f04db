//! One rule set for all threads. Kernels before 7.0 restrict the calling thread alone, and V8 has started others by now:
//! each is interrupted by a signal, and restricts itself in its handler.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libc::c_int;

/// A thread answers a signal within microseconds.
const PATIENCE: Duration = Duration::from_secs(2);

static RULES: AtomicI32 = AtomicI32::new(-1);
static DONE: AtomicUsize = AtomicUsize::new(0);
static REFUSED: AtomicUsize = AtomicUsize::new(0);

pub(super) fn restrict(rules: &OwnedFd) -> Result<()> {
    RULES.store(rules.as_raw_fd(), Ordering::SeqCst);
    let others = others()?;
    // The C library keeps the first few of these for itself.
    let signal = libc::SIGRTMAX() - 1;
    let before = handle(signal, restrict_this as extern "C" fn(c_int) as libc::sighandler_t)?;
    for thread in &others {
        tell(*thread, signal)?;
    }
    let told = Instant::now();
    while DONE.load(Ordering::SeqCst) < others.len() {
        ensure!(told.elapsed() < PATIENCE, "a thread does not answer");
        std::thread::yield_now();
    }
    handle(signal, before)?;
    restrict_this(signal);
    ensure!(REFUSED.load(Ordering::SeqCst) == 0, "the kernel refuses its own rules");
    Ok(())
}

/// Nothing in it but a system call and two atomics: it may interrupt anything.
extern "C" fn restrict_this(_signal: c_int) {
    // SAFETY: the descriptor is open until all threads are done; errno is put back for whom this interrupts.
    #[expect(unsafe_code, reason = "libc calls in a signal handler")]
    unsafe {
        let errno = *libc::__errno_location();
        if libc::syscall(libc::SYS_landlock_restrict_self, RULES.load(Ordering::SeqCst), 0) != 0 {
            REFUSED.fetch_add(1, Ordering::SeqCst);
        }
        *libc::__errno_location() = errno;
    }
    DONE.fetch_add(1, Ordering::SeqCst);
}

fn others() -> Result<Vec<c_int>> {
    // SAFETY: tells a number.
    #[expect(unsafe_code, reason = "libc call")]
    let own = unsafe { libc::gettid() };
    let mut threads = Vec::new();
    for entry in std::fs::read_dir("/proc/self/task")? {
        let thread = entry?.file_name().to_str().and_then(|name| name.parse::<c_int>().ok());
        threads.extend(thread.filter(|id| *id != own));
    }
    Ok(threads)
}

fn tell(thread: c_int, signal: c_int) -> io::Result<()> {
    // SAFETY: a signal to a thread of this process, which handles it.
    #[expect(unsafe_code, reason = "libc call")]
    let told = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal) };
    if told == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Returns what handled it before.
fn handle(signal: c_int, handler: libc::sighandler_t) -> io::Result<libc::sighandler_t> {
    // SAFETY: both structures are live, and the handler is a function of the right type or one that the system gave.
    #[expect(unsafe_code, reason = "libc calls")]
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let mut before: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_RESTART;
        if libc::sigaction(signal, &action, &mut before) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(before.sa_sigaction)
    }
}
