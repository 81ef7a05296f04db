//! One cell process and the task that owns it: reads what it says, tells how it ended, reaps it.

use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use switchyard_bridge::event::Diagnostic;
use switchyard_bridge::publisher::Url;
use switchyard_protocol::{FromCell, Limit, Limits, ModuleCache, ToCell};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::cgroup::Group;
use super::exit::Exit;
use super::output::{Given, Source, log_lines};
use super::{Order, Settings, StartError};
use crate::project::diagnostic;
use crate::user::User;

/// The name of the socket in a cell's directory: short, as the whole path has 107 bytes.
const SOCKET: &str = "http";

/// The name of the socket for debuggers: as short.
const INSPECTOR: &str = "cdp";

/// The name of the temporary folder in a cell's directory.
const TMP: &str = "tmp";

/// The link to the project's folder for what stays.
const DATA: &str = "data";

/// How long a cell may take for its goodbyes before it is killed.
const GOODBYE: Duration = Duration::from_secs(2);

/// A cell that does not take a line of control in this time is stuck beyond repair.
const CONTROL_PATIENCE: Duration = Duration::from_secs(1);

/// After a cell's end its pipes may be held open by children of its own; its output is awaited
/// only so long.
const OUTPUT_PATIENCE: Duration = Duration::from_millis(200);

/// How often an ending process is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// How far a cell is. What it said stays known when it has ended.
#[derive(Debug, Clone, Default)]
struct Status {
    outcome: Option<Outcome>,
    /// The limit that it went over.
    exceeded: Option<Limit>,
    exit: Option<Exit>,
}

/// Whether it serves, or why it never will.
#[derive(Debug, Clone)]
enum Outcome {
    Serves,
    Failed(Diagnostic),
    Missing(Diagnostic),
}

type Log = JoinHandle<Vec<String>>;

/// From the handle to the owner.
enum ToOwner {
    Say(ToCell),
    Exceed(Limit),
    Kill,
}

/// A running cell. Dropping the last handle kills it.
#[derive(Debug)]
pub(crate) struct Cell {
    id: u64,
    pid: u32,
    socket: PathBuf,
    tmp: PathBuf,
    settings: Arc<Settings>,
    group: Option<Arc<Group>>,
    limits: OnceLock<Limits>,
    given: Given,
    inspector: OnceLock<Inspector>,
    commands: mpsc::Sender<ToOwner>,
    status: watch::Receiver<Status>,
}

/// Where a debugger gets at the version in a cell.
#[derive(Debug)]
pub(crate) struct Inspector {
    /// Takes WebSockets that speak Chrome's DevTools protocol.
    pub(crate) socket: PathBuf,
    /// The `file:` URL by which V8 knows the version's entry.
    pub(crate) entry: String,
}

impl Cell {
    /// Starts a process that warms itself up. Must be called on a thread that lives as long as the
    /// router: the kernel ends a cell with the thread that made it (parent-death signal).
    pub(super) fn spawn(settings: &Arc<Settings>, id: u64) -> Result<Self> {
        let Settings { binary, run_dir, user, sink, .. } = settings.as_ref();
        let dir = run_dir.join(id.to_string());
        let tmp = dir.join(TMP);
        create(&dir, *user)?;
        create(&tmp, *user)?;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().context("make a socket pair")?;
        ours.set_nonblocking(true).context("make a socket pair")?;
        let mut command = Command::new(binary);
        if let Some(user) = user {
            command.uid(user.uid).gid(user.gid);
        }
        let child = command
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .current_dir(&dir)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", binary.display()))?;
        let pid = child.id().context("a child that was just started has an id")?;
        let group = settings.groups.as_ref().map(|groups| groups.enter(id, pid).map(Arc::new));
        let group = group.transpose().context("put a cell into a control group")?;
        let (read, write) = UnixStream::from_std(ours).context("register the socket pair")?.into_split();
        // Three: a start, a limit that it went over, and a drain.
        let (commands, received) = mpsc::channel(3);
        let (status_sender, status) = watch::channel(Status::default());
        let given = Given::default();
        let owner = Owner {
            dir: dir.clone(),
            group: group.clone(),
            child,
            control: write,
            commands: received,
            status: status_sender,
        };
        let source = Source { given: given.clone(), pid, sink: sink.clone() };
        tokio::spawn(owner.run(BufReader::new(read).lines(), source));
        Ok(Self {
            id,
            pid,
            socket: dir.join(SOCKET),
            tmp,
            settings: settings.clone(),
            group,
            limits: OnceLock::new(),
            given,
            inspector: OnceLock::new(),
            commands,
            status,
        })
    }

