//! The display while `dev` runs: events and output of the projects, and the keys. It is a client of
//! the router's admin listener, in a thread of its own.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Method;
use http::header::ACCEPT;
use jiff::Timestamp;
use switchyard_contract::admin::{ReloadOutcome, Reports};
use switchyard_contract::event::{Event, EventType};
use switchyard_contract::overview::RouterLogLine;
use switchyard_contract::project::ProjectName;
use switchyard_contract::route::label;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::browser;
use super::folder::DevFolder;
use super::keys::{KeyReader, Keys};
use super::projects::{ProjectChanges, ProjectWatch, set_override};
use super::screen::Screen;
use crate::client::{Bridge, CallError, Flow};
use crate::stop::StopSignals;

/// Pause before a stream that ended is opened again.
const AGAIN: Duration = Duration::from_millis(500);

/// Time in which the page is looked for at the start.
const FIND_PAGE: Duration = Duration::from_secs(2);

/// Messages that wait to be shown. Their senders wait when it is full.
const QUEUE: usize = 256;

/// Projects whose output is followed: each needs a stream of the admin listener.
const MAX_FOLLOWED: usize = 150;

/// The listeners' addresses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Links {
    pub(super) public: SocketAddr,
    pub(super) api: SocketAddr,
    pub(super) admin: SocketAddr,
}

/// The display before it starts.
pub(super) struct Session {
    folder: Arc<DevFolder>,
    links: Links,
    screen: Screen,
    keys: Option<Keys>,
    /// The begin of the session: lines from before are of an earlier one.
    began: Timestamp,
}

/// Something to show.
enum Message {
    Event(Box<Event>),
    Line(ProjectName, Box<RouterLogLine>),
    Note(String),
}

impl Session {
    pub(super) fn new(folder: DevFolder, links: Links, screen: Screen, keys: Option<Keys>) -> Self {
        Self { folder: Arc::new(folder), links, screen, keys, began: Timestamp::now() }
    }

    /// Starts the thread, which ends with the first signal.
    ///
    /// # Errors
    /// There are no resources for it.
    pub(super) fn start(self, signals: StopSignals) -> Result<JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = |address| Bridge::at(address).context("create an HTTP client");
        let (admin, api) = (Arc::new(client(self.links.admin)?), client(self.links.api)?);
        let run = move || {
            runtime.block_on(self.run(&admin, &api, &signals));
            // Not awaited: a listing of a folder may hang.
            runtime.shutdown_background();
        };
        Ok(std::thread::Builder::new().name("display".to_owned()).spawn(run)?)
    }

    async fn run(self, admin: &Arc<Bridge>, api: &Bridge, signals: &StopSignals) {
        let stop = signals.nth(1);
        tokio::pin!(stop);
        let page = tokio::select! {
            page = find_page(api) => page,
            _ = &mut stop => return,
        };
        let keys = match self.keys.map(Keys::reader).transpose() {
            Ok(keys) => keys,
            Err(error) => {
                self.screen.note(&format!("keys are not read: {error}"));
                None
            }
        };
        let (sender, messages) = mpsc::channel(QUEUE);
        let known = self.folder.projects();
        let mut display = Display {
            page: page.then(|| format!("http://{}/ui/", self.links.api)),
            watch: ProjectWatch::new(self.folder.clone(), known.clone()),
            folder: self.folder,
            links: self.links,
            screen: self.screen,
            keys,
            admin: admin.clone(),
            signals: signals.clone(),
            began: self.began,
            has_limit_note: false,
            tasks: JoinSet::new(),
            logs: JoinSet::new(),
            sender,
        };
        display.screen.fit(known.keys().map(ProjectName::as_str));
        display.banner(known.len());
        display.tasks.spawn(follow_events(admin.clone(), display.sender.clone()));
        tokio::select! {
            () = display.show(messages) => {}
            _ = &mut stop => display.screen.note("stopping"),
        }
    }
}

struct Display {
    folder: Arc<DevFolder>,
    links: Links,
    /// The URL of the page, if this program has one.
    page: Option<String>,
    watch: ProjectWatch,
    screen: Screen,
    keys: Option<KeyReader>,
    admin: Arc<Bridge>,
    signals: StopSignals,
    began: Timestamp,
    /// `true`: it was said that further projects are not followed.
    has_limit_note: bool,
    /// Requests to the router, and the stream of events.
    tasks: JoinSet<()>,
    /// Streams of output.
    logs: JoinSet<()>,
    sender: mpsc::Sender<Message>,
}

