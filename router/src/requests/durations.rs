//! Counts of durations, by bucket.

use jiff::Timestamp;
use switchyard_contract::admin::RequestSample;
use switchyard_contract::durations::{BUCKETS, bucket};

use super::MINUTES;
use super::record::MINUTE_US;

/// Durations since the router's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct DurationCounts<N = u64> {
    /// The number of durations in each bucket of [`switchyard_contract::durations`].
    pub(crate) buckets: [N; BUCKETS],
    /// The sum of all durations, in microseconds.
    pub(crate) sum_us: u64,
}

/// The requests that ended in one minute.
#[derive(Debug)]
pub(super) struct Minute {
    /// Minutes since 1970.
    pub(super) number: u32,
    pub(super) requests: u32,
    pub(super) errors: u32,
    pub(super) durations: DurationCounts<u32>,
}

impl<N: std::ops::AddAssign + From<u8>> DurationCounts<N> {
    /// Counts a duration.
    pub(super) fn add(&mut self, micros: u64) {
        self.buckets[bucket(micros)] += N::from(1);
        self.sum_us = self.sum_us.wrapping_add(micros);
    }
}

impl Minute {
    pub(super) fn new(number: u32) -> Self {
        Self { number, requests: 0, errors: 0, durations: DurationCounts::default() }
    }

    /// Returns true for a minute of the hour that ends `now`, in microseconds since 1970.
    pub(super) fn is_of_last_hour(&self, now: u64) -> bool {
        u64::from(self.number) + MINUTES as u64 > now / MINUTE_US
    }
}

impl From<&Minute> for RequestSample {
    fn from(minute: &Minute) -> Self {
        let begin = Timestamp::from_second(i64::from(minute.number) * 60).unwrap_or_default();
        let counts = [minute.requests, minute.errors].map(u64::from);
        let durations = minute.durations.buckets.map(u64::from).to_vec();
        Self::new(begin, counts, minute.durations.sum_us as f64 / 1e3, durations)
    }
}
