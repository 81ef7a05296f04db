//! What routers say of projects, side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use jiff::Timestamp;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde_json::Value;

use super::answer::{self, Answer, json};
use super::{Answered, Api, query, readable, stream as events, switch, told};
use crate::problem::Problem;
use crate::routers::{Presence, Router, Routers};
use crate::tokens::Caller;
use crate::versions::{self, unknown_project};
use switchyard_contract::admin::Status;
use switchyard_contract::deploy::{Action, Removal};
use switchyard_contract::overview::{
    LogError, ProjectOnRouter, ProjectOverview, ProjectOverviews, ProjectVersions, RouterInfo, RouterInfos,
};
use switchyard_contract::project::ProjectName;

/// As many log lines as a router keeps.
const MAX_LINES: usize = 1000;

const DEFAULT_LINES: usize = 100;

pub(super) fn all(api: &Api, caller: &Caller) -> Answer {
    let routers = api.routers.all();
    let mut names: BTreeSet<_> =
        routers.iter().flat_map(|router| router.statuses()).map(|status| status.name.clone()).collect();
    let mut removed: BTreeMap<_, _> = api
        .deploys
        .volume()
        .register()
        .removed()
        .into_iter()
        .filter_map(|(name, _)| Some((name.to_string(), Removal::from(&api.removal(&name)?))))
        .collect();
    names.extend(removed.keys().cloned());
    let names = names.iter().filter(|name| caller.may(Action::Read, name));
    let projects: Vec<_> = names.map(|name| project(name, removed.remove(name), &routers)).collect();
    json(StatusCode::OK, &ProjectOverviews { projects, routers: states(&routers) })
}

/// The routers without their projects.
pub(super) fn routers(api: &Api) -> Answer {
    json(StatusCode::OK, &RouterInfos { routers: states(&api.routers.all()) })
}

fn states(routers: &[Arc<Router>]) -> Vec<RouterInfo> {
    let state = |router: &Arc<Router>| RouterInfo {
        router: router.name().to_owned(),
        public: router.public().to_owned(),
        ready: router.is_ready(),
        reachable: router.is_reachable(),
        behind: router.behind(),
        installs: router.installs(),
    };
    routers.iter().map(state).collect()
}

pub(super) fn one(api: &Api, caller: &Caller, name: &ProjectName) -> Answered {
    readable(caller, name)?;
    let removed = api.removal(name).as_ref().map(Removal::from);
    let project = project(name.as_str(), removed, &api.routers.all());
    if project.removed.is_none() && project.routers.iter().all(|said| said.state.is_none()) {
        return Err(unknown_project(name));
    }
    Ok(json(StatusCode::OK, &project))
}

fn project(name: &str, removed: Option<Removal>, routers: &[Arc<Router>]) -> ProjectOverview {
    let said = routers.iter().map(|router| {
        let status = router.status(name);
        let state = status.as_ref().map(|status| status.state);
        let (live, on_disk, error, conflicts) = match status {
            Some(status) => (status.live, status.on_disk, status.error, status.conflicts),
            None => (None, None, None, Vec::new()),
        };
        let (router, behind) = (router.name().to_owned(), router.is_behind(name));
        ProjectOnRouter { router, state, live, on_disk, error, behind, conflicts }
    });
    let said: Vec<_> = said.collect();
    let reachable = routers.iter().filter(|router| router.is_reachable());
    // The same files in another incarnation have other data.
    let live = |status: Status| Some((status.live?.digest, status.incarnation));
    let live: BTreeSet<_> = reachable.map(|router| router.status(name).and_then(live)).collect();
    ProjectOverview { project: name.to_owned(), skew: live.len() > 1, removed, routers: said }
}

pub(super) async fn versions(api: &Api, caller: &Caller, name: &ProjectName) -> Answered {
    readable(caller, name)?;
    let incarnations = api.deploys.volume().register().of(name)?;
    let removal = api.removal(name);
    let now = Timestamp::now();
    let shown: Vec<_> = match &removal {
        // Each of them can be brought back, with the data that it had.
        Some(_) => {
            let ended = incarnations.ended.iter().filter(|ended| ended.until > now);
            ended.map(|ended| ended.incarnation).collect()
        }
        None => vec![incarnations.current],
    };
    let (records, routers) = (api.deploys.records(), api.routers.all());
    let versions = shown.into_iter().map(|incarnation| versions::all(name, incarnation, &records, &routers));
    let versions = join_all(versions).await.concat();
    if versions.is_empty() && removal.is_none() {
        return Err(unknown_project(name));
    }
    let removed = removal.as_ref().map(Removal::from);
    Ok(json(StatusCode::OK, &ProjectVersions { project: name.clone(), removed, versions }))
}

