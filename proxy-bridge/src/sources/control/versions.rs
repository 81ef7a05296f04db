//! Versions that runs need and no router has: made again from their commits, and sent to a router.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::Sources;
use crate::git::ObjectId;
use crate::routers::Router;
use crate::runs::{NotMade, VersionMaker};
use crate::tree::archive;
use crate::versions;
use switchyard_contract::commit::CommitInfo;
use switchyard_contract::digest::Digest;
use switchyard_contract::project::ProjectName;
use switchyard_edge::problem::Problem;

impl VersionMaker for Sources {
    fn make(
        &self,
        project: &ProjectName,
        digest: Digest,
        router: &Arc<Router>,
    ) -> BoxFuture<'static, Result<(), NotMade>> {
        let (sources, project, router) = (self.clone(), project.clone(), router.clone());
        Box::pin(async move { sources.make_version(&project, digest, &router).await })
    }

    fn commit(&self, project: &ProjectName, digest: Digest) -> Option<CommitInfo> {
        let deploys = &self.0.context.deploys;
        let incarnation = deploys.volume().register().of(project).ok()?.current;
        let (records, digits) = (deploys.records(), digest.to_string());
        versions::origins(project, incarnation, &digits, &records).next().map(|(commit, _)| commit.clone())
    }
}

impl Sources {
    async fn make_version(
        &self,
        project: &ProjectName,
        digest: Digest,
        router: &Router,
    ) -> Result<(), NotMade> {
        let deploys = &self.0.context.deploys;
        let incarnations = deploys.volume().register().of(project).map_err(|error| not_made(&error))?;
        let (records, digits) = (deploys.records(), digest.to_string());
        let mut origins = versions::origins(project, incarnations.current, &digits, &records);
        let is_known = |commit: &CommitInfo| self.status(&commit.source).is_some();
        let Some((commit, own)) = origins.find(|(commit, _)| is_known(commit)) else {
            let why = "no deploy of it from a git source is recorded, from whose commit it could be made";
            return Err(NotMade(why.to_owned()));
        };
        let from = format!("commit {} of source {}", commit.commit, commit.source);
        let failed = |problem: Problem| NotMade(format!("{from}: {}", problem.detail()));
        let id: ObjectId = commit.commit.parse().map_err(|_| NotMade(format!("{from} is no commit's id")))?;
        let folder = tempfile::Builder::new().tempdir_in(&self.0.context.remakes);
        let folder = folder.map_err(|error| NotMade(format!("no folder for its files: {error}")))?;
        let has_includes = own != digest;
        let made = self.remake_with(&commit.source, &id, project, folder.path(), has_includes);
        let tree = made.await.map_err(failed)?;
        if tree.digest != own {
            return Err(NotMade(format!(
                "{from} has other files of {project} now (digest {}) than were deployed ({own}): if the \
                 settings of the source have changed since, change them back",
                tree.digest
            )));
        }
        let sent = router.keep_version(project, incarnations.current, digest, archive(folder.path()));
        sent.await
            .map_err(|error| NotMade(format!("{from}, sent to the router {}: {error}", router.name())))?;
        tracing::info!(
            project.name = project.as_str(),
            source = commit.source,
            commit = commit.commit,
            router = router.name(),
            "{project}@{} is made again from {from} for a run",
            digest.short()
        );
        Ok(())
    }
}

fn not_made(error: &impl ToString) -> NotMade {
    NotMade(error.to_string())
}
