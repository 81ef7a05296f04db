//! The commits of a project's versions: a deploy names them, and a version found on the volume has
//! none.

use std::sync::Arc;

use switchyard_contract::commit::CommitInfo;

use super::live_state::LiveState;
use super::machine::PublishedVersion;
use super::project::Project;
use super::record::RecordedCommit;
use crate::version::Version;

impl Project {
    /// The commit of `version`, if it is the live one and has one.
    pub(super) fn live_commit(&self, version: &Version) -> Option<Arc<CommitInfo>> {
        let live = self.machine.live().filter(|live| live.version == *version)?;
        live.data.commit.clone()
    }

    /// Sets the commit that a deploy names for the live version. Returns true if it had another one,
    /// or none.
    pub(super) fn set_commit(&mut self, commit: &CommitInfo) -> bool {
        let Some(live) = self.live_mut() else { return false };
        if live.commit.as_deref() == Some(commit) {
            return false;
        }
        live.commit = Some(Arc::new(commit.clone()));
        true
    }

    /// Gives `version`, which has become live, the commit that it had before: in place of `previous`,
    /// or in an earlier run. One that its deploy has named stays.
    pub(super) fn keep_commit(&mut self, version: &Version, previous: Option<&PublishedVersion<LiveState>>) {
        let recorded = self.files.recorded_commit.take();
        let before = previous.map(|previous| (&previous.version, previous.data.commit.clone()));
        let kept = kept_commit(version, before, recorded);
        if let Some(live) = self.live_mut()
            && live.commit.is_none()
        {
            live.commit = kept;
        }
    }
}

fn kept_commit(
    version: &Version,
    previous: Option<(&Version, Option<Arc<CommitInfo>>)>,
    recorded: Option<RecordedCommit>,
) -> Option<Arc<CommitInfo>> {
    match previous {
        Some((previous, commit)) => commit.filter(|_| previous == version),
        None => recorded.filter(|recorded| recorded.version == *version).map(|recorded| recorded.commit),
    }
}

/// The id of a commit, for the log.
pub(super) fn id(commit: Option<&Arc<CommitInfo>>) -> Option<&str> {
    commit.map(|commit| commit.commit.as_str())
}

#[cfg(test)]
mod tests {
    use switchyard_contract::digest::Digest;
    use switchyard_contract::incarnation::Incarnation;
    use switchyard_contract::project::ProjectName;

    use super::*;

    fn version(digit: u8) -> Version {
        let project = ProjectName::parse("a").unwrap();
        Version { project, incarnation: Incarnation::FIRST, digest: Digest::from([digit; 32]) }
    }

    fn commit(digit: &str) -> Arc<CommitInfo> {
        Arc::new(CommitInfo { source: "shop".into(), commit: digit.repeat(40), ref_name: None })
    }

    fn recorded(digit: u8) -> Option<RecordedCommit> {
        Some(RecordedCommit { version: version(digit), commit: commit("c") })
    }

    #[test]
    fn the_same_version_keeps_its_commit_when_it_is_built_again() {
        let before = (&version(1), Some(commit("a")));
        assert_eq!(kept_commit(&version(1), Some(before), None), Some(commit("a")));
        assert_eq!(kept_commit(&version(1), Some((&version(1), None)), recorded(1)), None);
    }

    #[test]
    fn another_version_that_the_watch_found_has_no_commit() {
        let (first, second) = (version(1), version(2));
        assert_eq!(kept_commit(&second, Some((&first, Some(commit("a")))), recorded(2)), None);
        let mut later = first.clone();
        later.incarnation = Incarnation::from_number(7);
        assert_eq!(
            kept_commit(&later, Some((&first, Some(commit("a")))), None),
            None,
            "the same files of another project"
        );
    }

    #[test]
    fn a_restored_version_has_the_commit_that_was_recorded() {
        assert_eq!(kept_commit(&version(1), None, recorded(1)), Some(commit("c")));
        assert_eq!(kept_commit(&version(2), None, recorded(1)), None);
        assert_eq!(kept_commit(&version(1), None, None), None);
    }
}
