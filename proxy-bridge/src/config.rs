//! All settings of the bridge: each flag with its help, its default and the reason for that default.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, Args};
use switchyard_contract::admin::Hold;
use switchyard_edge::gate::PublicHost;
use switchyard_edge::listener::ListenerConfig;
use switchyard_edge::socket::{ListenSetting, check_distinct};
use switchyard_edge::tls::CertificateFiles;
use switchyard_program::log::LogConfig;
use switchyard_program::settings::values::{number, size, time};
use switchyard_program::settings::{Problems, Validate};
use switchyard_program::units::Span;

use super::address::{Dns, RouterAddress};
use super::git_user::GitUser;
use super::ledger::Retention;
use super::upload_limits::UploadLimits;

const MILLISECOND: Duration = Duration::from_millis(1);

/// Settings of the bridge, valid by themselves. The files and addresses that they name are checked by
/// `start::prepare`.
#[derive(Debug, Clone, Args)]
#[command(mut_args(adapt_to_forwarding))]
pub struct BridgeConfig {
    /// Volume that the routers serve
    #[arg(long, value_name = "DIR")]
    pub projects: PathBuf,

    /// Address of the API, for deploys and events: IP:PORT, or unix:PATH for a Unix socket
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    pub listen: ListenSetting,

    #[command(flatten)]
    pub tls: ApiTlsConfig,

    /// Folder for the history of runs, mirrors of git repositories and the states of git sources [default:
    /// .switchyard-bridge/state on the volume]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,

    /// Host name other than localhost under which the API answers requests without a token; repeatable
    #[arg(long, value_name = "NAME")]
    pub public_host: Vec<PublicHost>,

    #[command(flatten)]
    pub log: LogConfig,

    /// Time for deploys and requests to finish when the bridge stops
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time(Duration::ZERO))]
    pub grace: Duration,

    #[command(flatten)]
    pub routers: RouterSetConfig,

    #[command(flatten)]
    pub forward: ForwardConfig,

    #[command(flatten)]
    pub connections: ListenerConfig,

    #[command(flatten)]
    pub deploys: DeployConfig,

    #[command(flatten)]
    pub uploads: UploadConfig,

    #[command(flatten)]
    pub sources: SourceConfig,

    #[command(flatten)]
    pub runs: RunConfig,
}

/// TLS of the API.
#[derive(Debug, Clone, Args)]
pub struct ApiTlsConfig {
    /// File (PEM) with the certificate of the API and its chain (requires --api-tls-key); reloaded when
    /// it changes
    #[arg(long, value_name = "FILE")]
    pub api_tls_cert: Option<PathBuf>,

    /// File (PEM) with the key of --api-tls-cert
    #[arg(long, value_name = "FILE")]
    pub api_tls_key: Option<PathBuf>,
}

/// The routers, and how they and the bridge know each other.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Routers")]
pub struct RouterSetConfig {
    /// Public and admin URL of a router; repeatable, once per replica
    #[arg(long, value_name = "PUBLIC,ADMIN")]
    pub router: Vec<RouterAddress>,

    /// DNS name whose addresses are the replicas, with their public and admin port
    #[arg(long, value_name = "dns://NAME:PORT,PORT")]
    pub routers: Option<Dns>,

    /// File with the token for the routers' admin listeners
    #[arg(long, value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,

    /// File with the secret that the routers sign their events with
    #[arg(long, value_name = "FILE")]
    pub event_secret_file: Option<PathBuf>,
}

/// Requests that the bridge forwards to routers.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Forwarding")]
pub struct ForwardConfig {
    /// Address at which requests for projects are accepted and forwarded to routers [default: off]
    #[arg(long, value_name = "ADDR")]
    pub forward: Option<ListenSetting>,

    /// Time for a router to begin its response to a forwarded request, from the end of the request
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time(MILLISECOND))]
    pub request_timeout: Duration,
}

/// Deploys, and the permission to make them.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Deploys")]
pub struct DeployConfig {
    /// TOML file with tokens and what they allow; required unless the API listens on a loopback address
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Routers that must serve a deploy before it is answered with 200 [default: all that are reachable]
    #[arg(long, value_name = "N", value_parser = number::<usize>(1))]
    pub quorum: Option<usize>,

