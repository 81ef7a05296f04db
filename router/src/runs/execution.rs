//! One attempt of a run under way: its cell is started, listened to, and ended.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use switchyard_contract::admin::{CancelRequest, StepReply, StepRequest};
use switchyard_protocol::{FromCell, JobStep, JobStepReply, ToCell};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Recording;
use super::outcome::{self, HandlerResult, Outcome, Stopped};
use crate::cells::{Cell, Cells, LaunchSpec};

/// Time between the abort of a handler's signal for its limit of time and the end of its cell.
const TIMEOUT_GRACE: Duration = Duration::from_secs(5);

/// Longest grace that a cancel may name.
const MOST_GRACE: Duration = Duration::from_secs(10 * 60);

/// Time in which a cell ends by itself after its handler has ended.
const END_GRACE: Duration = Duration::from_secs(2);

/// Bytes of a step's name.
const STEP_NAME: usize = 256;

/// A message to a run under way.
#[derive(Debug)]
pub(super) enum ToRun {
    Cancel(CancelRequest),
    Reply(StepReply),
}

/// An attempt in a cell of its own.
#[derive(Debug)]
pub(super) struct Execution {
    pub(super) cells: Arc<Cells>,
    pub(super) launch: Arc<LaunchSpec>,
    /// The time that its module may take to load.
    pub(super) load_time: Duration,
    /// The time that all of it may take.
    pub(super) time: Option<Duration>,
    pub(super) max_result: u64,
    pub(super) recording: Arc<Recording>,
}

/// The orders to a run, and its limit of time.
#[derive(Debug)]
pub(super) struct Orders {
    receiver: mpsc::Receiver<ToRun>,
    time: Option<Duration>,
    deadline: Option<Instant>,
}

/// The next thing that a run has to follow.
#[derive(Debug)]
pub(super) enum Order {
    /// End within the grace.
    Stop(Stopped, Duration),
    Reply(StepReply),
}

impl Orders {
    pub(super) fn new(receiver: mpsc::Receiver<ToRun>, time: Option<Duration>) -> Self {
        let deadline = time.and_then(|time| Instant::now().checked_add(time));
        Self { receiver, time, deadline }
    }

    /// Waits for the next order. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Order {
        tokio::select! {
            Some(order) = self.receiver.recv() => match order {
                ToRun::Cancel(CancelRequest { reason, grace_ms }) => {
                    Order::Stop(Stopped::Cancelled(reason), Duration::from_millis(grace_ms).min(MOST_GRACE))
                }
                ToRun::Reply(reply) => Order::Reply(reply),
            },
            () = until(self.deadline) => {
                self.deadline = None;
                Order::Stop(Stopped::Timeout(self.time.unwrap_or_default()), TIMEOUT_GRACE)
            }
        }
    }

    /// Waits for the order to stop. There is nothing to reply to.
    pub(super) async fn stop(&mut self) -> Stopped {
        loop {
            if let Order::Stop(stopped, _) = self.next().await {
                return stopped;
            }
        }
    }
}

impl Execution {
    /// Runs the attempt to its end.
    pub(super) async fn run(self, orders: mpsc::Receiver<ToRun>) -> Outcome {
        let mut orders = Orders::new(orders, self.time);
        let _counted = self.cells.count_run();
        let cell = tokio::select! {
            started = self.cells.start(&self.launch, self.load_time) => match started {
                Ok(cell) => cell,
                Err(error) => return outcome::of_start(error),
            },
            // The cell ends with its last handle.
            stopped = orders.stop() => return outcome::of_stop(stopped),
        };
        self.recording.start();
        self.follow(&cell, &mut orders).await
    }

    /// Passes messages both ways until the cell has ended.
    async fn follow(&self, cell: &Cell, orders: &mut Orders) -> Outcome {
        let mut state = Progress::default();
        let Some(mut messages) = cell.take_messages() else {
            return outcome::of_exit(None, None, &cell.kill().await, self.max_result);
        };
        let exited = cell.exited();
        tokio::pin!(exited);
        let exit = loop {
            tokio::select! {
                biased;
                Some(message) = messages.recv() => self.received(message, &mut state),
                exit = &mut exited => break exit,
                order = orders.next() => match order {
                    Order::Reply(reply) => cell.send(to_cell(reply)).await,
                    Order::Stop(stopped, grace) => {
                        cell.send(ToCell::Cancel { reason: reason(&stopped).to_owned() }).await;
                        state.stop(stopped, grace);
                    }
                },
                () = until(state.kill_at) => break cell.kill().await,
            }
        };
        // All of them are there before its exit is.
        while let Ok(message) = messages.try_recv() {
            self.received(message, &mut state);
        }
        outcome::of_exit(state.said, state.stopped, &exit, self.max_result)
    }

