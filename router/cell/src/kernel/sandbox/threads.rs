//! A change for all threads. The kernel changes the user, the capabilities and (before 7.0)
//! Landlock's rules of the calling thread alone, and V8 has started others by now: a signal
//! interrupts each of them, and its handler makes the change.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use libc::c_int;

use super::identity::IdentityChange;

/// The longest wait for all threads. Each answers a signal within microseconds.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// A change that each thread makes to itself.
pub(super) enum ThreadChange {
    /// Another user, fewer capabilities.
    Become(IdentityChange),
    /// Landlock's rules.
    Restrict(OwnedFd),
}

static CHANGE: AtomicPtr<ThreadChange> = AtomicPtr::new(ptr::null_mut());
static DONE: AtomicUsize = AtomicUsize::new(0);
static REFUSED: AtomicUsize = AtomicUsize::new(0);

/// Makes a change on all threads, permanently. Must be called on the main thread.
///
/// # Errors
/// A thread does not answer, the kernel refuses the change, or a thread was started meanwhile.
pub(super) fn apply(change: &ThreadChange) -> Result<()> {
    CHANGE.store(ptr::from_ref(change).cast_mut(), Ordering::SeqCst);
    DONE.store(0, Ordering::SeqCst);
    let others = others()?;
    // The C library reserves the first few real-time signals.
    let signal = libc::SIGRTMAX() - 1;
    let before = handle(signal, apply_here as extern "C" fn(c_int) as libc::sighandler_t)?;
    for thread in &others {
        signal_thread(*thread, signal)?;
    }
    let since = Instant::now();
    while DONE.load(Ordering::SeqCst) < others.len() {
        if since.elapsed() > MAX_WAIT {
            CHANGE.store(ptr::null_mut(), Ordering::SeqCst);
            bail!("a thread does not answer");
        }
        std::thread::yield_now();
    }
    handle(signal, before)?;
    apply_here(signal);
    CHANGE.store(ptr::null_mut(), Ordering::SeqCst);
    ensure!(REFUSED.load(Ordering::SeqCst) == 0, "the kernel refuses it");
    ensure!(self::others()?.is_subset(&others), "a thread was started meanwhile");
    Ok(())
}

/// Makes the change on the calling thread. Uses only system calls and atomics, as it may interrupt
/// any code.
extern "C" fn apply_here(_signal: c_int) {
    // SAFETY: the pointer is null, or to a value that `apply` borrows until all threads are done;
    // errno is restored for the interrupted code.
    #[expect(unsafe_code, reason = "libc calls in a signal handler")]
    unsafe {
        let errno = *libc::__errno_location();
        let is_made = match CHANGE.load(Ordering::SeqCst).as_ref() {
            Some(ThreadChange::Become(change)) => change.apply(),
            Some(ThreadChange::Restrict(rules)) => restrict(rules),
            None => false,
        };
        if !is_made {
            REFUSED.fetch_add(1, Ordering::SeqCst);
        }
        *libc::__errno_location() = errno;
    }
    DONE.fetch_add(1, Ordering::SeqCst);
}

fn restrict(rules: &OwnedFd) -> bool {
    // SAFETY: the descriptor is open, and no flags are set.
    #[expect(unsafe_code, reason = "libc call")]
    unsafe {
        libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) == 0
    }
}

fn others() -> Result<BTreeSet<c_int>> {
    // SAFETY: returns a number.
    #[expect(unsafe_code, reason = "libc call")]
    let own = unsafe { libc::gettid() };
    let mut threads = BTreeSet::new();
    for entry in std::fs::read_dir("/proc/self/task")? {
        let thread = entry?.file_name().to_str().and_then(|name| name.parse::<c_int>().ok());
        threads.extend(thread.filter(|id| *id != own));
    }
    Ok(threads)
}

fn signal_thread(thread: c_int, signal: c_int) -> io::Result<()> {
    // SAFETY: a signal to a thread of this process, which handles it.
    #[expect(unsafe_code, reason = "libc call")]
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal) };
    if sent == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets the handler of a signal. Returns the previous one.
fn handle(signal: c_int, handler: libc::sighandler_t) -> io::Result<libc::sighandler_t> {
    // SAFETY: both structures are live, and the handler is a function of the right type or one that
    // the system gave.
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
