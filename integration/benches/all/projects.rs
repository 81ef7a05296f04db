//! A thousand projects on one volume, ten of them broken: the first start, and a start that finds
//! what was good before.

use std::time::Instant;

use anyhow::{Context as _, Result};
use switchyard_integration::fixtures;
use switchyard_integration::router::{Router, State};
use switchyard_integration::volume::Volume;

use crate::say;
use crate::stats::{children, pss};

const PROJECTS: usize = 1000;
const BROKEN: usize = 10;

pub(crate) async fn run() -> Result<()> {
    let volume = Volume::new();
    for n in 0..PROJECTS {
        let broken = n % (PROJECTS / BROKEN) == 0;
        let main = if broken { "export default {{{".to_owned() } else { fixtures::hello(&n.to_string()) };
        volume.project(&format!("p{n}")).file("main.ts", main).write();
    }
    say(format!("## {PROJECTS} projects, {BROKEN} of them broken\n"));
    say("| start | ready after s | versions good | cells | router MB | router and cells MB |");
    say("|---|---:|---:|---:|---:|---:|");
    let state = State::new();
    for start in ["first", "again"] {
        let began = Instant::now();
        let router = Router::builder(&volume).state(&state).flag("debounce", 500).start_unready().await;
        while router.admin.client.get("/readyz").await.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let ready = began.elapsed().as_secs_f64();
        let projects = router.admin.projects().await;
        let good = projects.values().filter(|project| project.live.is_some()).count();
        let pid = u32::try_from(router.pid().as_raw_nonzero().get()).context("a process id is positive")?;
        let own = pss(pid)?;
        let cells = children(pid)?;
        let all: f64 = own + cells.iter().filter_map(|cell| pss(*cell).ok()).sum::<f64>();
        say(format!("| {start} | {ready:.1} | {good} | {} | {own:.1} | {all:.0} |", cells.len()));
        router.stop().await;
    }
    say("");
    Ok(())
}
