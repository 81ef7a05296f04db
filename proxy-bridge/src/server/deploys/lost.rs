//! Deploys in which a bridge was killed before they changed anything: routers may still hold their projects.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::rounds::insist;
use crate::server::records::Records;
use crate::server::routers::Routers;

/// Has every router let go of `deploys`, and then forgets them. A router that does not answer `within` lets go
/// by itself when its lease is over.
pub(super) async fn let_go(routers: Routers, records: Records, deploys: Vec<String>, within: Duration) {
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