    /// Time from the end of an upload to the answer
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time(Duration::from_millis(100)))]
    pub deploy_timeout: Duration,

    // Thirty days: a project that is missed at the end of the month is still there.
    /// Time for which versions and data of a removed project are kept for a rollback
    #[arg(long, value_name = "TIME", default_value = "720h", value_parser = time(Duration::ZERO))]
    pub keep_removed: Duration,
}

/// Projects that come from git repositories.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Git sources")]
pub struct SourceConfig {
    /// TOML file with the git repositories that projects come from [default: none]
    #[arg(long, value_name = "FILE")]
    pub sources: Option<PathBuf>,

    /// Folder below which sources may name repositories of this machine (file://); repeatable
    #[arg(long, value_name = "DIR")]
    pub allow_local: Vec<PathBuf>,

    /// User that git runs as, by name or id; needs root [default: the user of the bridge]
    #[arg(long, value_name = "NAME|UID[:GID]")]
    pub git_user: Option<GitUser>,
}

/// Runs of tasks and pipelines.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Tasks and runs")]
pub struct RunConfig {
    /// Address at which webhooks of tasks and of git servers are received [default: off]
    #[arg(long, value_name = "ADDR")]
    pub hooks: Option<ListenSetting>,

    /// File (PEM) with the certificate of --hooks and its chain (requires --hooks-tls-key); reloaded when it
    /// changes
    #[arg(long, value_name = "FILE")]
    pub hooks_tls_cert: Option<PathBuf>,

    /// File (PEM) with the key of --hooks-tls-cert
    #[arg(long, value_name = "FILE")]
    pub hooks_tls_key: Option<PathBuf>,

    // Thirty days: a run of the last month's end is still there.
    /// Time for which ended runs and their logs are kept; those that failed, twice as long
    #[arg(long, value_name = "TIME", default_value = "720h", value_parser = time(Duration::from_secs(60)))]
    pub keep_runs: Duration,

    /// Ended runs of one task that are kept
    #[arg(long, value_name = "N", default_value = "10000", value_parser = number::<u64>(1))]
    pub max_runs_kept: u64,

    /// Size of the history of runs, with their logs; the oldest go first
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = size::<u64>(16 << 20))]
    pub history_size: u64,
}

impl RunConfig {
    /// Returns the files with the certificate of the listener of webhooks.
    fn certificate(&self, problems: &mut Problems) -> Option<CertificateFiles> {
        let files = [&self.hooks_tls_cert, &self.hooks_tls_key];
        if let Some(hooks) = &self.hooks {
            return CertificateFiles::of("hooks-tls", files, hooks.address().ip().is_some(), problems);
        }
        for (flag, file) in ["hooks-tls-cert", "hooks-tls-key"].into_iter().zip(files) {
            if file.is_some() {
                problems.flag(flag, "has no effect without a listener: add --hooks ADDR, or leave it out");
            }
        }
        None
    }

    /// Returns how much of the history is kept.
    pub fn retention(&self) -> Retention {
        Retention { age: self.keep_runs, per_task: self.max_runs_kept, bytes: self.history_size }
    }
}

/// Bounds of one upload.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits of uploads")]
pub struct UploadConfig {
    // Each holds a connection, a staging folder and a few hundred kilobytes of buffers.
    /// Uploads received at once; any beyond get 503
    #[arg(long, value_name = "N", default_value = "32", value_parser = number::<usize>(1))]
    pub max_uploads: usize,

    /// Size of an upload as it is sent
    #[arg(long, value_name = "SIZE", default_value = "100MiB", value_parser = size::<u64>(1))]
    pub max_upload: u64,

    /// Size of an upload's files when unpacked
    #[arg(long, value_name = "SIZE", default_value = "500MiB", value_parser = size::<u64>(1))]
    pub max_size: u64,

    /// Files and folders in an upload
    #[arg(long, value_name = "N", default_value = "20000", value_parser = number::<usize>(1))]
    pub max_files: usize,

    /// Depth of nested folders
    #[arg(long, value_name = "N", default_value = "32", value_parser = number::<usize>(1))]
    pub max_depth: usize,

    // The limit of Linux file systems.
    /// Length of the name of a file or folder
    #[arg(long, value_name = "SIZE", default_value = "255", value_parser = size::<usize>(1))]
    pub max_name: usize,

    /// Size of the headers of one part of a multipart upload
    #[arg(long, value_name = "SIZE", default_value = "8KiB", value_parser = size::<usize>(1))]
    pub max_part_headers: usize,

