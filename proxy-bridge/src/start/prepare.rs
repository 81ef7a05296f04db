//! The checks before a start: everything that the settings name, such as folders, ports and files.

use std::io;
use std::path::Path;

use switchyard_contract::secret::Secret;
use switchyard_contract::verifier::Verifier;
use switchyard_edge::socket::{ListenAddress, Listener};
use switchyard_edge::tls::{Protocols, Tls};
use switchyard_program::file_system;
use switchyard_program::settings::{InvalidSetting, Problem, Problems};

use crate::config::{BridgeConfig, SourceConfig};
use crate::files::read_admin_token;
use crate::git_user::GitUser;
use crate::records::RecordStore;
use crate::sources::settings::SourcesFile;
use crate::tokens::Tokens;
use crate::traces::Traces;
use crate::volume::{OpenError, UnfinishedDeploy, Volume};
use switchyard_contract::deploy::DeployRecord;

/// Everything that a start needs, checked and opened.
pub struct Ready {
    pub(super) config: BridgeConfig,
    pub(super) listener: Listener,
    pub(super) forward: Option<Listener>,
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
    pub(super) hooks: Option<Listener>,
    /// Token for the routers' admin listeners.
    pub(super) admin_token: Option<String>,
    pub(super) traces: Traces,
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
    pub fn address(&self) -> io::Result<ListenAddress> {
        self.listener.address()
    }
}

/// Checks and opens everything that the settings name. A volume that another bridge has is a problem.
///
/// # Errors
/// All problems.
pub fn prepare(config: BridgeConfig) -> Result<Ready, Vec<Problem>> {
    let (checked, volume, mut problems) = check(config);
    let volume = problems.check("projects", volume);
    finish(checked.zip(volume).map(|(checked, volume)| checked.with(volume)), problems)
}

/// Returns the value, unless there are problems.
pub(super) fn finish<T>(value: Option<T>, problems: Problems) -> Result<T, Vec<Problem>> {
    match value {
        Some(value) => problems.into_result(value),
        None => Err(problems.into_vec()),
    }
}

/// A [`Ready`] without the volume.
pub(super) struct Checked {
    pub(super) config: BridgeConfig,
    pub(super) listener: Listener,
    pub(super) forward: Option<Listener>,
    tokens: Tokens,
    verifier: Verifier,
    sources: Option<SourcesFile>,
    git_user: Option<(u32, u32)>,
    pub(super) hooks: Option<Listener>,
    admin_token: Option<String>,
    traces: Traces,
}

impl Checked {
    pub(super) fn with(self, volume: OpenVolume) -> Ready {
        let Self { config, listener, forward, tokens, verifier, .. } = self;
        let Self { sources, git_user, hooks, admin_token, traces, .. } = self;
        let OpenVolume { volume, unfinished, records } = volume;
        Ready {
            config,
            listener,
            forward,
            volume,
            unfinished,
            records,
            tokens,
            verifier,
            sources,
            git_user,
            hooks,
            admin_token,
            traces,
        }
    }
}

/// The volume, which this bridge alone has, with what lies on it.
pub(super) struct OpenVolume {
    volume: Volume,
    unfinished: Vec<UnfinishedDeploy>,
    records: (RecordStore, Vec<DeployRecord>),
}

/// A volume that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum VolumeFault {
    #[error(transparent)]
    Open(OpenError),
    #[error("cannot read the records of deploys: {0}")]
    Records(io::Error),
}

impl OpenVolume {
    fn open(projects: &Path) -> Result<Self, VolumeFault> {
        Self::of(Volume::open(projects))
    }

    /// Opens it once no other bridge has it. Blocks until then.
    pub(super) fn wait(projects: &Path) -> Result<Self, VolumeFault> {
        Self::of(Volume::wait(projects))
    }

    fn of(opened: Result<(Volume, Vec<UnfinishedDeploy>), OpenError>) -> Result<Self, VolumeFault> {
        let (volume, unfinished) = opened.map_err(VolumeFault::Open)?;
        let records = RecordStore::open(volume.state_dir().join("deploys")).map_err(VolumeFault::Records)?;
        Ok(Self { volume, unfinished, records })
    }
}

