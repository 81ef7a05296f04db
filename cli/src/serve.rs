//! `serve`: a router and a bridge in one process, for one machine.
//!
//! Both are the same as in processes of their own: they talk HTTP at the admin listener, or at a Unix
//! socket in the state folder if that has TLS, with a token that is generated at each start. The router
//! has the main thread, which makes the cells.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use switchyard_bridge::config::{
    ApiTlsConfig, BridgeConfig, DeployConfig, ForwardConfig, RouterSetConfig, RunConfig, SourceConfig,
    UploadConfig,
};
use switchyard_bridge::start;
use switchyard_edge::gate::PublicHost;
use switchyard_edge::listener::ListenerConfig;
use switchyard_edge::socket::{ListenAddress, ListenSetting, check_distinct};
use switchyard_program::log::LogConfig;
use switchyard_program::service;
use switchyard_program::settings::values::time;
use switchyard_program::settings::{Problem, Problems, Validate};
use switchyard_program::signal::Reloads;
use switchyard_router::config::{
    AccessLogConfig, AdminConfig, CellConfig, ReadConfig, ReloadConfig, RequestConfig, RouterConfig,
    TraceConfig,
};
use switchyard_router::server::{self, Addresses};
use tokio::sync::watch;

use crate::server::{fail, fail_usage, with_reloads};
use crate::sockets::{self, Slot};
use crate::stop::StopSignals;

/// Settings of a router and a bridge that share a process.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServeConfig {
    /// Volume with the projects: each folder in it is a project
    #[arg(long, value_name = "DIR")]
    projects: PathBuf,

    /// Folder for everything else that is kept: the router's in DIR/router, the bridge's in DIR/bridge
    #[arg(long, value_name = "DIR", default_value = ".switchyard")]
    state: PathBuf,

    /// Address of the public listener, for requests to projects: IP:PORT, or unix:PATH for a Unix socket
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000")]
    listen: ListenSetting,

    /// Address of the bridge's API, for deploys
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    api: ListenSetting,

    #[command(flatten)]
    tls: ApiTlsConfig,

    /// Address of the router's admin listener
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8001")]
    admin: ListenSetting,

    /// File with the tokens that the admin listener accepts, one per line; required unless --admin is a
    /// loopback address
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,

    /// File (PEM) with the certificate of the admin listener and its chain (requires --admin-tls-key);
    /// reloaded when it changes
    #[arg(long, value_name = "FILE")]
    admin_tls_cert: Option<PathBuf>,

    /// File (PEM) with the key of --admin-tls-cert
    #[arg(long, value_name = "FILE")]
    admin_tls_key: Option<PathBuf>,

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

    #[command(flatten)]
    log: LogConfig,

    /// Time for deploys, and then for requests and SIGTERM handlers of projects, to finish
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time(Duration::ZERO))]
    grace: Duration,

    #[command(flatten)]
    deploys: DeployConfig,

    #[command(flatten)]
    uploads: UploadConfig,

    #[command(flatten)]
    sources: SourceConfig,

    #[command(flatten)]
    runs: RunConfig,

    #[command(flatten)]
    reload: ReloadConfig,

    #[command(flatten)]
    cells: CellConfig,

    #[command(flatten)]
    reads: ReadConfig,

    #[command(flatten)]
    requests: RequestConfig,

    #[command(flatten)]
    access_log: AccessLogConfig,

    #[command(flatten)]
    connections: ListenerConfig,

    #[command(flatten)]
    traces: TraceConfig,
}

impl Validate for ServeConfig {
    fn validate(&self, problems: &mut Problems) {
        let listeners = [("listen", &self.listen), ("api", &self.api), ("admin", &self.admin)];
        let hooks = self.runs.hooks.as_ref().map(|hooks| ("hooks", hooks));
        check_distinct(listeners.into_iter().chain(hooks), problems);
        self.router().validate(problems);
        let mut of_bridge = Problems::default();
        match self.bridge(&self.addresses()) {
            Ok(bridge) => bridge.validate(&mut of_bridge),
            Err(error) => problems.flag("listen", format!("{error:#}")),
        }
        for problem in of_bridge.into_vec().into_iter().map(as_of_serve) {
            match problem.subject.strip_prefix("--") {
                Some(flag) => problems.flag(flag, problem.message),
                None => problems.add(problem),
            }
        }
    }
}

impl ServeConfig {
    /// Options of the log.
    pub(crate) fn log(&self) -> LogConfig {
        self.log
    }

