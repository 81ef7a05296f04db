//! The room that is left: what the router allows, less what was used since.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// After a refusal the router is not asked again for so long, unless something was removed: it counts twice a second anyway.
const REFUSED: Duration = Duration::from_millis(500);

/// With more left than this, a write is taken to add the most that it can, and nobody looks at what it adds: that takes four
/// system calls. It is too much, and corrected by a count when there seems to be less left. Sixteen times the least limit.
const AMPLE: i64 = 16 << 20;

/// Bytes on the disk and names in folders. They may be negative: more was used than there was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) bytes: i64,
    pub(super) names: i64,
}

/// The limit that refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    Bytes,
    Names,
}

pub(super) struct Room {
    bytes: Counter,
    names: Counter,
    asks: Mutex<Asks>,
    answered: Condvar,
    /// Something was removed since the last refusal.
    has_removed: AtomicBool,
    /// The router has been asked since there was less left than is ample.
    is_low: AtomicBool,
    /// Bytes of what lost its last name since the last count, and is given back where nothing holds it open.
    removed: AtomicI64,
    /// The longest wait for a count.
    wait: Duration,
    ask: Box<dyn Fn() + Send + Sync>,
    /// Bytes of what this process holds open and has no name, which the router does not see.
    unlinked: fn() -> i64,
}

#[derive(Default)]
struct Counter {
    /// All that was used, less what was given back.
    used: AtomicI64,
    /// What `used` may become: more by what was removed since the last count, which the next one replaces.
    allowed: AtomicI64,
}

#[derive(Default)]
struct Asks {
    /// The router owes an answer.
    is_asked: bool,
    /// What was used when it was asked.
    mark: Amount,
    /// What had no name any more when that was last looked at.
    unlinked: i64,
    refused: Option<(Instant, Full)>,
}

impl Amount {
    pub(super) fn new(bytes: u64, names: u64) -> Self {
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        Self { bytes: signed(bytes), names: signed(names) }
    }
}

impl Counter {
    fn take(&self, count: i64) -> bool {
        let allowed = self.allowed.load(SeqCst);
        let fits = |used: i64| used.checked_add(count).filter(|used| *used <= allowed);
        count == 0 || self.used.fetch_update(SeqCst, SeqCst, fits).is_ok()
    }

    fn allow(&self, count: i64) {
        let more = |allowed: i64| Some(allowed.saturating_add(count));
        _ = self.allowed.fetch_update(SeqCst, SeqCst, more);
    }

    fn left(&self) -> i64 {
        self.allowed.load(SeqCst).saturating_sub(self.used.load(SeqCst))
    }
}

impl Room {
    /// There is none before the first count.
    pub(super) fn new(wait: Duration, ask: Box<dyn Fn() + Send + Sync>, unlinked: fn() -> i64) -> Self {
        Self {
            bytes: Counter::default(),
            names: Counter::default(),
            asks: Mutex::default(),
            answered: Condvar::new(),
            has_removed: AtomicBool::new(false),
            is_low: AtomicBool::new(true),
            removed: AtomicI64::new(0),
            wait,
            ask,
            unlinked,
        }
    }

    /// As [`Room::try_take`], but that it waits for a count if there is not enough.
    pub(super) fn take(&self, amount: Amount) -> Result<(), Full> {
        self.try_take(amount).or_else(|_| self.retry(|| self.try_take(amount)))
    }

    /// Takes `bytes` or, if there is not enough, as many whole blocks as there are. Waits for a count before it takes less.
    pub(super) fn take_up_to(&self, bytes: i64, block: i64) -> Result<i64, Full> {
        let all = || self.try_take(Amount { bytes, names: 0 }).map(|()| bytes);
        all().or_else(|_| self.retry(all)).or_else(|full| {
            let less = self.bytes.left() / block * block;
            if less > 0 && self.bytes.take(less) { Ok(less) } else { Err(full) }
        })
    }

