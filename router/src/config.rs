//! Every setting: its flag, its default and why that number.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use switchyard_edge::forwarded::TrustedProxies;
use switchyard_edge::gate::PublicHost;
use switchyard_program::flags::{Flag, Parsed, Problem, Program, Values, flag};
use switchyard_program::log::LogFormat;

use crate::inspect::Inspectable;
use crate::policy::ReadLimits;
use crate::user::UserRange;

const PROJECTS: &str = "projects";
const STATE: &str = "state";
const LISTEN: &str = "listen";
const ADMIN: &str = "admin";
const PUBLIC_HOST: &str = "public-host";
const DEBOUNCE: &str = "debounce";
const EVENT_URL: &str = "event-url";
const EVENT_SECRET_FILE: &str = "event-secret-file";
const GRACE: &str = "grace";
const BUILD_TIMEOUT: &str = "build-timeout";
const POLL: &str = "poll";
const COMPARE: &str = "compare";
const SPARES: &str = "spares";
const MAX_CELLS: &str = "max-cells";
const KEEP: &str = "keep";
const MODULE_CACHE: &str = "module-cache";
const POLICY: &str = "policy";
const REQUEST_TIMEOUT: &str = "request-timeout";
const MAX_BODY: &str = "max-body";
const MAX_IN_FLIGHT: &str = "max-in-flight";
const LOG_FORMAT: &str = "log-format";
const PROJECT_LOG: &str = "project-log";
const ADMIN_TOKEN_FILE: &str = "admin-token-file";
const DRAIN_DELAY: &str = "drain-delay";
const TRUSTED_PROXY: &str = "trusted-proxy";
const REQUIRE_SANDBOX: &str = "require-sandbox";
const CELL_USER: &str = "cell-user";
const CELL_USERS: &str = "cell-users";
const ROOT_CELLS: &str = "dangerously-run-cells-as-root";
const CGROUP: &str = "cgroup";
const MAX_CONNECTIONS: &str = "max-connections";
const MAX_CLIENT_CONNECTIONS: &str = "max-client-connections";
const MAX_CONNECTION_REQUESTS: &str = "max-connection-requests";
const MAX_HEAD: &str = "max-head";
const HEAD_TIMEOUT: &str = "head-timeout";
const IDLE_TIMEOUT: &str = "idle-timeout";
const BODY_TIMEOUT: &str = "body-timeout";
const DEV: &str = "dev";
const ALLOW_INSTALL: &str = "allow-install";
const INSTALL_TIMEOUT: &str = "install-timeout";
const INSPECT: &str = "inspect";
const MAX_PROJECT_FILES: &str = "max-project-files";
const MAX_PROJECT_FOLDERS: &str = "max-project-folders";
const MAX_PROJECT_SIZE: &str = "max-project-size";
const MAX_FILE_SIZE: &str = "max-file-size";
const READ_TIMEOUT: &str = "read-timeout";

