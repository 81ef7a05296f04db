//! The release of projects that routers may still hold for a deploy that is over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::rounds::retry_until;
use crate::records::RecordStore;
use crate::routers::{Router, Routers};

/// Time within which a router that hangs is expected back. After that it was most probably killed, and
/// the call that it had not read with it.
const BACK_WITHIN: Duration = Duration::from_secs(600);

/// Pause before the second release. A router that resumes reads the calls that arrived meanwhile in
/// any order.
const SECOND_RELEASE: Duration = Duration::from_secs(1);

/// Has every router release `deploys`, in which a bridge was killed before it changed the volume, and
/// then removes their records. A router that does not answer `within` this time releases them when its
/// lease is over.
pub(super) async fn release_lost(
    routers: Routers,
    records: RecordStore,
    deploys: Vec<String>,
    within: Duration,
) {
    let until = Instant::now() + within;
    let mut changed = routers.changed();
    let mut free = BTreeSet::new();
    loop {
        let all = routers.all();
        for router in all.iter().filter(|router| router.is_reachable()) {
            if !free.contains(router.name()) {
                for deploy in &deploys {
                    // A router that does not know the deploy holds nothing for it.
                    let _ = retry_until(until, || router.release(deploy)).await;
                }
                free.insert(router.name().to_owned());
            }
        }
        let waiting = all.is_empty() || all.iter().any(|router| !free.contains(router.name()));
        if !waiting || !matches!(timeout_at(until, changed.changed()).await, Ok(Ok(()))) {
            break;
        }
    }
    for deploy in deploys {
        records.remove(&deploy);
    }
}

/// Makes each of `routers_left` release the deploy as soon as it can be reached. A hold that was
/// sent to a router while it hung may begin when it resumes, and would keep its projects from being
/// read for the length of the lease.
pub(super) async fn release_when_back(routers: Routers, routers_left: Vec<Arc<Router>>, deploy: String) {
    let releases = routers_left.iter().map(|router| {
        let (mut changed, deploy) = (routers.changed(), &deploy);
        async move {
            let back = async { while !router.is_reachable() && changed.changed().await.is_ok() {} };
            if timeout(BACK_WITHIN, back).await.is_ok() {
                let _ = router.release(deploy).await;
                sleep(SECOND_RELEASE).await;
                let _ = router.release(deploy).await;
            }
        }
    });
    join_all(releases).await;
}
