//! The client commands: their arguments, checked and turned into what is sent.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp, ToSpan as _, Zoned, civil};
use switchyard_contract::project::{InvalidName, ProjectName};
use switchyard_program::settings::values::{number, time};
use switchyard_program::settings::{Problem, Problems, Validate};

pub(super) use self::access::Access;
pub(crate) use self::access::bridge_text;
pub(super) use self::project::{EventsArgs, ProjectCommand, RequestsArgs};
pub(super) use self::run::{CancelArgs, ListRunsArgs, RunCommand, RunLogsArgs};
pub(super) use self::source::{DevArgs, ExplainArgs, FreezeArgs, SourceCommand, SyncArgs};
pub(super) use self::task::{
    ExplainTaskArgs, LintArgs, ListTasksArgs, NextArgs, PipelineCommand, StartArgs, TaskCommand, UntilArgs,
};

mod access;
mod project;
mod run;
mod source;
mod task;

/// Shown below the flags of every client command.
const EXIT_STATUS: &str = "Exit status: 0 done; 1 the version does not build, or the project does not exist; \
                           2 refused; 3 no answer in time; 64 wrong command line; 130 interrupted";

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
    #[command(flatten)]
    Project(ProjectCommand),
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
    #[arg(value_name = "DIR", default_value = ".")]
    pub(super) folder: PathBuf,

    /// Name of the project [default: the folder's name]
    #[arg(long, short, value_name = "NAME", value_parser = project_name)]
    pub(super) project: Option<ProjectName>,

    /// Deploy each folder in DIR as a project; all of them go live together, or none
    #[arg(long)]
    pub(super) all: bool,

    /// Text for the record of the deploy
    #[arg(long, short, value_name = "TEXT", allow_hyphen_values = true)]
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

    /// Show it again whenever it has changed, until interrupted
    #[arg(long, short)]
    pub(super) watch: bool,

    /// Exit with 1 unless all projects serve their newest version
    #[arg(long)]
    pub(super) exit_code: bool,

    #[command(flatten)]
    pub(super) access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// Project to roll back
    #[arg(value_name = "PROJECT", value_parser = project_name)]
    pub(super) project: ProjectName,

    /// Version to go to: its name, its digest or at least 12 digits of that, or the commit that it was
    /// deployed from or at least 7 digits of that [default: the version before the live one]
    #[arg(value_name = "VERSION")]
    version: Option<String>,

    /// Text for the record of the rollback
    #[arg(long, short, value_name = "TEXT", allow_hyphen_values = true)]
    pub(super) message: Option<String>,

    /// Show where it would go and what would change, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,

    #[command(flatten)]
    pub(super) access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Project to remove
    #[arg(value_name = "PROJECT", value_parser = project_name)]
    pub(super) project: ProjectName,

    /// Do not ask; required unless standard input is a terminal
    #[arg(long, short)]
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
    /// Projects whose output is printed [default: all]
    #[arg(value_name = "PROJECT", value_parser = project_name)]
    pub(super) projects: Vec<ProjectName>,

    /// Number of last lines of each project at each router [default: 100]
    #[arg(long, short = 'n', value_name = "N", value_parser = number::<u32>(0))]
    pub(super) lines: Option<u32>,

    /// Print new lines until interrupted
    #[arg(long, short)]
    pub(super) follow: bool,

    /// Print only lines from this time on: the last 10m, 14:30, or 2026-03-01T14:30:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub(super) since: Option<Timestamp>,

    /// Print only lines that contain this text
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(super) grep: Option<String>,

    /// Print only lines of the request with this x-request-id
    #[arg(long, value_name = "ID")]
    pub(super) request: Option<String>,

    /// Print only lines of this version: its name, or the first digits of its digest
    #[arg(long, value_name = "VERSION")]
    pub(super) version: Option<String>,

    /// Print only what was printed on standard error
    #[arg(long)]
    pub(super) stderr: bool,

    #[command(flatten)]
    pub(super) access: Access,
}

fn project_name(text: &str) -> Result<ProjectName, InvalidName> {
    ProjectName::parse(text)
}

/// Reads a time: a length until now, a time of the day in the local zone, or a time with its zone.
fn since(text: &str) -> Result<Timestamp, String> {
    let now = Zoned::now();
    let ago = |text: &str| {
        let length = time(Duration::ZERO)(text).ok()?;
        now.timestamp().checked_sub(SignedDuration::try_from(length).ok()?).ok()
    };
    let of_day = |text: &str| {
        let time: civil::Time = text.contains(':').then(|| text.parse().ok())??;
        let today = now.with().time(time).build().ok()?;
        // One that is yet to come was yesterday.
        let at = if today > now { today.checked_sub(1.day()).ok()? } else { today };
        Some(at.timestamp())
    };
    let whole = |text: &str| text.parse().ok();
    whole(text).or_else(|| of_day(text)).or_else(|| ago(text)).ok_or_else(|| {
        format!(
            "invalid time {text:?}: expected a length until now such as 10m, a time of the day such as 14:30, or \
             one such as 2026-03-01T14:30:00Z"
        )
    })
}

impl ClientCommand {
    pub(super) fn access(&self) -> &Access {
        match self {
            Self::Deploy(args) => &args.access,
            Self::Status(args) => &args.access,
            Self::Rollback(args) => &args.access,
            Self::Remove(args) => &args.access,
            Self::Project(command) => command.access(),
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
        match self {
            Self::Deploy(args) => {
                if args.all && args.project.is_some() {
                    let message = "cannot be combined with --all: each project has its folder's name";
                    problems.flag("project", message);
                }
            }
            Self::Rollback(args) => {
                if let Some(version) = &args.version {
                    check_version(&args.project, version, "VERSION", problems);
                }
            }
            Self::Source(command) => command.validate(problems),
            Self::Task(command) => command.validate(problems),
            Self::Run(command) => command.validate(problems),
            Self::Pipeline(command) => command.validate(problems),
            Self::Project(command) => command.validate(problems),
            Self::Status(_) | Self::Remove(_) | Self::Logs(_) => {}
        }
    }
}

impl RollbackArgs {
    /// Returns the digits of the version's digest or commit.
    pub(super) fn digits(&self) -> Option<&str> {
        self.version.as_deref().map(|text| digits(&self.project, text))
    }
}

/// Returns the digits of a version's digest or commit. The printed form `blog@3f9a1c2b7d4e` is accepted
/// too.
fn digits<'t>(project: &ProjectName, text: &'t str) -> &'t str {
    match text.split_once('@') {
        Some((name, digest)) if name == project.as_str() => digest,
        _ => text,
    }
}

/// Adds a problem if `text` cannot name a version of the project. `subject` is the argument.
fn check_version(project: &ProjectName, text: &str, subject: &str, problems: &mut Problems) {
    let digits = digits(project, text);
    let fewest = if digits == text { 7 } else { 12 };
    let is_hex = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if (fewest..=64).contains(&digits.len()) && digits.bytes().all(is_hex) {
        return;
    }
    let message = format!(
        "invalid version {text:?}: expected 12 to 64 digits of a digest, or 7 to 64 of a commit, of 0-9 and a-f"
    );
    problems.add(Problem::new(subject, message));
}

/// The problem of a token that cannot be used.
pub(super) fn invalid_token(message: String) -> Problem {
    Problem::new("--token-file or SWITCHYARD_TOKEN", message)
}

#[cfg(test)]
mod tests;
