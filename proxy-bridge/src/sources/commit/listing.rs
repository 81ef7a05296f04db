//! The files of a commit, with those of its submodules that are read.

use std::collections::HashSet;

use super::submodules::{self, ReadSubmodule, submodules};
use super::{OtherMirrors, ReadError};
use crate::git::{GitError, Mirror, ObjectId, TreeEntry, TreeLimits, TreeMode};
use crate::sources::plan::{EntryKind, Plan};
use crate::sources::settings::{ProjectPath, SourceSettings};
use crate::upload_limits::UploadLimits;

/// The most files of a commit, projects or not. Their list is held in memory.
const MAX_FILES: u64 = 500_000;
/// The longest path that Linux has. Those in projects are shorter.
const MAX_PATH: u64 = 4096;

/// The files of a commit.
#[derive(Debug)]
pub(super) struct Listing {
    /// By path.
    files: Vec<ListedFile>,
    submodules: Vec<ReadSubmodule>,
}

/// A file of a commit, or of a submodule that is read.
#[derive(Debug)]
pub(super) struct ListedFile {
    /// Its path begins at the root of the commit.
    pub(super) entry: TreeEntry,
    /// The submodule that it is in, by its place in the list of them.
    pub(super) submodule: Option<usize>,
}

impl Listing {
    /// Lists the whole commit, and the submodules of the settings.
    ///
    /// # Errors
    /// There are too many files, a name is not UTF-8, a submodule cannot be read, or git failed.
    pub(super) async fn read(
        mirror: &Mirror,
        others: &impl OtherMirrors,
        settings: &SourceSettings,
        commit: &ObjectId,
    ) -> Result<Self, ReadError> {
        // Files outside of projects may be of any size: they are not read.
        let limits = TreeLimits { files: MAX_FILES, bytes: u64::MAX, path_bytes: MAX_PATH };
        let entries = mirror.tree(commit, "", limits).await.map_err(|error| invalid(error, commit))?;
        let listed = |entry| ListedFile { entry, submodule: None };
        let mut listing = Self { files: entries.into_iter().map(listed).collect(), submodules: Vec::new() };
        let all = submodules(mirror, settings, commit).await?;
        for named in &all {
            let (read, entries) = submodules::read(mirror, others, settings, named, &all, limits).await?;
            let submodule = Some(listing.submodules.len());
            listing.submodules.push(read);
            listing.files.extend(entries.into_iter().map(|mut entry| {
                entry.path = format!("{}/{}", named.path, entry.path);
                ListedFile { entry, submodule }
            }));
        }
        listing.files.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
        Ok(listing)
    }

