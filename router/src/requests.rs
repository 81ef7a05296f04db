//! The requests of a project that have ended: the last ones, samples of the last hour by minute, and
//! durations by status class.
//!
//! Each end of a request takes the project's lock, for as long as a few numbers are added and a record
//! is moved. A project without requests has nothing allocated.

mod durations;
mod record;
mod ring;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use switchyard_contract::admin::{ProjectLoad, RequestInfo, RequestSample};
use switchyard_contract::durations::BUCKETS;
use tokio::sync::watch;

pub(crate) use self::durations::DurationCounts;
use self::durations::Minute;
use self::record::MINUTE_US;
pub(crate) use self::record::{RequestRecord, SHORT_DIGEST};
use self::ring::Ring;

/// Minutes that are kept.
const MINUTES: usize = 60;

/// The requests of one project.
#[derive(Debug, Default)]
pub(crate) struct EndedRequests(Mutex<Option<Box<Ended>>>);

/// The kept requests of a project that has had some.
#[derive(Debug)]
struct Ended {
    ring: Ring,
    /// The minutes that had requests, the oldest first.
    minutes: VecDeque<Minute>,
    /// The durations of answers by status class, from 1xx to 5xx.
    classes: [DurationCounts; 5],
    /// `None`: nobody follows.
    changed: Option<watch::Sender<()>>,
}

/// A reader that follows, with its position.
#[derive(Debug)]
pub(crate) struct RequestReader {
    requests: Weak<EndedRequests>,
    next: u64,
    changed: watch::Receiver<()>,
}

/// The requests that a reader has not seen yet.
#[derive(Debug)]
pub(crate) struct RequestBatch {
    /// The number of requests that were dropped before this reader saw them.
    pub(crate) lost: u64,
    /// The oldest first.
    pub(crate) requests: Vec<RequestInfo>,
}

impl EndedRequests {
    /// Adds a request that has ended.
    pub(crate) fn add(&self, record: RequestRecord) {
        let mut ended = self.lock();
        let ended = ended.get_or_insert_with(Ended::new);
        ended.count(&record);
        ended.ring.push(record);
        if let Some(changed) = &ended.changed
            && changed.send(()).is_err()
        {
            ended.changed = None;
        }
    }

    /// The durations of all answers by status class, from 1xx to 5xx. `None`: there was no request.
    pub(crate) fn durations(&self) -> Option<[DurationCounts; 5]> {
        self.lock().as_ref().map(|ended| ended.classes)
    }

    /// The minutes of the last hour that had requests, the oldest first. `now`: microseconds since
    /// 1970.
    pub(crate) fn samples(&self, now: u64) -> Vec<RequestSample> {
        let ended = self.lock();
        let minutes = ended.iter().flat_map(|ended| &ended.minutes);
        minutes.filter(|minute| minute.is_of_last_hour(now)).map(RequestSample::from).collect()
    }

    /// The requests that are kept, the newest first.
    pub(crate) fn newest_first(&self, project: &str) -> Vec<RequestInfo> {
        let ended = self.lock();
        let records = ended.iter().flat_map(|ended| ended.ring.newest_first());
        records.map(|record| record.info(project)).collect()
    }

    /// The requests of the last minute. `None`: there was none. `now`: microseconds since 1970.
    pub(crate) fn load(&self, project: &str, now: u64) -> Option<ProjectLoad> {
        let ended = self.lock();
        let (number, passed) = (now / MINUTE_US, (now % MINUTE_US) as f64 / MINUTE_US as f64);
        let weight = |minute: &Minute| match number.checked_sub(minute.number.into()) {
            Some(0) => 1.0,
            Some(1) => 1.0 - passed,
            _ => 0.0,
        };
        let (mut counts, mut durations) = ([0.0; 2], [0.0; BUCKETS]);
        for minute in ended.iter().flat_map(|ended| ended.minutes.iter().rev().take(2)) {
            let weight = weight(minute);
            counts[0] += weight * f64::from(minute.requests);
            counts[1] += weight * f64::from(minute.errors);
            for (sum, count) in durations.iter_mut().zip(minute.durations.buckets) {
                *sum += weight * f64::from(count);
            }
        }
        let [requests, errors] = counts.map(|count| count.round() as u64);
        let durations = durations.map(|count| count.round() as u64).to_vec();
        (requests > 0).then(|| ProjectLoad::new(project.to_owned(), [requests, errors], durations))
    }

    /// A reader of the requests that are kept, and of those that end from now on.
    pub(crate) fn follow(self: &Arc<Self>) -> RequestReader {
        let mut ended = self.lock();
        let ended = ended.get_or_insert_with(Ended::new);
        let changed = ended.changed.get_or_insert_with(|| watch::Sender::new(())).subscribe();
        RequestReader { requests: Arc::downgrade(self), next: ended.ring.first(), changed }
    }

    /// Forgets everything, because the project begins anew. Readers reach their end.
    pub(crate) fn clear(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Ended>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ended {
    fn new() -> Box<Self> {
        let classes = [DurationCounts::default(); 5];
        Box::new(Self { ring: Ring::new(), minutes: VecDeque::new(), classes, changed: None })
    }

    fn count(&mut self, record: &RequestRecord) {
        let number = record.minute();
        if self.minutes.back().is_none_or(|newest| newest.number < number) {
            if self.minutes.len() >= MINUTES {
                self.minutes.pop_front();
            }
            self.minutes.push_back(Minute::new(number));
        }
        // The end of a request that another thread recorded may be in the minute after this one's.
        let Some(minute) = self.minutes.back_mut() else { return };
        minute.requests += 1;
        if record.status >= 500 {
            minute.errors += 1;
        }
        if record.has_duration() {
            minute.durations.add(record.total_us);
            self.classes[usize::from(record.status / 100).clamp(1, 5) - 1].add(record.total_us);
        }
    }
}

impl RequestReader {
    /// The requests since the last batch. Does not wait.
    pub(crate) fn next_batch(&mut self, project: &str) -> RequestBatch {
        let nothing = RequestBatch { lost: 0, requests: Vec::new() };
        let Some(requests) = self.requests.upgrade() else { return nothing };
        let ended = requests.lock();
        let Some(ended) = ended.as_ref() else { return nothing };
        self.changed.mark_unchanged();
        let from = self.next.max(ended.ring.first());
        let lost = from - self.next;
        self.next = ended.ring.next();
        let requests = ended.ring.since(from).map(|record| record.info(project)).collect();
        RequestBatch { lost, requests }
    }

    /// Waits for more requests. Returns false if the project, or its incarnation, is gone.
    pub(crate) async fn more(&mut self) -> bool {
        self.changed.changed().await.is_ok()
    }
}

/// Returns the time in microseconds since 1970.
pub(crate) fn now_us() -> u64 {
    micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

pub(crate) fn micros(duration: Duration) -> u64 {
    duration.as_secs() * 1_000_000 + u64::from(duration.subsec_micros())
}

#[cfg(test)]
mod tests;
