//! All settings of the router: each flag with its help, its default and the reason for that default.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use switchyard_edge::gate::PublicHost;
use switchyard_edge::listener::ListenerConfig;
use switchyard_edge::socket::{ListenSetting, check_distinct};
use switchyard_edge::tls::CertificateFiles;
use switchyard_program::log::LogConfig;
use switchyard_program::settings::values::{InvalidValue, number, size, time};
use switchyard_program::settings::{Problems, Validate};

use crate::inspect::Inspectable;
use crate::policy::ReadLimits;
use crate::user::UserRange;

const ZERO: Duration = Duration::ZERO;
const MILLISECOND: Duration = Duration::from_millis(1);

// The default of --debounce: what is not known to be complete is treated as without `auto`.
/// Quiet time of `--debounce auto` after changes that may be incomplete.
pub const AUTO_DEBOUNCE: Duration = Duration::from_millis(500);

/// Settings of the router, valid by themselves. The files and addresses that they name are checked by
/// `server::prepare`.
#[derive(Debug, Clone, Args)]
pub struct RouterConfig {
    /// Volume with the projects: each folder in it is a project
    #[arg(long, value_name = "DIR")]
    pub projects: PathBuf,

    /// Folder for checkouts, sockets and everything that must survive a restart
    #[arg(long, value_name = "DIR", default_value = ".switchyard")]
    pub state: PathBuf,

    /// Address of the public listener: IP:PORT, or unix:PATH for a Unix socket
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000")]
    pub listen: ListenSetting,

    /// TOML file with what projects may do, their limits and their environment; reloaded on SIGHUP
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,

    #[command(flatten)]
    pub log: LogConfig,

    /// Time for a replaced version to finish its requests, and then its SIGTERM handlers
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time(ZERO))]
    pub grace: Duration,

    #[command(flatten)]
    pub admin: AdminConfig,

    #[command(flatten)]
    pub reload: ReloadConfig,

    #[command(flatten)]
    pub cells: CellConfig,

    #[command(flatten)]
    pub reads: ReadConfig,

    #[command(flatten)]
    pub requests: RequestConfig,

    #[command(flatten)]
    pub access_log: AccessLogConfig,

    #[command(flatten)]
    pub connections: ListenerConfig,

    #[command(flatten)]
    pub traces: TraceConfig,

    /// One more admin listener, with plain HTTP at a Unix socket, for a bridge in the same process.
    #[arg(skip)]
    pub has_own_admin: bool,
}

/// The admin listener, and where events go.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Admin listener and events")]
pub struct AdminConfig {
    /// Address of the admin listener
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8001")]
    pub admin: ListenSetting,

    /// File with the tokens that the admin listener accepts, one per line; required unless --admin is a
    /// loopback address
    #[arg(long, value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,

    /// File (PEM) with the certificate of the admin listener and its chain (requires --admin-tls-key);
    /// reloaded when it changes
    #[arg(long, value_name = "FILE")]
    pub admin_tls_cert: Option<PathBuf>,

    /// File (PEM) with the key of --admin-tls-cert
    #[arg(long, value_name = "FILE")]
    pub admin_tls_key: Option<PathBuf>,

    /// Host name other than localhost under which the admin listener answers requests without a token;
    /// repeatable
    #[arg(long, value_name = "NAME")]
    pub public_host: Vec<PublicHost>,

    /// URL that events are posted to (requires --event-secret-file)
    #[arg(long, value_name = "URL")]
    pub event_url: Option<String>,

    /// File with the secret that signs events
    #[arg(long, value_name = "FILE")]
    pub event_secret_file: Option<PathBuf>,
}

/// Options of seeing, building and publishing changes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Reloading")]
pub struct ReloadConfig {
    /// Quiet time after the last change of a project before the project is read; auto: 500ms, or less
    /// after a save that is known to be complete
    #[arg(long, value_name = "TIME", default_value = "500ms")]
    pub debounce: Debounce,

    /// Interval of comparing all files, instead of file events; automatic (2s) on mounts without events
    #[arg(long, value_name = "TIME", value_parser = time(Duration::from_millis(10)))]
    pub poll: Option<Duration>,

    // 1,000 projects of ten files took 0.3 s of one core, spread over 16 s.
    /// Pause between comparisons of all files, which find changes that had no file event; 0: never
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time(ZERO))]
    pub compare: Duration,

    /// Time for a version to load and to begin to serve
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time(MILLISECOND))]
    pub build_timeout: Duration,

    /// Time after SIGTERM in which new requests are still accepted while /readyz answers 503
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = time(ZERO))]
    pub drain_delay: Duration,

    /// Checkouts kept per project besides those in use
    #[arg(long, value_name = "N", default_value = "5", value_parser = number::<usize>(0))]
    pub keep: usize,

    // Whoever may call the admin listener then has the router read and serve what lies there.
    /// Folders below which a project may be read from a local folder instead of the volume, for
    /// development (PUT /projects/NAME/override); repeatable, or separated by commas
    #[arg(long, value_name = "DIR", value_delimiter = ',')]
    pub allow_override: Vec<PathBuf>,

    /// For development: show build errors in the browser, have pages reload when their project has
    /// changed, and give each project the variables in its own file .env
    #[arg(long)]
    pub dev: bool,

    /// With --dev, leave pages as the projects sent them: no overlay with errors, and no reload
    #[arg(long)]
    pub no_overlay: bool,
}

