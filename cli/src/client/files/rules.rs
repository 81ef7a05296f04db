//! Files that a deploy leaves out: those that git ignores, or that `.switchyardignore` names
//! instead, and `.env*`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder, Glob};
use serde::Serialize;

use super::FilesError;

/// In the syntax of `.gitignore`. From the folder that holds it downwards no `.gitignore` counts.
pub(crate) const IGNORE_FILE: &str = ".switchyardignore";

const GIT_IGNORE_FILE: &str = ".gitignore";

/// Files of this name and of names that begin with it hold secrets more often than not.
const ENVIRONMENT: &str = ".env";

/// The reason why something is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reason {
    /// `.env*`
    Env,
    /// A `.gitignore`, or git's own exclude files.
    Gitignore,
    Switchyardignore,
    /// `node_modules`, where the routers install packages.
    Packages,
    /// Never a part of a version: history, editors' leftovers, links for shells, sockets.
    Never,
}

impl Reason {
    /// The reason in a few words.
    pub(crate) fn why(self) -> &'static str {
        match self {
            Self::Env => ".env*",
            Self::Gitignore => ".gitignore",
            Self::Switchyardignore => ".switchyardignore",
            Self::Packages => "the routers install packages",
            Self::Never => "never part of a version",
        }
    }
}

/// A file or folder that may be left out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a> {
    /// Path that messages show, not the target of a link.
    pub(super) path: &'a Path,
    pub(super) is_dir: bool,
    pub(super) is_link: bool,
    /// `true`: in a folder that is sent even if git ignores it.
    pub(super) whole: bool,
}

/// The ignore files that apply to a folder, from the outermost to its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    layers: Vec<Layer>,
}

#[derive(Debug, Clone)]
struct Layer {
    is_git: bool,
    ignore: Gitignore,
}

impl Rules {
    /// The rules of the git repository that the folder `root` (a real path) lies in, but for those
    /// in `root` itself.
    ///
    /// # Errors
    /// An ignore file cannot be read.
    pub(crate) fn around(root: &Path) -> Result<Self, FilesError> {
        let mut rules = Self::default();
        let Some(top) = root.ancestors().find(|folder| folder.join(".git").exists()) else {
            return Ok(rules);
        };
        // Errors in it are reported by git.
        let (global, _) = GitignoreBuilder::new(top).build_global();
        rules.layers.push(Layer { is_git: true, ignore: global });
        if let Some(exclude) = exclude_file(top) {
            rules.add_git(&exclude, top)?;
        }
        let between: Vec<_> = root.ancestors().skip(1).take_while(|folder| folder.starts_with(top)).collect();
        for folder in between.into_iter().rev() {
            rules.enter(folder, folder)?;
        }
        // Deploying a folder that git ignores means to send ignored files.
        if rules.layers.iter().any(|layer| layer.is_git && ignores_folder(&layer.ignore, root)) {
            rules.layers.retain(|layer| !layer.is_git);
        }
        Ok(rules)
    }

    /// Adds the ignore files in `folder`, whose contents are shown below `shown`. Returns how many
    /// layers they are.
    ///
    /// # Errors
    /// One cannot be read, or a line of a `.switchyardignore` is no pattern.
    pub(crate) fn enter(&mut self, folder: &Path, shown: &Path) -> Result<usize, FilesError> {
        let before = self.layers.len();
        self.add_git(&folder.join(GIT_IGNORE_FILE), shown)?;
        self.add_own(&folder.join(IGNORE_FILE), shown)?;
        Ok(self.layers.len() - before)
    }

    /// Removes the innermost layers.
    pub(super) fn leave(&mut self, layers: usize) {
        self.layers.truncate(self.layers.len() - layers);
    }

    fn add_own(&mut self, file: &Path, shown: &Path) -> Result<(), FilesError> {
        if !file.is_file() {
            return Ok(());
        }
        let mut builder = GitignoreBuilder::new(shown);
        if let Some(error) = builder.add(file) {
            return Err(FilesError(format!("{error}: fix the line or remove it")));
        }
        self.push(false, &builder, file)
    }

