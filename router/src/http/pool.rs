//! Connections to cells, kept for the next request. A connection is driven by the request that
//! uses it, in the request's own task: no second task to wake, nothing to hand across threads.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use switchyard_contract::bounds::MAX_HEADERS;
use switchyard_edge::upload::{Progress, Upload};
use switchyard_edge::upstream::{Counted, HeadBudget, ReadsOn};
use tokio::net::UnixStream;

/// node:http servers hang up after five idle seconds (`keepAliveTimeout`); a connection that is
/// not used for this long is closed before that can cross a request.
const MAX_IDLE: Duration = Duration::from_secs(2);

/// More idle connections to one cell than this are closed: a burst's worth, on each thread.
const MAX_IDLE_COUNT: usize = 256;

/// How often idle connections are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// The idle connections of one thread, by the cell's number.
#[derive(Debug)]
pub(super) struct Pool {
    idle: RefCell<HashMap<u64, Vec<Idle>>>,
    /// The largest head of an answer, in bytes.
    max_head: usize,
}

#[derive(Debug)]
struct Idle {
    link: Box<Link>,
    since: Instant,
}

/// An HTTP/1.1 connection to a cell. Boxed, because it changes hands several times a request.
struct Link {
    sender: SendRequest<Upload>,
    connection: Connection<TokioIo<ReadsOn<UnixStream>>, Upload>,
    head: HeadBudget,
    open: bool,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("open", &self.open).finish_non_exhaustive()
    }
}

/// Why a cell gave no answer.
#[derive(Debug)]
pub(super) enum SendError {
    /// The request never reached it, and is given back.
    NotSent(Box<Request<Upload>>),
    /// It may have.
    Failed(hyper::Error),
}

impl Pool {
    pub(super) fn new(max_head: usize) -> Self {
        Self { idle: RefCell::default(), max_head }
    }

    /// Sends `request` to cell number `id` and waits for the head of its answer.
    pub(super) async fn send(
        self: &Rc<Self>,
        id: u64,
        socket: &Path,
        request: Request<Upload>,
    ) -> Result<Response<Exchange>, SendError> {
        let mut link = match self.take(id).await {
            Some(link) => link,
            None => match Box::pin(connect(socket, self.max_head)).await {
                Ok(link) => link,
                Err(_) => return Err(SendError::NotSent(Box::new(request))),
            },
        };
        let upload = request.body().progress().cloned();
        link.head.await_head(self.max_head);
        let response = link.exchange(request).await?;
        let pool = self.clone();
        let counted = |body| Counted::new(body, link.head.clone());
        let response = response.map(counted);
        Ok(response.map(|body| Exchange { link: Some(link), body, upload, pool, id }))
    }

    /// An idle connection that is still good.
    async fn take(&self, id: u64) -> Option<Box<Link>> {
        loop {
            let idle = self.idle.borrow_mut().get_mut(&id)?.pop()?;
            let mut link = idle.link;
            if idle.since.elapsed() < MAX_IDLE && link.is_ready().await {
                return Some(link);
            }
        }
    }

    fn put(&self, id: u64, link: Box<Link>) {
        let mut idle = self.idle.borrow_mut();
        let idle = idle.entry(id).or_default();
        if idle.len() < MAX_IDLE_COUNT {
            idle.push(Idle { link, since: Instant::now() });
        }
    }

    /// Closes what has been idle for long, again and again. Runs until it is dropped.
    pub(super) async fn sweep(&self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            self.idle.borrow_mut().retain(|_, idle| {
                idle.retain(|idle| idle.since.elapsed() < MAX_IDLE);
                !idle.is_empty()
            });
        }
    }
}

async fn connect(socket: &Path, max_head: usize) -> io::Result<Box<Link>> {
    let head = HeadBudget::new(max_head);
    let stream = ReadsOn::new(UnixStream::connect(socket).await?, head.clone());
    let (sender, connection) =
        answers(max_head).writev(false).handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    Ok(Box::new(Link { sender, connection, head, open: true }))
}

/// How the answers of cells are read.
pub(super) fn answers(max_head: usize) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_headers(MAX_HEADERS).max_header_size(max_head);
    builder
}

impl Link {
    /// Gives the connection its turn.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if self.open && Pin::new(&mut self.connection).poll(cx).is_ready() {
            self.open = false;
        }
    }

    /// Whether another request can be sent. Finds out in one turn, without waiting.
    async fn is_ready(&mut self) -> bool {
        poll_fn(|cx| {
            self.drive(cx);
            Poll::Ready(self.open && self.sender.is_ready())
        })
        .await
    }

    async fn exchange(&mut self, request: Request<Upload>) -> Result<Response<Incoming>, SendError> {
        let mut response = pin!(self.sender.try_send_request(request));
        let (connection, open) = (&mut self.connection, &mut self.open);
        let answered = poll_fn(|cx| {
            if *open && Pin::new(&mut *connection).poll(cx).is_ready() {
                *open = false;
            }
            response.as_mut().poll(cx)
        });
        answered.await.map_err(|mut error| match error.take_message() {
            Some(request) => SendError::NotSent(Box::new(request)),
            None => SendError::Failed(error.into_error()),
        })
    }
}

/// An answer's body and the connection that it comes on. Dropped when the body is complete, the
/// connection goes back to the pool; dropped before, it is closed, which the handler sees as an
/// abort.
#[derive(Debug)]
pub(super) struct Exchange {
    link: Option<Box<Link>>,
    body: Counted,
    /// Of the request. `None`: it has no body.
    upload: Option<Arc<Progress>>,
    pool: Rc<Pool>,
    id: u64,
}

impl Exchange {
    /// Whether what went wrong is the client's part.
    pub(super) fn upload_failed(&self) -> bool {
        self.upload.as_ref().is_some_and(|upload| upload.has_failed())
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
        // First the body, which tells the connection that there is room, then the connection, then
        // what that brought.
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
        if let Some(link) = self.link.take().filter(|link| link.open && self.is_complete()) {
            self.pool.put(self.id, link);
        }
    }
}
