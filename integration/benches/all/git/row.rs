//! One source of the pushes: its repository, the server of it, and what was measured.

use std::collections::BTreeMap;
use std::time::Instant;

use switchyard_contract::source::{SyncOutcome, SyncReport};
use switchyard_integration::bridge::record::Record;
use switchyard_integration::client::{Client, with_method};
use switchyard_integration::fixtures::hello;
use switchyard_integration::git::{HttpBackend, Repository, Sshd};
use switchyard_integration::sources::{Forge, Scene, Source};

use crate::asker::Asker;

/// The phases of a deploy.
pub(super) const PHASES: [&str; 5] = ["receive", "store", "hold", "build", "publish"];

/// A kind of repository and of way to it. The project is the whole repository.
#[derive(Debug)]
pub(super) struct Kind {
    /// The source's name, and its project's.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) way: Way,
    /// Besides `main.ts`.
    pub(super) files: usize,
    /// The size of each file.
    pub(super) bytes: usize,
    /// The files that differ between commits, besides `main.ts`.
    pub(super) changed: usize,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    File,
    Http,
    Ssh,
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) kind: &'static Kind,
    repository: Repository,
    server: Server,
    /// The number of the last commit.
    version: usize,
    /// Milliseconds from webhook to live.
    pub(super) live: Vec<f64>,
    /// Milliseconds of each phase, and of all before them by the name of `before`.
    pub(super) phases: BTreeMap<&'static str, Vec<f64>>,
    /// Milliseconds of syncs with nothing new.
    pub(super) syncs: Vec<f64>,
}

/// The server of a repository, which is used as long as this is kept.
#[derive(Debug)]
enum Server {
    None,
    Http(HttpBackend),
    Ssh(Sshd),
}

impl Row {
    /// A repository with its first commit.
    pub(super) async fn start(kind: &'static Kind) -> Self {
        let repository = Repository::create().await;
        let server = match kind.way {
            Way::File => Server::None,
            Way::Http => Server::Http(HttpBackend::start(&repository).await),
            Way::Ssh => Server::Ssh(Sshd::start(&repository).await),
        };
        let (live, phases, syncs) = (Vec::new(), BTreeMap::new(), Vec::new());
        let mut row = Self { kind, repository, server, version: 0, live, phases, syncs };
        row.commit().await;
        row
    }

    pub(super) fn source(&self) -> Source {
        let name = self.kind.name;
        let source = match &self.server {
            Server::None => Source::of(name, &self.repository),
            Server::Http(server) => Source::new(name, &server.url()).key("insecure", "true"),
            Server::Ssh(server) => {
                let (key, hosts) = (server.key(), server.known_hosts());
                let credential = format!("{{ ssh_key = {key:?}, known_hosts = {hosts:?} }}");
                Source::new(name, server.url()).key("credential", &credential)
            }
        };
        source.key("projects", r#"[{ path = "." }]"#).webhook(Forge::Github.kind())
    }

    /// Makes the next commit, as a push does. Returns its id.
    pub(super) async fn commit(&mut self) -> String {
        let Kind { files, bytes, changed, .. } = *self.kind;
        let label = self.label(self.version + 1);
        let mut change = self.repository.on("main").file("main.ts", hello(&label));
        let differing = if self.version == 0 { files } else { changed };
        for index in 0..differing {
            let line = format!("{index} of {label}\n");
            let text = line.repeat(bytes.div_ceil(line.len()));
            change = change.file(&format!("folder-{}/{index}.txt", index % 20), &text[..bytes]);
        }
        self.version += 1;
        change.commit(&label).await
    }

    /// Measures from a signed webhook until its commit is live. Returns when the sync has ended.
    pub(super) async fn measure_push(&mut self, scene: &Scene, asker: &mut Asker, commit: &str) {
        let (name, label) = (self.kind.name, self.label(self.version));
        let request = Forge::Github.push(name, commit).request();
        let mut hooks = scene.hooks.connect().await;
        let began = Instant::now();
        let delivery = tokio::spawn(async move { hooks.send(request).await });
        let ms = asker.until(&format!("/{name}/"), &label, began).await;
        let reply = delivery.await.expect("the delivery is answered");
        assert_eq!(reply.status, 202, "{}", reply.text());
        self.live.push(ms);
        scene.api.live(name, commit).await;
        let deployed = scene.api.deployed(name, commit).await;
        self.keep_phases(ms, &scene.bridge.done(&deployed.deploy).await);
    }

    fn keep_phases(&mut self, ms: f64, record: &Record) {
        let mut before = ms;
        for phase in PHASES {
            let took = record.timings_ms.get(phase).copied().unwrap_or_default();
            before -= took;
            self.phases.entry(phase).or_default().push(took);
        }
        self.phases.entry("before").or_default().push(before);
    }

    /// Measures a sync that finds nothing new, from the request's first byte to the answer's end.
    pub(super) async fn measure_sync(&mut self, bridge: &Client) {
        let mut connection = bridge.connect().await;
        let request = with_method(http::Method::POST, &format!("/sources/{}/sync", self.kind.name));
        let began = Instant::now();
        let reply = connection.send(request).await;
        let ms = began.elapsed().as_secs_f64() * 1e3;
        let report: SyncReport = serde_json::from_slice(&reply.body).expect("a sync is answered");
        assert_eq!(report.outcome, SyncOutcome::Unchanged, "{report:#?}");
        self.syncs.push(ms);
    }

    /// The answer of a version.
    fn label(&self, version: usize) -> String {
        format!("{} v{version}", self.kind.name)
    }
}
