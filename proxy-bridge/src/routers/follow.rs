//! Follows one router: its events as they come, the projects that have changed when they have to be
//! asked for, and every quarter of a second whether it takes requests.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::state::{PullQuery, StateChange};
use super::{CallError, Presence, Router, Shared};
use switchyard_contract::admin::Projects;
use switchyard_contract::event::Event;
use switchyard_contract::jitter::jitter;
use switchyard_edge::sse::{Broken, Said};

/// A router that stops is noticed within this, unless a connection fails before.
const PROBE_EVERY: Duration = Duration::from_millis(250);
const READY_WITHIN: Duration = Duration::from_secs(1);

/// A router that does not answer within this is away: no deploy waits for it. What is asked is
/// answered from memory, within milliseconds where the machine is idle; twice the time that a probe
/// of an orchestrator usually gives leaves room for one that is busy. A router that is taken for
/// away by mistake catches up by itself.
const SILENT_FOR: Duration = Duration::from_secs(2);

/// How long a router that just took a connection may take to say who it is.
const GREETING: Duration = Duration::from_secs(5);

/// Between two tries to follow: short enough for a router that is started again, at most as long as
/// nobody minds when it comes back. It doubles with each failure; jitter takes off up to a half.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What no event tells of (a build has begun, a folder is misnamed, a cell went idle) is known this soon.
const REFRESH: Duration = Duration::from_secs(10);

/// A router tells of an event some milliseconds before its answers do: it writes to its disk in between. What
/// is still behind after a second will not come.
const BEHIND_PAUSE: Duration = Duration::from_millis(50);
const BEHIND_MAX: u32 = 20;

/// Follows `router` until it is dropped.
pub(super) async fn follow(router: Arc<Router>, shared: Arc<Shared>) {
    let probes = probe(&router);
    let following = async {
        let mut pause = FIRST_PAUSE;
        loop {
            let mut session = Session::new(&router, &shared);
            let why = session.run().await;
            if session.pulled {
                pause = FIRST_PAUSE;
            }
            tracing::debug!(router = router.name(), "{} is not followed: {why}", router.name());
            sleep(pause.mul_f64(1.0 - jitter() / 2.0)).await;
            pause = LONGEST_PAUSE.min(pause * 2);
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
        if matches!(answer, Err(CallError::Unreachable(_))) {
            // It may have been a kept connection only that ended.
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
    /// There may be something to ask for.
    wanted: bool,
    /// The question that is out. There is one at a time; what comes up meanwhile is `wanted`.
    question: Pin<Box<dyn Future<Output = Result<PullAnswer, CallError>> + Send + 'r>>,
    asking: bool,
    pulled: bool,
    /// How many answers in a row did not know of an event that had been heard.
    behind: u32,
}

struct PullAnswer {
    projects: Projects,
    asked: PullQuery,
    /// The router had read all projects when it was asked.
    complete: bool,
}

/// Why a router is not followed any longer.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Broken(#[from] Broken),
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
        let last = self.router.state().followed();
        let mut events = self.router.events(last).await?;
        self.id = timeout(GREETING, name(&mut events)).await.map_err(|_| FollowError::Nameless)??;
        if let Some(projects) = self.router.change(|state| state.meet(&self.id)) {
            tracing::debug!(router = self.router.name(), id = self.id, "a router was met");
            self.router.restarted();
            self.shared.told(StateChange { projects, ..StateChange::default() });
        }
        let mut refresh = interval(REFRESH);
        refresh.reset();
        // The state is asked for when the events after it are sure to be heard.
        loop {
            self.ask();
            tokio::select! {
                said = events.next() => self.hear(said.ok_or(FollowError::Ended)??)?,
                answer = &mut self.question, if self.asking => {
                    self.asking = false;
                    self.take(answer?)?;
                }
                () = self.router.ask_all.notified() => self.wanted = true,
                _ = refresh.tick() => self.wanted = true,
            }
        }
    }

    fn hear(&mut self, said: Said) -> Result<(), FollowError> {
        let Said::Event(event) = said else { return Ok(()) };
        let event: Event = serde_json::from_str(&event.data).map_err(FollowError::NoEvent)?;
        if event.data.router != self.id {
            return Err(FollowError::Another);
        }
        self.router.state().follow(&event);
        self.shared.heard(self.router, &event);
        self.wanted = true;
        Ok(())
    }

    /// Asks for what has changed, if there may be something and no question is out.
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
        self.shared.told(changed);
        Ok(())
    }
}

/// Which router it is, from the first comment.
async fn name(said: &mut (impl Stream<Item = Result<Said, Broken>> + Unpin)) -> Result<String, FollowError> {
    match said.next().await.ok_or(FollowError::Ended)?? {
        Said::Comment(text) => text.strip_prefix("router ").map(str::to_owned).ok_or(FollowError::Nameless),
        Said::Event(_) => Err(FollowError::Nameless),
    }
}