const FLAGS: &[Flag] = &[
    flag(PROJECTS, "DIR", "", "the volume: each directory in it is a project (required)"),
    flag(STATE, "DIR", ".switchyard", "checkouts, sockets and what must survive a restart"),
    flag(LISTEN, "ADDR", "127.0.0.1:8000", "public listener"),
    flag(ADMIN, "ADDR", "127.0.0.1:8001", "admin listener"),
    flag(
        ADMIN_TOKEN_FILE,
        "FILE",
        "",
        "tokens that the admin listener takes, one a line; without it --admin must be a loopback address",
    ),
    flag(
        PUBLIC_HOST,
        "NAME",
        "",
        "a name besides localhost under which --admin may be asked without a token; once for each",
    )
    .repeated(),
    flag(DEBOUNCE, "MS", "500", "quiet time after the last change of a project before it is read"),
    flag(EVENT_URL, "URL", "", "where events are posted (with --event-secret-file)"),
    flag(EVENT_SECRET_FILE, "FILE", "", "the secret that events are signed with"),
    flag(
        GRACE,
        "MS",
        "30000",
        "how long a replaced version may take to finish its requests, then its handlers of SIGTERM",
    ),
    flag(
        DRAIN_DELAY,
        "MS",
        "0",
        "after SIGTERM, how long requests are still taken while /readyz says 503 already",
    ),
    flag(BUILD_TIMEOUT, "MS", "10000", "how long a version may take to load and serve"),
    flag(
        POLL,
        "MS",
        "",
        "compare all files this often, without waiting for events (by itself where the mount has none)",
    ),
    // 1,000 projects of ten files took 0.3 s of one core, spread over 16 s.
    flag(
        COMPARE,
        "MS",
        "30000",
        "pause between comparisons of all files, which find changes without a file event; 0: none",
    ),
    // Two: one for the edit under way and one for its neighbour's; each costs a warmed V8's memory.
    flag(SPARES, "N", "2", "warmed cells kept ready"),
    // A hundred hello worlds are about 1.5 GB.
    flag(
        MAX_CELLS,
        "N",
        "100",
        "processes that run at once; beyond that the least recently used are stopped until the next request",
    ),
    flag(KEEP, "N", "5", "checkouts kept per project besides those in use"),
    // A React page rendered on the server takes 5 MB, a graph of a thousand modules as much.
    flag(MODULE_CACHE, "BYTES", "67108864", "compiled modules kept on disk per project; 0: none"),
    flag(
        POLICY,
        "FILE",
        "",
        "what projects may do, what they may use and their environment; read again on SIGHUP",
    ),
    // The policy overrides these five, for all projects or for some. Large applications have a tenth of as many files; to list
    // these takes a fifth of a second.
    flag(
        MAX_PROJECT_FILES,
        "N",
        "50000",
        "files of a project, counting whatever else is no folder; with more, or beyond one of the next four, it fails",
    ),
    // Each is watched: a kilobyte of the kernel. The largest source trees there are have a third of it.
    flag(
        MAX_PROJECT_FOLDERS,
        "N",
        "20000",
        "folders of a project, each counted by every symbolic link to it",
    ),
    // Each version has a copy. Twenty seconds at 50 MB/s.
    flag(MAX_PROJECT_SIZE, "BYTES", "1073741824", "bytes in a project's files together"),
    // Videos and data sets have more, and belong in a store for them.
    flag(MAX_FILE_SIZE, "BYTES", "268435456", "bytes in one file of a project"),
    // As many bytes as a project may have, read and copied from a slow disk.
    flag(
        READ_TIMEOUT,
        "MS",
        "60000",
        "how long reading a project's files may take, waiting for its turn apart",
    ),
    // The policy overrides these three, for all projects or for some.
    flag(
        REQUEST_TIMEOUT,
        "MS",
        "30000",
        "how long a project may take to begin its answer, from the end of the request",
    ),
    flag(MAX_BODY, "BYTES", "10485760", "largest request body"),
    flag(
        MAX_IN_FLIGHT,
        "N",
        "100",
        "requests in flight per project; another 100 wait up to 10 s, more get 503",
    ),
    flag(LOG_FORMAT, "FORMAT", "text", "text or json"),
    // Two hundred lines a second without end; a disk of 10 GB takes five hours of as much as all projects may log.
    flag(
        PROJECT_LOG,
        "BYTES",
        "4194304",
        "what a project may print into the log in a minute; all together may print eight times that",
    ),
    flag(
        TRUSTED_PROXY,
        "CIDR,…",
        "",
        "peers whose x-forwarded-for, -proto and -host are believed and carried on",
    ),
    flag(REQUIRE_SANDBOX, "", "", "do not start if this kernel does not support all sandbox layers"),
    flag(
        CELL_USERS,
        "FIRST-LAST",
        "",
        "users (numbers) that cells of a root router run as, another one for each project [200000-265535]",
    ),
    flag(CELL_USER, "NAME", "", "one user for the cells of all projects, in place of --cell-users"),
    flag(ROOT_CELLS, "", "", "run cells as root: code that breaks out of one owns the machine"),
    flag(
        CGROUP,
        "DIR",
        "",
        "a delegated control group (cgroup v2), below which each cell gets one of its own",
    ),
    // Each costs a descriptor and about 10 KB: 100 MB in all.
    flag(MAX_CONNECTIONS, "N", "10000", "open connections; one more is closed at once"),
    // What an office behind one address opens, and a tenth of all: one client cannot take everybody's place.
    flag(
        MAX_CLIENT_CONNECTIONS,
        "N",
        "1000",
        "of them, those of one client (IPv4 address, IPv6 /64) that is no --trusted-proxy",
    ),
    // So that connections move on to other routers in the end; rare enough to cost nothing.
    flag(MAX_CONNECTION_REQUESTS, "N", "10000", "requests on one connection, which is closed then"),
    // Cookies and tokens of 8 KB are common, ten times that are an error; proxies take 8 to 64 KB.
    flag(
        MAX_HEAD,
        "BYTES",
        "65536",
        "largest head (first line and headers) of a request, and of a project's answer",
    ),
    // A head is a few packets: ten seconds are several retransmissions.
    flag(
        HEAD_TIMEOUT,
        "MS",
        "10000",
        "how long a request's head may take, from connecting or its first byte",
    ),
    // Longer than the proxies of examples/ingress and the bridge keep theirs: who sends should be who closes.
    flag(IDLE_TIMEOUT, "MS", "30000", "how long a connection is kept without a request"),
    // A phone that changes networks is back within it.
    flag(
        BODY_TIMEOUT,
        "MS",
        "30000",
        "longest pause of a client within a request body (1 KiB/s on average) or in reading an answer",
    ),
    flag(ALLOW_INSTALL, "", "", "fetch packages and remote modules that projects name and the volume lacks"),
    // The first installation of a large project over a slow line; cells have --build-timeout, which starts after it.
    flag(INSTALL_TIMEOUT, "MS", "300000", "how long fetching them may take for one version"),
    flag(DEV, "", "", "show build errors to browsers"),
    flag(
        INSPECT,
        "NAME",
        "",
        "a project that debuggers may attach to through the admin listener; once for each, or all",
    )
    .repeated(),
];

