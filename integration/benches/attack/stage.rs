//! The stage of an attempt: a router with a bystander under steady requests, and another project
//! that has to stay reloadable.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use switchyard_integration::bystander::{self, Bystander, BystanderReport};
use switchyard_integration::client::{Reply, post, request};
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::{Builder, Router, State};
use switchyard_integration::usage::Usage;
use switchyard_integration::volume::Volume;
use tokio::time::timeout;

use crate::attempt::Verdict;
use crate::user::User;

/// The time limit of a request: the slowest healthy one takes a second on a busy machine.
pub(crate) const HANGS: Duration = Duration::from_secs(10);

/// The factor of its median at which a bystander counts as disturbed: two busy cores make it three.
const DISTURBED: f64 = 10.0;

/// Medians below that many milliseconds are well, however fast it was alone.
const WELL: f64 = 25.0;

/// Requests to the bystander alone, for comparison.
const ALONE: u64 = 150;

/// Bytes that a router may keep after an attempt: its caches, and the allocator's.
const MAY_GROW: usize = 128 << 20;

/// The project that has to stay reloadable.
const OTHER: &str = "other";

/// The path of the policy on the volume, if an attempt has one.
pub(crate) const POLICY: &str = "_policy/policy.toml";

pub(crate) struct Stage {
    pub(crate) volume: Volume,
    builder: Builder,
    state: State,
    router: Option<Router>,
    bystander: Option<Bystander>,
    memory: usize,
}

impl Stage {
    /// With projects of one file, `main.ts`.
    pub(crate) async fn of(user: User, projects: &[(&str, &str)]) -> Self {
        let prepare = |volume: &Volume| projects.iter().for_each(|(name, main)| put(volume, name, main));
        let stage = Self::with(user, prepare, |builder| builder).await;
        for (name, _) in projects {
            stage.is_live(name).await;
        }
        stage
    }

    /// Creates a stage with the files that `prepare` puts on the volume, and a router that `change`
    /// changes.
    pub(crate) async fn with(
        user: User,
        prepare: impl FnOnce(&Volume),
        change: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let (volume, state) = (Volume::new(), State::new());
        bystander::write(&volume);
        put(&volume, OTHER, &hello("0"));
        prepare(&volume);
        let mut builder = user.router(Router::builder(&volume), &volume, &state).flag("grace", 1000);
        let policy = volume.path(POLICY);
        if policy.exists() {
            builder = builder.flag("policy", policy.display());
        }
        let builder = change(builder);
        let router = builder.clone().start().await;
        let mut bystander = Bystander::start(&router).await;
        bystander.pass(ALONE).await;
        bystander.disturb();
        let memory = memory(&router);
        Self { volume, builder, state, router: Some(router), bystander: Some(bystander), memory }
    }

    pub(crate) fn router(&self) -> &Router {
        self.router.as_ref().expect("it runs")
    }

    pub(crate) fn state(&self) -> &Path {
        self.state.path()
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.volume.path(path)
    }

    /// An attempt that is not made must not pass for one that held.
    async fn is_live(&self, project: &str) {
        let status = self.router().admin.project(project).await;
        assert!(status.live.is_some(), "not made: {project} is not live: {:?}", status.error);
    }

    /// Sends a project a POST with `body`. `None` if no answer arrives.
    ///
    /// # Panics
    /// When the project is not live.
    pub(crate) async fn asks(&self, path: &str, body: &str) -> Option<Reply> {
        self.is_live(path.split('/').nth(1).unwrap_or_default()).await;
        let mut connection = self.router().public.try_connect().await.ok()?;
        timeout(HANGS * 3, connection.try_send(post(path, body.to_owned()))).await.ok()?.ok()
    }

    /// Waits until requests of the bystander have been answered for a while.
    pub(crate) async fn pass(&self, requests: u64) {
        if let Some(bystander) = &self.bystander {
            bystander.pass(requests).await;
        }
    }

    /// Returns the problem of another project's reload. `None`: it is live in time.
    pub(crate) async fn reload_hangs(&self) -> Result<Duration, String> {
        self.volume.write(&format!("{OTHER}/main.ts"), hello(&format!("{:?}", Instant::now())));
        let begun = Instant::now();
        match timeout(HANGS, self.router().admin.client.post(&format!("/_reload/{OTHER}"))).await {
            Err(_) => Err(format!("another project's reload takes more than {} s", HANGS.as_secs())),
            Ok(reply) if reply.status != 200 || reply.json()["error"].is_object() => {
                Err(format!("another project's reload: {} {}", reply.status, reply.text()))
            }
            Ok(_) => Ok(begun.elapsed()),
        }
    }

