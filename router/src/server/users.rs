//! The users that cells run as: chosen by the settings, and tried before the router starts.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};
use switchyard_program::settings::InvalidSetting;
use switchyard_protocol::{FileRights, ProbeResult};

use super::sandbox::probe;
use crate::config::CellConfig;
use crate::folder::{claim, names};
use crate::gaps::Gaps;
use crate::user::{TenantUsers, User, UserRange, UserTable, Users, path_from_root};
use crate::version::Tenant;

/// Folders of the state folder that the users of projects pass through, each to its own.
const PASSED_THROUGH: [&str; 2] = ["checkouts", "packages"];

/// Folders of the state folder that hold the projects' own files, each under the project's name.
const OWNED: [&str; 2] = ["data", "cache"];

/// Folders of the state folder that only the router uses.
const PRIVATE: [&str; 2] = ["last-good", "trash"];

/// Users, and what is weaker about them than it could be, in words.
type UsersAndGaps = (Users, Vec<String>);

/// Returns the users that cells run as.
///
/// # Errors
/// The flag, and why the router cannot run processes as these users or keep their files.
pub(super) fn of_cells(
    config: &CellConfig,
    state: &Path,
    cell: &Path,
    gaps: &Gaps,
) -> Result<UsersAndGaps, (&'static str, InvalidSetting)> {
    if !geteuid().is_root() {
        let given = [
            ("cell-user", config.cell_user.is_some()),
            ("cell-users", config.cell_users.is_some()),
            ("dangerously-run-cells-as-root", config.root_cells),
        ];
        return match given.into_iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) => {
                let message = "only a router that runs as root can choose the users of its cells";
                Err((flag, InvalidSetting(message.to_owned())))
            }
            None => Ok((Users::own(), Vec::new())),
        };
    }
    if config.root_cells {
        let missing = "separate users: cells run as root (--dangerously-run-cells-as-root)".to_owned();
        return Ok((Users::own(), vec![missing]));
    }
    if let Some(name) = &config.cell_user {
        return single_user(name, state, cell).map_err(|error| ("cell-user", error));
    }
    let range = config.cell_users.unwrap_or(UserRange::DEFAULT);
    let may_keep_rights = !config.require_sandbox;
    per_project(range, may_keep_rights, state, cell, gaps).map_err(|error| ("cell-users", error))
}

/// Returns the user of this name, who must be able to start `cell` and to reach what is in `state`.
fn single_user(name: &str, state: &Path, cell: &Path) -> Result<UsersAndGaps, InvalidSetting> {
    let user = uzers::get_user_by_name(name)
        .ok_or_else(|| InvalidSetting(format!("unknown user {name:?}: create it, or name another one")))?;
    let user = match user.uid() {
        0 => return Err(InvalidSetting("cells must not run as root: name another user".to_owned())),
        uid => User { uid, gid: user.primary_group_id() },
    };
    open_folders(state)?;
    // The folder is entered as the user, who needs all folders above it.
    probe(Command::new(cell).uid(user.uid).gid(user.gid).current_dir(state)).map_err(|error| {
        let (state, cell, fix) = (state.display(), cell.display(), fix(&error));
        InvalidSetting(format!("{name} cannot enter {state} or run {cell}: {error}; {fix}"))
    })?;
    Ok((Users::one(user), Vec::new()))
}

/// Returns the fix for a process that could not be started as another user.
fn fix(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::INVAL) => {
            "the router's user namespace has no such user: map it (newuidmap), name a user that it has, or see \
             --dangerously-run-cells-as-root"
        }
        Some(Errno::PERM) => "the router needs CAP_SETGID and CAP_SETUID",
        _ => "let other users enter the folders above (chmod o+x)",
    }
}

/// Returns a user of `range` for each project.
fn per_project(
    range: UserRange,
    may_keep_rights: bool,
    state: &Path,
    cell: &Path,
    gaps: &Gaps,
) -> Result<UsersAndGaps, InvalidSetting> {
    open_folders(state)?;
    let closed_folder = try_users(range, state, cell).map_err(|error| {
        InvalidSetting(format!(
            "{error}; the router needs CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_KILL, CAP_SETGID and \
             CAP_SETUID, and users that this machine has (FIRST-LAST); or see --cell-user and \
             --dangerously-run-cells-as-root"
        ))
    })?;
    let can_read =
        capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::DAC_READ_SEARCH));
    if let Some(closed_folder) = closed_folder.as_ref().filter(|_| !can_read) {
        let (closed_folder, state) = (closed_folder.display(), state.display());
        return Err(InvalidSetting(format!(
            "the users of cells cannot enter {closed_folder}, and so not {state}: run chmod o+x {closed_folder}, or name \
             another --state"
        )));
    }
    let missing = closed_folder.as_ref().map(|closed_folder| {
        let closed_folder = closed_folder.display();
        format!(
            "a state folder that the users of cells can enter: they cannot enter {closed_folder}, so cells keep \
             CAP_DAC_READ_SEARCH, within what Landlock lets them read; run chmod o+x {closed_folder}, or name another \
             --state"
        )
    });
    let table =
        UserTable::open(state, range, &owners(state)).map_err(|error| InvalidSetting(error.to_string()))?;
    let rights = if missing.is_some() { FileRights::Read } else { FileRights::Own };
    let may_keep_rights = can_read && may_keep_rights;
    let each = TenantUsers { table, rights, may_keep_rights, gaps: gaps.clone() };
    Ok((Users::per_tenant(each), missing.into_iter().collect()))
}

