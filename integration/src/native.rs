//! System calls made inside a live process, as native code that had taken it over would make them:
//! by ptrace, for root.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::ptr;
use std::time::{Duration, Instant};

use libc::{c_int, c_long, pid_t, user_regs_struct};

/// The time limit for a process to stop, or for a call to return.
const DEADLINE: Duration = Duration::from_secs(10);

/// The instruction that enters the kernel.
const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// The bit of stops at a call's entry and exit (`PTRACE_O_TRACESYSGOOD`).
const AT_CALL: c_int = libc::SIGTRAP | 0x80;

/// Codes of the kernel for a call that has to be restarted (linux/errno.h): ERESTARTSYS,
/// ERESTARTNOINTR, ERESTARTNOHAND, and ERESTART_RESTARTBLOCK, which has a call of its own.
const AGAIN: [i64; 3] = [-512, -513, -514];
const AGAIN_LATER: i64 = -516;

/// Returns true if this test may trace processes.
pub fn is_possible() -> bool {
    rustix::process::geteuid().is_root()
}

/// Makes one system call on the main thread of `pid`, and returns what the kernel answered: a
/// negative number is an error's.
///
/// # Panics
/// When the process cannot be traced, ends meanwhile, or the call does not return within ten
/// seconds.
pub fn call(pid: u32, number: c_long, arguments: [u64; 6]) -> i64 {
    let traced = Traced::stop(pid);
    let before = traced.registers();
    let mut registers = before;
    registers.rip = entrance(pid);
    registers.rax = number as u64;
    // The call that was interrupted is not made again now.
    registers.orig_rax = u64::MAX;
    let [rdi, rsi, rdx, r10, r8, r9] = arguments;
    (registers.rdi, registers.rsi, registers.rdx) = (rdi, rsi, rdx);
    (registers.r10, registers.r8, registers.r9) = (r10, r8, r9);
    traced.set_registers(&registers);
    traced.run_to_call();
    traced.run_to_call();
    let answer = traced.registers().rax;
    traced.set_registers(&resumed(before));
    answer as i64
}

/// Writes bytes to new memory of `pid`, which keeps it, and returns their address. At most a few
/// pages.
///
/// # Panics
/// As [`call`], or the process gets no memory.
pub fn put(pid: u32, bytes: &[u8]) -> u64 {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let arguments = [0, bytes.len().max(1) as u64, access as u64, kind as u64, u64::MAX, 0];
    let address = call(pid, libc::SYS_mmap, arguments);
    let address = u64::try_from(address).expect("a process gets memory");
    memory(pid).write_all_at(bytes, address).expect("new memory can be written");
    address
}

/// Reads memory of `pid`.
///
/// # Panics
/// When it is not readable.
pub fn get(pid: u32, address: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    memory(pid).read_exact_at(&mut bytes, address).expect("memory can be read");
    bytes
}

fn memory(pid: u32) -> File {
    let path = PathBuf::from(format!("/proc/{pid}/mem"));
    File::options().read(true).write(true).open(path).expect("a process' memory can be opened")
}

/// Returns the address of a system call instruction in the kernel's code page (vDSO).
fn entrance(pid: u32) -> u64 {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("a process has memory");
    let line = maps.lines().find(|line| line.ends_with("[vdso]")).expect("a process has a vDSO");
    let (start, rest) = line.split_once('-').expect("a map has a start");
    let end = rest.split(' ').next().unwrap_or_default();
    let parsed = |number| u64::from_str_radix(number, 16).expect("an address is a number");
    let (start, end) = (parsed(start), parsed(end));
    let code = get(pid, start, usize::try_from(end - start).expect("a vDSO is small"));
    let at = code.windows(2).position(|bytes| bytes == SYSCALL).expect("a vDSO makes calls");
    start + at as u64
}

/// With the call that was interrupted made again, as the kernel would have had it.
fn resumed(mut registers: user_regs_struct) -> user_regs_struct {
    if registers.orig_rax as i64 >= 0 {
        let answer = registers.rax as i64;
        if AGAIN.contains(&answer) {
            registers.rax = registers.orig_rax;
            registers.rip -= 2;
        } else if answer == AGAIN_LATER {
            registers.rax = libc::SYS_restart_syscall as u64;
            registers.rip -= 2;
        }
    }
    registers.orig_rax = u64::MAX;
    registers
}

/// A stopped thread. Dropping it resumes the thread.
struct Traced(pid_t);

impl Traced {
    fn stop(pid: u32) -> Self {
        let pid = pid_t::try_from(pid).expect("a process has a small number");
        request(libc::PTRACE_SEIZE, pid, libc::PTRACE_O_TRACESYSGOOD as u64).expect("root can trace");
        let this = Self(pid);
        request(libc::PTRACE_INTERRUPT, pid, 0).expect("a traced thread can be stopped");
        this.wait();
        this
    }

    /// Runs until the entry or the exit of a system call. A signal that comes meanwhile is dropped.
    fn run_to_call(&self) {
        loop {
            request(libc::PTRACE_SYSCALL, self.0, 0).expect("a stopped thread can continue");
            if self.wait() == AT_CALL {
                return;
            }
        }
    }

    /// Waits until the thread has stopped, and returns the signal.
    fn wait(&self) -> c_int {
        let began = Instant::now();
        loop {
            let mut status = 0;
            // SAFETY: the pointer is to a live value.
            #[expect(unsafe_code, reason = "libc call")]
            let stopped = unsafe { libc::waitpid(self.0, &mut status, libc::__WALL | libc::WNOHANG) };
            if stopped == self.0 {
                assert!(libc::WIFSTOPPED(status), "the process has ended: {status:#x}");
                return libc::WSTOPSIG(status);
            }
            assert!(stopped == 0 && began.elapsed() < DEADLINE, "the process does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn registers(&self) -> user_regs_struct {
        // SAFETY: all zeroes is a value of it.
        #[expect(unsafe_code, reason = "a structure of numbers")]
        let mut registers: user_regs_struct = unsafe { std::mem::zeroed() };
        request(libc::PTRACE_GETREGS, self.0, &raw mut registers as u64).expect("it stands still");
        registers
    }

    fn set_registers(&self, registers: &user_regs_struct) {
        request(libc::PTRACE_SETREGS, self.0, ptr::from_ref(registers) as u64).expect("it stands still");
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let _ = request(libc::PTRACE_DETACH, self.0, 0);
    }
}

fn request(what: libc::c_uint, pid: pid_t, data: u64) -> io::Result<()> {
    // SAFETY: every pointer argument points to a live value of its type.
    #[expect(unsafe_code, reason = "libc call")]
    let answer = unsafe { libc::ptrace(what, pid, 0_u64, data) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
