//! Git sources, beside the goals that they were built for: pushes, syncs with nothing new, local
//! overrides, and the cost of polling.

mod local;
mod polls;
mod pushes;
mod row;

use anyhow::Result;

use crate::say;

pub(crate) async fn run() -> Result<()> {
    say("## Git sources\n");
    pushes::run().await;
    local::run().await;
    polls::run().await
}
