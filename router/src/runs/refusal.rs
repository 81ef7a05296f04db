//! The reasons why calls about runs are refused.

use std::io;

use switchyard_contract::project::ProjectName;
use switchyard_contract::run::RunId;

use super::{NoWork, NotAdmitted, ORDERS, UnknownStep};
use crate::live::NotRunnable;

/// The reason why a call about runs is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunRefusal {
    #[error("unknown project \"{0}\"")]
    UnknownProject(ProjectName),
    #[error("the run is one of an earlier project \"{0}\", which was removed")]
    OtherProject(ProjectName),
    #[error("{0}: {1}")]
    NotRunnable(ProjectName, NotRunnable),
    #[error(transparent)]
    NoWork(#[from] NoWork),
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    #[error("unknown run {0}: it was acknowledged, or the router has lost it")]
    UnknownRun(RunId),
    #[error("the run is under way: cancel it first")]
    UnderWay,
    #[error("the router has attempt {known} of this run, not {named}")]
    OtherAttempt { known: u32, named: u32 },
    #[error(transparent)]
    UnknownStep(#[from] UnknownStep),
    #[error("the run has {ORDERS} orders to follow already: try again")]
    Flooded,
    #[error("the end of the run cannot be read: {0}")]
    Disk(io::Error),
    #[error("the router is stopping")]
    Stopping,
}
