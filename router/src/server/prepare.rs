//! The checks before a start: everything that the settings name, such as folders, ports and files.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use switchyard_contract::project::ProjectName;
use switchyard_contract::publisher::{self, Url};
use switchyard_contract::secret::Secret;
use switchyard_edge::socket::{ListenAddress, Listener};
use switchyard_edge::tls::{Protocols, Tls};
use switchyard_program::settings::{InvalidSetting, Problem, Problems};
use switchyard_telemetry::Tracing;

use super::files::{read_authorities, read_policy};
use super::sandbox::{self, Sandbox};
use super::state::StateFolder;
use crate::access_log::Output;
use crate::admin::Tokens;
use crate::cells::Groups;
use crate::config::RouterConfig;
use crate::gaps::Gaps;
use crate::policy::Policy;
use crate::root::{AllowedFolders, Root};

/// File name of the admin listener for a bridge in the same process, in the state folder.
const OWN_ADMIN: &str = "bridge.sock";

/// File name of the program of cells.
const CELL_BINARY: &str = "switchyard-cell";

/// Folders of packages for it, relative to the one above the running program's.
const CELL_FOLDERS: [&str; 2] = ["lib/switchyard", "libexec"];

/// Everything that a start needs, checked and opened.
pub struct Ready {
    pub(super) config: RouterConfig,
    pub(super) projects: Root,
    /// Path of `switchyard-cell`.
    pub(super) cell: PathBuf,
    pub(super) sandbox: Sandbox,
    /// The folders that projects may be read from besides the volume.
    pub(super) allowed: AllowedFolders,
    /// The folders that projects are read from from the start. `None`: those of the last run.
    pub(super) overrides: Option<BTreeMap<ProjectName, PathBuf>>,
    pub(super) listener: Listener,
    pub(super) admin: Listener,
    pub(super) own_admin: Option<Listener>,
    pub(super) tokens: Option<Arc<Tokens>>,
    pub(super) policy: Policy,
    pub(super) events: Option<publisher::PublisherConfig>,
    /// Certificates (PEM) that are trusted in addition when packages are fetched.
    pub(super) authorities: Option<String>,
    /// The export of spans. `None`: the environment asks for none.
    pub(super) tracing: Option<Tracing>,
    /// The file of the access log, if there is one.
    pub(super) access_log: Option<Output>,
    /// The lock of the state folder, held while the router runs.
    pub(super) lock: File,
}

/// The addresses that a router's listeners are bound to.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// Requests for projects.
    pub public: ListenAddress,
    /// The admin listener.
    pub admin: ListenAddress,
    /// The one for a bridge in the same process.
    pub own_admin: Option<ListenAddress>,
}

impl Ready {
    /// Returns the bound addresses: with the actual ports where the settings have port 0.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn addresses(&self) -> io::Result<Addresses> {
        let own_admin = self.own_admin.as_ref().map(Listener::address).transpose()?;
        Ok(Addresses { public: self.listener.address()?, admin: self.admin.address()?, own_admin })
    }

    /// Has these projects, and no others, read from folders of their own instead of the volume. The
    /// folders are real paths, and are allowed besides those below `--allow-override`.
    pub fn set_overrides(&mut self, folders: BTreeMap<ProjectName, PathBuf>) {
        let allowed = std::mem::take(&mut self.allowed);
        self.allowed = allowed.with_exactly(folders.values().cloned());
        self.overrides = Some(folders);
    }

    /// Has the admin listener accept `token` besides those of `--admin-token-file`. Without that file
    /// it accepts requests without a token.
    pub fn accept_admin_token(&self, token: &str) {
        if let Some(tokens) = &self.tokens {
            tokens.accept(token);
        }
    }
}

