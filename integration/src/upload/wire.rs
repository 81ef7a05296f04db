//! A request that stops where the test requires it: byte by byte on a connection of its own.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Upload;
use crate::client::Client;
use crate::within;

/// A request that has been sent in part.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    bytes: Vec<u8>,
    head: usize,
    sent: usize,
}

impl Wire {
    /// Connects; nothing has been sent yet.
    pub async fn open(client: &Client, path: &str, upload: &Upload) -> Self {
        Self::open_by_name(client, &client.address.to_string(), path, upload).await
    }

    /// The same, for an end that goes by the host's name.
    pub async fn open_by_name(client: &Client, host: &str, path: &str, upload: &Upload) -> Self {
        let stream = TcpStream::connect(client.address).await.expect("the listener accepts");
        stream.set_nodelay(true).expect("a connection can be set up");
        let mut bytes = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {}\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            upload.content_type(),
            upload.body().len(),
        )
        .into_bytes();
        let head = bytes.len();
        bytes.extend(upload.body());
        Self { stream, bytes, head, sent: 0 }
    }

    /// Returns the number of bytes, including the request's head.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the offset of the body.
    pub fn head_len(&self) -> usize {
        self.head
    }

    /// Sends until this many bytes were sent in all. A peer that stops reading is not an error
    /// here.
    pub async fn send_until(&mut self, offset: usize) {
        let offset = offset.clamp(self.sent, self.bytes.len());
        let sent = within("bytes are taken", self.stream.write_all(&self.bytes[self.sent..offset])).await;
        if sent.is_ok() {
            self.sent = offset;
        }
    }

    /// Sends the rest, and returns the answer until the other end closes.
    pub async fn finish(mut self) -> String {
        self.send_until(self.bytes.len()).await;
        let mut answer = Vec::new();
        let _ = within("the other end closes", self.stream.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}
