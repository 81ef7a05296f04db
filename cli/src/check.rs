//! `check`: builds projects as a router would, in cells of their own, and serves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, Command};
use http::Method;
use http::header::ACCEPT;
use switchyard_contract::event::{Event, EventType};
use switchyard_contract::project::ProjectName;
use switchyard_contract::visible;
use switchyard_program::color::ColorChoice;
use switchyard_program::log::{self, LogLevel};
use switchyard_program::settings::values::time;
use switchyard_program::settings::{self, CommandLine, Problem, Problems, Validate};
use switchyard_router::config::RouterConfig;
use switchyard_router::server;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::client::{Bridge, Flow, fail};
use crate::dev::{DevFolder, Listing, Screen};
use crate::server::{fail_usage, with_reloads};
use crate::stop::StopSignals;

/// The exit status if a project does not build.
const FAILED: u8 = 1;

/// The exit status of a check that was interrupted, as shells have it.
const INTERRUPTED: u8 = 130;

/// Settings of `check`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CheckConfig {
    /// Folder of a project, or of several: each folder in it is a project then
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,

    /// Take each folder in DIR for a project, even if DIR itself looks like one
    #[arg(long)]
    all: bool,

    /// TOML file with what projects may do, which is checked too
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,

    /// Time for all projects to build
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = time(Duration::from_secs(1)))]
    within: Duration,

    /// Print the outcomes as JSON, a line for each
    #[arg(long)]
    json: bool,

    /// Colours: auto, always or never
    #[arg(long, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    color: ColorChoice,

    /// Further flags, those of router
    #[arg(last = true, value_name = "ROUTER FLAGS", allow_hyphen_values = true)]
    others: Vec<OsString>,
}

impl Validate for CheckConfig {
    fn validate(&self, _: &mut Problems) {}
}

/// A folder that is removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("switchyard-check-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(folder.join("volume"))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Temporary files that stay are the system's to remove.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Builds the projects of the folder. The result is the exit status.
pub(crate) fn run(config: &CheckConfig) -> ExitCode {
    let scratch = match Scratch::make() {
        Ok(scratch) => scratch,
        Err(error) => return fail(&format!("cannot make a temporary folder: {error}")),
    };
    let folder = match DevFolder::find(&config.folder, config.all, Some(&scratch.0)) {
        Ok(folder) => folder,
        Err(problem) => return fail_usage("check", vec![problem]),
    };
    let log = match std::fs::File::create(folder.log()) {
        Ok(log) => log,
        Err(error) => return fail(&format!("cannot write {}: {error}", folder.log().display())),
    };
    let _log = log::init_in_file(log, LogLevel::Info);
    match check(config, &folder) {
        Ok(status) => status,
        Err(error) => fail(&format!("{error:#}")),
    }
}

fn check(config: &CheckConfig, folder: &DevFolder) -> Result<ExitCode> {
    let Listing { projects, misnamed } = folder.list().unwrap_or_default();
    if projects.is_empty() && misnamed.is_empty() {
        anyhow::bail!("{} contains no project: expected a folder for each", folder.path().display());
    }
    let router = match router_config(config, folder) {
        Ok(router) => router,
        Err(problems) => return Ok(fail_usage("check", problems)),
    };
    let (runtime, reloads) = server::runtime().and_then(with_reloads)?;
    let mut ready = match server::prepare(router) {
        Ok(ready) => ready,
        Err(problems) => return Ok(fail_usage("check", problems)),
    };
    let names: BTreeSet<_> = projects.keys().cloned().collect();
    ready.set_overrides(projects);
    let admin = ready.addresses().context("read the router's addresses")?.admin.ip();
    let admin = admin.context("the admin listener of a check has an IP address")?;
    let signals = StopSignals::watch(&runtime)?;
    let (sender, outcomes) = mpsc::channel();
    let (within, stop) = (config.within, signals.clone());
    let follow = std::thread::Builder::new().name("check".to_owned()).spawn(move || {
        let outcome = outcomes_of(admin, names, within);
        let _ = sender.send(outcome);
        stop.send("the check is over");
    });
    let follow = follow.context("start a thread")?;
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let shutdown = || {
        let call = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let signals = signals.clone();
        async move { signals.nth(call + 1).await }
    };
    server::run(runtime, ready, reloads, shutdown)?;
    let Ok(outcomes) = outcomes.try_recv() else {
        return Ok(ExitCode::from(INTERRUPTED));
    };
    let _ = follow.join();
    Ok(report(config, &outcomes?, &misnamed))
}