/// Checks and opens everything that the settings name.
///
/// # Errors
/// All problems.
pub fn prepare(mut config: RouterConfig) -> Result<Ready, Vec<Problem>> {
    let mut problems = Problems::default();
    let projects = problems.check("projects", projects(&config.projects));
    let state = problems.check("state", StateFolder::open(&config.state, &config.projects));
    let allowed = problems.check("allow-override", AllowedFolders::open(&config.reload.allow_override));
    let listener = problems.check("listen", Listener::bind(&config.listen));
    let admin = problems.check("admin", Listener::bind(&config.admin.admin));
    let own_admin = state.as_ref().filter(|_| config.has_own_admin);
    let own_admin = own_admin.map(|state| Listener::bind_private(&state.path.join(OWN_ADMIN))).transpose();
    let own_admin = problems.check("state", own_admin);
    // Their combinations are checked before.
    let [tls, admin_tls] = config.certificates(&mut Problems::default());
    let open = |files: Option<_>, protocols| files.map(|files| Tls::open(files, protocols)).transpose();
    let tls = problems.check("tls-cert", open(tls, Protocols::Http2));
    let admin_tls = problems.check("admin-tls-cert", open(admin_tls, Protocols::Http1));
    let events = problems.check("event-secret-file", events(&config));
    let log = config.access_log.access_log.as_deref().map(access_log).transpose();
    let access_log = problems.check("access-log", log);
    let tokens = config.admin.admin_token_file.as_deref().map(Tokens::read).transpose();
    let tokens = problems.check("admin-token-file", tokens);
    let cell = cell_binary().map_err(|error| problems.add(Problem::new(INSTALLATION, error.0))).ok();
    let state_path = state.as_ref().map_or(&config.state, |state| &state.path);
    let policy = read_policy(&config, state_path).map_err(|faults| {
        faults.iter().for_each(|fault| problems.add(Problem::flag("policy", fault.to_string())));
    });
    let groups = problems.check("cgroup", config.cells.cgroup.as_deref().map(Groups::open).transpose());
    let sandbox = match (&state, &cell) {
        (Some(state), Some(cell)) => check_sandbox(&mut problems, &config, &state.path, cell),
        _ => None,
    };
    let authorities = problems.check("allow-install", read_authorities(config.cells.allow_install));
    let tracing = Tracing::from_environment("switchyard-router").map_err(|faults| {
        faults.iter().for_each(|fault| problems.add(Problem::new(ENVIRONMENT, fault.to_string())));
    });
    let ready = || {
        let state = state?;
        config.state = state.path;
        Some(Ready {
            config,
            projects: projects?,
            allowed: allowed?,
            overrides: None,
            cell: cell?,
            sandbox: sandbox?.with_groups(groups?),
            listener: listener?.with_tls(tls?),
            admin: admin?.with_tls(admin_tls?),
            own_admin: own_admin?,
            tokens: tokens?.map(Arc::new),
            policy: policy.ok()?,
            events: events?,
            authorities: authorities?,
            tracing: tracing.ok()?,
            access_log: access_log?,
            lock: state.lock,
        })
    };
    ready().ok_or(problems.into_vec())
}

/// Subject of problems with the installed files of Switchyard itself.
const INSTALLATION: &str = "(installation)";

/// Subject of problems with variables that are not Switchyard's own.
const ENVIRONMENT: &str = "(environment)";

/// Returns the sandbox layers that this machine is missing, in words.
///
/// # Errors
/// The program of cells is missing, or cannot be run.
pub fn missing_layers() -> Result<Vec<String>, InvalidSetting> {
    let support = sandbox::support(&cell_binary()?)?;
    Ok(support.missing().into_iter().map(str::to_owned).collect())
}

