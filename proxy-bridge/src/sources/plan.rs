//! The projects of a commit: which of its folders are which projects, by the rules of the source.
//! Pure: paths in, names out.

mod fault;
mod folders;
mod names;

use std::collections::BTreeSet;

use self::folders::Folders;
use crate::sources::pattern::Pattern;
use crate::sources::settings::{ProjectPath, ProjectRule};
use switchyard_contract::project::ProjectName;

pub use self::fault::PlanFault;
pub use self::names::{collisions, preview_name};

/// The most projects of one commit. A volume with more would take minutes to read.
const MAX_PROJECTS: usize = 10_000;

/// The kind of an entry in a commit's listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A file or a symbolic link.
    File,
    /// A folder. Folders of listed files need not be listed themselves.
    Folder,
    /// A submodule that is read as a folder. Its files may be listed too.
    Submodule,
}

/// The projects and the shared entries of one commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// By name.
    pub projects: Vec<PlannedProject>,
    /// By name.
    pub shared: Vec<PlannedShared>,
    /// The paths and patterns of the settings for which the commit has nothing.
    pub unmatched: Vec<String>,
}

/// A folder that is a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedProject {
    /// The name that it is served by.
    pub name: ProjectName,
    /// The folder in the repository; [`ProjectPath::WHOLE`] for all of it.
    pub path: String,
}

/// A folder or file that lies beside the projects, so that they can include it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedShared {
    /// The name beside the projects.
    pub name: String,
    /// The folder or file in the repository.
    pub path: String,
    /// True for a folder.
    pub is_folder: bool,
}

/// The part of a source's settings that a plan is made by.
#[derive(Debug, Clone, Copy)]
pub struct PlanRules<'a> {
    /// The folders that are projects. Rules for one folder go before patterns.
    pub projects: &'a [ProjectRule],
    /// The paths of the shared folders and files.
    pub shared: &'a [String],
}

impl Plan {
    /// Makes the plan of a commit from its listing: the paths of all its files, relative to its
    /// root and with `/` between, in any order.
    ///
    /// # Errors
    /// Every fault. The commit cannot be deployed then.
    pub fn new<'l>(
        rules: PlanRules<'_>,
        listing: impl IntoIterator<Item = (&'l str, EntryKind)>,
    ) -> Result<Self, Vec<PlanFault>> {
        let folders = Folders::read(rules.projects, listing).map_err(|fault| vec![fault])?;
        let mut planner = Planner { folders, plan: Self::default(), faults: Vec::new() };
        planner.named(rules.projects);
        planner.patterns(rules.projects);
        planner.shared(rules.shared);
        planner.finish()
    }

    /// Returns the plan of a preview of `branch`, whose projects have names such as
    /// `api--feature-x`. It has no shared entries: those of the source are on the volume.
    ///
    /// # Errors
    /// A project's name leaves no room for the branch's, or two names become one.
    pub fn preview(&self, branch: &str) -> Result<Self, Vec<PlanFault>> {
        let mut faults = Vec::new();
        let mut projects = Vec::new();
        for project in &self.projects {
            match preview_name(&project.name, branch) {
                Ok(name) => projects.push(PlannedProject { name, path: project.path.clone() }),
                Err(fault) => faults.push(fault),
            }
        }
        projects.sort_by(|a, b| a.name.cmp(&b.name));
        faults.extend(names::twins(&projects));
        if faults.is_empty() {
            Ok(Self { projects, shared: Vec::new(), unmatched: self.unmatched.clone() })
        } else {
            Err(faults)
        }
    }
}

struct Planner<'l> {
    folders: Folders<'l>,
    plan: Plan,
    faults: Vec<PlanFault>,
}

