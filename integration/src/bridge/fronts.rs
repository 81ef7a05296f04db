//! The two public listeners, which treat clients alike: a router's, and that of a bridge in front of it.

use super::Bridge;
use super::replicas::Replicas;
use crate::admin::Admin;
use crate::client::Client;
use crate::log::Log;
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

/// The two public listeners with the same limits on clients: that of one router, and that of a bridge whose
/// own router has the default limits.
#[derive(Debug)]
pub struct LimitedFronts {
    router: Router,
    behind: Replicas,
    bridge: Bridge,
}

/// A public listener under test.
#[derive(Debug)]
pub struct Front<'a> {
    pub name: &'static str,
    pub public: &'a Client,
    /// The router that runs the projects.
    pub router: &'a Router,
    pub log: &'a Log,
    /// The listener with the metrics.
    metrics: Admin,
    refused_connections: &'static str,
}

impl LimitedFronts {
    /// Starts both with these flags.
    pub async fn start(volume: &Volume, flags: &[(&str, &str)]) -> Self {
        let router =
            flags.iter().fold(Router::builder(volume), |builder, (name, value)| builder.flag(name, value));
        let router = router.start().await;
        let behind = Replicas::start(volume, 1).await;
        let bridge = flags.iter().fold(behind.bridge(), |builder, (name, value)| builder.flag(name, value));
        let bridge = bridge.start().await;
        bridge.asks_all().await;
        Self { router, behind, bridge }
    }

    /// Both listeners.
    pub fn each(&self) -> [Front<'_>; 2] {
        let router = Front {
            name: "router",
            public: &self.router.public,
            router: &self.router,
            log: &self.router.log,
            metrics: self.router.admin.clone(),
            refused_connections: "switchyard_connections_refused_total",
        };
        let bridge = Front {
            name: "bridge",
            public: &self.bridge.forward,
            router: &self.behind[0],
            log: &self.bridge.log,
            metrics: Admin { client: self.bridge.client.clone() },
            refused_connections: "switchyard_bridge_forward_connections_refused_total",
        };
        [router, bridge]
    }
}

impl Front<'_> {
    /// The number of connections that were refused because of a limit, by its label.
    pub async fn refused_connections(&self, label: &str) -> Option<f64> {
        self.metrics.metric(self.refused_connections, label).await
    }
}
