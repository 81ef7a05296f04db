//! The composition root: looks at what the settings name, builds all parts, wires them, stops them
//! in order.

mod files;
mod sandbox;

use std::ffi::OsStr;
use std::fs::{self, TryLockError};
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use switchyard_contract::publisher::{self, Publisher, Url};
use switchyard_contract::secret::Secret;
use switchyard_edge::gate::Gate;
use switchyard_edge::listener::ListenerLimits;
use switchyard_program::flags::Problem;
use switchyard_program::signal::Reloads;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use self::files::{Files, read_authorities, read_policy};
use self::sandbox::SandboxSettings;
use crate::admin::{self, Admin, Tokens};
use crate::cells::{Caches, CellSettings, Cells, DataFolders, Groups};
use crate::checkout::Store;
use crate::config::Config;
use crate::folder::Trash;
use crate::gaps::Gaps;
use crate::http;
use crate::live::{Events, Live, LogBuffer, StatusBoard, commands};
use crate::metrics::Metrics;
use crate::packages::{self, Authorities, Packages};
use crate::policy::Policy;
use crate::reload::{Control, ControlSettings, Parts};
use crate::root::Root;
use crate::watch::{self, Measurement, Watch, WatchSettings};

/// `sun_path` has 108 bytes, one of them the closing NUL.
const MAX_SOCKET_PATH: usize = 107;

/// `/run/<number>/http` behind the state folder, with room for a billion cells.
const SOCKET_SUFFIX: usize = "/run/999999999/http".len();

/// How long undelivered events may take when the router stops.
const LAST_EVENTS: Duration = Duration::from_secs(2);

/// Everything that can be wrong with a start has been looked at.
pub struct Ready {
    config: Config,
    projects: Root,
    /// `switchyard-cell`
    cell: PathBuf,
    sandbox: SandboxSettings,
    listener: TcpListener,
    admin: TcpListener,
    tokens: Option<Arc<Tokens>>,
    policy: Policy,
    events: Option<publisher::PublisherConfig>,
    /// See [`packages::InstallerSettings`].
    authorities: Option<String>,
    /// Held for as long as the router runs.
    _lock: fs::File,
}

/// Looks at everything that the settings name: folders, ports, files.
///
/// # Errors
/// All that is wrong, at once.
pub fn prepare(mut config: Config) -> Result<Ready, Vec<Problem>> {
    let mut problems = Problems(Vec::new());
    let projects = problems.of("projects", projects(&config.projects));
    let state = problems.of("state", state(&config.state, &config.projects));
    let listener = problems.of("listen", bind(config.listen));
    let admin = problems.of("admin", bind(config.admin));
    let events = problems.of("event-secret-file", events(&config));
    let tokens =
        config.admin_token_file.as_deref().map(Tokens::read).transpose().map_err(|error| error.to_string());
    let tokens = problems.of("admin-token-file", tokens);
    let cell = problems.of("(installation)", cell_binary());
    let policy = read_policy(&config, state.as_ref().map_or(&config.state, |(state, _)| state));
    let policy =
        problems.all("policy", policy.map_err(|wrong| wrong.iter().map(ToString::to_string).collect()));
    let groups = problems.of("cgroup", open_groups(&config));
    let sandbox = match (&state, &cell) {
        (Some((state, _)), Some(cell)) => sandbox_settings(&mut problems, &config, state, cell),
        _ => None,
    };
    let authorities = problems.of("allow-install", read_authorities(config.allow_install));
    let ready = || {
        let (state, lock) = state?;
        let projects = projects?;
        config.state = state;
        let (listener, admin, cell) = (listener?, admin?, cell?);
        let (tokens, policy, events) = (tokens?.map(Arc::new), policy?, events?);
        let (sandbox, groups, authorities) = (sandbox?, groups?, authorities?);
        let sandbox = sandbox.with(groups);
        Some(Ready {
            config,
            projects,
            cell,
            sandbox,
            listener,
            admin,
            tokens,
            policy,
            events,
            authorities,
            _lock: lock,
        })
    };
    ready().ok_or(problems.0)
}

/// Returns the control group of cells, if one is configured.
fn open_groups(config: &Config) -> Result<Option<Groups>, String> {
    let opened = config.cgroup.as_deref().map(Groups::open).transpose();
    opened.map_err(|error| error.to_string())
}