/// All settings, valid in themselves. What they name has not been looked at yet.
#[derive(Debug, Clone)]
pub struct Config {
    pub projects: PathBuf,
    pub state: PathBuf,
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    /// `None`: whoever can connect may ask; a loopback address then.
    pub admin_token_file: Option<PathBuf>,
    pub public_hosts: Vec<PublicHost>,
    pub debounce: Duration,
    pub events: Option<EventTarget>,
    pub grace: Duration,
    pub drain_delay: Duration,
    pub build_timeout: Duration,
    /// `None`: only where the mount has no events of its own.
    pub poll: Option<Duration>,
    /// Zero: never.
    pub compare: Duration,
    pub spares: usize,
    pub max_cells: usize,
    pub keep: usize,
    pub module_cache: u64,
    pub policy: Option<PathBuf>,
    /// How much and how long is read of a project.
    pub(crate) reads: ReadLimits,
    pub request_timeout: Duration,
    pub max_body: u64,
    pub max_in_flight: usize,
    pub log_format: LogFormat,
    /// Bytes that one project may print into the log in a minute.
    pub project_log: u64,
    pub trusted_proxies: TrustedProxies,
    pub require_sandbox: bool,
    pub cell_user: Option<String>,
    /// `None`: the default, where the router runs as root.
    pub cell_users: Option<UserRange>,
    /// Cells of a root router are root's.
    pub root_cells: bool,
    pub cgroup: Option<PathBuf>,
    pub max_connections: usize,
    pub max_client_connections: usize,
    pub max_connection_requests: u64,
    pub max_head: usize,
    pub head_timeout: Duration,
    pub idle_timeout: Duration,
    pub body_timeout: Duration,
    pub allow_install: bool,
    pub install_timeout: Duration,
    pub dev: bool,
    /// Which projects debuggers may attach to.
    pub inspect: Inspectable,
}

/// Where events go.
#[derive(Debug, Clone)]
pub struct EventTarget {
    pub url: String,
    pub secret_file: PathBuf,
}

/// The router as a command.
pub const PROGRAM: Program = Program {
    name: "switchyard router",
    about: "serves the projects of a shared volume and hot-reloads them",
    usage: "--projects DIR [flags]",
    operands: 0,
    flags: FLAGS,
};