impl Planner<'_> {
    /// Adds the projects whose folders the rules name.
    fn named(&mut self, rules: &[ProjectRule]) {
        let mut seen = BTreeSet::new();
        for rule in rules {
            let path = match &rule.path {
                ProjectPath::Whole => ProjectPath::WHOLE,
                ProjectPath::Folders(pattern) => match pattern.literal() {
                    Some(path) => path,
                    None => continue,
                },
            };
            match self.folders.kind(path) {
                None => self.plan.unmatched.push(path.to_owned()),
                Some(EntryKind::File) => {
                    self.faults.push(PlanFault::NotAFolder { path: path.to_owned() });
                }
                Some(EntryKind::Folder | EntryKind::Submodule) => {
                    if !seen.insert(path.to_owned()) {
                        self.faults.push(PlanFault::TwoRules { path: path.to_owned() });
                        continue;
                    }
                    self.project(path.to_owned(), rule.name.clone());
                }
            }
        }
    }

    /// Adds the projects that patterns find: folders with an entry, outside of other projects.
    fn patterns(&mut self, rules: &[ProjectRule]) {
        let mut taken: BTreeSet<String> =
            self.plan.projects.iter().map(|project| project.path.clone()).collect();
        let mut matched = BTreeSet::new();
        // A folder comes before those in it.
        for (path, rule) in self.folders.found() {
            let is_taken = taken.contains(&path) || parents(&path).any(|folder| taken.contains(folder));
            matched.insert(rule);
            if !is_taken {
                taken.insert(path.clone());
                self.project(path, None);
            }
            if self.plan.projects.len() > MAX_PROJECTS {
                self.faults.push(PlanFault::TooMany { most: MAX_PROJECTS });
                return;
            }
        }
        for (index, rule) in rules.iter().enumerate() {
            if let ProjectPath::Folders(pattern) = &rule.path
                && pattern.literal().is_none()
                && !matched.contains(&index)
            {
                self.plan.unmatched.push(pattern.to_string());
            }
        }
    }

    fn project(&mut self, path: String, name: Option<ProjectName>) {
        let last = path.rsplit('/').next().unwrap_or(&path);
        match name.map_or_else(|| ProjectName::parse(last), Ok) {
            Ok(name) => self.plan.projects.push(PlannedProject { name, path }),
            Err(error) => self.faults.push(PlanFault::InvalidName { path, error }),
        }
    }

    fn shared(&mut self, shared: &[String]) {
        for path in shared {
            let name = path.rsplit('/').next().unwrap_or(path).to_owned();
            let is_folder = match self.folders.kind(path) {
                None => {
                    self.plan.unmatched.push(path.clone());
                    continue;
                }
                Some(EntryKind::File) => false,
                Some(EntryKind::Folder | EntryKind::Submodule) => true,
            };
            if is_folder && !name.starts_with('_') {
                self.faults.push(PlanFault::SharedFolder { path: path.clone() });
                continue;
            }
            if !is_folder && ProjectName::parse(&name).is_ok() {
                // A project of this name would need the same place.
                self.faults.push(PlanFault::SharedFile { path: path.clone() });
                continue;
            }
            self.plan.shared.push(PlannedShared { name, path: path.clone(), is_folder });
        }
    }

    fn finish(mut self) -> Result<Plan, Vec<PlanFault>> {
        self.plan.projects.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.path.cmp(&b.path)));
        self.plan.shared.sort_by(|a, b| a.name.cmp(&b.name));
        self.faults.extend(names::twins(&self.plan.projects));
        if self.faults.is_empty() { Ok(self.plan) } else { Err(self.faults) }
    }
}

/// Returns the folders that `path` is in, the innermost first.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.rmatch_indices('/').map(|(at, _)| &path[..at])
}

/// Returns true if a folder that `pattern` stands for is one that projects never are, such as
/// `node_modules`, and the pattern does not name it.
fn is_hidden(path: &str, pattern: &Pattern) -> bool {
    path.split('/').skip(pattern.literal_parts()).any(switchyard_contract::project::is_ignored)
}

#[cfg(test)]
mod tests;
