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

/// The time after which it is tried again to put files back, where that has failed.
const AGAIN: Duration = Duration::from_secs(60);

/// A project whose files on the volume are others.
#[derive(Debug, Clone, Copy)]
struct Drifted {
    /// `None`: the project is not there.
    digest: Option<Digest>,
    since: Instant,
    is_reported: bool,
    /// The time of the next attempt to put the files back. `None`: they stay as they are.
    restore_at: Option<Instant>,
}

/// Compares until it is dropped, which the end of the bridge does.
pub(super) async fn watch(sources: Sources, routers: Routers) {
    let mut changes = routers.changed();
    let mut known = BTreeMap::new();
    loop {
        sources.compare(&routers, &mut known);
        sleep(PACE).await;
        // Without a change the comparison is for the time that has passed, or for other settings.
        let changed = match known.is_empty() {
            true => changes.changed().await,
            false => timeout(SOON, changes.changed()).await.unwrap_or(Ok(())),
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
                    on_disk(routers, name)
                        .filter(|there| *there != Some(digest))
                        .map(|there| (name.clone(), there))
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
                    restore_at: None,
                });
                if running.settings.drift != OnDrift::Restore {
                    one.restore_at = None;
                } else if one.restore_at.is_none() {
                    one.restore_at = Some(one.since + QUIET);
                }
                let lasted = one.since.elapsed();
                if lasted >= SETTLED {
                    if !one.is_reported {
                        report(source, &name, digest.as_ref());
                    }
                    one.is_reported = true;
                    running.drift.insert(name.clone(), digest);
                }
                if one.restore_at.is_some_and(|at| at <= Instant::now()) {
                    one.restore_at = Some(Instant::now() + AGAIN);
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

fn report(source: &str, project: &ProjectName, digest: Option<&Digest>) {
    let what = match digest {
        Some(_) => "the files of the project on the volume are not those of the commit",
        None => "the project is not on the volume any more, and the commit has it",
    };
    tracing::warn!(
        event = "source.drifted",
        source,
        project.name = project.as_str(),
        digest = digest.map(Digest::short),
        "source {source}: {project}: {what}"
    );
}

/// The digest of a project's files on the volume, as a router has read them; `Some(None)` if no router
/// has such a project. `None` while a deploy holds the project, or no router knows: one that reads it
/// from a local folder does not.
pub(super) fn on_disk(routers: &Routers, project: &ProjectName) -> Option<Option<Digest>> {
    let routers = routers.all();
    let reachable: Vec<_> = routers.iter().filter(|router| router.is_reachable()).collect();
    let statuses: Vec<_> = reachable.iter().filter_map(|router| router.status(project.as_str())).collect();
    if statuses.is_empty() {
        // One that has just started may not have looked yet.
        let is_known = !reachable.is_empty() && reachable.iter().all(|router| router.was_ready());
        return is_known.then_some(None);
    }
    let status = statuses.into_iter().find(|status| status.overridden.is_none())?;
    if status.held_by.is_some() {
        return None;
    }
    status.on_disk?.digest.parse().ok().map(Some)
}
