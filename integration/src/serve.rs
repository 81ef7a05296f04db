//! Starts and ends `switchyard serve`: a router and a bridge in one process.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use http::StatusCode;
use rustix::process::Signal;
use switchyard_contract::deploy::{DeployOutcome, DeployPhase};

use crate::admin::Admin;
use crate::bridge::record::Record;
use crate::client::Client;
use crate::eventually;
use crate::log::Log;
use crate::manager::Service;
use crate::process::{self, Process, ServerExit, binary};
use crate::router::State;
use crate::upload::Upload;
use crate::volume::Volume;
use crate::within;

/// The process's settings: few spares and a short debounce, as for routers.
#[derive(Debug, Clone)]
pub struct Builder {
    projects: PathBuf,
    state: State,
    flags: Vec<(String, String)>,
    env: Vec<(String, String)>,
}

/// A running `switchyard serve`. Dropping it kills it.
#[derive(Debug)]
pub struct Serve {
    pub public: Client,
    /// The bridge's API.
    pub api: Client,
    pub admin: Admin,
    pub log: Log,
    process: Process,
    /// Removed with its last owner.
    _state: State,
}

impl Serve {
    pub fn builder(volume: &Volume) -> Builder {
        Builder::for_projects(volume.root())
    }

    /// A deploy that must succeed.
    ///
    /// # Panics
    /// It fails.
    pub async fn deploy_live(&self, project: &str, upload: &Upload) -> Record {
        let record = Record::of(&self.api.send(upload.to(&format!("/deploy/{project}"))).await);
        let end = (record.outcome, record.phase);
        assert_eq!(end, (Some(DeployOutcome::Live), DeployPhase::Done), "{record:#?}");
        record
    }

    /// Waits until a record's message contains `text`.
    ///
    /// # Panics
    /// The log ends without it.
    pub async fn logged(&self, text: &str) {
        let found = self
            .log
            .wait_for(|record| record["message"].as_str().is_some_and(|message| message.contains(text)));
        assert!(within(text, found).await.is_some(), "the log ended without {text:?}");
    }

    pub fn pid(&self) -> u32 {
        self.process.pid().as_raw_nonzero().get().unsigned_abs()
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
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
}

impl Builder {
    pub fn for_projects(projects: &Path) -> Self {
        let builder =
            Self { projects: projects.to_owned(), state: State::new(), flags: Vec::new(), env: Vec::new() };
        builder
            .flag("listen", "127.0.0.1:0")
            .flag("api", "127.0.0.1:0")
            .flag("admin", "127.0.0.1:0")
            .flag("log-format", "json")
            .flag("debounce", 20)
            .flag("spares", 1)
            // Shorter than the harness's time limit, so that a deploy that hangs is reported.
            .flag("deploy-timeout", 15_000)
    }

    /// The state folder.
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// Sets a flag by its name without the dashes; a later value wins.
    pub fn flag(mut self, name: &str, value: impl ToString) -> Self {
        self.flags.retain(|(other, _)| other != name);
        self.flags.push((name.to_owned(), value.to_string()));
        self
    }

    /// Sets a variable of the process's environment.
    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.env.push((name.to_owned(), value.to_string()));
        self
    }

    /// Starts, and returns when both parts are ready.
    pub async fn start(&self) -> Serve {
        let (process, log) = self.spawn();
        let starting = log.wait_for(|record| record["api"].is_string());
        let Some(record) = within("it says where it listens", starting).await else {
            panic!("it ended before it listened:\n{}", log.text());
        };
        let client = |field| Client::new(process::address(&record, field));
        let admin = Admin { client: client("admin") };
        let serve = Serve {
            public: client("listen"),
            api: client("api"),
            admin,
            log,
            process,
            _state: self.state.clone(),
        };
        for client in [&serve.admin.client, &serve.api] {
            eventually("both parts are ready", || async {
                match client.try_connect().await {
                    Ok(mut connection) => connection.get("/readyz").await.status == StatusCode::OK,
                    Err(_) => false,
                }
            })
            .await;
        }
        serve
    }

    /// Starts a process that is expected to exit.
    pub async fn run_to_end(&self) -> ServerExit {
        let (mut process, log) = self.spawn();
        process.ended(log).await
    }

    /// Starts with these open sockets, which take the place of addresses, and returns at once.
    pub fn launch(&self, sockets: Vec<(&str, OwnedFd)>) -> Service {
        Service::start(self.command(), sockets, self.state.clone())
    }

    fn spawn(&self) -> (Process, Log) {
        Process::start(self.command())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(binary("switchyard"));
        command.arg("serve").arg("--projects").arg(&self.projects).arg("--state").arg(self.state.path());
        for (name, value) in &self.flags {
            command.arg(format!("--{name}")).arg(value);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        process::show_after_panic("process", &self.log);
    }
}
