//! `dev`: a router and a bridge for a folder of one's own, with what happens shown in the terminal.
//!
//! The folder is only read: projects are read from it by overrides, and everything that is kept lies
//! in the user's state folder.

mod browser;
mod folder;
mod keys;
mod lock;
mod projects;
mod screen;
mod session;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, IsTerminal as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Command};
use switchyard_edge::socket::ListenAddress;
use switchyard_program::color::ColorChoice;
use switchyard_program::log::{self, LogLevel};
use switchyard_program::settings::{self, CommandLine, Problem, Problems, Validate};
use switchyard_router::server;
use tokio::signal::unix::{SignalKind, signal};

pub(crate) use self::folder::{DevFolder, Listing};
use self::keys::Terminal;
use self::lock::DevLock;
pub(crate) use self::screen::Screen;
use self::session::Session;
use crate::client::fail;
use crate::serve::{self, ServeConfig};
use crate::server::{fail_usage, with_reloads};
use crate::stop::StopSignals;

/// Ports that are tried for a listener whose address is not given.
const PORTS: u16 = 20;

/// Settings of `dev`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DevConfig {
    /// Folder of a project, or of several: each folder in it is a project then
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,

    /// Take each folder in DIR for a project, even if DIR itself looks like one
    #[arg(long)]
    all: bool,

    /// Address for requests to the projects [default: port 8000 of this machine, or the next free one]
    #[arg(long, value_name = "ADDR")]
    listen: Option<ListenAddress>,

    /// Address of the API and the page [default: port 9000, or the next free one]
    #[arg(long, value_name = "ADDR")]
    api: Option<ListenAddress>,

    /// Address of the router's admin listener [default: port 8001, or the next free one]
    #[arg(long, value_name = "ADDR")]
    admin: Option<ListenAddress>,

    /// Folder for everything that is kept [default: switchyard/ID in $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,

    /// Colours: auto, always or never
    #[arg(long, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    color: ColorChoice,

    /// Least severe records in the log, a file in the state folder: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", hide_possible_values = true)]
    log_level: LogLevel,

    /// Do not show what the projects print (the key l shows it)
    #[arg(long)]
    no_logs: bool,

    /// Leave pages as the projects sent them: no overlay with errors, and no reload
    #[arg(long)]
    no_overlay: bool,

    /// Further flags, those of serve
    #[arg(last = true, value_name = "SERVE FLAGS", allow_hyphen_values = true)]
    others: Vec<OsString>,
}

impl Validate for DevConfig {
    fn validate(&self, _: &mut Problems) {}
}

/// Serves the folder until a signal or the key q.
pub(crate) fn run(config: &DevConfig) -> ExitCode {
    let folder = match DevFolder::find(&config.folder, config.all, config.state.as_deref()) {
        Ok(folder) => folder,
        Err(problem) => return fail_usage("dev", vec![problem]),
    };
    let serve = match serve_config(config, &folder) {
        Ok(serve) => serve,
        // Those behind `--` are flags of `serve`.
        Err(problems) => {
            let command = if config.others.is_empty() { "dev" } else { "serve" };
            return fail_usage(command, problems);
        }
    };
    let lock = match DevLock::take(&folder) {
        Ok(lock) => lock,
        Err(error) => return fail(&error),
    };
    let log = match prepare_log(&folder) {
        Ok(log) => log,
        Err(error) => return fail(&format!("{error:#}; name another folder with --state")),
    };
    let _log = log::init_in_file(log, config.log_level);
    match start(config, &serve, folder, lock) {
        Ok(status) => status,
        Err(error) => {
            tracing::error!("dev stopped: {error:#}");
            fail(&format!("{error:#}"))
        }
    }
}

fn start(config: &DevConfig, serve: &ServeConfig, folder: DevFolder, mut lock: DevLock) -> Result<ExitCode> {
    let (runtime, reloads) = server::runtime().and_then(with_reloads)?;
    let mut ready = match serve::prepare(serve) {
        Ok(ready) => ready,
        Err(problems) => return Ok(fail_usage("dev", problems)),
    };
    ready.router.set_overrides(folder.projects());
    let (router, api) = ready.addresses()?;
    let signals = StopSignals::watch(&runtime)?;
    stop_with_terminal(&runtime, &signals)?;
    // Dropped last: the terminal is as before, in whichever way this ends.
    let terminal = Terminal::prepare();
    let has_color = config.color.is_on(io::stdout().is_terminal());
    let screen = Screen::new(has_color, !config.no_logs);
    let links = [router.public, api, router.admin];
    let links = links.map(|address| address.ip().expect("paths were refused before"));
    let [public, api, admin] = links;
    lock.note(public);
    let links = session::Links { public, api, admin };
    let session = Session::new(folder, links, screen, terminal.as_ref().map(Terminal::keys).transpose()?);
    let session = session.start(signals.clone()).context("start the display")?;
    let result = serve::run_both(runtime, ready, reloads, signals.clone());
    // A router that failed has no signal to end the display.
    signals.send("the end");
    let _ = session.join();
    result.map(|()| ExitCode::SUCCESS)
}

