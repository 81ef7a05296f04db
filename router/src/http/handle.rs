//! One request: routed, counted in, forwarded to the live version's cell, answered.

use std::rc::Rc;
use std::sync::Arc;

use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use switchyard_edge::fair::FairBody;
use switchyard_edge::forwarded::{self, Client};
use switchyard_edge::upload::Upload;
use switchyard_edge::upstream::BadAnswer;
use switchyard_edge::{routes, target};
use tokio::time::{Instant, timeout, timeout_at};

use super::Settings;
use super::body::Body;
use super::cors::Cors;
use super::lease::{CellLease, SiteLease};
use super::pool::{Pool, SendError};
use super::problem::{Audience, Problem};
use super::request_id::RequestIds;
use super::{site, tunnel};
use crate::drain::{InFlight, NOTICED_WITHIN};
use crate::live::{CellState, Command, Commands, Live, ProjectEntry, RunningCell};
use crate::slots::Slot;

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

impl Worker {
    pub(super) fn new(settings: Settings, live: Arc<Live>, commands: Commands, open: Arc<InFlight>) -> Self {
        let pool = Rc::new(Pool::new(settings.bounds.max_head));
        Self { settings, open, live, commands, pool, ids: RequestIds::new() }
    }

    /// Closes idle connections to cells. Runs until it is dropped.
    pub(super) async fn sweep(self: Rc<Self>) {
        self.pool.sweep().await;
    }

