//! A source named `shop`: its repository, the file of sources, a volume with routers, and the bridge
//! that follows it.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::Signal;
use switchyard_contract::source::{SourceStatus, SyncOutcome, SyncReport};
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::bridge::{Bridge, Builder};
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::git::Repository;
use switchyard_integration::volume::Volume;
use tempfile::TempDir;

/// The projects of the sources in these tests.
const PROJECTS: &str = "projects = [{ path = \"apps/*\" }]";

/// A bridge to be, and all that it needs. The folder has the file of sources, secrets, and state.
pub(crate) struct Scene {
    pub(crate) repository: Repository,
    pub(crate) volume: Volume,
    pub(crate) routers: Replicas,
    folder: TempDir,
}

/// A bridge that follows `shop`.
pub(crate) struct Shop {
    pub(crate) bridge: Bridge,
}

/// The answer to `POST /sources/shop/sync`.
#[derive(Debug)]
pub(crate) struct Synced {
    pub(crate) status: u16,
    pub(crate) report: SyncReport,
}

impl Scene {
    /// One router; an empty repository.
    pub(crate) async fn new() -> Self {
        Self::with_routers(1).await
    }

    /// These routers; an empty repository; and a project of the volume, `own`, that no source has.
    pub(crate) async fn with_routers(count: usize) -> Self {
        let (repository, volume) = (Repository::create().await, Volume::with("own", hello("own")));
        let routers = Replicas::start(&volume, count).await;
        Self { repository, volume, routers, folder: tempfile::tempdir().expect("a folder can be made") }
    }

    /// Has `shop` follow `main` at this URL, with further lines of its table.
    pub(crate) fn source(&self, url: &str, lines: &str) {
        self.source_of(url, &format!("branch = \"main\"\n{lines}"));
    }

    /// The same, without a ref.
    pub(crate) fn source_of(&self, url: &str, lines: &str) {
        let mut text = format!("[[source]]\nname = \"shop\"\nurl = \"{url}\"\n");
        if url.starts_with("http://") || url.starts_with("git://") {
            text.push_str("insecure = true\n");
        }
        if !lines.contains("projects =") {
            let _ = writeln!(text, "{PROJECTS}");
        }
        text.push_str(lines);
        self.write("sources.toml", &text);
    }

    /// The URL of the repository without a server.
    pub(crate) fn file_url(&self) -> String {
        format!("file://{}", self.repository.path().display())
    }

    /// A file beside the file of sources, which only its owner reads.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("a file can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the mode of a file can be set");
        path
    }

    /// The folder of mirrors and states.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn bridge(&self) -> Builder {
        let sources = self.folder.path().join("sources.toml");
        self.routers
            .bridge()
            .flag("sources", sources.display())
            .flag("allow-local", self.repository.root().display())
            .flag("state", self.state().display())
    }

    /// Starts the bridge, and returns when it takes deploys.
    pub(crate) async fn start(&self) -> Shop {
        Self::started(self.bridge()).await
    }

    pub(crate) async fn started(builder: Builder) -> Shop {
        let bridge = builder.start().await;
        bridge.asks_all().await;
        Shop { bridge }
    }

    /// Commits a project `api` that answers with the label. Returns the commit's id.
    pub(crate) async fn push(&self, label: &str) -> String {
        self.repository.commit(&[("apps/api/main.ts", &hello(label))], label).await
    }

    /// The same, with this many bytes that do not get smaller by compression.
    pub(crate) async fn push_large(&self, label: &str, length: usize) -> String {
        let change = self.repository.on("main").file("apps/api/main.ts", hello(label));
        change.file("apps/api/noise.bin", noise(length)).commit(label).await
    }

    /// Waits until each router answers with the label.
    pub(crate) async fn answers(&self, project: &str, label: &str) {
        eventually(&format!("{project} answers {label}"), || self.is_served(project, label)).await;
    }

    /// What was live goes on, and so do projects that no source has.
    pub(crate) async fn still(&self, label: &str) {
        assert!(self.is_served("api", label).await, "api is not {label} any more");
        assert!(self.is_served("own", "own").await, "the volume's own project is gone");
    }

    async fn is_served(&self, project: &str, label: &str) -> bool {
        self.routers.texts(&format!("/{project}/")).await.iter().all(|text| text.trim_end() == label)
    }

    /// The repositories below the state folder.
    pub(crate) fn mirrors(&self) -> Vec<PathBuf> {
        let is_mirror =
            |path: &PathBuf| path.is_dir() && path.extension().is_some_and(|suffix| suffix == "git");
        below(&self.state()).into_iter().filter(is_mirror).collect()
    }
}

