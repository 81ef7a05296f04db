//! `doctor`: what this machine has and lacks for a router and a bridge.

use std::fmt::Display;
use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Args;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use switchyard_contract::visible;
use switchyard_program::color::{ColorChoice, Style};
use switchyard_program::file_system;
use switchyard_router::server;

/// Folders that may be watched by one user: a thousand projects of a hundred folders.
const WATCHES: u64 = 100_000;

/// Arguments of `doctor`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DoctorArgs {
    /// Volume to check: whether folders can be exchanged on it
    #[arg(long, value_name = "DIR")]
    projects: Option<PathBuf>,

    /// State folder to check: whether a database is safe on it
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,

    /// Colours: auto, always or never
    #[arg(long, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    color: ColorChoice,
}

/// The result of one check.
enum Finding {
    Good(String),
    /// It works, but less well.
    Weak(String),
    /// Switchyard does not work like this.
    Bad(String),
}

/// Checks everything, and prints a line for each. The exit status is 1 if something does not work.
pub(crate) fn run(args: &DoctorArgs) -> ExitCode {
    let mut findings = cells();
    findings.push(watches());
    findings.extend([8000, 8001, 9000].map(port));
    findings.push(git());
    findings.extend(args.projects.as_deref().map(volume));
    findings.extend(args.state.as_deref().map(state));
    let has_color = args.color.is_on(io::stdout().is_terminal());
    for finding in &findings {
        let (sign, text) = match finding {
            Finding::Good(text) => (Style::Good.on(has_color, "✓"), text),
            Finding::Weak(text) => (Style::Warning.on(has_color, "!"), text),
            Finding::Bad(text) => (Style::Bad.on(has_color, "✗"), text),
        };
        let _ = writeln!(io::stdout(), "{sign} {}", visible::line(text));
    }
    let is_bad = findings.iter().any(|finding| matches!(finding, Finding::Bad(_)));
    if is_bad { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The program of cells, and the layers of its sandbox.
fn cells() -> Vec<Finding> {
    match server::missing_layers() {
        Err(error) => vec![Finding::Bad(error.to_string())],
        Ok(missing) if missing.is_empty() => {
            vec![Finding::Good("the sandbox of cells is complete".to_owned())]
        }
        Ok(missing) => {
            let weak = |missing| {
                Finding::Weak(format!("the sandbox of cells is weaker on this machine: missing {missing}"))
            };
            missing.into_iter().map(weak).collect()
        }
    }
}

fn watches() -> Finding {
    const FILE: &str = "/proc/sys/fs/inotify/max_user_watches";
    let limit = fs::read_to_string(FILE).ok().and_then(|text| text.trim().parse::<u64>().ok());
    match limit {
        Some(limit) if limit >= WATCHES => Finding::Good(format!("{limit} folders can be watched")),
        Some(limit) => Finding::Weak(format!(
            "only {limit} folders can be watched, and projects beyond are polled: sysctl fs.inotify.max_user_watches={WATCHES}"
        )),
        None => Finding::Weak(format!("{FILE} cannot be read: changes may have to be found by polling")),
    }
}

/// A default port.
fn port(port: u16) -> Finding {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Finding::Good(format!("port {port} is free")),
        Err(error) => Finding::Weak(format!(
            "port {port} cannot be used: {error}; name another one (--listen, --admin, --api)"
        )),
    }
}

fn git() -> Finding {
    let run = Command::new("git").arg("--version").stdin(Stdio::null()).output();
    match run {
        Ok(output) if output.status.success() => {
            Finding::Good(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        _ => Finding::Weak("git cannot be run: git sources need it".to_owned()),
    }
}

fn volume(folder: &Path) -> Finding {
    let shown = folder.display();
    match exchange(folder) {
        Ok(()) => Finding::Good(format!("folders can be exchanged on {shown}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Finding::Bad(format!("{shown} cannot be used: {error}; create it"))
        }
        Err(error) => Finding::Weak(format!(
            "folders cannot be exchanged on {shown} ({error}): a project that is deployed has no folder for a moment"
        )),
    }
}

/// Exchanges two new folders.
fn exchange(folder: &Path) -> io::Result<()> {
    let [one, other] =
        ["a", "b"].map(|name| folder.join(format!(".switchyard-doctor-{}-{name}", std::process::id())));
    let done = fs::create_dir(&one)
        .and_then(|()| fs::create_dir(&other))
        .and_then(|()| Ok(renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE)?));
    // Whichever of them were made.
    let _ = fs::remove_dir(&one);
    let _ = fs::remove_dir(&other);
    done
}

fn state(folder: &Path) -> Finding {
    let shown: &dyn Display = &folder.display();
    match file_system::unsafe_for_databases(folder) {
        None => Finding::Good(format!("{shown} can hold the history of runs")),
        Some(kind) => Finding::Bad(format!(
            "{shown} is on {kind}, where the history of runs is not safe: name a folder on a local disk"
        )),
    }
}