    /// Unique among this router's cells.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Where it answers HTTP/1.1.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn has_exited(&self) -> bool {
        self.status.borrow().exit.is_some()
    }

    /// Whether the process ends within `time`. It is known before [`Cell::has_exited`], which waits for its last output.
    pub(crate) async fn ends_within(&self, time: Duration) -> bool {
        let ended = async {
            while !self.has_ended() {
                sleep(LOOK).await;
            }
        };
        timeout(time, ended).await.is_ok()
    }

    fn has_ended(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let running = || {
            let pid = Pid::from_raw(i32::try_from(self.pid()).ok()?)?;
            Some(matches!(waitid(WaitId::Pid(pid), look), Ok(None)))
        };
        self.has_exited() || !running().unwrap_or(false)
    }

    /// Gives a spare its version and waits until that is served, at most for `patience`.
    pub(super) async fn start(&self, order: &Order, patience: Duration) -> Result<(), StartError> {
        let data = self.settings.data.of(&order.version.tenant());
        self.prepare(&data, &order.grant.limits).map_err(StartError::NoProcess)?;
        let cache = self.cache(order);
        let _ = self.given.set(order.version.clone());
        let inspect = self.let_debuggers_in(order).map(|inspector| inspector.socket.clone());
        let start = order.start(self.socket.clone(), inspect, self.tmp.clone(), data, cache);
        let start = ToCell::Start(Box::new(start));
        let _ = self.commands.send(ToOwner::Say(start)).await;
        let mut status = self.status.clone();
        let settled = |status: &Status| status.outcome.is_some() || status.exit.is_some();
        let Ok(settled) = timeout(patience, status.wait_for(settled)).await else {
            return Err(StartError::TimedOut(patience));
        };
        let status = settled.map(|status| status.clone()).unwrap_or_default();
        match status.outcome {
            Some(Outcome::Serves) => Ok(()),
            Some(Outcome::Failed(error)) => Err(StartError::Failed(error)),
            Some(Outcome::Missing(error)) => Err(StartError::Missing(error)),
            None => Err(StartError::Failed(ended_in_load(&status.exit.unwrap_or_else(Exit::unknown)))),
        }
    }

    /// Bounds the process, and lets it have the project's folder.
    fn prepare(&self, data: &Path, limits: &Limits) -> Result<()> {
        create(data, self.settings.user)?;
        // The runtime was told where it will find it before the project was known.
        std::os::unix::fs::symlink(data, self.socket.with_file_name(DATA))
            .context("link the project's folder")?;
        if let (Some(groups), Some(group)) = (&self.settings.groups, &self.group) {
            groups.limit(group, limits).context("bound a cell's control group")?;
        }
        let _ = self.limits.set(*limits);
        Ok(())
    }

    /// Where the version's compiled modules are kept. Without it they are compiled once more.
    fn cache(&self, Order { version, grant, .. }: &Order) -> Option<ModuleCache> {
        let cache = self.settings.caches.of(&version.tenant(), grant.cells)?;
        match create(&cache.dir, self.settings.user) {
            Ok(()) => Some(cache),
            Err(error) => {
                tracing::warn!(project.name = %version.project, "compiled modules are not kept: {error:#}");
                None
            }
        }
    }

    /// Where debuggers get at `order`, if they may.
    fn let_debuggers_in(&self, order: &Order) -> Option<&Inspector> {
        let may = self.settings.inspect.covers(order.version.project.as_str());
        let entry = Url::from_file_path(order.checkout.dir.join(&order.entry)).ok().filter(|_| may)?;
        let socket = self.socket.with_file_name(INSPECTOR);
        Some(self.inspector.get_or_init(|| Inspector { socket, entry: entry.into() }))
    }

    /// `None`: no debugger may attach to it.
    pub(crate) fn inspector(&self) -> Option<&Inspector> {
        self.inspector.get()
    }

    /// Those of its version.
    pub(super) fn limits(&self) -> Option<Limits> {
        self.limits.get().copied()
    }

    /// Where it may write.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let data = self.given.get().map(|version| self.settings.data.of(&version.tenant()));
        data.into_iter().chain([self.tmp.clone()]).collect()
    }

    /// Lets the process make files larger, or not any more.
    pub(super) async fn set_writable(&self, may: bool) {
        let _ = self.commands.send(ToOwner::Say(ToCell::Writable { may })).await;
    }

    /// Ends the process for going over `limit`.
    pub(super) fn exceed(&self, limit: Limit) {
        // A queue that is full has its end in it already.
        let _ = self.commands.try_send(ToOwner::Exceed(limit));
    }

    /// Waits for the end of the process.
    pub(crate) fn exited(&self) -> impl Future<Output = Exit> + Send + use<> {
        let mut status = self.status.clone();
        async move {
            let ended = status.wait_for(|status| status.exit.is_some()).await;
            ended.ok().and_then(|status| status.exit.clone()).unwrap_or_else(Exit::unknown)
        }
    }

    /// Lets the project say goodbye, then ends the process.
    pub(crate) async fn retire(&self) -> Exit {
        let goodbye = async {
            let _ = self.commands.send(ToOwner::Say(ToCell::Drain)).await;
            self.exited().await
        };
        match timeout(GOODBYE, goodbye).await {
            Ok(exit) => exit,
            Err(_) => self.kill().await,
        }
    }

    /// Ends the process at once.
    pub(crate) async fn kill(&self) -> Exit {
        let _ = self.commands.send(ToOwner::Kill).await;
        self.exited().await
    }
}

