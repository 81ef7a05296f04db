//! The parts of the sandbox of cells that depend on the kernel and on the operator: its layers, the
//! users of cells and control groups.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};
use switchyard_protocol::{FileRights, ProbeResult, SandboxSupport};

use crate::cells::Groups;
use crate::config::Config;
use crate::folder::{claim, names};
use crate::gaps::Gaps;
use crate::user::{TenantUsers, User, UserRange, UserTable, Users, path_from_root};
use crate::version::Tenant;

/// The folders in the state folder that projects' users pass through to reach their own.
const PASSED_THROUGH: [&str; 2] = ["checkouts", "packages"];

/// The folders that hold what belongs to a project, under its name.
const OWNED: [&str; 2] = ["data", "cache"];

/// The folders that only the router may enter.
const PRIVATE: [&str; 2] = ["last-good", "trash"];

/// The sandbox of cells on this machine, beyond what they set up themselves.
pub(super) struct SandboxSettings {
    pub(super) users: Users,
    pub(super) groups: Option<Groups>,
    /// The layers that this machine does not support, for the log.
    pub(super) missing: Vec<String>,
    /// The list that gaps found later are added to.
    pub(super) gaps: Gaps,
}

impl SandboxSettings {
    /// Adds the control groups, if cells have any.
    pub(super) fn with(mut self, groups: Option<Groups>) -> Self {
        self.missing.extend(groups.iter().flat_map(Groups::missing));
        Self { groups, ..self }
    }
}

/// The name of a flag, and the error in its value.
pub(super) type FlagError = (&'static str, String);

/// Returns the sandbox layers that this kernel does not support, as the cell itself finds them.
pub(super) fn missing_layers(cell: &Path) -> Result<Vec<String>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{} does not run: {error}", cell.display());
    let output = ask(&mut Command::new(cell)).map_err(|error| wrong(&error))?;
    let support: SandboxSupport = serde_json::from_slice(&output.stdout).map_err(|error| wrong(&error))?;
    Ok(support.missing().into_iter().map(str::to_owned).collect())
}

/// Returns the users that cells run as, and what is weaker with them than it could be.
///
/// # Errors
/// The router cannot run processes as these users, or keep files of theirs.
pub(super) fn users(
    config: &Config,
    state: &Path,
    cell: &Path,
    gaps: &Gaps,
) -> Result<(Users, Vec<String>), FlagError> {
    if !geteuid().is_root() {
        let given = [
            ("cell-user", config.cell_user.is_some()),
            ("cell-users", config.cell_users.is_some()),
            ("dangerously-run-cells-as-root", config.root_cells),
        ];
        return match given.into_iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) => {
                Err((flag, "only a router that runs as root can choose the users of its cells".to_owned()))
            }
            None => Ok((Users::own(), Vec::new())),
        };
    }
    if config.root_cells {
        let missing = "users of their own: cells run as root (--dangerously-run-cells-as-root)".to_owned();
        return Ok((Users::own(), vec![missing]));
    }
    if let Some(name) = &config.cell_user {
        return one(name, state, cell).map_err(|error| ("cell-user", error));
    }
    each(config, state, cell, gaps).map_err(|error| ("cell-users", error))
}

/// Returns the user of this name. The user must be able to start `cell` and to enter `state`.
fn one(name: &str, state: &Path, cell: &Path) -> Result<(Users, Vec<String>), String> {
    let user = uzers::get_user_by_name(name).ok_or_else(|| format!("there is no user {name:?}"))?;
    let user = match user.uid() {
        0 => return Err("name another user than root".into()),
        uid => User { uid, gid: user.primary_group_id() },
    };
    let_in(state)?;
    // The folder is entered as the user, which needs all that is above it.
    ask(Command::new(cell).uid(user.uid).gid(user.gid).current_dir(state)).map_err(|error| {
        format!("{name} cannot get at {} or {}: {error}; {}", state.display(), cell.display(), fix(&error))
    })?;
    Ok((Users::one(user), Vec::new()))
}

/// The fix for a process that could not be started as another user.
fn fix(error: &std::io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::INVAL) => {
            "the router's user namespace does not have this user: map it (newuidmap), name one that is there, or see \
             --dangerously-run-cells-as-root"
        }
        Some(Errno::PERM) => "the router needs CAP_SETGID and CAP_SETUID",
        _ => "let others enter the folders above them (chmod o+x)",
    }
}

/// A user for each project.
fn each(config: &Config, state: &Path, cell: &Path, gaps: &Gaps) -> Result<(Users, Vec<String>), String> {
    let range = config.cell_users.unwrap_or(UserRange::DEFAULT);
    let_in(state)?;
    let closed = try_users(range, state, cell).map_err(|error| {
        format!(
            "{error}; the router needs CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_KILL, CAP_SETGID and CAP_SETUID, and users \
             that this machine has (FIRST-LAST); or see --cell-user and --dangerously-run-cells-as-root"
        )
    })?;
    let can_read =
        capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::DAC_READ_SEARCH));
    if let Some(closed) = closed.as_ref().filter(|_| !can_read) {
        let closed = closed.display();
        return Err(format!(
            "{closed} keeps the users of cells out of {}: run chmod o+x {closed}, or name another --state",
            state.display()
        ));
    }
    let missing = closed.as_ref().map(|closed| {
        let closed = closed.display();
        format!(
            "a state folder that the users of cells can enter: {closed} keeps them out, so cells keep CAP_DAC_READ_SEARCH, \
             within what Landlock lets them touch; run chmod o+x {closed}, or name another --state"
        )
    });
    let table = UserTable::open(state, range, &owners(state)).map_err(|error| error.to_string())?;
    let rights = if missing.is_some() { FileRights::Read } else { FileRights::Own };
    let may_keep_rights = can_read && !config.require_sandbox;
    let users = TenantUsers { table, rights, may_keep_rights, gaps: gaps.clone() };
    Ok((Users::per_tenant(users), missing.into_iter().collect()))
}

