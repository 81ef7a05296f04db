//! The end of commits that nothing needs any more, in the mirror of a source and in those of its
//! submodules.

use std::sync::Arc;

use super::Context;
use crate::git::{GitError, Mirror, ObjectId};
use crate::sources::commit::{OtherMirrors as _, ReadError, submodules};
use crate::sources::settings::SourceSettings;

/// Mirrors, each with the commits that stay.
type Kept = Vec<(Arc<Mirror>, Vec<ObjectId>)>;

/// Lets go of all commits but those that are in use, and collects garbage when it is due.
pub(super) async fn prune(context: Arc<Context>, settings: Arc<SourceSettings>, used: Vec<ObjectId>) {
    let _permit = context.gits.acquire().await;
    let source = settings.name.as_str();
    let pruned = async {
        for (mirror, commits) in kept(&context, &settings, used).await? {
            mirror.retain(source, &commits).await?;
            if mirror.needs_gc().await? {
                mirror.gc().await?;
            }
        }
        Ok::<_, ReadError>(())
    };
    if let Err(error) = pruned.await {
        tracing::warn!(source, "old commits stay in the mirror: {error}");
    }
}

/// Returns what stays. A repository can be the source's own and that of a submodule.
async fn kept(context: &Context, settings: &SourceSettings, used: Vec<ObjectId>) -> Result<Kept, ReadError> {
    let own = context.mirrors.open(settings).await?;
    let mut found = Vec::new();
    for commit in &used {
        match submodules(&own, settings, commit).await {
            Ok(some) => found.extend(some.into_iter().map(|one| (one.remote, Some(one.commit)))),
            // The commit is gone, or what it names may no longer be read: a read would fetch it again.
            Err(ReadError::Invalid(_) | ReadError::Git(GitError::Damaged(_))) => {}
            Err(error) => return Err(error),
        }
    }
    // Those of earlier commits, too.
    found.extend(context.mirrors.others(settings.name.as_str()).into_iter().map(|remote| (remote, None)));
    let mut kept = vec![(own, used)];
    for (remote, commit) in found {
        let mirror = context.mirrors.open_other(settings, remote).await?;
        match kept.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &mirror)) {
            Some((_, commits)) => commits.extend(commit),
            None => kept.push((mirror, Vec::from_iter(commit))),
        }
    }
    Ok(kept)
}
