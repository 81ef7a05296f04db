//! The control while the disk of the history has no room: it refuses what it is asked for.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::accept::no_history;
use super::command::{Command, TaskLook};
use super::control::Control;
use crate::ledger::LedgerError;

/// The pause before the history is read again.
const AGAIN: Duration = Duration::from_secs(1);

/// Waits until there is room, and runs the control from then on.
pub(super) async fn run(shared: Arc<Shared>, mut commands: mpsc::Receiver<Command>) {
    tracing::error!("no run is started: {}", LedgerError::Full);
    loop {
        refuse_until(Instant::now() + AGAIN, &mut commands).await;
        match Control::new(&shared, Timestamp::now()).await {
            Ok(control) => return control.run(commands).await,
            Err(LedgerError::Full) => {}
            Err(error) => tracing::error!("no run is started: {error}"),
        }
    }
}

async fn refuse_until(end: Instant, commands: &mut mpsc::Receiver<Command>) {
    loop {
        tokio::select! {
            Some(command) = commands.recv() => refuse(command),
            () = sleep_until(end) => return,
        }
    }
}

/// Refuses a command. Those who asked may be gone.
fn refuse(command: Command) {
    match command {
        Command::Start { reply, .. } | Command::StartFile { reply, .. } => {
            _ = reply.send(Err(no_history(&LedgerError::Full)));
        }
        Command::Cancel { reply, .. } => _ = reply.send(Err(no_history(&LedgerError::Full))),
        Command::Wait { reply, .. } => _ = reply.send(None),
        Command::WaitReason { reply, .. } => _ = reply.send(None),
        Command::Look { reply, .. } => _ = reply.send(TaskLook::default()),
    }
}