/// Makes a folder that nobody else may enter, if it is not there.
fn create(dir: &Path, user: Option<User>) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(dir).with_context(|| format!("create {}", dir.display()))?;
    user.map_or(Ok(()), |user| user.give(dir)).with_context(|| format!("give away {}", dir.display()))
}

fn ended_in_load(exit: &Exit) -> Diagnostic {
    let mut message = format!("the process ended while the project was loading: {exit}");
    for line in &exit.last_words {
        message.push('\n');
        message.push_str(line);
    }
    diagnostic(message)
}

/// Owns the process: reads its control lines and output until it ends, then clears up after it.
struct Owner {
    dir: PathBuf,
    group: Option<Arc<Group>>,
    child: Child,
    control: OwnedWriteHalf,
    commands: mpsc::Receiver<ToOwner>,
    status: watch::Sender<Status>,
}

impl Owner {
    async fn run(mut self, mut lines: Lines<BufReader<OwnedReadHalf>>, source: Source) {
        let stdout =
            self.child.stdout.take().map(|out| tokio::spawn(log_lines(out, "stdout", source.clone())));
        let stderr = self.child.stderr.take().map(|err| tokio::spawn(log_lines(err, "stderr", source)));
        let mut control_open = true;
        let ended = loop {
            tokio::select! {
                ended = self.child.wait() => break ended.ok(),
                line = lines.next_line(), if control_open => match line {
                    Ok(Some(line)) => self.heard(&line),
                    _ => control_open = false,
                },
                command = self.commands.recv() => match command {
                    Some(ToOwner::Say(line)) => self.say(&line).await,
                    Some(ToOwner::Exceed(limit)) => {
                        self.exceeded(limit);
                        self.kill();
                    }
                    Some(ToOwner::Kill) => self.kill(),
                    None => {
                        self.kill();
                        break self.child.wait().await.ok();
                    }
                },
            }
        };
        // What it said last may still be in the socket.
        while let Ok(Ok(Some(line))) = timeout(OUTPUT_PATIENCE, lines.next_line()).await {
            self.heard(&line);
        }
        let last_words = end_output(stdout, stderr).await;
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            tracing::warn!("{} cannot be removed: {error}", self.dir.display());
        }
        let out_of_memory = self.group.as_ref().is_some_and(|group| group.ran_out_of_memory());
        self.status.send_modify(|status| {
            let exceeded = status.exceeded.or(out_of_memory.then_some(Limit::Memory));
            status.exit = Some(Exit::new(ended, exceeded, last_words));
        });
    }

    fn heard(&self, line: &str) {
        let outcome = match serde_json::from_str(line) {
            Ok(FromCell::Ready) => return,
            Ok(FromCell::Serving) => Outcome::Serves,
            Ok(FromCell::Failed(diagnostic)) => Outcome::Failed(diagnostic),
            Ok(FromCell::Missing(diagnostic)) => Outcome::Missing(diagnostic),
            Ok(FromCell::Exceeded(limit)) => return self.exceeded(limit),
            Err(error) => return tracing::warn!("a cell says what is not understood: {error}"),
        };
        self.status.send_modify(|status| {
            status.outcome.get_or_insert(outcome);
        });
    }

    fn exceeded(&self, limit: Limit) {
        self.status.send_modify(|status| status.exceeded = Some(limit));
    }

    async fn say(&mut self, line: &ToCell) {
        let mut text = serde_json::to_vec(line).expect("a line of control is plain data");
        text.push(b'\n');
        // A cell that has ended is told by its exit, not by this write.
        if timeout(CONTROL_PATIENCE, self.control.write_all(&text)).await.is_err() {
            self.kill();
        }
    }

    fn kill(&mut self) {
        if let Err(error) = self.child.start_kill() {
            tracing::warn!("a cell cannot be killed: {error}");
        }
    }
}

/// Awaits what is left of the output, and returns the last lines of standard error.
async fn end_output(stdout: Option<Log>, stderr: Option<Log>) -> Vec<String> {
    let mut last_words = Vec::new();
    for mut log in [stdout, stderr].into_iter().flatten() {
        match timeout(OUTPUT_PATIENCE, &mut log).await {
            Ok(lines) => last_words = lines.unwrap_or_default(),
            Err(_) => log.abort(),
        }
    }
    last_words
}