/// Returns the sandbox of cells on this machine and with these settings.
fn sandbox_settings(
    problems: &mut Problems,
    config: &Config,
    state: &Path,
    cell: &Path,
) -> Option<SandboxSettings> {
    let gaps = Gaps::default();
    let mut missing = problems.of("(installation)", sandbox::missing_layers(cell))?;
    let (users, weaker) = match sandbox::users(config, state, cell, &gaps) {
        Ok(users) => users,
        Err((flag, error)) => return problems.of(flag, Err(error)),
    };
    missing.extend(weaker);
    if config.require_sandbox && !missing.is_empty() {
        return problems.of(
            "require-sandbox",
            Err(format!("sandbox is weaker on this kernel: missing {}", missing.join("; "))),
        );
    }
    Some(SandboxSettings { users, groups: None, missing, gaps })
}

struct Problems(Vec<Problem>);

impl Problems {
    fn of<T>(&mut self, flag: &str, result: Result<T, String>) -> Option<T> {
        self.all(flag, result.map_err(|message| vec![message]))
    }

    fn all<T>(&mut self, flag: &str, result: Result<T, Vec<String>>) -> Option<T> {
        let problems = |messages: Vec<String>| {
            self.0.extend(messages.into_iter().map(|message| Problem::new(flag, message)));
        };
        result.map_err(problems).ok()
    }
}

/// Not resolved: what the name leads to may change.
fn projects(path: &Path) -> Result<Root, String> {
    let fix = "create it, or name the folder that holds the projects";
    let root = Root::open(path).map_err(|error| {
        let target = fs::read_link(path).map(|to| format!(" (a symbolic link to {})", to.display()));
        format!("{}{}: {error}; {fix}", path.display(), target.unwrap_or_default())
    })?;
    fs::read_dir(path).map_err(|error| format!("{} cannot be read: {error}; {fix}", path.display()))?;
    Ok(root)
}

/// The state folder, made if need be, and the lock that keeps a second router out of it.
fn state(path: &Path, projects: &Path) -> Result<(PathBuf, fs::File), String> {
    beside_projects(path, projects)?;
    let wrong = |what: &str, error: io::Error| {
        format!(
            "{} cannot be {what}: {error}; name a folder that the router's user may write",
            path.display()
        )
    };
    fs::create_dir_all(path).map_err(|error| wrong("made", error))?;
    let real = path.canonicalize().map_err(|error| wrong("read", error))?;
    let lock = lock_file(&real.join("lock")).map_err(|error| wrong("written", error))?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => {
            format!("{} is in use by another router; each needs one of its own", path.display())
        }
        TryLockError::Error(error) => wrong("locked", error),
    })?;
    let longest = real.as_os_str().len() + SOCKET_SUFFIX;
    if longest > MAX_SOCKET_PATH {
        return Err(format!(
            "{} is too long by {} bytes for the sockets in it; name a shorter one",
            real.display(),
            longest - MAX_SOCKET_PATH
        ));
    }
    Ok((real, lock))
}

/// A file that nobody else may open: whoever can read it can lock it, and keep the router from starting.
fn lock_file(path: &Path) -> io::Result<fs::File> {
    let file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // One of an earlier version is open to readers. A file system that has no modes keeps its own.
    let _ = file.set_permissions(fs::Permissions::from_mode(0o600));
    Ok(file)
}

/// Refuses a state folder that the router would take for a project, or for part of one: each write
/// to it would be a change of that project.
fn beside_projects(state: &Path, projects: &Path) -> Result<(), String> {
    let (Ok(root), Some(real)) = (projects.canonicalize(), resolved(state)) else { return Ok(()) };
    let Ok(below) = real.strip_prefix(root) else { return Ok(()) };
    let first = below.iter().next().map(OsStr::as_encoded_bytes);
    if first.is_some_and(|name| name.starts_with(b".") || name.starts_with(b"_")) {
        return Ok(());
    }
    Err(format!(
        "{} is in the projects root, where each folder is a project: name one outside of it",
        state.display()
    ))
}

/// The path without symbolic links, as far as it exists.
fn resolved(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let existing = path.ancestors().find(|ancestor| ancestor.exists())?;
    Some(existing.canonicalize().ok()?.join(path.strip_prefix(existing).ok()?))
}

fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{address} is taken; end what listens there, or name another port")
        }
        _ => format!("{address} cannot be listened on: {error}"),
    })
}

fn events(config: &Config) -> Result<Option<publisher::PublisherConfig>, String> {
    let Some(target) = &config.events else { return Ok(None) };
    let secret = Secret::read(&target.secret_file)
        .map_err(|error| format!("{}: {error}", target.secret_file.display()))?;
    let url = Url::parse(&target.url).map_err(|error| format!("--event-url {}: {error}", target.url))?;
    Ok(Some(publisher::PublisherConfig::new(url, secret)))
}