impl Config {
    /// Reads the command line and, for what it leaves out, the environment.
    ///
    /// # Errors
    /// Every wrong setting at once.
    pub fn parse(
        args: impl IntoIterator<Item = OsString>,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Parsed<Self>, Vec<Problem>> {
        PROGRAM.parse(args, env, Self::read)
    }

    fn read(values: &mut Values<'_>) -> Self {
        let admin = values.address(ADMIN);
        let admin_token_file = values.optional(ADMIN_TOKEN_FILE).map(PathBuf::from);
        if admin_token_file.is_none() && !admin.ip().is_loopback() {
            let mend = "give --admin-token-file, or listen on 127.0.0.1";
            values.problem(ADMIN, format!("{admin} can be reached by others, who could do anything: {mend}"));
        }
        Self {
            projects: values.required(PROJECTS, "the directory that holds the projects").into(),
            state: values.text(STATE).into(),
            listen: values.address(LISTEN),
            admin,
            admin_token_file,
            public_hosts: values.parsed_all(PUBLIC_HOST),
            debounce: values.millis(DEBOUNCE, 0),
            events: events(values),
            grace: values.millis(GRACE, 0),
            drain_delay: values.millis(DRAIN_DELAY, 0),
            build_timeout: values.millis(BUILD_TIMEOUT, 1),
            poll: values.optional(POLL).map(|_| values.millis(POLL, 10)),
            compare: values.millis(COMPARE, 0),
            spares: values.number(SPARES, 0) as usize,
            max_cells: values.number(MAX_CELLS, 1) as usize,
            keep: values.number(KEEP, 0) as usize,
            module_cache: values.number(MODULE_CACHE, 0),
            policy: values.optional(POLICY).map(PathBuf::from),
            reads: ReadLimits {
                files: values.number(MAX_PROJECT_FILES, 10),
                folders: values.number(MAX_PROJECT_FOLDERS, 10),
                bytes: values.number(MAX_PROJECT_SIZE, 1),
                file_bytes: values.number(MAX_FILE_SIZE, 1),
                time: values.millis(READ_TIMEOUT, 1000),
            },
            request_timeout: values.millis(REQUEST_TIMEOUT, 1),
            max_body: values.number(MAX_BODY, 0),
            max_in_flight: values.number(MAX_IN_FLIGHT, 1) as usize,
            log_format: values.parsed(LOG_FORMAT, LogFormat::Text),
            project_log: values.number(PROJECT_LOG, 1 << 20),
            trusted_proxies: values.parsed(TRUSTED_PROXY, TrustedProxies::default()),
            require_sandbox: values.switch(REQUIRE_SANDBOX),
            cell_user: values.optional(CELL_USER),
            cell_users: cell_users(values),
            root_cells: values.switch(ROOT_CELLS),
            cgroup: values.optional(CGROUP).map(PathBuf::from),
            max_connections: values.number(MAX_CONNECTIONS, 1) as usize,
            max_client_connections: values.number(MAX_CLIENT_CONNECTIONS, 1) as usize,
            max_connection_requests: values.number(MAX_CONNECTION_REQUESTS, 1),
            max_head: values.number(MAX_HEAD, 1024) as usize,
            head_timeout: values.millis(HEAD_TIMEOUT, 1),
            idle_timeout: values.millis(IDLE_TIMEOUT, 1),
            body_timeout: values.millis(BODY_TIMEOUT, 1),
            allow_install: values.switch(ALLOW_INSTALL),
            install_timeout: values.millis(INSTALL_TIMEOUT, 1),
            dev: values.switch(DEV),
            inspect: inspect(values),
        }
    }
}

fn cell_users(values: &mut Values<'_>) -> Option<UserRange> {
    let others = [(CELL_USER, values.optional(CELL_USER).is_some()), (ROOT_CELLS, values.switch(ROOT_CELLS))];
    let given: Vec<_> = [(CELL_USERS, values.optional(CELL_USERS).is_some())]
        .into_iter()
        .chain(others)
        .filter_map(|(flag, is_given)| is_given.then_some(flag))
        .collect();
    if let [first, second, ..] = given[..] {
        values.problem(first, format!("cannot be used with --{second}: choose one of the two"));
    }
    values.optional(CELL_USERS).map(|_| values.parsed(CELL_USERS, UserRange::DEFAULT))
}

fn inspect(values: &mut Values<'_>) -> Inspectable {
    Inspectable::read(values.all(INSPECT)).unwrap_or_else(|error| {
        values.problem(INSPECT, error.to_string());
        Inspectable::default()
    })
}

fn events(values: &mut Values<'_>) -> Option<EventTarget> {
    let (url, secret_file) = (values.optional(EVENT_URL), values.optional(EVENT_SECRET_FILE));
    if let Some(url) = &url
        && !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme))
    {
        values.problem(EVENT_URL, format!("{url:?} is no http:// or https:// URL"));
    }
    match (url, secret_file) {
        (Some(url), Some(secret_file)) => Some(EventTarget { url, secret_file: secret_file.into() }),
        (Some(_), None) => {
            values.problem(EVENT_SECRET_FILE, "is missing: events are never sent unsigned");
            None
        }
        (None, Some(_)) => {
            values.problem(EVENT_URL, "is missing: --event-secret-file alone sends nothing");
            None
        }
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn parse(args: &[&str], env: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let env: BTreeMap<_, _> = env.iter().copied().collect();
        let args = args.iter().map(OsString::from);
        match Config::parse(args, |name| env.get(name).map(OsString::from)) {
            Ok(Parsed::Run(config)) => Ok(config),
            Ok(Parsed::Print(text)) => panic!("printed {text}"),
            Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn the_volume_alone_is_enough() {
        let config = parse(&["--projects", "/srv"], &[]).unwrap();
        assert_eq!(config.listen, "127.0.0.1:8000".parse().unwrap());
        assert_eq!(config.debounce, Duration::from_millis(500));
        assert_eq!(config.poll, None);
        assert_eq!(config.reads, ReadLimits::default());
    }

    #[test]
    fn every_wrong_setting_is_named_at_once() {
        let args = [
            "--debounce",
            "soon",
            "--listen",
            "here",
            "--projetcs",
            "/x",
            "--log-format=xml",
            "--inspect",
            "A.b",
        ];
        let problems = parse(&args, &[("SWITCHYARD_KEEP", "-1")]).unwrap_err();
        for flag in
            ["--debounce", "--listen", "--projetcs", "--projects", "--log-format", "--keep", "--inspect"]
        {
            assert!(problems.iter().any(|problem| problem.starts_with(flag)), "{flag}: {problems:?}");
        }
        assert_eq!(problems.len(), 7, "{problems:?}");
    }

    #[test]
    fn an_admin_listener_that_others_can_reach_needs_tokens() {
        let open = ["--projects", "/x", "--admin", "0.0.0.0:8001"];
        let problems = parse(&open, &[]).unwrap_err();
        assert!(problems[0].starts_with("--admin: 0.0.0.0:8001 can be reached"), "{problems:?}");
        assert!(parse(&open, &[("SWITCHYARD_ADMIN_TOKEN_FILE", "/tokens")]).is_ok());
        assert!(parse(&["--projects", "/x", "--admin", "[::1]:0"], &[]).is_ok());
    }

    #[test]
    fn the_users_of_cells_are_chosen_once() {
        let args = ["--projects", "/x", "--cell-users", "5000-6000"];
        assert_eq!(parse(&args, &[]).unwrap().cell_users, "5000-6000".parse().ok());
        assert_eq!(parse(&args[..2], &[]).unwrap().cell_users, None);
        let cell_user = ("SWITCHYARD_CELL_USER", "nobody");
        let root = ("SWITCHYARD_DANGEROUSLY_RUN_CELLS_AS_ROOT", "1");
        for (count, env) in [(4, [cell_user, ("X", "")]), (4, [root, ("X", "")]), (2, [cell_user, root])] {
            let problems = parse(&args[..count], &env).unwrap_err();
            assert!(problems[0].contains("choose one of the two"), "{problems:?}");
        }
        let problems = parse(&["--projects", "/x", "--cell-users", "1-2"], &[]).unwrap_err();
        assert!(problems[0].contains("200000-265535"), "{problems:?}");
    }

    #[test]
    fn events_are_never_sent_unsigned() {
        let problems = parse(&["--projects", "/x", "--event-url", "http://h/"], &[]).unwrap_err();
        assert!(problems[0].starts_with("--event-secret-file"), "{problems:?}");
    }
}
