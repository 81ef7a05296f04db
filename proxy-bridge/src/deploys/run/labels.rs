//! The commits that a deploy sends to routers together with its versions.

use std::collections::BTreeMap;

use switchyard_contract::commit::CommitInfo;
use switchyard_contract::deploy::DeployRecord;
use switchyard_contract::project::ProjectName;

/// The commit of a deploy, for each of the projects that it puts on the volume and `held` has.
pub(super) fn commits(record: &DeployRecord, held: &[ProjectName]) -> BTreeMap<ProjectName, CommitInfo> {
    let Some(commit) = &record.commit else { return BTreeMap::new() };
    let put = record.projects.iter().filter(|deployed| deployed.digest.is_some());
    let put = put.map(|deployed| &deployed.project).filter(|project| held.contains(project));
    put.map(|project| (project.clone(), commit.clone())).collect()
}

#[cfg(test)]
mod tests {
    use switchyard_contract::deploy::DeployedProject;

    use super::*;
    use crate::records::tests::record;

    #[test]
    fn the_commit_of_a_deploy_goes_with_each_version_and_not_with_a_removal() {
        let name = |name| ProjectName::parse(name).unwrap();
        let commit = CommitInfo { source: "shop".into(), commit: "ab".repeat(20), ref_name: None };
        let mut deploy = DeployRecord { commit: Some(commit.clone()), ..record("d1", 1) };
        let blog = deploy.projects[0].clone();
        deploy.projects.push(DeployedProject { project: name("shop"), ..blog.clone() });
        deploy.projects.push(DeployedProject { project: name("old"), digest: None, ..blog });
        let held = [name("blog"), name("old"), name("shop")];
        let sent = commits(&deploy, &held);
        assert_eq!(sent, BTreeMap::from([(name("blog"), commit.clone()), (name("shop"), commit)]));
        deploy.commit = None;
        assert!(commits(&deploy, &held).is_empty());
    }
}