    /// Takes bytes and names, both or none.
    pub(super) fn try_take(&self, Amount { bytes, names }: Amount) -> Result<(), Full> {
        if !self.bytes.take(bytes) {
            return Err(Full::Bytes);
        }
        if !self.names.take(names) {
            self.give_back(Amount { bytes, names: 0 });
            return Err(Full::Names);
        }
        Ok(())
    }

    /// Tries again with what was removed, and then after a count. That fails at once where a count has just said so.
    fn retry<T>(&self, take: impl Fn() -> Result<T, Full>) -> Result<T, Full> {
        let mut asks = self.asks();
        let has_more = self.give_back_removed(&mut asks);
        if has_more && let Ok(taken) = take() {
            return Ok(taken);
        }
        if let Some((since, full)) = asks.refused
            && !self.has_removed.swap(false, SeqCst)
            && !has_more
            && since.elapsed() < REFUSED
        {
            return Err(full);
        }
        drop(asks);
        // The answer that is owed already may not know what was removed last: then there is another question.
        let is_new = self.ask();
        let taken = self.wait_and(&take);
        if is_new || taken.is_ok() {
            return taken;
        }
        self.ask();
        self.wait_and(&take)
    }

    /// Waits for the count that the router owes.
    fn wait_and<T>(&self, take: &impl Fn() -> Result<T, Full>) -> Result<T, Full> {
        let waited = self.answered.wait_timeout_while(self.asks(), self.wait, |asks| asks.is_asked);
        let mut asks = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        let taken = take();
        asks.refused = taken.as_ref().err().map(|full| (Instant::now(), *full));
        taken
    }

    /// Has the router count, unless it owes a count already. Returns whether it was asked.
    pub(super) fn ask(&self) -> bool {
        let mut asks = self.asks();
        let is_new = !std::mem::replace(&mut asks.is_asked, true);
        if is_new {
            self.removed.store(0, SeqCst);
            asks.mark = self.used();
            drop(asks);
            (self.ask)();
        }
        is_new
    }

    /// Whether so much can be written, and there is ample room besides.
    pub(super) fn is_ample(&self, len: usize) -> bool {
        let len = i64::try_from(len).unwrap_or(i64::MAX);
        let is_ample = self.bytes.left() > AMPLE.saturating_add(len);
        if !is_ample && !self.is_low.swap(true, SeqCst) {
            self.ask();
        }
        is_ample
    }

    /// So many bytes were used that had not been taken.
    pub(super) fn used_up(&self, bytes: i64) {
        self.bytes.used.fetch_add(bytes, SeqCst);
    }

    /// What was taken is not used.
    pub(super) fn give_back(&self, amount: Amount) {
        self.bytes.used.fetch_sub(amount.bytes, SeqCst);
        self.names.used.fetch_sub(amount.names, SeqCst);
    }

    /// So much was removed. A count that is owed may have seen it, and replaces it.
    pub(super) fn free(&self, amount: Amount) {
        self.bytes.allow(amount.bytes);
        self.names.allow(amount.names);
    }

    /// Something was removed, and these bytes with it unless it is open: there may be more room than is known.
    pub(super) fn removed(&self, bytes: i64) {
        self.removed.fetch_add(bytes, SeqCst);
        self.has_removed.store(true, SeqCst);
    }

    /// Gives back what was removed or, without a name already, closed. Returns whether there was something.
    fn give_back_removed(&self, asks: &mut Asks) -> bool {
        let removed = self.removed.swap(0, SeqCst);
        if removed == 0 && asks.unlinked == 0 {
            return false;
        }
        let unlinked = (self.unlinked)();
        let bytes = removed + std::mem::replace(&mut asks.unlinked, unlinked) - unlinked;
        self.free(Amount { bytes, names: 0 });
        bytes > 0
    }