    // RFC 2046, section 5.1.1.
    /// Length of the boundary between parts
    #[arg(long, value_name = "SIZE", default_value = "70", value_parser = size::<usize>(1))]
    pub max_boundary: usize,

    /// Time for an upload to arrive
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time(MILLISECOND))]
    pub upload_timeout: Duration,
}

/// Time for which the listener that forwards keeps a connection without a request. Proxies in front keep
/// idle connections for up to a minute. They should be the ones that close, since a request may be on its
/// way.
const FORWARD_IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// Changes the flags of a public listener to those of `--forward`.
fn adapt_to_forwarding(arg: Arg) -> Arg {
    if arg.get_help_heading() != Some(ListenerConfig::HEADING) {
        return arg;
    }
    let is_idle_timeout = arg.get_long() == Some("idle-timeout");
    let arg = arg.help_heading("Connections to --forward");
    if is_idle_timeout { arg.default_value(Span(FORWARD_IDLE_TIMEOUT).to_string()) } else { arg }
}

impl BridgeConfig {
    /// Returns the files with the certificates of the API, of the listener that forwards, and of that of
    /// webhooks.
    pub(crate) fn certificates(&self, problems: &mut Problems) -> [Option<CertificateFiles>; 3] {
        let files = [&self.tls.api_tls_cert, &self.tls.api_tls_key];
        let api = CertificateFiles::of("api-tls", files, self.listen.address().ip().is_some(), problems);
        let forward = self.forward.forward.as_ref();
        if forward.is_none() {
            let tls = &self.connections;
            for (flag, file) in [("tls-cert", &tls.tls_cert), ("tls-key", &tls.tls_key)] {
                if file.is_some() {
                    let message = format!("requires --forward; for the API use --api-{flag}");
                    problems.flag(flag, message);
                }
            }
        }
        let forward = forward.and_then(|forward| self.connections.certificate(forward, problems));
        [api, forward, self.runs.certificate(problems)]
    }
}

impl Validate for BridgeConfig {
    fn validate(&self, problems: &mut Problems) {
        let others = [("forward", &self.forward.forward), ("hooks", &self.runs.hooks)];
        let others = others.into_iter().filter_map(|(flag, listener)| Some((flag, listener.as_ref()?)));
        check_distinct([("listen", &self.listen)].into_iter().chain(others), problems);
        self.certificates(problems);
        let reachable = self.listen.address().ip().filter(|address| !address.ip().is_loopback());
        if let (None, Some(address)) = (&self.deploys.token_file, reachable) {
            let message = format!(
                "{address} is reachable from other machines: set --token-file, or listen on a loopback address such \
                 as 127.0.0.1:{}",
                address.port()
            );
            problems.flag("listen", message);
        }
        if self.deploys.deploy_timeout > MAX_DEPLOY_TIMEOUT {
            let message =
                "is too long: at most 9m is possible, because routers hold a project for 10m at most";
            problems.flag("deploy-timeout", message);
        }
        if self.forward.forward.is_some() {
            for router in self.routers.router.iter().filter(|router| router.has_public_tls()) {
                let message = format!("{router}: requests are forwarded by plain HTTP: name its http:// URL");
                problems.flag("router", message);
            }
        }
        self.routers.validate(problems);
        self.sources.validate(problems);
    }
}

impl Validate for SourceConfig {
    fn validate(&self, problems: &mut Problems) {
        if self.sources.is_some() {
            return;
        }
        let flags = [("allow-local", !self.allow_local.is_empty()), ("git-user", self.git_user.is_some())];
        for (flag, is_set) in flags {
            if is_set {
                problems.flag(flag, "has no effect without sources: add --sources FILE, or leave it out");
            }
        }
    }
}

/// The longest time for a deploy. Routers hold its projects for this time and a margin, and accept
/// holds of at most [`Hold::MAX_LEASE_MS`].
const MAX_DEPLOY_TIMEOUT: Duration = Duration::from_millis(Hold::MAX_LEASE_MS - 60_000);

impl Validate for RouterSetConfig {
    fn validate(&self, problems: &mut Problems) {
        if self.router.is_empty() && self.routers.is_none() {
            let message = "is required: the router's two URLs, such as \
                           http://127.0.0.1:8000,http://127.0.0.1:8001; or --routers dns://…";
            problems.flag("router", message);
        }
        for (at, address) in self.router.iter().enumerate() {
            if self.router[..at].contains(address) {
                problems.flag("router", format!("{address} is given twice"));
            }
        }
    }
}