/// Counts SIGHUP as a signal to stop: the terminal was closed.
fn stop_with_terminal(runtime: &tokio::runtime::Runtime, signals: &StopSignals) -> Result<()> {
    let mut hangups = runtime.block_on(async { signal(SignalKind::hangup()) }).context("handle SIGHUP")?;
    let signals = signals.clone();
    runtime.spawn(async move {
        if hangups.recv().await.is_some() {
            signals.send("SIGHUP");
        }
    });
    Ok(())
}

/// Makes the log. What an earlier session wrote there is over.
fn prepare_log(folder: &DevFolder) -> Result<File> {
    // For people who look for it: the folder's name is a number.
    let note = folder.state().join("folder");
    fs::write(&note, format!("{}\n", folder.path().display()))
        .with_context(|| format!("cannot write {}", note.display()))?;
    let log = folder.log();
    File::create(&log).with_context(|| format!("cannot write {}", log.display()))
}

/// Returns the settings of the servers.
///
/// # Errors
/// Every wrong flag behind `--`.
fn serve_config(config: &DevConfig, folder: &DevFolder) -> Result<ServeConfig, Vec<Problem>> {
    let mut taken = Vec::new();
    let mut choose = |given: &Option<ListenAddress>, port| {
        let chosen = given.clone().unwrap_or_else(|| ListenAddress::Ip(free(port, &taken)));
        taken.extend(chosen.ip());
        chosen.to_string()
    };
    let mut words = vec![
        ("--listen", choose(&config.listen, 8000).into()),
        ("--admin", choose(&config.admin, 8001).into()),
        ("--api", choose(&config.api, 9000).into()),
        ("--projects", folder.volume().into_os_string()),
        ("--state", folder.state().as_os_str().to_owned()),
        ("--debounce", "auto".into()),
        // Pages keep a stream open, which nobody wants to wait for.
        ("--grace", "1s".into()),
    ];
    if let Some(above) = folder.of_all() {
        words.push(("--allow-override", above.as_os_str().to_owned()));
    }
    let own = words.iter().map(|(flag, _)| *flag).filter(|flag| !TUNABLE.contains(flag));
    let problems: Vec<_> = own.filter_map(|flag| refused(flag, &config.others)).collect();
    if !problems.is_empty() {
        return Err(problems);
    }
    let words = words.into_iter().flat_map(|(flag, value)| [OsString::from(flag), value]);
    let switches = ["--dev"].into_iter().chain(config.no_overlay.then_some("--no-overlay"));
    // The user's own flags come last, and win.
    let words = words.chain(switches.map(OsString::from)).chain(config.others.iter().cloned());
    let command = settings::with_variables(ServeConfig::augment_args(Command::new("serve")));
    match settings::parse::<ServeConfig>(command, words, |name| std::env::var_os(name))? {
        CommandLine::Run(serve) => match paths(&serve) {
            none if none.is_empty() => Ok(serve),
            paths => Err(paths),
        },
        CommandLine::Print(text) => {
            Err(vec![Problem::new("--", format!("--help and --version come before it\n{text}"))])
        }
    }
}

/// Returns a problem for each listener that is at a path.
fn paths(serve: &ServeConfig) -> Vec<Problem> {
    let at_path = |(flag, address): (&str, &ListenAddress)| {
        let message = format!(
            "{address}: dev prints links for a browser, which needs an IP address: write --{flag} 127.0.0.1:0 \
             or leave it out; Unix sockets are for `switchyard serve`"
        );
        address.ip().is_none().then(|| Problem::flag(flag, message))
    };
    serve.listeners().into_iter().filter_map(at_path).collect()
}

/// The flags of `serve` that `dev` sets, and which the user may set to something else.
const TUNABLE: [&str; 2] = ["--debounce", "--grace"];

/// Returns the problem of a flag behind `--` that `dev` sets itself.
fn refused(flag: &str, others: &[OsString]) -> Option<Problem> {
    let is_flag = |word: &OsString| {
        let word = word.to_string_lossy();
        word.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    others.iter().any(is_flag).then(|| {
        let message = match flag {
            "--projects" => "is set by dev: name the folder itself, switchyard dev DIR".to_owned(),
            "--allow-override" => "is set by dev: it reads projects from its own folder alone".to_owned(),
            flag => format!("is a flag of dev itself: give it before --, as in switchyard dev {flag} …"),
        };
        Problem::new(flag, message)
    })
}

/// Returns the first free port of this machine from `port` on. `taken`: addresses that are chosen
/// already.
fn free(port: u16, taken: &[SocketAddr]) -> SocketAddr {
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut ports = (port..port + PORTS).map(address).filter(|address| !taken.contains(address));
    ports.find(|address| TcpListener::bind(address).is_ok()).unwrap_or_else(|| address(port))
}
