//! The client connection of a request, as handlers see it.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::connections::{Busy, Connection, Permit, RequestKind};

/// The connection that a request came on. An extension of each request; clones are the same
/// connection.
#[derive(Clone)]
pub struct ClientConn(Arc<Shared>);

struct Shared {
    connection: Connection,
    tunnel: Mutex<Option<Tunnel>>,
}

pub(super) type Tunnel = Pin<Box<dyn Future<Output = ()> + Send>>;

impl ClientConn {
    pub(super) fn new(connection: Connection) -> Self {
        Self(Arc::new(Shared { connection, tunnel: Mutex::default() }))
    }

    /// Returns a permit for a request on this connection.
    ///
    /// # Errors
    /// All permits of this kind are taken.
    pub fn permit(&self, kind: RequestKind) -> Result<Permit, Busy> {
        self.0.connection.permit(kind)
    }

    /// Sets the future that drives the connection once its answer 101 has been sent.
    pub fn set_tunnel(&self, tunnel: impl Future<Output = ()> + Send + 'static) {
        *self.0.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::pin(tunnel));
    }

    pub(super) fn take_tunnel(&self) -> Option<Tunnel> {
        self.0.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Resolves when the connection has to make room for a new one.
    pub(super) async fn evicted(&self) {
        self.0.connection.evicted().await;
    }
}

impl fmt::Debug for ClientConn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientConn").field(&self.0.connection).finish()
    }
}

impl<S: Sync> FromRequestParts<S> for ClientConn {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts
            .extensions
            .get::<Self>()
            .expect("an ApiListener adds the connection to each request")
            .clone())
    }
}
