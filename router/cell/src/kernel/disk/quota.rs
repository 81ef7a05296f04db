//! The disk space that is left to a project: what the router's last count allows, minus what this
//! process has used since.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::counter::{Counter, Usage};

/// The time after a refusal in which no new count is requested, unless something was removed. The
/// router counts twice a second anyway.
const REFUSAL_TTL: Duration = Duration::from_millis(500);

/// The bytes left above which a write is charged the most that it can add to the disk, without a
/// look at what it does add: that takes four system calls. A count corrects the surplus once less
/// seems to be left. Sixteen times the smallest limit.
const AMPLE: i64 = 16 << 20;

/// The part of the quota that is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QuotaPart {
    Bytes,
    Names,
}

/// The quota of this process.
pub(super) struct Quota {
    bytes: Counter,
    names: Counter,
    count: Mutex<CountState>,
    answered: Condvar,
    /// `true`: something was removed since the last refusal.
    has_removed: AtomicBool,
    /// `true`: a count was requested since less than [`AMPLE`] is left.
    is_low: AtomicBool,
    /// Bytes taken for writes that have not ended, which a count may have missed.
    writing: AtomicI64,
    /// Bytes of files that lost their last name since the last count. They are given back unless a
    /// descriptor holds them.
    removed: AtomicI64,
    /// The longest wait for a count.
    max_wait: Duration,
    /// Requests a count from the router.
    request: Box<dyn Fn() + Send + Sync>,
    /// Returns the bytes of open files without a name, which the router does not see.
    unlinked: fn() -> i64,
}

/// The counts of the router.
#[derive(Default)]
struct CountState {
    /// `true`: the router owes a count.
    is_requested: bool,
    /// The usage when the count was requested, without what was being written.
    mark: Usage,
    /// `true`: something was being written when the last count was requested.
    has_missed: bool,
    /// Bytes of open files without a name when they were last counted.
    unlinked: i64,
    refused: Option<(Instant, QuotaPart)>,
}

impl Quota {
    /// Returns a quota that allows nothing before the first count. `request` requests one.
    pub(super) fn new(
        max_wait: Duration,
        request: Box<dyn Fn() + Send + Sync>,
        unlinked: fn() -> i64,
    ) -> Self {
        Self {
            bytes: Counter::default(),
            names: Counter::default(),
            count: Mutex::default(),
            answered: Condvar::new(),
            has_removed: AtomicBool::new(false),
            is_low: AtomicBool::new(true),
            writing: AtomicI64::new(0),
            removed: AtomicI64::new(0),
            max_wait,
            request,
            unlinked,
        }
    }

    /// Takes like [`Quota::try_take`], and waits for a count if too little is left.
    ///
    /// # Errors
    /// The part of the quota that is exhausted.
    pub(super) fn take(&self, amount: Usage) -> Result<(), QuotaPart> {
        self.try_take(amount).or_else(|_| self.retry(|| self.try_take(amount)))
    }

    /// Takes `bytes` for a write or, if less is left, as many whole blocks as there are. Waits for
    /// a count before it takes less. [`Quota::end_write`] ends the write.
    ///
    /// # Errors
    /// The part of the quota that is exhausted.
    pub(super) fn take_up_to(&self, bytes: i64, block: i64) -> Result<i64, QuotaPart> {
        let all = || self.begin_write(bytes, 0).then_some(bytes).ok_or(QuotaPart::Bytes);
        all().or_else(|_| self.retry(all)).or_else(|exhausted| {
            let less = self.bytes.left() / block * block;
            if less > 0 && self.begin_write(less, 0) { Ok(less) } else { Err(exhausted) }
        })
    }

    /// Takes `bytes` for a write if more than [`AMPLE`] is left after it. [`Quota::end_write`] ends
    /// the write.
    pub(super) fn take_ample(&self, bytes: i64) -> bool {
        let is_ample = self.begin_write(bytes, AMPLE);
        if !is_ample {
            self.note_low();
        }
        is_ample
    }

    /// Takes `bytes` for a write if that leaves `rest`.
    fn begin_write(&self, bytes: i64, rest: i64) -> bool {
        // First, so that a count requested in between misses too much rather than too little.
        self.writing.fetch_add(bytes, SeqCst);
        let is_taken = self.bytes.take_leaving(bytes, rest);
        if !is_taken {
            self.writing.fetch_sub(bytes, SeqCst);
        }
        is_taken
    }

    /// Ends a write that took `taken` bytes and used `used` of them.
    pub(super) fn end_write(&self, taken: i64, used: i64) {
        self.give_back(Usage { bytes: taken - used, names: 0 });
        self.writing.fetch_sub(taken, SeqCst);
    }

    /// Takes bytes and names, both or none.
    pub(super) fn try_take(&self, Usage { bytes, names }: Usage) -> Result<(), QuotaPart> {
        if !self.bytes.take(bytes) {
            return Err(QuotaPart::Bytes);
        }
        if !self.names.take(names) {
            self.give_back(Usage { bytes, names: 0 });
            return Err(QuotaPart::Names);
        }
        Ok(())
    }