impl Shop {
    /// `GET /sources/shop`
    pub(crate) async fn status(&self) -> SourceStatus {
        let reply = self.bridge.client.get("/sources/shop").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        serde_json::from_value(reply.json()).expect("the answer is the JSON of the contract")
    }

    /// Waits until this commit is live, and nothing keeps the source from following its ref.
    pub(crate) async fn follows(&self, commit: &str) {
        eventually(&format!("commit {commit} is live"), || async {
            let status = self.status().await;
            status.applied.as_deref() == Some(commit) && status.problem.is_none()
        })
        .await;
    }

    /// Waits until a problem of this kind is named, and returns its words.
    pub(crate) async fn names(&self, kind: &str) -> String {
        let is_named = async || {
            let problem = self.status().await.problem;
            problem.is_some_and(|problem| problem.kind == kind)
        };
        eventually(&format!("the problem {kind} is named"), is_named).await;
        self.status().await.problem.map(|problem| problem.detail).unwrap_or_default()
    }

    /// `POST /sources/shop/sync`, with this query.
    pub(crate) async fn sync_with(&self, query: &str) -> Synced {
        let reply = self.bridge.client.post(&format!("/sources/shop/sync{query}")).await;
        let mut body = reply.json();
        if reply.status != 200 {
            assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{body}");
            body = body["sync"].take();
        }
        let report = serde_json::from_value(body.clone());
        let report = report.unwrap_or_else(|error| panic!("{error} in {}: {}", reply.status, reply.text()));
        Synced { status: reply.status, report }
    }

    pub(crate) async fn sync(&self) -> Synced {
        self.sync_with("").await
    }

    /// A sync that must bring this commit.
    pub(crate) async fn syncs_to(&self, commit: &str) {
        let synced = self.sync().await;
        let report = &synced.report;
        assert_eq!((synced.status, report.commit.as_deref()), (200, Some(commit)), "{synced:#?}");
        assert!([SyncOutcome::Live, SyncOutcome::Unchanged].contains(&report.outcome), "{synced:#?}");
        self.follows(commit).await;
    }

    /// A sync that must fail like this. Returns the words of the problem that the source has then.
    pub(crate) async fn sync_fails(&self, status: u16, outcome: SyncOutcome, kind: &str) -> String {
        let synced = self.sync().await;
        assert_eq!((synced.status, synced.report.outcome), (status, outcome), "{synced:#?}");
        self.names(kind).await
    }

    /// A sync whose server cannot be reached, or refuses.
    pub(crate) async fn is_unreachable(&self, kind: &str) -> String {
        self.sync_fails(502, SyncOutcome::Unreachable, kind).await
    }

    /// A sync of a commit that cannot be deployed as it is.
    pub(crate) async fn is_invalid(&self) -> String {
        self.sync_fails(422, SyncOutcome::Failed, "invalid").await
    }

    /// Has the bridge read the file of sources again, which it does soon.
    pub(crate) fn reload(&self) {
        self.bridge.signal(Signal::HUP);
    }

    /// A sync of a commit whose content cannot be deployed. Returns the words of the problem.
    pub(crate) async fn is_rejected(&self) -> String {
        let synced = self.sync().await;
        assert_eq!((synced.status, synced.report.outcome), (422, SyncOutcome::Failed), "{synced:#?}");
        let problem = self.status().await.problem.expect("the source has a problem");
        assert!(["invalid", "failed"].contains(&problem.kind.as_str()), "{problem:#?}");
        problem.detail
    }

    /// The number of processes that the bridge has started and that still run.
    pub(crate) fn children(&self) -> usize {
        let pid = self.bridge.pid().as_raw_nonzero().get().cast_unsigned();
        switchyard_integration::usage::children(pid).len()
    }
}

/// Everything below a folder.
pub(crate) fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(below(&path));
        }
        found.push(path);
    }
    found
}

/// Bytes that do not get smaller by compression, and are others at each call.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    static SEED: AtomicU64 = AtomicU64::new(1);
    let mut number = numbers(SEED.fetch_add(1, Ordering::Relaxed));
    (0..length.div_ceil(8)).flat_map(|_| number().to_le_bytes()).take(length).collect()
}

/// The same numbers in each run.
pub(crate) fn numbers(mut seed: u64) -> impl FnMut() -> u64 {
    move || {
        // splitmix64
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
