//! What is counted of forwarded requests.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::problem::Problem;
use crate::metrics::MetricSource;
use crate::routers::Routers;

/// The classes of status, as labels.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Counts since the start. What routers answered is counted as long as the router is known.
#[derive(Debug)]
pub struct Metrics {
    routers: Routers,
    retries: AtomicU64,
    no_router: AtomicU64,
    failed: AtomicU64,
    timed_out: AtomicU64,
}

impl Metrics {
    pub(super) fn new(routers: Routers) -> Self {
        let zero = AtomicU64::default;
        Self { routers, retries: zero(), no_router: zero(), failed: zero(), timed_out: zero() }
    }

    /// What each router (by name) has answered, by class of status from 1xx to 5xx.
    pub fn requests(&self) -> Vec<(String, [u64; 5])> {
        let routers = self.routers.list();
        routers.iter().map(|router| (router.name().to_owned(), router.answers())).collect()
    }

    /// Tries after the first of a request.
    pub fn retries(&self) -> u64 {
        self.retries.load(Relaxed)
    }

    /// Requests that were answered 503 because no router could take them.
    pub fn no_router(&self) -> u64 {
        self.no_router.load(Relaxed)
    }

    /// Requests that were answered 502.
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Requests that were answered 504.
    pub fn timed_out(&self) -> u64 {
        self.timed_out.load(Relaxed)
    }

    pub(super) fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(super) fn count(&self, problem: Problem) {
        let counter = match problem {
            Problem::BadRequest(_) | Problem::Refused(_) | Problem::Upload(_) => return,
            Problem::NoRouters => &self.no_router,
            Problem::RouterFailed | Problem::BadAnswer(_) => &self.failed,
            Problem::Timeout => &self.timed_out,
        };
        counter.fetch_add(1, Relaxed);
    }
}

impl MetricSource for Metrics {
    fn register(&self, registry: &mut Registry) {
        let requests = Family::<[(&str, String); 2], Counter>::default();
        for (router, answers) in self.requests() {
            for (class, count) in CLASSES.into_iter().zip(answers) {
                let labels = [("router", router.clone()), ("status", class.to_owned())];
                requests.get_or_create(&labels).inc_by(count);
            }
        }
        registry.register(
            "switchyard_bridge_forwarded_requests",
            "Requests that a router has answered",
            requests,
        );
        let counters = [
            ("retries", "Tries after the first of a forwarded request", self.retries()),
            ("no_router", "Requests that no router could take", self.no_router()),
            (
                "failed",
                "Requests whose router ended the connection instead of answering, or answered wrongly",
                self.failed(),
            ),
            ("timed_out", "Requests that were not answered in time", self.timed_out()),
        ];
        for (name, help, count) in counters {
            registry.register(format!("switchyard_bridge_forward_{name}"), help, ConstCounter::new(count));
        }
    }
}
