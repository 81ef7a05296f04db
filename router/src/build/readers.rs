//! Turns at reading projects, in lanes: a project that takes long to read delays only others that
//! do.
//!
//! Every reading begins in the fastest lane. A reading that reaches that lane's limit goes on in
//! the next one, at once if there is room; otherwise it ends, and begins again there when its turn
//! comes. A project has one reading at a time and each lane is first come, first served, so every
//! project gets its turn.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use crate::checkout::Interruption;

/// The limits of a reading in each lane. The work decides, because it does not depend on how busy
/// the machine is. In the fastest lane it is 8 MiB, or the 4,000 steps for some 400 new or 1,000
/// known files: 5 to 50 ms of a core. The time is for slow file systems, and so long that a busy
/// machine does not reach it.
const LANES: [LaneLimit; 3] = [
    LaneLimit { work: 8 << 20, time: Duration::from_secs(2) },
    LaneLimit { work: 256 << 20, time: Duration::from_secs(10) },
    LaneLimit { work: u64::MAX, time: Duration::MAX },
];

/// The work of a step besides the bytes that it reads. A step lists a name or opens a file.
const STEP: u64 = 2 << 10;

/// A reading that takes longer is reported as slow.
const SLOW: Duration = Duration::from_millis(50);

/// A reading that has not ended this long after its time limit is stuck in a system call, for
/// example on a file system whose server is away: otherwise it would have noticed the limit itself.
const OVERDUE: Duration = Duration::from_secs(5);

/// Threads that may be stuck in the kernel while other projects are read. Beyond that, readings
/// wait until one comes back.
const MAX_STUCK: usize = 64;

/// The nice value of a reading outside the fastest lane, so that requests do not wait for it: a
/// tenth of the weight of a thread that serves. Not the lowest, since its project waits.
const LOW_NICE: i32 = 10;

/// The lanes, shared by all projects.
#[derive(Debug, Clone)]
pub(crate) struct Readers {
    lanes: Lanes,
    stuck: Arc<Semaphore>,
    /// [`OVERDUE`]; tests set another value.
    overdue: Duration,
}

#[derive(Debug)]
struct LaneLimit {
    /// Bytes that are read, plus [`STEP`] for each step.
    work: u64,
    time: Duration,
}

/// The permits of each lane.
type Lanes = Arc<[Arc<Semaphore>; LANES.len()]>;

/// One reading.
#[derive(Debug)]
pub(super) struct ReadingTurn {
    began: Instant,
    time: Duration,
    /// See [`LaneLimit::work`].
    work: AtomicU64,
    is_over: AtomicBool,
    lanes: Lanes,
    lane: Mutex<Lane>,
}

#[derive(Debug)]
struct Lane {
    number: usize,
    /// Returned when the turn is dropped.
    permit: OwnedSemaphorePermit,
}

/// The turn that a reading begins with.
pub(super) struct FirstTurn(Option<OwnedSemaphorePermit>);

/// A project's newest reading. The next reading has to wait for it only while it is still running.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading(Option<Weak<ReadingTurn>>);

/// The reason why a reading gave no result.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadingError {
    /// The reading took longer than its limit.
    Late,
    /// The reading, or the one before it, is stuck in the kernel.
    Stuck,
    /// The reading panicked, with this message.
    Panicked(String),
}

impl Readers {
    /// Allows one reading a core in each lane: more would only fill the memory.
    pub(crate) fn new(cores: usize) -> Self {
        let semaphore = |size| Arc::new(Semaphore::new(size));
        let lanes = Arc::new(LANES.map(|_| semaphore(cores)));
        Self { lanes, stuck: semaphore(MAX_STUCK), overdue: OVERDUE }
    }

    /// Waits for a turn in the fastest lane.
    pub(super) async fn turn(&self) -> FirstTurn {
        FirstTurn(self.lanes[0].clone().acquire_owned().await.ok())
    }

