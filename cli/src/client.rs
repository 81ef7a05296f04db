//! The client side: sends folders to a bridge, and tells what came of it.
//!
//! [`run`] is a command from its arguments to its exit status; it touches the process's own streams and
//! variables only through what it is given.

use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal as _, Write};
use std::process::ExitCode;
use std::time::Duration;

use http::Method;

use self::args::{Action, Command, Parsed};
use self::bridge::Bridge;
use self::failure::{DONE, Failure, NO_ANSWER, USAGE};
use self::logs::Wanted;
use self::orders::{Order, carry_out};
use switchyard_program::visible;

mod args;
mod bridge;
mod deploy;
mod failure;
mod files;
mod logs;
mod orders;
mod pack;
mod progress;
mod remove;
mod report;
mod status;

/// Where a command writes.
pub(crate) struct Console<'a> {
    /// Results.
    pub(crate) out: &'a mut dyn Write,
    /// Progress and what went wrong.
    pub(crate) err: &'a mut dyn Write,
    /// Whether standard error is a terminal: progress is a bar then, drawn there.
    pub(crate) terminal: bool,
    /// Standard input, where it is a terminal: a command that destroys something asks there.
    pub(crate) input: Option<&'a mut dyn BufRead>,
}

impl Console<'_> {
    /// Prints a result.
    fn print(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", visible::block(text))
    }

    /// Prints a result that is JSON, on one line.
    fn print_json(&mut self, json: &str) -> io::Result<()> {
        writeln!(self.out, "{}", visible::json(json.trim()))
    }

    fn complain(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() { Ok(()) } else { writeln!(self.err, "{}", visible::block(text)) }
    }
}

/// Runs the command of the process's own arguments, which begin with its name.
pub(crate) fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(io::stderr(), "switchyard: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let terminal = err.is_terminal();
    let mut input = io::stdin().lock();
    let input: Option<&mut dyn BufRead> = if input.is_terminal() { Some(&mut input) } else { None };
    let mut console = Console { out: &mut out, err: &mut err, terminal, input };
    ExitCode::from(runtime.block_on(run(args, |name| std::env::var_os(name), &mut console)))
}

/// Carries out a command. `args` begin with its name; `env` tells of variables.
///
/// Returns the exit status: 0 done; 1 the version does not build, or the project is not there; 2 refused;
/// 3 nobody answered in time; 64 wrong command line.
pub(crate) async fn run(
    args: impl Iterator<Item = OsString>,
    env: impl Fn(&str) -> Option<OsString>,
    console: &mut Console<'_>,
) -> u8 {
    run_within(bridge::SILENCE, args, env, console).await
}

async fn run_within(
    silence: Duration,
    args: impl Iterator<Item = OsString>,
    env: impl Fn(&str) -> Option<OsString>,
    console: &mut Console<'_>,
) -> u8 {
    let ended = match args::parse(args, env) {
        Ok(Parsed::Print(text)) => console.print(&text).map(|()| DONE).map_err(Failure::from),
        Ok(Parsed::Run(command)) => carry(*command, silence, console).await,
        Err(problems) => Err(Failure::new(USAGE, usage(&problems))),
    };
    ended.unwrap_or_else(|failure| {
        if let Some(text) = failure.text {
            // Nobody is left to be told that nobody can be told.
            let _ = console.complain(&format!("switchyard: {text}"));
        }
        failure.exit
    })
}

async fn carry(command: Command, silence: Duration, console: &mut Console<'_>) -> Result<u8, Failure> {
    let Command { action, to, authorization, json } = command;
    let bridge = to.map(|to| Bridge::new(to, authorization, silence)).transpose();
    let bridge =
        bridge.map_err(|error| Failure::new(NO_ANSWER, format!("no HTTP client can be made: {error}")))?;
    let action = match action {
        Action::Deploy(deploy) if deploy.dry_run => {
            return deploy::preview(bridge.as_ref(), deploy, json, console).await;
        }
        other => other,
    };
    let Some(bridge) = bridge else { return Err(Failure::new(USAGE, "--to is required")) };
    match action {
        Action::Deploy(deploy) => deploy::deploy(&bridge, deploy, json, console).await,
        Action::Status(project) => status::status(&bridge, project.as_ref(), json, console).await,
        Action::Rollback { project, version } => {
            let order = Order {
                method: Method::POST,
                path: vec!["projects", project.as_str(), "rollback"],
                query: version.iter().map(|digest| ("to", digest.as_str())).collect(),
                upload: None,
                wait: true,
            };
            carry_out(&bridge, &order, json, console).await
        }
        Action::Remove(removal) => remove::remove(&bridge, &removal, json, console).await,
        Action::Logs { project, lines, follow } => {
            let wanted = Wanted { project: &project, lines, follow };
            logs::logs(&bridge, wanted, json, console).await
        }
    }
}

fn usage(problems: &[String]) -> String {
    let mut lines = problems.join("\nswitchyard: ");
    lines.push_str("\nswitchyard: run switchyard COMMAND --help for a command's flags");
    lines
}

#[cfg(test)]
mod tests;
