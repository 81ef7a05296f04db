//! A router for tests: both listeners on real sockets, and every answer in the test's hands.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{RouterAddress, Routers, RoutersSettings};
use switchyard_contract::admin::{ProjectState, Projects, Status, VersionName};
use switchyard_contract::event::{Event, EventData, EventType, Timings};
use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::route::Claim;

/// Nothing in a test takes as long, unless something is wrong.
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
    /// What was asked at the admin listener, other than by following: method and path, headers, body.
    pub(crate) calls: mpsc::UnboundedReceiver<(String, HeaderMap, Bytes)>,
}

struct Listener {
    address: SocketAddr,
    _port: TcpSocket,
    serving: Option<JoinSet<()>>,
}

struct FakeShared {
    told: Mutex<FakeState>,
    calls: mpsc::UnboundedSender<(String, HeaderMap, Bytes)>,
}

struct FakeState {
    id: String,
    ready: bool,
    sequence: u64,
    projects: BTreeMap<String, Status>,
    /// The number of the last change, and of that of each project; the removals.
    revision: u64,
    changed: BTreeMap<String, u64>,
    removed: Vec<(u64, String)>,
    log: Vec<Event>,
    events: broadcast::Sender<Event>,
    /// The last ids that followers came with.
    last_ids: Vec<Option<String>>,
    pulls: usize,
    script: BTreeMap<String, (u16, String)>,
    public: Handler,
}

