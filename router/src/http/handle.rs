//! One request: routed, counted in, forwarded to the live version's cell, answered.

use std::rc::Rc;
use std::sync::Arc;

use http::header::{CONTENT_LENGTH, HeaderName};
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use switchyard_bridge::admin::VERSION;
use switchyard_bridge::forwarded::{self, Client};
use switchyard_bridge::{routes, target};
use tokio::time::{Instant, timeout, timeout_at};

use super::Settings;
use super::body::{Body, Limited, TooLarge, TooSlow};
use super::cors::Cors;
use super::pool::{Pool, SendError};
use super::problem::{Audience, Problem};
use super::request_id::RequestIds;
use super::tunnel::{self, Held};
use crate::drain::{Guard, InFlight, NOTICED_WITHIN};
use crate::live::{Command, Commands, Entry, Live, Process, Running};
use crate::slots::Slot;

const STALE: HeaderName = HeaderName::from_static("x-switchyard-stale");

/// How often a request that a cell never got is sent to the next one: a cell dies, another is
/// started, and that might die too.
const MAX_SENDS: u32 = 3;

/// What one thread serves requests with.
pub(super) struct Worker {
    pub(super) settings: Settings,
    /// Its client connections and tunnels.
    pub(super) open: Arc<InFlight>,
    live: Arc<Live>,
    commands: Commands,
    pool: Rc<Pool>,
    ids: RequestIds,
}

/// A place in a running cell.
struct Place {
    entry: Arc<Entry>,
    version: HeaderValue,
    running: Arc<Running>,
    guard: Guard,
}

impl Worker {
    pub(super) fn new(settings: Settings, live: Arc<Live>, commands: Commands, open: Arc<InFlight>) -> Self {
        Self { settings, open, live, commands, pool: Rc::default(), ids: RequestIds::new() }
    }

    /// Closes idle connections to cells. Runs until it is dropped.
    pub(super) async fn sweep(self: Rc<Self>) {
        self.pool.sweep().await;
    }

    pub(super) async fn handle(&self, mut request: Request<Incoming>, client: &Client) -> Response<Body> {
        let cors = self.settings.dev.then(|| Cors::of(&request)).flatten();
        let host = match target::canonical(&mut request) {
            Ok(host) => host,
            Err(wrong) => {
                return self.problem(Problem::BadRequest(wrong.rule()), None, request.headers(), cors);
            }
        };
        let routed = {
            let table = self.live.load();
            table.find(host.name(), request.uri().path()).map(|(entry, prefix)| (entry.clone(), prefix.len()))
        };
        let Some((entry, prefix)) = routed else {
            return self.problem(Problem::UnknownProject, None, request.headers(), cors);
        };
        if length(request.headers()).is_some_and(|length| length > entry.limits.body) {
            return self.problem(Problem::BodyTooLarge, Some(&entry), request.headers(), cors);
        }
        let accept = request.headers().get(http::header::ACCEPT).cloned();
        let forwarded = async {
            let slot = self.slot(&entry).await?;
            let forwarded = self.forward(request, client, host.authority(), &entry, prefix, slot);
            entry.debuggers.within(entry.limits.time, forwarded).await.unwrap_or(Err(Problem::Timeout))
        };
        match forwarded.await {
            Ok(response) => response,
            Err(problem) => {
                let headers = accept.into_iter().map(|accept| (http::header::ACCEPT, accept)).collect();
                // As it is now: what the request waited for may have failed.
                let now = self.now(&entry).ok();
                self.problem(problem, Some(now.as_ref().unwrap_or(&entry)), &headers, cors)
            }
        }
    }

    fn problem(
        &self,
        problem: Problem,
        entry: Option<&Entry>,
        headers: &HeaderMap,
        cors: Option<Cors>,
    ) -> Response<Body> {
        let audience = match &cors {
            Some(cors) if !cors.is_local() => Audience::Elsewhere,
            _ if self.settings.dev => Audience::Developer,
            _ => Audience::Anybody,
        };
        let response = problem.answer(entry, headers, audience);
        let response = match cors {
            Some(cors) => cors.allow(response),
            None => response,
        };
        if let Some(entry) = entry {
            entry.requests.count(response.status());
        }
        response
    }

    /// A place among the project's requests in flight. Its time begins with it.
    async fn slot(&self, entry: &Entry) -> Result<Slot, Problem> {
        if let Some(slot) = entry.slots.enter() {
            return Ok(slot);
        }
        let (queue, patience) = (entry.limits.queue, entry.limits.patience);
        Box::pin(entry.slots.wait(queue, patience)).await.ok_or(Problem::Overloaded)
    }

