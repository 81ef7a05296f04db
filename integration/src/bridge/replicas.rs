//! Several routers on one volume that report to one bridge.

use std::ops::Index;
use std::path::{Path, PathBuf};

use futures_util::future::join_all;

use super::addresses::{BridgeAddresses, reserve};
use super::{Bridge, Builder};
use crate::client::Client;
use crate::router::{self, Router};
use crate::volume::Volume;
use crate::{eventually, within};

/// Each has a state folder and ports of its own, and keeps them when it starts again.
#[derive(Debug)]
pub struct Replicas {
    projects: PathBuf,
    pub addresses: BridgeAddresses,
    replicas: Vec<Replica>,
}

#[derive(Debug)]
struct Replica {
    public: Client,
    admin: Client,
    builder: router::Builder,
    /// None while it does not run.
    router: Option<Router>,
}

impl Replicas {
    /// Starts them, and returns when the first scans are done.
    pub async fn start(volume: &Volume, count: usize) -> Self {
        Self::start_each(volume.root(), count, |_, builder| builder).await
    }

    /// The same, each changed by its number.
    pub async fn start_each(
        projects: &Path,
        count: usize,
        change: impl Fn(usize, router::Builder) -> router::Builder,
    ) -> Self {
        let addresses = BridgeAddresses::reserve();
        let replica = |index| {
            let (public, admin) = (Client::new(reserve()), Client::new(reserve()));
            let builder = router::Builder::for_projects(projects)
                .flag("listen", public.address)
                .flag("admin", admin.address)
                .flag("event-url", addresses.events_url())
                .flag("event-secret-file", addresses.secret_file().display());
            Replica { public, admin, builder: change(index, builder), router: None }
        };
        let mut replicas: Vec<Replica> = (0..count).map(replica).collect();
        join_all(replicas.iter_mut().map(Replica::start)).await;
        Self { projects: projects.to_owned(), addresses, replicas }
    }

    /// A bridge that knows all of them, and that they post their events to.
    pub fn bridge(&self) -> Builder {
        let mut builder = Builder::for_projects(&self.projects).at(&self.addresses);
        for replica in &self.replicas {
            builder = builder.router_at(&replica.public, &replica.admin);
        }
        builder
    }

    /// Starts such a bridge.
    pub async fn start_bridge(&self) -> Bridge {
        let bridge = self.bridge().start().await;
        bridge.asks_all().await;
        bridge
    }

    /// Those that run.
    pub fn iter(&self) -> impl Iterator<Item = &Router> {
        self.replicas.iter().filter_map(|replica| replica.router.as_ref())
    }

    /// The admin URL by which the bridge knows one.
    pub fn admin_url(&self, index: usize) -> String {
        format!("http://{}", self.replicas[index].admin.address)
    }

    /// Hands over one that runs, to be ended.
    pub fn take(&mut self, index: usize) -> Router {
        self.replicas[index].router.take().expect("it runs")
    }

    /// SIGKILL, then waits for its end.
    pub async fn kill(&mut self, index: usize) {
        let router = self.take(index);
        router.signal(rustix::process::Signal::KILL);
        router.ended().await;
    }

    /// Stops one router: its listeners accept connections and do not answer. Returns when the
    /// bridge has noticed.
    pub async fn hang(&self, index: usize, bridge: &Bridge) {
        self[index].signal(rustix::process::Signal::STOP);
        self.found_away(index, bridge).await;
    }

    /// Waits until the bridge knows that one cannot be reached.
    pub async fn found_away(&self, index: usize, bridge: &Bridge) {
        let url = self.admin_url(index);
        eventually("the bridge has noticed that it is unreachable", || async {
            let projects = bridge.client.get("/projects").await.json();
            let routers = projects["routers"].as_array().expect("routers are listed");
            routers.iter().any(|router| router["router"] == url && router["reachable"] == false)
        })
        .await;
    }

    /// Has one go on that hung.
    pub fn go_on(&self, index: usize) {
        self[index].signal(rustix::process::Signal::CONT);
    }

    /// Restarts a router that was stopped or killed, with the same state.
    pub async fn start_again(&mut self, index: usize) {
        self.replicas[index].start().await;
    }

    /// The same, and returns when it listens.
    pub async fn start_unready(&mut self, index: usize) {
        let replica = &mut self.replicas[index];
        replica.router = Some(replica.builder.clone().start_unready().await);
    }

    /// Returns every router's answer at a path, with the version that answered.
    pub async fn answers(&self, path: &str) -> Vec<(String, Option<String>)> {
        let ask = |router: &Router| {
            let client = router.public.clone();
            async move {
                let reply = client.get(path).await;
                (reply.text(), reply.version().map(str::to_owned))
            }
        };
        within("every router answers", join_all(self.iter().map(ask))).await
    }

    /// The texts alone of [`Replicas::answers`].
    pub async fn texts(&self, path: &str) -> Vec<String> {
        self.answers(path).await.into_iter().map(|(text, _)| text).collect()
    }
}

impl Replica {
    async fn start(&mut self) {
        self.router = Some(self.builder.clone().start().await);
    }
}

impl Index<usize> for Replicas {
    type Output = Router;

    fn index(&self, index: usize) -> &Router {
        self.replicas[index].router.as_ref().expect("it runs")
    }
}
