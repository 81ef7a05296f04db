//! The measurements behind the README's figures: `make bench`, or one of them by its name
//! (`cargo bench --workspace --bench all -- reload`). Each compares side by side in one run, and
//! prints medians and ratios as a table. `quick` makes rounds few and short; alone, it runs the
//! essentials (`make bench-quick`). `docs` writes the page from the last results.

mod asker;
mod builds;
mod burst;
mod cells;
mod chart;
mod cold;
mod containment;
mod deploy;
mod git;
mod history;
mod hop;
mod idle;
mod lane;
mod latency;
mod memory;
mod page;
mod peers;
mod projects;
mod reload;
mod report;
mod runs;
mod soak;
mod stalls;
mod stats;
mod steady;
mod streams;
mod throughput;
mod wrk;

/// Run by name only: `history` takes minutes to fill, `soak` measures nothing (`make soak`), `docs`
/// writes the page.
const BY_NAME: [&str; 3] = ["history", "soak", "docs"];

/// Run by `quick` alone.
const ESSENTIALS: [&str; 3] = ["essentials", "reload", "cold"];

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let wanted: Vec<&str> = args.iter().map(String::as_str).filter(|arg| *arg != "quick").collect();
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        // A peer of the data path, in a process of its own.
        if let ["hop", address, socket] = wanted.as_slice() {
            return hop::run(address.parse()?, socket.into()).await;
        }
        let is_wanted = |name: &str| match wanted.as_slice() {
            [] if report::is_quick() => ESSENTIALS.contains(&name),
            [] => name != "essentials" && !BY_NAME.contains(&name),
            wanted => wanted.contains(&name),
        };
        if is_wanted("essentials") {
            throughput::essentials().await?;
        }
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
            deploy::run().await?;
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
        if is_wanted("streams") {
            streams::run().await?;
        }
        if is_wanted("idle") {
            idle::run().await?;
        }
        if is_wanted("cells") {
            cells::run().await?;
        }
        if is_wanted("memory") {
            memory::run().await?;
        }
        if is_wanted("projects") {
            projects::run().await?;
        }
        if is_wanted("containment") {
            containment::run().await?;
        }
        if is_wanted("stalls") {
            stalls::run().await?;
        }
        if is_wanted("history") {
            history::run().await?;
        }
        if is_wanted("soak") {
            soak::run().await?;
        }
        if is_wanted("docs") {
            page::write()?;
        }
        Ok(())
    })
}

/// Prints a line of the report.
#[expect(clippy::print_stdout, reason = "a bench prints its report")]
fn say(line: impl AsRef<str>) {
    println!("{}", line.as_ref());
}
