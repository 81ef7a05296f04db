//! The task that owns the followers: it starts one for each new router and ends it when the router
//! is removed.

use std::collections::HashMap;
use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{sleep, timeout};

use super::follow::follow;
use super::{Dns, Router, RouterAddress, Shared};

/// Interval between lookups: a new replica is found this soon. Names of replicas live a few seconds
/// in caches anyway.
const LOOKUP_EVERY: Duration = Duration::from_secs(5);
const LOOKUP_WITHIN: Duration = Duration::from_secs(5);

pub(super) struct Supervisor {
    shared: Arc<Shared>,
    fixed: Vec<RouterAddress>,
    dns: Option<Dns>,
    tasks: JoinSet<()>,
    followed: HashMap<Id, (Arc<Router>, AbortHandle)>,
}

impl Supervisor {
    /// Follows the `fixed` routers at once, and those behind the name once [`Supervisor::run`] has
    /// found them.
    pub(super) fn new(shared: Arc<Shared>, fixed: Vec<RouterAddress>, dns: Option<Dns>) -> Self {
        let mut owner = Self { shared, fixed, dns, tasks: JoinSet::new(), followed: HashMap::new() };
        owner.follow_addresses(&[]);
        owner
    }

    /// Runs until `stopped` is set, or its sender is dropped.
    pub(super) async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut looked_up = Box::pin(lookup(self.dns.clone(), Duration::ZERO));
        let common = self.shared.common.clone();
        let saving = common.behind.keep_saved();
        tokio::pin!(saving);
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => return,
                () = &mut saving => {}
                addresses = &mut looked_up => {
                    if let Some(addresses) = addresses {
                        self.follow_addresses(&addresses);
                    }
                    looked_up.set(lookup(self.dns.clone(), LOOKUP_EVERY));
                }
                Some(ended) = self.tasks.join_next_with_id() => if let Err(error) = ended {
                    self.ended(error.id(), error.is_panic());
                },
            }
        }
    }

    /// Follows the fixed routers and those at `addresses`, and no others.
    pub(super) fn follow_addresses(&mut self, addresses: &[IpAddr]) {
        let mut wanted = self.fixed.clone();
        wanted.extend(self.dns.iter().flat_map(|dns| addresses.iter().map(|address| dns.at(*address))));
        let before = self.shared.list();
        let mut routers: Vec<Arc<Router>> = Vec::with_capacity(wanted.len());
        for address in wanted {
            if routers.iter().any(|router| router.name() == address.name()) {
                continue;
            }
            let known = before.iter().find(|router| router.address == address);
            routers.push(known.cloned().unwrap_or_else(|| self.come(address)));
        }
        for gone in before.iter().filter(|router| !routers.iter().any(|other| Arc::ptr_eq(router, other))) {
            self.go(gone);
        }
        if before.len() != routers.len() || before.iter().zip(&routers).any(|(a, b)| !Arc::ptr_eq(a, b)) {
            self.shared.set_list(routers);
        }
    }

    fn come(&mut self, address: RouterAddress) -> Arc<Router> {
        let router = Arc::new(Router::new(address, self.shared.common.clone()));
        tracing::info!(
            router = router.name(),
            public = router.public(),
            "following the router {}",
            router.name()
        );
        self.follow(router.clone());
        router
    }

    fn follow(&mut self, router: Arc<Router>) {
        let task = self.tasks.spawn(follow(router.clone(), self.shared.clone()));
        self.followed.insert(task.id(), (router, task));
    }

    fn go(&mut self, router: &Arc<Router>) {
        tracing::info!(router = router.name(), "{} is no longer one of the routers", router.name());
        for (other, task) in self.followed.values() {
            if Arc::ptr_eq(other, router) {
                task.abort();
            }
        }
        router.gone();
    }

    /// A task has ended: because the router went, or, which should not be, by a panic.
    fn ended(&mut self, task: Id, panicked: bool) {
        let Some((router, _)) = self.followed.remove(&task) else { return };
        if panicked {
            tracing::error!(router = router.name(), "the task that follows {} panicked", router.name());
            self.follow(router);
        }
    }
}

/// The addresses of the name, sorted, after a pause; `None` when it cannot be looked up now.
async fn lookup(dns: Option<Dns>, pause: Duration) -> Option<Vec<IpAddr>> {
    let Some(dns) = dns else { return pending().await };
    sleep(pause).await;
    let found = timeout(LOOKUP_WITHIN, lookup_host((dns.name.as_str(), dns.public_port))).await;
    let why = match found {
        Ok(Ok(found)) => {
            let mut addresses: Vec<_> = found.map(|address| address.ip()).collect();
            addresses.sort_unstable();
            addresses.dedup();
            return Some(addresses);
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer in time".to_owned(),
    };
    tracing::warn!(dns.name = dns.name, "keeping the known routers: cannot resolve {}: {why}", dns.name);
    None
}