/// The first event about each project. `None`: there was none in time.
type Outcomes = BTreeMap<ProjectName, Option<Event>>;

/// Follows the router until each project is live or has failed.
fn outcomes_of(admin: SocketAddr, names: BTreeSet<ProjectName>, within: Duration) -> Result<Outcomes> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bridge = Bridge::at(admin).context("create an HTTP client")?;
    let mut outcomes: Outcomes = names.into_iter().map(|name| (name, None)).collect();
    runtime.block_on(async {
        let following = follow(&bridge, &mut outcomes);
        // Those that are missing are reported as such.
        let _ = timeout(within, following).await;
    });
    Ok(outcomes)
}

async fn follow(bridge: &Bridge, outcomes: &mut Outcomes) {
    while outcomes.values().any(Option::is_none) {
        let request = bridge.request(Method::GET, &["events"], &[]).header("last-event-id", "0");
        let (_, no_body) = watch::channel(Flow::default());
        if let Ok(response) = bridge.send(request.header(ACCEPT, "text/event-stream"), no_body, |_| {}).await
            && let Ok(mut events) = bridge.events(response)
        {
            while outcomes.values().any(Option::is_none) {
                let Ok(Some(event)) = events.next().await else { break };
                let Ok(event) = serde_json::from_str::<Event>(&event.data) else { continue };
                let is_end = matches!(event.kind, EventType::ReloadLive | EventType::ReloadFailed);
                let Ok(name) = ProjectName::parse(&event.data.project) else { continue };
                if let Some(outcome) = outcomes.get_mut(&name).filter(|outcome| is_end && outcome.is_none()) {
                    *outcome = Some(event);
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn report(config: &CheckConfig, outcomes: &Outcomes, misnamed: &[String]) -> ExitCode {
    let mut screen = Screen::new(config.color.is_on(io::stdout().is_terminal()), false);
    screen.fit(outcomes.keys().map(ProjectName::as_str));
    let mut is_good = misnamed.is_empty();
    for name in misnamed.iter().filter(|_| !config.json) {
        screen.misnamed(name);
    }
    for (name, outcome) in outcomes {
        is_good &= outcome.as_ref().is_some_and(|event| event.kind == EventType::ReloadLive);
        match outcome {
            Some(event) if config.json => {
                if let Ok(json) = serde_json::to_string(event) {
                    let _ = writeln!(io::stdout(), "{}", visible::json(&json));
                }
            }
            Some(event) => screen.event(event, ""),
            None => screen.late(name.as_str()),
        }
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

/// Returns the settings of the router.
///
/// # Errors
/// Every wrong flag behind `--`.
fn router_config(config: &CheckConfig, folder: &DevFolder) -> Result<RouterConfig, Vec<Problem>> {
    let (volume, state) = (folder.volume(), folder.state().join("router"));
    let path = |path: &Path| path.as_os_str().to_owned();
    let mut words = vec![
        ("--projects", path(&volume)),
        ("--state", path(&state)),
        ("--listen", "127.0.0.1:0".into()),
        ("--admin", "127.0.0.1:0".into()),
        ("--grace", "0s".into()),
    ];
    if let Some(policy) = &config.policy {
        words.push(("--policy", path(policy)));
    }
    let words = words.into_iter().flat_map(|(flag, value)| [OsString::from(flag), value]);
    let words = words.chain(config.others.iter().cloned());
    let command = settings::with_variables(RouterConfig::augment_args(Command::new("router")));
    match settings::parse::<RouterConfig>(command, words, |_| None)? {
        CommandLine::Run(router) => Ok(router),
        CommandLine::Print(text) => Err(vec![Problem::new("--", text)]),
    }
}