    fn add_git(&mut self, file: &Path, shown: &Path) -> Result<(), FilesError> {
        if !file.is_file() {
            return Ok(());
        }
        let text = fs::read(file)
            .map_err(|error| FilesError(format!("{} cannot be read: {error}", file.display())))?;
        let text = String::from_utf8_lossy(&text);
        let mut builder = GitignoreBuilder::new(shown);
        for line in text.trim_start_matches('\u{feff}').lines() {
            // Git does not support alternatives in braces, and skips invalid patterns.
            let line = line.replace('{', "[{]").replace('}', "[}]");
            let _ = builder.add_line(Some(file.to_owned()), &line);
        }
        self.push(true, &builder, file)
    }

    fn push(&mut self, is_git: bool, builder: &GitignoreBuilder, file: &Path) -> Result<(), FilesError> {
        let ignore = builder.build();
        let ignore = ignore.map_err(|error| FilesError(format!("{}: {error}", file.display())))?;
        self.layers.push(Layer { is_git, ignore });
        Ok(())
    }

    /// Returns the reason why a folder that would be a project is left out, if it is.
    pub(crate) fn leaves_folder(&self, path: &Path) -> Option<Reason> {
        self.reason(Candidate { path, is_dir: true, is_link: path.is_symlink(), whole: false })
    }

    /// Returns true if a `.switchyardignore` replaces git's rules here.
    fn replaces_git(&self) -> bool {
        self.layers.iter().any(|layer| !layer.is_git)
    }

    /// Returns the reason why the candidate is left out, if it is. The innermost file that mentions
    /// it decides.
    pub(super) fn reason(&self, candidate: Candidate<'_>) -> Option<Reason> {
        let own = self.replaces_git();
        // For git a link is a file, regardless of its target.
        let is_dir = candidate.is_dir && (own || !candidate.is_link);
        let layers = self.layers.iter().rev().filter(|layer| layer.is_git != own);
        let found = layers.map(|layer| layer.ignore.matched(candidate.path, is_dir));
        let found = found.into_iter().find(|found| !found.is_none()).unwrap_or(Match::None);
        match found {
            // A pattern that includes more than files of this kind was not written with secrets in
            // mind.
            Match::Whitelist(glob) if own && glob.original().contains(ENVIRONMENT) => None,
            _ if is_environment(candidate.path) => Some(Reason::Env),
            Match::Ignore(_) if own => Some(Reason::Switchyardignore),
            Match::Ignore(_) if !candidate.whole => Some(Reason::Gitignore),
            _ => None,
        }
    }
}

/// Returns true if all of `folder` is ignored, by its name (`dist`) or by its content (`dist/*`).
fn ignores_folder(ignore: &Gitignore, folder: &Path) -> bool {
    if ignore.is_empty() || folder == ignore.path() || !folder.starts_with(ignore.path()) {
        return false;
    }
    let all_in_it = |glob: &Glob| ["/*", "/**"].iter().any(|end| glob.original().ends_with(end));
    ignore.matched_path_or_any_parents(folder, true).is_ignore()
        || matches!(ignore.matched(folder.join("any"), false), Match::Ignore(glob) if all_in_it(glob))
}

fn is_environment(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.to_ascii_lowercase().starts_with(ENVIRONMENT)
}

/// `info/exclude` of the repository whose work tree is `top`. The `.git` of a work tree or submodule is a file that
/// names the folder.
fn exclude_file(top: &Path) -> Option<PathBuf> {
    let git = top.join(".git");
    let git = match git.is_file() {
        true => top.join(first_line(&git).ok()?.strip_prefix("gitdir:")?.trim()),
        false => git,
    };
    let common = first_line(&git.join("commondir")).map_or_else(|_| git.clone(), |path| git.join(path));
    let file = common.join("info/exclude");
    file.is_file().then_some(file)
}

fn first_line(file: &Path) -> io::Result<String> {
    Ok(fs::read_to_string(file)?.lines().next().unwrap_or_default().to_owned())
}
