//! Construction of the bridge's parts: no request is accepted yet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use switchyard_edge::gate::Gate;
use switchyard_edge::socket::{ListenSetting, Listener};
use switchyard_edge::tls::Tls;
use switchyard_program::descriptors;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use super::prepare::Ready;
use crate::api::{Api, LoadFeed};
use crate::config::BridgeConfig;
use crate::deploys::{self, Deploys};
use crate::files::SettingsFiles;
use crate::forward::{ForwardServer, ForwardSettings};
use crate::git::{Git, GitSettings};
use crate::ledger::{Ledger, LedgerSettings};
use crate::metrics::{MetricSource, Metrics};
use crate::routers::{self, Routers};
use crate::runs::{NoMaker, Runs, VersionMaker};
use crate::sources::control::{SourceParts, Sources};
use crate::sources::settings::SourcesFile;
use crate::tasks::Catalog;
use crate::traces::Traces;
use crate::volume::Volume;

/// The bound of a git that asks a server, where no source sets one.
const GIT_TIMEOUT: Duration = Duration::from_secs(120);

/// Time for a first router after the start: the default time that requests wait in routers.
const FIRST_ROUTER: Duration = Duration::from_secs(10);

/// All parts of a bridge, built and connected.
pub(super) struct BridgeParts {
    pub(super) projects: String,
    pub(super) grace: Duration,
    pub(super) listener: Listener,
    pub(super) deploys: Deploys,
    pub(super) forward: Option<ForwardServer>,
    pub(super) following: JoinHandle<()>,
    pub(super) files: SettingsFiles,
    /// TLS of the listeners that have it.
    pub(super) certificates: Vec<Tls>,
    pub(super) sources: Option<Sources>,
    pub(super) history: RunParts,
    pub(super) hooks: Option<Listener>,
    pub(super) traces: Traces,
    pub(super) api: Api,
    /// Ends the API once it holds true.
    pub(super) stop_api: watch::Sender<bool>,
}

