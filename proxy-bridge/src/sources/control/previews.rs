//! The previews of a source: for each branch that its settings name, a source with a task of its own.
//! A keeper for each source asks which branches there are, starts the previews of new ones, and ends
//! those of branches that are gone, too old, or too many.

mod borrowed;
mod choice;
mod end;
mod running;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::sleep;

use self::choice::{Candidate, named, newest};
pub(super) use self::end::remove;
use self::running::State;
use super::command::Command;
use super::store::Applied;
use super::{Running, Sources, lock};
use crate::git::{GitError, Mirror, ObjectId, Resolved};
use crate::hooks::Push;
use crate::sources::settings::{Previews, SourceSettings};
use switchyard_contract::source::SourceStatus;

/// Pushes that wait for one keeper. Those beyond are dropped: the next poll finds their branches.
const MAX_HINTS: usize = 256;

/// The most branches that are looked at: the time of each commit is known only after its fetch.
const MAX_BRANCHES: usize = 1000;

/// The times between the attempts to see the branch of a push, as a source's are for its commit.
const DELAYS: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_millis(800), Duration::from_secs(4), Duration::from_secs(10)];

/// The keeper of a source's previews. Dropped, it ends, and its previews stay as they are.
pub(super) struct Keeper {
    hints: mpsc::Sender<Hint>,
    task: JoinHandle<()>,
}

/// A push of a branch that could have a preview.
struct Hint {
    branch: String,
    is_gone: bool,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Keeper {
    fn start(sources: Sources, running: &Running) -> Self {
        let (hints, received) = mpsc::channel(MAX_HINTS);
        let task = KeeperTask {
            sources,
            name: running.settings.name.to_string(),
            status: running.status.clone(),
            applied: running.applied.clone(),
            hints: received,
            expected: BTreeMap::new(),
            tries: 0,
            ending: JoinSet::new(),
            told: BTreeSet::new(),
            polled: None,
            beside: Beside::default(),
        };
        Self { hints, task: tokio::spawn(task.run()) }
    }

    /// Tells of a push to the source's repository. Returns the preview that it is about, with its new
    /// commit.
    pub(super) fn hint(&self, settings: &SourceSettings, push: &Push) -> Option<(String, Option<ObjectId>)> {
        let branch = push.ref_name.as_deref()?.strip_prefix("refs/heads/")?;
        let preview = settings.has_preview(branch).then(|| settings.preview(branch))??;
        let after = push.after.as_ref().filter(|_| !push.deleted).and_then(|after| after.parse().ok());
        // Without room many questions come, of which one shows this branch too.
        let _ = self.hints.try_send(Hint { branch: branch.to_owned(), is_gone: push.deleted });
        Some((preview.name.to_string(), after))
    }
}

/// The state of a source that its previews depend on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Beside {
    commit: Option<ObjectId>,
    shared: BTreeMap<String, ObjectId>,
}

struct KeeperTask {
    sources: Sources,
    name: String,
    status: watch::Receiver<SourceStatus>,
    applied: Arc<Mutex<Applied>>,
    hints: mpsc::Receiver<Hint>,
    /// Branches that a push has named, and whether they should be gone.
    expected: BTreeMap<String, bool>,
    tries: usize,
    /// The previews that are being removed, by their names.
    ending: JoinSet<String>,
    told: BTreeSet<String>,
    /// The next poll of the source, as it was when it was last looked at.
    polled: Option<Timestamp>,
    beside: Beside,
}

impl KeeperTask {
    /// Runs until it is aborted, or the source is no longer followed.
    async fn run(mut self) {
        loop {
            let Some(settings) = self.sources.settings(&self.name) else { return };
            let again = self.round(&settings).await;
            if !self.wait(again).await {
                return;
            }
        }
    }

