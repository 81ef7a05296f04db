//! Landlock's rules: the files, folders and ports of a cell.

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
use switchyard_protocol::{InstallRequest, Start};

/// The newest version of Landlock that the rules use. Older kernels ignore the parts that they do
/// not know.
const NEWEST: ABI = ABI::V7;

/// Files that the C library reads for names, times and its own parts, and that the runtime reads
/// about itself and the machine. Missing files need no rule.
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

/// The allowed files in /proc, held open permanently. A rule is for an inode, and under memory
/// pressure the kernel drops the inode of a name in /proc that no process holds and makes another
/// one later, which would be refused.
static PROC: OnceLock<Vec<File>> = OnceLock::new();

/// Resolves a path without symbolic links, which a project could set to lead the rules elsewhere.
const EXACTLY: u64 = libc::RESOLVE_NO_SYMLINKS;

/// Returns the version of Landlock that the kernel supports, 0 for none.
pub(super) fn landlock_abi() -> i32 {
    // SAFETY: with this flag the call only returns a number.
    #[expect(unsafe_code, reason = "libc call")]
    let abi =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, 1_u32) };
    i32::try_from(abi).unwrap_or(0).max(0)
}

/// Opens a file to keep its inode.
fn hold(path: &&str) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_PATH).open(path)
}

fn read_access() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::ReadDir
}

/// Access to change files and folders, without sockets, devices and pipes, and without execution.
fn write_access() -> BitFlags<AccessFs> {
    read_access()
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::MakeSym
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer
}

/// Access to change the files of a folder that gets no folders and no links.
fn cache_access() -> BitFlags<AccessFs> {
    read_access() | AccessFs::WriteFile | AccessFs::MakeReg | AccessFs::RemoveFile
}

/// The rules of every version, made in a spare before the version is known. `None` if the kernel
/// has no Landlock.
pub(crate) struct FileRules(Option<RulesetCreated>);

impl FileRules {
    /// Makes the rules of every version.
    ///
    /// # Errors
    /// The kernel refuses a rule.
    pub(crate) fn prepare() -> Result<Self> {
        if landlock_abi() == 0 {
            return Ok(Self(None));
        }
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(NEWEST))?
            // No port is opened, whichever one the code names: a project is served on its socket.
            .handle_access(AccessNet::BindTcp)?
            // No process outside is signalled, or reached by a socket without a file.
            .scope(Scope::from_all(NEWEST))?
            .create()?;
        PROC.get_or_init(|| SYSTEM.iter().filter(|path| path.starts_with("/proc/")).flat_map(hold).collect());
        for path in SYSTEM {
            rules = allow(rules, Path::new(path), 0, read_access())?;
        }
        rules = allow(rules, Path::new("/dev/null"), 0, read_access() | AccessFs::WriteFile)?;
        Ok(Self(Some(rules)))
    }

    /// Returns `true` if the kernel confines the process to the files of the rules.
    pub(crate) fn are_supported(&self) -> bool {
        self.0.is_some()
    }

    /// Adds the paths that the version may use.
    ///
    /// # Errors
    /// A path cannot be opened, or leads through a symbolic link.
    pub(super) fn for_version(self, start: &Start) -> Result<Option<OwnedFd>> {
        let Self(Some(mut rules)) = self else { return Ok(None) };
        let permissions = &start.permissions;
        let packages = || start.node_modules.iter().chain(start.other_node_modules.values());
        let read = [&start.root].into_iter().chain(packages()).chain(&start.packages);
        for path in read.chain(&permissions.read) {
            rules = allow(rules, path, EXACTLY, read_access())?;
        }
        // For a package without a package.json, the project's is read: the one beside the packages.
        for project in packages().filter_map(|packages| packages.parent()) {
            rules = allow(rules, &project.join("package.json"), EXACTLY, read_access())?;
        }
        for path in [&start.tmp, &start.data].into_iter().chain(&permissions.write) {
            rules = allow(rules, path, EXACTLY, write_access())?;
        }
        if let Some(cache) = &start.cache {
            rules = allow(rules, &cache.dir, EXACTLY, cache_access())?;
        }
        if let Some(dir) = start.socket.parent() {
            rules = allow(rules, dir, EXACTLY, AccessFs::MakeSock | AccessFs::RemoveFile)?;
        }
        Ok(rules.into())
    }

    /// Adds the paths that an installation may use.
    ///
    /// # Errors
    /// A path cannot be opened, or leads through a symbolic link.
    pub(super) fn for_install(self, install: &InstallRequest) -> Result<Option<OwnedFd>> {
        let Self(Some(mut rules)) = self else { return Ok(None) };
        let packages = install.node_modules.iter().chain(install.other_node_modules.values());
        for path in [&install.root].into_iter().chain(packages).chain(&install.lock) {
            rules = allow(rules, path, EXACTLY, read_access())?;
        }
        rules = allow(rules, &install.folder, EXACTLY, write_access())?;
        // The shared store has files only: whichever paths the names of packages lead to, no folder
        // of a package and no link is made in it.
        if let Some(downloads) = &install.downloads {
            rules = allow(rules, downloads, EXACTLY, cache_access())?;
        }
        Ok(rules.into())
    }
}

/// Adds a rule for a path, unless it does not exist.
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
    let access = if file.metadata()?.is_dir() { access } else { access & AccessFs::from_file(NEWEST) };
    Ok(rules.add_rule(PathBeneath::new(file, access))?)
}

/// Opens a path without access to its content. `resolve` decides how links are followed.
fn open(path: &Path, resolve: u64) -> io::Result<File> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: all zeroes is a valid `open_how`; the pointers are to live values, and the descriptor
    // belongs to this function.
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
