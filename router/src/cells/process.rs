//! The handle to one cell process, which starts, retires or ends it. The task that owns the process
//! is in `owner`.

mod owner;
mod prepare;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use switchyard_contract::event::Diagnostic;
use switchyard_protocol::{FromCell, LOW_PRIORITY, Limit, Limits, ToCell};
use switchyard_telemetry::wire;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};

use self::owner::Owner;
use super::answers::AnswerTally;
use super::cgroup::Group;
use super::control::ControlMessages;
use super::crons::{CellCrons, CronRefusal};
use super::exit::Exit;
use super::output::{AssignedVersion, Assignment, Output};
use super::recount::Recount;
use super::spans::SpanRelay;
use super::{CellSettings, Groups, LaunchSpec, Priority, StartError};
use crate::folder::DiskUsage;
use crate::project::diagnostic;
use crate::user::User;

/// The name of the socket for requests in a cell's directory. Short, because a socket's whole path
/// may have 107 bytes.
const SOCKET: &str = "http";

/// The name of the socket for connections of the framed transport.
const TRANSPORT: &str = "mux";

/// The name of the socket on which the cell's glue answers the router's probe.
const PROBE: &str = "ping";

/// The name of the socket for debuggers.
const INSPECTOR: &str = "cdp";

/// The name of the temporary folder in a cell's directory.
const TMP: &str = "tmp";

/// The name of the link to the project's `DATA_DIR` in a cell's directory.
const DATA: &str = "data";

/// Time after the end of a cell's time for its handlers at which it is killed. The cell ends itself
/// half a second after its time; the rest is for a busy machine.
const OVERDUE: Duration = Duration::from_secs(2);

/// Interval between two checks of an ending process.
const LOOK: Duration = Duration::from_millis(5);

/// Messages of jobs and crons that wait to be read: each step and cron has one at a time.
const MESSAGES: usize = 256;

/// The state of a cell. The outcome of its start stays known after its end.
#[derive(Debug, Clone, Default)]
struct CellStatus {
    is_warm: bool,
    outcome: Option<StartOutcome>,
    /// The limit that it exceeded.
    exceeded: Option<Limit>,
    /// The reason why it failed the router's probe and was ended.
    unhealthy: Option<String>,
    exit: Option<Exit>,
}

/// The outcome of a start.
#[derive(Debug, Clone)]
enum StartOutcome {
    Serves,
    Failed(Diagnostic),
    Missing(Diagnostic),
}

/// The forms in which a cell's server takes requests, as it announced them.
#[derive(Debug, Default)]
struct ServerForm {
    /// The target of a request is the whole URL.
    takes_urls: AtomicBool,
    /// Requests may come as frames.
    takes_frames: AtomicBool,
}

/// The task that reads a stream of a cell's output. It returns the last lines.
type OutputTask = JoinHandle<Vec<String>>;

/// A message from the handle to the owner.
enum ToOwner {
    Send(ToCell),
    Exceed(Limit),
    Unhealthy(String),
    Kill,
}

/// A running cell. Dropping the last handle kills it.
#[derive(Debug)]
pub(crate) struct Cell {
    id: u64,
    pid: u32,
    socket: PathBuf,
    transport: PathBuf,
    tmp: PathBuf,
    settings: Arc<CellSettings>,
    group: Option<Arc<Group>>,
    limits: OnceLock<Limits>,
    data: OnceLock<Arc<Path>>,
    modules: OnceLock<Arc<Path>>,
    answers: AnswerTally,
    assigned: AssignedVersion,
    inspector: OnceLock<Inspector>,
    recount: Arc<Recount>,
    server: Arc<ServerForm>,
    commands: mpsc::Sender<ToOwner>,
    messages: Mutex<Option<mpsc::Receiver<FromCell>>>,
    crons: Arc<CellCrons>,
    status: watch::Receiver<CellStatus>,
}

/// The access of debuggers to the version in a cell.
#[derive(Debug)]
pub(crate) struct Inspector {
    /// The socket that takes WebSockets of Chrome's DevTools protocol.
    pub(crate) socket: PathBuf,
    /// The `file:` URL by which V8 knows the version's entry.
    pub(crate) entry: String,
}

