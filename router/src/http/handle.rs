//! One request: routed, counted in, forwarded to the live version's cell, answered.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, HeaderName};
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use switchyard_bridge::admin::VERSION;
use switchyard_bridge::forwarded::{self, Client};
use switchyard_bridge::{routes, target};
use tokio::time::timeout;

use super::Settings;
use super::body::{Body, Limited, TooLarge, TooSlow};
use super::pool::{Pool, SendError};
use super::problem::Problem;
use super::tunnel;
use crate::drain::{Guard, InFlight};
use crate::live::{Command, Commands, Entry, Live, Running};

const STALE: HeaderName = HeaderName::from_static("x-switchyard-stale");

/// A live version that could not be started is not tried again for this long.
const WAKE_PAUSE: Duration = Duration::from_secs(1);

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
        Self { settings, open, live, commands, pool: Rc::default() }
    }

    /// Closes idle connections to cells. Runs until it is dropped.
    pub(super) async fn sweep(self: Rc<Self>) {
        self.pool.sweep().await;
    }

    pub(super) async fn handle(&self, mut request: Request<Incoming>, client: &Client) -> Response<Body> {
        let host = match target::canonical(&mut request) {
            Ok(host) => host,
            Err(wrong) => return self.problem(Problem::BadRequest(wrong.rule()), None, request.headers()),
        };
        let routed = {
            let table = self.live.load();
            table.find(host.name(), request.uri().path()).map(|(entry, prefix)| (entry.clone(), prefix.len()))
        };
        let Some((entry, prefix)) = routed else {
            return self.problem(Problem::UnknownProject, None, request.headers());
        };
        let limit = self.settings.max_body;
        if length(request.headers()).is_some_and(|length| length > limit) {
            return self.problem(Problem::BodyTooLarge, Some(&entry), request.headers());
        }
        let accept = request.headers().get(http::header::ACCEPT).cloned();
        let forwarded = timeout(
            self.settings.request_timeout,
            self.forward(request, client, host.authority(), &entry, prefix),
        );
        match forwarded.await.unwrap_or(Err(Problem::Timeout)) {
            Ok(response) => response,
            Err(problem) => {
                let headers = accept.into_iter().map(|accept| (http::header::ACCEPT, accept)).collect();
                // As it is now: what the request waited for may have failed.
                let now = self.now(&entry).ok();
                self.problem(problem, Some(now.as_ref().unwrap_or(&entry)), &headers)
            }
        }
    }

    fn problem(&self, problem: Problem, entry: Option<&Entry>, headers: &HeaderMap) -> Response<Body> {
        let response = problem.answer(entry, headers, self.settings.dev);
        if let Some(entry) = entry {
            entry.requests.count(response.status());
        }
        response
    }

    async fn forward(
        &self,
        mut request: Request<Incoming>,
        client: &Client,
        authority: &HeaderValue,
        entry: &Arc<Entry>,
        prefix: usize,
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
        let (limit, pause) = (self.settings.max_body, self.settings.bounds.body_timeout);
        let mut request = request.map(|body| Limited::new(body, limit, pause));
        let mut place = self.enter(entry).await?;
        if let (Some(protocol), Some(client)) = (upgrade, on_upgrade) {
            return Box::pin(self.switch(request, protocol, client, place)).await;
        }
        for _ in 0..MAX_SENDS {
            let cell = &place.running.cell;
            match self.pool.send(cell.id(), cell.socket(), request).await {
                Ok(mut response) => {
                    forwarded::drop_hop_by_hop(response.headers_mut());
                    place.entry.requests.count(response.status());
                    mark(response.headers_mut(), &place.entry, place.version);
                    let guard = place.guard;
                    return Ok(response.map(|exchange| Body::Proxied { exchange, _guard: guard }));
                }
                Err(SendError::Failed(error)) => return Err(blame(&error)),
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
    ) -> Result<Response<Body>, Problem> {
        let open = self.open.enter().ok_or(Problem::CellDied)?;
        let socket = place.running.cell.socket();
        let tunnel = tunnel::forward(socket, request, protocol, client, (place.guard, open));
        let mut response = tunnel.await.map_err(|_| Problem::CellDied)?;
        place.entry.requests.count(response.status());
        mark(response.headers_mut(), &place.entry, place.version);
        Ok(response)
    }

    /// A place in the cell of the project's live version, which is started if it is stopped.
    async fn enter(&self, entry: &Arc<Entry>) -> Result<Place, Problem> {
        match self.place(entry)? {
            Some(place) => Ok(place),
            // The rare ways are kept out of every request's future.
            None => Box::pin(self.wait_to_enter(entry.clone())).await,
        }
    }

    /// A place in the cell of the live version, if that runs and takes requests.
    fn place(&self, entry: &Arc<Entry>) -> Result<Option<Place>, Problem> {
        let Some(live) = &entry.live else { return Ok(None) };
        let Some(running) = &live.running else { return Ok(None) };
        if running.in_flight.count() >= self.settings.max_in_flight {
            return Err(Problem::Overloaded);
        }
        let Some(guard) = running.in_flight.enter() else { return Ok(None) };
        running.touch();
        let (version, running) = (live.header.clone(), running.clone());
        Ok(Some(Place { entry: entry.clone(), version, running, guard }))
    }

    async fn wait_to_enter(&self, mut entry: Arc<Entry>) -> Result<Place, Problem> {
        let mut changed = None;
        loop {
            let Some(live) = &entry.live else {
                return Err(if entry.failed.is_some() { Problem::NoGoodVersion } else { Problem::NotReady });
            };
            if let Some(place) = self.place(&entry)? {
                return Ok(place);
            }
            // A version that runs and takes nothing was replaced since the look at the table.
            if live.running.is_none() {
                let failed =
                    entry.failed.as_ref().filter(|failed| failed.version.as_ref() == Some(&live.version));
                if failed.is_some_and(|failed| failed.at.elapsed() < WAKE_PAUSE) {
                    return Err(Problem::NoGoodVersion);
                }
                if changed.is_none() {
                    // The control flow is gone only when the router stops.
                    let _ = self.commands.send(Command::Wake(live.version.clone())).await;
                }
                let changed = changed.get_or_insert_with(|| self.live.subscribe());
                let table = self.live.load();
                let same = table.get(entry.project.as_str()).is_some_and(|now| Arc::ptr_eq(now, &entry));
                drop(table);
                if same {
                    changed.changed().await.map_err(|_| Problem::CellDied)?;
                }
            }
            entry = self.now(&entry)?;
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
        loop {
            let now = self.now(&entry)?;
            let same = now
                .live
                .as_ref()
                .and_then(|live| live.running.as_ref())
                .is_some_and(|now| Arc::ptr_eq(now, &running));
            if !same {
                return self.enter(&now).await;
            }
            if !running.cell.has_exited() {
                // Its process is there, but its socket takes nothing: nothing will change by waiting.
                return Err(Problem::CellDied);
            }
            changed.changed().await.map_err(|_| Problem::CellDied)?;
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
