//! The framed transport: the requests of one thread to a cell and their responses, multiplexed over
//! one Unix stream. The requests of one turn of the event loop leave in one write.
//!
//! A task per connection reads and writes (`driver`). A request is driven by its own task, which
//! sends its body and takes the response's. Dropping the response before its end resets the stream,
//! which the handler sees as an abort.
//!
//! The cell is not trusted. Bytes that break the framing end the connection and everything on it; a
//! frame whose content is invalid ends its stream.

mod body;
mod conn;
mod connect;
mod driver;
mod ids;
mod sending;
mod stream;
mod wire;

use std::cell::RefCell;
use std::future::poll_fn;
use std::path::Path;
use std::rc::Rc;
use std::task::Poll;

use bytes::BytesMut;
use http::{Request, Response};
use switchyard_contract::bounds::MAX_HEADERS;
use switchyard_edge::upload::{Upload, UploadError};
use switchyard_edge::upstream::BadAnswer;
use switchyard_protocol::frame::HeadLimits;
use switchyard_protocol::frame::encode::TooLong;
use tokio::task::JoinSet;

pub(crate) use self::body::FramedBody;
use self::conn::Conn;
pub(crate) use self::conn::OpenStream;
use self::driver::Driver;
use self::ids::IdMap;
use self::sending::{BeginError, Sending};
pub(crate) use self::stream::{Answer, Ending};

/// Sweeps, one a second, after which a connection that had no streams is closed.
const IDLE_SWEEPS: u8 = 3;

/// The connections of one thread.
#[derive(Debug)]
pub(crate) struct Transport {
    limits: HeadLimits,
    conns: RefCell<IdMap<u64, Rc<Conn>>>,
    drivers: RefCell<JoinSet<()>>,
}

/// The reason why a cell gave no response.
#[derive(Debug)]
pub(crate) enum SendError {
    /// No handler got the request, which is given back.
    NotSent(Box<Request<Upload>>),
    /// A handler may have got the request.
    Failed(Failure),
}

/// The reason why a request or its response ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// The client failed to send the request's body.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// The cell sent something that is not a response, or broke it off.
    #[error("the response is invalid")]
    Invalid(BadAnswer),
    /// The connection ended.
    #[error("the connection to the process ended")]
    Ended,
}

impl Transport {
    /// No connections yet. The heads of responses have at most `max_head` bytes.
    pub(crate) fn new(max_head: usize) -> Self {
        let limits = HeadLimits { bytes: max_head, headers: MAX_HEADERS };
        Self { limits, conns: RefCell::default(), drivers: RefCell::default() }
    }

    /// Sends `request`, whose target is a whole URL, to the cell with the id `cell`, which listens
    /// on `socket`. Waits for the head of the response.
    ///
    /// # Errors
    /// The cell does not respond. The request is given back if the cell takes no connection, and if
    /// no frame can express the request.
    pub(crate) async fn send(
        &self,
        cell: u64,
        socket: &Path,
        mut request: Request<Upload>,
    ) -> Result<Response<FramedBody>, SendError> {
        let Some(conn) = self.conn(cell, socket) else { return Err(not_sent(request)) };
        if !conn.has_room() {
            Box::pin(conn.room()).await;
        }
        let begun = poll_fn(|cx| Poll::Ready(Sending::begin(&conn, &mut request, cx)));
        let (mut stream, mut sending) = match begun.await {
            Ok(begun) => begun,
            Err(BeginError::NotSent) => return Err(not_sent(request)),
            Err(BeginError::Upload(error)) => return Err(SendError::Failed(error.into())),
        };
        let head = poll_fn(|cx| match sending.poll(request.body_mut(), &mut stream, cx) {
            Ok(()) => stream.poll_head(cx),
            Err(error) => Poll::Ready(Err(Ending::Failed(error.into()))),
        });
        match head.await {
            Ok(head) => Ok(FramedBody::response(head, stream, request.into_body(), sending)),
            Err(Ending::Failed(failure)) => Err(SendError::Failed(failure)),
            Err(Ending::NotSent) => match sending.take_back(request.body_mut()) {
                true => Err(not_sent(request)),
                false => Err(SendError::Failed(Failure::Ended)),
            },
        }
    }

    /// Begins a request without a wait: `append` appends it, whole, as the stream that it gets.
    /// `None`: the cell takes no connection, or no request for now.
    pub(crate) fn begin(
        &self,
        cell: u64,
        socket: &Path,
        (is_head, body): (bool, usize),
        append: impl FnOnce(&mut BytesMut, u32) -> Result<(), TooLong>,
    ) -> Option<OpenStream> {
        let conn = self.conn(cell, socket).filter(|conn| conn.has_room())?;
        conn.begin_whole(is_head, body, append)
    }

    /// Closes the connections that were idle for too long. To be called once a second.
    pub(crate) fn sweep(&self) {
        self.conns.borrow_mut().retain(|_, conn| conn.sweep(IDLE_SWEEPS));
        let mut drivers = self.drivers.borrow_mut();
        while drivers.try_join_next().is_some() {}
    }

    /// Returns the connection to a cell. `None`: the cell takes none.
    fn conn(&self, cell: u64, socket: &Path) -> Option<Rc<Conn>> {
        let mut conns = self.conns.borrow_mut();
        if let Some(conn) = conns.get(&cell).filter(|conn| conn.is_open()) {
            return Some(conn.clone());
        }
        let stream = connect::connect(socket).ok()?;
        let conn = Rc::new(Conn::new(self.limits));
        self.drivers.borrow_mut().spawn_local(Driver::new(stream, conn.clone()).run());
        conns.insert(cell, conn.clone());
        Some(conn)
    }
}

fn not_sent(request: Request<Upload>) -> SendError {
    SendError::NotSent(Box::new(request))
}

#[cfg(test)]
mod tests;