/// Creates the folders in the state folder that other users pass through, and closes the rest to them.
fn let_in(state: &Path) -> Result<(), String> {
    let wrong = |error: std::io::Error| format!("{} cannot be prepared: {error}", state.display());
    // Cells set the modes of their own files; files made for them must be readable by their users.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    raise_processes();
    let set = |path: &Path, mode: u32| fs::set_permissions(path, Permissions::from_mode(mode));
    let mode = fs::metadata(state).map_err(wrong)?.mode() & 0o7777;
    if mode & 0o1 == 0 {
        set(state, mode | 0o1).map_err(wrong)?;
    }
    let folders =
        PASSED_THROUGH.iter().map(|name| (name, 0o711)).chain(PRIVATE.iter().map(|name| (name, 0o700)));
    for (name, mode) in folders {
        let folder = state.join(name);
        fs::DirBuilder::new().recursive(true).mode(mode).create(&folder).map_err(wrong)?;
        set(&folder, mode).map_err(wrong)?;
    }
    Ok(())
}

/// Raises the limit of processes: the kernel counts a user's threads but not root's, and the policy
/// decides how many a project may have.
fn raise_processes() {
    let maximum = getrlimit(Resource::Nproc).maximum;
    let raised = setrlimit(Resource::Nproc, Rlimit { current: None, maximum: None });
    // If root may not raise it, up to the present maximum.
    if let Err(error) = raised.or_else(|_| setrlimit(Resource::Nproc, Rlimit { current: maximum, maximum })) {
        tracing::debug!("the limit of processes stays as it is: {error}");
    }
}

/// Tries the first and the last user of the range: starts and ends a process as each, and keeps a
/// folder of each for a moment. Returns the first folder above `state` that keeps them out.
fn try_users(range: UserRange, state: &Path, cell: &Path) -> Result<Option<PathBuf>, String> {
    let way = path_from_root(state);
    let probes = [range.first(), range.last()].map(|uid| Probe::start(cell, uid, &way));
    let mut closed = None;
    for (probe, uid) in probes.into_iter().zip([range.first(), range.last()]) {
        closed = closed.or(probe?.finish()?);
        try_folder(&state.join(format!(".probe-{uid}")), uid).map_err(|error| {
            format!("no folder in {} can be given to user {uid}: {error}", state.display())
        })?;
    }
    Ok(closed)
}

/// Gives a folder to a user, and uses and removes it as the router does with those of cells.
fn try_folder(folder: &Path, uid: u32) -> std::io::Result<()> {
    crate::folder::remove(folder);
    fs::DirBuilder::new().mode(0o700).create(folder)?;
    let used = claim(folder, uid, uid)
        .and_then(|()| fs::write(folder.join("file"), ""))
        .and_then(|()| fs::set_permissions(folder, Permissions::from_mode(0o700)));
    used.and(crate::folder::try_remove(folder))
}

/// A process that tries to become a user.
struct Probe {
    child: Child,
    uid: u32,
}

impl Probe {
    fn start(cell: &Path, uid: u32, way: &[PathBuf]) -> Result<Self, String> {
        let child = Command::new(cell)
            .arg("--probe")
            .arg(uid.to_string())
            .args(way)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let child = child.map_err(|error| format!("{} does not run: {error}", cell.display()))?;
        Ok(Self { child, uid })
    }

    /// Returns the first of the folders that the user cannot enter.
    fn finish(mut self) -> Result<Option<PathBuf>, String> {
        let mut answer = String::new();
        if let Some(output) = self.child.stdout.take() {
            let _ = BufReader::new(output).read_line(&mut answer);
        }
        let uid = self.uid;
        let ended = self.child.kill();
        // A process that cannot be killed ends with its input.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        let ProbeResult { error, closed_folder } =
            serde_json::from_str(&answer).map_err(|error| format!("user {uid} cannot be tried: {error}"))?;
        if let Some(error) = error {
            return Err(format!("no process can run as user {uid}: {error}"));
        }
        ended.map_err(|error| format!("processes of user {uid} cannot be ended: {error}"))?;
        Ok(closed_folder)
    }
}

/// Returns the users that own folders of projects in the state folder.
fn owners(state: &Path) -> BTreeSet<u32> {
    let folders = OWNED.iter().map(|name| state.join(name)).flat_map(|folder| {
        let tenants = names(&folder).into_iter().filter(|name| Tenant::of_folder(name).is_some());
        tenants.map(move |name| folder.join(name)).collect::<Vec<_>>()
    });
    folders.filter_map(|folder| Some(folder.symlink_metadata().ok()?.uid())).collect()
}

fn ask(cell: &mut Command) -> std::io::Result<Output> {
    cell.arg("--probe-sandbox").env_clear().output()
}
