//! Sends requests to the bridge and reads its answers: whole, or as server-sent events that end
//! with the answer.

#[cfg(feature = "server")]
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use http::{Method, StatusCode};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, Url, redirect};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;

use super::pack::Flow;
use switchyard_contract::deploy::DeployAnswer;
use switchyard_contract::https;
use switchyard_edge::sse::{Parser, SseEvent, SseItem};

/// Time to connect: a few attempts across the world.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// The status of some ten thousand projects.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// The scheme of Unix sockets: `unix:/PATH`.
pub(super) const UNIX: &str = "unix";

/// Longest silence of a bridge, which sends a comment every 15 seconds.
pub(crate) const SILENCE: Duration = Duration::from_secs(60);

/// One bridge.
#[derive(Debug)]
pub(crate) struct Bridge {
    http: Client,
    /// The address as the user has named it.
    to: Url,
    /// The beginning of the requests' URLs.
    base: Url,
    authorization: Option<HeaderValue>,
    silence: Duration,
}

/// An answer of the bridge, of any status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// JSON, unless something in between answered.
    pub(crate) body: String,
}

/// The reason for a missing answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("no connection to {to}: {why}; is --to right, and does the bridge run?")]
    Connect { to: Url, why: String },
    #[error("the connection broke before the answer was complete: {0}")]
    Broke(String),
    #[error("the bridge ended the {0}: it is stopping, or no router is left")]
    Ended(&'static str),
    #[error("the bridge has sent nothing for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("the answer is not understood: {0}; is --to the URL of a bridge?")]
    Strange(String),
}

impl Bridge {
    /// # Errors
    /// The HTTP client cannot be made.
    pub(crate) fn new(
        to: Url,
        authorization: Option<HeaderValue>,
        silence: Duration,
    ) -> Result<Self, reqwest::Error> {
        let socket = socket(&to);
        let base = match &socket {
            Some(_) => Url::parse("http://localhost/").expect("it is a URL"),
            None => to.clone(),
        };
        let http = https::build(|| {
            let mut http = Client::builder()
                .connect_timeout(CONNECT_WITHIN)
                // An upload cannot be sent a second time elsewhere, and a token should not.
                .redirect(redirect::Policy::none())
                .user_agent(concat!("switchyard/", env!("CARGO_PKG_VERSION")));
            if let Some(path) = &socket {
                http = http.unix_socket(path.as_path());
            }
            if is_loopback(&base) { http.no_proxy() } else { http }
        })?;
        Ok(Self { http, to, base, authorization, silence })
    }

    /// A server of this process or machine, without a token.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    #[cfg(feature = "server")]
    pub(crate) fn at(address: SocketAddr) -> Result<Self, reqwest::Error> {
        let to = Url::parse(&format!("http://{address}/")).expect("an address makes a URL");
        Self::new(to, None, SILENCE)
    }

    /// Returns the longest silence, after which the bridge counts as gone.
    pub(super) fn silence(&self) -> Duration {
        self.silence
    }

    /// The same bridge, for answers that may take `times` as long to begin.
    pub(crate) fn patient(&self, times: u32) -> Self {
        Self {
            http: self.http.clone(),
            to: self.to.clone(),
            base: self.base.clone(),
            authorization: self.authorization.clone(),
            silence: self.silence.saturating_mul(times),
        }
    }