    /// Runs `work` on a thread of its own when its turn comes. `work` reports each of its steps to
    /// [`ReadingTurn::count`]. If it is interrupted, it runs once more with the `state` that it has left.
    /// `is_slow` is called when the reading leaves the fastest lane, and may be called again.
    ///
    /// # Errors
    /// The reading took longer than `time`, is stuck, or panicked.
    pub(super) async fn read<S, T>(
        &self,
        mut first: FirstTurn,
        reading: &mut Reading,
        time: Duration,
        mut state: S,
        work: fn(&mut S, &ReadingTurn) -> Result<T, Interruption>,
        is_slow: impl Fn(),
    ) -> (Option<S>, Result<T, ReadingError>)
    where
        S: Send + 'static,
        T: Send + 'static,
    {
        let mut number = 0;
        loop {
            if reading.is_stuck() {
                return (Some(state), Err(ReadingError::Stuck));
            }
            let permit = match first.0.take() {
                Some(permit) => permit,
                None => match self.lanes[number].clone().acquire_owned().await {
                    Ok(permit) => permit,
                    Err(_) => return (Some(state), Err(ReadingError::Late)),
                },
            };
            let turn = Arc::new(ReadingTurn::new(time, self.lanes.clone(), Lane { number, permit }));
            *reading = Reading(Some(Arc::downgrade(&turn)));
            let own = turn.clone();
            let working = on_own_thread(move || {
                own.lower_priority();
                let done = work(&mut state, &own);
                // Frees the lane before the result is awaited.
                drop(own);
                (state, done)
            });
            let (back, done) = match self.watch(&turn, working, &is_slow).await {
                Ok(ended) => ended,
                Err(unread) => return (None, Err(unread)),
            };
            state = back;
            match done {
                Ok(done) => return (Some(state), Ok(done)),
                Err(Interruption) if turn.is_late() => return (Some(state), Err(ReadingError::Late)),
                Err(Interruption) => {
                    number = turn.lane().number + 1;
                    is_slow();
                }
            }
        }
    }

    async fn watch<T>(
        &self,
        turn: &Arc<ReadingTurn>,
        mut working: oneshot::Receiver<Result<T, String>>,
        is_slow: &impl Fn(),
    ) -> Result<T, ReadingError> {
        let ended = match timeout(SLOW, &mut working).await {
            Ok(ended) => ended,
            Err(_) => {
                is_slow();
                match timeout(turn.time.saturating_add(self.overdue), &mut working).await {
                    Ok(ended) => ended,
                    Err(_) => {
                        self.abandon(turn);
                        return Err(ReadingError::Stuck);
                    }
                }
            }
        };
        ended.unwrap_or_else(|gone| Err(gone.to_string())).map_err(ReadingError::Panicked)
    }

    /// Frees the lane of a stuck turn, unless too many threads are stuck already.
    fn abandon(&self, turn: &ReadingTurn) {
        turn.is_over.store(true, Ordering::Relaxed);
        if let Ok(permit) = self.stuck.clone().try_acquire_owned() {
            turn.lane().permit = permit;
        }
    }
}

impl ReadingTurn {
    fn new(time: Duration, lanes: Lanes, lane: Lane) -> Self {
        let (work, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { began: Instant::now(), time, work, is_over, lanes, lane: Mutex::new(lane) }
    }

    /// Counts a step that has read `bytes` bytes.
    ///
    /// # Errors
    /// The reading has to end. Every later call fails too.
    pub(super) fn count(&self, bytes: u64) -> Result<(), Interruption> {
        let work = self.work.fetch_add(STEP + bytes, Ordering::Relaxed);
        if self.is_over.load(Ordering::Relaxed) || self.is_late() || !self.may_go_on(work) {
            self.is_over.store(true, Ordering::Relaxed);
            return Err(Interruption);
        }
        Ok(())
    }

    /// Moves to the next lane once a limit of this one is reached. Returns false if that has no
    /// room.
    fn may_go_on(&self, work: u64) -> bool {
        let mut lane = self.lane();
        let limit = &LANES[lane.number];
        if work >= limit.work || self.began.elapsed() > limit.time {
            let number = lane.number + 1;
            let Ok(permit) = self.lanes[number].clone().try_acquire_owned() else { return false };
            *lane = Lane { number, permit };
            drop(lane);
            self.lower_priority();
        }
        true
    }

    /// Lowers the priority of the calling thread if the reading is not in the fastest lane.
    fn lower_priority(&self) {
        if self.lane().number > 0 {
            // Refused where a limit forbids it; the reading then goes on as before.
            let _ = rustix::process::setpriority_process(None, LOW_NICE);
        }
    }

    fn is_late(&self) -> bool {
        self.began.elapsed() > self.time
    }

    fn lane(&self) -> MutexGuard<'_, Lane> {
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading {
    fn is_stuck(&self) -> bool {
        self.0.as_ref().is_some_and(|turn| turn.strong_count() > 0)
    }
}

/// Runs `work` on a thread that ends with it: a priority that a thread has given up does not come
/// back without a privilege, so no thread of a pool can do it. The error is the message of a panic.
fn on_own_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> oneshot::Receiver<Result<T, String>> {
    let (sender, receiver) = oneshot::channel();
    let reading = move || {
        let ended = catch_unwind(AssertUnwindSafe(work)).map_err(|panic| message_of(&*panic));
        // Nobody waits for a reading that was stuck.
        let _ = sender.send(ended);
    };
    if let Err(error) = thread::Builder::new().name("read".into()).spawn(reading) {
        tracing::error!("no thread could be started to read a project: {error}; raise the limit of threads");
    }
    receiver
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned()
}

#[cfg(test)]
mod tests;
