//! The arguments of commands about one project.

use std::str::FromStr as _;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use switchyard_contract::admin::StatusFilter;
use switchyard_contract::project::ProjectName;
use switchyard_program::settings::Problems;
use switchyard_program::settings::values::number;

use super::{Access, EXIT_STATUS, check_version, digits, project_name, since};

/// The commands that show or change one project.
#[derive(Debug, Subcommand)]
pub(crate) enum ProjectCommand {
    /// List the versions of a project, the newest first
    #[command(after_help = EXIT_STATUS)]
    Versions(ProjectArgs),
    /// Show in which files two versions differ, and in which lines
    #[command(after_help = EXIT_STATUS)]
    Diff(DiffArgs),
    /// Let nothing change a project until it is unlocked
    #[command(after_help = EXIT_STATUS)]
    Lock(LockArgs),
    /// Take the lock of a project away
    #[command(after_help = EXIT_STATUS)]
    Unlock(ProjectArgs),
    /// Show what happened to projects: reloads, failures, crashes
    #[command(after_help = EXIT_STATUS)]
    Events(EventsArgs),
    /// Show the last requests of a project
    #[command(after_help = EXIT_STATUS)]
    Requests(RequestsArgs),
    /// Have the routers read projects again
    #[command(after_help = EXIT_STATUS)]
    Reload(ReloadArgs),
    /// Say why a project serves what it serves
    #[command(after_help = EXIT_STATUS)]
    Explain(ProjectArgs),
    /// Open a project in the browser
    #[command(after_help = EXIT_STATUS)]
    Open(OpenArgs),
    /// Print how to attach a debugger to a project
    #[command(after_help = EXIT_STATUS)]
    Inspect(ProjectArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ProjectArgs {
    /// Project
    #[arg(value_name = "PROJECT", value_parser = project_name)]
    pub(in super::super) project: ProjectName,

    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// Project
    #[arg(value_name = "PROJECT", value_parser = project_name)]
    pub(in super::super) project: ProjectName,

    /// Version that is compared [default: the live one]
    #[arg(value_name = "FROM")]
    before: Option<String>,

    /// Version that it is compared with [default: the one that a rollback goes to]
    #[arg(value_name = "TO")]
    after: Option<String>,

    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    /// Project
    #[arg(value_name = "PROJECT", value_parser = project_name)]
    pub(in super::super) project: ProjectName,

    /// Reason, shown to those who are refused
    #[arg(long, short, value_name = "TEXT", allow_hyphen_values = true)]
    pub(in super::super) message: Option<String>,

    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Project whose events are shown [default: all]
    #[arg(value_name = "PROJECT", value_parser = project_name)]
    pub(in super::super) project: Option<ProjectName>,

    /// Print new events until interrupted
    #[arg(long, short)]
    pub(in super::super) follow: bool,

    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct RequestsArgs {
    /// Project
    #[arg(value_name = "PROJECT", value_parser = project_name)]
    pub(in super::super) project: ProjectName,

    /// Number of last requests, of which a router keeps 500 [default: 100]
    #[arg(long, short = 'n', value_name = "N", value_parser = number::<u32>(0))]
    pub(in super::super) lines: Option<u32>,

    /// Print requests as they end until interrupted
    #[arg(long, short)]
    pub(in super::super) follow: bool,

    /// Print only requests with this status: a number, or a class such as 5xx
    #[arg(long, value_name = "STATUS", value_parser = StatusFilter::from_str)]
    pub(in super::super) status: Option<StatusFilter>,

    /// Print only requests with this method
    #[arg(long, value_name = "METHOD")]
    pub(in super::super) method: Option<String>,

    /// Print only requests from this time on: the last 10m, 14:30, or 2026-03-01T14:30:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub(in super::super) since: Option<Timestamp>,

    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct ReloadArgs {
    /// Project to read [default: all]
    #[arg(value_name = "PROJECT", value_parser = project_name)]
    pub(in super::super) project: Option<ProjectName>,

    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct OpenArgs {
    /// Project
    #[arg(value_name = "PROJECT", value_parser = project_name)]
    pub(in super::super) project: ProjectName,

    /// Print the URL, and open nothing
    #[arg(long)]
    pub(in super::super) print: bool,

    #[command(flatten)]
    access: Access,
}

impl DiffArgs {
    /// The parameters of the request.
    pub(in super::super) fn query(&self) -> Vec<(&str, &str)> {
        let from = self.before.as_deref().map(|text| ("from", digits(&self.project, text)));
        from.into_iter()
            .chain(self.after.as_deref().map(|text| ("to", digits(&self.project, text))))
            .collect()
    }
}

impl ProjectCommand {
    pub(super) fn access(&self) -> &Access {
        match self {
            Self::Versions(args) | Self::Unlock(args) | Self::Explain(args) | Self::Inspect(args) => {
                &args.access
            }
            Self::Diff(args) => &args.access,
            Self::Lock(args) => &args.access,
            Self::Events(args) => &args.access,
            Self::Requests(args) => &args.access,
            Self::Reload(args) => &args.access,
            Self::Open(args) => &args.access,
        }
    }

    pub(super) fn validate(&self, problems: &mut Problems) {
        if let Self::Diff(args) = self {
            for (subject, version) in [("FROM", &args.before), ("TO", &args.after)] {
                if let Some(version) = version {
                    check_version(&args.project, version, subject, problems);
                }
            }
        }
    }
}
