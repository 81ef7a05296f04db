//! `serve`: a router and a bridge in one process, for one machine.
//!
//! Both are the same as in processes of their own: they talk HTTP on loopback, with a token that is
//! generated at each start. The router has the main thread, which makes the cells.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use switchyard_bridge::config::{BridgeConfig, DeployConfig, ForwardConfig, RouterSetConfig, UploadConfig};
use switchyard_bridge::start;
use switchyard_edge::gate::PublicHost;
use switchyard_program::log::LogFormat;
use switchyard_program::settings::values::{address, time};
use switchyard_program::settings::{Problem, Problems, Validate};
use switchyard_program::signal::{self, Reloads};
use switchyard_router::config::{
    AdminConfig, CellConfig, ConnectionConfig, ReadConfig, ReloadConfig, RequestConfig, RouterConfig,
};
use switchyard_router::server::{self, Addresses};
use tokio::sync::watch;

use crate::server::{fail, fail_usage, with_reloads};

/// Settings of a router and a bridge that share a process.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServeConfig {
    /// Volume with the projects: each folder in it is a project
    #[arg(long, value_name = "DIR")]
    projects: PathBuf,

    /// Folder for everything else that is kept; the router's part is DIR/router
    #[arg(long, value_name = "DIR", default_value = ".switchyard")]
    state: PathBuf,

    /// Address of the public listener, for requests to projects
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000", value_parser = address)]
    listen: SocketAddr,

    /// Address of the bridge's API, for deploys
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000", value_parser = address)]
    api: SocketAddr,

    /// Address of the router's admin listener
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8001", value_parser = address)]
    admin: SocketAddr,

    /// File with the tokens that the admin listener accepts, one per line; required unless --admin is a
    /// loopback address
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,

    /// Host name other than localhost under which API and admin listener answer requests without a token;
    /// repeatable
    #[arg(long, value_name = "NAME")]
    public_host: Vec<PublicHost>,

    /// URL that events are posted to (requires --event-secret-file)
    #[arg(long, value_name = "URL")]
    event_url: Option<String>,

    /// File with the secret that signs events
    #[arg(long, value_name = "FILE")]
    event_secret_file: Option<PathBuf>,

    /// TOML file with what projects may do, their limits and their environment; reloaded on SIGHUP
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,

    /// Format of the log on standard error: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text", hide_possible_values = true)]
    log_format: LogFormat,

    /// Time for deploys, and then for requests and SIGTERM handlers of projects, to finish
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time(Duration::ZERO))]
    grace: Duration,

    #[command(flatten)]
    deploys: DeployConfig,

    #[command(flatten)]
    uploads: UploadConfig,

    #[command(flatten)]
    reload: ReloadConfig,

    #[command(flatten)]
    cells: CellConfig,

    #[command(flatten)]
    reads: ReadConfig,

    #[command(flatten)]
    requests: RequestConfig,

    #[command(flatten)]
    connections: ConnectionConfig,
}

impl Validate for ServeConfig {
    fn validate(&self, problems: &mut Problems) {
        self.router().validate(problems);
    }
}

impl ServeConfig {
    /// Format of the log.
    pub(crate) fn log_format(&self) -> LogFormat {
        self.log_format
    }

    fn router(&self) -> RouterConfig {
        RouterConfig {
            projects: self.projects.clone(),
            state: self.state.join("router"),
            listen: self.listen,
            admin: AdminConfig {
                admin: self.admin,
                admin_token_file: self.admin_token_file.clone(),
                public_host: self.public_host.clone(),
                event_url: self.event_url.clone(),
                event_secret_file: self.event_secret_file.clone(),
            },
            policy: self.policy.clone(),
            log_format: self.log_format,
            grace: self.grace,
            reload: self.reload.clone(),
            cells: self.cells.clone(),
            reads: self.reads.clone(),
            requests: self.requests.clone(),
            connections: self.connections.clone(),
        }
    }

