//! Connections to cells, over their Unix sockets.

use std::io;
use std::time::Duration;

use switchyard_edge::pool::{Connector, Pool, PoolSettings, PooledBody};
use switchyard_edge::upload::Upload;
use tokio::net::UnixStream;

use crate::cells::Cell;

/// The time for which an idle connection to a cell is kept. node:http servers hang up after five
/// idle seconds (`keepAliveTimeout`).
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// Connects to cells.
#[derive(Debug)]
pub(super) struct CellConnector;

/// One thread's connections to cells.
pub(super) type CellPool = Pool<CellConnector, Upload>;

/// The body of a cell's response.
pub(super) type CellBody = PooledBody<CellConnector, Upload>;

/// Returns a pool without connections. A cell is not trusted: the heads of its responses have at
/// most `max_head` bytes.
pub(super) fn pool(max_head: usize) -> CellPool {
    Pool::new(PoolSettings { idle_timeout: IDLE_TIMEOUT, max_head: Some(max_head) })
}

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
