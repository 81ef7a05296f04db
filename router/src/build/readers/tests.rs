//! Lanes with one reading each.

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
    let permits: Vec<_> = readers.lanes[1..].iter().map(|lane| lane.clone().try_acquire_owned()).collect();
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
    let files = |(): &mut (), turn: &ReadingTurn| (0..=LANES[0].work / STEP).try_for_each(|_| turn.count(0));
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