    /// The addresses of the listeners that have one by default, and their flags.
    pub(crate) fn listeners(&self) -> [(&'static str, &ListenAddress); 3] {
        [("listen", &self.listen), ("admin", &self.admin), ("api", &self.api)]
            .map(|(flag, listener)| (flag, listener.address()))
    }

    /// The addresses in the settings: those that the listeners are bound to, unless a port is 0.
    fn addresses(&self) -> Addresses {
        Addresses {
            public: self.listen.address().clone(),
            admin: self.admin.address().clone(),
            own_admin: None,
        }
    }

    fn router(&self) -> RouterConfig {
        RouterConfig {
            projects: self.projects.clone(),
            state: self.state.join("router"),
            listen: self.listen.clone(),
            admin: AdminConfig {
                admin: self.admin.clone(),
                admin_token_file: self.admin_token_file.clone(),
                admin_tls_cert: self.admin_tls_cert.clone(),
                admin_tls_key: self.admin_tls_key.clone(),
                public_host: self.public_host.clone(),
                event_url: self.event_url.clone(),
                event_secret_file: self.event_secret_file.clone(),
            },
            policy: self.policy.clone(),
            log: self.log,
            grace: self.grace,
            reload: self.reload.clone(),
            cells: self.cells.clone(),
            reads: self.reads.clone(),
            requests: self.requests.clone(),
            access_log: self.access_log.clone(),
            connections: self.connections.clone(),
            // The bridge need not know whom the certificate is for.
            has_own_admin: self.admin_tls_cert.is_some(),
            traces: self.traces.clone(),
        }
    }

    /// The bridge of the router at these addresses. Requests reach that router directly: nothing is
    /// forwarded.
    fn bridge(&self, router: &Addresses) -> Result<BridgeConfig> {
        let admin = router.own_admin.as_ref().unwrap_or(&router.admin);
        let public = if self.connections.tls_cert.is_some() { "https" } else { "http" };
        let urls = format!("{},{}", reachable(public, &router.public), reachable("http", admin));
        Ok(BridgeConfig {
            projects: self.projects.clone(),
            state: Some(self.state.join("bridge")),
            listen: self.api.clone(),
            tls: self.tls.clone(),
            public_host: self.public_host.clone(),
            log: self.log,
            grace: self.grace,
            routers: RouterSetConfig {
                router: vec![urls.parse().context("name the router for the bridge")?],
                routers: None,
                admin_token_file: None,
                event_secret_file: None,
            },
            forward: ForwardConfig {
                forward: None,
                // Without effect, since nothing is forwarded.
                request_timeout: self.requests.request_timeout,
            },
            connections: ListenerConfig { tls_cert: None, tls_key: None, ..self.connections.clone() },
            deploys: self.deploys.clone(),
            uploads: self.uploads.clone(),
            sources: self.sources.clone(),
            runs: self.runs.clone(),
        })
    }
}

/// Returns the URL under which this machine itself reaches a listener.
fn reachable(scheme: &str, listener: &ListenAddress) -> String {
    let Some(address) = listener.ip() else { return listener.to_string() };
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("{scheme}://{}", SocketAddr::new(ip, address.port()))
}

/// Checks everything that router and bridge need, runs both, and stops the bridge before the router.
pub(crate) fn run(mut config: ServeConfig) -> ExitCode {
    service::start(2);
    // Before anything that takes time: SIGHUP must not end the process then either.
    let (runtime, reloads) = match server::runtime().and_then(with_reloads) {
        Ok(started) => started,
        Err(error) => return fail("serve", &error),
    };
    let inherited = sockets::inherit(&mut config, |config| {
        vec![
            ("public", Slot::Always(&mut config.listen)),
            ("api", Slot::Always(&mut config.api)),
            ("admin", Slot::Always(&mut config.admin)),
            ("hooks", Slot::Optional(&mut config.runs.hooks)),
        ]
    });
    let ready = match inherited.and_then(|()| prepare(&config)) {
        Ok(ready) => ready,
        Err(problems) => return fail_usage("serve", problems),
    };
    runtime.spawn(service::keep_alive());
    let run = StopSignals::watch(&runtime).and_then(|signals| run_both(runtime, ready, reloads, signals));
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail("serve", &error),
    }
}

/// A router and a bridge, checked and opened.
pub(crate) struct Ready {
    pub(crate) router: server::Ready,
    bridge: start::Ready,
}

impl Ready {
    /// Returns the addresses of the router, and that of the API: with the actual ports where the
    /// settings have port 0.
    ///
    /// # Errors
    /// The kernel does not say.
    pub(crate) fn addresses(&self) -> Result<(Addresses, ListenAddress)> {
        let router = self.router.addresses().context("read the router's addresses")?;
        Ok((router, self.bridge.address().context("read the address of the API")?))
    }
}

/// Checks and opens everything that the settings name, and has the router accept the bridge.
///
/// # Errors
/// All problems of both.
pub(crate) fn prepare(config: &ServeConfig) -> Result<Ready, Vec<Problem>> {
    let mut problems = Vec::new();
    let router = server::prepare(config.router()).map_err(|found| problems.extend(found)).ok();
    // The bridge is checked even if the router cannot start: all problems are reported together.
    let addresses = router.as_ref().and_then(|router| router.addresses().ok());
    let bridge = config
        .bridge(&addresses.unwrap_or_else(|| config.addresses()))
        .map_err(|error| vec![Problem::flag("listen", format!("{error:#}"))])
        .and_then(start::prepare);
    let bridge = bridge.map_err(|found| add_problems_of_bridge(&mut problems, found)).ok();
    let (Some(router), Some(mut bridge)) = (router, bridge) else { return Err(problems) };
    let token = uuid::Uuid::new_v4().simple().to_string();
    router.accept_admin_token(&token);
    bridge.set_admin_token(token);
    Ok(Ready { router, bridge })
}