    /// Waits for a reason to look again: the source was polled, a push, the end of a preview, or the
    /// time is over. Returns false if the source is no longer followed.
    async fn wait(&mut self, again: Option<Duration>) -> bool {
        let later = async {
            match again {
                Some(delay) => sleep(delay).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(later);
        loop {
            tokio::select! {
                changed = self.status.changed() => {
                    let poll = self.status.borrow_and_update().next_poll;
                    if changed.is_err() {
                        return false;
                    }
                    if poll.is_some() && poll != self.polled {
                        self.polled = poll;
                        return true;
                    }
                }
                hint = self.hints.recv() => {
                    let Some(hint) = hint else { return false };
                    self.expected.insert(hint.branch, hint.is_gone);
                    while let Ok(hint) = self.hints.try_recv() {
                        self.expected.insert(hint.branch, hint.is_gone);
                    }
                    self.tries = 0;
                    return true;
                }
                Some(ended) = self.ending.join_next() => {
                    // It fails only by a panic, which is logged.
                    if let Ok(name) = ended {
                        self.sources.forget(&name);
                    }
                    return true;
                }
                () = &mut later => return true,
            }
        }
    }

    /// Compares the branches with the previews. Returns the time after which to look again, where the
    /// server does not show yet what a push has named.
    async fn round(&mut self, settings: &SourceSettings) -> Option<Duration> {
        let wanted = match &settings.previews {
            None => Vec::new(),
            // Shared entries are on the volume with the source's own commit.
            Some(_) if self.status.borrow().applied.is_none() => return None,
            Some(previews) => match self.find(settings, previews).await {
                Ok(wanted) => wanted,
                Err(error) => {
                    self.tell(vec![format!("the branches cannot be listed, so previews stay: {error}")]);
                    return None;
                }
            },
        };
        self.arrange(settings, wanted).await;
        self.compare_beside();
        if self.expected.is_empty() {
            return None;
        }
        let delay = DELAYS.get(self.tries).copied();
        self.tries += 1;
        if delay.is_none() {
            self.expected.clear();
        }
        delay
    }

    /// Asks the server for the branches, and returns those that are to have previews.
    async fn find(
        &mut self,
        settings: &SourceSettings,
        previews: &Previews,
    ) -> Result<Vec<Candidate>, GitError> {
        let sources = self.sources.clone();
        let context = &sources.0.context;
        let _permit = context.gits.acquire().await;
        let mirror = context.mirrors.open(settings).await?;
        let beginnings: Vec<_> = previews.branches.iter().map(|pattern| pattern.beginning()).collect();
        let heads = mirror.branches(&beginnings).await?;
        self.expected.retain(|branch, is_gone| heads.contains_key(branch) == *is_gone);
        let states = sources.previews_of(&self.name);
        let running = states.into_iter().map(|(name, state)| (name, state.branch)).collect();
        let mut found = named(settings, heads, &running);
        if found.candidates.len() > MAX_BRANCHES {
            let text = format!("more than {MAX_BRANCHES} branches match previews.branches: narrow them");
            found.refused.push(text);
            found.candidates.truncate(MAX_BRANCHES);
        }
        self.tell(found.refused);
        let times = self.times(&mirror, &found.candidates, &running).await?;
        let chosen = newest(found.candidates.clone(), &times, previews, Timestamp::now().as_second());
        // Of branches without a preview only the time is of use.
        for candidate in found.candidates.iter().filter(|one| !chosen.contains(one)) {
            if !running.contains_key(candidate.name()) {
                mirror.retain(candidate.name(), &[]).await?;
            }
        }
        Ok(chosen)
    }

    /// Returns the times of the newest commits in seconds since 1970. Those that are new are fetched.
    async fn times(
        &self,
        mirror: &Mirror,
        candidates: &[Candidate],
        running: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<ObjectId, i64>, GitError> {
        let mut times = lock(&self.applied).branches.clone();
        times.retain(|commit, _| candidates.iter().any(|one| one.commit == *commit));
        for Candidate { branch, commit, settings } in candidates {
            if times.contains_key(commit) {
                continue;
            }
            let now = Timestamp::now().as_second();
            let name = settings.name.as_str();
            let resolved = Resolved { commit: commit.clone(), name: Some(format!("refs/heads/{branch}")) };
            match committed_at(mirror, name, &resolved).await {
                // A commit of the future would be the newest for ever.
                Ok(at) => drop(times.insert(commit.clone(), at.min(now))),
                Err(
                    error @ (GitError::RefGone { .. }
                    | GitError::Moved { .. }
                    | GitError::Refused(_)
                    | GitError::Missing(_)),
                ) => {
                    tracing::debug!(source = name, "the branch {branch} is left for the next poll: {error}");
                    if running.contains_key(name) {
                        times.insert(commit.clone(), now);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        // Written with the source's state after its next sync.
        lock(&self.applied).branches.clone_from(&times);
        Ok(times)
    }

    /// Starts the previews that are missing, ends the surplus ones, and tells the others of commits.
    async fn arrange(&mut self, settings: &SourceSettings, wanted: Vec<Candidate>) {
        let states = self.sources.previews_of(&self.name);
        let is_wanted = |name: &String, state: &State| {
            wanted.iter().any(|one| one.name() == name && one.branch == state.branch)
        };
        for (name, state) in &states {
            if is_wanted(name, state) {
                if let Some(preview) = settings.preview(&state.branch) {
                    self.sources.configure_preview(preview);
                }
            } else if !state.is_ending {
                self.end(name);
            }
        }
        for Candidate { branch, commit, settings } in wanted {
            let name = settings.name.to_string();
            match states.get(&name) {
                None => self.start(settings).await,
                Some(state) if state.is_ending || state.branch != branch => {}
                Some(state) if state.seen.as_deref() == Some(commit.as_str()) => {}
                // A full queue has commands in it that ask the server.
                Some(_) => drop(self.sources.send(&name, Command::Hint { after: Some(commit) })),
            }
        }
    }

    async fn start(&self, settings: SourceSettings) {
        let (sources, name) = (self.sources.clone(), settings.name.to_string());
        let started = spawn_blocking(move || sources.start_preview(settings)).await;
        match started {
            Ok(Ok(())) => tracing::info!(
                event = "source.preview-started",
                source = name,
                "source {}: its preview {name} has begun",
                self.name
            ),
            Ok(Err(error)) => tracing::error!(source = name, "the preview cannot begin: {error}"),
            // A panic is logged.
            Err(_) => {}
        }
    }

    fn end(&mut self, name: &str) {
        let Some(done) = self.sources.end_preview(name) else { return };
        let name = name.to_owned();
        self.ending.spawn(async move {
            // An error: the preview has ended otherwise.
            let _ = done.await;
            name
        });
    }

    /// Has previews read their commits again, when what they include may be another.
    fn compare_beside(&mut self) {
        let beside = {
            let applied = lock(&self.applied);
            Beside { commit: applied.saved.applied.clone(), shared: applied.shared.clone() }
        };
        let before = std::mem::replace(&mut self.beside, beside);
        if before.commit.is_none() || before == self.beside {
            return;
        }
        let is_shared = before.shared != self.beside.shared;
        for (name, state) in self.sources.previews_of(&self.name) {
            if is_shared || state.has_problem {
                self.sources.restore(&name, Vec::new());
            }
        }
    }

    /// Logs what is new of these.
    fn tell(&mut self, reasons: Vec<String>) {
        let reasons: BTreeSet<_> = reasons.into_iter().collect();
        for reason in reasons.difference(&self.told) {
            tracing::warn!(source = self.name, "source {}: {reason}", self.name);
        }
        self.told = reasons;
    }
}

async fn committed_at(mirror: &Mirror, name: &str, resolved: &Resolved) -> Result<i64, GitError> {
    mirror.fetch(name, resolved).await?;
    mirror.committed_at(name, &resolved.commit).await
}