    /// A request to a path below the bridge's URL.
    pub(crate) fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization.clone()),
            None => request,
        }
    }

    /// Asks for something that is answered at once.
    pub(crate) async fn get(&self, path: &[&str]) -> Result<Answer, CallError> {
        self.call(self.request(Method::GET, path, &[])).await
    }

    /// Sends a request whose body is there already, and reads an answer that is one document.
    pub(crate) async fn call(&self, request: RequestBuilder) -> Result<Answer, CallError> {
        let (_, no_body) = watch::channel(Flow::default());
        let response = self.send(request.header(ACCEPT, "application/json"), no_body, |_| {}).await?;
        self.whole(response).await
    }

    /// Sends a request, and waits for the beginning of its answer as long as the flow of its body goes on.
    pub(crate) async fn send(
        &self,
        request: RequestBuilder,
        mut flow: watch::Receiver<Flow>,
        mut on_flow: impl FnMut(Flow),
    ) -> Result<Response, CallError> {
        let mut sending = pin!(request.send());
        loop {
            tokio::select! {
                sent = &mut sending => return sent.map_err(|error| self.lost(error)),
                changed = timeout(self.silence, flow.changed()) => match changed {
                    Ok(Ok(())) => on_flow(*flow.borrow_and_update()),
                    Ok(Err(_)) => break,
                    Err(_) => return Err(CallError::Silent(self.silence)),
                },
            }
        }
        let sent = timeout(self.silence, sending).await.map_err(|_| CallError::Silent(self.silence))?;
        sent.map_err(|error| self.lost(error))
    }

    /// Reads an answer to its end.
    pub(crate) async fn whole(&self, mut response: Response) -> Result<Answer, CallError> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece(&mut response).await? {
            body.extend_from_slice(&piece);
            if body.len() > MAX_ANSWER {
                return Err(CallError::Strange(format!("it is larger than {MAX_ANSWER} bytes")));
            }
        }
        Ok(Answer { status: response.status(), body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// Reads an answer that is events until one of them is `done`, or one that is not.
    pub(crate) async fn done(
        &self,
        response: Response,
        mut on_phase: impl FnMut(&SseEvent),
    ) -> Result<Answer, CallError> {
        let mut events = match self.events(response) {
            Ok(events) => events,
            Err(response) => return self.whole(*response).await,
        };
        while let Some(event) = events.next().await? {
            match event.kind.as_str() {
                "done" => return done(&event.data),
                "phase" => on_phase(&event),
                _ => {}
            }
        }
        Err(CallError::Broke("it ended before the deploy did".to_owned()))
    }

    /// # Errors
    /// The answer back when it has no events.
    pub(crate) fn events(&self, response: Response) -> Result<Events<'_>, Box<Response>> {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
            Ok(Events { bridge: self, response, parser: Parser::default(), read: Vec::new().into_iter() })
        } else {
            Err(Box::new(response))
        }
    }

    async fn piece(&self, response: &mut Response) -> Result<Option<bytes::Bytes>, CallError> {
        let piece = timeout(self.silence, response.chunk()).await;
        piece.map_err(|_| CallError::Silent(self.silence))?.map_err(|error| self.lost(error))
    }

    fn lost(&self, error: reqwest::Error) -> CallError {
        if error.is_connect() {
            CallError::Connect { to: self.to.clone(), why: https::reason(error) }
        } else {
            CallError::Broke(https::reason(error))
        }
    }
}

/// Events as they come.
#[derive(Debug)]
pub(crate) struct Events<'a> {
    bridge: &'a Bridge,
    response: Response,
    parser: Parser,
    read: std::vec::IntoIter<SseItem>,
}

impl Events<'_> {
    /// The next event; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<SseEvent>, CallError> {
        loop {
            let event = self.read.by_ref().find_map(|item| match item {
                SseItem::Event(event) => Some(event),
                SseItem::Comment(_) => None,
            });
            if event.is_some() {
                return Ok(event);
            }
            let Some(piece) = self.bridge.piece(&mut self.response).await? else { return Ok(None) };
            let items = self.parser.feed(&piece).map_err(|error| CallError::Strange(error.to_string()))?;
            self.read = items.into_iter();
        }
    }
}

fn done(data: &str) -> Result<Answer, CallError> {
    let done: DeployAnswer =
        serde_json::from_str(data).map_err(|error| CallError::Strange(error.to_string()))?;
    let status = StatusCode::from_u16(done.status.unwrap_or_default());
    let status = status.map_err(|error| CallError::Strange(error.to_string()))?;
    let body = if done.body == Value::Null { String::new() } else { done.body.to_string() };
    Ok(Answer { status, body })
}

/// Returns the path of the bridge's Unix socket, if the URL is one.
fn socket(url: &Url) -> Option<PathBuf> {
    let path = (url.scheme() == UNIX).then(|| format!("file://{}", url.path()))?;
    Url::parse(&path).ok()?.to_file_path().ok()
}

/// A proxy from the environment cannot reach this machine's own addresses.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
