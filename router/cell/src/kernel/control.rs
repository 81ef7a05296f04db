//! The cell's end of the control socket. A thread of its own reads it, so that the router's end and
//! `Drain` are noticed even while JavaScript never returns.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use switchyard_protocol::{CronRegistration, FromCell, JobStepReply, Limit, Start, ToCell};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use super::disk;
use super::process::exit_now;

/// The least time that the project's handlers have, and the time that `exit` and `unload` have
/// after it: neither of the two may wait for anything.
const MIN_EXIT_TIME: Duration = Duration::from_millis(500);

/// Messages for a job that wait until its main thread takes them: each step and cron has one at a
/// time.
const MESSAGES: usize = 256;

/// The message in the project's log if its handlers take too long.
pub(crate) const UNFINISHED: &str = "error: the process is ended: its handlers of SIGTERM, and the work that they \
     began, took longer than the rest of the router's --grace";

/// The main thread's handle of the control socket.
pub(crate) struct Control {
    reporter: Reporter,
    start: Option<oneshot::Receiver<Start>>,
    draining: DrainSignal,
    messages: Option<mpsc::Receiver<JobMessage>>,
}

/// A message for the version's job, or for its crons.
#[derive(Debug)]
pub(crate) enum JobMessage {
    /// Run the handler of the cron of this name, for a run.
    RunCron { name: String, run: String },
    /// Abort the signal of the job's handler.
    Cancel { reason: String },
    /// The answer to a step.
    StepReply(JobStepReply),
}

/// Waits for the router's `Drain`.
#[derive(Clone)]
pub(crate) struct DrainSignal(watch::Receiver<Option<Duration>>);

impl DrainSignal {
    /// Returns the time that the project's handlers may take, once the router has sent `Drain`.
    pub(crate) async fn started(&self) -> Duration {
        let mut draining = self.0.clone();
        let started = draining.wait_for(Option::is_some).await;
        started.ok().and_then(|within| *within).unwrap_or_default()
    }
}

/// Sends messages to the router, from any thread.
#[derive(Clone)]
pub(crate) struct Reporter {
    socket: Arc<UnixStream>,
    /// Held while a message is written: a large one takes several writes.
    writing: Arc<Mutex<()>>,
}

impl Reporter {
    /// Sends a message. A failure is ignored: the reader ends a cell without a router.
    pub(crate) fn send(&self, message: &FromCell) {
        let mut line = serde_json::to_vec(message).expect("a message has string keys only");
        line.push(b'\n');
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.socket.as_ref().write_all(&line);
    }

    /// Requests a count of the project's folders.
    pub(crate) fn out_of_space(&self) {
        self.send(&FromCell::OutOfSpace);
    }

    /// Reports the crons that are registered now.
    pub(crate) fn crons(&self, crons: Vec<CronRegistration>) {
        self.send(&FromCell::Crons { crons });
    }

    /// Reports the end of the handler of a cron.
    pub(crate) fn cron_ended(&self, name: String, run: String, success: bool) {
        self.send(&FromCell::CronEnded { name, run, success });
    }

    /// Reports an exceeded limit and ends the process.
    pub(crate) fn exceed(&self, limit: Limit) -> ! {
        self.send(&FromCell::Exceeded(limit));
        exit_now(70)
    }
}

