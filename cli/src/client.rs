//! The client commands: requests to a bridge, and reports of their outcome.
//!
//! [`run`] is a command from its arguments to its exit status. It uses the process's streams and
//! variables only through its parameters.

use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal as _, Write};
use std::process::ExitCode;
use std::time::Duration;

use http::Method;

use self::args::TaskCommand;
pub(crate) use self::args::{ClientCommand, bridge_text};
pub(crate) use self::bridge::Bridge;
#[cfg(feature = "server")]
pub(crate) use self::bridge::CallError;
use self::failure::{Failure, NO_ANSWER, USAGE};
#[cfg(feature = "server")]
pub(crate) use self::pack::Flow;
#[cfg(feature = "server")]
pub(crate) use self::report::place;
use self::requests::{ApiRequest, send};
use reqwest::header::HeaderValue;
use switchyard_contract::visible;
use switchyard_program::color::Style;

mod again;
mod args;
mod bridge;
mod deploy;
mod ending;
mod failure;
mod files;
mod folder;
mod links;
mod logs;
mod pack;
mod progress;
mod project;
mod remove;
mod report;
mod requests;
mod run;
mod source;
mod status;
mod table;
mod task;
mod times;

/// The streams of a command.
pub(crate) struct Console<'a> {
    /// Standard output, for results.
    pub(crate) out: &'a mut dyn Write,
    /// Standard error, for progress and errors.
    pub(crate) err: &'a mut dyn Write,
    /// `true`: standard error is a terminal, where progress is drawn as a bar.
    pub(crate) terminal: bool,
    /// Standard input, if it is a terminal: for confirmation before something is destroyed.
    pub(crate) input: Option<&'a mut dyn BufRead>,
    /// Standard input, if it is not a terminal: for data.
    pub(crate) piped: Option<&'a mut dyn BufRead>,
    /// The look of results.
    pub(crate) look: Look,
}

/// The look of results on standard output.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Look {
    /// `true`: in colours.
    pub(crate) has_color: bool,
    /// Characters of a line of the terminal. `None`: it is no terminal.
    pub(crate) width: Option<usize>,
}

impl Console<'_> {
    /// Prints a result.
    fn print(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", visible::block(text))
    }

    /// Prints a table, whose lines are cut to the width of the terminal.
    fn print_table(&mut self, text: &str) -> io::Result<()> {
        let Look { has_color, width } = self.look;
        for (at, line) in text.trim_end().lines().enumerate() {
            let line = table::cut(&visible::line(line), width);
            // The first line has the headings.
            writeln!(self.out, "{}", Style::Bold.on(has_color && at == 0, line))?;
        }
        Ok(())
    }

    /// Prints a result that is JSON, on one line.
    fn print_json(&mut self, json: &str) -> io::Result<()> {
        writeln!(self.out, "{}", visible::json(json.trim()))
    }

    fn complain(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() { Ok(()) } else { writeln!(self.err, "{}", visible::block(text)) }
    }
}

/// Runs a command with the process's own streams and variables.
pub(crate) fn main(command: ClientCommand) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let terminal = err.is_terminal();
    let mut input = io::stdin().lock();
    let is_terminal = input.is_terminal();
    let input: &mut dyn BufRead = &mut input;
    let (input, piped) = if is_terminal { (Some(input), None) } else { (None, Some(input)) };
    let is_terminal = out.is_terminal();
    let width = is_terminal.then(|| console::Term::stdout().size_checked()).flatten();
    let look = Look {
        has_color: command.access().color.is_on(is_terminal),
        width: width.map(|(_, columns)| usize::from(columns)),
    };
    let mut console = Console { out: &mut out, err: &mut err, terminal, input, piped, look };
    let env = |name: &str| std::env::var_os(name);
    ExitCode::from(runtime.block_on(run(command, bridge::SILENCE, env, &mut console)))
}

/// Prints the error of a command that could not even begin.
pub(crate) fn fail(message: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "switchyard: {}", visible::block(message));
    ExitCode::FAILURE
}

/// Runs a command. `silence` is the longest time without a byte from the bridge, and `env` returns
/// variables.
///
/// Returns the exit status: 0 done; 1 the version does not build, the run failed, or what is named does
/// not exist; 2 refused; 3 no answer in time; 64 wrong command line.
async fn run(
    command: ClientCommand,
    silence: Duration,
    env: impl Fn(&str) -> Option<OsString>,
    console: &mut Console<'_>,
) -> u8 {
    let ended = match command.access().authorization(env) {
        Ok(authorization) => execute(command, authorization, silence, console).await,
        Err(problem) => Err(Failure::new(USAGE, problem.to_string())),
    };
    ended.unwrap_or_else(|failure| {
        if let Some(text) = failure.text {
            // If standard error is closed too, there is no way left to report anything.
            let _ = console.complain(&format!("switchyard: {text}"));
        }
        failure.exit
    })
}

async fn execute(
    command: ClientCommand,
    authorization: Option<HeaderValue>,
    silence: Duration,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let json = command.access().json;
    // Without --to, a dry run asks nobody.
    let is_alone =
        matches!(&command, ClientCommand::Deploy(args) if args.dry_run && args.access.to.is_none());
    let to = command.access().url();
    let bridge = Bridge::new(to, authorization, silence);
    let bridge =
        bridge.map_err(|error| Failure::new(NO_ANSWER, format!("cannot create an HTTP client: {error}")))?;
    let command = match command {
        ClientCommand::Deploy(args) if args.dry_run => {
            return deploy::preview(Some(&bridge).filter(|_| !is_alone), args, json, console).await;
        }
        ClientCommand::Task(TaskCommand::Lint(args)) => return task::lint(args, json, console).await,
        other => other,
    };
    match command {
        ClientCommand::Deploy(args) => deploy::deploy(&bridge, args, json, console).await,
        ClientCommand::Status(args) => status::status(&bridge, &args, json, console).await,
        ClientCommand::Project(command) => project::run(&bridge, &command, json, console).await,
        ClientCommand::Rollback(args) => {
            let project = args.project.as_str();
            if args.dry_run {
                let query: Vec<_> = args.digits().map(|digits| ("to", digits)).into_iter().collect();
                return project::diff(&bridge, project, &query, json, console).await;
            }
            let message = args.message.as_deref().map(|message| ("message", message));
            let request = ApiRequest {
                method: Method::POST,
                path: vec!["projects", project, "rollback"],
                query: args.digits().map(|digits| ("to", digits)).into_iter().chain(message).collect(),
                upload: None,
                wait: true,
            };
            send(&bridge, &request, json, console).await
        }
        ClientCommand::Remove(args) => remove::remove(&bridge, &args, json, console).await,
        ClientCommand::Logs(args) => logs::logs(&bridge, &args, json, console).await,
        ClientCommand::Source(command) => source::run(&bridge, command, json, console).await,
        ClientCommand::Task(command) => task::run(&bridge, command, json, console).await,
        ClientCommand::Run(command) => run::run(&bridge, command, json, console).await,
        ClientCommand::Pipeline(command) => task::pipeline(&bridge, command, json, console).await,
    }
}

#[cfg(test)]
mod tests;
