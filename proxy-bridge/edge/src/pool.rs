//! Connections to the servers behind a listener, kept for the next request. A connection is driven
//! by the request that uses it, in the request's own task: no second task is woken, nothing crosses
//! threads, and dropping the request closes the connection, which the server sees as an abort.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::hash::Hash;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use switchyard_contract::bounds::MAX_HEADERS;
use tokio::io::{AsyncRead, AsyncWrite};

use super::upload::{Progress, RequestBody};
use super::upstream::{Counted, HeadBudget, ReadsOn};

/// Idle connections to one server that are kept: a burst's worth, on each thread.
const MAX_IDLE: usize = 256;

/// Connects to servers.
pub trait Connector: 'static {
    /// A server.
    type Target: ?Sized;
    /// The key of a server's idle connections.
    type Id: Clone + Eq + Hash + Unpin;
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    /// Returns the server's key.
    fn id(target: &Self::Target) -> Self::Id;

    /// Connects to the server.
    ///
    /// # Errors
    /// The server takes no connection.
    fn connect(target: &Self::Target) -> impl Future<Output = io::Result<Self::Stream>>;
}

/// The settings of a pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolSettings {
    /// The time for which an idle connection is kept: shorter than the servers' own limit, so that
    /// no request crosses the end of its connection.
    pub idle_timeout: Duration,
    /// The largest head of a response, in bytes, where the servers are not trusted. Their interim
    /// (1xx) responses and the framing of their bodies are bounded as well.
    pub max_head: Option<usize>,
}

/// The idle connections of one thread.
pub struct Pool<C: Connector, B: RequestBody> {
    idle: RefCell<IdleConns<C, B>>,
    settings: PoolSettings,
}

type IdleConns<C, B> = HashMap<<C as Connector>::Id, Vec<IdleConn<<C as Connector>::Stream, B>>>;

struct IdleConn<S: AsyncRead + AsyncWrite + Unpin, B: RequestBody> {
    conn: Box<PooledConn<S, B>>,
    since: Instant,
}

/// An HTTP/1.1 connection to a server. Boxed, because it changes hands several times a request.
pub struct PooledConn<S: AsyncRead + AsyncWrite + Unpin, B: RequestBody> {
    sender: SendRequest<B>,
    connection: Connection<TokioIo<ReadsOn<S>>, B>,
    head: HeadBudget,
    is_open: bool,
}

impl<C: Connector, B: RequestBody> fmt::Debug for Pool<C, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, B: RequestBody> fmt::Debug for PooledConn<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledConn").field("is_open", &self.is_open).finish_non_exhaustive()
    }
}

/// The reason why a server gave no response.
#[derive(Debug)]
pub enum SendError<B> {
    /// The request never reached the server, and is given back.
    NotSent(Box<Request<B>>),
    /// The request may have reached the server.
    Failed {
        /// The failure.
        error: hyper::Error,
        /// The connection had been idle, and may have ended just before.
        was_idle: bool,
    },
}

impl<C: Connector, B: RequestBody> Pool<C, B> {
    /// A pool without connections.
    pub fn new(settings: PoolSettings) -> Self {
        Self { idle: RefCell::default(), settings }
    }

    /// Sends `request` to `target` and waits for the head of the response. The connection is kept
    /// for the next request once the response is complete.
    ///
    /// # Errors
    /// The server does not respond: see [`SendError`].
    pub async fn send(
        self: &Rc<Self>,
        target: &C::Target,
        mut request: Request<B>,
    ) -> Result<Response<PooledBody<C, B>>, SendError<B>> {
        let id = C::id(target);
        while let Some(conn) = self.take(&id).await {
            match self.send_on(conn, request, true, Some(id.clone())).await {
                Err(SendError::NotSent(unsent)) => request = *unsent,
                sent => return sent,
            }
        }
        match Box::pin(self.connect(target)).await {
            Ok(conn) => self.send_on(conn, request, false, Some(id)).await,
            Err(_) => Err(SendError::NotSent(Box::new(request))),
        }
    }

    /// Sends `request` on a connection of its own, which is not kept.
    ///
    /// # Errors
    /// The server does not respond: see [`SendError`].
    pub async fn send_alone(
        self: &Rc<Self>,
        target: &C::Target,
        request: Request<B>,
    ) -> Result<Response<PooledBody<C, B>>, SendError<B>> {
        match self.connect(target).await {
            Ok(conn) => self.send_on(conn, request, false, None).await,
            Err(_) => Err(SendError::NotSent(Box::new(request))),
        }
    }

    async fn send_on(
        self: &Rc<Self>,
        mut conn: Box<PooledConn<C::Stream, B>>,
        request: Request<B>,
        was_idle: bool,
        keep: Option<C::Id>,
    ) -> Result<Response<PooledBody<C, B>>, SendError<B>> {
        let upload = request.body().progress().cloned();
        if let Some(max_head) = self.settings.max_head {
            conn.head.await_head(max_head);
        }
        let (head, body) = conn.exchange(request, was_idle).await?.into_parts();
        let body = Counted::new(body, conn.head.clone());
        let keep = keep.map(|id| ReturnTo { pool: self.clone(), id });
        Ok(Response::from_parts(head, PooledBody { conn: Some(conn), body, upload, keep }))
    }

    /// Closes the idle connections to a server, one of which turned out to be dead.
    pub fn forget(&self, target: &C::Target) {
        self.idle.borrow_mut().remove(&C::id(target));
    }

