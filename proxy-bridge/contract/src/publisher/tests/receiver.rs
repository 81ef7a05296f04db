//! A receiver of events on a real socket, just enough HTTP/1.1 for a test.

use http::{HeaderMap, HeaderName};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;

/// One request as it came in.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Received {
    pub(super) fn event(&self) -> Event {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn id(&self) -> String {
        self.headers["webhook-id"].to_str().unwrap().to_owned()
    }
}

pub(super) struct Receiver {
    port: u16,
    requests: mpsc::UnboundedReceiver<Received>,
}

type Answer = Arc<dyn Fn(&Received) -> u16 + Send + Sync>;

impl Receiver {
    /// Answers each request with the status that `answer` gives; with 0, not at all.
    pub(super) async fn answering(answer: impl Fn(&Received) -> u16 + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests_in, requests) = mpsc::unbounded_channel();
        let answer: Answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer.clone(), requests_in.clone()));
            }
        });
        Self { port, requests }
    }

    pub(super) fn url(&self) -> Url {
        format!("http://127.0.0.1:{}/events", self.port).parse().unwrap()
    }

    /// The next request, awaited.
    pub(super) async fn next(&mut self) -> Received {
        tokio::time::timeout(LONG, self.requests.recv()).await.expect("a request in time").unwrap()
    }

    /// Returns all received events that were not taken yet.
    pub(super) fn all(&mut self) -> Vec<Received> {
        std::iter::from_fn(|| self.requests.try_recv().ok()).collect()
    }
}

async fn serve(stream: TcpStream, answer: Answer, requests: mpsc::UnboundedSender<Received>) {
    let mut stream = BufReader::new(stream);
    while let Some(received) = read(&mut stream).await {
        let status = answer(&received);
        let _ = requests.send(received);
        if status == 0 {
            std::future::pending::<()>().await;
        }
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
        if stream.write_all(head.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut headers = HeaderMap::new();
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|length| *length > 0)?;
    assert!(line.starts_with("POST /events HTTP/1.1"), "{line}");
    loop {
        line.clear();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.parse::<HeaderName>().ok()?, value.parse().ok()?);
    }
    let length: usize = headers.get("content-length")?.to_str().ok()?.parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Received { headers, body })
}
