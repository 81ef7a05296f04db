//! Starts and ends the real bridge: the release binary beside this test's own target folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal};

use crate::client::{Body, Client, Reply, request, with_header};
use crate::log::Log;
use crate::process::{self, Process, binary};
use crate::router::{Router, ServerExit};
use crate::upload::Upload;
use crate::volume::Volume;
use crate::{eventually, within};

use addresses::BridgeAddresses;
use mounts::Mounts;
use record::Record;
use switchyard_contract::deploy::{DeployOutcome, DeployPhase};

pub mod addresses;
pub mod cli;
pub mod fronts;
pub mod mounts;
pub mod phases;
pub mod record;
pub mod replicas;
pub mod signed;
pub mod standby;
pub mod tree;

/// A bridge to be. Without tokens, as it may be on loopback.
#[derive(Debug, Clone)]
pub struct Builder {
    projects: PathBuf,
    addresses: BridgeAddresses,
    routers: Vec<String>,
    flags: Vec<(String, String)>,
    env: Vec<(String, String)>,
    mounts: Option<Mounts>,
}

/// A running bridge. Dropping it kills it.
#[derive(Debug)]
pub struct Bridge {
    /// A client of the bridge's API.
    pub client: Client,
    /// The listener that passes requests on to the routers.
    pub forward: Client,
    pub log: Log,
    projects: PathBuf,
    process: Process,
}

impl Bridge {
    pub fn builder(volume: &Volume) -> Builder {
        Builder::for_projects(volume.root())
    }

    /// Waits until it listens.
    async fn listening(mut process: Process, log: Log, projects: PathBuf) -> Self {
        let record = process.listening(&log).await;
        Self {
            client: Client::new(process::address(&record, "listen")),
            forward: Client::new(process::address(&record, "forward")),
            log,
            projects,
            process,
        }
    }

    /// `POST /deploy/{project}`, with the answer read to its end.
    pub async fn deploy(&self, project: &str, upload: &Upload) -> Reply {
        self.client.send(upload.to(&format!("/deploy/{project}"))).await
    }

    /// A deploy that must succeed.
    ///
    /// # Panics
    /// When it does not.
    pub async fn deploy_live(&self, project: &str, upload: &Upload) -> Record {
        let record = Record::of(&self.deploy(project, upload).await);
        assert_eq!(
            (record.outcome, record.phase),
            (Some(DeployOutcome::Live), DeployPhase::Done),
            "{record:#?}"
        );
        record
    }

    /// `GET /deploys/{id}`
    pub async fn record(&self, deploy: &str) -> Record {
        Record::of(&self.client.get(&format!("/deploys/{deploy}")).await)
    }

    /// Asks until the deploy is done, and gives its record.
    pub async fn done(&self, deploy: &str) -> Record {
        eventually("the deploy is done", || async { self.record(deploy).await.phase == DeployPhase::Done })
            .await;
        self.record(deploy).await
    }