/// Checks all settings. `None`: there are problems.
pub(super) fn check(config: BridgeConfig) -> (Option<Checked>, Result<OpenVolume, VolumeFault>, Problems) {
    let mut problems = Problems::default();
    let tokens = Tokens::open(config.deploys.token_file.clone()).map_err(|faults| {
        faults.into_iter().for_each(|fault| problems.add(Problem::flag("token-file", fault.0)));
    });
    let listener = problems.check("listen", Listener::bind(&config.listen));
    let forward = problems.check("forward", config.forward.forward.as_ref().map(Listener::bind).transpose());
    // Their combinations are checked before.
    let [tls, forward_tls, hooks_tls] = config.certificates(&mut Problems::default());
    let open = |files: Option<_>, protocols| files.map(|files| Tls::open(files, protocols)).transpose();
    let tls = problems.check("api-tls-cert", open(tls, Protocols::Http1));
    let forward_tls = problems.check("tls-cert", open(forward_tls, Protocols::Http2));
    let hooks_tls = problems.check("hooks-tls-cert", open(hooks_tls, Protocols::Http1));
    let routers = &config.routers;
    let verifier = problems.check("event-secret-file", verifier(routers.event_secret_file.as_deref()));
    let admin_token = routers.admin_token_file.as_deref().map(read_admin_token).transpose();
    let admin_token = problems.check("admin-token-file", admin_token);
    let sources = sources(&config.sources).map_err(|faults| {
        faults.into_iter().for_each(|fault| problems.add(Problem::flag("sources", fault.0)));
    });
    let git_user = config.sources.git_user.as_ref().map(GitUser::find).transpose();
    let git_user = problems.check("git-user", git_user);
    let hooks = problems.check("hooks", config.runs.hooks.as_ref().map(Listener::bind).transpose());
    let state = problems.check("state", check_state(&config));
    let traces = Traces::from_environment().map_err(|faults| {
        faults.iter().for_each(|fault| problems.add(Problem::new("(environment)", fault.to_string())));
    });
    let volume = OpenVolume::open(&config.projects);
    let checked = || {
        state?;
        Some(Checked {
            config,
            listener: listener?.with_tls(tls?),
            forward: forward?.zip(Some(forward_tls?)).map(|(forward, tls)| forward.with_tls(tls)),
            tokens: tokens.ok()?,
            verifier: verifier?,
            sources: sources.ok()?,
            git_user: git_user?,
            hooks: hooks?.zip(Some(hooks_tls?)).map(|(hooks, tls)| hooks.with_tls(tls)),
            admin_token: admin_token?,
            traces: traces.ok()?,
        })
    };
    (checked(), volume, problems)
}

/// Refuses a state folder on which the history, a database, might be damaged.
fn check_state(config: &BridgeConfig) -> Result<(), InvalidSetting> {
    let dir = config.state.as_ref().unwrap_or(&config.projects);
    let Some(kind) = file_system::unsafe_for_databases(dir) else { return Ok(()) };
    let place = match &config.state {
        Some(dir) => dir.display().to_string(),
        None => "the default, .switchyard-bridge/state on the volume,".to_owned(),
    };
    Err(InvalidSetting(format!(
        "{place} is on {kind}, where the history of runs is not safe: name a folder on a local disk"
    )))
}

/// Reads the file of sources.
fn sources(config: &SourceConfig) -> Result<Option<SourcesFile>, Vec<InvalidSetting>> {
    let Some(file) = &config.sources else { return Ok(None) };
    SourcesFile::open(file, &config.allow_local).map(Some)
}

fn verifier(file: Option<&Path>) -> Result<Verifier, InvalidSetting> {
    let Some(file) = file else { return Ok(Verifier::new([])) };
    Secret::read(file)
        .map(|secret| Verifier::new([secret]))
        .map_err(|error| InvalidSetting(format!("{}: {error}", file.display())))
}
