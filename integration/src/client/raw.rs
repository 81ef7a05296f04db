//! A connection on which bytes are sent as they are.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Client;
use crate::within;

/// Open until it is dropped.
#[derive(Debug)]
pub struct Raw(TcpStream);

impl Client {
    /// Connects, and sends nothing.
    pub async fn open(&self) -> Raw {
        let stream = TcpStream::connect(self.address).await.expect("the listener accepts");
        stream.set_nodelay(true).expect("a connection can be set up");
        Raw(stream)
    }
}

impl Raw {
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("bytes can be sent");
    }

    /// # Errors
    /// The other end has closed the connection.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.0.write_all(bytes.as_ref()).await
    }

    /// Sends no more, and goes on reading.
    pub async fn end(&mut self) {
        self.0.shutdown().await.expect("a connection can be ended");
    }

    /// Reads until that comes, and gives all up to there and what came with it.
    pub async fn until(&mut self, end: &str) -> String {
        let mut text = String::new();
        let mut piece = [0; 4096];
        while !text.contains(end) {
            let length =
                within("more of an answer", self.0.read(&mut piece)).await.expect("an answer arrives");
            assert!(length > 0, "{end:?} has not come when the other end closes: {text}");
            text.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
        text
    }

    /// Returns the number of the next bytes; `None` if the other end has closed.
    pub async fn some(&mut self) -> Option<usize> {
        let mut piece = [0; 1 << 16];
        self.0.read(&mut piece).await.ok().filter(|length| *length > 0)
    }

    /// All that still comes until the other end closes.
    pub async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = within("the other end closes", self.0.read_to_end(&mut rest)).await;
        String::from_utf8_lossy(&rest).into_owned()
    }
}
