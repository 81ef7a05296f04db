//! A volume whose tasks run: `switchyard serve`, or routers and a bridge apart, with a listener of
//! webhooks.

use std::path::Path;

use tempfile::TempDir;

use super::RunsApi;
use crate::bridge::addresses::reserve;
use crate::bridge::replicas::Replicas;
use crate::bridge::{self, Bridge};
use crate::client::Client;
use crate::router;
use crate::serve::{self, Serve};
use crate::volume::Volume;

/// `switchyard serve`. What is dropped first comes first.
#[derive(Debug)]
pub struct Served {
    pub api: RunsApi,
    pub hooks: Client,
    pub serve: Serve,
}

impl Served {
    pub async fn start(volume: &Volume) -> Self {
        Self::start_with(volume, |builder| builder).await
    }

    /// Starts it with settings that are changed before.
    pub async fn start_with(volume: &Volume, change: impl FnOnce(serve::Builder) -> serve::Builder) -> Self {
        let hooks = Client::new(reserve());
        let builder = Serve::builder(volume).flag("hooks", hooks.address);
        let serve = change(builder).start().await;
        Self { api: RunsApi::new(&serve.api), hooks, serve }
    }
}

/// Routers and a bridge in processes of their own. What is dropped first comes first.
#[derive(Debug)]
pub struct Routed {
    pub bridge: Bridge,
    pub api: RunsApi,
    pub hooks: Client,
    pub routers: Replicas,
    /// The folder of the bridge's `--state`.
    pub state: TempDir,
}

impl Routed {
    pub async fn start(volume: &Volume, routers: usize) -> Self {
        Self::start_with(volume, routers, |_, router| router, |bridge| bridge).await
    }

    /// Starts routers, each changed by its number, and a bridge that is changed before.
    pub async fn start_with(
        volume: &Volume,
        routers: usize,
        router: impl Fn(usize, router::Builder) -> router::Builder,
        bridge: impl FnOnce(bridge::Builder) -> bridge::Builder,
    ) -> Self {
        let routers = Replicas::start_each(volume.root(), routers, router).await;
        let state = tempfile::tempdir().expect("a temporary folder can be made");
        let hooks = Client::new(reserve());
        let builder = keeping(routers.bridge(), state.path(), &hooks);
        let bridge = bridge(builder).start().await;
        bridge.asks_all().await;
        Self { api: RunsApi::new(&bridge.client), bridge, hooks, routers, state }
    }

    /// Ends the bridge with SIGKILL, and waits for its end.
    pub async fn kill_bridge(&self) {
        self.bridge.signal(rustix::process::Signal::KILL);
        self.bridge.has_ended().await;
    }

    /// Starts the bridge again on its state, once it has ended.
    pub async fn start_bridge(&mut self) {
        let builder = keeping(self.routers.bridge(), self.state.path(), &self.hooks);
        self.bridge = builder.start().await;
        self.bridge.asks_all().await;
        self.api = RunsApi::new(&self.bridge.client);
    }

    /// Ends the bridge with SIGKILL and starts it again on its state.
    pub async fn restart_bridge(&mut self) {
        self.kill_bridge().await;
        self.start_bridge().await;
    }
}

/// A bridge with a state folder and a listener of webhooks.
fn keeping(builder: bridge::Builder, state: &Path, hooks: &Client) -> bridge::Builder {
    builder.flag("state", state.display()).flag("hooks", hooks.address)
}
