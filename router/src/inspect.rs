//! The projects that debuggers may attach to: `--inspect`.

use std::collections::BTreeSet;

use switchyard_contract::project::{InvalidName, ProjectName};

/// The value that stands for all projects.
const ALL: &str = "all";

/// The projects that debuggers may attach to. A debugger runs code in a project, so the operator names each one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspectable {
    Only(BTreeSet<ProjectName>),
    All,
}

impl Default for Inspectable {
    fn default() -> Self {
        Self::Only(BTreeSet::new())
    }
}

impl Inspectable {
    /// Parses the values of the flag: names, separated by commas, or `all`.
    ///
    /// # Errors
    /// A value is not a valid project name.
    pub(crate) fn read(values: &[String]) -> Result<Self, InvalidName> {
        let names = values.iter().flat_map(|value| value.split(',')).map(str::trim);
        let names: Vec<_> = names.filter(|name| !name.is_empty()).collect();
        if names.contains(&ALL) {
            return Ok(Self::All);
        }
        names.into_iter().map(ProjectName::parse).collect::<Result<_, _>>().map(Self::Only)
    }

    pub(crate) fn covers(&self, project: &str) -> bool {
        match self {
            Self::Only(names) => names.contains(project),
            Self::All => true,
        }
    }

    /// Returns true if no project is covered.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Result<Inspectable, InvalidName> {
        Inspectable::read(&values.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn nothing_may_be_debugged_that_is_not_named() {
        assert!(read(&[]).unwrap().is_none() && !read(&[]).unwrap().covers("blog"));
        let some = read(&["blog", "shop, api"]).unwrap();
        assert!(["blog", "shop", "api"].iter().all(|name| some.covers(name)));
        assert!(!some.covers("all") && !some.is_none());
        assert!(read(&["blog,all"]).unwrap().covers("whatever"));
    }

    #[test]
    fn an_invalid_name_is_refused() {
        assert!(read(&["blog,S.hop"]).unwrap_err().to_string().contains("\"S.hop\""));
    }
}