    /// The bridge of the router at these addresses. Requests reach that router directly: nothing is
    /// forwarded.
    fn bridge(&self, router: Addresses) -> Result<BridgeConfig> {
        let urls = format!("http://{},http://{}", reachable(router.public), reachable(router.admin));
        Ok(BridgeConfig {
            projects: self.projects.clone(),
            listen: self.api,
            public_host: self.public_host.clone(),
            log_format: self.log_format,
            grace: self.grace,
            routers: RouterSetConfig {
                router: vec![urls.parse().context("name the router for the bridge")?],
                routers: None,
                admin_token_file: None,
                event_secret_file: None,
            },
            forward: ForwardConfig {
                forward: None,
                trusted_proxy: None,
                // Without effect, since nothing is forwarded.
                request_timeout: self.requests.request_timeout,
            },
            deploys: self.deploys.clone(),
            uploads: self.uploads.clone(),
        })
    }
}

/// Returns the address under which this machine itself reaches a listener.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

/// Checks everything that router and bridge need, runs both, and stops the bridge before the router.
pub(crate) fn run(config: ServeConfig) -> ExitCode {
    let started = server::runtime().and_then(with_reloads);
    let (runtime, reloads) = match started {
        Ok(started) => started,
        Err(error) => return fail("serve", &error),
    };
    let router = match server::prepare(config.router()) {
        Ok(router) => router,
        Err(problems) => return fail_usage(problems),
    };
    let addresses = router.addresses().context("read the router's addresses");
    let bridge_config = match addresses.and_then(|addresses| config.bridge(addresses)) {
        Ok(bridge_config) => bridge_config,
        Err(error) => return fail("serve", &error),
    };
    let mut bridge = match start::prepare(bridge_config) {
        Ok(bridge) => bridge,
        Err(problems) => return fail_usage(problems.into_iter().map(as_of_serve).collect()),
    };
    let token = uuid::Uuid::new_v4().simple().to_string();
    router.accept_admin_token(&token);
    bridge.set_admin_token(token);
    match run_both(runtime, router, reloads, bridge) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail("serve", &error),
    }
}

/// Names a setting of the bridge as `serve` calls it.
fn as_of_serve(problem: Problem) -> Problem {
    match problem.subject.as_str() {
        "--listen" => Problem::flag("api", problem.message),
        _ => problem,
    }
}

fn run_both(
    runtime: tokio::runtime::Runtime,
    router: server::Ready,
    reloads: Reloads,
    bridge: start::Ready,
) -> Result<()> {
    let (ended, bridge_ended) = watch::channel(false);
    let bridge = start_bridge(bridge, ended)?;
    // First the end of the bridge, whose deploys need the router; it ends by the same signals, or fails.
    let first = std::sync::atomic::AtomicBool::new(true);
    let shutdown = || {
        let is_first = first.swap(false, std::sync::atomic::Ordering::Relaxed);
        let mut bridge_ended = bridge_ended.clone();
        async move {
            if !is_first {
                return signal::on_signal().await;
            }
            let _ = bridge_ended.wait_for(|ended| *ended).await;
            Ok("the bridge stopped")
        }
    };
    let router = server::run(runtime, router, reloads, shutdown);
    // The router ends after the bridge, unless it failed: the process then ends with it.
    let bridge = if router.is_ok() { bridge.join().unwrap_or_else(|_| Ok(())) } else { Ok(()) };
    router.and(bridge)
}

/// Starts the bridge on threads of its own. Sends true over `ended` when it ends, in whichever way.
fn start_bridge(bridge: start::Ready, ended: watch::Sender<bool>) -> Result<JoinHandle<Result<()>>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let (runtime, reloads) = runtime.context("create the bridge's runtime").and_then(with_reloads)?;
    let run = move || {
        let result = runtime.block_on(start::run(bridge, reloads, signal::on_signal));
        // Not awaited: a thread that reads from a file system that hangs would keep the process.
        runtime.shutdown_background();
        ended.send_replace(true);
        result
    };
    std::thread::Builder::new().name("bridge".to_owned()).spawn(run).context("start the bridge's thread")
}
