//! The task that follows one router: its events as they come, its changed projects when there may
//! be some, and its readiness every quarter of a second.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures_util::{Stream, StreamExt as _};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::state::{PullQuery, StateChange};
use super::{CallError, Presence, Router, Shared};
use switchyard_contract::admin::{Projects, STATUSES_CHANGED};
use switchyard_contract::event::Event;
use switchyard_edge::sse::{SseError, SseItem};

/// A router that stops is noticed within this, unless a connection fails before.
const PROBE_EVERY: Duration = Duration::from_millis(250);
const READY_WITHIN: Duration = Duration::from_secs(1);

/// Time without an answer after which a router is away: no deploy waits for it. Probes are answered
/// from memory, within milliseconds on an idle machine; twice the usual time limit of an
/// orchestrator's probe leaves room for a busy one. A router that is taken for away by mistake
/// catches up automatically.
const SILENT_FOR: Duration = Duration::from_secs(2);

/// Time within which a router that accepted a connection must send its id.
const GREETING: Duration = Duration::from_secs(5);

/// Delays between attempts to follow a router: 100 ms, which is short for one that restarts,
/// doubled with each failure up to 2 s, which goes unnoticed when it comes back. Jitter takes off
/// up to a half; backon adds it, so halves are set here.
const RECONNECT: ExponentialBuilder = ExponentialBuilder::new()
    .with_factor(2.0)
    .with_min_delay(Duration::from_millis(50))
    .with_max_delay(Duration::from_secs(1))
    .without_max_times()
    .with_jitter();

/// Interval at which all changes are requested that the stream does not report: a build has begun, a
/// folder is misnamed, a cell went idle.
const REFRESH: Duration = Duration::from_secs(10);

/// Pause before a request is repeated because its answer did not include an event yet. A router
/// sends an event some milliseconds before its answers show it, because it writes to its disk in
/// between. An answer that is still behind after a second stays so.
const BEHIND_PAUSE: Duration = Duration::from_millis(50);
const BEHIND_MAX: u32 = 20;

/// Follows `router` until it is dropped.
pub(super) async fn follow(router: Arc<Router>, shared: Arc<Shared>) {
    let probes = probe(&router);
    let following = async {
        let mut pauses = RECONNECT.build();
        loop {
            let mut session = Session::new(&router, &shared);
            let why = session.run().await;
            if session.pulled {
                pauses = RECONNECT.build();
            }
            tracing::debug!(router = router.name(), "{} is not followed: {why}", router.name());
            // Without a limit on attempts there is always another pause.
            sleep(pauses.next().unwrap_or_default()).await;
        }
    };
    tokio::join!(probes, following);
}

async fn probe(router: &Router) {
    let mut ticks = interval(PROBE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut answer = ask_whether_ready(router).await;
        if matches!(answer, Err(CallError::NotConnected(_) | CallError::Unreachable(_))) {
            // Only a kept connection may have ended.
            answer = ask_whether_ready(router).await;
        }
        match answer {
            Ok(true) => router.probed(Presence::Ready, true, ""),
            Ok(false) => router.probed(Presence::NotReady, false, ""),
            Err(error) => router.probed(Presence::Away, false, &error.to_string()),
        }
    }
}

/// While the answer is late, the router gets no requests.
async fn ask_whether_ready(router: &Router) -> Result<bool, CallError> {
    let probe = router.probe(SILENT_FOR);
    tokio::pin!(probe);
    match timeout(READY_WITHIN, &mut probe).await {
        Ok(answer) => answer,
        Err(_) => {
            router.probed(router.presence(), false, &router.why_away());
            probe.await
        }
    }
}

/// One stream of events, and the questions that it brings up.
struct Session<'r> {
    router: &'r Router,
    shared: &'r Shared,
    id: String,
    /// `true`: changes may be pending that have to be requested.
    wanted: bool,
    /// The request in progress. Only one runs at a time; needs that arise meanwhile set `wanted`.
    question: Pin<Box<dyn Future<Output = Result<PullAnswer, CallError>> + Send + 'r>>,
    asking: bool,
    pulled: bool,
    /// Number of answers in a row that did not know an event that was received before.
    behind: u32,
}

struct PullAnswer {
    projects: Projects,
    asked: PullQuery,
    /// The router had read all projects at the time of the request.
    complete: bool,
}