impl BridgeParts {
    /// Builds everything from checked settings.
    ///
    /// # Errors
    /// The records of routers that are behind cannot be read, or a thread cannot be started.
    pub(super) async fn build(ready: Ready) -> Result<Self> {
        let Ready { config, listener, forward, volume, unfinished, records, tokens, verifier, .. } = ready;
        let Ready { sources, git_user, hooks, admin_token, traces, .. } = ready;
        log_weaknesses(&config, &volume);
        descriptors::raise_limit(forward.as_ref().map(|_| config.connections.max_connections));
        let metrics = Metrics::default();
        let settings = routers::RoutersSettings {
            fixed: config.routers.router.clone(),
            dns: config.routers.routers.clone(),
            admin_token,
            behind: Some(volume.state_dir().join("behind")),
            forward: forward.as_ref().and_then(|listener| forward_url(listener, &config)),
        };
        let (routers, following) = Routers::start(settings).context("start to follow the routers")?;
        let settings = deploys::DeploySettings {
            timeout: config.deploys.deploy_timeout,
            quorum: config.deploys.quorum,
            max_uploads: config.uploads.max_uploads,
            // A time beyond the range of timestamps means forever.
            keep_removed: config.deploys.keep_removed.try_into().unwrap_or(jiff::SignedDuration::MAX),
        };
        let observers = (metrics.clone(), traces.clone());
        let deploys = Deploys::new(settings, volume, routers.clone(), records, unfinished, observers);
        let sources = match sources {
            Some(file) => {
                let started = start_sources(file, git_user, &config, &deploys, &routers).await;
                Some(started.context("start git sources")?)
            }
            None => None,
        };
        let maker =
            sources.clone().map_or_else(no_maker, |sources| Arc::new(sources) as Arc<dyn VersionMaker>);
        let history = start_runs(&config, &deploys, &routers, maker, &traces).await;
        let history = history.context("start the control of runs")?;
        let certificates: Vec<_> = [Some(&listener), forward.as_ref(), hooks.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(Listener::tls)
            .cloned()
            .collect();
        let forward = forward
            .map(|listener| ForwardServer::start(listener, forward_settings(&config), routers.clone()))
            .transpose()
            .context("start to forward requests")?;
        let (tokens, verifier) = (Arc::new(tokens), Arc::new(verifier));
        let files =
            SettingsFiles::new(&config, &tokens, &verifier, &routers, sources.as_ref(), &certificates);
        let (stop_api, stopping) = watch::channel(false);
        let api = Api {
            deploys: deploys.clone(),
            routers,
            gate: Arc::new(Gate::new(config.public_host.clone())),
            tokens,
            verifier,
            metrics,
            traces: traces.clone(),
            sources: sources.clone(),
            notices: history.notices.clone(),
            runs: history.runs.clone(),
            forward: forward.as_ref().map(|server| server.metrics() as Arc<dyn MetricSource>),
            loads: LoadFeed::default(),
            limits: config.uploads.limits(),
            stopping,
        };
        let projects = config.projects.display().to_string();
        let grace = config.grace;
        Ok(Self {
            projects,
            grace,
            listener,
            deploys,
            forward,
            following,
            files,
            certificates,
            sources,
            history,
            hooks,
            traces,
            api,
            stop_api,
        })
    }
}

/// The control of runs, and its tasks.
pub(super) struct RunParts {
    pub(super) runs: Runs,
    pub(super) ledger: Ledger,
    /// Lines for `/readyz`.
    notices: Arc<[String]>,
    /// The tasks that keep the catalog, the files that start tasks, and the runs.
    pub(super) tasks: [JoinHandle<()>; 3],
}

/// Opens the history, and takes over the runs in it.
async fn start_runs(
    config: &BridgeConfig,
    deploys: &Deploys,
    routers: &Routers,
    maker: Arc<dyn VersionMaker>,
    traces: &Traces,
) -> Result<RunParts> {
    let dir = state_folder(config, deploys).join("history");
    let settings = LedgerSettings { dir, retention: config.runs.retention() };
    // Opening checks the whole database.
    let (ledger, report) = spawn_blocking(move || Ledger::open(settings)).await??;
    let notices: Arc<[String]> = report.notice().into_iter().collect();
    for notice in notices.iter() {
        tracing::error!("{notice}");
    }
    let (catalog, following) = Catalog::start(routers.clone(), ledger.clone()).await?;
    let (runs, control) =
        Runs::start_control(routers.clone(), ledger.clone(), catalog, maker, traces.clone()).await?;
    let files = tokio::spawn(runs.clone().follow_files());
    Ok(RunParts { runs, ledger, notices, tasks: [following, files, control] })
}

fn no_maker() -> Arc<dyn VersionMaker> {
    Arc::new(NoMaker)
}

/// The bridge's own folder for everything but deploys.
fn state_folder(config: &BridgeConfig, deploys: &Deploys) -> PathBuf {
    config.state.clone().unwrap_or_else(|| deploys.volume().state_dir().join("state"))
}

/// Looks for git, and starts to follow the sources.
async fn start_sources(
    file: SourcesFile,
    git_user: Option<(u32, u32)>,
    config: &BridgeConfig,
    deploys: &Deploys,
    routers: &Routers,
) -> Result<Sources> {
    let state = state_folder(config, deploys);
    let git = GitSettings {
        program: "git".into(),
        search_path: std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()),
        home: state.join("home"),
        askpass: std::env::current_exe().context("find this program")?,
        user: git_user,
        local: config.sources.allow_local.clone(),
        timeout: GIT_TIMEOUT,
    };
    let git = Git::find(git).await?;
    let limits = config.uploads.limits();
    Sources::start(SourceParts {
        file,
        git,
        state,
        deploys: deploys.clone(),
        routers: routers.clone(),
        limits,
    })
}

/// Returns the URL at which this machine reaches the forwarding listener, unless it is a path.
fn forward_url(listener: &Listener, config: &BridgeConfig) -> Option<String> {
    let mut address = listener.address().ok()?.ip()?;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    let scheme = if config.connections.tls_cert.is_some() { "https" } else { "http" };
    Some(format!("{scheme}://{address}"))
}

fn forward_settings(config: &BridgeConfig) -> ForwardSettings {
    let is_inherited = config.forward.forward.as_ref().is_some_and(ListenSetting::is_inherited);
    ForwardSettings {
        trusted: config.connections.trusted_proxy.clone().unwrap_or_default(),
        request_timeout: config.forward.request_timeout,
        limits: config.connections.limits(),
        first_router: if is_inherited { FIRST_ROUTER } else { Duration::ZERO },
        threads: None,
    }
}

/// Logs the consequences of settings and of the volume that an operator may not expect.
fn log_weaknesses(config: &BridgeConfig, volume: &Volume) {
    if !volume.can_exchange() {
        tracing::warn!(
            "the volume cannot exchange two folders in one step: a project that is deployed has no folder for \
             less than a millisecond, between two renames"
        );
    }
    if config.deploys.token_file.is_none() {
        tracing::warn!("without --token-file every user of this machine may deploy");
    }
    if config.routers.event_secret_file.is_none() {
        tracing::info!(
            "without --event-secret-file every posted event is refused; the routers' event streams are followed \
             all the same"
        );
    }
}
