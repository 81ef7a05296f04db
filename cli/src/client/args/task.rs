//! The verbs of `task` and `pipeline`: their arguments.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::Value;
use switchyard_contract::project::ProjectName;
use switchyard_contract::task::{Consistency, TaskId};
use switchyard_program::settings::Problems;

use super::access::Access;
use super::project_name;

/// Shown below the flags of every verb.
pub(super) const EXIT_STATUS: &str = "Exit status: 0 done; 1 the run failed, or what is named does not exist; \
                                      2 refused; 3 no answer in time; 64 wrong command line";

/// The verbs of `task`.
#[derive(Debug, Subcommand)]
pub(crate) enum TaskCommand {
    /// List the tasks and pipelines, with their next and last runs
    #[command(after_help = EXIT_STATUS)]
    List(ListTasksArgs),
    /// Show everything about a task: schedule, parameters, versions, last run
    #[command(after_help = EXIT_STATUS)]
    Show(TaskArgs),
    /// Start a run of a task
    #[command(after_help = EXIT_STATUS)]
    Run(StartArgs),
    /// Show the next due times
    #[command(after_help = EXIT_STATUS)]
    Next(NextArgs),
    /// Check the tasks and pipelines in a folder, without a bridge
    #[command(after_help = EXIT_STATUS)]
    Lint(LintArgs),
    /// Show why a task did or did not run at a due time
    #[command(after_help = EXIT_STATUS)]
    Explain(ExplainTaskArgs),
}

/// The verbs of `pipeline`.
#[derive(Debug, Subcommand)]
pub(crate) enum PipelineCommand {
    /// Start a run of a pipeline
    #[command(after_help = EXIT_STATUS)]
    Run(StartArgs),
    /// Show everything about a pipeline: steps, schedule, versions, last run
    #[command(after_help = EXIT_STATUS)]
    Show(TaskArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListTasksArgs {
    /// Project whose tasks are listed [default: all]
    #[arg(value_name = "PROJECT", value_parser = project_name)]
    pub(in super::super) project: Option<ProjectName>,

    #[command(flatten)]
    pub(super) access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct TaskArgs {
    /// Task or pipeline
    #[arg(value_name = "PROJECT:TASK", value_parser = str::parse::<TaskId>)]
    pub(in super::super) task: TaskId,

    #[command(flatten)]
    pub(super) access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// Task or pipeline
    #[arg(value_name = "PROJECT:TASK", value_parser = str::parse::<TaskId>)]
    pub(in super::super) task: TaskId,

    /// Parameter, as NAME=TEXT or NAME:=JSON; can be repeated
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = param)]
    pub(in super::super) params: Vec<(String, Value)>,

    /// File with the input as JSON; - for standard input
    #[arg(long, value_name = "FILE")]
    pub(in super::super) input: Option<PathBuf>,

    /// Version, digest or commit to run [default: the live version]
    #[arg(long, value_name = "DIGEST|COMMIT")]
    pub(in super::super) version: Option<String>,

    /// Code of later steps and retries: run, step or commit [default: the task's own rule]
    #[arg(long, value_name = "RULE", value_parser = consistency)]
    pub(in super::super) consistency: Option<Consistency>,

    /// Start it also while another run of the task is under way
    #[arg(long)]
    pub(in super::super) force: bool,

    #[command(flatten)]
    pub(in super::super) until: UntilArgs,

    #[command(flatten)]
    pub(super) access: Access,
}

/// The flags of commands that start a run.
#[derive(Debug, Args)]
pub(crate) struct UntilArgs {
    /// Wait for the end of the run, and exit with its outcome
    #[arg(long)]
    pub(in super::super) wait: bool,

