//! Follows one router: its events as they come, all projects when they have to be asked for, and every
//! quarter of a second whether it takes requests.

use std::future::{Future, pending};
use std::hash::{BuildHasher as _, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use http::StatusCode;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::state::Asked;
use super::{CallError, Router, Shared};
use crate::admin::{Projects, Status};
use crate::event::Event;
use crate::server::sse::{Broken, Said};

/// A router that stops is noticed within this, unless a connection fails before.
const PROBE_EVERY: Duration = Duration::from_millis(250);
const PROBE_WITHIN: Duration = Duration::from_secs(1);

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

/// From 0 to 1. The keys of a new `RandomState` are as random as spreading out tries needs.
fn jitter() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

async fn probe(router: &Router) {
    let mut ticks = interval(PROBE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answer = router.probe(PROBE_WITHIN).await;
        router.probed(answer.is_ok(), answer.unwrap_or(false));
    }
}

/// One stream of events, and the questions that it brings up.
struct Session<'r> {
    router: &'r Router,
    shared: &'r Shared,
    id: String,
    wanted: Wanted,
    /// The question that is out. There is one at a time; what comes up meanwhile is `wanted`.
    question: Pin<Box<dyn Future<Output = Result<Answer, CallError>> + Send + 'r>>,
    asking: bool,
    pulled: bool,
    /// How many answers in a row did not know of an event that had been heard.
    behind: u32,
}

/// What is to be asked next.
#[derive(Debug)]
enum Wanted {
    Nothing,
    One(String),
    All,
}

enum Answer {
    /// `None` when there is no such project.
    One {
        status: Option<Box<Status>>,
        asked: Asked,
    },
    All {
        projects: Projects,
        asked: Asked,
        complete: bool,
    },
}

/// Why a router is not followed any longer.
#[derive(Debug, thiserror::Error)]
enum End {
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
            wanted: Wanted::All,
            question,
            asking: false,
            pulled: false,
            behind: 0,
        }
    }

    async fn run(&mut self) -> End {
        match self.follow().await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn follow(&mut self) -> Result<std::convert::Infallible, End> {
        let last = self.router.state().followed();
        let mut events = self.router.events(last).await?;
        self.id = timeout(GREETING, name(&mut events)).await.map_err(|_| End::Nameless)??;
        if self.router.change(|state| state.meet(&self.id)) {
            tracing::debug!(router = self.router.name(), id = self.id, "a router was met");
            self.router.restarted();
            self.shared.told(self.router);
        }
        let mut refresh = interval(REFRESH);
        refresh.reset();
        // The state is asked for when the events after it are sure to be heard.
        loop {
            self.ask();
            tokio::select! {
                said = events.next() => self.hear(said.ok_or(End::Ended)??)?,
                answer = &mut self.question, if self.asking => {
                    self.asking = false;
                    self.take(answer?)?;
                }
                () = self.router.ask_all.notified() => self.wanted = Wanted::All,
                _ = refresh.tick() => self.wanted = Wanted::All,
            }
        }
    }

    fn hear(&mut self, said: Said) -> Result<(), End> {
        let Said::Event(event) = said else { return Ok(()) };
        let event: Event = serde_json::from_str(&event.data).map_err(End::NoEvent)?;
        if event.data.router != self.id {
            return Err(End::Another);
        }
        self.router.state().follow(&event);
        self.shared.heard(self.router, &event);
        self.want(Wanted::One(event.data.project));
        Ok(())
    }

    fn want(&mut self, more: Wanted) {
        self.wanted = match (std::mem::replace(&mut self.wanted, Wanted::Nothing), more) {
            (Wanted::Nothing, wanted) | (wanted, Wanted::Nothing) => wanted,
            (Wanted::One(one), Wanted::One(other)) if one == other => Wanted::One(one),
            _ => Wanted::All,
        };
    }

    /// Sends the next question, if there is one and none is out.
    fn ask(&mut self) {
        if self.asking {
            return;
        }
        let (router, behind) = (self.router, self.behind);
        let asked = async move || {
            if behind > 0 {
                sleep(BEHIND_PAUSE).await;
            }
            Asked { at: router.state().now(), believed: behind == BEHIND_MAX }
        };
        self.question = match std::mem::replace(&mut self.wanted, Wanted::Nothing) {
            Wanted::Nothing => return,
            Wanted::One(project) => Box::pin(async move {
                let asked = asked().await;
                let status = match router.pull_one(&project).await {
                    Ok(status) => Some(Box::new(status)),
                    Err(CallError::Answered { status: StatusCode::NOT_FOUND, .. }) => None,
                    Err(error) => return Err(error),
                };
                Ok(Answer::One { status, asked })
            }),
            Wanted::All => Box::pin(async move {
                let asked = asked().await;
                let complete = router.has_read_all();
                Ok(Answer::All { projects: router.pull_all().await?, asked, complete })
            }),
        };
        self.asking = true;
    }

    fn take(&mut self, answer: Answer) -> Result<(), End> {
        let router = self.router;
        let changed = match answer {
            Answer::One { status: Some(status), asked } => {
                let behind = router.state().is_ahead_of(&status).then(|| Wanted::One(status.name.clone()));
                self.settle(behind, asked);
                router.change(|state| state.one(*status, asked))
            }
            // Which event it went with is told by all or by none.
            Answer::One { status: None, .. } => {
                self.want(Wanted::All);
                false
            }
            Answer::All { projects, .. } if projects.router != self.id => return Err(End::Another),
            Answer::All { projects: Projects { projects, installs, .. }, asked, complete } => {
                self.pulled = true;
                router.says_installs(installs);
                let behind = {
                    let state = router.state();
                    projects.iter().any(|status| state.is_ahead_of(status)).then_some(Wanted::All)
                };
                self.settle(behind, asked);
                router.change(|state| state.all_told(projects, asked, complete))
            }
        };
        if changed {
            self.shared.told(router);
        }
        Ok(())
    }

    /// Has what is `behind` asked for again, unless it was for the last time.
    fn settle(&mut self, behind: Option<Wanted>, asked: Asked) {
        match behind {
            Some(wanted) if !asked.believed => {
                self.behind += 1;
                self.want(wanted);
            }
            _ => self.behind = 0,
        }
    }
}

/// Which router it is, from the first comment.
async fn name(said: &mut (impl Stream<Item = Result<Said, Broken>> + Unpin)) -> Result<String, End> {
    match said.next().await.ok_or(End::Ended)?? {
        Said::Comment(text) => text.strip_prefix("router ").map(str::to_owned).ok_or(End::Nameless),
        Said::Event(_) => Err(End::Nameless),
    }
}