/// The name of the program of cells.
const CELL_BINARY: &str = "switchyard-cell";

/// Returns the path of `switchyard-cell`: beside the running program, or in `../libexec`.
fn cell_binary() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("the router cannot find itself: {error}"))?;
    let beside = own.with_file_name(CELL_BINARY);
    let libexec = own.parent().and_then(Path::parent).map(|prefix| prefix.join("libexec").join(CELL_BINARY));
    let candidates = [Some(beside), libexec].into_iter().flatten();
    let found = candidates.clone().find(|cell| cell.is_file());
    found.ok_or_else(|| {
        let looked: Vec<_> = candidates.map(|cell| cell.display().to_string()).collect();
        format!("{CELL_BINARY} is missing: put it at {}", looked.join(" or "))
    })
}

/// Where packages come from, as Deno and npm are told.
fn registries() -> Vec<(String, String)> {
    let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let told = |name: &str| Some((name.to_owned(), value(name)?));
    ["NPM_CONFIG_REGISTRY", "JSR_URL"].into_iter().filter_map(told).collect()
}

/// As many descriptors as the kernel lets the router have: a shell's 1024 are few for connections.
fn raise_descriptors(max_connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!("the limit of descriptors stays as it is: {error}");
    }
    let allowed = getrlimit(Resource::Nofile).current;
    // Each connection may have one to a cell beside it.
    let wanted = 2 * max_connections as u64;
    if let Some(allowed) = allowed.filter(|allowed| *allowed < wanted) {
        tracing::warn!(
            "{allowed} open files are allowed, --max-connections may take {wanted}: raise the limit (ulimit -Hn, \
             LimitNOFILE) or lower --max-connections"
        );
    }
}

/// The runtime of the main thread. It has one thread, which makes the cells: they end with the thread
/// that made them.
///
/// # Errors
/// The kernel has no room for it.
pub fn runtime() -> Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("make a runtime")
}

/// Serves until `stop` resolves, then lets requests finish within the grace, unless `stop` resolves
/// once more.
///
/// # Errors
/// A part cannot be built, or `stop` fails.
pub fn run<S>(runtime: Runtime, ready: Ready, reloads: Reloads, stop: impl Fn() -> S) -> Result<()>
where
    S: Future<Output = Result<&'static str>>,
{
    let result = runtime.block_on(serve(ready, reloads, stop));
    // After a second signal there may be threads that still wait for requests.
    runtime.shutdown_background();
    result
}