/// Checks what the sandbox around cells has on this machine, with these settings.
fn check_sandbox(
    problems: &mut Problems,
    config: &RouterConfig,
    state: &Path,
    cell: &Path,
) -> Option<Sandbox> {
    let gaps = Gaps::default();
    let support =
        sandbox::support(cell).map_err(|error| problems.add(Problem::new(INSTALLATION, error.0))).ok()?;
    let (users, weaker) = super::users::of_cells(&config.cells, state, cell, &gaps)
        .map_err(|(flag, error)| problems.add(Problem::flag(flag, error.0)))
        .ok()?;
    let layers = iter::once(sandbox::of_users(&config.cells, &users, &weaker));
    let layers = layers.chain(sandbox::of_kernel(support)).collect();
    let mut missing: Vec<_> = support.missing().into_iter().map(str::to_owned).collect();
    missing.extend(weaker);
    if config.cells.require_sandbox && !missing.is_empty() {
        let message = format!("the sandbox is incomplete on this machine: missing {}", missing.join("; "));
        problems.add(Problem::flag("require-sandbox", message));
        return None;
    }
    Some(Sandbox { users, groups: None, layers, missing, gaps })
}

/// Opens the volume. The path is not resolved: the target of its links may change.
fn projects(path: &Path) -> Result<Root, InvalidSetting> {
    let fix = "create it, or name the folder that holds the projects";
    let root = Root::open(path).map_err(|error| {
        let target = fs::read_link(path).map(|to| format!(" (a symbolic link to {})", to.display()));
        InvalidSetting(format!("{}{}: {error}; {fix}", path.display(), target.unwrap_or_default()))
    })?;
    fs::read_dir(path)
        .map_err(|error| InvalidSetting(format!("cannot read {}: {error}; {fix}", path.display())))?;
    Ok(root)
}

fn access_log(path: &Path) -> Result<Output, InvalidSetting> {
    Output::open(path).map_err(|error| {
        InvalidSetting(format!(
            "cannot open {}: {error}; name a file in a folder that is there, or a pipe that is read",
            path.display()
        ))
    })
}

fn events(config: &RouterConfig) -> Result<Option<publisher::PublisherConfig>, InvalidSetting> {
    let (Some(url), Some(file)) = (&config.admin.event_url, &config.admin.event_secret_file) else {
        return Ok(None);
    };
    let secret =
        Secret::read(file).map_err(|error| InvalidSetting(format!("{}: {error}", file.display())))?;
    let url = Url::parse(url).map_err(|error| InvalidSetting(format!("--event-url {url}: {error}")))?;
    Ok(Some(publisher::PublisherConfig::new(url, secret)))
}

/// Returns the path of `switchyard-cell`: beside the running program, or in a folder of `..`.
fn cell_binary() -> Result<PathBuf, InvalidSetting> {
    let own = std::env::current_exe()
        .map_err(|error| InvalidSetting(format!("cannot find the running program: {error}")))?;
    find_cell(&own)
}

fn find_cell(own: &Path) -> Result<PathBuf, InvalidSetting> {
    let prefix = own.parent().and_then(Path::parent);
    let elsewhere = CELL_FOLDERS.iter().filter_map(|folder| Some(prefix?.join(folder).join(CELL_BINARY)));
    let candidates = std::iter::once(own.with_file_name(CELL_BINARY)).chain(elsewhere);
    let found = candidates.clone().find(|cell| cell.is_file());
    found.ok_or_else(|| {
        let paths: Vec<_> = candidates.map(|cell| cell.display().to_string()).collect();
        InvalidSetting(format!("{CELL_BINARY} is missing: install it as {}", paths.join(" or ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_of_cells_is_beside_the_running_one_or_in_a_folder_of_packages() {
        let prefix = tempfile::tempdir().unwrap();
        let own = prefix.path().join("bin/switchyard");
        let paths = ["libexec/switchyard-cell", "lib/switchyard/switchyard-cell", "bin/switchyard-cell"]
            .map(|path| prefix.path().join(path));
        let error = find_cell(&own).unwrap_err().to_string();
        assert!(paths.iter().all(|path| error.contains(path.to_str().unwrap())), "{error}");
        // The later ones win.
        for path in &paths {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
            assert_eq!(find_cell(&own).unwrap(), *path);
        }
    }
}