impl FakeRouter {
    /// A router that is ready and has no project. Its answers to requests are its own name, 200.
    pub(crate) async fn start(id: &str) -> Self {
        let (calls_in, calls) = mpsc::unbounded_channel();
        let name = id.to_owned();
        let told = FakeState {
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
        let shared = Arc::new(FakeShared { told: Mutex::new(told), calls: calls_in });
        let mut admin = Listener::bind();
        let mut public = Listener::bind();
        let url = |listener: &Listener| format!("http://{}", listener.address).parse().unwrap();
        let address = RouterAddress::new(url(&public), url(&admin)).unwrap();
        admin.serve(shared.admin()).await;
        public.serve(shared.public()).await;
        Self { address, shared, admin, public, calls }
    }

    pub(crate) fn name(&self) -> String {
        self.address.name()
    }

    /// How the router answers requests from now on.
    pub(crate) fn answers<F>(&self, answer: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Answered> + Send + 'static,
    {
        self.told().public = handler(answer);
    }

    /// How the admin listener answers `call`, as in `POST /_deploys`.
    pub(crate) fn script(&self, call: &str, status: u16, body: &str) {
        self.told().script.insert(call.to_owned(), (status, body.to_owned()));
    }

    /// The admin listener answers `call` by itself again.
    pub(crate) fn unscript(&self, call: &str) {
        self.told().script.remove(call);
    }

    pub(crate) fn set_ready(&self, ready: bool) {
        self.told().ready = ready;
    }

    /// Makes a version live, and tells of it. Returns the event.
    pub(crate) fn live(&self, project: &str, digit: char) -> Event {
        let event = self.put(project, digit);
        self.told().tell(event.clone());
        event
    }

    /// Makes a version live, and tells nobody.
    pub(crate) fn put(&self, project: &str, digit: char) -> Event {
        let mut told = self.told();
        let version =
            VersionName { digest: digest(digit), version: format!("{project}@{}", &digest(digit)[..12]) };
        let event = told.event(EventType::ReloadLive, project, Some(&version));
        let status = told.status(project);
        (status.state, status.live) = (ProjectState::Live, Some(version));
        event
    }

    /// Gives a project these routes besides its name.
    pub(crate) fn routes(&self, project: &str, routes: &[&str]) {
        self.claims(project, routes, jiff::Timestamp::UNIX_EPOCH);
    }

    /// Gives a project these routes, which it has claimed since then.
    pub(crate) fn claims(&self, project: &str, routes: &[&str], since: jiff::Timestamp) {
        let claim = |route: &&str| Claim { route: route.parse().unwrap(), since, assigned: false };
        let mut told = self.told();
        let status = told.status(project);
        status.routes = routes.iter().map(ToString::to_string).collect();
        status.claims = routes.iter().map(claim).collect();
    }

    pub(crate) fn remove(&self, project: &str) {
        let mut told = self.told();
        told.projects.remove(project);
        told.revision += 1;
        let removal = (told.revision, project.to_owned());
        told.removed.push(removal);
        let event = told.event(EventType::ProjectRemoved, project, None);
        told.tell(event);
    }

    /// How often all projects were asked for.
    pub(crate) fn pulls(&self) -> usize {
        self.told().pulls
    }

    pub(crate) fn last_ids(&self) -> Vec<Option<String>> {
        self.told().last_ids.clone()
    }

    /// Cuts off all who follow; the router stays.
    pub(crate) fn hang_up(&self) {
        self.told().events = broadcast::Sender::new(64);
    }

    /// Another router takes this one's place: it has read nothing yet.
    pub(crate) fn restart(&self, id: &str) {
        let mut told = self.told();
        told.id = id.to_owned();
        (told.ready, told.sequence) = (false, 0);
        told.projects.clear();
        told.changed.clear();
        told.removed.clear();
        told.revision = 0;
        told.log.clear();
        told.events = broadcast::Sender::new(64);
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

    fn told(&self) -> MutexGuard<'_, FakeState> {
        self.shared.told.lock().unwrap()
    }
}

impl FakeState {
    /// To change it.
    fn status(&mut self, project: &str) -> &mut Status {
        self.revision += 1;
        self.changed.insert(project.to_owned(), self.revision);
        self.projects.entry(project.to_owned()).or_insert_with(|| Status {
            name: project.to_owned(),
            state: ProjectState::Building,
            on_disk: None,
            live: None,
            last_good: None,
            error: None,
            pid: None,
            pids: Vec::new(),
            in_flight: 0,
            waiting: 0,
            draining: Vec::new(),
            reloads: Vec::new(),
            routes: Vec::new(),
            claims: Vec::new(),
            conflicts: Vec::new(),
            held_by: None,
            sequence: 0,
            grants: None,
            crashes: Vec::new(),
            entry: None,
            crons: Vec::new(),
            incarnation: Incarnation::FIRST,
        })
    }

    fn event(&mut self, kind: EventType, project: &str, version: Option<&VersionName>) -> Event {
        self.sequence += 1;
        let sequence = self.sequence;
        if version.is_some() || self.projects.contains_key(project) {
            self.status(project).sequence = sequence;
        }
        Event {
            kind,
            timestamp: jiff::Timestamp::now(),
            data: EventData {
                router: self.id.clone(),
                sequence,
                project: project.to_owned(),
                digest: version.map(|version| version.digest.parse().unwrap()),
                version: version.map(|version| version.version.clone()),
                incarnation: Incarnation::FIRST,
                previous: None,
                trigger: None,
                error: None,
                timings_ms: Timings::default(),
                death: None,
                conflict: None,
            },
        }
    }

    fn tell(&mut self, event: Event) {
        self.log.push(event.clone());
        let _ = self.events.send(event);
    }
}

impl FakeShared {
    fn public(self: &Arc<Self>) -> Handler {
        let shared = self.clone();
        Arc::new(move |request| {
            let handler = shared.told.lock().unwrap().public.clone();
            handler(request)
        })
    }

    fn admin(self: &Arc<Self>) -> Handler {
        let shared = self.clone();
        handler(move |request| {
            let shared = shared.clone();
            async move { Ok(shared.asked(request).await) }
        })
    }

    async fn asked(&self, request: Request<Incoming>) -> Response<Body> {
        if let Some(answer) = self.follow(&request) {
            return answer;
        }
        let (head, body) = request.into_parts();
        let call = call(&head.method, &head.uri);
        let body = body.collect().await.unwrap().to_bytes();
        let scripted = self.told.lock().unwrap().script.get(&call).cloned();
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

    /// What a follower asks.
    fn follow(&self, request: &Request<Incoming>) -> Option<Response<Body>> {
        let mut told = self.told.lock().unwrap();
        let path = request.uri().path();
        if request.method() != Method::GET || told.script.contains_key(&call(request.method(), request.uri()))
        {
            return None;
        }
        Some(match path {
            "/readyz" => answer(if told.ready { 200 } else { 503 }, ""),
            "/events" => {
                let last = request.headers().get("last-event-id").map(|id| id.to_str().unwrap().to_owned());
                told.last_ids.push(last.clone());
                told.stream(last.and_then(|last| last.parse().ok()))
            }
            "/projects" => {
                told.pulls += 1;
                let projects = told.answer(request.uri().query().unwrap_or_default());
                answer(200, serde_json::to_string(&projects).unwrap())
            }
            _ => match told.projects.get(path.strip_prefix("/projects/")?) {
                Some(status) => answer(200, serde_json::to_string(status).unwrap()),
                None if path.matches('/').count() > 2 => return None,
                None => answer(404, "{}"),
            },
        })
    }
}

/// What is asked, as in `POST /_deploys`; without the revision that changes are asked for after.
fn call(method: &Method, uri: &http::Uri) -> String {
    let what = if uri.path() == "/projects" { uri.path().to_owned() } else { uri.to_string() };
    format!("{method} {what}")
}

impl FakeState {
    fn answer(&self, query: &str) -> Projects {
        let query: BTreeMap<_, _> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let since = query.get("since").filter(|_| query.get("router") == Some(&self.id.as_str()));
        let since: Option<u64> = since.map(|since| since.parse().unwrap());
        let is_new = |revision: u64| since.is_none_or(|since| revision > since);
        let projects = self.projects.values().filter(|status| is_new(self.changed[&status.name]));
        let removed = self.removed.iter().filter(|(revision, name)| {
            since.is_some() && is_new(*revision) && !self.projects.contains_key(name)
        });
        Projects {
            installs: false,
            router: self.id.clone(),
            revision: self.revision,
            since,
            projects: projects.cloned().collect(),
            removed: removed.map(|(_, name)| name.clone()).collect(),
        }
    }

    fn stream(&self, last: Option<u64>) -> Response<Body> {
        let after = last.map_or(self.sequence, |last| if last > self.sequence { 0 } else { last });
        let missed: Vec<_> = self.log.iter().filter(|event| event.data.sequence > after).map(text).collect();
        let greeting = Bytes::from(format!(": router {}\n\n", self.id));
        let first = stream::iter(std::iter::once(greeting).chain(missed));
        let later = stream::unfold(self.events.subscribe(), |mut events| async {
            let event = events.recv().await.ok()?;
            Some((text(&event), events))
        });
        let frames = first.chain(later).map(|piece| Ok(Frame::data(piece)));
        Response::new(StreamBody::new(frames).boxed_unsync())
    }
}

fn text(event: &Event) -> Bytes {
    let (id, data) = (event.data.sequence, serde_json::to_string(event).unwrap());
    Bytes::from(format!("id: {id}\nevent: {}\ndata: {data}\n\n", event.kind.as_str()))
}

impl Listener {
    /// Takes a port, also for the times when nobody listens on it.
    fn bind() -> Self {
        let port = TcpSocket::new_v4().unwrap();
        port.set_reuseaddr(true).unwrap();
        port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self { address: port.local_addr().unwrap(), _port: port, serving: None }
    }

    async fn serve(&mut self, handler: Handler) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(connection(stream, handler.clone()));
            }
        });
        self.serving = Some(serving);
    }

    async fn stop(&mut self) {
        if let Some(mut serving) = self.serving.take() {
            serving.shutdown().await;
        }
    }
}

async fn connection(stream: TcpStream, handler: Handler) {
    let service = service_fn(move |request| handler(request));
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
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
    timeout(LONG, waiting).await.expect("it is so in time");
}

/// Waits until all routers take requests.
pub(crate) async fn all_ready(routers: &Routers) {
    until(routers, |routers| routers.all().iter().all(|router| router.is_ready())).await;
}