    /// So much is left, but for what has no name. What was used since the router was asked comes on top: it may not have seen
    /// that. What was removed since does not: it may have seen that. Where it was not asked there is nothing to be known but
    /// that there is less.
    pub(super) fn renew(&self, left: Amount, is_answer: bool) {
        let mut asks = self.asks();
        let unlinked = (self.unlinked)();
        let from = if is_answer { asks.mark } else { self.used() };
        let bytes = from.bytes.saturating_add(left.bytes).saturating_sub(unlinked);
        let names = from.names.saturating_add(left.names);
        if is_answer {
            self.bytes.allowed.store(bytes, SeqCst);
            self.names.allowed.store(names, SeqCst);
            self.removed.store(0, SeqCst);
            self.is_low.store(self.bytes.left() <= AMPLE, SeqCst);
            *asks = Asks { unlinked, ..Asks::default() };
            self.answered.notify_all();
        } else {
            self.bytes.allowed.fetch_min(bytes, SeqCst);
            self.names.allowed.fetch_min(names, SeqCst);
        }
    }

    fn used(&self) -> Amount {
        Amount { bytes: self.bytes.used.load(SeqCst), names: self.names.used.load(SeqCst) }
    }

    /// The limit that a call was last refused for, if there is no more room since.
    pub(super) fn full(&self) -> Option<Full> {
        self.asks().refused.map(|(_, full)| full)
    }

    fn asks(&self) -> MutexGuard<'_, Asks> {
        self.asks.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use super::*;

    const BLOCK: i64 = 4096;

    fn amount(bytes: i64, names: i64) -> Amount {
        Amount { bytes, names }
    }

    /// A room, and how often it has asked.
    fn room() -> (Arc<Room>, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let ask = Box::new(move || _ = count.fetch_add(1, SeqCst));
        (Arc::new(Room::new(Duration::from_millis(300), ask, || 0)), asked)
    }

    /// A count that the room has asked for, or will have.
    fn count(room: &Room, left: Amount) {
        let mark = room.asks().mark;
        room.asks().mark = if room.asks().is_asked { mark } else { room.used() };
        room.renew(left, true);
    }

    #[test]
    fn what_is_used_while_the_router_counts_comes_on_top() {
        let (room, _) = room();
        count(&room, amount(10 * BLOCK, 10));
        assert_eq!(room.take(amount(4 * BLOCK, 1)), Ok(()));
        assert!(room.ask());
        assert_eq!(room.take(amount(2 * BLOCK, 1)), Ok(()));
        room.renew(amount(6 * BLOCK, 9), true);
        assert_eq!((room.bytes.left(), room.names.left()), (4 * BLOCK, 8));
    }

    #[test]
    fn what_is_removed_while_the_router_counts_is_room_once() {
        let (room, asked) = room();
        count(&room, amount(10 * BLOCK, 10));
        assert_eq!(room.take(amount(10 * BLOCK, 10)), Ok(()));
        assert!(room.ask());
        room.free(amount(0, 10));
        room.removed(10 * BLOCK);
        assert_eq!(room.names.left(), 10, "at once");
        // It has seen that some are gone.
        room.renew(amount(2 * BLOCK, 2), true);
        assert_eq!((room.bytes.left(), room.names.left()), (2 * BLOCK, 2));
        assert_eq!(room.take(amount(3 * BLOCK, 3)), Err(Full::Bytes));
        assert_eq!(asked.load(SeqCst), 2, "the next count knows of all");
        room.renew(amount(10 * BLOCK, 10), true);
        assert_eq!(room.take(amount(10 * BLOCK, 10)), Ok(()));
    }

    #[test]
    fn a_count_that_was_not_asked_for_only_lowers_what_is_left() {
        let (room, _) = room();
        count(&room, amount(10 * BLOCK, 10));
        room.renew(amount(20 * BLOCK, 5), false);
        assert_eq!((room.bytes.left(), room.names.left()), (10 * BLOCK, 5));
    }

    #[test]
    fn bytes_and_names_are_taken_together_or_not_at_all() {
        let (room, asked) = room();
        count(&room, amount(10 * BLOCK, 1));
        assert_eq!(room.take(amount(BLOCK, 2)), Err(Full::Names));
        assert_eq!((room.bytes.left(), asked.load(SeqCst)), (10 * BLOCK, 1));
        assert_eq!(room.full(), Some(Full::Names));
    }

