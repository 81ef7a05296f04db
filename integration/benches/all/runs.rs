//! Runs of tasks, beside the goals that they were built for.

mod bystander;
mod due;
mod memory;
mod saves;
mod starts;

use anyhow::Result;

pub(crate) async fn run() -> Result<()> {
    starts::run().await?;
    saves::run().await?;
    due::run().await?;
    bystander::run().await?;
    memory::run().await
}
