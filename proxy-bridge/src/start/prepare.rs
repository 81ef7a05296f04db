//! The checks before a start: everything that the settings name, such as folders, ports and files.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use switchyard_contract::secret::Secret;
use switchyard_contract::verifier::Verifier;
use switchyard_program::settings::{InvalidSetting, Problem, Problems};

use crate::config::{BridgeConfig, SourceConfig};
use crate::files::read_admin_token;
use crate::git_user::GitUser;
use crate::records::RecordStore;
use crate::sources::settings::SourcesFile;
use crate::tokens::Tokens;
use crate::volume::{UnfinishedDeploy, Volume};
use switchyard_contract::deploy::DeployRecord;

/// Everything that a start needs, checked and opened.
pub struct Ready {
    pub(super) config: BridgeConfig,
    pub(super) listener: TcpListener,
    pub(super) forward: Option<TcpListener>,
    pub(super) volume: Volume,
    /// Deploys that an earlier process left unfinished.
    pub(super) unfinished: Vec<UnfinishedDeploy>,
    pub(super) records: (RecordStore, Vec<DeployRecord>),
    pub(super) tokens: Tokens,
    pub(super) verifier: Verifier,
    /// The git sources, if there are any.
    pub(super) sources: Option<SourcesFile>,
    /// The user and the group that git runs as.
    pub(super) git_user: Option<(u32, u32)>,
    /// The listener of webhooks.
    pub(super) hooks: Option<TcpListener>,
    /// Token for the routers' admin listeners.
    pub(super) admin_token: Option<String>,
}

impl Ready {
    /// Uses `token` for the routers' admin listeners, in place of that of `--admin-token-file`.
    pub fn set_admin_token(&mut self, token: String) {
        self.admin_token = Some(token);
    }

    /// Returns the address that the API is bound to: with the actual port where the settings have port 0.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Checks and opens everything that the settings name.
///
/// # Errors
/// All problems.
pub fn prepare(config: BridgeConfig) -> Result<Ready, Vec<Problem>> {
    let mut problems = Problems::default();
    let tokens = Tokens::open(config.deploys.token_file.clone()).map_err(|faults| {
        faults.into_iter().for_each(|fault| problems.add(Problem::flag("token-file", fault.0)));
    });
    let listener = problems.check("listen", bind(config.listen));
    let forward = problems.check("forward", config.forward.forward.map(bind).transpose());
    let routers = &config.routers;
    let verifier = problems.check("event-secret-file", verifier(routers.event_secret_file.as_deref()));
    let admin_token = routers.admin_token_file.as_deref().map(read_admin_token).transpose();
    let admin_token = problems.check("admin-token-file", admin_token);
    let sources = sources(&config.sources).map_err(|faults| {
        faults.into_iter().for_each(|fault| problems.add(Problem::flag("sources", fault.0)));
    });
    let git_user = config.sources.git_user.as_ref().map(GitUser::find).transpose();
    let git_user = problems.check("git-user", git_user);
    let hooks = problems.check("hooks", config.sources.hooks.map(bind).transpose());
    let volume = problems.check("projects", Volume::open(&config.projects));
    let records = volume.as_ref().and_then(|(volume, _)| {
        let records = RecordStore::open(volume.state_dir().join("deploys"));
        let records = records.map_err(|error| format!("cannot read the records of deploys: {error}"));
        problems.check("projects", records)
    });
    let ready = || {
        let (volume, unfinished) = volume?;
        Some(Ready {
            config,
            listener: listener?,
            forward: forward?,
            volume,
            unfinished,
            records: records?,
            tokens: tokens.ok()?,
            verifier: verifier?,
            sources: sources.ok()?,
            git_user: git_user?,
            hooks: hooks?,
            admin_token: admin_token?,
        })
    };
    match ready() {
        Some(ready) => problems.into_result(ready),
        None => Err(problems.into_vec()),
    }
}

/// Reads the file of sources.
fn sources(config: &SourceConfig) -> Result<Option<SourcesFile>, Vec<InvalidSetting>> {
    let Some(file) = &config.sources else { return Ok(None) };
    SourcesFile::open(file, &config.allow_local).map(Some)
}

fn bind(address: SocketAddr) -> Result<TcpListener, InvalidSetting> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => InvalidSetting(format!(
            "{address} is already in use: stop the process that listens there, or name another port"
        )),
        _ => InvalidSetting(format!("cannot listen on {address}: {error}")),
    })
}

fn verifier(file: Option<&Path>) -> Result<Verifier, InvalidSetting> {
    let Some(file) = file else { return Ok(Verifier::new([])) };
    Secret::read(file)
        .map(|secret| Verifier::new([secret]))
        .map_err(|error| InvalidSetting(format!("{}: {error}", file.display())))
}
