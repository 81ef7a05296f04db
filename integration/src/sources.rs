//! Git sources of a bridge: the file that names them, a bridge that follows them, and webhooks.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::bridge::addresses::reserve;
use crate::bridge::replicas::Replicas;
use crate::bridge::{self, Bridge};
use crate::client::Client;
use crate::git::Repository;
use crate::router;
use crate::volume::Volume;

pub use api::SourcesApi;
pub use webhook::{Delivery, Forge, HOOK_SECRET};

mod api;
mod webhook;

/// One `[[source]]` of a file. Values are TOML, as they are written.
#[derive(Debug, Clone)]
pub struct Source {
    name: String,
    keys: Vec<(String, String)>,
}

impl Source {
    /// A source that follows `main`, whose projects are all folders with an entry, and which polls
    /// so rarely that no test sees it.
    pub fn new(name: &str, url: &str) -> Self {
        let source = Self { name: name.to_owned(), keys: Vec::new() };
        source
            .key("url", &format!("{url:?}"))
            .key("branch", "\"main\"")
            .key("projects", r#"[{ path = "*" }]"#)
            .key("poll", "\"1h\"")
    }

    /// The same for a repository on this machine.
    pub fn of(name: &str, repository: &Repository) -> Self {
        Self::new(name, &format!("file://{}", repository.path().display()))
    }

    /// Sets a key; a later value wins.
    #[must_use]
    pub fn key(mut self, key: &str, value: &str) -> Self {
        self.keys.retain(|(other, _)| other != key);
        self.keys.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Follows something else than a branch: `tag`, `commit` or `ref`.
    #[must_use]
    pub fn follows(mut self, key: &str, value: &str) -> Self {
        self.keys.retain(|(other, _)| other != "branch");
        self.key(key, &format!("{value:?}"))
    }

    /// Has a webhook with [`HOOK_SECRET`], which [`SourcesFile::write`] puts beside the file.
    #[must_use]
    pub fn webhook(self, kind: &str) -> Self {
        self.key("webhook", &format!("{{ kind = {kind:?}, secret = {{ from_file = \"hook-secret\" }} }}"))
    }

    fn toml(&self) -> String {
        let keys: String = self.keys.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        format!("[[source]]\nname = {:?}\n{keys}\n", self.name)
    }
}

/// The file of `--sources`, in a folder of its own with the secrets that it names.
#[derive(Debug)]
pub struct SourcesFile(TempDir);

impl SourcesFile {
    pub fn new(sources: &[Source]) -> Self {
        let file = Self(tempfile::tempdir().expect("a temporary folder can be made"));
        file.secret("hook-secret", HOOK_SECRET);
        file.write(sources);
        file
    }

    pub fn path(&self) -> PathBuf {
        self.0.path().join("sources.toml")
    }

    /// The folder that relative paths in the file begin at.
    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Replaces the sources.
    pub fn write(&self, sources: &[Source]) {
        self.write_text(&sources.iter().map(Source::toml).collect::<String>());
    }

    /// Replaces the file's text.
    pub fn write_text(&self, text: &str) {
        fs::write(self.path(), text).expect("a file can be written");
    }

    /// Writes a file beside it that only its owner may read. Returns the path.
    pub fn secret(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).expect("a file can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode can be set");
        path
    }
}

/// Routers, and a bridge that follows git sources. What is dropped first comes first.
#[derive(Debug)]
pub struct Scene {
    pub bridge: Bridge,
    /// The calls of the bridge's API that are about sources.
    pub api: SourcesApi,
    /// The listener of webhooks.
    pub hooks: Client,
    pub routers: Replicas,
    pub volume: Volume,
    pub file: SourcesFile,
    /// The folder of `--state`.
    pub state: TempDir,
}

impl Scene {
    /// One router.
    pub async fn start(sources: &[Source]) -> Self {
        Self::with_routers(1, sources).await
    }

    pub async fn with_routers(count: usize, sources: &[Source]) -> Self {
        Self::start_with(count, sources, |router| router, |bridge| bridge).await
    }

    /// Starts routers and a bridge that are changed before.
    pub async fn start_with(
        count: usize,
        sources: &[Source],
        router: impl Fn(router::Builder) -> router::Builder,
        bridge: impl FnOnce(bridge::Builder) -> bridge::Builder,
    ) -> Self {
        let volume = Volume::new();
        let routers = Replicas::start_each(volume.root(), count, |_, builder| router(builder)).await;
        let file = SourcesFile::new(sources);
        let state = tempfile::tempdir().expect("a temporary folder can be made");
        let hooks = Client::new(reserve());
        let builder = following(routers.bridge(), &file, state.path(), &hooks);
        let bridge = bridge(builder).start().await;
        bridge.asks_all().await;
        let api = SourcesApi { client: bridge.client.clone() };
        Self { bridge, api, hooks, routers, volume, file, state }
    }

    /// Ends the bridge with SIGKILL and starts it again with the same file and state.
    pub async fn restart_bridge(&mut self) {
        let builder = following(self.routers.bridge(), &self.file, self.state.path(), &self.hooks);
        self.bridge.signal(Signal::KILL);
        self.bridge.has_ended().await;
        self.bridge = builder.start().await;
        self.bridge.asks_all().await;
        self.api = SourcesApi { client: self.bridge.client.clone() };
    }

    /// Writes other sources into the file, and returns when the bridge follows them.
    pub async fn configure(&self, sources: &[Source]) {
        self.file.write(sources);
        let before = self.reloads();
        self.bridge.signal(Signal::HUP);
        crate::eventually("the bridge has read the file of sources again", || {
            std::future::ready(self.reloads() > before)
        })
        .await;
    }

    /// Returns how often the bridge has read the file again.
    fn reloads(&self) -> usize {
        let is_reload = |line: &&String| line.contains("reloaded --sources");
        self.bridge.log.lines().iter().filter(is_reload).count()
    }

    /// Sends a delivery to the listener of webhooks, which must take it.
    pub async fn deliver(&self, delivery: &Delivery) {
        let reply = self.hooks.send(delivery.request()).await;
        assert_eq!(reply.status, 202, "{}", reply.text());
    }
}

/// A bridge that follows the sources of a file, which may be repositories of this machine.
pub fn following(
    builder: bridge::Builder,
    file: &SourcesFile,
    state: &Path,
    hooks: &Client,
) -> bridge::Builder {
    builder
        .flag("sources", file.path().display())
        .flag("hooks", hooks.address)
        .flag("allow-local", std::env::temp_dir().display())
        .flag("state", state.display())
}