impl Control {
    /// Starts the thread that reads the socket.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn listen(socket: UnixStream) -> io::Result<Self> {
        let socket = Arc::new(socket);
        let incoming = Arc::clone(&socket);
        let (start_sender, start) = oneshot::channel();
        let (drain, draining) = watch::channel(None);
        let (messages_sender, messages) = mpsc::channel(MESSAGES);
        std::thread::Builder::new()
            .name("control".into())
            .stack_size(128 * 1024)
            .spawn(move || read(BufReader::new(&incoming), start_sender, &drain, &messages_sender))?;
        let draining = DrainSignal(draining);
        let reporter = Reporter { socket, writing: Arc::default() };
        Ok(Self { reporter, start: Some(start), draining, messages: Some(messages) })
    }

    /// Sends a message to the router.
    pub(crate) fn send(&self, message: &FromCell) {
        self.reporter.send(message);
    }

    /// Returns a sender of messages for other threads.
    pub(crate) fn reporter(&self) -> Reporter {
        self.reporter.clone()
    }

    /// Waits for the version that is assigned to this cell. Called once.
    pub(crate) async fn start(&mut self) -> Start {
        let start = self.start.take().expect("a cell is assigned one version");
        match start.await {
            Ok(start) => start,
            // The reader has ended, and the process ends with it.
            Err(_) => std::future::pending().await,
        }
    }

    /// Returns the messages for the job, or for the crons. Called once.
    pub(crate) fn messages(&mut self) -> mpsc::Receiver<JobMessage> {
        self.messages.take().expect("a version has a job or crons, not both")
    }

    /// Returns the handle that waits for the router's `Drain`.
    pub(crate) fn draining(&self) -> &DrainSignal {
        &self.draining
    }
}

fn read(
    mut reader: BufReader<&UnixStream>,
    start: oneshot::Sender<Start>,
    drain: &watch::Sender<Option<Duration>>,
    messages: &mpsc::Sender<JobMessage>,
) -> ! {
    let pass_on = |message| {
        // A receiver that is gone needs none.
        if let Err(TrySendError::Full(_)) = messages.try_send(message) {
            refuse("more messages for the job than it takes");
        }
    };
    let mut start = Some(start);
    let mut line = String::new();
    loop {
        line.clear();
        match reader.read_line(&mut line) {
            Ok(0) | Err(_) => exit_now(0),
            Ok(_) => {}
        }
        match serde_json::from_str(&line) {
            Ok(ToCell::Start(version)) => match start.take() {
                Some(start) => _ = start.send(*version),
                None => refuse("a second start"),
            },
            Ok(ToCell::DiskSpace { bytes, files, is_answer }) => disk::update(bytes, files, is_answer),
            Ok(ToCell::Drain { .. }) if start.is_some() => exit_now(0),
            Ok(ToCell::Drain { within_ms }) => {
                let within = Duration::from_millis(within_ms).max(MIN_EXIT_TIME);
                drain.send_replace(Some(within));
                exit_after(within + MIN_EXIT_TIME, reader);
            }
            Ok(ToCell::RunCron { name, run }) => pass_on(JobMessage::RunCron { name, run }),
            Ok(ToCell::Cancel { reason }) => pass_on(JobMessage::Cancel { reason }),
            Ok(ToCell::StepReply(reply)) => pass_on(JobMessage::StepReply(reply)),
            Err(_) => refuse("an invalid message"),
        }
    }
}

/// Ends the process after `time`, unless the main thread exits before, which it does once the
/// project's handlers have finished. Meanwhile the router sends counts of the project's folders,
/// which handlers may write to.
fn exit_after(time: Duration, mut reader: BufReader<&UnixStream>) -> ! {
    let end = Instant::now() + time;
    let mut line = String::new();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        // A timeout of zero is invalid.
        let _ = reader.get_ref().set_read_timeout(Some(left.max(Duration::from_millis(1))));
        line.clear();
        match reader.read_line(&mut line) {
            Ok(0) => exit_now(0),
            Ok(_) => {
                if let Ok(ToCell::DiskSpace { bytes, files, is_answer }) = serde_json::from_str(&line) {
                    disk::update(bytes, files, is_answer);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let _ = writeln!(io::stderr(), "{UNFINISHED}");
                exit_now(0)
            }
            Err(_) => exit_now(0),
        }
    }
}

fn refuse(message: &str) -> ! {
    let _ = writeln!(io::stderr(), "switchyard-cell: the router sent {message}");
    exit_now(70)
}