    async fn forward(
        &self,
        mut request: Request<Incoming>,
        client: &Client,
        authority: &HeaderValue,
        entry: &Arc<Entry>,
        prefix: usize,
        slot: Slot,
    ) -> Result<Response<Body>, Problem> {
        let bad_path = Problem::BadRequest("the path is not understood");
        let prefix = request.uri().path().get(..prefix).ok_or(bad_path)?.to_owned();
        if !prefix.is_empty() || request.uri().authority().is_some() {
            *request.uri_mut() = routes::behind(request.uri(), &prefix).ok_or(bad_path)?;
        }
        *request.version_mut() = Version::HTTP_11;
        let upgrade = forwarded::wanted_upgrade(request.headers());
        let on_upgrade = upgrade.as_ref().map(|_| hyper::upgrade::on(&mut request));
        forwarded::drop_hop_by_hop(request.headers_mut());
        forwarded::set_forwarded(request.headers_mut(), client, authority, &prefix);
        self.ids.set(request.headers_mut());
        let (limit, pause) = (entry.limits.body, self.settings.bounds.body_timeout);
        let mut request = request.map(|body| Limited::new(body, limit, pause));
        let mut place = self.enter(entry).await?;
        if let (Some(protocol), Some(client)) = (upgrade, on_upgrade) {
            return Box::pin(self.switch(request, protocol, client, place, slot)).await;
        }
        for _ in 0..MAX_SENDS {
            let cell = &place.running.cell;
            match self.pool.send(cell.id(), cell.socket(), request).await {
                Ok(mut response) => {
                    forwarded::drop_hop_by_hop(response.headers_mut());
                    place.entry.requests.count(response.status());
                    mark(response.headers_mut(), &place.entry, place.version);
                    let guard = Some(place.guard);
                    return Ok(response.map(|exchange| Body::Proxied { exchange, guard, _slot: slot }));
                }
                Err(SendError::Failed(error)) => {
                    // What breaks off on the client's side says nothing of the cell.
                    if !error.is_user() {
                        place.guard.broke();
                    }
                    return Err(blame(&error));
                }
                Err(SendError::NotSent(unsent)) => {
                    request = *unsent;
                    place = Box::pin(self.enter_another(place)).await?;
                }
            }
        }
        Err(Problem::CellDied)
    }

    async fn switch(
        &self,
        request: Request<Limited>,
        protocol: HeaderValue,
        client: OnUpgrade,
        place: Place,
        slot: Slot,
    ) -> Result<Response<Body>, Problem> {
        let open = self.open.enter().ok_or(Problem::CellDied)?;
        let socket = place.running.cell.socket();
        let held = Held { in_flight: place.guard, open, slot };
        let tunnel = tunnel::forward(socket, request, protocol, client, held);
        let mut response = tunnel.await.map_err(|_| Problem::CellDied)?;
        place.entry.requests.count(response.status());
        mark(response.headers_mut(), &place.entry, place.version);
        Ok(response)
    }

    /// A place in the cell of the project's live version, which is started if it is stopped.
    async fn enter(&self, entry: &Arc<Entry>) -> Result<Place, Problem> {
        match self.place(entry, None) {
            Some(place) => Ok(place),
            // The rare ways are kept out of every request's future.
            None => Box::pin(self.wait_to_enter(entry.clone())).await,
        }
    }

    /// A place in a cell of the live version that takes requests, and is not `but`.
    fn place(&self, entry: &Arc<Entry>, but: Option<&Arc<Running>>) -> Option<Place> {
        let running = entry.serving()?.choose(but)?;
        let guard = running.in_flight.enter()?;
        running.touch();
        let version = entry.live.as_ref()?.header.clone();
        Some(Place { entry: entry.clone(), version, running: running.clone(), guard })
    }

    async fn wait_to_enter(&self, mut entry: Arc<Entry>) -> Result<Place, Problem> {
        let mut changed = self.live.subscribe();
        let (mut asked, mut restarted_by) = (false, None);
        loop {
            entry = self.now(&entry)?;
            let Some(live) = &entry.live else {
                return Err(if entry.failed.is_some() { Problem::NoGoodVersion } else { Problem::NotReady });
            };
            asked &= matches!(live.process, Process::Idle);
            let news = match &live.process {
                Process::Running(serving) => {
                    if let Some(place) = self.place(&entry, None) {
                        return Ok(place);
                    }
                    // Without a doubt it was replaced since the look at the table.
                    let doubt = serving.doubt(Instant::now().into_std()).unwrap_or_default();
                    timeout(doubt, changed.changed()).await.unwrap_or(Ok(()))
                }
                Process::Idle => {
                    if !std::mem::replace(&mut asked, true) {
                        // The control flow is gone only when the router stops.
                        let _ = self.commands.send(Command::Wake(live.version.clone())).await;
                    }
                    changed.changed().await
                }
                Process::Restarting => {
                    let patience = || Instant::now() + entry.limits.patience;
                    let by = *restarted_by.get_or_insert_with(patience);
                    timeout_at(by, changed.changed()).await.map_err(|_| Problem::Restarting)?
                }
                Process::Stopped => return Err(Problem::Stopped),
            };
            news.map_err(|_| Problem::CellDied)?;
        }
    }

    /// The project as the table has it now.
    fn now(&self, entry: &Entry) -> Result<Arc<Entry>, Problem> {
        self.live.load().get(entry.project.as_str()).cloned().ok_or(Problem::UnknownProject)
    }

    /// A place in another cell than `place`'s, which has ended without anybody having noticed yet.
    async fn enter_another(&self, place: Place) -> Result<Place, Problem> {
        let Place { entry, running, guard, .. } = place;
        drop(guard);
        let mut changed = self.live.subscribe();
        let noticed_by = Instant::now() + NOTICED_WITHIN;
        loop {
            let now = self.now(&entry)?;
            if now.serving().is_none_or(|serving| !serving.has(&running)) {
                return self.enter(&now).await;
            }
            if let Some(place) = self.place(&now, Some(&running)) {
                return Ok(place);
            }
            // Unless its process is there, and its socket takes nothing all the same.
            let noticed = timeout_at(noticed_by, changed.changed()).await;
            noticed.map_err(|_| Problem::CellDied)?.map_err(|_| Problem::CellDied)?;
        }
    }
}

/// Says which version answered.
fn mark(headers: &mut HeaderMap, entry: &Entry, version: HeaderValue) {
    headers.insert(VERSION, version);
    match &entry.failed {
        Some(failed) => headers.insert(STALE, failed.header.clone()),
        None => headers.remove(STALE),
    };
}

fn blame(error: &hyper::Error) -> Problem {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.is::<TooLarge>() {
            return Problem::BodyTooLarge;
        }
        if error.is::<TooSlow>() {
            return Problem::BodyTooSlow;
        }
        cause = error.source();
    }
    Problem::CellDied
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
