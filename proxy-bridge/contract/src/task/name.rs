//! The names of tasks: within a project, and in all projects.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::project::ProjectName;

/// The most characters of a task's name.
const MAX_LENGTH: usize = 128;

/// The name of a task or pipeline in its project: letters, digits, `-`, `_`, `.` and single spaces,
/// in parts that `/` separates. At most 128 characters. Tasks of a task set have their set's name
/// before their own: `reports/digest`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String)]
pub struct TaskName(String);

/// Shown in quotes, as in messages.
impl fmt::Debug for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Text that is not the name of a task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid task name {0:?}: expected letters, digits, \"-\", \"_\", \".\" and single spaces, in parts that \"/\" \
     separates, at most 128 characters"
)]
pub struct InvalidTaskName(pub String);

/// A task or pipeline of a project, shown as `blog:digest`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId {
    /// The project.
    pub project: ProjectName,
    /// The name in the project.
    pub name: TaskName,
}

/// Text that does not name a task of a project.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid task {0:?}: expected PROJECT:TASK, as in blog:digest")]
pub struct InvalidTaskId(pub String);

impl TaskName {
    /// # Errors
    /// The text is not a name.
    pub fn parse(text: &str) -> Result<Self, InvalidTaskName> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b' ');
        let is_part = |part: &str| {
            let is_dots = part.bytes().all(|byte| byte == b'.');
            let is_spaced = part.starts_with(' ') || part.ends_with(' ') || part.contains("  ");
            !part.is_empty() && part.bytes().all(is_plain) && !is_dots && !is_spaced
        };
        let is_name = text.len() <= MAX_LENGTH && text.split('/').all(is_part);
        is_name.then(|| Self(text.to_owned())).ok_or_else(|| InvalidTaskName(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TaskId {
    /// Names a task of a project.
    pub fn new(project: &ProjectName, name: &TaskName) -> Self {
        Self { project: project.clone(), name: name.clone() }
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.project, self.name)
    }
}

impl FromStr for TaskId {
    type Err = InvalidTaskId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.split_once(':').and_then(|(project, name)| {
            Some(Self { project: ProjectName::parse(project).ok()?, name: TaskName::parse(name).ok()? })
        });
        parsed.ok_or_else(|| InvalidTaskId(text.to_owned()))
    }
}

impl PartialSchema for TaskId {
    fn schema() -> RefOr<Schema> {
        String::schema()
    }
}

impl ToSchema for TaskId {}

impl Borrow<str> for TaskName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TaskName {
    type Error = InvalidTaskName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<TaskName> for String {
    fn from(name: TaskName) -> Self {
        name.0
    }
}

impl TryFrom<String> for TaskId {
    type Error = InvalidTaskId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TaskId> for String {
    fn from(id: TaskId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_parts_without_odd_characters() {
        for good in ["digest", "reports/digest", "a.b-c_d", "Log a message", "0"] {
            assert_eq!(TaskName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "/a", "a/", "a//b", "..", "a/../b", "a:b", " a", "a  b", "ä", &"x".repeat(129)] {
            assert!(TaskName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_in_a_message_is_in_quotes_alone() {
        assert_eq!(format!("{:?}", TaskName::parse("reports/digest").unwrap()), "\"reports/digest\"");
    }

    #[test]
    fn an_id_is_a_project_and_a_name() {
        let id: TaskId = "blog:reports/digest".parse().unwrap();
        assert_eq!((id.project.as_str(), id.name.as_str()), ("blog", "reports/digest"));
        assert_eq!(id.to_string(), "blog:reports/digest");
        for bad in ["blog", "blog:", ":digest", "a/b:c"] {
            assert!(bad.parse::<TaskId>().is_err(), "{bad:?}");
        }
    }
}
