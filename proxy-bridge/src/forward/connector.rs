//! Connections to the public listeners of routers.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Empty};
use switchyard_edge::pool::{Connector, Pool, PoolSettings, PooledBody};
use switchyard_edge::socket::Stream;
use switchyard_edge::upload::Upload;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::address::Target;
use crate::routers::Router;

/// The time that a router has to accept a connection. Routers are near: they do so within
/// milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The time for which an idle connection to a router is kept. Routers close connections that are
/// idle for 30 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Connects to routers.
#[derive(Debug)]
pub(super) struct RouterConnector;

/// A request's body: the client's, or the empty one of a request that can be sent again.
pub(super) type ForwardUpload = Either<Upload, Empty<Bytes>>;

/// One thread's connections to routers.
pub(super) type RouterPool = Pool<RouterConnector, ForwardUpload>;

/// The body of a router's response.
pub(super) type RouterBody = PooledBody<RouterConnector, ForwardUpload>;

/// Returns a pool without connections. Routers are trusted: they remove interim (1xx) responses,
/// and bound the heads of the others.
pub(super) fn pool() -> RouterPool {
    Pool::new(PoolSettings { idle_timeout: IDLE_TIMEOUT, max_head: None })
}

impl Connector for RouterConnector {
    type Target = Router;
    type Id = String;
    type Stream = Stream;

    fn id(router: &Router) -> String {
        router.name().to_owned()
    }

    async fn connect(router: &Router) -> io::Result<Stream> {
        timeout(CONNECT_TIMEOUT, connect(router.target())).await?
    }
}

async fn connect(target: &Target) -> io::Result<Stream> {
    match target {
        Target::Host(host, port) => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            Ok(Stream::Tcp(stream))
        }
        Target::Path(path) => UnixStream::connect(path).await.map(Stream::Unix),
    }
}
