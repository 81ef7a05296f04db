//! The two public listeners, which treat clients alike: a router's, and that of a bridge in front of it.

use super::Bridge;
use super::replicas::Replicas;
use crate::client::Client;
use crate::router::Router;
use crate::volume::Volume;

/// A router and a bridge, both running.
#[derive(Debug)]
pub struct Fronts {
    replicas: Replicas,
    /// The bridge in front of the router.
    pub bridge: Bridge,
}

impl Fronts {
    /// Starts both.
    pub async fn start(volume: &Volume) -> Self {
        Self::start_with(volume, &[]).await
    }

    /// Starts both. The flags are the router's.
    pub async fn start_with(volume: &Volume, flags: &[(&str, u64)]) -> Self {
        let replicas = Replicas::start_each(volume.root(), 1, |_, builder| {
            flags.iter().fold(builder, |builder, (name, value)| builder.flag(name, value))
        });
        let replicas = replicas.await;
        let bridge = replicas.start_bridge().await;
        Self { replicas, bridge }
    }

    /// The router.
    ///
    /// # Panics
    /// Never: the router runs as long as this exists.
    pub fn router(&self) -> &Router {
        self.replicas.iter().next().expect("the router runs")
    }

    /// Both public listeners, with a name for messages.
    pub fn each(&self) -> [(&'static str, &Client); 2] {
        [("router", &self.router().public), ("bridge", &self.bridge.forward)]
    }
}
