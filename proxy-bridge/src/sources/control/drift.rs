//! Drift: files on the volume that are not those of the commit that is live, as routers report them.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{Sources, lock};
use crate::routers::Routers;
use crate::sources::settings::OnDrift;
use switchyard_contract::digest::Digest;
use switchyard_contract::project::ProjectName;

/// The time between two comparisons: routers report a save in many steps.
const PACE: Duration = Duration::from_millis(200);

/// The longest time between two comparisons, for files that have been quiet long enough.
const LONGEST: Duration = Duration::from_secs(1);

/// The time for which files must not change before they are put back: somebody may still be editing.
const QUIET: Duration = Duration::from_secs(10);

/// A project whose files on the volume are others.
#[derive(Debug, Clone, Copy)]
struct Drifted {
    digest: Digest,
    since: Instant,
    is_restored: bool,
}

/// Compares until it is dropped, which the end of the bridge does.
pub(super) async fn watch(sources: Sources, routers: Routers) {
    let mut changes = routers.changed();
    let mut known = BTreeMap::new();
    loop {
        sources.compare(&routers, &mut known);
        sleep(PACE).await;
        // Without a change the comparison is for the time that has passed.
        if let Ok(Err(_)) = timeout(LONGEST, changes.changed()).await {
            return;
        }
    }
}

impl Sources {
    fn compare(&self, routers: &Routers, known: &mut BTreeMap<ProjectName, Drifted>) {
        let mut found = BTreeMap::new();
        let mut restored: BTreeMap<String, Vec<ProjectName>> = BTreeMap::new();
        for (source, running) in self.sources().iter_mut() {
            if running.is_deploying() {
                // What is on the volume is about to be what is applied.
                let same = running.drift.keys().filter_map(|name| Some((name.clone(), *known.get(name)?)));
                found.extend(same);
                continue;
            }
            let drift: BTreeMap<_, _> = {
                let applied = lock(&running.applied);
                let differs = |(name, digest): (&ProjectName, Digest)| {
                    on_disk(routers, name).filter(|there| *there != digest).map(|there| (name.clone(), there))
                };
                let with_digest = applied.projects.iter();
                with_digest.filter_map(|(name, one)| differs((name, one.digest?))).collect()
            };
            for (name, digest) in &drift {
                let before = known.get(name).filter(|before| before.digest == *digest);
                if before.is_none() {
                    tracing::warn!(
                        event = "source.drifted",
                        source,
                        project.name = name.as_str(),
                        digest = digest.short().to_string(),
                        "source {source}: the files of {name} on the volume are not those of the commit"
                    );
                }
                let new = Drifted { digest: *digest, since: Instant::now(), is_restored: false };
                let mut one = before.copied().unwrap_or(new);
                let is_due = running.settings.drift == OnDrift::Restore && one.since.elapsed() >= QUIET;
                if is_due && !one.is_restored {
                    one.is_restored = true;
                    restored.entry(source.clone()).or_default().push(name.clone());
                }
                found.insert(name.clone(), one);
            }
            running.drift = drift;
        }
        *known = found;
        for (source, projects) in restored {
            self.restore(&source, projects);
        }
    }
}

/// The digest of a project's files on the volume, as a router has read them. `None` while a deploy holds
/// the project, or no router knows.
fn on_disk(routers: &Routers, project: &ProjectName) -> Option<Digest> {
    let statuses = routers.all();
    let mut statuses = statuses.iter().filter(|router| router.is_reachable());
    let status = statuses.find_map(|router| router.status(project.as_str()))?;
    if status.held_by.is_some() {
        return None;
    }
    status.on_disk?.digest.parse().ok()
}
