//! The measurements behind the README's figures: `make bench`, or one of them by its name
//! (`cargo bench --workspace --bench all -- reload`). Each compares side by side in one run, and
//! prints medians and ratios as a table.

mod asker;
mod builds;
mod burst;
mod cold;
mod containment;
mod deploy;
mod git;
mod history;
mod latency;
mod memory;
mod peers;
mod projects;
mod reload;
mod report;
mod runs;
mod soak;
mod stalls;
mod stats;
mod throughput;

fn main() -> anyhow::Result<()> {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with("--") && arg != "quick").collect();
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
        if is_wanted("reload") {
            reload::run().await?;
        }
        if is_wanted("builds") {
            builds::run().await?;
        }
        if is_wanted("cold") {
            cold::run().await?;
        }
        if is_wanted("burst") {
            burst::run().await?;
        }
        if is_wanted("deploy") {
            deploy::run().await;
        }
        if is_wanted("git") {
            git::run().await?;
        }
        if is_wanted("runs") {
            runs::run().await?;
        }
        if is_wanted("latency") {
            latency::run().await?;
        }
        if is_wanted("throughput") {
            throughput::run().await?;
        }
        if is_wanted("memory") {
            memory::run().await?;
        }
        if is_wanted("projects") {
            projects::run().await?;
        }
        if is_wanted("containment") {
            containment::run().await;
        }
        if is_wanted("stalls") {
            stalls::run().await;
        }
        // Run only by name: it takes minutes to fill.
        if wanted.iter().any(|wanted| wanted == "history") {
            history::run().await?;
        }
        // Run only by name: it takes minutes and measures nothing (`make soak`).
        if wanted.iter().any(|wanted| wanted == "soak") {
            soak::run().await?;
        }
        Ok(())
    })
}

/// Prints a line of the report.
#[expect(clippy::print_stdout, reason = "a bench prints its report")]
fn say(line: impl AsRef<str>) {
    println!("{}", line.as_ref());
}
