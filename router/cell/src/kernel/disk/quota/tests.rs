//! Tests of the quota, with counts as the router makes them.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;

use super::*;

const BLOCK: i64 = 4096;

fn amount(bytes: i64, names: i64) -> Usage {
    Usage { bytes, names }
}

/// A quota, and the number of counts that it has requested.
fn quota() -> (Arc<Quota>, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let ask = Box::new(move || _ = count.fetch_add(1, SeqCst));
    (Arc::new(Quota::new(Duration::from_millis(300), ask, || 0)), asked)
}

/// Applies a count as if the quota had requested it.
fn count(quota: &Quota, left: Usage) {
    let mark = quota.lock().mark;
    quota.lock().mark = if quota.lock().is_requested { mark } else { quota.used() };
    quota.update(left, true);
}

#[test]
fn what_is_used_while_the_router_counts_comes_on_top() {
    let (quota, _) = quota();
    count(&quota, amount(10 * BLOCK, 10));
    assert_eq!(quota.take(amount(4 * BLOCK, 1)), Ok(()));
    assert!(quota.request_count());
    assert_eq!(quota.take(amount(2 * BLOCK, 1)), Ok(()));
    quota.update(amount(6 * BLOCK, 9), true);
    assert_eq!((quota.bytes.left(), quota.names.left()), (4 * BLOCK, 8));
}

#[test]
fn what_is_removed_while_the_router_counts_is_room_once() {
    let (quota, asked) = quota();
    count(&quota, amount(10 * BLOCK, 10));
    assert_eq!(quota.take(amount(10 * BLOCK, 10)), Ok(()));
    assert!(quota.request_count());
    quota.free(amount(0, 10));
    quota.note_removed(10 * BLOCK);
    assert_eq!(quota.names.left(), 10, "at once");
    // The count has seen some of the removals.
    quota.update(amount(2 * BLOCK, 2), true);
    assert_eq!((quota.bytes.left(), quota.names.left()), (2 * BLOCK, 2));
    assert_eq!(quota.take(amount(3 * BLOCK, 3)), Err(QuotaPart::Bytes));
    assert_eq!(asked.load(SeqCst), 2, "the next count knows of all");
    quota.update(amount(10 * BLOCK, 10), true);
    assert_eq!(quota.take(amount(10 * BLOCK, 10)), Ok(()));
}

#[test]
fn an_unrequested_count_only_lowers_the_space_left() {
    let (quota, _) = quota();
    count(&quota, amount(10 * BLOCK, 10));
    quota.update(amount(20 * BLOCK, 5), false);
    assert_eq!((quota.bytes.left(), quota.names.left()), (10 * BLOCK, 5));
}

#[test]
fn bytes_and_names_are_taken_together_or_not_at_all() {
    let (quota, asked) = quota();
    count(&quota, amount(10 * BLOCK, 1));
    assert_eq!(quota.take(amount(BLOCK, 2)), Err(QuotaPart::Names));
    assert_eq!((quota.bytes.left(), asked.load(SeqCst)), (10 * BLOCK, 1));
    assert_eq!(quota.exhausted(), Some(QuotaPart::Names));
}

#[test]
fn a_write_that_does_not_fit_gets_the_blocks_that_are_left() {
    let (quota, _) = quota();
    count(&quota, amount(2 * BLOCK + 1, 1));
    assert_eq!(quota.take_up_to(5 * BLOCK, BLOCK), Ok(2 * BLOCK));
    assert_eq!(quota.take_up_to(5 * BLOCK, BLOCK), Err(QuotaPart::Bytes));
}

#[test]
fn a_refusal_waits_for_a_count_that_began_after_the_question() {
    let (quota, asked) = quota();
    let taker = Arc::clone(&quota);
    let taking = thread::spawn(move || taker.take(amount(BLOCK, 0)));
    while asked.load(SeqCst) == 0 {
        thread::yield_now();
    }
    // A count that began before the request.
    quota.update(amount(0, 0), false);
    quota.update(amount(BLOCK, 0), true);
    assert_eq!(taking.join().unwrap(), Ok(()));
}

#[test]
fn one_count_is_requested_until_the_router_answers_or_something_is_removed() {
    let (quota, asked) = quota();
    quota.request_count();
    quota.request_count();
    count(&quota, amount(0, 0));
    for _ in 0..3 {
        assert_eq!(quota.take(amount(BLOCK, 0)), Err(QuotaPart::Bytes));
    }
    assert_eq!(asked.load(SeqCst), 2);
    count(&quota, amount(0, 0));
    assert_eq!(quota.take(amount(BLOCK, 0)), Err(QuotaPart::Bytes));
    assert_eq!(asked.load(SeqCst), 3);
    quota.note_removed(0);
    assert_eq!(quota.take(amount(BLOCK, 0)), Err(QuotaPart::Bytes));
    assert_eq!(asked.load(SeqCst), 3, "one that is not answered is not repeated");
    count(&quota, amount(2 * BLOCK, 0));
    assert_eq!((quota.take(amount(BLOCK, 0)), quota.exhausted()), (Ok(()), None));
}

