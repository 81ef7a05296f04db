//! The composition root: looks at what the settings name, builds all parts, wires them, stops them in
//! order.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::sync::watch;

use super::api::Api;
use super::config::Config;
use super::deploys::{self, Deploys};
use super::files::{SettingsFiles, admin_token};
use super::forward;
use super::metrics::{MetricSource, Metrics};
use super::records::RecordStore;
use super::routers::{self, Routers};
use super::tokens::Tokens;
use super::volume::{UnfinishedDeploy, Volume};
use switchyard_contract::deploy::DeployRecord;
use switchyard_contract::secret::Secret;
use switchyard_contract::verifier::Verifier;
use switchyard_edge::gate::Gate;
use switchyard_program::flags::Problem;
use switchyard_program::signal::Reloads;

/// Everything that can be wrong with a start has been looked at.
pub struct Ready {
    config: Config,
    listener: TcpListener,
    forward: Option<TcpListener>,
    volume: Volume,
    unfinished: Vec<UnfinishedDeploy>,
    records: (RecordStore, Vec<DeployRecord>),
    tokens: Tokens,
    verifier: Verifier,
    admin_token: Option<String>,
}

/// Looks at everything that the settings name: folders, ports, files.
///
/// # Errors
/// All that is wrong, at once.
pub fn prepare(config: Config) -> Result<Ready, Vec<Problem>> {
    let mut problems = Vec::new();
    let tokens = Tokens::open(config.token_file.clone())
        .map_err(|wrong| problems.extend(wrong.iter().map(|what| Problem::new("token-file", what))))
        .ok();
    if config.token_file.is_none() && !config.listen.ip().is_loopback() {
        let message = format!(
            "{} can be reached from outside: give a --token-file, or listen on a loopback address as 127.0.0.1:{}",
            config.listen,
            config.listen.port()
        );
        problems.push(Problem::new("listen", message));
    }
    let mut keep = |flag: &str, message: String| problems.push(Problem::new(flag, message));
    let listener = bind(config.listen).map_err(|message| keep("listen", message)).ok();
    let forward = config.forward.map(bind).transpose().map_err(|message| keep("forward", message)).ok();
    let verifier = verifier(config.event_secret_file.as_deref())
        .map_err(|message| keep("event-secret-file", message))
        .ok();
    let admin_token = config.admin_token_file.as_deref().map(admin_token).transpose();
    let admin_token = admin_token.map_err(|message| keep("admin-token-file", message)).ok();
    let volume = Volume::open(&config.projects).map_err(|error| keep("projects", error.to_string())).ok();
    let records = volume.as_ref().and_then(|(volume, _)| {
        let records = RecordStore::open(volume.state_dir().join("deploys"));
        records
            .map_err(|error| keep("projects", format!("the records of deploys cannot be read: {error}")))
            .ok()
    });
    match (listener, forward, volume, records, tokens, verifier, admin_token) {
        (
            Some(listener),
            Some(forward),
            Some((volume, unfinished)),
            Some(records),
            Some(tokens),
            Some(verifier),
            Some(admin_token),
        ) if problems.is_empty() => Ok(Ready {
            config,
            listener,
            forward,
            volume,
            unfinished,
            records,
            tokens,
            verifier,
            admin_token,
        }),
        _ => Err(problems),
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("{address} is taken; end what listens there, or name another port")
        }
        _ => format!("{address} cannot be listened on: {error}"),
    })
}

fn verifier(file: Option<&Path>) -> Result<Verifier, String> {
    let Some(file) = file else { return Ok(Verifier::new([])) };
    Secret::read(file)
        .map(|secret| Verifier::new([secret]))
        .map_err(|error| format!("{}: {error}", file.display()))
}

/// Serves until `stop` resolves, then lets deploys and requests finish within the grace, unless `stop` resolves once more.
///
/// # Errors
/// A part cannot be built, or `stop` fails.
pub async fn run<S>(ready: Ready, reloads: Reloads, stop: impl Fn() -> S) -> Result<()>
where
    S: Future<Output = Result<&'static str>>,
{
    let Ready { config, listener, forward, volume, unfinished, records, tokens, verifier, admin_token } =
        ready;
    let first = stop();
    if !volume.can_exchange() {
        tracing::warn!(
            "the volume cannot exchange two folders in one step: between two renames, for less than a millisecond, a project that is deployed has no folder"
        );
    }
    if config.token_file.is_none() {
        tracing::warn!("without --token-file everybody on this machine may deploy");
    }
    if config.event_secret_file.is_none() {
        tracing::info!(
            "without --event-secret-file no event that is posted is believed; the routers' own streams are followed all the same"
        );
    }
    let metrics = Metrics::default();
    let settings = routers::RoutersSettings {
        fixed: config.routers.clone(),
        dns: config.dns.clone(),
        admin_token,
        behind: Some(volume.state_dir().join("behind")),
    };
    let (routers, watching) = Routers::start(settings).context("start to follow the routers")?;
    let settings = deploys::DeploySettings {
        timeout: config.deploy_timeout,
        quorum: config.quorum,
        max_uploads: config.max_uploads,
        // Longer than a clock can tell is for ever.
        keep_removed: config.keep_removed.try_into().unwrap_or(jiff::SignedDuration::MAX),
    };
    let deploys = Deploys::new(settings, volume, routers.clone(), records, unfinished, metrics.clone());
    let forward = forward
        .map(|listener| {
            let settings = forward::Settings {
                trusted: config.trusted.clone(),
                request_timeout: config.request_timeout,
                ..forward::Settings::default()
            };
            forward::Server::start(listener, settings, routers.clone())
        })
        .transpose()
        .context("start to forward")?;
    let (tokens, verifier) = (Arc::new(tokens), Arc::new(verifier));
    let files = SettingsFiles::new(&config, &tokens, &verifier, &routers);
    let (stop_api, stopping) = watch::channel(false);
    let api = Api {
        deploys: deploys.clone(),
        routers: routers.clone(),
        gate: Arc::new(Gate::new(config.public_hosts.clone())),
        tokens,
        verifier,
        metrics,
        forward: forward.as_ref().map(|server| server.metrics() as Arc<dyn MetricSource>),
        limits: config.limits,
        stopping,
    };
    let listener = tokio::net::TcpListener::from_std(listener).context("prepare the listener")?;
    tracing::info!(
        listen = %listener.local_addr().context("read the address")?,
        forward = forward.as_ref().map(|server| server.address().to_string()),
        projects = %config.projects.display(),
        "listening"
    );
    let api = tokio::spawn(api.serve(listener));
    let rereading = tokio::spawn(files.read_again(reloads));

    let signal = first.await?;
    tracing::info!(signal, "stopping: no new deploys and connections; those under way may finish");
    let gracefully = async {
        deploys.stop(config.grace).await;
        if let Some(server) = forward {
            server.stop(config.grace).await;
        }
        rereading.abort();
        stop_api.send_replace(true);
        let _ = api.await;
        watching.abort();
    };
    tokio::select! {
        () = gracefully => {}
        signal = stop() => tracing::warn!(signal = signal?, "stopping at once"),
    }
    tracing::info!("stopped");
    Ok(())
}