    fn received(&self, message: FromCell, state: &mut Progress) {
        match message {
            FromCell::Returned { result } => state.end(HandlerResult::Returned(result)),
            FromCell::Threw(error) => state.end(HandlerResult::Threw(error)),
            FromCell::Step(step) => {
                if let Err(refused) = self.recording.step(request(step)) {
                    state.stop(Stopped::Steps(refused), Duration::ZERO);
                }
            }
            // A job has no others.
            _ => {}
        }
    }
}

/// The progress of an attempt in its cell.
#[derive(Debug, Default)]
struct Progress {
    said: Option<HandlerResult>,
    /// The reason for which the router ends it, if the handler had said nothing by then.
    stopped: Option<Stopped>,
    kill_at: Option<Instant>,
}

impl Progress {
    fn end(&mut self, said: HandlerResult) {
        self.said.get_or_insert(said);
        self.kill_within(END_GRACE);
    }

    fn stop(&mut self, stopped: Stopped, grace: Duration) {
        if self.said.is_none() {
            self.stopped.get_or_insert(stopped);
        }
        self.kill_within(grace);
    }

    fn kill_within(&mut self, grace: Duration) {
        let at = Instant::now() + grace;
        self.kill_at = Some(self.kill_at.map_or(at, |before| before.min(at)));
    }
}

/// The reason that the handler's signal has.
fn reason(stopped: &Stopped) -> &str {
    match stopped {
        Stopped::Timeout(_) => "timeout",
        Stopped::Cancelled(reason) => reason,
        Stopped::Steps(_) => "steps",
    }
}

fn request(JobStep { number, name, ask }: JobStep) -> StepRequest {
    StepRequest { number, name: switchyard_contract::bounds::cut(name, STEP_NAME), ask }
}

fn to_cell(StepReply { number, result, error, .. }: StepReply) -> ToCell {
    ToCell::StepReply(JobStepReply { number, result, error })
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use switchyard_contract::run::RunError;

    use super::*;
    use crate::runs::StepRefused;

    #[test]
    fn the_first_word_of_a_handler_holds_and_a_later_stop_only_hurries_its_cell() {
        let mut state = Progress::default();
        state.end(HandlerResult::Returned(json!(1)));
        let by_itself = state.kill_at.unwrap();
        state.stop(Stopped::Cancelled("cancelled".into()), Duration::ZERO);
        state.end(HandlerResult::Threw(RunError::new("threw", "late")));
        assert_eq!((state.said, state.stopped), (Some(HandlerResult::Returned(json!(1))), None));
        assert!(state.kill_at.unwrap() < by_itself);
    }

    #[test]
    fn the_first_reason_to_stop_holds_and_the_shortest_grace() {
        let mut state = Progress::default();
        state.stop(Stopped::Cancelled("replaced".into()), Duration::from_secs(60));
        let later = state.kill_at.unwrap();
        state.stop(Stopped::Steps(StepRefused::TooMany), Duration::ZERO);
        assert_eq!(state.stopped, Some(Stopped::Cancelled("replaced".into())));
        assert!(state.kill_at.unwrap() < later);
    }

    #[tokio::test]
    async fn a_run_is_told_to_stop_when_its_time_is_over() {
        let (_sender, receiver) = mpsc::channel(4);
        let mut orders = Orders::new(receiver, Some(Duration::ZERO));
        assert_eq!(orders.stop().await, Stopped::Timeout(Duration::ZERO));
        assert_eq!(orders.deadline, None, "once");
    }

    #[tokio::test]
    async fn answers_and_cancels_come_in_their_order() {
        let (sender, receiver) = mpsc::channel(4);
        let mut orders = Orders::new(receiver, None);
        let reply = StepReply { attempt: 1, number: 3, result: json!(null), error: None };
        sender.send(ToRun::Reply(reply)).await.unwrap();
        let cancel = CancelRequest { reason: "cancelled".into(), grace_ms: u64::MAX };
        sender.send(ToRun::Cancel(cancel)).await.unwrap();
        assert!(matches!(orders.next().await, Order::Reply(StepReply { number: 3, .. })));
        let Order::Stop(stopped, grace) = orders.next().await else { panic!("it is to stop") };
        assert_eq!((stopped, grace), (Stopped::Cancelled("cancelled".into()), MOST_GRACE));
    }
}