    /// Tries again with the space of removed files, and then after a count. Fails at once if a
    /// count has just led to a refusal.
    fn retry<T>(&self, take: impl Fn() -> Result<T, QuotaPart>) -> Result<T, QuotaPart> {
        let mut state = self.lock();
        let has_more = self.reclaim_removed(&mut state);
        if has_more && let Ok(taken) = take() {
            return Ok(taken);
        }
        if let Some((since, exhausted)) = state.refused
            && !self.has_removed.swap(false, SeqCst)
            && !has_more
            && since.elapsed() < REFUSAL_TTL
        {
            return Err(exhausted);
        }
        drop(state);
        let began = Instant::now();
        loop {
            let is_new = self.request_count();
            let taken = self.wait_and_take(&take);
            // A count that was requested earlier may not know of the last removals, and one in the
            // middle of other writes counts those twice: then another one is requested.
            let is_exact = is_new && !self.lock().has_missed;
            if is_exact || taken.is_ok() || began.elapsed() >= self.max_wait {
                return taken;
            }
        }
    }

    /// Waits for the count that the router owes.
    fn wait_and_take<T>(&self, take: &impl Fn() -> Result<T, QuotaPart>) -> Result<T, QuotaPart> {
        let waited = self.answered.wait_timeout_while(self.lock(), self.max_wait, |state| state.is_requested);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        let taken = take();
        state.refused = taken.as_ref().err().map(|exhausted| (Instant::now(), *exhausted));
        taken
    }

    /// Requests a count, unless the router owes one already. Returns `true` if it was requested.
    pub(super) fn request_count(&self) -> bool {
        let mut state = self.lock();
        let is_new = !std::mem::replace(&mut state.is_requested, true);
        if is_new {
            self.removed.store(0, SeqCst);
            let (used, writing) = (self.used(), self.writing.load(SeqCst));
            state.mark = Usage { bytes: used.bytes.saturating_sub(writing), ..used };
            state.has_missed = writing > 0;
            drop(state);
            (self.request)();
        }
        is_new
    }

    /// Returns `true` if more than [`AMPLE`] is left.
    pub(super) fn is_ample(&self) -> bool {
        let is_ample = self.bytes.left() > AMPLE;
        if !is_ample {
            self.note_low();
        }
        is_ample
    }

    /// Requests one count when less than [`AMPLE`] seems to be left.
    fn note_low(&self) {
        if !self.is_low.swap(true, SeqCst) {
            self.request_count();
        }
    }

    /// Gives back what was taken and not used.
    pub(super) fn give_back(&self, amount: Usage) {
        self.bytes.used.fetch_sub(amount.bytes, SeqCst);
        self.names.used.fetch_sub(amount.names, SeqCst);
    }

    /// Allows what was removed. The next count replaces it, as it may have seen the removal.
    pub(super) fn free(&self, amount: Usage) {
        self.bytes.allow(amount.bytes);
        self.names.allow(amount.names);
    }

    /// Notes a removal, of these bytes unless the file is open: more may be left than is known.
    pub(super) fn note_removed(&self, bytes: i64) {
        self.removed.fetch_add(bytes, SeqCst);
        self.has_removed.store(true, SeqCst);
    }

    /// Gives back the bytes of files that were removed, or closed after they lost their name.
    /// Returns `true` if there were any.
    fn reclaim_removed(&self, state: &mut CountState) -> bool {
        let removed = self.removed.swap(0, SeqCst);
        if removed == 0 && state.unlinked == 0 {
            return false;
        }
        let unlinked = (self.unlinked)();
        let bytes = removed + std::mem::replace(&mut state.unlinked, unlinked) - unlinked;
        self.free(Usage { bytes, names: 0 });
        bytes > 0
    }

    /// Applies a count of the router's: `left` is the space left, without open files that have no
    /// name.
    ///
    /// The usage since the request is added, as the count may have missed it; removals since are
    /// not, as the count may have seen them. A count that was not requested only lowers what is
    /// left.
    pub(super) fn update(&self, left: Usage, is_answer: bool) {
        let mut state = self.lock();
        let unlinked = (self.unlinked)();
        let from = if is_answer { state.mark } else { self.used() };
        let bytes = from.bytes.saturating_add(left.bytes).saturating_sub(unlinked);
        let names = from.names.saturating_add(left.names);
        if is_answer {
            self.bytes.allowed.store(bytes, SeqCst);
            self.names.allowed.store(names, SeqCst);
            self.removed.store(0, SeqCst);
            self.is_low.store(self.bytes.left() <= AMPLE, SeqCst);
            *state = CountState { unlinked, has_missed: state.has_missed, ..CountState::default() };
            self.answered.notify_all();
        } else {
            self.bytes.allowed.fetch_min(bytes, SeqCst);
            self.names.allowed.fetch_min(names, SeqCst);
        }
    }

    fn used(&self) -> Usage {
        Usage { bytes: self.bytes.used.load(SeqCst), names: self.names.used.load(SeqCst) }
    }

    /// Returns the part of the quota that the last refusal was for, unless more is left since.
    pub(super) fn exhausted(&self) -> Option<QuotaPart> {
        self.lock().refused.map(|(_, exhausted)| exhausted)
    }

    fn lock(&self) -> MutexGuard<'_, CountState> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