/// The lines of all routers, as each sends them; a router that cannot be reached is told of in an event `error`.
pub(super) async fn logs(
    api: &Api,
    caller: &Caller,
    name: &ProjectName,
    query_text: Option<&str>,
) -> Answered {
    readable(caller, name)?;
    let follow = switch(query_text, "follow", false)?;
    let lines = match query(query_text, "lines") {
        None => DEFAULT_LINES,
        Some(lines) => lines.parse().ok().filter(|lines| *lines <= MAX_LINES).ok_or_else(|| {
            let detail = format!("lines={lines:?} is no number of at most {MAX_LINES}");
            Problem::new(StatusCode::BAD_REQUEST, "bad-request", detail).with("field", "lines")
        })?,
    };
    let routers = api.routers.all();
    if routers.iter().all(|router| router.status(name.as_str()).is_none()) {
        return Err(unknown_project(name));
    }
    let opened = routers.iter().map(|router| async move {
        let label = router.name().to_owned();
        // The lines of the others do not wait for one that hangs.
        let asked = match router.presence() {
            Presence::Away => Err(router.why_away()),
            _ => router.logs(name.as_str(), lines, follow).await.map_err(|error| error.to_string()),
        };
        match asked {
            Ok(events) => events.map(move |event| labelled(&event.kind, &event.data, &label)).boxed(),
            Err(error) => {
                let error = LogError { router: None, error };
                let data = serde_json::to_string(&error).expect("an error is plain data");
                stream::iter([labelled("error", &data, &label)]).boxed()
            }
        }
    });
    let lines = stream::select_all(join_all(opened).await);
    let mut stop = api.stopping.clone();
    Ok(events::relay(lines.take_until(async move { told(&mut stop).await })))
}

/// The event with the router's name in its data.
fn labelled(kind: &str, data: &str, router: &str) -> Bytes {
    let mut data: Value = serde_json::from_str(data).unwrap_or(Value::Null);
    if let Value::Object(members) = &mut data {
        members.insert("router".to_owned(), router.into());
    }
    Bytes::from(format!("event: {kind}\ndata: {data}\n\n"))
}

/// OpenMetrics, which Prometheus reads.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn metrics(api: &Api) -> Answer {
    let mut registry = Registry::default();
    api.metrics.register(&mut registry);
    register_routers(&api.routers, &mut registry);
    if let Some(forward) = &api.forward {
        forward.register(&mut registry);
    }
    let mut page = String::new();
    match text::encode(&mut page, &registry) {
        Ok(()) => answer::whole(StatusCode::OK, OPEN_METRICS, page),
        Err(error) => {
            answer::problem(&Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "metrics", error.to_string()))
        }
    }
}

/// What is read off the moment it is asked for.
fn register_routers(routers: &Routers, registry: &mut Registry) {
    let ready = Family::<[(&str, String); 1], Gauge>::default();
    let behind = Family::<[(&str, String); 1], Gauge>::default();
    let statuses = Family::<[(&str, String); 1], Counter>::default();
    for router in routers.all() {
        let label = [("router", router.name().to_owned())];
        ready.get_or_create(&label).set(router.is_ready().into());
        behind.get_or_create(&label).set(i64::try_from(router.behind().len()).unwrap_or(i64::MAX));
        statuses.get_or_create(&label).inc_by(router.statuses_received());
    }
    registry.register("switchyard_bridge_router_ready", "1 while the router takes requests", ready);
    registry.register(
        "switchyard_bridge_router_behind_projects",
        "Projects of which the router serves an older version than was deployed",
        behind,
    );
    registry.register(
        "switchyard_bridge_router_statuses",
        "Statuses of projects in the router's answers",
        statuses,
    );
    registry.register(
        "switchyard_bridge_routes_made",
        "How often the routes of a project were worked out",
        ConstCounter::new(routers.routes_made()),
    );
}
