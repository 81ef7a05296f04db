//! The verbs of `source`: their arguments.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use switchyard_contract::project::ProjectName;
use switchyard_program::settings::Problems;

use super::access::Access;
use super::project_name;

/// Shown below the flags of every verb.
const EXIT_STATUS: &str = "Exit status: 0 done; 1 the commit cannot be deployed, or the source does not \
                           exist; 2 refused: frozen, or removals wait; 3 the repository or the routers cannot be \
                           reached, or no answer in time; 64 wrong command line";

/// The verbs of `source`.
#[derive(Debug, Subcommand)]
pub(crate) enum SourceCommand {
    /// List the sources, with the commit that is live and what is wrong
    #[command(after_help = EXIT_STATUS)]
    List(ListArgs),
    /// Show everything about a source: commits, problems and how to fix them, projects
    #[command(after_help = EXIT_STATUS)]
    Show(SourceArgs),
    /// Fetch the newest commit now, and wait until it is live
    #[command(after_help = EXIT_STATUS)]
    Sync(SyncArgs),
    /// Make the commit live that is built and waits
    #[command(after_help = EXIT_STATUS)]
    Publish(PublishArgs),
    /// Agree to the removal of the projects that left the repository
    #[command(after_help = EXIT_STATUS)]
    Approve(SourceArgs),
    /// Deploy nothing of a source until the freeze is lifted
    #[command(after_help = EXIT_STATUS)]
    Freeze(FreezeArgs),
    /// Read the projects of a source from a folder instead, for development
    #[command(after_help = EXIT_STATUS)]
    Dev(DevArgs),
    /// Show why a commit changes projects, or does not
    #[command(after_help = EXIT_STATUS)]
    Explain(ExplainArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// Source, as in the sources file
    #[arg(value_name = "NAME", value_parser = source_name)]
    pub(in super::super) source: String,

    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct SyncArgs {
    /// Source to sync [default: all]
    #[arg(value_name = "NAME", value_parser = source_name)]
    pub(in super::super) source: Option<String>,

    /// Commit to deploy instead of the newest; it stays until the ref moves
    #[arg(long, value_name = "HASH", value_parser = commit_id)]
    pub(in super::super) commit: Option<String>,

    /// Allow the commit to remove any number of projects, this once
    #[arg(long)]
    pub(in super::super) allow_empty: bool,

    /// Deploy all projects of the commit, also those that have not changed
    #[arg(long)]
    pub(in super::super) force: bool,

    /// Do not wait for the outcome
    #[arg(long)]
    pub(in super::super) no_wait: bool,

    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// Source, as in the sources file
    #[arg(value_name = "NAME", value_parser = source_name)]
    pub(in super::super) source: String,

    /// Commit to publish [default: the one that waits]
    #[arg(long, value_name = "HASH", value_parser = commit_id)]
    pub(in super::super) commit: Option<String>,

    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct FreezeArgs {
    /// Source, as in the sources file
    #[arg(value_name = "NAME", value_parser = source_name)]
    pub(in super::super) source: String,

    /// Reason, which is shown wherever a deploy is refused
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(in super::super) reason: Option<String>,

    /// End the freeze, and deploy the newest commit
    #[arg(long)]
    pub(in super::super) lift: bool,

    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Source, as in the sources file
    #[arg(value_name = "NAME", value_parser = source_name)]
    pub(in super::super) source: String,

    /// Folder with the repository's files, below the router's --allow-override
    #[arg(long, value_name = "DIR")]
    pub(in super::super) local_path: Option<PathBuf>,

    /// Read the projects from the volume again
    #[arg(long)]
    pub(in super::super) disable: bool,

    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Source, as in the sources file
    #[arg(value_name = "NAME", value_parser = source_name)]
    pub(in super::super) source: String,

    /// Project to explain [default: all]
    #[arg(value_name = "PROJECT", value_parser = project_name)]
    pub(in super::super) project: Option<ProjectName>,

    /// Commit to explain [default: the newest]
    #[arg(long, value_name = "HASH", value_parser = commit_id)]
    pub(in super::super) commit: Option<String>,

    #[command(flatten)]
    access: Access,
}

/// A value that no source or commit can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum InvalidArgument {
    #[error("invalid name {0:?}: expected 1 to 63 of a-z, 0-9 and -, the first a letter or digit")]
    Source(String),
    #[error("invalid commit {0:?}: expected its whole id, 40 or 64 digits, as `git rev-parse {0}` prints it")]
    Commit(String),
}

fn source_name(text: &str) -> Result<String, InvalidArgument> {
    let is_letter = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_valid = text.len() <= 63
        && text.bytes().next().is_some_and(is_letter)
        && text.bytes().all(|c| is_letter(c) || c == b'-');
    if is_valid { Ok(text.to_owned()) } else { Err(InvalidArgument::Source(text.to_owned())) }
}

fn commit_id(text: &str) -> Result<String, InvalidArgument> {
    let is_valid = matches!(text.len(), 40 | 64) && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    if is_valid { Ok(text.to_ascii_lowercase()) } else { Err(InvalidArgument::Commit(text.to_owned())) }
}

impl SourceCommand {
    pub(super) fn access(&self) -> &Access {
        match self {
            Self::List(args) => &args.access,
            Self::Show(args) | Self::Approve(args) => &args.access,
            Self::Sync(args) => &args.access,
            Self::Publish(args) => &args.access,
            Self::Freeze(args) => &args.access,
            Self::Dev(args) => &args.access,
            Self::Explain(args) => &args.access,
        }
    }

    pub(super) fn validate(&self, problems: &mut Problems) {
        match self {
            Self::Sync(args) if args.source.is_none() => {
                let of_one = [
                    ("commit", args.commit.is_some()),
                    ("allow-empty", args.allow_empty),
                    ("force", args.force),
                ];
                for (flag, _) in of_one.into_iter().filter(|(_, is_given)| *is_given) {
                    problems.flag(flag, "is for one source: give its NAME");
                }
            }
            Self::Freeze(args) if args.lift && args.reason.is_some() => {
                problems.flag("reason", "cannot be combined with --lift, which ends a freeze");
            }
            Self::Dev(args) => match (&args.local_path, args.disable) {
                (Some(_), true) => problems.flag("disable", "cannot be combined with --local-path"),
                (None, false) => problems.flag("local-path", "is required, or --disable"),
                _ => {}
            },
            _ => {}
        }
    }
}
