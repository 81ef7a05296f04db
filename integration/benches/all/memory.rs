//! The memory of idle versions, and of router and cells after many reloads.

use anyhow::{Context as _, Result};
use switchyard_contract::admin::ReloadOutcome;
use switchyard_integration::fixtures;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

use crate::report::{Table, number, pick, text};
use crate::stats::{median, own, pss, router_pid};

const VERSIONS: usize = 10;
const RELOADS: [usize; 2] = [50, 1000];

pub(crate) async fn run() -> Result<()> {
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
    let about = format!(
        "Proportional memory (PSS): of {VERSIONS} idle hello worlds, each requested once, the median; of the router."
    );
    let columns = [text(""), number("PSS", "MB", 1)];
    let mut table = Table::begin("memory", "Memory", about, columns);
    table.row(["an idle version".into(), median(&cells).into()]);
    table.row(["the router".into(), pss(router_pid(&router)?)?.into()]);
    table.end()
}

async fn reloads() -> Result<()> {
    let volume = Volume::with("a", fixtures::hello("v0"));
    let router = Router::builder(&volume).flag("debounce", 3_600_000).flag("spares", 1).start().await;
    let counts = pick(RELOADS, [5, 20]);
    let columns = [number("after reloads", "", 0), number("router", "MB", 1), number("cell", "MB", 1)];
    let about = "Private memory of the processes (`Pss_Anon`).";
    let mut table = Table::begin("memory-reloads", "Memory after reloads", about, columns);
    for edit in 1..=counts[1] {
        volume.write("a/main.ts", fixtures::hello(&format!("v{edit}")));
        let reloaded = router.admin.reload("a").await;
        anyhow::ensure!(reloaded.outcome == ReloadOutcome::Live, "edit {edit}: {reloaded:?}");
        if counts.contains(&edit) {
            router.public.get("/a/").await;
            let (router, cell) = (own(router_pid(&router)?)?, own(pid(&router, "a").await?)?);
            table.row([edit.into(), router.into(), cell.into()]);
        }
    }
    table.end()
}

async fn pid(router: &Router, project: &str) -> Result<u32> {
    let status = router.admin.client.get(&format!("/projects/{project}")).await.json();
    let pid = status["pid"].as_u64().with_context(|| format!("{project} runs"))?;
    u32::try_from(pid).context("a process id fits")
}