    #[test]
    fn a_write_that_does_not_fit_gets_the_blocks_that_are_left() {
        let (room, _) = room();
        count(&room, amount(2 * BLOCK + 1, 1));
        assert_eq!(room.take_up_to(5 * BLOCK, BLOCK), Ok(2 * BLOCK));
        assert_eq!(room.take_up_to(5 * BLOCK, BLOCK), Err(Full::Bytes));
    }

    #[test]
    fn a_refusal_waits_for_a_count_that_began_after_the_question() {
        let (room, asked) = room();
        let taker = Arc::clone(&room);
        let taking = thread::spawn(move || taker.take(amount(BLOCK, 0)));
        while asked.load(SeqCst) == 0 {
            thread::yield_now();
        }
        // This one began before.
        room.renew(amount(0, 0), false);
        room.renew(amount(BLOCK, 0), true);
        assert_eq!(taking.join().unwrap(), Ok(()));
    }

    #[test]
    fn the_router_is_asked_once_until_it_answers_or_something_is_removed() {
        let (room, asked) = room();
        room.ask();
        room.ask();
        count(&room, amount(0, 0));
        for _ in 0..3 {
            assert_eq!(room.take(amount(BLOCK, 0)), Err(Full::Bytes));
        }
        assert_eq!(asked.load(SeqCst), 2);
        count(&room, amount(0, 0));
        assert_eq!(room.take(amount(BLOCK, 0)), Err(Full::Bytes));
        assert_eq!(asked.load(SeqCst), 3);
        room.removed(0);
        assert_eq!(room.take(amount(BLOCK, 0)), Err(Full::Bytes));
        assert_eq!(asked.load(SeqCst), 3, "one that is not answered is not repeated");
        count(&room, amount(2 * BLOCK, 0));
        assert_eq!((room.take(amount(BLOCK, 0)), room.full()), (Ok(()), None));
    }

    #[test]
    fn what_was_removed_is_room_at_once_unless_it_is_open() {
        let (room, asked) = room();
        count(&room, amount(2 * BLOCK, 0));
        assert_eq!(room.take(amount(2 * BLOCK, 0)), Ok(()));
        room.removed(2 * BLOCK);
        assert_eq!((room.take(amount(2 * BLOCK, 0)), asked.load(SeqCst)), (Ok(()), 0));
        let open = Room::new(Duration::from_millis(1), Box::new(|| ()), || 2 * BLOCK);
        count(&open, amount(4 * BLOCK, 0));
        assert_eq!(open.take(amount(2 * BLOCK, 0)), Ok(()));
        // As much has no name as had none when it was counted.
        open.removed(BLOCK);
        assert_eq!(open.take(amount(2 * BLOCK, 0)), Err(Full::Bytes));
        assert_eq!(open.take(amount(BLOCK, 0)), Ok(()));
    }

    #[test]
    fn a_count_is_asked_for_when_room_is_ample_no_more() {
        let (room, asked) = room();
        assert!(!room.is_ample(1));
        count(&room, amount(2 * AMPLE, 0));
        assert!(room.is_ample(1));
        room.used_up(AMPLE);
        assert!(!room.is_ample(1) && !room.is_ample(1));
        assert_eq!(asked.load(SeqCst), 1);
        // It is so, and only what does not fit is asked about.
        count(&room, amount(AMPLE, 0));
        assert!(!room.is_ample(1));
        assert_eq!(asked.load(SeqCst), 1);
    }

    #[test]
    fn what_is_closed_without_a_name_is_room_at_once() {
        static OPEN: AtomicI64 = AtomicI64::new(2 * BLOCK);
        let room = Room::new(Duration::from_millis(1), Box::new(|| ()), || OPEN.load(SeqCst));
        count(&room, amount(2 * BLOCK, 0));
        assert_eq!(room.take(amount(BLOCK, 0)), Err(Full::Bytes));
        OPEN.store(BLOCK, SeqCst);
        assert_eq!(room.take(amount(2 * BLOCK, 0)), Err(Full::Bytes));
        assert_eq!(room.take(amount(BLOCK, 0)), Ok(()));
    }
}