/// The reason why a router is no longer followed.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Stream(#[from] SseError),
    #[error("it ended the stream of events")]
    Ended,
    #[error("it did not say which router it is")]
    Nameless,
    #[error("another router answers at its address")]
    Another,
    #[error("an event is not understood: {0}")]
    NoEvent(serde_json::Error),
}

impl<'r> Session<'r> {
    fn new(router: &'r Router, shared: &'r Shared) -> Self {
        let question = Box::pin(pending());
        Self {
            router,
            shared,
            id: String::new(),
            wanted: true,
            question,
            asking: false,
            pulled: false,
            behind: 0,
        }
    }

    async fn run(&mut self) -> FollowError {
        match self.follow().await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn follow(&mut self) -> Result<std::convert::Infallible, FollowError> {
        // From the router's first event on, if none was received: it may have started before.
        let last = self.router.state().followed().unwrap_or_default();
        let mut events = self.router.events(last).await?;
        self.id = timeout(GREETING, name(&mut events)).await.map_err(|_| FollowError::Nameless)??;
        if let Some(projects) = self.router.change(|state| state.meet(&self.id)) {
            if last > 0 {
                // The number was of the router before.
                events = self.router.events(0).await?;
                let id = timeout(GREETING, name(&mut events)).await.map_err(|_| FollowError::Nameless)??;
                if id != self.id {
                    return Err(FollowError::Another);
                }
            }
            tracing::debug!(router = self.router.name(), id = self.id, "identified a router");
            self.router.restarted();
            self.shared.apply(StateChange { projects, ..StateChange::default() });
        }
        let mut refresh = interval(REFRESH);
        refresh.reset();
        // The state is requested once all later events are certain to be received.
        loop {
            self.ask();
            tokio::select! {
                item = events.next() => self.receive(item.ok_or(FollowError::Ended)??)?,
                answer = &mut self.question, if self.asking => {
                    self.asking = false;
                    self.take(answer?)?;
                }
                () = self.router.ask_all.notified() => self.wanted = true,
                _ = refresh.tick() => self.wanted = true,
            }
        }
    }

    fn receive(&mut self, item: SseItem) -> Result<(), FollowError> {
        let event = match item {
            SseItem::Event(event) => event,
            SseItem::Comment(text) => {
                self.wanted |= text == STATUSES_CHANGED;
                return Ok(());
            }
        };
        let event: Event = serde_json::from_str(&event.data).map_err(FollowError::NoEvent)?;
        if event.data.router != self.id {
            return Err(FollowError::Another);
        }
        self.router.state().follow(&event);
        if self.router.state().is_pulled() {
            self.shared.apply_event(self.router, &event);
        } else {
            // One from before: the first answer has the state that came of it.
            self.shared.common.changes.event(&event);
        }
        self.wanted = true;
        Ok(())
    }

    /// Requests changes, if some may be pending and no request is in progress.
    fn ask(&mut self) {
        if self.asking || !std::mem::take(&mut self.wanted) {
            return;
        }
        let (router, behind) = (self.router, self.behind);
        self.question = Box::pin(async move {
            if behind > 0 {
                sleep(BEHIND_PAUSE).await;
            }
            let complete = router.has_read_all();
            let (asked, since) = {
                let state = router.state();
                let asked = PullQuery { at: state.now(), believed: behind == BEHIND_MAX };
                (asked, state.since().filter(|_| !asked.believed))
            };
            let projects = router.pull(since).await?;
            Ok(PullAnswer { projects, asked, complete })
        });
        self.asking = true;
    }

    fn take(&mut self, answer: PullAnswer) -> Result<(), FollowError> {
        let PullAnswer { projects, asked, complete } = answer;
        if projects.router != self.id {
            return Err(FollowError::Another);
        }
        self.pulled = true;
        self.router.set_installs(projects.installs);
        let changed = self.router.change(|state| state.answer(projects, asked, complete));
        self.wanted |= changed.behind;
        self.behind = if changed.behind { self.behind + 1 } else { 0 };
        self.shared.apply(changed);
        Ok(())
    }
}

/// Returns the router's id, which is in the first comment.
async fn name(
    item: &mut (impl Stream<Item = Result<SseItem, SseError>> + Unpin),
) -> Result<String, FollowError> {
    match item.next().await.ok_or(FollowError::Ended)?? {
        SseItem::Comment(text) => {
            text.strip_prefix("router ").map(str::to_owned).ok_or(FollowError::Nameless)
        }
        SseItem::Event(_) => Err(FollowError::Nameless),
    }
}
