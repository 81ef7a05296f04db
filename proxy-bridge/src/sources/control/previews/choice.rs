//! The branches that have previews: those with a name of their own, and the newest of them. Pure.

use std::collections::BTreeMap;

use crate::git::ObjectId;
use crate::sources::settings::{Previews, SourceSettings};

/// A branch that could have a preview.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) branch: String,
    /// The newest commit.
    pub(super) commit: ObjectId,
    /// The settings of the preview.
    pub(super) settings: SourceSettings,
}

impl Candidate {
    /// The preview's name.
    pub(super) fn name(&self) -> &str {
        self.settings.name.as_str()
    }
}

/// The branches that could have previews, and those that cannot, with the reason.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) candidates: Vec<Candidate>,
    pub(super) refused: Vec<String>,
}

/// Returns the branches that the settings name, by name. Of two whose previews would have one name
/// the one that has it already keeps it, or else the first.
pub(super) fn named(
    source: &SourceSettings,
    heads: BTreeMap<String, ObjectId>,
    running: &BTreeMap<String, String>,
) -> Named {
    let mut named = Named::default();
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    let (old, new): (Vec<_>, Vec<_>) = heads
        .into_iter()
        .filter(|(branch, _)| source.has_preview(branch))
        .filter_map(|(branch, commit)| {
            let settings = source.preview(&branch)?;
            Some(Candidate { branch, commit, settings })
        })
        .partition(|candidate| running.get(candidate.name()) == Some(&candidate.branch));
    for candidate in old.into_iter().chain(new) {
        if let Some(first) = owners.get(candidate.name()) {
            named.refused.push(format!(
                "the branch {} has no preview: {} of the branch {first} would have the same name; rename \
                 one of the branches",
                candidate.branch,
                candidate.name()
            ));
            continue;
        }
        owners.insert(candidate.name().to_owned(), candidate.branch.clone());
        named.candidates.push(candidate);
    }
    named.candidates.sort_by(|a, b| a.branch.cmp(&b.branch));
    named
}

/// Returns those that are to have previews: the newest ones, of commits that are not too old. `times`
/// has the times of commits in seconds since 1970; one without is passed over.
pub(super) fn newest(
    candidates: Vec<Candidate>,
    times: &BTreeMap<ObjectId, i64>,
    previews: &Previews,
    now: i64,
) -> Vec<Candidate> {
    let keep = i64::try_from(previews.keep.0.as_secs()).unwrap_or(i64::MAX);
    let oldest = now.saturating_sub(keep);
    let timed = candidates.into_iter().filter_map(|one| Some((*times.get(&one.commit)?, one)));
    let mut young: Vec<_> = timed.filter(|(at, _)| *at > oldest).collect();
    young.sort_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.branch.cmp(&other.branch)));
    young.into_iter().take(previews.most).map(|(_, one)| one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::settings::SourcesFile;

    fn source(lines: &str) -> SourceSettings {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sources.toml");
        let text = format!(
            "[[source]]\nname = \"shop\"\nurl = \"https://example.com/shop.git\"\nbranch = \"main\"\n\
             projects = [{{ path = \"apps/api\", as = \"api\" }}]\n{lines}\n"
        );
        std::fs::write(&file, text).unwrap();
        SourcesFile::open(&file, &[]).unwrap().get("shop").unwrap().clone()
    }

    fn commit(digit: char) -> ObjectId {
        digit.to_string().repeat(40).parse().unwrap()
    }

    fn heads(all: &[(&str, char)]) -> BTreeMap<String, ObjectId> {
        all.iter().map(|(branch, digit)| ((*branch).to_owned(), commit(*digit))).collect()
    }

    fn branches(candidates: &[Candidate]) -> Vec<&str> {
        candidates.iter().map(|one| one.branch.as_str()).collect()
    }

    #[test]
    fn branches_that_match_have_settings_of_their_own() {
        let source = source("previews = { branches = [\"feature/*\", \"m*\"] }\npublish = \"hold\"");
        let heads = heads(&[("feature/a", 'a'), ("feature/a/b", 'b'), ("main", 'c'), ("other", 'd')]);
        let named = named(&source, heads, &BTreeMap::new());
        assert_eq!(branches(&named.candidates), ["feature/a"], "main is live by itself");
        let preview = &named.candidates[0].settings;
        assert_eq!((preview.name.as_str(), preview.publish.as_str()), ("shop--feature-a", "follow"));
        assert_eq!(preview.target.to_string(), "branch feature/a");
        let projects: Vec<_> = preview.named_projects().map(|name| name.to_string()).collect();
        assert_eq!(projects, ["api--feature-a"]);
        assert!(preview.previews.is_none() && !preview.has_preview("feature/a"));
    }

    #[test]
    fn one_of_two_branches_with_one_name_has_it_and_keeps_it() {
        let source = source("previews = { branches = [\"**\"] }");
        let both = heads(&[("x-y", 'a'), ("x/y", 'b')]);
        let first = named(&source, both.clone(), &BTreeMap::new());
        assert_eq!(branches(&first.candidates), ["x-y"]);
        assert!(first.refused[0].contains("the branch x/y has no preview: shop--x-y of the branch x-y"));
        let running = BTreeMap::from([("shop--x-y".to_owned(), "x/y".to_owned())]);
        assert_eq!(branches(&named(&source, both, &running).candidates), ["x/y"]);
    }

    #[test]
    fn the_newest_branches_have_previews_until_they_are_too_old() {
        let source = source("previews = { branches = [\"*\"], keep = \"1m\", most = 2 }");
        let previews = source.previews.clone().unwrap();
        let heads = heads(&[("a", 'a'), ("b", 'b'), ("c", 'c'), ("d", 'd')]);
        let candidates = named(&source, heads, &BTreeMap::new()).candidates;
        let times = BTreeMap::from([(commit('a'), 1000), (commit('b'), 1010), (commit('c'), 1020)]);
        let chosen = |now| newest(candidates.clone(), &times, &previews, now);
        assert_eq!(branches(&chosen(1021)), ["c", "b"], "of d the time is not known");
        assert_eq!(branches(&chosen(1069)), ["c", "b"]);
        assert_eq!(branches(&chosen(1070)), ["c"]);
        assert!(chosen(1080).is_empty());
    }
}
