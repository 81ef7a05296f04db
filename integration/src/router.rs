//! Starts and ends the real router: the release binary beside this test's own target folder.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::admin::Admin;
use crate::bridge::mounts::Mounts;
use crate::client::Client;
use crate::events::Events;
use crate::eventually;
use crate::log::Log;
use crate::process::{self, Process};
use crate::volume::Volume;

pub use crate::process::{ServerExit, binary, is_installed};

/// The state folder of a router. Clones are the same folder, for a router that starts again.
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

/// The settings of a router: few spares and a short debounce, so that many tests fit on two cores.
#[derive(Debug, Clone)]
pub struct Builder {
    projects: PathBuf,
    state: State,
    flags: Vec<(String, String)>,
    env: Vec<(String, String)>,
    /// A file below `/proc/sys/user`, and what is in it.
    watch_limit: Option<(&'static str, usize)>,
    mounts: Option<Mounts>,
    /// The folder of the binaries, if they are not those that were built.
    binaries: Option<PathBuf>,
    /// `None`: the one that runs the tests.
    user: Option<u32>,
    /// A program that runs the router, and its arguments. Empty: none.
    wrapper: Vec<String>,
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
        self.process.signal(signal);
    }

    pub fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// SIGTERM, then waits for the end.
    pub async fn stop(self) -> ServerExit {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Waits for the end, and for the last line of the log.
    pub async fn ended(mut self) -> ServerExit {
        self.process.ended(self.log.clone()).await
    }
}

impl Builder {
    pub fn for_projects(projects: &Path) -> Self {
        let builder = Self {
            projects: projects.to_owned(),
            state: State::new(),
            flags: Vec::new(),
            env: Vec::new(),
            watch_limit: None,
            mounts: None,
            binaries: None,
            user: None,
            wrapper: Vec::new(),
        };
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

    /// Sets a variable of the router's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without file events: only a request or a poll reloads, and never both at once.
    pub fn unwatched(self) -> Self {
        self.flag("debounce", 3_600_000).flag("compare", 0)
    }

    /// In a user namespace in which no more folders than that can be watched: see
    /// [`can_limit_watches`].
    pub fn watch_limit(mut self, watches: usize) -> Self {
        self.watch_limit = Some(("max_inotify_watches", watches));
        self
    }

    /// In a user namespace in which nothing can be watched: see [`can_limit_watches`].
    pub fn without_inotify(mut self) -> Self {
        self.watch_limit = Some(("max_inotify_instances", 0));
        self
    }

    /// Runs in this mount namespace.
    pub fn inside(mut self, mounts: &Mounts) -> Self {
        self.mounts = Some(mounts.clone());
        self
    }

    /// Runs the router of this folder, which takes its cells from there as well.
    pub fn binaries(mut self, folder: &Path) -> Self {
        self.binaries = Some(folder.to_owned());
        self
    }

    /// Runs as another user, with a group of the same number and no other groups. Needs root.
    pub fn run_as(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    /// Runs with these capabilities, as `setpriv --bounding-set` takes them. For root.
    pub fn capabilities(self, set: &str) -> Self {
        self.wrapped(["setpriv".to_owned(), format!("--bounding-set={set}")])
    }

    /// Has a program run the router. It gets these arguments and the router's command, and must
    /// become the router, with its process id.
    pub fn wrapped(mut self, wrapper: impl IntoIterator<Item = String>) -> Self {
        self.wrapper = wrapper.into_iter().collect();
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
        let record = process.listening(&log).await;
        Router {
            public: Client::new(process::address(&record, "listen")),
            admin: Admin { client: Client::new(process::address(&record, "admin")) },
            state: self.state,
            log,
            process,
        }
    }

    /// Starts a router that is expected to exit.
    pub async fn run_to_end(self) -> ServerExit {
        let (mut process, log) = self.spawn();
        process.ended(log).await
    }

    /// Starts a router that logs as text, ends it once `text` is in its log, and returns the lines.
    pub async fn text_log_until(self, text: &str) -> Vec<String> {
        // With its state folder, until the router has ended.
        let builder = self.flag("log-format", "text");
        let (mut process, log) = builder.spawn();
        eventually("the text is logged", || std::future::ready(log.text().contains(text))).await;
        process.signal(Signal::TERM);
        process.ended(log).await.log.lines()
    }

    fn spawn(&self) -> (Process, Log) {
        let mut command = match (self.watch_limit, &self.mounts) {
            (Some((file, limit)), _) => with_watch_limit(file, limit),
            (None, Some(mounts)) => mounts.command(&binary("switchyard")),
            (None, None) => bare(self.binaries.as_deref(), &self.wrapper),
        };
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command.arg("router").arg("--projects").arg(&self.projects);
        if !self.flags.iter().any(|(name, _)| name == "state") {
            command.arg("--state").arg(self.state.path());
        }
        // A user namespace has no user but the one that it was made by.
        let is_alone = self.watch_limit.is_some() || self.mounts.is_some();
        let has_users = self.flags.iter().any(|(name, _)| name.contains("cell"));
        if is_alone && !has_users {
            command.arg("--dangerously-run-cells-as-root");
        }
        for (name, value) in &self.flags {
            command.arg(format!("--{name}"));
            if !value.is_empty() {
                command.arg(value);
            }
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        Process::start(command)
    }
}

impl Router {
    /// Waits until the first scan is done.
    pub async fn ready(&self) {
        eventually("the router is ready", || async { self.admin.client.get("/readyz").await.status == 200 })
            .await;
    }
}

/// Returns a command to which the router's arguments can be added.
fn bare(folder: Option<&Path>, wrapper: &[String]) -> Command {
    let router = folder.map_or_else(|| binary("switchyard"), |folder| folder.join("switchyard"));
    let [program, arguments @ ..] = wrapper else { return Command::new(router) };
    let mut command = Command::new(program);
    command.args(arguments).arg(router);
    command
}

/// Returns a command to which the router's arguments can be added.
fn with_watch_limit(file: &str, limit: usize) -> Command {
    let mut command = Command::new("unshare");
    let script = format!("echo {limit} > /proc/sys/user/{file} && exec \"$0\" \"$@\"");
    command.args(["--user", "--map-root-user", "sh", "-c", &script]).arg(binary("switchyard"));
    command
}

/// Returns true if a test can make a user namespace on this machine.
pub fn can_limit_watches() -> bool {
    let status = Command::new("unshare").args(["--user", "--map-root-user", "true"]).status();
    status.is_ok_and(|status| status.success())
}

impl Drop for Router {
    fn drop(&mut self) {
        process::show_after_panic("router", &self.log);
    }
}