#[test]
fn what_was_removed_is_room_at_once_unless_it_is_open() {
    let (quota, asked) = quota();
    count(&quota, amount(2 * BLOCK, 0));
    assert_eq!(quota.take(amount(2 * BLOCK, 0)), Ok(()));
    quota.note_removed(2 * BLOCK);
    assert_eq!((quota.take(amount(2 * BLOCK, 0)), asked.load(SeqCst)), (Ok(()), 0));
    let open = Quota::new(Duration::from_millis(1), Box::new(|| ()), || 2 * BLOCK);
    count(&open, amount(4 * BLOCK, 0));
    assert_eq!(open.take(amount(2 * BLOCK, 0)), Ok(()));
    // The same bytes are without a name as when they were counted.
    open.note_removed(BLOCK);
    assert_eq!(open.take(amount(2 * BLOCK, 0)), Err(QuotaPart::Bytes));
    assert_eq!(open.take(amount(BLOCK, 0)), Ok(()));
}

#[test]
fn a_count_is_requested_once_room_is_no_longer_ample() {
    let (quota, asked) = quota();
    assert!(!quota.is_ample());
    count(&quota, amount(3 * AMPLE, 0));
    assert!(quota.is_ample());
    assert!(quota.take_ample(AMPLE) && quota.take_ample(AMPLE));
    assert!(!quota.take_ample(1) && !quota.is_ample());
    assert_eq!(asked.load(SeqCst), 1);
    // Little is left, so a count is requested only for what does not fit.
    count(&quota, amount(AMPLE, 0));
    assert!(!quota.is_ample() && !quota.take_ample(1));
    assert_eq!(asked.load(SeqCst), 1);
}

#[test]
fn what_is_being_written_is_no_room_for_others_before_it_is_on_the_disk() {
    let (quota, _) = quota();
    count(&quota, amount(3 * AMPLE, 0));
    assert!(quota.take_ample(AMPLE + BLOCK));
    assert!(!quota.take_ample(AMPLE));
    quota.end_write(AMPLE + BLOCK, BLOCK);
    assert!(quota.take_ample(AMPLE));
}

#[test]
fn a_count_in_the_middle_of_a_write_may_not_have_seen_it() {
    let (quota, _) = quota();
    count(&quota, amount(10 * BLOCK, 0));
    assert_eq!(quota.take_up_to(4 * BLOCK, BLOCK), Ok(4 * BLOCK));
    assert!(quota.request_count());
    quota.update(amount(10 * BLOCK, 0), true);
    assert_eq!(quota.bytes.left(), 6 * BLOCK);
    quota.end_write(4 * BLOCK, 4 * BLOCK);
    assert!(quota.request_count());
    quota.update(amount(6 * BLOCK, 0), true);
    assert_eq!(quota.bytes.left(), 6 * BLOCK);
}

#[test]
fn nothing_is_refused_by_a_count_that_was_in_the_middle_of_a_write() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let ask = Box::new(move || _ = counter.fetch_add(1, SeqCst));
    let quota = Arc::new(Quota::new(Duration::from_secs(60), ask, || 0));
    let wait_for = |requests| {
        while asked.load(SeqCst) < requests {
            thread::yield_now();
        }
    };
    count(&quota, amount(4 * BLOCK, 0));
    assert_eq!(quota.take_up_to(2 * BLOCK, BLOCK), Ok(2 * BLOCK));
    let taker = Arc::clone(&quota);
    let taking = thread::spawn(move || taker.take(amount(3 * BLOCK, 0)));
    wait_for(1);
    // Half of the write is on the disk, and it ends with that.
    quota.update(amount(3 * BLOCK, 0), true);
    wait_for(2);
    quota.end_write(2 * BLOCK, BLOCK);
    quota.update(amount(3 * BLOCK, 0), true);
    wait_for(3);
    quota.update(amount(3 * BLOCK, 0), true);
    assert_eq!(taking.join().unwrap(), Ok(()));
}

#[test]
fn what_is_closed_without_a_name_is_room_at_once() {
    static OPEN: AtomicI64 = AtomicI64::new(2 * BLOCK);
    let quota = Quota::new(Duration::from_millis(1), Box::new(|| ()), || OPEN.load(SeqCst));
    count(&quota, amount(2 * BLOCK, 0));
    assert_eq!(quota.take(amount(BLOCK, 0)), Err(QuotaPart::Bytes));
    OPEN.store(BLOCK, SeqCst);
    assert_eq!(quota.take(amount(2 * BLOCK, 0)), Err(QuotaPart::Bytes));
    assert_eq!(quota.take(amount(BLOCK, 0)), Ok(()));
}