/// Creates the folders of the state folder that other users pass through, and closes the rest to them.
fn open_folders(state: &Path) -> Result<(), InvalidSetting> {
    let cannot = |error: io::Error| InvalidSetting(format!("cannot prepare {}: {error}", state.display()));
    // Files for cells must be readable by their users. Files of cells have modes of their own.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    raise_processes();
    let set = |path: &Path, mode: u32| fs::set_permissions(path, Permissions::from_mode(mode));
    let mode = fs::metadata(state).map_err(cannot)?.mode() & 0o7777;
    if mode & 0o1 == 0 {
        set(state, mode | 0o1).map_err(cannot)?;
    }
    let folders =
        PASSED_THROUGH.iter().map(|name| (name, 0o711)).chain(PRIVATE.iter().map(|name| (name, 0o700)));
    for (name, mode) in folders {
        let folder = state.join(name);
        fs::DirBuilder::new().recursive(true).mode(mode).create(&folder).map_err(cannot)?;
        set(&folder, mode).map_err(cannot)?;
    }
    Ok(())
}

/// Raises the limit of processes. The kernel counts the threads of every user but root; the policy says
/// how many a project may have.
fn raise_processes() {
    let maximum = getrlimit(Resource::Nproc).maximum;
    let raised = setrlimit(Resource::Nproc, Rlimit { current: None, maximum: None });
    // Up to the maximum, if root may not raise that.
    if let Err(error) = raised.or_else(|_| setrlimit(Resource::Nproc, Rlimit { current: maximum, maximum })) {
        tracing::debug!("the limit of processes stays as it is: {error}");
    }
}

/// Runs and kills one process each as the first and the last user of the range, and gives each a folder
/// for a moment. Returns the first folder on the way to `state` that they cannot enter.
fn try_users(range: UserRange, state: &Path, cell: &Path) -> Result<Option<PathBuf>, InvalidSetting> {
    let way = path_from_root(state);
    let probes = [range.first(), range.last()].map(|uid| UserProbe::start(cell, uid, &way));
    let mut closed_folder = None;
    for (probe, uid) in probes.into_iter().zip([range.first(), range.last()]) {
        closed_folder = closed_folder.or(probe?.finish()?);
        try_folder(&state.join(format!(".probe-{uid}")), uid).map_err(|error| {
            InvalidSetting(format!("cannot give user {uid} a folder in {}: {error}", state.display()))
        })?;
    }
    Ok(closed_folder)
}

/// Gives a folder to a user, and uses and removes it as the router does with those of cells.
fn try_folder(folder: &Path, uid: u32) -> io::Result<()> {
    crate::folder::remove(folder);
    fs::DirBuilder::new().mode(0o700).create(folder)?;
    let used = claim(folder, uid, uid)
        .and_then(|()| fs::write(folder.join("file"), ""))
        .and_then(|()| fs::set_permissions(folder, Permissions::from_mode(0o700)));
    used.and(crate::folder::try_remove(folder))
}

/// A process that tries to become a user.
struct UserProbe {
    child: Child,
    uid: u32,
}

impl UserProbe {
    fn start(cell: &Path, uid: u32, way: &[PathBuf]) -> Result<Self, InvalidSetting> {
        let child = Command::new(cell)
            .arg("--probe")
            .arg(uid.to_string())
            .args(way)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let child =
            child.map_err(|error| InvalidSetting(format!("cannot run {}: {error}", cell.display())))?;
        Ok(Self { child, uid })
    }

    /// Returns the first of the folders that the user cannot enter.
    fn finish(mut self) -> Result<Option<PathBuf>, InvalidSetting> {
        let mut answer = String::new();
        if let Some(output) = self.child.stdout.take() {
            let _ = BufReader::new(output).read_line(&mut answer);
        }
        let uid = self.uid;
        let killed = self.child.kill();
        // A process that cannot be killed ends with its standard input.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        let ProbeResult { error, closed_folder } = serde_json::from_str(&answer)
            .map_err(|error| InvalidSetting(format!("cannot try user {uid}: {error}")))?;
        if let Some(error) = error {
            return Err(InvalidSetting(format!("cannot run a process as user {uid}: {error}")));
        }
        killed.map_err(|error| InvalidSetting(format!("cannot kill a process of user {uid}: {error}")))?;
        Ok(closed_folder)
    }
}

/// Returns the owners of the folders that projects have in the state folder.
fn owners(state: &Path) -> BTreeSet<u32> {
    let folders = OWNED.iter().map(|name| state.join(name)).flat_map(|folder| {
        let tenants = names(&folder).into_iter().filter(|name| Tenant::of_folder(name).is_some());
        tenants.map(move |name| folder.join(name)).collect::<Vec<_>>()
    });
    folders.filter_map(|folder| Some(folder.symlink_metadata().ok()?.uid())).collect()
}
