//! The load of all projects over all routers: asked for, and followed.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::requests::{add, ask};
use super::{Api, Shared};
use crate::tokens::Caller;
use switchyard_contract::admin::{ProjectLoad, ProjectLoads};
use switchyard_contract::deploy::Action;
use switchyard_contract::overview::LoadsOverview;
use switchyard_edge::api::answer::json;

/// The time between two figures: they are of a whole minute, and a router adds up all of its
/// processes for them.
const EVERY: Duration = Duration::from_secs(5);

/// The newest figures, made while somebody follows them. One slot instead of a queue: a reader who
/// is slow gets the newest figures, and never those in between.
#[derive(Debug, Clone, Default)]
pub struct LoadFeed {
    newest: watch::Sender<Option<Arc<LoadsOverview>>>,
    wanted: Arc<Notify>,
}

impl LoadFeed {
    /// Returns the figures from the next ones on.
    pub(super) fn follow(&self) -> watch::Receiver<Option<Arc<LoadsOverview>>> {
        let receiver = self.newest.subscribe();
        self.wanted.notify_one();
        receiver
    }

    async fn followed(&self) {
        while self.newest.receiver_count() == 0 {
            self.wanted.notified().await;
        }
    }
}

/// Asks the routers again and again while somebody follows: once for all followers.
pub(super) async fn sample(api: &Api) -> Infallible {
    loop {
        api.loads.followed().await;
        let due = Instant::now() + EVERY;
        let loads = everywhere(api).await;
        api.loads.newest.send_replace(Some(Arc::new(loads)));
        sleep_until(due).await;
    }
}

/// The load of all projects that the caller may read in the last minute, over all routers
#[utoipa::path(get, path = "/metrics/projects", tag = "projects", responses(
    (status = 200, description = "The projects that had requests", body = LoadsOverview),
))]
pub(super) async fn loads(State(api): Shared, Extension(caller): Extension<Caller>) -> Response {
    json(StatusCode::OK, &visible_to(&caller, &everywhere(&api).await))
}

/// Returns the part of `loads` that the caller may see.
pub(super) fn visible_to(caller: &Caller, loads: &LoadsOverview) -> LoadsOverview {
    let LoadsOverview { projects, errors } = loads;
    let projects = projects.iter().filter(|load| caller.may(Action::Read, &load.project));
    LoadsOverview { projects: projects.cloned().collect(), errors: errors.clone() }
}

async fn everywhere(api: &Api) -> LoadsOverview {
    let (answers, errors) = ask::<ProjectLoads>(api, &["metrics", "projects"], &[]).await;
    let mut projects: BTreeMap<String, ProjectLoad> = BTreeMap::new();
    for load in answers.into_iter().flat_map(|(_, answer)| answer.projects) {
        add(&mut projects, load.project.clone(), load, ProjectLoad::merged);
    }
    LoadsOverview { projects: projects.into_values().collect(), errors }
}
