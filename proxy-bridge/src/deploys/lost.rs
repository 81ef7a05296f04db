//! Routers that may still hold the projects of a deploy that is over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::rounds::insist;
use crate::records::RecordStore;
use crate::routers::{Router, Routers};

/// A router that hangs for longer has most probably been killed, and the call that it did not read
/// with it.
const BACK_WITHIN: Duration = Duration::from_secs(600);

/// A router that goes on reads what came in meanwhile in any order: it is told once more.
const AGAIN: Duration = Duration::from_secs(1);

/// Has every router let go of `deploys`, in which a bridge was killed before they changed anything,
/// and then forgets them. A router that does not answer `within` lets go by itself when its lease
/// is over.
pub(super) async fn let_go(routers: Routers, records: RecordStore, deploys: Vec<String>, within: Duration) {
    let until = Instant::now() + within;
    let mut changed = routers.changed();
    let mut free = BTreeSet::new();
    loop {
        let all = routers.all();
        for router in all.iter().filter(|router| router.is_reachable()) {
            if !free.contains(router.name()) {
                for deploy in &deploys {
                    // It is free also when it knows of no such deploy.
                    let _ = insist(until, || router.release(deploy)).await;
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

/// Has each of `asked` let go of the deploy as soon as it can be reached: the hold that a router
/// was sent while it hung may begin when it goes on, and would keep it from the volume for as long
/// as the lease.
pub(super) async fn let_go_when_back(routers: Routers, asked: Vec<Arc<Router>>, deploy: String) {
    let let_go = asked.iter().map(|router| {
        let (mut changed, deploy) = (routers.changed(), &deploy);
        async move {
            let back = async { while !router.is_reachable() && changed.changed().await.is_ok() {} };
            if timeout(BACK_WITHIN, back).await.is_ok() {
                let _ = router.release(deploy).await;
                sleep(AGAIN).await;
                let _ = router.release(deploy).await;
            }
        }
    });
    join_all(let_go).await;
}
