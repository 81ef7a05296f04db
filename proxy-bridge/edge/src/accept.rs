//! Accepts the connections of a listener, and survives failures of single ones.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::sleep;

use super::socket::{AsyncListener, Listener, Stream};
use super::throttle::LogThrottle;

/// Pause after an error that does not belong to a single connection (no descriptors left): long
/// enough for some to be given back, short enough to go unnoticed.
const PAUSE: Duration = Duration::from_millis(10);

/// Accepts connections, and logs when none can be accepted.
#[derive(Debug)]
pub struct Acceptor {
    /// The listener's name in log lines.
    name: &'static str,
    listener: AsyncListener,
    failures: LogThrottle,
}

impl Acceptor {
    /// Accepts the connections of `listener`, which log lines call `name`. Called in the context of
    /// the runtime.
    ///
    /// # Errors
    /// The listener cannot be used in the runtime.
    pub fn new(name: &'static str, listener: Listener) -> io::Result<Self> {
        Ok(Self { name, listener: AsyncListener::new(listener)?, failures: LogThrottle::default() })
    }

    /// Returns the next connection and its peer's address. Retries after every error.
    ///
    /// Cancel safe: no connection is lost when the future is dropped.
    pub async fn accept(&mut self) -> (Stream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    if let Some(count) = self.failures.hit() {
                        let name = self.name;
                        tracing::warn!(
                            count,
                            "{name}: connections cannot be accepted ({count} failures): {error}"
                        );
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Returns true if the client of a connection gave it up before it was accepted.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