impl Cell {
    /// Starts a process that warms itself up. Must be called on a thread that lives as long as the
    /// router: the kernel ends a cell with the thread that made it (parent-death signal).
    pub(super) async fn spawn(
        settings: &Arc<CellSettings>,
        output: &Output,
        id: u64,
        recount: Recount,
        priority: Priority,
    ) -> Result<Self> {
        let dir = settings.run_dir.join(id.to_string());
        let tmp = dir.join(TMP);
        let (made, user) = ([dir.clone(), tmp.clone()], settings.users.at_start());
        spawn_blocking(move || made.iter().try_for_each(|dir| create(dir, user))).await??;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().context("make a socket pair")?;
        ours.set_nonblocking(true).context("make a socket pair")?;
        // Before the process, which connects to it.
        let listen = |relay: &Arc<SpanRelay>| Ok::<_, io::Error>((relay.clone(), relay.listen(&dir, user)?));
        let spans = settings.spans.as_ref().map(listen).transpose().context("listen for spans")?;
        let ratio = spans.as_ref().map(|(relay, _)| relay.ratio());
        let mut child = make_process(&settings.binary, &dir, user, theirs.into(), priority, ratio)?;
        let pid = child.id().context("a child that was just started has an id")?;
        let recount = Arc::new(recount);
        let crons = Arc::new(CellCrons::new(id, settings.crons.clone()));
        let group = enter_group(settings.groups.clone(), id, pid, priority).await?;
        let (read, write) = UnixStream::from_std(ours).context("register the socket pair")?.into_split();
        // A start, a reason to end it, a drain, and a count of its folders.
        let (commands, received) = mpsc::channel(4);
        let (message_sender, messages) = mpsc::channel(MESSAGES);
        let (status_sender, status) = watch::channel(CellStatus::default());
        let assigned = AssignedVersion::default();
        if let Some((relay, listener)) = spans {
            // The task ends with the process.
            tokio::spawn(relay.follow(listener, assigned.clone()));
        }
        let server = Arc::new(ServerForm::default());
        let stdout = child.stdout.take().context("standard output is piped")?.into_owned_fd()?;
        let stderr = child.stderr.take().context("standard error is piped")?.into_owned_fd()?;
        let output_streams = [(stdout, "stdout"), (stderr, "stderr")];
        let output = output_streams.map(|(stream, name)| output.read(stream, name, pid, assigned.clone()));
        let owner = Owner {
            dir: dir.clone(),
            group: group.clone(),
            trash: settings.trash.clone(),
            output,
            child,
            control: write,
            commands: received,
            messages: message_sender,
            crons: crons.clone(),
            assigned: assigned.clone(),
            recount: recount.clone(),
            server: server.clone(),
            status: status_sender,
        };
        tokio::spawn(owner.run(ControlMessages::new(read)));
        Ok(Self {
            id,
            pid,
            socket: dir.join(SOCKET),
            transport: dir.join(TRANSPORT),
            tmp,
            settings: settings.clone(),
            group,
            limits: OnceLock::new(),
            data: OnceLock::new(),
            modules: OnceLock::new(),
            answers: AnswerTally::default(),
            assigned,
            inspector: OnceLock::new(),
            recount,
            server,
            commands,
            messages: Mutex::new(Some(messages)),
            crons,
            status,
        })
    }

    /// An id that is unique among this router's cells.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The socket on which the cell answers HTTP/1.1.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns true if the target of a request has to be the whole URL, which its handler sees.
    pub(crate) fn takes_urls(&self) -> bool {
        self.server.takes_urls.load(Relaxed)
    }

    /// The socket on which the cell takes connections of the framed transport. `None`: its server
    /// takes none.
    pub(crate) fn transport(&self) -> Option<&Path> {
        self.server.takes_frames.load(Relaxed).then_some(&self.transport)
    }

    /// The socket on which the cell answers the router's probe.
    pub(super) fn probe(&self) -> PathBuf {
        self.socket.with_file_name(PROBE)
    }

    /// The count of its bad answers.
    pub(crate) fn answers(&self) -> &AnswerTally {
        &self.answers
    }