    /// Returns true if a change of another project is live in time, by file events.
    pub(crate) async fn change_is_seen(&self) -> Result<Duration, String> {
        let label = format!("{:?}", Instant::now());
        self.volume.write(&format!("{OTHER}/main.ts"), hello(&label));
        let begun = Instant::now();
        let seen = until(HANGS, || async {
            let reply = get(self.router(), &format!("/{OTHER}/")).await;
            reply.is_some_and(|reply| reply.text() == label)
        })
        .await;
        if seen {
            Ok(begun.elapsed())
        } else {
            Err(format!("a change of another project is not live in {} s", HANGS.as_secs()))
        }
    }

    /// Restarts the router on the existing state. Returns true if it is ready in time.
    pub(crate) async fn starts_again(&mut self) -> Result<Duration, String> {
        self.kill().await;
        let begun = Instant::now();
        // The router may end at its start, which makes the harness panic.
        let started = tokio::spawn(timeout(HANGS * 2, self.builder.clone().start())).await;
        let Ok(Ok(router)) = started else {
            return Err(format!("a router does not start with it in {} s", (HANGS * 2).as_secs()));
        };
        self.router = Some(router);
        Ok(begun.elapsed())
    }

    /// Ends the router at once.
    pub(crate) async fn kill(&mut self) {
        self.bystander.take();
        if let Some(router) = self.router.take() {
            router.signal(rustix::process::Signal::KILL);
            router.ended().await;
        }
    }

    /// The verdict on the attempt, and on its effect on others.
    pub(crate) async fn finish(mut self, found: Verdict) -> Verdict {
        let mut wrong = Vec::new();
        let mut held = Vec::new();
        if let Some(router) = self.router.as_ref() {
            let health = timeout(HANGS, get_of(&router.admin.client, "/healthz")).await;
            if !health.is_ok_and(|reply| reply.is_some_and(|reply| reply.status == 200)) {
                wrong.push("/healthz is not answered".to_owned());
            }
            match self.reload_hangs().await {
                Ok(took) => held.push(format!("reload {} ms", took.as_millis())),
                Err(error) => wrong.push(error),
            }
        }
        if let Some(bystander) = self.bystander.take() {
            let seen = bystander.stop().await;
            judge(&seen, &mut wrong, &mut held);
        }
        if let Some(router) = self.router.as_ref() {
            let grown = memory(router).saturating_sub(self.memory);
            if grown > MAY_GROW {
                wrong.push(format!("the router has grown by {} MB", grown >> 20));
            }
            held.push(format!("router +{} MB", grown >> 20));
        }
        found.and(Verdict::of(wrong, held.join(", ")))
    }
}

fn judge(seen: &BystanderReport, wrong: &mut Vec<String>, held: &mut Vec<String>) {
    let (alone, disturbed) = (median(seen.alone()), median(seen.disturbed()));
    let shown = format!("bystander p50 {alone:.1} -> {disturbed:.1} ms");
    if seen.failed() > 0 {
        wrong.push(format!("{} requests of the bystander failed", seen.failed()));
    }
    if disturbed > WELL && disturbed > DISTURBED * alone {
        wrong.push(shown.clone());
    }
    held.push(shown);
}

impl Drop for Stage {
    /// Folders that are deeper than a path can name are removed with another tool.
    fn drop(&mut self) {
        drop(self.router.take());
        for folder in [self.volume.root(), self.state.path()] {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let mut remove = Command::new("rm");
            remove.arg("-rf").args(entries.map(|entry| entry.path()));
            let _ = remove.status();
        }
    }
}

/// Puts a project with one file on the volume.
pub(crate) fn put(volume: &Volume, name: &str, main: &str) {
    volume.project(name).file("main.ts", main).write();
}

pub(crate) async fn get(router: &Router, path: &str) -> Option<Reply> {
    get_of(&router.public, path).await
}

pub(crate) async fn get_of(client: &switchyard_integration::client::Client, path: &str) -> Option<Reply> {
    let mut connection = client.try_connect().await.ok()?;
    timeout(HANGS, connection.try_send(request(path))).await.ok()?.ok()
}

/// Polls until the condition holds, for at most this long. Returns true if it does.
pub(crate) async fn until<F: Future<Output = bool>>(patience: Duration, mut ask: impl FnMut() -> F) -> bool {
    let asking = async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(patience, asking).await.is_ok()
}

/// The private memory of a router, in bytes.
pub(crate) fn memory(router: &Router) -> usize {
    let pid = u32::try_from(router.pid().as_raw_nonzero().get()).expect("a process id is positive");
    Usage::of(pid, Path::new("/nowhere")).memory
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}
