//! The task that owns a cell's process: passes messages both ways until the process ends, then
//! removes its folder.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use switchyard_protocol::{CronRegistration, FromCell, Limit, ServerKind, ToCell};
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Child;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{CellStatus, OutputTask, ServerForm, StartOutcome, ToOwner};
use crate::cells::cgroup::Group;
use crate::cells::control::{ControlMessages, ProtocolViolation};
use crate::cells::crons::CellCrons;
use crate::cells::exit::Exit;
use crate::cells::output::AssignedVersion;
use crate::cells::recount::Recount;
use crate::folder::Trash;

/// Time that a cell has to take a control message of up to a megabyte, and for each further one. A cell that does not is stuck beyond repair.
const CONTROL_PATIENCE: Duration = Duration::from_secs(1);

/// Time in which the last lines and messages of a cell are read after its end. They are there
/// already, and only a busy machine takes longer than a moment; a cell has no children that could
/// hold its pipes open.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(2);

/// The owner of a cell's process.
pub(super) struct Owner {
    pub(super) dir: PathBuf,
    pub(super) group: Option<Arc<Group>>,
    pub(super) trash: Trash,
    /// The readers of its standard output and standard error.
    pub(super) output: [Option<OutputTask>; 2],
    pub(super) child: Child,
    pub(super) control: OwnedWriteHalf,
    pub(super) commands: mpsc::Receiver<ToOwner>,
    pub(super) messages: mpsc::Sender<FromCell>,
    pub(super) crons: Arc<CellCrons>,
    pub(super) assigned: AssignedVersion,
    pub(super) recount: Arc<Recount>,
    pub(super) server: Arc<ServerForm>,
    pub(super) status: watch::Sender<CellStatus>,
}

impl Owner {
    pub(super) async fn run(mut self, mut messages: ControlMessages<OwnedReadHalf>) {
        let mut control_open = true;
        let ended = loop {
            tokio::select! {
                ended = self.child.wait() => break ended.ok(),
                message = messages.next(), if control_open => match message {
                    Some(message) => self.received(message, &mut messages),
                    None => control_open = false,
                },
                command = self.commands.recv() => match command {
                    Some(ToOwner::Send(message)) => {
                        if let ToCell::Start(start) = &message {
                            start.job.iter().for_each(|job| messages.allow_job(job));
                        }
                        self.send(&message).await;
                    }
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
        // Its last messages may still be in the socket.
        while let Ok(Some(message)) = timeout(OUTPUT_PATIENCE, messages.next()).await {
            self.received(message, &mut messages);
        }
        let last_words = end_output(std::mem::take(&mut self.output)).await;
        let out_of_memory = self.remove_folder().await;
        self.status.send_modify(|status| {
            let exceeded = status.exceeded.or(out_of_memory.then_some(Limit::Memory));
            status.exit = Some(match status.unhealthy.take() {
                Some(why) if exceeded.is_none() => Exit::unhealthy(why, last_words),
                _ => Exit::new(ended, exceeded, last_words),
            });
        });
        self.crons.end(self.assigned.get().map(|assigned| &assigned.version));
    }

    fn received(
        &mut self,
        message: Result<FromCell, ProtocolViolation>,
        messages: &mut ControlMessages<OwnedReadHalf>,
    ) {
        let outcome = match message {
            Ok(FromCell::Ready) => return self.status.send_modify(|status| status.is_warm = true),
            Ok(FromCell::Serving { by, framed }) => {
                self.server.takes_urls.store(by == ServerKind::Deno, Relaxed);
                self.server.takes_frames.store(framed, Relaxed);
                StartOutcome::Serves
            }
            Ok(FromCell::Linked | FromCell::Running) => StartOutcome::Serves,
            Ok(message @ (FromCell::Returned { .. } | FromCell::Threw(_) | FromCell::Step(_))) => {
                return self.pass_on(message);
            }
            // Both have bounds of their own: reports by their time, ends by the runs that began.
            Ok(FromCell::Crons { crons }) => {
                messages.leave_out();
                return self.crons_registered(crons);
            }
            Ok(FromCell::CronEnded { name, run, success }) => {
                if self.crons.ended(&name, &run, success) {
                    messages.leave_out();
                }
                return;
            }
            Ok(FromCell::Failed(diagnostic)) => StartOutcome::Failed(diagnostic),
            Ok(FromCell::Missing(diagnostic)) => StartOutcome::Missing(diagnostic),
            Ok(FromCell::Exceeded(limit)) => return self.exceeded(limit),
            Ok(FromCell::OutOfSpace) => {
                // One request for each count is not a flood.
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

    fn crons_registered(&mut self, crons: Vec<CronRegistration>) {
        if !self.crons.registered(self.assigned.get().map(|assigned| &assigned.version), crons) {
            tracing::warn!(
                cell.pid = self.child.id(),
                "a cell is ended: it reports more crons than it may have, or too often"
            );
            self.kill();
        }
    }

    /// Passes a message of a job on to whoever reads them. Ends a cell that sends more than is read.
    fn pass_on(&mut self, message: FromCell) {
        if let Err(TrySendError::Full(_)) = self.messages.try_send(message) {
            tracing::warn!(
                cell.pid = self.child.id(),
                "a cell is ended: it sends more messages than are read"
            );
            self.kill();
        }
    }

    /// Removes the cell's folder. Returns true if the kernel ended the process for its memory.
    async fn remove_folder(&mut self) -> bool {
        let (trash, dir, group) = (self.trash.clone(), self.dir.clone(), self.group.take());
        let removed = spawn_blocking(move || {
            if let Err(error) = trash.discard(&dir) {
                tracing::warn!("{} cannot be removed: {error}", dir.display());
            }
            group.is_some_and(|group| group.ran_out_of_memory())
        });
        // A panic is logged.
        removed.await.unwrap_or_default()
    }

    fn exceeded(&self, limit: Limit) {
        self.status.send_modify(|status| status.exceeded = Some(limit));
    }

    async fn send(&mut self, message: &ToCell) {
        let mut text = serde_json::to_vec(message).expect("a control message is plain data");
        text.push(b'\n');
        let size = u32::try_from(text.len() >> 20).unwrap_or(u32::MAX);
        // The end of a cell is noticed by its exit, not by this write.
        if timeout(CONTROL_PATIENCE.saturating_mul(size.saturating_add(1)), self.control.write_all(&text))
            .await
            .is_err()
        {
            self.kill();
        }
    }

    fn kill(&mut self) {
        if let Err(error) = self.child.start_kill() {
            tracing::warn!("a cell cannot be killed: {error}");
        }
    }
}

/// Waits for the rest of the output and returns the last lines of standard error.
async fn end_output(logs: [Option<OutputTask>; 2]) -> Vec<String> {
    let mut last_words = Vec::new();
    for mut log in logs.into_iter().flatten() {
        match timeout(OUTPUT_PATIENCE, &mut log).await {
            Ok(lines) => last_words = lines.unwrap_or_default(),
            Err(_) => log.abort(),
        }
    }
    last_words
}
