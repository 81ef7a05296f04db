//! Ends that the harness's client and router do not play: without a library, or with TLS.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use switchyard_integration::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

/// Accepts a request and hangs up, like a router that is killed. Counts the requests.
pub(crate) async fn breaking() -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let taken = Arc::new(AtomicU64::new(0));
    let counter = taken.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if stream.read(&mut [0; 1024]).await.is_ok_and(|length| length > 0) {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (address, taken)
}

/// Sends bytes from an address of this machine that is not the ingress's own.
pub(crate) async fn from(ip: [u8; 4], to: SocketAddr, bytes: &str) -> String {
    let socket = TcpSocket::new_v4().expect("a socket can be made");
    socket.bind(SocketAddr::from((ip, 0))).expect("the address is this machine's");
    let mut stream = socket.connect(to).await.expect("the ingress accepts");
    stream.write_all(bytes.as_bytes()).await.expect("a request can be sent");
    let mut answer = String::new();
    within("the answer ends", stream.read_to_string(&mut answer)).await.expect("an answer arrives");
    answer
}

pub(crate) async fn by_tls(to: SocketAddr, bytes: &str) -> String {
    let mut command = tokio::process::Command::new("openssl");
    command.args(["s_client", "-quiet", "-connect", &to.to_string(), "-servername", "blog.example.com"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().expect("openssl is installed: tools/deps test");
    let mut stdin = child.stdin.take().expect("standard input is piped");
    stdin.write_all(bytes.as_bytes()).await.expect("a request can be sent");
    let output = within("openssl ends with the answer", child.wait_with_output()).await;
    let output = output.expect("a child can be waited for");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The JSON in an answer as it came, whether in chunks or not.
pub(crate) fn json(answer: &str) -> serde_json::Value {
    let (begin, end) = (answer.find('{').unwrap_or_default(), answer.rfind('}').map_or(0, |end| end + 1));
    serde_json::from_str(&answer[begin..end]).unwrap_or_else(|error| panic!("{error} in {answer}"))
}

/// Requests wait until it is opened.
pub(crate) async fn gate() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

/// Answers waiting and new requests, until the test is over.
pub(crate) fn open(gate: TcpListener) {
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = gate.accept().await {
            let is_request = stream.read(&mut [0; 1024]).await.is_ok_and(|length| length > 0);
            if is_request {
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    });
}
