//! The faults of a commit's plan, in words for the author of the commit.

use switchyard_contract::project::{InvalidName, ProjectName};

/// A cause for which a commit cannot be deployed, with the way to fix it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanFault {
    /// A folder with an entry has a name that projects cannot have.
    #[error(
        "the folder {path:?} cannot be a project: {error}; rename it, or name the project in the sources \
         file: {{ path = {path:?}, as = \"…\" }}"
    )]
    InvalidName {
        /// The folder.
        path: String,
        /// The rule that its name breaks.
        error: InvalidName,
    },
    /// Two folders are projects of one name.
    #[error(
        "the folders {first:?} and {second:?} are both the project {name:?}: name one of them in the sources \
         file with as = \"…\""
    )]
    OneName {
        /// The name.
        name: ProjectName,
        /// A folder.
        first: String,
        /// The other folder.
        second: String,
    },
    /// Two projects have one host label: their names differ in case, or in `_` and `-`.
    #[error(
        "the project {first_name:?} of the folder {first:?} and {second_name:?} of {second:?} would have one \
         host, {label:?}: rename one of them, or name it in the sources file with as = \"…\""
    )]
    OneLabel {
        /// The label.
        label: String,
        /// A project's name.
        first_name: ProjectName,
        /// Its folder.
        first: String,
        /// The other project's name.
        second_name: ProjectName,
        /// Its folder.
        second: String,
    },
    /// A rule names a file.
    #[error("{path:?} is a file, and projects are folders: name its folder in the sources file")]
    NotAFolder {
        /// The file.
        path: String,
    },
    /// Two rules name one folder.
    #[error("two rules in the sources file name the folder {path:?}: keep one of them")]
    TwoRules {
        /// The folder.
        path: String,
    },
    /// A shared folder would be taken for a project.
    #[error("the shared folder {path:?} would be taken for a project: give it a name that begins with _")]
    SharedFolder {
        /// The folder.
        path: String,
    },
    /// A shared file has a name that a project could have.
    #[error("the shared file {path:?} has the name of a project: give it an extension, as in deno.json")]
    SharedFile {
        /// The file.
        path: String,
    },
    /// A path that could lead out of its folder.
    #[error("the commit has the path {path:?}, which could lead out of the repository: remove it")]
    UnsafePath {
        /// The path.
        path: String,
    },
    /// A file in too many folders.
    #[error("the commit has a file in more than {most} folders, {path:?}…: move it up")]
    TooDeep {
        /// The beginning of its path.
        path: String,
        /// The most folders that a file is in.
        most: usize,
    },
    /// Too many projects.
    #[error("the commit has more than {most} projects: narrow the patterns in the sources file")]
    TooMany {
        /// The most projects of one commit.
        most: usize,
    },
    /// A preview's name would be too long.
    #[error(
        "the project {project:?} has no preview of the branch {branch:?}: its name leaves no room for the \
         branch's; shorten it to {most} characters"
    )]
    LongName {
        /// The project.
        project: ProjectName,
        /// The branch.
        branch: String,
        /// The longest name that has room for a branch's.
        most: usize,
    },
    /// Two sources or branches have one project or shared entry.
    #[error("{first} and {second} both have {what}: rename it in one of them")]
    Claimed {
        /// The project or shared entry.
        what: String,
        /// A source or branch.
        first: String,
        /// The other one.
        second: String,
    },
}
