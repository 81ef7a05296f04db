//! Connections to routers, kept for the next request. A connection is driven by the request that uses it, in the
//! request's own task: dropping the request drops the connection, which the router sees as an abort.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::body::Upload;
use super::handle::progress;
use crate::routers::Router;
use switchyard_contract::bounds::MAX_HEADERS;
use switchyard_edge::upload::Progress;
use switchyard_edge::upstream::{HeadBudget, ReadsOn};

/// A router is a neighbour: one that is there takes a connection within milliseconds.
const CONNECT: Duration = Duration::from_secs(1);

/// Routers cut off connections that are idle for 30 s; one that is not used for this long is closed before
/// that can cross a request.
const MAX_IDLE: Duration = Duration::from_secs(15);

/// More idle connections to one router than this are closed: a burst's worth.
const MAX_IDLE_COUNT: usize = 256;

/// The idle connections, by the router's name.
#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: Mutex<HashMap<String, Vec<Idle>>>,
}

#[derive(Debug)]
struct Idle {
    link: Link,
    since: Instant,
}

/// An HTTP/1.1 connection to a router. Boxed, because it changes hands several times a request.
pub(super) struct Link(Box<Open>);

struct Open {
    sender: SendRequest<Upload>,
    connection: Connection<TokioIo<ReadsOn<TcpStream>>, Upload>,
    ended: bool,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("ended", &self.0.ended).finish_non_exhaustive()
    }
}

/// Why a router gave no answer.
#[derive(Debug)]
pub(super) enum SendError {
    /// The request was not sent, and is given back.
    NotSent(Box<Request<Upload>>),
    /// It may have arrived. `kept`: on a connection that had been idle, so that it may have ended just before.
    Failed { error: hyper::Error, kept: bool },
}

impl Pool {
    /// Sends `request` to `router` and waits for the head of its answer.
    pub(super) async fn send(
        self: &Arc<Self>,
        router: &Router,
        mut request: Request<Upload>,
    ) -> Result<Response<Exchange>, SendError> {
        loop {
            let idle = self.take(router.name()).await;
            let kept = idle.is_some();
            let mut link = match idle {
                Some(link) => link,
                None => match connect(router.target()).await {
                    Ok(link) => link,
                    Err(_) => return Err(SendError::NotSent(Box::new(request))),
                },
            };
            let upload = progress(&request).cloned();
            match link.exchange(request, kept).await {
                Ok(response) => {
                    let (pool, name) = (self.clone(), router.name().to_owned());
                    return Ok(response.map(|body| Exchange { link: Some(link), body, upload, pool, name }));
                }
                Err(SendError::NotSent(unsent)) if kept => request = *unsent,
                Err(error) => return Err(error),
            }
        }
    }

    /// Closes the idle connections to a router: one of them has just been found dead.
    pub(super) fn forget(&self, router: &str) {
        self.idle().remove(router);
    }

    /// Closes what has been idle for long.
    pub(super) fn sweep(&self) {
        self.idle().retain(|_, idle| {
            idle.retain(|idle| idle.since.elapsed() < MAX_IDLE);
            !idle.is_empty()
        });
    }

    /// An idle connection that is still good.
    async fn take(&self, router: &str) -> Option<Link> {
        loop {
            let idle = self.idle().get_mut(router)?.pop()?;
            let mut link = idle.link;
            if idle.since.elapsed() < MAX_IDLE && link.is_ready().await {
                return Some(link);
            }
        }
    }

    fn put(&self, router: String, link: Link) {
        let mut idle = self.idle();
        let idle = idle.entry(router).or_default();
        if idle.len() < MAX_IDLE_COUNT {
            idle.push(Idle { link, since: Instant::now() });
        }
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<String, Vec<Idle>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(target: (&str, u16)) -> io::Result<Link> {
    let stream = timeout(CONNECT, TcpStream::connect(target)).await??;
    stream.set_nodelay(true)?;
    let mut builder = http1::Builder::new();
    // A router takes out the heads of 1xx, and bounds those of answers.
    let stream = ReadsOn::new(stream, HeadBudget::any());
    let handshake = builder.max_headers(MAX_HEADERS).handshake(TokioIo::new(stream));
    let (sender, connection) = handshake.await.map_err(io::Error::other)?;
    Ok(Link(Box::new(Open { sender, connection, ended: false })))
}

impl Link {
    /// Gives the connection its turn.
    fn drive(&mut self, cx: &mut Context<'_>) {
        self.0.drive(cx);
    }

    /// Whether another request can be sent. Finds out in one turn, without waiting.
    async fn is_ready(&mut self) -> bool {
        poll_fn(|cx| {
            self.drive(cx);
            Poll::Ready(!self.0.ended && self.0.sender.is_ready())
        })
        .await
    }

    async fn exchange(
        &mut self,
        request: Request<Upload>,
        kept: bool,
    ) -> Result<Response<Incoming>, SendError> {
        let mut response = pin!(self.0.sender.try_send_request(request));
        let (connection, ended) = (&mut self.0.connection, &mut self.0.ended);
        let answered = poll_fn(|cx| {
            if !*ended && Pin::new(&mut *connection).poll(cx).is_ready() {
                *ended = true;
            }
            response.as_mut().poll(cx)
        });
        answered.await.map_err(|mut error| match error.take_message() {
            Some(request) => SendError::NotSent(Box::new(request)),
            None => SendError::Failed { error: error.into_error(), kept },
        })
    }

    /// The connection itself once protocols were switched, and what was read of it already.
    pub(super) async fn into_stream(mut self) -> (TcpStream, Bytes) {
        poll_fn(|cx| {
            self.drive(cx);
            if self.0.ended { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let parts = self.0.connection.into_parts();
        (parts.io.into_inner().into_inner(), parts.read_buf)
    }
}

impl Open {
    fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.ended && Pin::new(&mut self.connection).poll(cx).is_ready() {
            self.ended = true;
        }
    }
}

/// An answer's body and the connection that it comes on. Dropped when the body is complete, the connection goes
/// back to the pool; dropped before, it is closed.
#[derive(Debug)]
pub(super) struct Exchange {
    link: Option<Link>,
    body: Incoming,
    /// Of the request. `None`: it has no body.
    upload: Option<Arc<Progress>>,
    pool: Arc<Pool>,
    name: String,
}

impl Exchange {
    /// The connection, for whatever comes behind the head of a switch of protocols.
    pub(super) fn into_link(mut self) -> Option<Link> {
        self.link.take()
    }

    /// Whether the connection can carry another exchange: nothing of this one is missing, in either
    /// direction.
    fn is_complete(&self) -> bool {
        self.body.is_end_stream() && self.upload.as_ref().is_none_or(|upload| upload.is_over())
    }
}

impl Body for Exchange {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        // First the body, which tells the connection that there is room, then the connection, then what that
        // brought.
        let first = Pin::new(&mut self.body).poll_frame(cx);
        if first.is_ready() {
            return first;
        }
        match &mut self.link {
            Some(link) => {
                link.drive(cx);
                Pin::new(&mut self.body).poll_frame(cx)
            }
            None => first,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(link) = self.link.take().filter(|link| !link.0.ended && self.is_complete()) {
            self.pool.put(std::mem::take(&mut self.name), link);
        }
    }
}