/// The quiet time after the last change of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Debounce {
    /// The same time after every change.
    Fixed(Duration),
    /// [`AUTO_DEBOUNCE`], or less after changes that are known to be complete.
    Auto,
}

/// The processes of projects.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cells (the processes of projects)")]
pub struct CellConfig {
    // Two: one for the edit under way and one for its neighbor's. Each costs the memory of a warm V8.
    /// Warm cells kept ready
    #[arg(long, value_name = "N", default_value = "2", value_parser = number::<usize>(0))]
    pub spares: usize,

    // A hundred hello worlds take about 1.5 GB.
    /// Cells that run at once; beyond it, the least recently used are stopped until their next request
    #[arg(long, value_name = "N", default_value = "100", value_parser = number::<usize>(1))]
    pub max_cells: usize,

    /// Runs of tasks at once, of all projects [default: twice the number of cores]
    #[arg(long, value_name = "N", value_parser = number::<u32>(1))]
    pub max_runs: Option<u32>,

    // A React page that is rendered on the server takes 5 MB, a graph of a thousand modules as much.
    /// Compiled modules kept on disk per project; 0: none
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size::<u64>(0))]
    pub module_cache: u64,

    // Two hundred lines a second without end. A disk of 10 GB holds five hours of the most that all
    // projects may log.
    /// Output of a project that goes into the log per minute; all projects together: eight times that
    #[arg(long, value_name = "SIZE", default_value = "4MiB", value_parser = size::<u64>(1 << 20))]
    pub project_log: u64,

    /// Fetch the packages and remote modules that projects name and the volume does not have
    #[arg(long)]
    pub allow_install: bool,

    // The first installation of a large project over a slow line. Cells have --build-timeout, which
    // starts afterwards.
    /// Time for fetching the packages of one version
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time(MILLISECOND))]
    pub install_timeout: Duration,

    /// Project that debuggers may attach to through the admin listener, or "all"; repeatable
    #[arg(long, value_name = "NAME")]
    pub inspect: Vec<String>,

    /// Refuse to start if the kernel does not support every layer of the sandbox
    #[arg(long)]
    pub require_sandbox: bool,

    /// Range of user ids for cells, one per project; needs root [default: 200000-265535]
    #[arg(long, value_name = "FIRST-LAST")]
    pub cell_users: Option<UserRange>,

    /// Run the cells of all projects as this one user instead; needs root
    #[arg(long, value_name = "NAME")]
    pub cell_user: Option<String>,

    /// Run cells as root: code that escapes the sandbox then controls the machine
    #[arg(long = "dangerously-run-cells-as-root")]
    pub root_cells: bool,

    /// Delegated control group (cgroup v2) in which each cell gets a group of its own
    #[arg(long, value_name = "DIR")]
    pub cgroup: Option<PathBuf>,
}

/// The size of a project. The policy can override each of them.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits of a project's files (the policy can override them)")]
pub struct ReadConfig {
    // Large applications have a tenth of it. Listing this many takes a fifth of a second.
    /// Files in a project, including everything that is not a folder
    #[arg(long, value_name = "N", default_value = "50000", value_parser = number::<u64>(10))]
    pub max_project_files: u64,

    // Each is watched, which costs a kilobyte of kernel memory. The largest known source trees have a
    // third of it.
    /// Folders in a project, counted again for every symbolic link to them
    #[arg(long, value_name = "N", default_value = "20000", value_parser = number::<u64>(10))]
    pub max_project_folders: u64,

    // Each version has a copy. Twenty seconds at 50 MB/s.
    /// Total size of a project's files
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = size::<u64>(1))]
    pub max_project_size: u64,

    // Videos and data sets are larger, and belong in a store made for them.
    /// Size of one file
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size::<u64>(1))]
    pub max_file_size: u64,

    // The largest project that is allowed, read and copied from a slow disk.
    /// Time for reading a project's files, without the wait for its turn
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time(Duration::from_secs(1)))]
    pub read_timeout: Duration,
}

/// Requests to a project. The policy can override each of them.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits of a project's requests (the policy can override them)")]
pub struct RequestConfig {
    /// Time for a project to begin its response, from the end of the request
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time(MILLISECOND))]
    pub request_timeout: Duration,

    /// Size of a request body
    #[arg(long, value_name = "SIZE", default_value = "10MiB", value_parser = size::<u64>(0))]
    pub max_body: u64,

    /// Requests in flight per project; 100 more wait for up to 10 s, and any beyond get 503
    #[arg(long, value_name = "N", default_value = "100", value_parser = number::<usize>(1))]
    pub max_in_flight: usize,
}