impl Display {
    async fn show(&mut self, mut messages: mpsc::Receiver<Message>) {
        let mut followed = BTreeSet::new();
        loop {
            let key = async {
                match &mut self.keys {
                    Some(keys) => keys.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = messages.recv() => match message {
                    Some(Message::Event(event)) => {
                        let project = ProjectName::parse(&event.data.project).ok();
                        if let Some(project) = &project
                            && followed.len() < MAX_FOLLOWED
                            && followed.insert(project.clone())
                        {
                            let following =
                                follow_log(self.admin.clone(), project.clone(), self.began, self.sender.clone());
                            self.logs.spawn(following);
                        }
                        if followed.len() == MAX_FOLLOWED && !self.has_limit_note {
                            self.has_limit_note = true;
                            let text = "the output of no more projects is shown: switchyard logs PROJECT has it";
                            self.screen.note(text);
                        }
                        self.event(&event);
                    }
                    Some(Message::Line(project, line)) => self.screen.log(project.as_str(), &line),
                    Some(Message::Note(text)) => self.screen.note(&text),
                    None => return,
                },
                changes = self.watch.next() => self.change(changes),
                key = key => match key {
                    Some(key) => self.key(key),
                    // The terminal is gone.
                    None => return self.signals.send("the end of the terminal"),
                },
                Some(_) = self.tasks.join_next() => {}
                Some(_) = self.logs.join_next() => {}
            }
        }
    }

    fn banner(&self, count: usize) {
        let Links { public, api, .. } = self.links;
        let title = match self.folder.one() {
            Some(name) => format!("{} as {name}", self.folder.path().display()),
            None if count == 1 => format!("{}: 1 project", self.folder.path().display()),
            None => format!("{}: {count} projects", self.folder.path().display()),
        };
        let projects =
            self.folder.one().map_or_else(|| format!("http://{public}/"), |name| self.link(name.as_str()));
        let page = self.page.iter().map(|page| ("Page", page.clone()));
        let links: Vec<_> = [("Projects", projects)]
            .into_iter()
            .chain(page)
            .chain([("API", format!("http://{api}/")), ("Log", self.folder.log().display().to_string())])
            .collect();
        let keys = if self.keys.is_some() { "o open   l logs   r reload   q quit" } else { "" };
        self.screen.banner(&title, &links, keys);
    }

    /// The link to a project: by its host name, so that absolute paths in its pages work.
    fn link(&self, name: &str) -> String {
        let public = self.links.public;
        let host = ProjectName::parse(name).ok().map(|name| format!("{}.localhost", name.label()));
        match host.filter(|host| public.ip().is_loopback() && label::of(host).is_some()) {
            Some(host) => format!("http://{host}:{}/", public.port()),
            None => format!("http://{public}/{name}/"),
        }
    }

    fn event(&mut self, event: &Event) {
        let name = event.data.project.as_str();
        // A folder that was removed fails to be read before its project is removed.
        let is_there = self.folder.one().is_some() || self.folder.path().join(name).exists();
        let is_failure = event.kind == EventType::ReloadFailed;
        if is_failure && event.data.digest.is_none() && !is_there {
            return;
        }
        self.screen.fit([name]);
        let link = self.link(name);
        self.screen.event(event, &link);
    }

    fn change(&mut self, changes: ProjectChanges) {
        for name in &changes.misnamed {
            self.screen.misnamed(name);
        }
        let added = changes.added.into_iter().map(|(name, path)| (name, Some(path)));
        for (name, path) in added.chain(changes.removed.into_iter().map(|name| (name, None))) {
            self.tasks.spawn(change_project(self.admin.clone(), name, path, self.sender.clone()));
        }
    }

    fn key(&mut self, key: char) {
        match key.to_ascii_lowercase() {
            'q' => self.signals.send("the key q"),
            'l' => self.screen.toggle_logs(),
            'r' => _ = self.tasks.spawn(reload(self.admin.clone(), self.sender.clone())),
            'o' => {
                let own = self.folder.one().map(|name| self.link(name.as_str()));
                let url = own
                    .or_else(|| self.page.clone())
                    .unwrap_or_else(|| format!("http://{}/", self.links.public));
                self.screen.note(&format!("opening {url}"));
                let sender = self.sender.clone();
                self.tasks.spawn(async move {
                    if let Err(error) = browser::open(&url).await {
                        let _ = sender.send(Message::Note(format!("{error}; open the link yourself"))).await;
                    }
                });
            }
            '\n' | '\r' => self.screen.note(""),
            _ => self.screen.note("keys: o open   l logs   r reload   q quit"),
        }
    }
}

/// Returns true if the bridge serves a page for people.
async fn find_page(api: &Bridge) -> bool {
    let found = timeout(FIND_PAGE, async {
        loop {
            match api.get(&["ui", ""]).await {
                Ok(answer) => return answer.status.is_success(),
                // It begins to listen just now.
                Err(_) => sleep(AGAIN / 10).await,
            }
        }
    });
    found.await.unwrap_or(false)
}

/// Sends all events from the router's first one on.
async fn follow_events(admin: Arc<Bridge>, to: mpsc::Sender<Message>) {
    let mut last = 0;
    loop {
        let request = admin.request(Method::GET, &["events"], &[]).header("last-event-id", last.to_string());
        let (_, no_body) = watch::channel(Flow::default());
        if let Ok(response) = admin.send(request.header(ACCEPT, "text/event-stream"), no_body, |_| {}).await
            && let Ok(mut events) = admin.events(response)
        {
            while let Ok(Some(event)) = events.next().await {
                let Ok(event) = serde_json::from_str::<Event>(&event.data) else { continue };
                last = event.data.sequence;
                if to.send(Message::Event(Box::new(event))).await.is_err() {
                    return;
                }
            }
        }
        sleep(AGAIN).await;
    }
}

/// Sends what a project prints from `began` on. The router keeps lines of earlier sessions too.
async fn follow_log(admin: Arc<Bridge>, project: ProjectName, began: Timestamp, to: mpsc::Sender<Message>) {
    let mut lines = "1000";
    loop {
        let query = [("lines", lines), ("follow", "1")];
        let request = admin.request(Method::GET, &["projects", project.as_str(), "logs"], &query);
        let (_, no_body) = watch::channel(Flow::default());
        if let Ok(response) = admin.send(request.header(ACCEPT, "text/event-stream"), no_body, |_| {}).await
            && let Ok(mut events) = admin.events(response)
        {
            lines = "0";
            while let Ok(Some(event)) = events.next().await {
                let Ok(line) = serde_json::from_str::<RouterLogLine>(&event.data) else { continue };
                if line.line.timestamp < began {
                    continue;
                }
                if to.send(Message::Line(project.clone(), Box::new(line))).await.is_err() {
                    return;
                }
            }
        }
        sleep(AGAIN).await;
    }
}

async fn change_project(
    admin: Arc<Bridge>,
    project: ProjectName,
    folder: Option<PathBuf>,
    to: mpsc::Sender<Message>,
) {
    if let Err(error) = set_override(&admin, &project, folder).await {
        let _ = to.send(Message::Note(format!("{project}: {error}"))).await;
    }
}

/// Has the router read all projects, and sends a summary.
async fn reload(admin: Arc<Bridge>, to: mpsc::Sender<Message>) {
    let answer = admin.call(admin.request(Method::POST, &["_reload"], &[])).await;
    let text = answer.and_then(|answer| {
        let reports: Reports =
            serde_json::from_str(&answer.body).map_err(|error| CallError::Strange(error.to_string()))?;
        let count = |outcome| reports.projects.iter().filter(|report| report.outcome == outcome).count();
        let (all, live) = (reports.projects.len(), count(ReloadOutcome::Live));
        let (same, failed) = (count(ReloadOutcome::Unchanged), all - live - count(ReloadOutcome::Unchanged));
        let s = if all == 1 { "" } else { "s" };
        Ok(format!("read again: {all} project{s}, {live} new, {same} unchanged, {failed} failed"))
    });
    let text = text.unwrap_or_else(|error| error.to_string());
    let _ = to.send(Message::Note(text)).await;
}
