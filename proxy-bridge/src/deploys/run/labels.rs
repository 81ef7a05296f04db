//! The commits that a deploy sends to routers together with its versions.

use std::collections::BTreeMap;

use switchyard_contract::commit::CommitInfo;
use switchyard_contract::deploy::DeployRecord;
use switchyard_contract::project::ProjectName;

/// The commit of a deploy, for each of the projects that it builds.
pub(super) fn commits<'a>(
    record: &DeployRecord,
    built: impl Iterator<Item = &'a ProjectName>,
) -> BTreeMap<ProjectName, CommitInfo> {
    let Some(commit) = &record.commit else { return BTreeMap::new() };
    built.map(|project| (project.clone(), commit.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::tests::record;

    #[test]
    fn the_commit_of_a_deploy_goes_with_each_version() {
        let name = |name| ProjectName::parse(name).unwrap();
        let commit = CommitInfo { source: "shop".into(), commit: "ab".repeat(20), ref_name: None };
        let mut deploy = DeployRecord { commit: Some(commit.clone()), ..record("d1", 1) };
        let built = [name("blog"), name("shop")];
        let sent = commits(&deploy, built.iter());
        assert_eq!(sent, BTreeMap::from([(name("blog"), commit.clone()), (name("shop"), commit)]));
        deploy.commit = None;
        assert!(commits(&deploy, built.iter()).is_empty());
    }
}