/// The access log.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Access log")]
pub struct AccessLogConfig {
    /// File to which a line about each request is added, or - for standard output; opened again on SIGHUP
    #[arg(long, value_name = "FILE")]
    pub access_log: Option<PathBuf>,

    /// Format of the access log: json, or combined as Apache and nginx have it
    #[arg(long, value_name = "FORMAT", default_value = "json", hide_possible_values = true)]
    pub access_log_format: AccessLogFormat,

    /// Add query strings to the access log, without the values of parameters that are secrets by their
    /// names
    #[arg(long)]
    pub access_log_query: bool,
}

/// The format of the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AccessLogFormat {
    /// An object on each line.
    Json,
    /// The combined format of Apache and nginx.
    Combined,
}

/// Traces of requests.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "OpenTelemetry (where OTEL_EXPORTER_OTLP_ENDPOINT names a collector)")]
pub struct TraceConfig {
    /// Begin a trace for each request, instead of continuing the one of its traceparent
    #[arg(long)]
    pub ignore_traceparent: bool,
}

/// Text that is not a quiet time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}, or auto")]
pub struct InvalidDebounce(#[from] InvalidValue);

impl FromStr for Debounce {
    type Err = InvalidDebounce;

    fn from_str(text: &str) -> Result<Self, InvalidDebounce> {
        if text == "auto" { Ok(Self::Auto) } else { Ok(Self::Fixed(time(ZERO)(text)?)) }
    }
}

impl Debounce {
    /// Returns the quiet time after changes that may be incomplete.
    #[must_use]
    pub fn quiet_time(self) -> Duration {
        match self {
            Self::Fixed(time) => time,
            Self::Auto => AUTO_DEBOUNCE,
        }
    }
}

impl RouterConfig {
    /// Returns the files with the certificates of the public and of the admin listener.
    pub(crate) fn certificates(&self, problems: &mut Problems) -> [Option<CertificateFiles>; 2] {
        let admin = &self.admin;
        let files = [&admin.admin_tls_cert, &admin.admin_tls_key];
        let has_ip = admin.admin.address().ip().is_some();
        [
            self.connections.certificate(&self.listen, problems),
            CertificateFiles::of("admin-tls", files, has_ip, problems),
        ]
    }
}

impl Validate for RouterConfig {
    fn validate(&self, problems: &mut Problems) {
        check_distinct([("listen", &self.listen), ("admin", &self.admin.admin)], problems);
        self.certificates(problems);
        self.admin.validate(problems);
        self.cells.validate(problems);
    }
}

impl Validate for AdminConfig {
    fn validate(&self, problems: &mut Problems) {
        if self.admin_token_file.is_none() && !self.admin.address().is_local() {
            let message = format!(
                "{} is reachable from other machines, which could then do anything: set \
                 --admin-token-file, or listen on 127.0.0.1",
                self.admin
            );
            problems.flag("admin", message);
        }
        let is_http = |url: &str| ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
        if let Some(url) = self.event_url.as_deref().filter(|url| !is_http(url)) {
            problems.flag("event-url", format!("invalid URL {url:?}: expected http://… or https://…"));
        }
        match (&self.event_url, &self.event_secret_file) {
            (Some(_), None) => {
                problems.flag("event-secret-file", "is required with --event-url: every event is signed");
            }
            (None, Some(_)) => problems.flag("event-url", "is required with --event-secret-file"),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
}

impl Validate for CellConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.check("inspect", Inspectable::read(&self.inspect));
        let flags = [
            ("cell-users", self.cell_users.is_some()),
            ("cell-user", self.cell_user.is_some()),
            ("dangerously-run-cells-as-root", self.root_cells),
        ];
        let mut given = flags.into_iter().filter_map(|(flag, is_given)| is_given.then_some(flag));
        if let (Some(first), Some(second)) = (given.next(), given.next()) {
            problems.flag(first, format!("cannot be combined with --{second}: choose one of the two"));
        }
    }
}

impl CellConfig {
    /// Returns the number of runs at once.
    #[must_use]
    pub fn runs(&self) -> u32 {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.max_runs.unwrap_or_else(|| u32::try_from(2 * cores()).unwrap_or(u32::MAX))
    }

    /// Returns the projects that debuggers may attach to: none, if a name is invalid.
    #[must_use]
    pub fn inspectable(&self) -> Inspectable {
        Inspectable::read(&self.inspect).unwrap_or_default()
    }
}

impl ReadConfig {
    /// Returns the limits of projects that the policy does not mention.
    pub(crate) fn limits(&self) -> ReadLimits {
        ReadLimits {
            files: self.max_project_files,
            folders: self.max_project_folders,
            bytes: self.max_project_size,
            file_bytes: self.max_file_size,
            time: self.read_timeout,
        }
    }
}

#[cfg(test)]
mod tests;