    /// Waits until the process has warmed up, or has ended.
    pub(super) fn warmed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut status = self.status.clone();
        async move {
            // The sender is gone only with the process.
            let _ = status.wait_for(|status| status.is_warm || status.exit.is_some()).await;
        }
    }

    pub(crate) fn has_exited(&self) -> bool {
        self.status.borrow().exit.is_some()
    }

    /// Returns true if the process ends within `time`. This is known before [`Cell::has_exited`],
    /// which waits for its last output.
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

    /// Assigns a version to a spare and waits until it serves, at most for `limit`.
    ///
    /// # Errors
    /// The version cannot be served or did not serve in time, or the router could not prepare the
    /// cell.
    pub(super) async fn start(
        self: &Arc<Self>,
        launch: &Arc<LaunchSpec>,
        limit: Duration,
    ) -> Result<(), StartError> {
        // Preparing looks for packages on the volume, which may be slow.
        let prepared = spawn_blocking({
            let (cell, launch) = (self.clone(), launch.clone());
            move || cell.prepare(&launch)
        });
        let Ok(prepared) = timeout(limit, prepared).await else {
            return Err(StartError::TimedOut(limit));
        };
        let start = prepared.map_err(|error| StartError::NoProcess(error.into())).flatten()?;
        let assignment = Assignment { version: launch.version.clone(), output: launch.output.clone() };
        let _ = self.assigned.set(assignment);
        let start = ToCell::Start(Box::new(start));
        let _ = self.commands.send(ToOwner::Send(start)).await;
        let mut status = self.status.clone();
        let settled = |status: &CellStatus| status.outcome.is_some() || status.exit.is_some();
        let Ok(settled) = timeout(limit, status.wait_for(settled)).await else {
            return Err(StartError::TimedOut(limit));
        };
        let status = settled.map(|status| status.clone()).unwrap_or_default();
        match status.outcome {
            Some(StartOutcome::Serves) => Ok(()),
            Some(StartOutcome::Failed(error)) => Err(StartError::Failed(error)),
            Some(StartOutcome::Missing(error)) => Err(StartError::Missing(error)),
            None => Err(StartError::Failed(ended_in_load(&status.exit.unwrap_or_else(Exit::unknown)))),
        }
    }

    /// The access of debuggers. `None`: no debugger may attach to the cell.
    pub(crate) fn inspector(&self) -> Option<&Inspector> {
        self.inspector.get()
    }

    /// The limits of its version. `None`: it has no version yet.
    pub(super) fn limits(&self) -> Option<Limits> {
        self.assigned.get().and_then(|_| self.limits.get().copied())
    }

    /// The name of its version's project. `None`: it is a spare.
    pub(super) fn project(&self) -> Option<&str> {
        self.assigned.get().map(|assigned| assigned.version.project.as_str())
    }

    /// The cell's `TMPDIR`.
    pub(super) fn tmp(&self) -> &Path {
        &self.tmp
    }

    /// The project's `DATA_DIR`, which its cells share. `None`: the cell has no version yet.
    pub(super) fn data(&self) -> Option<Arc<Path>> {
        self.data.get().cloned()
    }

    /// The project's folder for compiled modules, if any are kept.
    pub(super) fn modules(&self) -> Option<Arc<Path>> {
        self.modules.get().cloned()
    }

    /// Ends the process if the folder for compiled modules has more in it than its runtime writes,
    /// and prunes the folder then.
    pub(super) async fn check_modules(&self, used: DiskUsage) {
        if !self.settings.caches.is_overfull(used) {
            return;
        }
        tracing::warn!(
            project.name = self.project(),
            cell.pid = self.pid(),
            "a cell is ended: {} bytes and {} files are in the folder for its compiled modules",
            used.bytes,
            used.files
        );
        self.exceed(Limit::Disk);
        self.exited().await;
        let Some(tenant) = self.assigned.get().map(|assigned| assigned.version.tenant()) else { return };
        let settings = self.settings.clone();
        let pruned = spawn_blocking(move || settings.caches.prune(&tenant)).await;
        // A panic in it is logged.
        if let Ok(Err(error)) = pruned {
            tracing::warn!(project.name = self.project(), "compiled modules stay: {error:#}");
        }
    }

    /// The cell's request for a count of its folders.
    pub(super) fn recount(&self) -> &Recount {
        &self.recount
    }

    /// Sends it the bytes and files that it may add to its folders. `is_answer`: it has requested
    /// the count.
    pub(super) async fn set_room(&self, (bytes, files): (i64, i64), is_answer: bool) {
        let _ = self.commands.send(ToOwner::Send(ToCell::DiskSpace { bytes, files, is_answer })).await;
    }

    /// Ends the process because it has exceeded `limit`.
    pub(super) fn exceed(&self, limit: Limit) {
        // A full queue has a message in it already that ends the cell.
        let _ = self.commands.try_send(ToOwner::Exceed(limit));
    }

    /// Ends the process because it cannot answer any more: it failed the router's probe, for this
    /// reason.
    pub(super) fn end_as_unhealthy(&self, why: String) {
        tracing::warn!(
            project.name = self.project(),
            cell.pid = self.pid(),
            "a cell is ended: its last answers were errors or never came, and it does not answer the router's \
             probe: {why}"
        );
        // A full queue has a message in it already that ends the cell.
        let _ = self.commands.try_send(ToOwner::Unhealthy(why));
    }

    /// The messages of its job, or of its crons. `None`: they were taken before.
    pub(crate) fn take_messages(&self) -> Option<mpsc::Receiver<FromCell>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Sends a message to its job, or to its crons.
    pub(crate) async fn send(&self, message: ToCell) {
        let _ = self.commands.send(ToOwner::Send(message)).await;
    }

    /// Has the handler of a cron called for a run. The receiver gets `true` if it ends well, and an
    /// error if the process ends. Whether anybody waits or not, the handler works to its end.
    ///
    /// # Errors
    /// The handler cannot be called.
    pub(crate) async fn run_cron(
        &self,
        name: &str,
        run: &str,
    ) -> Result<oneshot::Receiver<bool>, CronRefusal> {
        let end = self.crons.begin(name, run)?;
        self.send(ToCell::RunCron { name: name.to_owned(), run: run.to_owned() }).await;
        Ok(end)
    }

    /// Waits for the end of the process.
    pub(crate) fn exited(&self) -> impl Future<Output = Exit> + Send + use<> {
        let mut status = self.status.clone();
        async move {
            let ended = status.wait_for(|status| status.exit.is_some()).await;
            ended.ok().and_then(|status| status.exit.clone()).unwrap_or_else(Exit::unknown)
        }
    }

    /// Ends the process as SIGTERM ends a program: the project's handlers run first, and the work
    /// that they begin is awaited, at most for `within`.
    pub(crate) async fn retire(&self, within: Duration) -> Exit {
        let ended = async {
            let milliseconds = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
            let _ = self.commands.send(ToOwner::Send(ToCell::Drain { within_ms: milliseconds })).await;
            self.exited().await
        };
        match timeout(within.saturating_add(OVERDUE), ended).await {
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

/// Starts a cell's process in `dir`, with `control` as its standard input. `ratio`: the share of its
/// own traces that it exports, if it has telemetry.
fn make_process(
    binary: &Path,
    dir: &Path,
    user: Option<User>,
    control: OwnedFd,
    priority: Priority,
    ratio: Option<f64>,
) -> Result<Child> {
    let mut command = Command::new(binary);
    if let Some(ratio) = ratio {
        command.arg(format!("{}={ratio}", wire::ARGUMENT));
    }
    if priority == Priority::Low {
        command.arg(LOW_PRIORITY);
    }
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    command
        .env_clear()
        .stdin(Stdio::from(control))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .current_dir(dir)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {}", binary.display()))
}

/// Puts a process into a control group of its own, if there are control groups.
async fn enter_group(
    groups: Option<Groups>,
    id: u64,
    process: u32,
    priority: Priority,
) -> Result<Option<Arc<Group>>> {
    let Some(groups) = groups else { return Ok(None) };
    let entered = spawn_blocking(move || groups.enter(id, process, priority)).await?;
    Ok(Some(Arc::new(entered.context("put a cell into a control group")?)))
}

/// Creates a folder that no other user may enter, if it does not exist.
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
