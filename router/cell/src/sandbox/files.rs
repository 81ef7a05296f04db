//! The files, folders and ports of a cell.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context as _, Result};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, PathBeneath, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, Scope,
};
use switchyard_protocol::{Install, Start};

/// The newest that is known here: what a kernel does not have is left out.
const KNOWN: ABI = ABI::V7;

/// What the C library reads to find names, times and its own parts, and what the runtime reads of itself and of the
/// machine. Where one is missing there is nothing to allow.
const SYSTEM: &[&str] = &[
    "/dev/random",
    "/dev/urandom",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/timezone",
    "/lib",
    "/lib64",
    "/proc/cpuinfo",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/self",
    "/proc/stat",
    "/proc/uptime",
    "/run/systemd/resolve",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/usr/lib",
    "/usr/share/zoneinfo",
];

/// What is allowed in /proc, held open for good. A rule is for an inode, and of a name in /proc that nobody holds the kernel
/// makes another one when it has run short of memory for a moment: from then on it would be refused.
static PROC: OnceLock<Vec<File>> = OnceLock::new();

/// A link that a project can set must not lead the rules elsewhere.
const EXACTLY: u64 = libc::RESOLVE_NO_SYMLINKS;

/// What the kernel understands, 0 for none of it.
pub(super) fn abi() -> i32 {
    // SAFETY: with this flag the call only tells a number.
    #[expect(unsafe_code, reason = "libc call")]
    let abi =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, 1_u32) };
    i32::try_from(abi).unwrap_or(0).max(0)
}

/// One that is missing is not allowed either.
fn hold(path: &&str) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_PATH).open(path)
}

fn looks() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::ReadDir
}

/// No sockets, devices or pipes, and nothing is executed.
fn changes() -> BitFlags<AccessFs> {
    looks()
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::MakeSym
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer
}

/// The files of one folder, which gets no folders and no links.
fn keeps() -> BitFlags<AccessFs> {
    looks() | AccessFs::WriteFile | AccessFs::MakeReg | AccessFs::RemoveFile
}

/// What every version may touch: made while there is time, before the version is known.
/// None where the kernel has no such rules.
pub(crate) struct Rules(Option<RulesetCreated>);

impl Rules {
    pub(crate) fn prepare() -> Result<Self> {
        if abi() == 0 {
            return Ok(Self(None));
        }
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(KNOWN))?
            // No port is opened, whatever the code names: it is served on its socket.
            .handle_access(AccessNet::BindTcp)?
            // Nobody outside is signalled, or reached by a socket without a file.
            .scope(Scope::from_all(KNOWN))?
            .create()?;
        PROC.get_or_init(|| SYSTEM.iter().filter(|path| path.starts_with("/proc/")).flat_map(hold).collect());
        for path in SYSTEM {
            rules = allow(rules, Path::new(path), 0, looks())?;
        }
        rules = allow(rules, Path::new("/dev/null"), 0, looks() | AccessFs::WriteFile)?;
        Ok(Self(Some(rules)))
    }

    /// With what `start` may touch.
    /// Returns `true` if this kernel has any.
    pub(crate) fn keep_files(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn of(self, start: &Start) -> Result<Option<OwnedFd>> {
        let Self(Some(mut rules)) = self else { return Ok(None) };
        let permissions = &start.permissions;
        let packages = || start.node_modules.iter().chain(start.other_node_modules.values());
        let read = [&start.root].into_iter().chain(packages()).chain(&start.packages);
        for path in read.chain(&permissions.read) {
            rules = allow(rules, path, EXACTLY, looks())?;
        }
        // A package without a package.json of its own is looked up in the project's: the one beside the packages.
        for project in packages().filter_map(|packages| packages.parent()) {
            rules = allow(rules, &project.join("package.json"), EXACTLY, looks())?;
        }
        for path in [&start.tmp, &start.data].into_iter().chain(&permissions.write) {
            rules = allow(rules, path, EXACTLY, changes())?;
        }
        if let Some(cache) = &start.cache {
            rules = allow(rules, &cache.dir, EXACTLY, keeps())?;
        }
        if let Some(dir) = start.socket.parent() {
            rules = allow(rules, dir, EXACTLY, AccessFs::MakeSock | AccessFs::RemoveFile)?;
        }
        Ok(rules.into())
    }

    /// With what `install` may touch.
    pub(super) fn of_install(self, install: &Install) -> Result<Option<OwnedFd>> {
        let Self(Some(mut rules)) = self else { return Ok(None) };
        let packages = install.node_modules.iter().chain(install.other_node_modules.values());
        for path in [&install.root].into_iter().chain(packages).chain(&install.lock) {
            rules = allow(rules, path, EXACTLY, looks())?;
        }
        rules = allow(rules, &install.folder, EXACTLY, changes())?;
        // The store that projects share has files only: whatever paths the names of packages lead to,
        // no folder of a package and no link is made in it.
        if let Some(downloads) = &install.downloads {
            rules = allow(rules, downloads, EXACTLY, keeps())?;
        }
        Ok(rules.into())
    }
}

/// A path that is not there has nothing to allow.
fn allow(
    rules: RulesetCreated,
    path: &Path,
    resolve: u64,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated> {
    let file = match open(path, resolve) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(rules),
        Err(error) => return Err(error).with_context(|| format!("open {}", path.display())),
    };
    let access = if file.metadata()?.is_dir() { access } else { access & AccessFs::from_file(KNOWN) };
    Ok(rules.add_rule(PathBeneath::new(file, access))?)
}

/// As a name only, with how links in it are taken.
fn open(path: &Path, resolve: u64) -> io::Result<File> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: all zeroes is a value of it; the pointers are to live values, and the descriptor is this function's own.
    #[expect(unsafe_code, reason = "libc calls")]
    unsafe {
        let mut how: libc::open_how = std::mem::zeroed();
        how.flags = u64::from((libc::O_PATH | libc::O_CLOEXEC).unsigned_abs());
        how.resolve = resolve;
        let opened = libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, path.as_ptr(), &how, size_of_val(&how));
        match libc::c_int::try_from(opened) {
            Ok(file @ 0..) => Ok(File::from_raw_fd(file)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
