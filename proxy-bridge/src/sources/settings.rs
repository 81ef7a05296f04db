//! The settings of git sources, read from a TOML file.
//!
//! ```toml
//! [defaults]
//! poll = "30s"
//!
//! [[source]]
//! name = "shop"
//! url = "https://github.com/acme/shop.git"
//! branch = "main"
//! credential = { username = "x-access-token", password = { from_file = "/run/secrets/shop" } }
//! projects = [{ path = "apps/api", as = "api" }, { path = "apps/*" }]
//! shared = ["_shared", "deno.json"]
//! ```

mod access;
mod claims;
mod files;
mod follow;
mod layout;
mod preview;
mod reader;
mod source;
mod values;

use std::path::{Path, PathBuf};

pub use self::preview::PreviewOf;
use self::reader::Reader;
pub use self::values::{InvalidSourceName, OnDrift, OnRemoval, PublishMode, SourceName, Together};
use crate::git::{Credential, GitUrl, RefTarget};
use crate::sources::pattern::Pattern;
use switchyard_contract::project::ProjectName;
use switchyard_contract::settings_file::read_text;
use switchyard_edge::webhook::ForgeKind;
use switchyard_program::settings::InvalidSetting;
use switchyard_program::units::{Size, Span};

/// A file of sources that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcesFile {
    path: PathBuf,
    /// The folders below which repositories of this machine may be.
    local: Vec<PathBuf>,
    sources: Vec<SourceSettings>,
}

/// The settings of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSettings {
    /// The name in the API and in messages.
    pub name: SourceName,
    /// The repository.
    pub url: GitUrl,
    /// The branch, tag, commit or ref that is followed.
    pub target: RefTarget,
    /// True if a tag that moves to another commit is followed.
    pub moving_tags: bool,
    /// The proof for the server. `None` for repositories that everyone may read.
    pub credential: Option<Credential>,
    /// The webhook by which the forge tells of pushes.
    pub webhook: Option<WebhookSettings>,
    /// The folders that are projects.
    pub projects: Vec<ProjectRule>,
    /// Paths of folders and files that lie beside the projects. Their last names differ.
    pub shared: Vec<String>,
    /// The unit that goes live whole or not at all.
    pub together: Together,
    /// The moment at which a commit goes live.
    pub publish: PublishMode,
    /// The branches that have previews.
    pub previews: Option<Previews>,
    /// The consequence of a folder that left the repository.
    pub removed: OnRemoval,
    /// The consequence of files that differ from the commit.
    pub drift: OnDrift,
    /// Paths of the submodules that are read.
    pub submodules: Vec<String>,
    /// True if LFS files are fetched.
    pub lfs: bool,
    /// The file of the allowed signers (ssh). Commits must be signed by one of them.
    pub verify: Option<PathBuf>,
    /// The times at which nothing is published.
    pub windows: Vec<WindowSettings>,
    /// Other repositories that this one may lead to; see [`SourceSettings::allows`].
    pub allow: Vec<String>,
    /// The time between two questions to the server: 5 seconds to 24 hours.
    pub poll: Span,
    /// The longest time that a fetch takes: 1 second to 1 hour.
    pub timeout: Span,
    /// The most bytes of the repository's mirror: at least 1 MiB.
    pub max_size: Size,
    /// The source and the branch that this is a preview of. No file of sources has it.
    pub preview: Option<PreviewOf>,
}

/// The webhook of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    /// The sender, which decides the signature and the payload.
    pub kind: ForgeKind,
    /// The file of the shared secret.
    pub secret: PathBuf,
}

/// A rule for which folders are projects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectRule {
    /// The folders.
    pub path: ProjectPath,
    /// The project's name. `None`: the folder's last name. A whole repository always has one.
    pub name: Option<ProjectName>,
}

/// The folders of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProjectPath {
    /// The repository itself: `.`
    Whole,
    /// A folder, or the folders with an entry that a pattern stands for.
    Folders(Pattern),
}

/// The branches that have previews.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Previews {
    /// The names of the branches.
    pub branches: Vec<Pattern>,
    /// The age of its last commit at which a branch's preview ends.
    pub keep: Span,
    /// The most branches that have previews at one time; the newest ones do.
    pub most: usize,
}

/// A time at which nothing is published, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowSettings {
    /// The time: `Fri 16:00 - Mon 06:00`.
    pub deny: String,
    /// The time zone's name: `Europe/Berlin`.
    pub zone: String,
}

impl ProjectPath {
    /// The path of the whole repository.
    pub const WHOLE: &str = ".";
}

impl SourcesFile {
    /// Reads a file. `local`: the folders below which repositories of this machine may be. Secrets and other named files must exist; relative paths begin at its folder.
    ///
    /// # Errors
    /// Every fault of the file, in its order, each with its line and column. No error shows a
    /// secret.
    pub fn open(path: &Path, local: &[PathBuf]) -> Result<Self, Vec<InvalidSetting>> {
        let text =
            read_text(path).map_err(|error| vec![InvalidSetting(format!("{}: {error}", path.display()))])?;
        let sources = Reader::new(path, &text, local).read(Reader::document)?;
        Ok(Self { path: path.to_owned(), local: local.to_owned(), sources })
    }

    /// Returns the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file again.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    pub fn read_again(&self) -> Result<Self, Vec<InvalidSetting>> {
        Self::open(&self.path, &self.local)
    }

    /// Returns the sources in the file's order. Their names differ.
    pub fn sources(&self) -> &[SourceSettings] {
        &self.sources
    }

    /// Returns the source of this name.
    pub fn get(&self, name: &str) -> Option<&SourceSettings> {
        self.sources.iter().find(|source| source.name.as_str() == name)
    }
}

impl SourceSettings {
    /// Returns true if the repository may lead to `url`, which is one of `allow` or begins as one
    /// that ends with `/*`.
    pub fn allows(&self, url: &GitUrl) -> bool {
        let url = url.to_string();
        self.allow.iter().any(|allowed| match allowed.strip_suffix('*') {
            Some(folder) => {
                url.strip_prefix(folder).is_some_and(|name| !name.is_empty() && !name.contains('/'))
            }
            None => *allowed == url,
        })
    }
}

#[cfg(test)]
mod tests;