/// Adds the bridge's problems, but for settings with which the router has one already: both open the
/// volume, for example.
fn add_problems_of_bridge(problems: &mut Vec<Problem>, of_bridge: Vec<Problem>) {
    let of_router = problems.len();
    for problem in of_bridge.into_iter().map(as_of_serve) {
        if !problems[..of_router].iter().any(|other| other.subject == problem.subject) {
            problems.push(problem);
        }
    }
}

/// Names a setting of the bridge as `serve` calls it.
fn as_of_serve(problem: Problem) -> Problem {
    match problem.subject.as_str() {
        "--listen" => Problem::flag("api", problem.message),
        _ => problem,
    }
}

/// Runs both until the first signal, and at most until the second one.
///
/// # Errors
/// Either fails.
pub(crate) fn run_both(
    runtime: tokio::runtime::Runtime,
    ready: Ready,
    reloads: Reloads,
    signals: StopSignals,
) -> Result<()> {
    let (addresses, api) = ready.addresses()?;
    tracing::info!(
        listen = %addresses.public,
        %api,
        admin = %addresses.admin,
        "starting a router and a bridge in one process"
    );
    let Ready { router, bridge } = ready;
    let (ended, bridge_ended) = watch::channel(false);
    let bridge = start_bridge(bridge, reloads.share(), signals.clone(), ended)?;
    let calls = AtomicUsize::new(0);
    let shutdown = || {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        let (signals, mut bridge_ended) = (signals.clone(), bridge_ended.clone());
        async move {
            if call > 0 {
                return signals.nth(2).await;
            }
            // First the bridge, whose deploys need the router. It ends by a signal, or fails.
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
fn start_bridge(
    bridge: start::Ready,
    reloads: Reloads,
    signals: StopSignals,
    ended: watch::Sender<bool>,
) -> Result<JoinHandle<Result<()>>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("create the bridge's runtime")?;
    let calls = AtomicUsize::new(0);
    let shutdown = move || {
        let (signals, call) = (signals.clone(), calls.fetch_add(1, Ordering::Relaxed));
        async move { signals.nth(call + 1).await }
    };
    let run = move || {
        let result = runtime.block_on(start::run(bridge, reloads, shutdown));
        // Not awaited: a thread that reads from a file system that hangs would keep the process.
        runtime.shutdown_background();
        ended.send_replace(true);
        result
    };
    std::thread::Builder::new().name("bridge".to_owned()).spawn(run).context("start the bridge's thread")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::Command;
    use switchyard_program::settings::{CommandLine, parse as parse_settings, with_variables};

    use super::*;

    fn parse(args: &[&str]) -> Result<ServeConfig, Vec<String>> {
        let command = with_variables(ServeConfig::augment_args(Command::new("serve")));
        match parse_settings(command, args.iter().map(OsString::from), |_| None) {
            Ok(CommandLine::Run(config)) => Ok(config),
            Ok(CommandLine::Print(text)) => panic!("printed {text}"),
            Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn the_volume_alone_is_enough() {
        let config = parse(&["--projects", "/srv"]).unwrap();
        let bridge = config.bridge(&config.addresses()).unwrap();
        assert_eq!((bridge.listen.address(), bridge.routers.router.len()), (config.api.address(), 1));
    }

    #[test]
    fn the_settings_of_both_parts_are_checked_together() {
        let args = ["--projects=/srv", "--api=0.0.0.0:9000", "--admin=0.0.0.0:8001", "--event-url=http://h/"];
        let problems = parse(&args).unwrap_err();
        for begin in ["--api: 0.0.0.0:9000 is reachable", "--admin: 0.0.0.0:8001 is", "--event-secret-file: "]
        {
            assert!(problems.iter().any(|problem| problem.starts_with(begin)), "{begin}: {problems:?}");
        }
        assert_eq!(problems.len(), 3, "{problems:?}");
    }

    #[test]
    fn every_listener_has_an_address_of_its_own() {
        let problems = parse(&["--projects=/srv", "--api=127.0.0.1:8001"]).unwrap_err();
        assert_eq!(problems, ["--admin: 127.0.0.1:8001 is the address of --api too: name another one"]);
        let same = ["--projects=/srv", "--api=127.0.0.1:8000", "--admin=127.0.0.1:8000"];
        assert_eq!(parse(&same).unwrap_err().len(), 2);
        let chosen = ["--projects=/srv", "--listen=127.0.0.1:0", "--api=127.0.0.1:0", "--admin=127.0.0.1:0"];
        assert!(parse(&chosen).is_ok());
    }

    #[test]
    fn a_problem_that_both_parts_have_is_reported_once() {
        let mut problems = vec![Problem::flag("projects", "cannot be read")];
        let of_bridge = ["projects", "listen", "token-file"].map(|flag| Problem::flag(flag, "is wrong"));
        add_problems_of_bridge(&mut problems, of_bridge.to_vec());
        let subjects: Vec<_> = problems.iter().map(|problem| problem.subject.as_str()).collect();
        assert_eq!(subjects, ["--projects", "--api", "--token-file"]);
    }
}
