//! The memory of idle versions, and of router and cells after many reloads.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use switchyard_contract::admin::ReloadOutcome;
use switchyard_integration::fixtures;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

use crate::say;
use crate::stats::{median, own, pss, router_pid};

const VERSIONS: usize = 10;
const RELOADS: [usize; 2] = [50, 1000];

pub(crate) async fn run() -> Result<()> {
    say("## Memory\n");
    idle().await?;
    reloads().await
}

async fn idle() -> Result<()> {
    let volume = Volume::new();
    for n in 0..VERSIONS {
        volume.project(&format!("p{n}")).file("main.ts", fixtures::hello(&n.to_string())).write();
    }
    let router = Router::builder(&volume).flag("spares", 0).start().await;
    let mut cells = Vec::new();
    for n in 0..VERSIONS {
        router.public.get(&format!("/p{n}/")).await;
        cells.push(pss(pid(&router, &format!("p{n}")).await?)?);
    }
    say(format!(
        "{VERSIONS} idle hello worlds, each requested once: {:.1} MB of proportional memory (PSS) per version (median); \
         the router itself {:.1} MB.\n",
        median(&cells),
        pss(router_pid(&router)?)?,
    ));
    Ok(())
}

async fn reloads() -> Result<()> {
    let volume = Volume::with("a", fixtures::hello("v0"));
    let router = Router::builder(&volume).flag("debounce", 3_600_000).flag("spares", 1).start().await;
    let mut row = String::new();
    for edit in 1..=RELOADS[1] {
        volume.write("a/main.ts", fixtures::hello(&format!("v{edit}")));
        let reloaded = router.admin.reload("a").await;
        anyhow::ensure!(reloaded.outcome == ReloadOutcome::Live, "edit {edit}: {reloaded:?}");
        if RELOADS.contains(&edit) {
            router.public.get("/a/").await;
            let (router, cell) = (own(router_pid(&router)?)?, own(pid(&router, "a").await?)?);
            let _ = writeln!(row, "| {edit} | {router:.1} | {cell:.1} |");
        }
    }
    say("Private memory of the processes (`Pss_Anon`):\n");
    say("| after reloads | router MB | cell MB |");
    say("|---:|---:|---:|");
    say(row);
    Ok(())
}

async fn pid(router: &Router, project: &str) -> Result<u32> {
    let status = router.admin.client.get(&format!("/projects/{project}")).await.json();
    let pid = status["pid"].as_u64().with_context(|| format!("{project} runs"))?;
    u32::try_from(pid).context("a process id fits")
}
