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

/// The time between two comparisons while something waits for time to pass.
const SOON: Duration = Duration::from_millis(300);

/// The time for which a difference must last: the report of a router may be older than the deploy.
const SETTLED: Duration = Duration::from_millis(500);

/// The time for which files must not change before they are put back: somebody may still be editing.
const QUIET: Duration = Duration::from_secs(10);

/// A project whose files on the volume are others.
#[derive(Debug, Clone, Copy)]
struct Drifted {
    digest: Digest,
    since: Instant,
    is_reported: bool,
    is_restored: bool,
}

/// Compares until it is dropped, which the end of the bridge does.
pub(super) async fn watch(sources: Sources, routers: Routers) {
    let mut changes = routers.changed();
    let mut known = BTreeMap::new();
    loop {
        sources.compare(&routers, &mut known);
        sleep(PACE).await;
        let waits = known.values().any(|one| !(one.is_reported && one.is_restored));
        let changed = match waits {
            // Without a change the comparison is for the time that has passed.
            true => timeout(SOON, changes.changed()).await.unwrap_or(Ok(())),
            false => changes.changed().await,
        };
        if changed.is_err() {
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
            running.drift.clear();
            for (name, digest) in drift {
                let before = known.get(&name).filter(|before| before.digest == digest);
                let mut one = before.copied().unwrap_or_else(|| Drifted {
                    digest,
                    since: Instant::now(),
                    is_reported: false,
                    is_restored: running.settings.drift != OnDrift::Restore,
                });
                let lasted = one.since.elapsed();
                if lasted >= SETTLED {
                    if !one.is_reported {
                        report(source, &name, &digest);
                    }
                    one.is_reported = true;
                    running.drift.insert(name.clone(), digest);
                }
                if lasted >= QUIET && !one.is_restored {
                    one.is_restored = true;
                    restored.entry(source.clone()).or_default().push(name.clone());
                }
                found.insert(name, one);
            }
        }
        *known = found;
        for (source, projects) in restored {
            self.restore(&source, projects);
        }
    }
}

fn report(source: &str, project: &ProjectName, digest: &Digest) {
    tracing::warn!(
        event = "source.drifted",
        source,
        project.name = project.as_str(),
        digest = %digest.short(),
        "source {source}: the files of {project} on the volume are not those of the commit"
    );
}

/// The digest of a project's files on the volume, as a router has read them. `None` while a deploy holds
/// the project, or no router knows: one that reads it from a local folder does not.
pub(super) fn on_disk(routers: &Routers, project: &ProjectName) -> Option<Digest> {
    let statuses = routers.all();
    let mut statuses = statuses.iter().filter(|router| router.is_reachable());
    let status = statuses
        .find_map(|router| router.status(project.as_str()).filter(|status| status.overridden.is_none()))?;
    if status.held_by.is_some() {
        return None;
    }
    status.on_disk?.digest.parse().ok()
}
