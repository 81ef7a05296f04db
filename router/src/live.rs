//! The one place where the control flow and the data flow meet: the table of live versions, and the
//! messages of one to the other.

mod board;
mod command;
mod cron_runs;
mod crons;
mod debuggers;
mod events;
mod logs;
mod site;
mod table;
mod tasks;

pub(crate) use board::{BoardChanges, Counters, ProjectStatus, StatusBoard};
pub(crate) use command::{
    Command, Commands, DeployId, DeployRefusal, DeployReply, NotRunnable, RunnableVersion, commands,
};
pub(crate) use cron_runs::CronRuns;
pub(crate) use crons::{Crons, LiveCron, cron_trigger, pauses};
pub(crate) use debuggers::{DebugSession, Debuggers};
pub(crate) use events::{EventDetails, Events};
pub(crate) use logs::{LogBatch, LogBuffer, LogReader};
pub(crate) use site::LiveSite;
pub(crate) use table::{
    CellSet, CellState, FailedVersion, LiveTable, LiveVersion, ProjectEntry, RunningCell, Table, TableChange,
};
pub(crate) use tasks::LiveTasks;
