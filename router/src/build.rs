//! The way from a project's files to running cells: read, plan, fetch packages, start. Knows
//! neither the states of projects nor requests.

mod builder;
mod packages;
mod plan;
mod read;
mod readers;

pub(crate) use builder::{BuildError, Builder, Built};
pub(crate) use plan::{Candidate, Plan, RecordedVersion, ServedBy};
pub(crate) use read::{FolderState, ReadJob, ReadRequest, ReadResult, SlowProjects, read};
pub(crate) use readers::{Readers, Reading};
