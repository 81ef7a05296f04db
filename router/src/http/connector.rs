//! Connections to cells, over their Unix sockets: frames where the cell's server takes them, and
//! HTTP/1.1 for all others, for upgrades, and for what no frame can express.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use hyper::body::{Body, Frame, SizeHint};
use switchyard_edge::pool::{Connector, Pool, PoolSettings, PooledBody, PooledConn, SendError};
use switchyard_edge::upload::{Upload, UploadError};
use switchyard_edge::upstream::BadAnswer;
use switchyard_protocol::frame::encode::TooLong;
use tokio::net::UnixStream;

use crate::cells::Cell;
use crate::transport::{self, Failure, FramedBody, OpenStream, Transport};

/// The time for which an idle connection to a cell is kept. node:http servers hang up after five
/// idle seconds (`keepAliveTimeout`).
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// One thread's connections to cells.
#[derive(Debug)]
pub(super) struct CellClient {
    pool: Rc<CellPool>,
    transport: Transport,
}

/// The body of a cell's response.
#[derive(Debug)]
pub(super) enum CellBody {
    Http(PooledBody<CellConnector, Upload>),
    Framed(FramedBody),
}

/// The reason why a cell gave no response.
pub(super) enum CellError {
    /// The request never reached the cell, and is given back.
    NotSent(Box<Request<Upload>>),
    Failed(Failure),
}

impl CellClient {
    /// No connections yet. A cell is not trusted: the heads of its responses have at most `max_head`
    /// bytes.
    pub(super) fn new(max_head: usize) -> Self {
        let settings = PoolSettings { idle_timeout: IDLE_TIMEOUT, max_head: Some(max_head) };
        Self { pool: Rc::new(Pool::new(settings)), transport: Transport::new(max_head) }
    }

    /// Sends a request and waits for the head of its response.
    ///
    /// # Errors
    /// The cell does not respond.
    pub(super) async fn send(
        &self,
        cell: &Cell,
        mut request: Request<Upload>,
    ) -> Result<Response<CellBody>, CellError> {
        if let Some(socket) = cell.transport() {
            match self.transport.send(cell.id(), socket, request).await {
                Ok(response) => return Ok(response.map(CellBody::Framed)),
                Err(transport::SendError::Failed(failure)) => return Err(CellError::Failed(failure)),
                Err(transport::SendError::NotSent(unsent)) => request = *unsent,
            }
        }
        let sent = self.pool.send(cell, request).await;
        sent.map(|response| response.map(CellBody::Http)).map_err(CellError::from)
    }

    /// Begins a request without a wait: see [`Transport::begin`].
    pub(super) fn begin(
        &self,
        cell: u64,
        socket: &Path,
        size: (bool, usize),
        append: impl FnOnce(&mut BytesMut, u32) -> Result<(), TooLong>,
    ) -> Option<OpenStream> {
        self.transport.begin(cell, socket, size, append)
    }

    /// Sends an upgrade request, on a connection of its own.
    ///
    /// # Errors
    /// The cell does not respond.
    pub(super) async fn send_alone(
        &self,
        cell: &Cell,
        request: Request<Upload>,
    ) -> Result<Response<CellBody>, CellError> {
        let sent = self.pool.send_alone(cell, request).await;
        sent.map(|response| response.map(CellBody::Http)).map_err(CellError::from)
    }

    /// Closes the connections that have been idle for too long.
    pub(super) fn sweep(&self) {
        self.pool.sweep();
        self.transport.sweep();
    }
}

impl From<SendError<Upload>> for CellError {
    fn from(error: SendError<Upload>) -> Self {
        match error {
            SendError::NotSent(request) => Self::NotSent(request),
            SendError::Failed { error, .. } => Self::Failed(failure(&error)),
        }
    }
}

/// Returns the reason for an error of an HTTP/1.1 connection.
fn failure(error: &hyper::Error) -> Failure {
    match (UploadError::behind(error), BadAnswer::of(error)) {
        // A failure of the client is not the cell's.
        (Some(error), _) => Failure::Upload(error),
        (None, Some(bad)) => Failure::Invalid(bad),
        (None, None) => Failure::Ended,
    }
}

impl CellBody {
    /// Takes the connection, for the bytes that follow a switch of protocols.
    pub(super) fn into_conn(self) -> Option<Box<PooledConn<UnixStream, Upload>>> {
        match self {
            Self::Http(body) => body.into_conn(),
            Self::Framed(_) => None,
        }
    }
}

impl Body for CellBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match self.get_mut() {
            Self::Framed(body) => Pin::new(body).poll_frame(cx),
            Self::Http(body) => Pin::new(&mut *body).poll_frame(cx).map_err(|error| {
                // The error of the client's body may be lost on the way.
                let is_upload = body.upload_failed();
                if is_upload { Failure::Upload(UploadError::BrokenOff) } else { failure(&error) }
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http(body) => body.is_end_stream(),
            Self::Framed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http(body) => body.size_hint(),
            Self::Framed(body) => body.size_hint(),
        }
    }
}

/// Connects to cells.
#[derive(Debug)]
pub(super) struct CellConnector;

/// The connections that speak HTTP/1.1.
type CellPool = Pool<CellConnector, Upload>;

impl Connector for CellConnector {
    type Target = Cell;
    type Id = u64;
    type Stream = UnixStream;

    fn id(cell: &Cell) -> u64 {
        cell.id()
    }

    async fn connect(cell: &Cell) -> io::Result<UnixStream> {
        UnixStream::connect(cell.socket()).await
    }
}
