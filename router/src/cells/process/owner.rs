//! The task that owns a cell's process: carries messages both ways until it ends, then clears up after it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use switchyard_protocol::{FromCell, Limit, ServerKind, ToCell};
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::{Log, Outcome, Status, ToOwner};
use crate::cells::cgroup::Group;
use crate::cells::control::{Messages, Misbehaviour};
use crate::cells::exit::Exit;
use crate::cells::recount::Recount;
use crate::folder::Trash;

/// A cell that does not take a line of control in this time is stuck beyond repair.
const CONTROL_PATIENCE: Duration = Duration::from_secs(1);

/// How long a cell's last lines and messages are waited for after its end. They are there already,
/// and only a busy machine takes longer than a moment to read them; a cell has no children that
/// could hold its pipes open.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(2);

/// Owns the process: reads its control lines and output until it ends, then clears up after it.
pub(super) struct Owner {
    pub(super) dir: PathBuf,
    pub(super) group: Option<Arc<Group>>,
    pub(super) trash: Trash,
    /// Of its standard output and standard error.
    pub(super) logs: [Option<Log>; 2],
    pub(super) child: Child,
    pub(super) control: OwnedWriteHalf,
    pub(super) commands: mpsc::Receiver<ToOwner>,
    pub(super) recount: Arc<Recount>,
    pub(super) takes_urls: Arc<AtomicBool>,
    pub(super) status: watch::Sender<Status>,
}

impl Owner {
    pub(super) async fn run(mut self, mut messages: Messages<OwnedReadHalf>) {
        let mut control_open = true;
        let ended = loop {
            tokio::select! {
                ended = self.child.wait() => break ended.ok(),
                message = messages.next(), if control_open => match message {
                    Some(message) => self.heard(message, &mut messages),
                    None => control_open = false,
                },
                command = self.commands.recv() => match command {
                    Some(ToOwner::Say(line)) => self.say(&line).await,
                    Some(ToOwner::Exceed(limit)) => {
                        self.exceeded(limit);
                        self.kill();
                    }
                    Some(ToOwner::Unhealthy(why)) => {
                        self.status.send_modify(|status| status.unhealthy = Some(why));
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
        while let Ok(Some(message)) = timeout(OUTPUT_PATIENCE, messages.next()).await {
            self.heard(message, &mut messages);
        }
        let last_words = end_output(std::mem::take(&mut self.logs)).await;
        if let Err(error) = self.trash.discard(&self.dir) {
            tracing::warn!("{} cannot be removed: {error}", self.dir.display());
        }
        let out_of_memory = self.group.as_ref().is_some_and(|group| group.ran_out_of_memory());
        self.status.send_modify(|status| {
            let exceeded = status.exceeded.or(out_of_memory.then_some(Limit::Memory));
            status.exit = Some(match status.unhealthy.take() {
                Some(why) if exceeded.is_none() => Exit::unhealthy(why, last_words),
                _ => Exit::new(ended, exceeded, last_words),
            });
        });
    }

    fn heard(&mut self, message: Result<FromCell, Misbehaviour>, messages: &mut Messages<OwnedReadHalf>) {
        let outcome = match message {
            Ok(FromCell::Ready) => return,
            Ok(FromCell::Serving { by }) => {
                self.takes_urls.store(by == ServerKind::Deno, Relaxed);
                Outcome::Serves
            }
            Ok(FromCell::Failed(diagnostic)) => Outcome::Failed(diagnostic),
            Ok(FromCell::Missing(diagnostic)) => Outcome::Missing(diagnostic),
            Ok(FromCell::Exceeded(limit)) => return self.exceeded(limit),
            Ok(FromCell::OutOfSpace) => {
                // One for each count is no flood.
                if self.recount.ask() {
                    messages.leave_out();
                }
                return;
            }
            Err(why) => {
                tracing::warn!(cell.pid = self.child.id(), "a cell is ended: {why}");
                return self.kill();
            }
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
async fn end_output(logs: [Option<Log>; 2]) -> Vec<String> {
    let mut last_words = Vec::new();
    for mut log in logs.into_iter().flatten() {
        match timeout(OUTPUT_PATIENCE, &mut log).await {
            Ok(lines) => last_words = lines.unwrap_or_default(),
            Err(_) => log.abort(),
        }
    }
    last_words
}