    pub(super) async fn handle(&self, mut request: Request<Incoming>, client: &Client) -> Response<Body> {
        let cors = self.settings.dev.then(|| Cors::of(&request)).flatten();
        let host = match target::canonical(&mut request, client.local()) {
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
        if let Some(Err(why)) =
            entry.verifier.as_ref().map(|verifier| verifier.check(request.method(), request.headers()))
        {
            return self.problem(Problem::Unauthorized(why), Some(&entry), request.headers(), cors);
        }
        let (limits, pause) = (&entry.limits, self.settings.bounds.body_timeout);
        let request = request.map(|body| Upload::new(body, limits.body, pause));
        let upload = request.body().progress().cloned();
        let left = || upload.as_ref().and_then(|upload| upload.time_left(limits.time));
        let accept = request.headers().get(http::header::ACCEPT).cloned();
        let forwarded = async {
            let slot = self.slot(&entry).await?;
            let forwarded = self.forward(request, client, host.authority(), &entry, prefix, slot);
            let answered = entry.debuggers.within(limits.time, left, forwarded).await;
            answered.unwrap_or(Err(Problem::Timeout))
        };
        match forwarded.await {
            Ok(mut response) => {
                if upload.as_ref().is_some_and(|upload| !upload.is_over()) {
                    // If the rest of the body is not wanted, the connection ends with the answer.
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                response
            }
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
        entry: Option<&ProjectEntry>,
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
    async fn slot(&self, entry: &ProjectEntry) -> Result<Slot, Problem> {
        if let Some(slot) = entry.slots.enter() {
            return Ok(slot);
        }
        let (queue, patience) = (entry.limits.queue, entry.limits.patience);
        Box::pin(entry.slots.wait(queue, patience)).await.ok_or(Problem::Overloaded)
    }

    async fn forward(
        &self,
        mut request: Request<Upload>,
        client: &Client,
        authority: &HeaderValue,
        entry: &Arc<ProjectEntry>,
        prefix: usize,
        slot: Slot,
    ) -> Result<Response<Body>, Problem> {
        let bad_path = Problem::BadRequest("the path is not understood");
        let prefix = request.uri().path().get(..prefix).ok_or(bad_path)?;
        let prefix = prefix[..entry.prefix.stripped(prefix)].to_owned();
        if !prefix.is_empty() || request.uri().authority().is_some() {
            *request.uri_mut() = routes::behind(request.uri(), &prefix).ok_or(bad_path)?;
        }
        let websocket = forwarded::wants_websocket(&request, !request.body().is_end_stream());
        let slot = match self.send_file(entry, &request, websocket, &prefix, slot).await? {
            Ok(response) => return Ok(response),
            Err(slot) => slot,
        };
        let upgrade = websocket.then(|| hyper::upgrade::on(&mut request));
        *request.version_mut() = Version::HTTP_11;
        forwarded::drop_hop_by_hop(request.headers_mut());
        forwarded::set_forwarded(request.headers_mut(), client, authority, &prefix);
        if entry.names_connecting_ip() {
            forwarded::set_connecting_ip(request.headers_mut());
        }
        self.ids.set(request.headers_mut());
        let mut lease = match self.enter(entry).await {
            Err(Problem::Restarting) if self.is_static(entry) => {
                let sent = self.send_file(&self.now(entry)?, &request, websocket, &prefix, slot).await?;
                return sent.map_err(|_| Problem::Restarting);
            }
            entered => entered?,
        };
        if let Some(client) = upgrade {
            return Box::pin(self.switch(request, client, lease, slot)).await;
        }
        for _ in 0..MAX_SENDS {
            let cell = &lease.running.cell;
            target::set_form(&mut request, cell.takes_urls());
            let awaited = cell.answers().awaited();
            let sent = self.pool.send(cell.id(), cell.socket(), request).await;
            match &sent {
                Ok(response) => awaited.answered(response.status()),
                Err(SendError::Failed(_)) => drop(awaited),
                Err(SendError::NotSent(_)) => awaited.not_sent(),
            }
            match sent {
                Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                    return Err(lease.answered_badly(BadAnswer::Switch));
                }
                Ok(mut response) => {
                    forwarded::drop_hop_by_hop(response.headers_mut());
                    lease.entry.requests.count(response.status());
                    lease.mark(response.headers_mut());
                    let lease = Some(lease);
                    return Ok(response.map(|exchange| Body::Proxied {
                        exchange: FairBody::new(exchange),
                        lease,
                        _slot: slot,
                    }));
                }
                Err(SendError::Failed(error)) => return Err(Box::pin(lease.blame(&error)).await),
                Err(SendError::NotSent(unsent)) => {
                    request = *unsent;
                    lease = Box::pin(self.enter_another(lease)).await?;
                }
            }
        }
        Err(Problem::CellDied)
    }

    async fn switch(
        &self,
        mut request: Request<Upload>,
        client: OnUpgrade,
        mut lease: CellLease,
        slot: Slot,
    ) -> Result<Response<Body>, Problem> {
        let open = self.open.enter().ok_or(Problem::CellDied)?;
        forwarded::set_upgrade(request.headers_mut());
        let mut sends = 0;
        let (mut response, head) = loop {
            sends += 1;
            let cell = &lease.running.cell;
            target::set_form(&mut request, cell.takes_urls());
            match tunnel::send(cell.socket(), self.settings.bounds.max_head, request).await {
                Ok(answered) => break answered,
                Err(SendError::Failed(error)) => return Err(lease.blame(&error).await),
                Err(SendError::NotSent(_)) if sends == MAX_SENDS => return Err(Problem::CellDied),
                Err(SendError::NotSent(unsent)) => {
                    request = *unsent;
                    lease = self.enter_another(lease).await?;
                }
            }
        };
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if switches && !forwarded::is_websocket(response.headers()) {
            return Err(lease.answered_badly(BadAnswer::Switch));
        }
        lease.entry.requests.count(response.status());
        forwarded::drop_hop_by_hop(response.headers_mut());
        lease.mark(response.headers_mut());
        if !switches {
            let refused = |body| Body::Refused { body: FairBody::new(body), _lease: lease, _slot: slot };
            return Ok(tunnel::refusal((response, head)).map(refused));
        }
        let response = tunnel::open(response, client, (lease, open));
        drop(slot);
        Ok(response)
    }

    /// Answers with a file of the live version, or gives the slot back when its code is to answer.
    async fn send_file(
        &self,
        entry: &Arc<ProjectEntry>,
        request: &Request<Upload>,
        websocket: bool,
        prefix: &str,
        slot: Slot,
    ) -> Result<Result<Response<Body>, Slot>, Problem> {
        let Some(lease) = self.enter_site(entry)? else { return Ok(Err(slot)) };
        let Some(reply) = site::choose(&lease.site, request, websocket) else { return Ok(Err(slot)) };
        let response = Box::pin(site::answer(reply, lease, request, prefix, slot)).await?;
        entry.requests.count(response.status());
        Ok(Ok(response))
    }

    /// The project has become a static site since the look at the table.
    fn is_static(&self, entry: &ProjectEntry) -> bool {
        let now = self.now(entry).ok();
        let live = now.as_ref().and_then(|now| now.live.as_ref());
        live.is_some_and(|live| matches!(live.process, CellState::NotNeeded))
    }

    /// A place among the answers with files of the project's live version. `None`: it has none.
    fn enter_site(&self, entry: &Arc<ProjectEntry>) -> Result<Option<SiteLease>, Problem> {
        let mut entry = entry.clone();
        for _ in 0..MAX_SENDS {
            match SiteLease::enter(&entry) {
                Some(lease) => return Ok(Some(lease)),
                None if entry.site().is_none() => return Ok(None),
                // It was replaced since the look at the table.
                None => entry = self.now(&entry)?,
            }
        }
        Err(Problem::Restarting)
    }

    /// A place in the cell of the project's live version, which is started if it is stopped.
    async fn enter(&self, entry: &Arc<ProjectEntry>) -> Result<CellLease, Problem> {
        match self.place(entry, None) {
            Some(place) => Ok(place),
            // The rare ways are kept out of every request's future.
            None => Box::pin(self.wait_to_enter(entry.clone())).await,
        }
    }

    /// A place in a cell of the live version that takes requests, and is not `but`.
    fn place(&self, entry: &Arc<ProjectEntry>, but: Option<&Arc<RunningCell>>) -> Option<CellLease> {
        let running = entry.serving()?.choose(but)?;
        let guard = running.in_flight.enter()?;
        running.touch();
        let version = entry.live.as_ref()?.header.clone();
        Some(CellLease { entry: entry.clone(), version, running: running.clone(), guard })
    }

    async fn wait_to_enter(&self, mut entry: Arc<ProjectEntry>) -> Result<CellLease, Problem> {
        let mut changed = self.live.subscribe();
        let (mut asked, mut restarted_by) = (false, None);
        loop {
            entry = self.now(&entry)?;
            let Some(live) = &entry.live else {
                return Err(if entry.failed.is_some() { Problem::NoGoodVersion } else { Problem::NotReady });
            };
            asked &= matches!(live.process, CellState::Idle);
            let news = match &live.process {
                CellState::Running(serving) => {
                    if let Some(place) = self.place(&entry, None) {
                        return Ok(place);
                    }
                    // Without a doubt it was replaced since the look at the table.
                    let doubt = serving.doubt(Instant::now().into_std()).unwrap_or_default();
                    timeout(doubt, changed.changed()).await.unwrap_or(Ok(()))
                }
                CellState::Idle => {
                    if !std::mem::replace(&mut asked, true) {
                        // The control flow is gone only when the router stops.
                        let _ = self.commands.send(Command::Wake(live.version.clone())).await;
                    }
                    changed.changed().await
                }
                CellState::Restarting => {
                    let patience = || Instant::now() + entry.limits.patience;
                    let by = *restarted_by.get_or_insert_with(patience);
                    timeout_at(by, changed.changed()).await.map_err(|_| Problem::Restarting)?
                }
                CellState::Stopped => return Err(Problem::Stopped),
                // See `is_static`.
                CellState::NotNeeded => return Err(Problem::Restarting),
            };
            news.map_err(|_| Problem::CellDied)?;
        }
    }

    /// The project as the table has it now.
    fn now(&self, entry: &ProjectEntry) -> Result<Arc<ProjectEntry>, Problem> {
        self.live.load().get(entry.project.as_str()).cloned().ok_or(Problem::UnknownProject)
    }

    /// A place in another cell than that of `lease`, which has ended without anybody having noticed yet.
    async fn enter_another(&self, lease: CellLease) -> Result<CellLease, Problem> {
        let (entry, running) = (lease.entry.clone(), lease.running.clone());
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
            let noticed = timeout_at(noticed_by, changed.changed()).await;
            // Its process is there, and its socket takes nothing all the same.
            let deaf = noticed.map_err(|_| lease.answered_badly(BadAnswer::NoConnection));
            deaf?.map_err(|_| Problem::CellDied)?;
        }
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
