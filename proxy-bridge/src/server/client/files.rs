//! Which files of a folder are sent: all but what `.switchyardignore` leaves out, history and editors'
//! leftovers.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use sha2::{Digest as _, Sha256};

use crate::digest::{self, Digest};

/// In the syntax of `.gitignore`; one in a folder below speaks for what is below it.
pub(super) const IGNORE_FILE: &str = ".switchyardignore";

/// Fifty times what a bridge takes by default. Links within a project can make a small folder very large.
const MAX_FILES: usize = 1_000_000;

/// What is sent of one project.
#[derive(Debug)]
pub(super) struct Files {
    /// By path relative to the project, `/` between, in bytewise order.
    pub(super) files: BTreeMap<String, Source>,
    /// Of those that count.
    pub(super) digest: Digest,
}

/// One file.
#[derive(Debug)]
pub(super) struct Source {
    /// Where it really is: links are followed.
    pub(super) path: PathBuf,
    /// In bytes.
    pub(super) size: u64,
    /// The SHA-256 of its content. `None` where that does not count, as in `node_modules`.
    pub(super) hash: Option<[u8; 32]>,
}

/// Why a folder cannot be sent: a sentence that names the file and the mend.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct FilesError(pub(super) String);

impl Files {
    pub(super) fn bytes(&self) -> u64 {
        self.files.values().map(|source| source.size).sum()
    }
}

/// Lists and hashes what is sent of the project in `root`. Links may lead anywhere `within`, which is `root` or a
/// folder around it whose ignore files are `outer`. Both are real paths.
///
/// # Errors
/// Nothing to send, a name or a link that no project may have, an unreadable file or ignore file.
pub(super) fn list(root: &Path, within: &Path, outer: &[Gitignore]) -> Result<Files, FilesError> {
    let mut walk = Walk {
        root,
        within,
        ancestors: vec![root.to_owned()],
        ignores: outer.to_vec(),
        files: BTreeMap::new(),
    };
    walk.directory(root, "")?;
    if walk.files.is_empty() {
        return Err(FilesError(format!("{} has no files to deploy", root.display())));
    }
    let counted = walk.files.iter().filter_map(|(path, source)| Some((path, source.hash?)));
    let digest = Digest::of_files(counted);
    Ok(Files { files: walk.files, digest })
}

/// The ignore file of `folder`, where it has one, whose paths lie below `shown`.
///
/// # Errors
/// It cannot be read, or a line of it is no pattern.
pub(super) fn ignore_file(folder: &Path, shown: &Path) -> Result<Option<Gitignore>, FilesError> {
    let path = folder.join(IGNORE_FILE);
    if !path.is_file() {
        return Ok(None);
    }
    let mut builder = GitignoreBuilder::new(shown);
    match builder.add(&path) {
        Some(error) => Err(FilesError(format!("{error}: mend the line or remove it"))),
        None => builder.build().map(Some).map_err(|error| FilesError(format!("{}: {error}", path.display()))),
    }
}

/// The innermost ignore file that speaks of `path` decides.
pub(super) fn is_ignored(ignores: &[Gitignore], path: &Path, is_dir: bool) -> bool {
    let matches = ignores.iter().rev().map(|ignore| ignore.matched(path, is_dir));
    matches.into_iter().find(|found| !matches!(found, Match::None)).is_some_and(|found| found.is_ignore())
}

struct Walk<'a> {
    root: &'a Path,
    within: &'a Path,
    /// The real directories from the root down to where the walk is: a link to one of them is a loop.
    ancestors: Vec<PathBuf>,
    /// The ignore files from the outermost folder down to where the walk is.
    ignores: Vec<Gitignore>,
    files: BTreeMap<String, Source>,
}

impl Walk<'_> {
    /// `real` is where the folder is, `prefix` what it is called in the project.
    fn directory(&mut self, real: &Path, prefix: &str) -> Result<(), FilesError> {
        let ignore = ignore_file(real, &self.root.join(prefix))?;
        let own = ignore.is_some();
        self.ignores.extend(ignore);
        for entry in fs::read_dir(real).map_err(|error| unreadable(prefix, &error))? {
            let entry = entry.map_err(|error| unreadable(prefix, &error))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                return Err(FilesError(format!(
                    "{name:?} in {prefix:?} has a name that is not UTF-8: rename it"
                )));
            };
            let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
            self.entry(&entry.path(), path)?;
        }
        if own {
            self.ignores.pop();
        }
        Ok(())
    }

    fn entry(&mut self, absolute: &Path, path: String) -> Result<(), FilesError> {
        let is_link = absolute.is_symlink();
        let is_dir = absolute.is_dir();
        if is_left_out(&path, is_link, is_dir) || is_ignored(&self.ignores, &self.root.join(&path), is_dir) {
            return Ok(());
        }
        digest::check_path(&path).map_err(|error| FilesError(error.to_string()))?;
        let real = if is_link { self.target(absolute, &path)? } else { absolute.to_owned() };
        let metadata = real.metadata().map_err(|error| unreadable(&path, &error))?;
        if metadata.is_dir() {
            if is_link && self.ancestors.contains(&real) {
                return Err(FilesError(format!(
                    "the symbolic link {path} points to a folder that it is in: remove it"
                )));
            }
            self.ancestors.push(real.clone());
            self.directory(&real, &path)?;
            self.ancestors.pop();
        } else if metadata.is_file() {
            self.file(path, real, metadata.len())?;
        }
        // Sockets, pipes and devices are no code: they are left out as if they were not there.
        Ok(())
    }

    fn file(&mut self, path: String, real: PathBuf, size: u64) -> Result<(), FilesError> {
        if self.files.len() == MAX_FILES {
            return Err(FilesError(format!(
                "{} has more than {MAX_FILES} files: leave some out in {IGNORE_FILE}",
                self.root.display()
            )));
        }
        let hash = digest::is_counted(&path).then(|| hash_file(&real)).transpose();
        let hash = hash.map_err(|error| unreadable(&path, &error))?;
        self.files.insert(path, Source { path: real, size, hash });
        Ok(())
    }

    fn target(&self, link: &Path, path: &str) -> Result<PathBuf, FilesError> {
        match link.canonicalize() {
            Ok(target) if target.starts_with(self.within) => Ok(target),
            Ok(_) => Err(FilesError(format!(
                "the symbolic link {path} leaves {}: replace it by what it points to",
                self.within.display()
            ))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(FilesError(format!("the symbolic link {path} points to nothing: mend or remove it")))
            }
            Err(error) => Err(unreadable(path, &error)),
        }
    }
}

/// History and leftovers never count; packages do not either, but the version needs them. What a package
/// manager links in `.bin` is for shells.
fn is_left_out(path: &str, is_link: bool, is_dir: bool) -> bool {
    let mut up = path.rsplit('/');
    let (name, folder, above) = (up.next().unwrap_or(path), up.next(), up.next());
    if name == ".git" || (is_link && folder == Some(".bin") && above == Some("node_modules")) {
        return true;
    }
    let in_packages = path.split('/').any(|part| part == "node_modules");
    !in_packages && !is_dir && !digest::is_counted(path)
}

fn unreadable(path: &str, error: &io::Error) -> FilesError {
    let shown = if path.is_empty() { "the folder" } else { path };
    FilesError(format!("{shown} cannot be read: {error}"))
}

fn hash_file(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().into()),
            n => hash.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests;