    /// Returns all entries for a plan. A submodule that is not read is one too, so that it is told
    /// where a project is meant.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, EntryKind)> {
        self.files.iter().map(|file| {
            let kind = match file.entry.mode {
                TreeMode::Gitlink => EntryKind::Submodule,
                TreeMode::File | TreeMode::Executable | TreeMode::Symlink => EntryKind::File,
            };
            (file.entry.path.as_str(), kind)
        })
    }

    /// Forgets all files that are neither in a project nor shared.
    pub(super) fn keep(&mut self, plan: &Plan) {
        let kept = planned(plan).map(|(_, path)| path).collect::<HashSet<_>>();
        if kept.contains(ProjectPath::WHOLE) {
            return;
        }
        let folders = |path: &str| path.match_indices('/').any(|(at, _)| kept.contains(&path[..at]));
        self.files.retain(|file| kept.contains(file.entry.path.as_str()) || folders(&file.entry.path));
        self.files.shrink_to_fit();
    }

    /// Returns the files in a folder, by path.
    pub(super) fn below(&self, folder: &str) -> &[ListedFile] {
        if folder == ProjectPath::WHOLE {
            return &self.files;
        }
        let prefix = format!("{folder}/");
        let begin = self.files.partition_point(|file| file.entry.path < prefix);
        let rest = &self.files[begin..];
        &rest[..rest.partition_point(|file| file.entry.path.starts_with(&prefix))]
    }

    /// Returns the file, or submodule, with this path.
    pub(super) fn get(&self, path: &str) -> Option<&ListedFile> {
        let found = self.files.binary_search_by(|file| file.entry.path.as_str().cmp(path));
        found.ok().and_then(|at| self.files.get(at))
    }

    /// Returns the submodule that has `path`, or is at it.
    pub(super) fn submodule_of(&self, path: &str) -> Option<&ListedFile> {
        let folders = path.match_indices('/').map(|(at, _)| &path[..at]);
        let mut found = folders.chain([path]).filter_map(|path| self.get(path));
        found.find(|file| file.entry.mode == TreeMode::Gitlink)
    }

    /// Returns the mirror of a file; `own` is that of the commit.
    pub(super) fn mirror<'a>(&'a self, own: &'a Mirror, submodule: Option<usize>) -> &'a Mirror {
        submodule.and_then(|at| self.submodules.get(at)).map_or(own, |read| &read.mirror)
    }

    /// Builds the mirror of a submodule anew; `own` is that of the commit.
    ///
    /// # Errors
    /// Git failed.
    pub(super) async fn repair(&self, own: &Mirror, submodule: usize, source: &str) -> Result<(), GitError> {
        match self.submodules.get(submodule) {
            Some(read) => read.repair(own, source).await,
            None => Ok(()),
        }
    }

    /// Checks submodules and sizes.
    ///
    /// # Errors
    /// Every fault, in one text.
    pub(super) fn check(
        &self,
        plan: &Plan,
        settings: &SourceSettings,
        limits: &UploadLimits,
    ) -> Result<(), ReadError> {
        let mut faults = Vec::new();
        for (what, path) in planned(plan) {
            let files = self.below(path).iter().chain(self.get(path));
            let files = files.filter(|file| file.entry.mode != TreeMode::Gitlink);
            let (count, bytes) = files
                .fold((0, 0_u64), |(count, bytes), file| (count + 1, bytes.saturating_add(file.entry.size)));
            if count > limits.files {
                let most = limits.files;
                faults.push(format!(
                    "{what} {path:?} has {count} files, and the limit is {most}: move some out of it, or \
                     raise --max-files of the bridge"
                ));
            }
            if bytes > limits.size {
                let most = limits.size;
                faults.push(format!(
                    "{what} {path:?} has {bytes} bytes, and the limit is {most}: move large files out of it, \
                     or raise --max-size of the bridge"
                ));
            }
        }
        let gitlinks = self.files.iter().filter(|file| file.entry.mode == TreeMode::Gitlink);
        let is_read =
            |file: &ListedFile| file.submodule.is_none() && settings.submodules.contains(&file.entry.path);
        for file in gitlinks.filter(|file| !is_read(file)) {
            let path = &file.entry.path;
            faults.push(match file.submodule {
                None => format!(
                    "{path:?} is a submodule: name it in the source's settings, submodules = [{path:?}], or \
                     remove it"
                ),
                Some(_) => format!("{path:?} is a submodule in a submodule, which is not read: remove it"),
            });
        }
        if faults.is_empty() { Ok(()) } else { Err(ReadError::Invalid(faults.join("; "))) }
    }
}

/// All entries of a plan: the kind in words, and the path.
fn planned(plan: &Plan) -> impl Iterator<Item = (&'static str, &str)> {
    let projects = plan.projects.iter().map(|project| ("the project", project.path.as_str()));
    projects.chain(plan.shared.iter().map(|shared| ("the shared entry", shared.path.as_str())))
}

/// Distinguishes what is wrong with the commit from what is wrong with the mirror.
fn invalid(error: GitError, commit: &ObjectId) -> ReadError {
    match error {
        GitError::Refused(what) => ReadError::Invalid(format!("commit {}: {what}", commit.short())),
        GitError::TooLarge { budget, .. } => ReadError::Invalid(format!(
            "commit {} has too many files: their list takes more than {budget} bytes; remove generated \
             files, or split the repository",
            commit.short()
        )),
        other => ReadError::Git(other),
    }
}
