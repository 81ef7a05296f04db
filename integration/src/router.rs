//! Starts and ends the real router: the release binary beside this test's own target folder.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::admin::Admin;
use crate::client::Client;
use crate::events::Events;
use crate::log::Log;
use crate::volume::Volume;
use crate::{eventually, within};

/// Where the router keeps its state. Clones are the same folder, for a router that starts again.
#[derive(Debug, Clone)]
pub struct State(Arc<TempDir>);

impl State {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Default for State {
    fn default() -> Self {
        Self(Arc::new(tempfile::tempdir().expect("a temporary folder can be made")))
    }
}

/// A router to be: few spares and a short debounce, so that many tests fit on two cores.
#[derive(Debug)]
pub struct Builder {
    projects: PathBuf,
    state: State,
    flags: Vec<(String, String)>,
    watch_limit: Option<usize>,
}

/// A running router. Dropping it kills it.
#[derive(Debug)]
pub struct Router {
    pub public: Client,
    pub admin: Admin,
    pub state: State,
    pub log: Log,
    process: Process,
}

/// Ends with its owner, so that a test that fails leaves nothing behind.
#[derive(Debug)]
struct Process(Child);

/// A router that has ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub log: Log,
}

impl Router {
    pub fn builder(volume: &Volume) -> Builder {
        Builder::for_projects(volume.root())
    }

    /// Starts with the defaults of the harness, and returns when the first scan is done.
    pub async fn start(volume: &Volume) -> Self {
        Self::builder(volume).start().await
    }

    /// Follows the events from the router's first one on.
    pub async fn events(&self) -> Events {
        Events::follow(&self.admin.client, Some(0)).await
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the router can be signalled");
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.process.0)
    }

    /// SIGTERM, then waits for the end.
    pub async fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Waits for the end, and for the last line of the log.
    pub async fn ended(mut self) -> Ended {
        self.process.ended(self.log.clone()).await
    }
}

impl Builder {
    pub fn for_projects(projects: &Path) -> Self {
        let builder =
            Self { projects: projects.to_owned(), state: State::new(), flags: Vec::new(), watch_limit: None };
        builder
            .flag("listen", "127.0.0.1:0")
            .flag("admin", "127.0.0.1:0")
            .flag("log-format", "json")
            .flag("debounce", 20)
            .flag("spares", 1)
    }

    /// Sets a flag by its name without the dashes; a later value wins.
    pub fn flag(mut self, name: &str, value: impl ToString) -> Self {
        self.flags.retain(|(other, _)| other != name);
        self.flags.push((name.to_owned(), value.to_string()));
        self
    }

    /// Without an eye for file events: what reloads is then a request or a poll, and never both at once.
    pub fn unwatched(self) -> Self {
        self.flag("debounce", 3_600_000)
    }

    /// In a user namespace in which no more folders than that can be watched: see [`can_limit_watches`].
    pub fn watch_limit(mut self, watches: usize) -> Self {
        self.watch_limit = Some(watches);
        self
    }

    /// Keeps the state in a folder that another router had.
    pub fn state(mut self, state: &State) -> Self {
        self.state = state.clone();
        self
    }

    /// Starts, and returns when the first scan is done.
    pub async fn start(self) -> Router {
        let router = self.start_unready().await;
        router.ready().await;
        router
    }

    /// Starts, and returns when the router listens.
    pub async fn start_unready(self) -> Router {
        let (mut process, log) = self.spawn();
        let listening = log.wait_for(|record| record["message"] == "listening");
        let Some(record) = within("the router says where it listens", listening).await else {
            let ended = process.ended(log).await;
            panic!("the router ended before it listened ({}):\n{}", ended.status, ended.log.text());
        };
        let address = |field: &str| -> SocketAddr {
            let text = record[field].as_str().unwrap_or_default();
            text.parse().unwrap_or_else(|_| panic!("no address in {field:?} of {record}"))
        };
        Router {
            public: Client::new(address("listen")),
            admin: Admin { client: Client::new(address("admin")) },
            state: self.state,
            log,
            process,
        }
    }

    /// Starts a router that is expected to end by itself.
    pub async fn run_to_end(self) -> Ended {
        let (mut process, log) = self.spawn();
        process.ended(log).await
    }

    fn spawn(&self) -> (Process, Log) {
        let mut command = match self.watch_limit {
            Some(watches) => with_watch_limit(watches),
            None => Command::new(binary("switchyard-router")),
        };
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SWITCHYARD_") {
                command.env_remove(name);
            }
        }
        command.arg("--projects").arg(&self.projects);
        if !self.flags.iter().any(|(name, _)| name == "state") {
            command.arg("--state").arg(self.state.path());
        }
        for (name, value) in &self.flags {
            command.arg(format!("--{name}"));
            if !value.is_empty() {
                command.arg(value);
            }
        }
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the router can be started");
        let stderr = child.stderr.take().expect("standard error is piped");
        (Process(child), Log::read(stderr))
    }
}

impl Router {
    /// Waits until the first scan is done.
    pub async fn ready(&self) {
        eventually("the router is ready", || async { self.admin.client.get("/readyz").await.status == 200 })
            .await;
    }
}

/// The arguments of what it returns are the router's.
fn with_watch_limit(watches: usize) -> Command {
    let mut command = Command::new("unshare");
    let script = format!("echo {watches} > /proc/sys/user/max_inotify_watches && exec \"$0\" \"$@\"");
    command.args(["--user", "--map-root-user", "sh", "-c", &script]).arg(binary("switchyard-router"));
    command
}

/// Whether this machine lets a test make a user namespace.
pub fn can_limit_watches() -> bool {
    let status = Command::new("unshare").args(["--user", "--map-root-user", "true"]).status();
    status.is_ok_and(|status| status.success())
}

impl Process {
    async fn ended(&mut self, log: Log) -> Ended {
        let mut status = None;
        eventually("the router ends", || {
            status = self.0.try_wait().expect("a child can be waited for");
            std::future::ready(status.is_some())
        })
        .await;
        within("the log ends with the router", log.ended()).await;
        Ended { status: status.expect("it has ended"), log }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        if std::thread::panicking() {
            show(&self.log);
        }
    }
}

#[expect(clippy::print_stderr, reason = "the log of a failed test's router belongs beside the failure")]
fn show(log: &Log) {
    eprintln!("---- the router's log ----\n{}\n---- end of the router's log ----", log.text());
}

/// A release binary of this workspace.
///
/// # Panics
/// When it was not built.
pub fn binary(name: &str) -> PathBuf {
    let exe = std::env::current_exe().expect("a test knows where it is");
    // target/<profile>/deps/<test>
    let target = exe.ancestors().nth(3).expect("a test runs below a target folder");
    let path = target.join("release").join(name);
    assert!(fs::exists(&path).unwrap_or(false), "{} is missing: run `make build` first", path.display());
    path
}
