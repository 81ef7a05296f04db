//! A listener whose port stays reserved while no one listens on it.

use std::net::SocketAddr;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::Handler;

pub(super) struct Listener {
    pub(super) address: SocketAddr,
    _port: TcpSocket,
    serving: Option<JoinSet<()>>,
}

impl Listener {
    /// Reserves a port, also for the times without a listener on it.
    pub(super) fn bind() -> Self {
        let port = TcpSocket::new_v4().unwrap();
        port.set_reuseaddr(true).unwrap();
        port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self { address: port.local_addr().unwrap(), _port: port, serving: None }
    }

    pub(super) async fn serve(&mut self, handler: Handler) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(connection(stream, handler.clone()));
            }
        });
        self.serving = Some(serving);
    }

    pub(super) async fn stop(&mut self) {
        if let Some(mut serving) = self.serving.take() {
            serving.shutdown().await;
        }
    }
}

async fn connection(stream: TcpStream, handler: Handler) {
    let service = service_fn(move |request| handler(request));
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}
