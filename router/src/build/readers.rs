//! Turns at reading projects, in lanes: a project that takes long to read delays only others that
//! do.
//!
//! Every reading begins in the fastest lane. A reading that reaches that lane's limit goes on in
//! the next one, at once if there is room; otherwise it ends, and begins again there when its turn
//! comes. A project has one reading at a time and each lane is first come, first served, so every
//! project gets its turn.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
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
/// wait until one comes back. The runtime has 512 threads for blocking work.
const MAX_STUCK: usize = 64;

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
            let working = spawn_blocking(move || {
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
        working: tokio::task::JoinHandle<T>,
        is_slow: &impl Fn(),
    ) -> Result<T, ReadingError> {
        tokio::pin!(working);
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
        ended.map_err(|panic| ReadingError::Panicked(panic.to_string()))
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
        }
        true
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn until(turn: &ReadingTurn, is_done: impl Fn() -> bool) -> Result<(), Interruption> {
        while !is_done() {
            turn.count(1 << 20)?;
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    async fn quick(readers: &Readers) -> bool {
        let reading = &mut Reading::default();
        readers.read(readers.turn().await, reading, LONG, (), |(), turn| turn.count(0), || ()).await.1.is_ok()
    }

    /// A reading that continues until the returned flag is set.
    fn endless(
        readers: &Readers,
        time: Duration,
    ) -> (Arc<AtomicBool>, tokio::task::JoinHandle<Result<(), ReadingError>>) {
        let (end, readers) = (Arc::new(AtomicBool::new(false)), readers.clone());
        let ending = end.clone();
        let task = tokio::spawn(async move {
            let work =
                |end: &mut Arc<AtomicBool>, turn: &ReadingTurn| until(turn, || end.load(Ordering::Relaxed));
            readers.read(readers.turn().await, &mut Reading::default(), time, ending, work, || ()).await.1
        });
        (end, task)
    }

    #[tokio::test]
    async fn readings_without_end_do_not_delay_short_ones() {
        let readers = Readers::new(1);
        let endless: Vec<_> = (0..4).map(|_| endless(&readers, LONG)).collect();
        for _ in 0..20 {
            assert!(quick(&readers).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for (end, task) in endless {
            end.store(true, Ordering::Relaxed);
            assert_eq!(task.await.unwrap(), Ok(()), "each has its turn in the end");
        }
    }

    #[tokio::test]
    async fn a_small_project_stays_in_the_fastest_lane_on_a_busy_machine_and_a_large_one_leaves_it_on_any() {
        let readers = Readers::new(1);
        let permits: Vec<_> =
            readers.lanes[1..].iter().map(|lane| lane.clone().try_acquire_owned()).collect();
        assert!(permits.iter().all(Result::is_ok), "there is no other lane for it");
        let small = |(): &mut (), turn: &ReadingTurn| {
            // Other threads use the processor for a while.
            std::thread::sleep(4 * SLOW);
            (0..LANES[0].work / STEP).try_for_each(|_| turn.count(0))
        };
        assert_eq!(
            readers.read(readers.turn().await, &mut Reading::default(), LONG, (), small, || ()).await.1,
            Ok(())
        );
        let files =
            |(): &mut (), turn: &ReadingTurn| (0..=LANES[0].work / STEP).try_for_each(|_| turn.count(0));
        let bytes = |(): &mut (), turn: &ReadingTurn| turn.count(LANES[0].work).and_then(|()| turn.count(0));
        for large in [files, bytes] {
            let mut reading = Reading::default();
            let more = readers.read(readers.turn().await, &mut reading, LONG, (), large, || ());
            assert!(timeout(2 * SLOW, more).await.is_err(), "it waits for its turn among large ones");
            assert!(quick(&readers).await, "the fastest lane is free again");
        }
    }

    #[test]
    fn a_reading_of_a_slow_file_system_leaves_the_fastest_lane_however_little_it_does() {
        let readers = Readers::new(1);
        let permit = readers.lanes[0].clone().try_acquire_owned().unwrap();
        let began = Instant::now().checked_sub(2 * LANES[0].time).unwrap();
        let lane = Lane { number: 0, permit };
        let turn = ReadingTurn { began, ..ReadingTurn::new(LONG, readers.lanes.clone(), lane) };
        assert_eq!(turn.count(0), Ok(()));
        assert_eq!(turn.lane().number, 1);
        assert_eq!(readers.lanes[0].available_permits(), 1);
    }

    #[tokio::test]
    async fn a_reading_ends_when_its_time_is_over() {
        let readers = Readers::new(1);
        let (_, task) = endless(&readers, Duration::from_millis(300));
        assert_eq!(task.await.unwrap(), Err(ReadingError::Late));
        assert!(quick(&readers).await);
    }

    #[tokio::test]
    async fn what_an_interrupted_reading_has_done_is_there_when_it_goes_on() {
        let readers = Readers::new(1);
        let (end, other) = endless(&readers, LONG);
        // Until the slowest lane is taken.
        while readers.lanes[2].available_permits() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let slow = AtomicUsize::new(0);
        let is_slow = || {
            // Called once when the reading is slow, and again when it waits.
            let is_waiting = slow.fetch_add(1, Ordering::Relaxed) == 1;
            end.store(is_waiting, Ordering::Relaxed);
        };
        let work = |times: &mut u32, turn: &ReadingTurn| {
            *times += 1;
            if *times == 1 { until(turn, || false) } else { Ok(()) }
        };
        let (times, done) =
            readers.read(readers.turn().await, &mut Reading::default(), LONG, 0, work, is_slow).await;
        assert_eq!((times, done), (Some(2), Ok(())));
        assert_eq!(other.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn a_thread_that_does_not_come_back_keeps_only_its_own_project_waiting() {
        let readers = Readers { overdue: Duration::ZERO, ..Readers::new(1) };
        let mut reading = Reading::default();
        let (release, held) = channel();
        let work = |held: &mut Option<Receiver<()>>, _: &ReadingTurn| {
            let _ = held.take().map(|held| held.recv());
            Ok(())
        };
        let time = Duration::from_millis(100);
        let (_, done) = readers.read(readers.turn().await, &mut reading, time, Some(held), work, || ()).await;
        assert_eq!(done, Err(ReadingError::Stuck));
        assert!(quick(&readers).await);
        let (_, done) = readers.read(readers.turn().await, &mut reading, time, None, work, || ()).await;
        assert_eq!(done, Err(ReadingError::Stuck), "a second thread would be stuck too");
        release.send(()).unwrap();
        while reading.is_stuck() {
            std::thread::yield_now();
        }
        assert_eq!(readers.read(readers.turn().await, &mut reading, time, None, work, || ()).await.1, Ok(()));
        assert_eq!(readers.stuck.available_permits(), MAX_STUCK);
    }
}
