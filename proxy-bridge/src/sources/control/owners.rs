//! The owners of projects: the source that has deployed each, and its passage to another one whose
//! commit has it, once the commit of its owner has it no more.

use std::collections::{BTreeMap, BTreeSet};

use switchyard_contract::project::ProjectName;

/// The projects of all sources.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// The source of each project that one has deployed.
    owners: BTreeMap<ProjectName, String>,
    /// The projects of the commit that each source has read last. `None`: none since its settings changed.
    claims: BTreeMap<String, Option<BTreeSet<ProjectName>>>,
}

impl Owners {
    pub(super) fn get(&self, project: &ProjectName) -> Option<&String> {
        self.owners.get(project)
    }

    /// Returns the source that has the project and does not let go of it, if it is not `source`.
    pub(super) fn rival(&self, source: &str, project: &ProjectName) -> Option<&str> {
        let owner = self.owners.get(project).filter(|owner| *owner != source)?;
        (!self.lets_go(owner, project)).then_some(owner)
    }

    /// Returns true if another source takes the project over, or may do so: its commit was not read
    /// yet.
    pub(super) fn is_wanted(&self, source: &str, project: &ProjectName) -> bool {
        let wants = |claim: &Option<BTreeSet<_>>| claim.as_ref().is_none_or(|all| all.contains(project));
        self.claims.iter().any(|(other, claim)| other != source && wants(claim))
    }

    /// Notes that the settings of a source are new: its commit has to be read again.
    pub(super) fn expect(&mut self, source: &str) {
        self.claims.insert(source.to_owned(), None);
    }

    /// Notes the projects of the commit that a source has read. Returns the other sources for which
    /// that changes something.
    pub(super) fn read(&mut self, source: &str, projects: BTreeSet<ProjectName>) -> Vec<String> {
        let before = self.claims.insert(source.to_owned(), Some(projects.clone())).flatten();
        let mut woken = BTreeSet::new();
        for (project, owner) in &self.owners {
            let had = before.as_ref().is_none_or(|before| before.contains(project));
            if !had || projects.contains(project) {
                continue;
            }
            if owner == source {
                woken.extend(self.claimants(project).filter(|other| *other != source).cloned());
            } else if self.lets_go(owner, project) {
                // Nobody takes it over any more.
                woken.insert(owner.clone());
            }
        }
        woken.into_iter().collect()
    }

    /// Ends the wait for a source whose commit could not be read: it keeps what it has.
    pub(super) fn give_up(&mut self, source: &str) -> Vec<String> {
        if !matches!(self.claims.get(source), Some(None)) {
            return Vec::new();
        }
        let own = self.owners.iter().filter(|(_, owner)| *owner == source);
        let own = own.map(|(project, _)| project.clone()).collect();
        self.read(source, own)
    }