    /// Closes the connections that have been idle for too long.
    pub fn sweep(&self) {
        self.idle.borrow_mut().retain(|_, idle| {
            idle.retain(|idle| idle.since.elapsed() < self.settings.idle_timeout);
            !idle.is_empty()
        });
    }

    /// Takes an idle connection that is still good.
    async fn take(&self, id: &C::Id) -> Option<Box<PooledConn<C::Stream, B>>> {
        loop {
            let idle = self.idle.borrow_mut().get_mut(id)?.pop()?;
            let mut conn = idle.conn;
            if idle.since.elapsed() < self.settings.idle_timeout && conn.is_ready().await {
                return Some(conn);
            }
        }
    }

    fn put(&self, id: C::Id, conn: Box<PooledConn<C::Stream, B>>) {
        let mut idle = self.idle.borrow_mut();
        let idle = idle.entry(id).or_default();
        if idle.len() < MAX_IDLE {
            idle.push(IdleConn { conn, since: Instant::now() });
        }
    }

    async fn connect(&self, target: &C::Target) -> io::Result<Box<PooledConn<C::Stream, B>>> {
        let mut builder = Builder::new();
        builder.max_headers(MAX_HEADERS).writev(false);
        let head = match self.settings.max_head {
            Some(max_head) => {
                builder.max_header_size(max_head);
                HeadBudget::new(max_head)
            }
            None => HeadBudget::unlimited(),
        };
        let stream = ReadsOn::new(C::connect(target).await?, head.clone());
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        Ok(Box::new(PooledConn { sender, connection, head, is_open: true }))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, B: RequestBody> PooledConn<S, B> {
    /// Drives the connection: reads and writes as much as is possible without waiting.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if self.is_open && Pin::new(&mut self.connection).poll(cx).is_ready() {
            self.is_open = false;
        }
    }

    /// Returns true if another request can be sent. Does not wait.
    async fn is_ready(&mut self) -> bool {
        poll_fn(|cx| {
            self.drive(cx);
            Poll::Ready(self.is_open && self.sender.is_ready())
        })
        .await
    }

    async fn exchange(
        &mut self,
        request: Request<B>,
        was_idle: bool,
    ) -> Result<Response<Incoming>, SendError<B>> {
        let mut response = pin!(self.sender.try_send_request(request));
        let (connection, is_open) = (&mut self.connection, &mut self.is_open);
        let responded = poll_fn(|cx| {
            if *is_open && Pin::new(&mut *connection).poll(cx).is_ready() {
                *is_open = false;
            }
            response.as_mut().poll(cx)
        });
        responded.await.map_err(|mut error| match error.take_message() {
            Some(request) => SendError::NotSent(Box::new(request)),
            None => SendError::Failed { error: error.into_error(), was_idle },
        })
    }

    /// Returns the connection itself once protocols were switched, and the bytes that were read of
    /// it already.
    pub async fn into_stream(mut self: Box<Self>) -> (S, Bytes) {
        poll_fn(|cx| {
            self.drive(cx);
            if self.is_open { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        let parts = self.connection.into_parts();
        (parts.io.into_inner().into_inner(), parts.read_buf)
    }
}

/// A response's body and the connection that it comes on. Dropped when the body is complete, the
/// connection goes back to the pool; dropped before, it is closed, which the server sees as an
/// abort.
pub struct PooledBody<C: Connector, B: RequestBody> {
    /// `None` once [`PooledBody::into_conn`] has taken it.
    conn: Option<Box<PooledConn<C::Stream, B>>>,
    body: Counted,
    /// The progress of the request's body. `None` if it has none.
    upload: Option<Arc<Progress>>,
    /// The pool that the connection goes back to. `None` for a connection that is not kept.
    keep: Option<ReturnTo<C, B>>,
}

/// The pool that a connection goes back to, and its key there.
struct ReturnTo<C: Connector, B: RequestBody> {
    pool: Rc<Pool<C, B>>,
    id: C::Id,
}

impl<C: Connector, B: RequestBody> fmt::Debug for PooledBody<C, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledBody").field("conn", &self.conn).finish_non_exhaustive()
    }
}

impl<C: Connector, B: RequestBody> PooledBody<C, B> {
    /// Takes the connection, for the bytes that follow a switch of protocols.
    pub fn into_conn(mut self) -> Option<Box<PooledConn<C::Stream, B>>> {
        self.conn.take()
    }

    /// Returns true if the client failed to send the request's body.
    pub fn upload_failed(&self) -> bool {
        self.upload.as_ref().is_some_and(|upload| upload.has_failed())
    }

    /// Returns true if request and response are complete, so that the connection can carry the next
    /// ones.
    fn is_complete(&self) -> bool {
        self.body.is_end_stream() && self.upload.as_ref().is_none_or(|upload| upload.is_over())
    }
}

impl<C: Connector, B: RequestBody> Body for PooledBody<C, B> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        // First the body, which signals the connection that it has room; then the connection; then
        // the frame that it delivered.
        let first = Pin::new(&mut self.body).poll_frame(cx);
        if first.is_ready() {
            return first;
        }
        match &mut self.conn {
            Some(conn) => {
                conn.drive(cx);
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

impl<C: Connector, B: RequestBody> Drop for PooledBody<C, B> {
    fn drop(&mut self) {
        let Some(ReturnTo { pool, id }) = self.keep.take() else { return };
        if let Some(conn) = self.conn.take().filter(|conn| conn.is_open && self.is_complete()) {
            pool.put(id, conn);
        }
    }
}
