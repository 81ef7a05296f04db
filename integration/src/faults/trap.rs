//! Other listeners on this machine: a server that the policy opens to projects and that redirects
//! to the admin listener, and a datagram socket that no project may reach.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;

/// Listens until the runtime ends.
#[derive(Debug)]
pub(super) struct Trap {
    /// Answers `allowed`; `/302/x` and `/307/x` lead to `/x` of [`Trap::lead_to`].
    pub(super) allowed: u16,
    pub(super) datagrams: UdpSocket,
    target: watch::Sender<Option<SocketAddr>>,
}

impl Trap {
    pub(super) async fn set() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let allowed = listener.local_addr().expect("it is bound").port();
        let datagrams = UdpSocket::bind("127.0.0.1:0").await.expect("a port is free");
        let (target, seen) = watch::channel(None);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = seen.clone();
                let service = service_fn(move |request| answer(request, *seen.borrow()));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { allowed, datagrams, target }
    }

    pub(super) fn lead_to(&self, address: SocketAddr) {
        self.target.send_replace(Some(address));
    }

    pub(super) fn port(&self) -> u16 {
        self.datagrams.local_addr().expect("it is bound").port()
    }

    /// Returns true if a datagram has arrived.
    pub(super) fn was_reached(&self) -> bool {
        self.datagrams.try_recv(&mut [0; 64]).is_ok()
    }
}

fn answer(
    request: Request<Incoming>,
    target: Option<SocketAddr>,
) -> impl Future<Output = Result<Response<Full<Bytes>>, Infallible>> {
    let path = request.uri().path();
    let redirect = [("/302", 302), ("/307", 307)]
        .into_iter()
        .find_map(|(prefix, status)| Some((path.strip_prefix(prefix)?, status, target?)));
    let response = match redirect {
        Some((path, status, target)) => Response::builder()
            .status(status)
            .header("location", format!("http://{target}{path}"))
            .body(Full::default()),
        None => Response::builder().body(Full::from("allowed")),
    };
    std::future::ready(Ok(response.expect("the test's path is one")))
}
