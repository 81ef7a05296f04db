//! A router for tests: both listeners on real sockets, and every answer in the test's hands.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde_json::json;
use tokio::sync::{broadcast, mpsc};
use tokio::time::timeout;

use self::listener::Listener;
use self::state::FakeState;
use super::{RouterAddress, Routers, RoutersSettings};
use switchyard_contract::admin::{ProjectState, STATUSES_CHANGED, VersionName};
use switchyard_contract::event::{Event, EventType};
use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::route::Claim;
use switchyard_contract::task::ProjectTasks;

mod listener;
mod state;

/// A time that nothing in a test takes, unless something is wrong.
pub(crate) const LONG: Duration = Duration::from_secs(10);

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;
/// `Err` hangs up without an answer.
pub(crate) type Answered = Result<Response<Body>, &'static str>;
pub(crate) type Handler =
    Arc<dyn Fn(Request<Incoming>) -> Pin<Box<dyn Future<Output = Answered> + Send>> + Send + Sync>;

/// A handler out of a closure.
pub(crate) fn handler<F>(answer: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static) -> Handler
where
    F: Future<Output = Answered> + Send + 'static,
{
    Arc::new(move |request| Box::pin(answer(request)))
}

pub(crate) fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed_unsync()
}

pub(crate) fn answer(status: u16, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// A digest of one digit.
pub(crate) fn digest(digit: char) -> String {
    digit.to_string().repeat(64)
}

pub(crate) struct FakeRouter {
    pub(crate) address: RouterAddress,
    shared: Arc<FakeShared>,
    admin: Listener,
    public: Listener,
    /// The calls to the admin listener, except for those of followers: method and path, headers,
    /// body.
    pub(crate) calls: mpsc::UnboundedReceiver<(String, HeaderMap, Bytes)>,
}

struct FakeShared {
    state: Mutex<FakeState>,
    calls: mpsc::UnboundedSender<(String, HeaderMap, Bytes)>,
}

impl FakeRouter {
    /// A router that is ready and has no project. Its answers to requests are its own name, 200.
    pub(crate) async fn start(id: &str) -> Self {
        let (calls_in, calls) = mpsc::unbounded_channel();
        let name = id.to_owned();
        let state = FakeState {
            id: id.to_owned(),
            ready: true,
            sequence: 0,
            projects: BTreeMap::new(),
            revision: 0,
            changed: BTreeMap::new(),
            removed: Vec::new(),
            log: Vec::new(),
            events: broadcast::Sender::new(64),
            last_ids: Vec::new(),
            pulls: 0,
            script: BTreeMap::new(),
            public: handler(move |_| {
                let name = name.clone();
                async move { Ok(answer(200, name)) }
            }),
        };
        let shared = Arc::new(FakeShared { state: Mutex::new(state), calls: calls_in });
        let mut admin = Listener::bind();
        let mut public = Listener::bind();
        let url = |listener: &Listener| format!("http://{}", listener.address);
        let address = format!("{},{}", url(&public), url(&admin)).parse().unwrap();
        admin.serve(shared.admin()).await;
        public.serve(shared.public()).await;
        Self { address, shared, admin, public, calls }
    }

    pub(crate) fn name(&self) -> String {
        self.address.name()
    }

    /// Sets the answer to requests from now on.
    pub(crate) fn answers<F>(&self, answer: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Answered> + Send + 'static,
    {
        self.state().public = handler(answer);
    }

    /// Sets the admin listener's answer to `call`, as in `POST /_deploys`.
    pub(crate) fn script(&self, call: &str, status: u16, body: &str) {
        self.state().script.insert(call.to_owned(), (status, body.to_owned()));
    }

    /// Restores the admin listener's own answer to `call`.
    pub(crate) fn unscript(&self, call: &str) {
        self.state().script.remove(call);
    }

    pub(crate) fn set_ready(&self, ready: bool) {
        self.state().ready = ready;
    }

    /// Makes a version live, and sends an event. Returns the event.
    pub(crate) fn live(&self, project: &str, digit: char) -> Event {
        let event = self.put(project, digit);
        self.state().emit(event.clone());
        event
    }

    /// Tells followers that statuses have changed.
    pub(crate) fn tell_of_statuses(&self) {
        let _ = self.state().events.send(Bytes::from(format!(": {STATUSES_CHANGED}\n\n")));
    }

    /// Makes a version live without sending an event.
    pub(crate) fn put(&self, project: &str, digit: char) -> Event {
        let mut state = self.state();
        let version = VersionName {
            digest: digest(digit),
            version: format!("{project}@{}", &digest(digit)[..12]),
            commit: None,
        };
        let event = state.event(EventType::ReloadLive, project, Some(&version));
        let status = state.status(project);
        (status.state, status.live) = (ProjectState::Live, Some(version));
        event
    }

    /// Makes a version live that declares these tasks, and sends an event.
    pub(crate) fn declare(&self, tasks: &ProjectTasks) {
        let project = tasks.project.as_str();
        self.script(&format!("GET /projects/{project}/tasks"), 200, &serde_json::to_string(tasks).unwrap());
        let version = VersionName {
            digest: tasks.digest.to_string(),
            version: tasks.version.clone(),
            commit: tasks.commit.clone(),
        };
        let mut state = self.state();
        let event = state.event(EventType::ReloadLive, project, Some(&version));
        let status = state.status(project);
        (status.state, status.live) = (ProjectState::Live, Some(version));
        status.tasks = (!tasks.set.is_empty()).then(|| tasks.hash.clone());
        state.emit(event);
    }

    /// Reads a project from `folder` instead of the volume, and sends the event. `None`: from the
    /// volume.
    pub(crate) fn read_from(&self, project: &str, folder: Option<&str>) {
        let mut state = self.state();
        let kind = if folder.is_some() { EventType::OverrideSet } else { EventType::OverrideEnded };
        let mut event = state.event(kind, project, None);
        event.data.folder = folder.map(str::to_owned);
        state.status(project).overridden = folder.map(str::to_owned);
        state.emit(event);
    }

    /// Has a project's files read as ones of a digest of this digit.
    pub(crate) fn on_disk(&self, project: &str, digit: char) {
        let version = VersionName {
            digest: digest(digit),
            version: format!("{project}@{}", &digest(digit)[..12]),
            commit: None,
        };
        let mut state = self.state();
        let event = state.event(EventType::ReloadFailed, project, Some(&version));
        state.status(project).on_disk = Some(version);
        state.emit(event);
    }

    /// Gives a project these routes besides its name.
    pub(crate) fn routes(&self, project: &str, routes: &[&str]) {
        self.claims(project, routes, jiff::Timestamp::UNIX_EPOCH);
    }

    /// Gives a project these routes, claimed at `since`.
    pub(crate) fn claims(&self, project: &str, routes: &[&str], since: jiff::Timestamp) {
        let claim = |route: &&str| Claim { route: route.parse().unwrap(), since, assigned: false };
        let mut state = self.state();
        let status = state.status(project);
        status.routes = routes.iter().map(ToString::to_string).collect();
        status.claims = routes.iter().map(claim).collect();
    }

    pub(crate) fn remove(&self, project: &str) {
        let mut state = self.state();
        state.projects.remove(project);
        state.revision += 1;
        let removal = (state.revision, project.to_owned());
        state.removed.push(removal);
        let event = state.event(EventType::ProjectRemoved, project, None);
        state.emit(event);
    }

    /// Makes a project another one of the same name, and sends an event.
    pub(crate) fn reincarnate(&self, project: &str, incarnation: Incarnation) {
        let mut state = self.state();
        state.status(project).incarnation = incarnation;
        let live = state.status(project).live.clone();
        let mut event = state.event(EventType::ReloadLive, project, live.as_ref());
        event.data.incarnation = incarnation;
        state.emit(event);
    }

    /// Returns the number of requests for all projects.
    pub(crate) fn pulls(&self) -> usize {
        self.state().pulls
    }

    pub(crate) fn last_ids(&self) -> Vec<Option<String>> {
        self.state().last_ids.clone()
    }

    /// Cuts off all followers; the router stays.
    pub(crate) fn hang_up(&self) {
        self.state().events = broadcast::Sender::new(64);
    }

    /// Another router replaces this one: it has read nothing yet.
    pub(crate) fn restart(&self, id: &str) {
        let mut state = self.state();
        state.id = id.to_owned();
        (state.ready, state.sequence) = (false, 0);
        state.projects.clear();
        state.changed.clear();
        state.removed.clear();
        state.revision = 0;
        state.log.clear();
        state.events = broadcast::Sender::new(64);
    }

    /// Neither listener takes connections any more, and those that are open are cut.
    pub(crate) async fn go_away(&mut self) {
        self.admin.stop().await;
        self.stop_public().await;
    }

    pub(crate) async fn stop_public(&mut self) {
        self.public.stop().await;
    }

    pub(crate) async fn come_back(&mut self) {
        self.admin.serve(self.shared.admin()).await;
        self.public.serve(self.shared.public()).await;
    }

    fn state(&self) -> MutexGuard<'_, FakeState> {
        self.shared.state.lock().unwrap()
    }
}

impl FakeShared {
    fn public(self: &Arc<Self>) -> Handler {
        let shared = self.clone();
        Arc::new(move |request| {
            let handler = shared.state.lock().unwrap().public.clone();
            handler(request)
        })
    }

    fn admin(self: &Arc<Self>) -> Handler {
        let shared = self.clone();
        handler(move |request| {
            let shared = shared.clone();
            async move { Ok(shared.respond(request).await) }
        })
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Body> {
        if let Some(answer) = self.follow(&request) {
            return answer;
        }
        let (head, body) = request.into_parts();
        let call = call(&head.method, &head.uri);
        let body = body.collect().await.unwrap().to_bytes();
        let scripted = self.state.lock().unwrap().script.get(&call).cloned();
        let _ = self.calls.send((call, head.headers, body));
        match scripted {
            Some((0, _)) => std::future::pending().await,
            Some((status, body)) => {
                let mut answer = answer(status, body);
                answer.headers_mut().insert("x-switchyard-digest", digest('a').parse().unwrap());
                answer
            }
            None => answer(404, json!({"detail": "there is nothing at this path"}).to_string()),
        }
    }

    /// Answers a follower's request.
    fn follow(&self, request: &Request<Incoming>) -> Option<Response<Body>> {
        let mut state = self.state.lock().unwrap();
        let path = request.uri().path();
        if request.method() != Method::GET
            || state.script.contains_key(&call(request.method(), request.uri()))
        {
            return None;
        }
        Some(match path {
            "/readyz" => answer(if state.ready { 200 } else { 503 }, ""),
            "/events" => {
                let last = request.headers().get("last-event-id").map(|id| id.to_str().unwrap().to_owned());
                state.last_ids.push(last.clone());
                state.stream(last.and_then(|last| last.parse().ok()))
            }
            "/projects" => {
                state.pulls += 1;
                let projects = state.answer(request.uri().query().unwrap_or_default());
                answer(200, serde_json::to_string(&projects).unwrap())
            }
            _ => match state.projects.get(path.strip_prefix("/projects/")?) {
                Some(status) => answer(200, serde_json::to_string(status).unwrap()),
                None if path.matches('/').count() > 2 => return None,
                None => answer(404, "{}"),
            },
        })
    }
}

/// Returns the call, as in `POST /_deploys`, without the revision after which changes are
/// requested.
fn call(method: &Method, uri: &http::Uri) -> String {
    let what = if uri.path() == "/projects" { uri.path().to_owned() } else { uri.to_string() };
    format!("{method} {what}")
}

/// Starts to follow these routers.
pub(crate) fn following(fakes: &[&FakeRouter]) -> Routers {
    let fixed = fakes.iter().map(|fake| fake.address.clone()).collect();
    Routers::start(RoutersSettings { fixed, ..RoutersSettings::default() }).unwrap().0
}

/// Waits until it is so.
pub(crate) async fn until(routers: &Routers, so: impl Fn(&Routers) -> bool) {
    let mut changed = routers.changed();
    let waiting = async {
        while !so(routers) {
            changed.changed().await.unwrap();
        }
    };
    timeout(LONG, waiting).await.expect("the condition holds in time");
}

/// Waits until all routers take requests.
pub(crate) async fn all_ready(routers: &Routers) {
    until(routers, |routers| routers.all().iter().all(|router| router.is_ready())).await;
}
