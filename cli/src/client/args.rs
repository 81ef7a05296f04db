//! The client commands: their arguments, checked and turned into what is sent.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use switchyard_contract::project::{InvalidName, ProjectName};
use switchyard_program::settings::values::number;
use switchyard_program::settings::{Problem, Problems, Validate};

pub(super) use self::access::Access;
pub(super) use self::run::{CancelArgs, ListRunsArgs, RunCommand, RunLogsArgs};
pub(super) use self::source::{DevArgs, ExplainArgs, FreezeArgs, SourceCommand, SyncArgs};
pub(super) use self::task::{
    ExplainTaskArgs, LintArgs, ListTasksArgs, NextArgs, PipelineCommand, StartArgs, TaskCommand, UntilArgs,
};

mod access;
mod run;
mod source;
mod task;

/// Shown below the flags of every client command.
const EXIT_STATUS: &str = "Exit status: 0 done; 1 the version does not build, or the project does not exist; \
                           2 refused; 3 no answer in time; 64 wrong command line";

/// The commands that talk to a bridge.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Send a folder to the bridge, and wait until it is live
    #[command(after_help = EXIT_STATUS)]
    Deploy(DeployArgs),
    /// Show which versions the routers serve
    #[command(after_help = EXIT_STATUS)]
    Status(StatusArgs),
    /// Make an earlier version of a project live again
    #[command(after_help = EXIT_STATUS)]
    Rollback(RollbackArgs),
    /// Remove a project; a rollback restores it with its data for a while
    #[command(after_help = EXIT_STATUS)]
    Remove(RemoveArgs),
    /// Print the output of a project
    #[command(after_help = EXIT_STATUS)]
    Logs(LogsArgs),
    /// List, sync and control the git sources of the bridge
    #[command(subcommand)]
    Source(SourceCommand),
    /// List, show, start and check tasks
    #[command(subcommand)]
    Task(TaskCommand),
    /// List, show, cancel and repeat runs of tasks and pipelines
    #[command(subcommand)]
    Run(RunCommand),
    /// Show and start pipelines
    #[command(subcommand)]
    Pipeline(PipelineCommand),
}

#[derive(Debug, Args)]
pub(crate) struct DeployArgs {
    /// Folder to deploy
    #[arg(value_name = "DIR")]
    pub(super) folder: PathBuf,

    /// Name of the project [default: the folder's name]
    #[arg(long, value_name = "NAME", value_parser = project_name)]
    pub(super) project: Option<ProjectName>,

    /// Deploy each folder in DIR as a project; all of them go live together, or none
    #[arg(long)]
    pub(super) all: bool,

    /// Text for the record of the deploy
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(super) message: Option<String>,

    /// Keep the files on the volume even if they do not build
    #[arg(long)]
    pub(super) keep: bool,

    /// Do not wait for the routers
    #[arg(long)]
    pub(super) no_wait: bool,

    /// Show which files would be sent and which not, and send nothing; does not need --to
    #[arg(long)]
    pub(super) dry_run: bool,

    /// Send node_modules even if the routers install packages
    #[arg(long)]
    pub(super) send_packages: bool,

    /// Deploy a project of a git source all the same; the source then reports drift
    #[arg(long = "override")]
    pub(super) overrides: bool,

    #[command(flatten)]
    pub(super) access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Project to show [default: all]
    #[arg(value_name = "PROJECT", value_parser = project_name)]
    pub(super) project: Option<ProjectName>,

    #[command(flatten)]
    pub(super) access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// Project to roll back
    #[arg(value_name = "PROJECT", value_parser = project_name)]
    pub(super) project: ProjectName,

    /// Digest of the version or at least its first 12 digits, or the commit that it was deployed from
    /// or at least its first 7 digits [default: the previous version]
    #[arg(long, value_name = "DIGEST|COMMIT")]
    version: Option<String>,

    #[command(flatten)]
    pub(super) access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Project to remove
    #[arg(value_name = "PROJECT", value_parser = project_name)]
    pub(super) project: ProjectName,

    /// Do not ask; required unless standard input is a terminal
    #[arg(long)]
    pub(super) yes: bool,

    /// Delete the data of the project at once, even if the project is already removed
    #[arg(long)]
    pub(super) delete_data: bool,

    /// Remove a project of a git source all the same
    #[arg(long = "override")]
    pub(super) overrides: bool,

    #[command(flatten)]
    pub(super) access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Project whose output is printed
    #[arg(value_name = "PROJECT", value_parser = project_name)]
    pub(super) project: ProjectName,

    /// Number of last lines of each router [default: 100]
    #[arg(long, value_name = "N", value_parser = number::<u32>(0))]
    pub(super) lines: Option<u32>,

    /// Print new lines until interrupted
    #[arg(long)]
    pub(super) follow: bool,

    #[command(flatten)]
    pub(super) access: Access,
}

fn project_name(text: &str) -> Result<ProjectName, InvalidName> {
    ProjectName::parse(text)
}

impl ClientCommand {
    pub(super) fn access(&self) -> &Access {
        match self {
            Self::Deploy(args) => &args.access,
            Self::Status(args) => &args.access,
            Self::Rollback(args) => &args.access,
            Self::Remove(args) => &args.access,
            Self::Logs(args) => &args.access,
            Self::Source(command) => command.access(),
            Self::Task(command) => command.access(),
            Self::Run(command) => command.access(),
            Self::Pipeline(command) => command.access(),
        }
    }
}

impl Validate for ClientCommand {
    fn validate(&self, problems: &mut Problems) {
        let needs_bridge = match self {
            Self::Deploy(args) => {
                if args.all && args.project.is_some() {
                    let message = "cannot be combined with --all: each project has its folder's name";
                    problems.flag("project", message);
                }
                !args.dry_run
            }
            Self::Rollback(args) => {
                if args.digits().is_some_and(|digits| !args.is_valid(digits)) {
                    let given = args.version.as_deref().unwrap_or_default();
                    let message = format!(
                        "invalid version {given:?}: expected 12 to 64 digits of a digest, or 7 to 64 of a \
                         commit, of 0-9 and a-f"
                    );
                    problems.flag("version", message);
                }
                true
            }
            Self::Source(command) => {
                command.validate(problems);
                true
            }
            Self::Task(command) => command.validate(problems),
            Self::Run(command) => {
                command.validate(problems);
                true
            }
            Self::Pipeline(command) => {
                command.validate(problems);
                true
            }
            Self::Status(_) | Self::Remove(_) | Self::Logs(_) => true,
        };
        if needs_bridge && self.access().to.is_none() {
            problems.flag("to", "is required: the bridge's URL, here or in SWITCHYARD_TO");
        }
    }
}

impl RollbackArgs {
    /// Returns the digits of the version's digest or commit. The printed form `blog@3f9a1c2b7d4e` is
    /// accepted too.
    pub(super) fn digits(&self) -> Option<&str> {
        let text = self.version.as_deref()?;
        match text.split_once('@') {
            Some((name, digest)) if name == self.project.as_str() => Some(digest),
            _ => Some(text),
        }
    }

    fn is_valid(&self, digits: &str) -> bool {
        let is_commit = self.version.as_deref() == Some(digits);
        let fewest = if is_commit { 7 } else { 12 };
        let is_hex = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        (fewest..=64).contains(&digits.len()) && digits.bytes().all(is_hex)
    }
}

/// The problem of a token that cannot be used.
pub(super) fn invalid_token(message: String) -> Problem {
    Problem::new("--token-file or SWITCHYARD_TOKEN", message)
}

#[cfg(test)]
mod tests;
