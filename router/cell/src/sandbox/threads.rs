//! One change for all threads. The kernel changes the user, the capabilities and (before 7.0) the rules of the calling
//! thread alone, and V8 has started others by now: each is interrupted by a signal, and changes itself in its handler.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use libc::c_int;

use super::identity::Change;

/// A thread answers a signal within microseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// A change that each thread makes to itself.
pub(super) enum Step {
    /// Another user, fewer capabilities.
    Become(Change),
    /// Landlock's rules.
    Restrict(OwnedFd),
}

static STEP: AtomicPtr<Step> = AtomicPtr::new(ptr::null_mut());
static DONE: AtomicUsize = AtomicUsize::new(0);
static REFUSED: AtomicUsize = AtomicUsize::new(0);

/// Has all threads make a change, for good. To be called on the main thread alone.
///
/// # Errors
/// A thread does not answer, the kernel refuses, or there is a thread that was started meanwhile.
pub(super) fn change(step: &Step) -> Result<()> {
    STEP.store(ptr::from_ref(step).cast_mut(), Ordering::SeqCst);
    DONE.store(0, Ordering::SeqCst);
    let others = others()?;
    // The C library keeps the first few of these for itself.
    let signal = libc::SIGRTMAX() - 1;
    let before = handle(signal, change_this as extern "C" fn(c_int) as libc::sighandler_t)?;
    for thread in &others {
        tell(*thread, signal)?;
    }
    let told = Instant::now();
    while DONE.load(Ordering::SeqCst) < others.len() {
        if told.elapsed() > PATIENCE {
            STEP.store(ptr::null_mut(), Ordering::SeqCst);
            bail!("a thread does not answer");
        }
        std::thread::yield_now();
    }
    handle(signal, before)?;
    change_this(signal);
    STEP.store(ptr::null_mut(), Ordering::SeqCst);
    ensure!(REFUSED.load(Ordering::SeqCst) == 0, "the kernel refuses it");
    ensure!(self::others()?.is_subset(&others), "a thread was started meanwhile");
    Ok(())
}

/// Nothing in it but system calls and atomics: it may interrupt anything.
extern "C" fn change_this(_signal: c_int) {
    // SAFETY: the pointer is null, or to what `change` borrows until all threads are done; errno is put back for whom
    // this interrupts.
    #[expect(unsafe_code, reason = "libc calls in a signal handler")]
    unsafe {
        let errno = *libc::__errno_location();
        let is_made = match STEP.load(Ordering::SeqCst).as_ref() {
            Some(Step::Become(change)) => change.make(),
            Some(Step::Restrict(rules)) => restrict(rules),
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
    // SAFETY: the descriptor is open, and the flags are none.
    #[expect(unsafe_code, reason = "libc call")]
    unsafe {
        libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) == 0
    }
}

fn others() -> Result<BTreeSet<c_int>> {
    // SAFETY: tells a number.
    #[expect(unsafe_code, reason = "libc call")]
    let own = unsafe { libc::gettid() };
    let mut threads = BTreeSet::new();
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