    /// Returns the answer to `GET /projects/{project}`, unparsed.
    pub async fn project(&self, project: &str) -> serde_json::Value {
        let reply = self.client.get(&format!("/projects/{project}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    /// Follows a deploy phase by phase: see [`phases::Phases`].
    pub async fn follow(&self, request: http::Request<Body>) -> phases::Phases {
        phases::Phases::begin(&self.client, with_header(request, "accept", "text/event-stream")).await
    }

    /// Returns the content of the folder that receives uploads.
    pub fn staged(&self) -> Vec<PathBuf> {
        staged(&self.projects)
    }

    /// Waits until nothing lies there any more.
    pub async fn clean(&self) {
        eventually("nothing is left in the staging folder", || std::future::ready(self.staged().is_empty()))
            .await;
    }

    /// Waits until the log has this audit line of the project, and returns it.
    pub async fn audited(&self, action: &str, project: &str, outcome: &str) -> serde_json::Value {
        let found = self.log.wait_for(|record| {
            record["audit"] == true
                && record["action"] == action
                && record["project"] == project
                && record["outcome"] == outcome
        });
        let found = within("an audit line", found).await;
        found.unwrap_or_else(|| panic!("the log ended without an audit line: {action} {project} {outcome}"))
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    pub fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// SIGKILL, then waits for the end.
    pub async fn kill(self) -> ServerExit {
        self.signal(Signal::KILL);
        self.ended().await
    }

    /// SIGTERM, then waits for the end.
    pub async fn stop(self) -> ServerExit {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Waits for the end, and for the last line of the log.
    pub async fn ended(mut self) -> ServerExit {
        self.process.ended(self.log.clone()).await
    }

    /// Waits for the end of one that was signalled, and for the last line of the log.
    pub async fn has_ended(&self) {
        self.process.has_ended(&self.log).await;
    }

    /// Waits until every router is known to be ready.
    pub async fn asks_all(&self) {
        eventually("the bridge knows every router to be ready", || async {
            let projects = self.client.get("/projects").await.json();
            projects["routers"]
                .as_array()
                .is_some_and(|routers| routers.iter().all(|router| router["ready"] == true))
        })
        .await;
    }

    /// Waits until it takes deploys.
    pub async fn ready(&self) {
        eventually("the bridge is ready", || async {
            match self.client.try_connect().await {
                Ok(mut connection) => connection.get("/readyz").await.status == 200,
                Err(_) => false,
            }
        })
        .await;
    }
}

/// Returns the content of a volume's staging folder.
pub fn staged(projects: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(projects.join(".switchyard-bridge/staging")) else {
        return Vec::new();
    };
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

impl Builder {
    pub fn for_projects(projects: &Path) -> Self {
        let builder = Self {
            projects: projects.to_owned(),
            addresses: BridgeAddresses::anywhere(),
            routers: Vec::new(),
            flags: Vec::new(),
            env: Vec::new(),
            mounts: None,
        };
        // Shorter than the harness's time limit, so that a silent router is reported.
        builder.flag("log-format", "json").flag("deploy-timeout", 15_000)
    }

    /// Listens where routers already know it: see [`BridgeAddresses::reserve`].
    pub fn at(mut self, addresses: &BridgeAddresses) -> Self {
        self.addresses = addresses.clone();
        self
    }

    pub fn router(self, router: &Router) -> Self {
        self.router_at(&router.public, &router.admin.client)
    }

    /// A router that may not run yet.
    pub fn router_at(mut self, public: &Client, admin: &Client) -> Self {
        self.routers.push(format!("http://{},http://{}", public.address, admin.address));
        self
    }

    /// Sets a flag by its name without the dashes; a later value wins.
    pub fn flag(mut self, name: &str, value: impl ToString) -> Self {
        self.flags.retain(|(other, _)| other != name);
        self.flags.push((name.to_owned(), value.to_string()));
        self
    }

    /// Sets a variable of the bridge's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs in this mount namespace.
    pub fn inside(mut self, mounts: &Mounts) -> Self {
        self.mounts = Some(mounts.clone());
        self
    }

    /// Starts, and returns when it takes deploys.
    pub async fn start(self) -> Bridge {
        let bridge = self.start_unready().await;
        bridge.ready().await;
        bridge
    }

    /// Starts, and returns when it listens.
    pub async fn start_unready(self) -> Bridge {
        let (process, log) = self.spawn();
        let projects = match &self.mounts {
            Some(mounts) => mounts.seen_from_outside(&self.projects),
            None => self.projects,
        };
        Bridge::listening(process, log, projects).await
    }

    /// Starts a bridge that is expected to exit.
    pub async fn run_to_end(self) -> ServerExit {
        let (mut process, log) = self.spawn();
        process.ended(log).await
    }

    fn spawn(&self) -> (Process, Log) {
        let program = binary("switchyard");
        let mut command = match &self.mounts {
            Some(mounts) => mounts.command(&program),
            None => Command::new(program),
        };
        command.arg("bridge").arg("--projects").arg(&self.projects);
        for (name, value) in [
            ("listen", self.addresses.listen.to_string()),
            ("forward", self.addresses.forward.to_string()),
            ("event-secret-file", process::shown(self.addresses.secret_file())),
        ] {
            if !self.flags.iter().any(|(other, _)| other == name) {
                command.arg(format!("--{name}")).arg(value);
            }
        }
        for router in &self.routers {
            command.arg("--router").arg(router);
        }
        for (name, value) in &self.flags {
            command.arg(format!("--{name}"));
            if !value.is_empty() {
                command.arg(value);
            }
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        Process::start(command)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        process::show_after_panic("bridge", &self.log);
    }
}

/// A request with a bearer token.
pub fn with_token(request: http::Request<Body>, token: &str) -> http::Request<Body> {
    with_header(request, "authorization", &format!("Bearer {token}"))
}

/// `GET path` with a token.
pub fn get_as(path: &str, token: &str) -> http::Request<Body> {
    with_token(request(path), token)
}