    /// Print the log of the run until its end, and exit with its outcome
    #[arg(long)]
    pub(in super::super) follow: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NextArgs {
    /// Task or pipeline [default: all]
    #[arg(value_name = "PROJECT:TASK", value_parser = str::parse::<TaskId>)]
    pub(in super::super) task: Option<TaskId>,

    #[command(flatten)]
    pub(super) access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct LintArgs {
    /// Folder of the project; nothing is sent, and --to is not needed
    #[arg(value_name = "DIR")]
    pub(in super::super) folder: PathBuf,

    #[command(flatten)]
    pub(super) access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainTaskArgs {
    /// Task or pipeline
    #[arg(value_name = "PROJECT:TASK", value_parser = str::parse::<TaskId>)]
    pub(in super::super) task: TaskId,

    /// Due time, as in 2026-03-01T08:00:00Z [default: the last one]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(in super::super) at: Option<Timestamp>,

    #[command(flatten)]
    pub(super) access: Access,
}

/// A value that no parameter, rule or time can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidValue {
    #[error("invalid parameter {0:?}: expected NAME=TEXT, or NAME:=JSON as in count:=3")]
    Param(String),
    #[error("invalid parameter {0}: what follows := is not JSON: {1}; NAME=TEXT sends text")]
    ParamJson(String, String),
    #[error("invalid rule {0:?}: expected run, step or commit")]
    Consistency(String),
    #[error("invalid time {0:?}: expected one with its zone, as in 2026-03-01T08:00:00Z")]
    Time(String),
}

fn param(text: &str) -> Result<(String, Value), InvalidValue> {
    let invalid = || InvalidValue::Param(text.to_owned());
    let (name, value) = text.split_once('=').ok_or_else(invalid)?;
    match name.strip_suffix(':') {
        Some("") => Err(invalid()),
        None if name.is_empty() => Err(invalid()),
        None => Ok((name.to_owned(), value.into())),
        Some(name) => serde_json::from_str(value)
            .map(|value| (name.to_owned(), value))
            .map_err(|error| InvalidValue::ParamJson(name.to_owned(), error.to_string())),
    }
}

fn consistency(text: &str) -> Result<Consistency, InvalidValue> {
    match text {
        "run" => Ok(Consistency::Run),
        "step" => Ok(Consistency::Step),
        "commit" => Ok(Consistency::Commit),
        other => Err(InvalidValue::Consistency(other.to_owned())),
    }
}

pub(super) fn time(text: &str) -> Result<Timestamp, InvalidValue> {
    text.parse().map_err(|_| InvalidValue::Time(text.to_owned()))
}

impl TaskCommand {
    pub(super) fn access(&self) -> &Access {
        match self {
            Self::List(args) => &args.access,
            Self::Show(args) => &args.access,
            Self::Run(args) => &args.access,
            Self::Next(args) => &args.access,
            Self::Lint(args) => &args.access,
            Self::Explain(args) => &args.access,
        }
    }

    pub(super) fn validate(&self, problems: &mut Problems) {
        if let Self::Run(args) = self {
            args.validate(problems);
        }
    }
}

impl PipelineCommand {
    pub(super) fn access(&self) -> &Access {
        match self {
            Self::Run(args) => &args.access,
            Self::Show(args) => &args.access,
        }
    }

    pub(super) fn validate(&self, problems: &mut Problems) {
        if let Self::Run(args) = self {
            args.validate(problems);
        }
    }
}

impl StartArgs {
    fn validate(&self, problems: &mut Problems) {
        for (at, (name, _)) in self.params.iter().enumerate() {
            if self.params[..at].iter().any(|(earlier, _)| earlier == name) {
                problems.flag("param", format!("{name} is given twice"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_parameter_is_text_or_json() {
        assert_eq!(param("a=1"), Ok(("a".into(), json!("1"))));
        assert_eq!(param("a:=1"), Ok(("a".into(), json!(1))));
        assert_eq!(param("a=b=c"), Ok(("a".into(), json!("b=c"))));
        assert_eq!(param("a="), Ok(("a".into(), json!(""))));
        for bad in ["a", "=x", ":=1", "a:=x"] {
            assert!(param(bad).is_err(), "{bad}");
        }
    }
}