/// Records a measurement of the watch in the router's metrics.
fn record(metrics: &Metrics, measurement: Measurement) {
    match measurement {
        Measurement::PollingStarted => _ = metrics.polling.set(1),
        Measurement::EventsLost => _ = metrics.lost_events.inc(),
        Measurement::UnreportedChange => _ = metrics.unseen_changes.inc(),
        Measurement::RootReplaced => _ = metrics.root_changes.inc(),
        Measurement::WatchedDirectories(count) => {
            _ = metrics.watches.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

async fn serve<S>(ready: Ready, reloads: Reloads, stop: impl Fn() -> S) -> Result<()>
where
    S: Future<Output = Result<&'static str>>,
{
    let Ready {
        config,
        projects,
        cell,
        sandbox,
        listener,
        admin,
        tokens,
        policy,
        events,
        authorities,
        _lock,
    } = ready;
    let first = stop();
    raise_descriptors(config.max_connections);
    projects.persist_in(&config.state);
    let authorities = Authorities::new(authorities);
    let (publisher, publishing) = events.map(Publisher::start).transpose()?.unzip();
    let metrics = Metrics::default();
    let live = Arc::new(Live::new());
    let board = Arc::new(StatusBoard::default());
    let SandboxSettings { users, groups, missing, gaps } = sandbox;
    missing.into_iter().for_each(|missing| gaps.add(missing));
    board.set_gaps(gaps);
    let users = Arc::new(users);
    let events = Arc::new(Events::new(publisher.clone()));
    let logs = Arc::new(LogBuffer::default());
    let store = Arc::new(Store::open(&config.state)?);
    let install = config.allow_install.then(|| packages::InstallerSettings {
        binary: cell.clone(),
        timeout: config.install_timeout,
        users: users.clone(),
        registries: registries(),
        authorities: authorities.clone(),
    });
    let packages = Arc::new(Packages::open(&config.state, install)?);
    let trash = Trash::open(&config.state.join("trash")).context("make the folder for what is removed")?;
    let run_dir = config.state.join("run");
    let data = DataFolders::new(config.state.join("data"));
    let sink = logs.clone();
    let spares = config.spares;
    let max_cells = config.max_cells;
    let caches = Caches::new(config.state.join("cache"), config.module_cache);
    let inspect = config.inspect.clone();
    let settings = CellSettings {
        binary: cell,
        run_dir,
        data,
        caches,
        spares,
        max_cells,
        users,
        groups,
        inspect: inspect.clone(),
        sink,
        log_limit: config.project_log,
        trash,
        dev: config.dev,
    };
    let cells = Cells::new(settings)?;
    let (commands, commanded) = commands();
    let (changed, changes) = tokio::sync::mpsc::channel(watch::QUEUE);

    let most = policy.most_read();
    let watched = WatchSettings {
        root: projects.clone(),
        debounce: config.debounce,
        poll: config.poll,
        compare: config.compare,
        max_folders: most.folders,
        max_files: most.files,
    };
    let measured = metrics.clone();
    let observer: watch::Observer = Arc::new(move |measurement| record(&measured, measurement));
    let watch = Watch::start(watched, observer, changed)?;
    let filling = tokio::spawn(cells.clone().keep_filled());
    let limiting = tokio::spawn(cells.clone().keep_within_limits());
    let settings = ControlSettings {
        root: projects.clone(),
        state: config.state.clone(),
        grace: config.grace,
        build_timeout: config.build_timeout,
        keep: config.keep,
    };
    let parts = Parts {
        store: store.clone(),
        packages,
        cells: cells.clone(),
        live: live.clone(),
        board: board.clone(),
        events: events.clone(),
        logs: logs.clone(),
        metrics: metrics.clone(),
        policy: Arc::new(policy),
    };
    let control = Control::new(settings, parts)?;
    let (end_control, control_ended) = oneshot::channel::<Duration>();
    // Before anybody is served: what is on the volume is known from the first request on.
    let start = control.look_around().await;
    let control = tokio::spawn(
        control.run(start, changes, commanded, async { control_ended.await.unwrap_or_default() }),
    );

    let admin_address = admin.local_addr().context("read the admin address")?;
    admin.set_nonblocking(true).context("prepare the admin listener")?;
    let admin_listener = tokio::net::TcpListener::from_std(admin).context("prepare the admin listener")?;
    let telling = Admin {
        board: board.clone(),
        live: live.clone(),
        events,
        logs,
        store,
        cells,
        metrics: metrics.clone(),
        commands: commands.clone(),
        gate: Arc::new(Gate::new(config.public_hosts.clone())),
        tokens: tokens.clone(),
        sends: admin::sends(),
        inspect,
        installs: config.allow_install,
    };
    let files = Files {
        config: config.clone(),
        tokens,
        publisher: publisher.clone(),
        authorities,
        commands: commands.clone(),
    };
    let reading = tokio::spawn(files.read_again(reloads));
    let admin = tokio::spawn(telling.serve(admin_listener));
    let settings = http::HttpSettings {
        dev: config.dev,
        trusted_proxies: config.trusted_proxies,
        limits: ListenerLimits {
            max_connections: config.max_connections,
            max_client_connections: config.max_client_connections,
            max_connection_requests: config.max_connection_requests,
            max_head: config.max_head,
            head_timeout: config.head_timeout,
            idle_timeout: config.idle_timeout,
            body_timeout: config.body_timeout,
        },
    };
    let server = http::start(listener, &settings, &live, &commands, &metrics)?;
    tracing::info!(
        listen = %server.address(),
        admin = %admin_address,
        projects = %projects.path().display(),
        state = %config.state.display(),
        "listening"
    );

    let signal = first.await?;
    board.set_stopping();
    let gracefully = async {
        if !config.drain_delay.is_zero() {
            tracing::info!(signal, "stopping: requests are taken for another {:?}", config.drain_delay);
            tokio::time::sleep(config.drain_delay).await;
        }
        tracing::info!(signal, "stopping: no new connections; those that are open may finish");
        // The watch waits for the control flow to take its changes: it goes first.
        spawn_blocking(move || drop(watch)).await.context("stop the watch")?;
        let began = Instant::now();
        server.stop(config.grace).await;
        filling.abort();
        limiting.abort();
        let _ = end_control.send(config.grace.saturating_sub(began.elapsed()));
        control.await.context("stop the control flow")?;
        admin.abort();
        reading.abort();
        if let (Some(publisher), Some(publishing)) = (publisher, publishing) {
            publisher.shutdown(LAST_EVENTS).await;
            let _ = publishing.await;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        stopped = gracefully => stopped?,
        signal = stop() => tracing::warn!(signal = signal?, "stopping at once"),
    }
    tracing::info!("stopped");
    Ok(())
}
