//! The folders of a commit: their kinds, and those that a pattern stands for and that have an
//! entry.

use std::collections::HashMap;

use super::{EntryKind, PlanFault, is_hidden, parents};
use crate::sources::pattern::Pattern;
use crate::sources::settings::{ProjectPath, ProjectRule};
use switchyard_detect::signs::is_sign_of_project;

/// The most folders that a file is in: each of them is compared with the patterns.
const MAX_DEPTH: usize = 100;

/// The entries of a commit by path.
pub(super) struct Folders<'l> {
    known: HashMap<&'l str, Known>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    kind: EntryKind,
    /// The first rule with a pattern that stands for the folder.
    rule: Option<usize>,
    has_entry: bool,
}

impl<'l> Folders<'l> {
    /// # Errors
    /// A path could lead out of the repository.
    pub(super) fn read(
        rules: &[ProjectRule],
        listing: impl IntoIterator<Item = (&'l str, EntryKind)>,
    ) -> Result<Self, PlanFault> {
        let patterns: Vec<(usize, &Pattern)> = rules.iter().enumerate().filter_map(pattern).collect();
        let mut folders = Self { known: HashMap::new() };
        for (path, kind) in listing {
            check(path)?;
            folders.add(path, kind, &patterns);
            for folder in parents(path) {
                let known = folders.add(folder, EntryKind::Folder, &patterns);
                if known.rule.is_some() && !known.has_entry && kind == EntryKind::File {
                    known.has_entry = is_sign_of_project(&path[folder.len() + 1..]);
                }
            }
        }
        Ok(folders)
    }

    /// Adds an entry. A folder whose entries are listed stays a submodule if it is one.
    fn add(&mut self, path: &'l str, kind: EntryKind, patterns: &[(usize, &Pattern)]) -> &mut Known {
        let known = self.known.entry(path).or_insert_with(|| {
            let is_meant =
                |(_, pattern): &&(usize, &Pattern)| pattern.matches(path) && !is_hidden(path, pattern);
            let rule = match kind {
                EntryKind::File => None,
                EntryKind::Folder | EntryKind::Submodule => patterns.iter().find(is_meant),
            };
            Known { kind, rule: rule.map(|(index, _)| *index), has_entry: false }
        });
        if kind == EntryKind::Submodule {
            known.kind = kind;
        }
        known
    }

    /// Returns the kind of an entry. `None` if the commit does not have it.
    pub(super) fn kind(&self, path: &str) -> Option<EntryKind> {
        if path == ProjectPath::WHOLE {
            return (!self.known.is_empty()).then_some(EntryKind::Folder);
        }
        self.known.get(path).map(|known| known.kind)
    }

    /// Returns the folders that patterns stand for and that have an entry, each with the place of
    /// its rule. A folder comes before those in it.
    pub(super) fn found(&self) -> Vec<(String, usize)> {
        let found = self.known.iter().filter(|(_, known)| known.has_entry);
        let mut found: Vec<_> =
            found.filter_map(|(path, known)| Some(((*path).to_owned(), known.rule?))).collect();
        found.sort();
        found
    }
}

fn pattern((index, rule): (usize, &ProjectRule)) -> Option<(usize, &Pattern)> {
    match &rule.path {
        ProjectPath::Folders(pattern) if pattern.literal().is_none() => Some((index, pattern)),
        ProjectPath::Folders(_) | ProjectPath::Whole => None,
    }
}

/// Git's own tools refuse such names; a repository that was made by others may have them.
fn check(path: &str) -> Result<(), PlanFault> {
    if path.matches('/').count() > MAX_DEPTH {
        return Err(PlanFault::TooDeep { path: path.chars().take(80).collect(), most: MAX_DEPTH });
    }
    let is_unsafe = path.contains('\0') || path.split('/').any(|name| matches!(name, "" | "." | ".."));
    if is_unsafe { Err(PlanFault::UnsafePath { path: path.to_owned() }) } else { Ok(()) }
}
