//! The verbs of `run`: their arguments.

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::{RunId, RunState};
use switchyard_contract::suggest::did_you_mean;
use switchyard_contract::task::TaskId;
use switchyard_program::settings::Problems;
use switchyard_program::settings::values::number;

use super::access::Access;
use super::project_name;
use super::task::{EXIT_STATUS, UntilArgs, time};

/// The verbs of `run`.
#[derive(Debug, Subcommand)]
pub(crate) enum RunCommand {
    /// List runs, the newest first
    #[command(after_help = EXIT_STATUS)]
    List(ListRunsArgs),
    /// Show everything about a run: versions, steps, result, error
    #[command(after_help = EXIT_STATUS)]
    Show(RunArgs),
    /// Print the log of a run
    #[command(after_help = EXIT_STATUS)]
    Logs(RunLogsArgs),
    /// Cancel a run
    #[command(after_help = EXIT_STATUS)]
    Cancel(CancelArgs),
    /// Run a run's task again, with the same parameters and input
    #[command(after_help = EXIT_STATUS)]
    Retry(RetryArgs),
    /// Go on with a run that did not succeed: finished steps are not run again
    #[command(after_help = EXIT_STATUS)]
    Resume(ResumeArgs),
    /// Delete a run that has ended, with its steps and log
    #[command(after_help = EXIT_STATUS)]
    Delete(RunArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListRunsArgs {
    /// Task or pipeline whose runs are listed
    #[arg(value_name = "PROJECT:TASK", value_parser = str::parse::<TaskId>)]
    pub(in super::super) task: Option<TaskId>,

    /// Project whose runs are listed
    #[arg(long, value_name = "PROJECT", value_parser = project_name)]
    pub(in super::super) project: Option<ProjectName>,

    /// State of the runs; several are separated by commas
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = state)]
    pub(in super::super) state: Vec<RunState>,

    /// First time, as in 2026-03-01T08:00:00Z, or an age as in 2h or 7d
    #[arg(long, value_name = "TIME", value_parser = time_or_age)]
    pub(in super::super) since: Option<Timestamp>,

    /// Time after the last one, as in 2026-03-01T08:00:00Z, or an age as in 2h or 7d
    #[arg(long, value_name = "TIME", value_parser = time_or_age)]
    pub(in super::super) until: Option<Timestamp>,

    /// Commit of the runs' versions, at least its first 7 digits
    #[arg(long, value_name = "HASH")]
    pub(in super::super) commit: Option<String>,

    /// Run whose steps and retries are listed
    #[arg(long, value_name = "RUN", value_parser = str::parse::<RunId>)]
    pub(in super::super) parent: Option<RunId>,

    /// Number of runs [default: 50]
    #[arg(long, value_name = "N", value_parser = number::<u32>(1))]
    pub(in super::super) limit: Option<u32>,

