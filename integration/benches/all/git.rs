//! Git sources, beside the goals that they were built for: pushes, syncs with nothing new, local
//! overrides, and the cost of polling.

mod local;
mod polls;
mod pushes;
mod row;

use anyhow::Result;

pub(crate) async fn run() -> Result<()> {
    pushes::run().await?;
    local::run().await?;
    polls::run().await
}