impl UploadConfig {
    /// Returns the bounds of one upload.
    #[must_use]
    pub fn limits(&self) -> UploadLimits {
        UploadLimits {
            body: self.max_upload,
            size: self.max_size,
            files: self.max_files,
            depth: self.max_depth,
            name: self.max_name,
            part_headers: self.max_part_headers,
            boundary: self.max_boundary,
            time: self.upload_timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::Command;
    use switchyard_edge::listener::ListenerLimits;
    use switchyard_program::settings::{CommandLine, parse as parse_settings, with_variables};

    use super::*;

    fn parse(args: &[&str]) -> Result<BridgeConfig, Vec<String>> {
        let command = with_variables(BridgeConfig::augment_args(Command::new("bridge")));
        match parse_settings(command, args.iter().map(OsString::from), |_| None) {
            Ok(CommandLine::Run(config)) => Ok(config),
            Ok(CommandLine::Print(text)) => panic!("printed {text}"),
            Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
        }
    }

    const ROUTER_URLS: &str = "http://127.0.0.1:8000,http://127.0.0.1:8001";

    #[test]
    fn the_volume_and_a_router_are_enough() {
        let config = parse(&["--projects", "/srv", "--router", ROUTER_URLS]).unwrap();
        assert_eq!(config.routers.router.len(), 1);
        assert!(config.deploys.quorum.is_none() && config.forward.forward.is_none());
        assert_eq!(config.uploads.limits(), UploadLimits::default());
        assert_eq!(config.connections.idle_timeout, FORWARD_IDLE_TIMEOUT);
        assert_eq!(config.connections.max_connections, ListenerLimits::DEFAULT.max_connections);
        assert_eq!(config.deploys.keep_removed, Duration::from_secs(30 * 24 * 3600));
    }

    #[test]
    fn a_deploy_has_no_more_time_than_routers_hold_its_projects() {
        let with =
            |time: &str| parse(&["--projects", "/srv", "--router", ROUTER_URLS, "--deploy-timeout", time]);
        assert!(with("9m").is_ok());
        assert!(with("10m").unwrap_err()[0].contains("at most 9m"));
    }

    #[test]
    fn every_wrong_setting_is_named_at_once() {
        let args = [
            "--router",
            "nowhere",
            "--quorum",
            "0",
            "--listen",
            "here",
            "--routers",
            "dns:x",
            "--max-files=no",
        ];
        let problems = parse(&args).unwrap_err();
        for flag in ["--projects", "--router", "--routers", "--quorum", "--listen", "--max-files"] {
            assert!(problems.iter().any(|problem| problem.starts_with(flag)), "{flag}: {problems:?}");
        }
        assert_eq!(problems.len(), 6, "{problems:?}");
    }

    #[test]
    fn an_api_that_others_can_reach_needs_tokens() {
        let open = ["--projects", "/srv", "--router", ROUTER_URLS, "--listen", "0.0.0.0:9000"];
        let problems = parse(&open).unwrap_err();
        assert!(problems[0].starts_with("--listen: 0.0.0.0:9000 is reachable"), "{problems:?}");
        assert!(parse(&[&open[..], &["--token-file", "/tokens"]].concat()).is_ok());
    }

    #[test]
    fn the_certificate_of_forwarded_requests_needs_their_listener() {
        let args = ["--projects", "/srv", "--router", ROUTER_URLS, "--tls-cert", "/c", "--tls-key", "/k"];
        let problems = parse(&args).unwrap_err();
        assert_eq!(problems[0], "--tls-cert: requires --forward; for the API use --api-tls-cert");
        assert!(problems.len() == 2 && problems[1].contains("--api-tls-key"), "{problems:?}");
    }

    #[test]
    fn every_listener_has_an_address_of_its_own() {
        let args =
            ["--projects", "/srv", "--router", ROUTER_URLS, "--listen", "unix:/a", "--hooks", "unix:/a"];
        let problems = parse(&args).unwrap_err();
        assert_eq!(problems, ["--hooks: unix:/a is the address of --listen too: name another one"]);
    }

    #[test]
    fn a_router_that_is_given_twice_is_a_mistake() {
        let args = ["--projects", "/srv", "--router", ROUTER_URLS, "--router", ROUTER_URLS];
        assert!(parse(&args).unwrap_err()[0].contains("given twice"));
    }
}