    /// Gives projects to a source that has deployed them. Returns those that another one had.
    pub(super) fn take<'p>(
        &mut self,
        source: &str,
        projects: impl Iterator<Item = &'p ProjectName>,
    ) -> Vec<(ProjectName, String)> {
        let take = |project: &ProjectName| {
            let before = self.owners.insert(project.clone(), source.to_owned())?;
            (before != source).then(|| (project.clone(), before))
        };
        projects.filter_map(take).collect()
    }

    /// Binds projects to `source`, and no others. Those of another source stay with it.
    pub(super) fn own<'p>(&mut self, source: &str, projects: impl Iterator<Item = &'p ProjectName>) {
        self.owners.retain(|_, owner| owner != source);
        for project in projects {
            self.owners.entry(project.clone()).or_insert_with(|| source.to_owned());
        }
    }

    /// Forgets all other sources than these. Returns those that want a project that is free now.
    pub(super) fn retain(&mut self, keeps: impl Fn(&str) -> bool) -> Vec<String> {
        self.claims.retain(|source, _| keeps(source));
        let gone = self.owners.extract_if(.., |_, owner| !keeps(owner));
        let free: Vec<_> = gone.map(|(project, _)| project).collect();
        let woken: BTreeSet<_> = free.iter().flat_map(|project| self.claimants(project)).cloned().collect();
        woken.into_iter().collect()
    }

    /// Returns true if the commit of the owner has the project no more.
    fn lets_go(&self, owner: &str, project: &ProjectName) -> bool {
        matches!(self.claims.get(owner), Some(Some(projects)) if !projects.contains(project))
    }

    fn claimants(&self, project: &ProjectName) -> impl Iterator<Item = &String> {
        let claims = |claim: &Option<BTreeSet<_>>| claim.as_ref().is_some_and(|all| all.contains(project));
        self.claims.iter().filter(move |(_, claim)| claims(claim)).map(|(source, _)| source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<ProjectName> {
        names.iter().map(|name| ProjectName::parse(name).unwrap()).collect()
    }

    fn api() -> ProjectName {
        ProjectName::parse("api").unwrap()
    }

    /// Source `a` has `api` and `web`; `b` has nothing.
    fn owners() -> Owners {
        let mut owners = Owners::default();
        owners.own("a", names(&["api", "web"]).iter());
        assert_eq!(owners.read("a", names(&["api", "web"])), [""; 0]);
        assert_eq!(owners.read("b", names(&[])), [""; 0]);
        owners
    }

    #[test]
    fn a_project_that_both_claim_stays_with_its_owner() {
        let mut owners = owners();
        assert_eq!(owners.read("b", names(&["api"])), [""; 0]);
        assert_eq!(owners.rival("b", &api()), Some("a"));
        assert_eq!(owners.rival("a", &api()), None);
    }

    #[test]
    fn a_project_that_its_owner_lets_go_of_wakes_who_waits_for_it_and_is_not_removed() {
        let mut owners = owners();
        owners.read("b", names(&["api"]));
        assert_eq!(owners.read("a", names(&["web"])), ["b"]);
        assert!(owners.is_wanted("a", &api()));
        assert_eq!(owners.rival("b", &api()), None);
        assert_eq!(owners.read("a", names(&["web"])), [""; 0], "once");
        let taken = owners.take("b", names(&["api"]).iter());
        assert_eq!(taken, [(api(), "a".to_owned())]);
        assert_eq!(owners.get(&api()).map(String::as_str), Some("b"));
        owners.own("a", names(&["web"]).iter());
        owners.own("b", names(&["api"]).iter());
        assert_eq!(owners.rival("a", &api()), Some("b"));
    }

    #[test]
    fn a_project_that_its_owner_has_let_go_of_is_free_for_who_comes_later() {
        let mut owners = owners();
        assert_eq!(owners.read("a", names(&["web"])), [""; 0]);
        assert!(!owners.is_wanted("a", &api()));
        owners.read("b", names(&["api"]));
        assert_eq!(owners.rival("b", &api()), None);
        assert_eq!(owners.read("b", names(&[])), ["a"], "its removal is due again");
    }

    #[test]
    fn nothing_is_removed_while_a_source_with_new_settings_was_not_read() {
        let mut owners = owners();
        owners.expect("a");
        owners.expect("b");
        owners.read("a", names(&["web"]));
        assert!(owners.is_wanted("a", &api()));
        assert_eq!(owners.read("b", names(&[])), ["a"]);
        assert!(!owners.is_wanted("a", &api()));
    }

    #[test]
    fn an_owner_that_cannot_be_read_keeps_what_it_has_and_nobody_waits_for_another_one() {
        let mut owners = owners();
        owners.expect("a");
        owners.read("b", names(&["api"]));
        assert_eq!(owners.give_up("a"), [""; 0]);
        assert_eq!(owners.rival("b", &api()), Some("a"));
        owners.read("a", names(&["web"]));
        owners.expect("b");
        assert_eq!(owners.give_up("b"), ["a"]);
        assert_eq!(owners.give_up("b"), [""; 0]);
    }

    #[test]
    fn the_projects_of_a_source_that_left_the_file_go_to_who_waits_for_them() {
        let mut owners = owners();
        owners.read("b", names(&["api"]));
        assert_eq!(owners.retain(|source| source == "b"), ["b"]);
        assert_eq!(owners.rival("b", &api()), None);
        assert!(!owners.is_wanted("b", &api()));
    }
}