    /// Page to list, as the page before names it
    #[arg(long, value_name = "TEXT")]
    pub(in super::super) cursor: Option<String>,

    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Id of the run
    #[arg(value_name = "RUN", value_parser = str::parse::<RunId>)]
    pub(in super::super) run: RunId,

    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct RunLogsArgs {
    /// Id of the run
    #[arg(value_name = "RUN", value_parser = str::parse::<RunId>)]
    pub(in super::super) run: RunId,

    /// Number of lines to leave out at the beginning
    #[arg(long, value_name = "N", value_parser = number::<u64>(0))]
    pub(in super::super) from: Option<u64>,

    /// Print new lines until the run has ended, and exit with its outcome
    #[arg(long)]
    pub(in super::super) follow: bool,

    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    /// Id of the run
    #[arg(value_name = "RUN", value_parser = str::parse::<RunId>)]
    pub(in super::super) run: RunId,

    /// Do not wait for the end of the run
    #[arg(long)]
    pub(in super::super) no_wait: bool,

    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    /// Id of the run
    #[arg(value_name = "RUN", value_parser = str::parse::<RunId>)]
    pub(in super::super) run: RunId,

    /// Code to run: same, latest, a digest or a commit [default: by the task's own rule]
    #[arg(long, value_name = "VERSION")]
    pub(in super::super) version: Option<String>,

    #[command(flatten)]
    pub(in super::super) until: UntilArgs,

    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// Id of the run
    #[arg(value_name = "RUN", value_parser = str::parse::<RunId>)]
    pub(in super::super) run: RunId,

    /// First step to run again [default: the first one that did not succeed]
    #[arg(long, value_name = "STEP")]
    pub(in super::super) from_step: Option<String>,

    /// Run it with the version that is live now
    #[arg(long)]
    pub(in super::super) latest: bool,

    #[command(flatten)]
    pub(in super::super) until: UntilArgs,

    #[command(flatten)]
    access: Access,
}

/// A value that no state or time can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum InvalidValue {
    #[error("invalid state {0:?}: expected {1}")]
    State(String, String),
    #[error(
        "invalid time {0:?}: expected one with its zone, as in 2026-03-01T08:00:00Z, or an age as in 2h or 7d"
    )]
    Time(String),
}

fn state(text: &str) -> Result<RunState, InvalidValue> {
    let names = RunState::ALL.map(RunState::as_str);
    RunState::parse(text).ok_or_else(|| {
        let expected = format!("one of {}{}", names.join(", "), did_you_mean(text, &names));
        InvalidValue::State(text.to_owned(), expected)
    })
}

fn time_or_age(text: &str) -> Result<Timestamp, InvalidValue> {
    at(text, Timestamp::now())
}

fn at(text: &str, now: Timestamp) -> Result<Timestamp, InvalidValue> {
    let invalid = || InvalidValue::Time(text.to_owned());
    let Some(unit) = text.chars().last().filter(|_| text.len() < 12) else {
        return time(text).map_err(|_| invalid());
    };
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(invalid()),
    };
    let count: i64 = text[..text.len() - 1].parse().map_err(|_| invalid())?;
    let age = count.checked_mul(seconds).filter(|age| *age >= 0).map(SignedDuration::from_secs);
    now.checked_sub(age.ok_or_else(invalid)?).map_err(|_| invalid())
}

impl RunCommand {
    pub(super) fn access(&self) -> &Access {
        match self {
            Self::List(args) => &args.access,
            Self::Show(args) | Self::Delete(args) => &args.access,
            Self::Logs(args) => &args.access,
            Self::Cancel(args) => &args.access,
            Self::Retry(args) => &args.access,
            Self::Resume(args) => &args.access,
        }
    }

    pub(super) fn validate(&self, problems: &mut Problems) {
        if let Self::List(args) = self {
            if args.limit.is_some_and(|limit| limit > 1_000) {
                problems.flag("limit", "must be at most 1000: --cursor lists the next page");
            }
            let is_commit = |text: &String| {
                (7..=64).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_hexdigit())
            };
            if !args.commit.iter().all(is_commit) {
                problems.flag(
                    "commit",
                    "must be at least 7 digits of a commit, as git log --oneline prints them",
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_one_with_its_zone_or_an_age() {
        let now: Timestamp = "2026-03-01T09:30:00Z".parse().unwrap();
        let read = |text: &str| at(text, now).map(|at| at.to_string());
        for (text, expected) in [
            ("2026-03-01T08:00:00Z", "2026-03-01T08:00:00Z"),
            ("90s", "2026-03-01T09:28:30Z"),
            ("2h", "2026-03-01T07:30:00Z"),
            ("7d", "2026-02-22T09:30:00Z"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected));
        }
        for bad in ["", "h", "2w", "-1h", "2026-03-01", "99999999999d"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_misspelt_state_is_corrected() {
        assert_eq!(state("timed-out"), Ok(RunState::TimedOut));
        assert!(state("faild").unwrap_err().to_string().contains("did you mean \"failed\"?"));
    }
}
