//! Versions and tenants: a project in one of its incarnations, with and without the digest of its
//! files.

use std::fmt;

use switchyard_contract::digest::Digest;
use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::project::ProjectName;

/// An immutable snapshot of a project, shown as `blog@3f9a1c2b7d4e`. The same files after a removal
/// of the project are another version, with other data.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Version {
    pub(crate) project: ProjectName,
    pub(crate) incarnation: Incarnation,
    pub(crate) digest: Digest,
}

/// A project in one of its incarnations: the owner of folders in the state folder. Its text is the
/// name of these folders.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Tenant {
    pub(crate) project: ProjectName,
    pub(crate) incarnation: Incarnation,
}

impl Version {
    /// The version of `tenant` with this digest.
    pub(crate) fn new(tenant: &Tenant, digest: Digest) -> Self {
        Self { project: tenant.project.clone(), incarnation: tenant.incarnation, digest }
    }

    /// The project in its incarnation.
    pub(crate) fn tenant(&self) -> Tenant {
        Tenant { project: self.project.clone(), incarnation: self.incarnation }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.project, self.digest.short())
    }
}

impl Tenant {
    /// The tenant of a project in this incarnation.
    pub(crate) fn new(project: &ProjectName, incarnation: Incarnation) -> Self {
        Self { project: project.clone(), incarnation }
    }

    /// The tenant of a project that was never removed.
    #[cfg(test)]
    pub(crate) fn first(project: &ProjectName) -> Self {
        Self::new(project, Incarnation::FIRST)
    }

    /// Parses the name of a tenant's folder. Returns `None` if no tenant has a folder of this name.
    pub(crate) fn of_folder(name: &str) -> Option<Self> {
        let (project, incarnation) = match name.split_once('.') {
            Some((project, incarnation)) => (project, incarnation.parse().ok()?),
            None => (name, Incarnation::FIRST),
        };
        let tenant = Self { project: ProjectName::parse(project).ok()?, incarnation };
        (tenant.to_string() == name).then_some(tenant)
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.incarnation {
            // A project name has no dot, so the folder names of two projects differ.
            later if !later.is_first() => write!(f, "{}.{later}", self.project),
            _ => self.project.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_names_its_owner() {
        let blog = ProjectName::parse("blog").unwrap();
        let later = Tenant::new(&blog, Incarnation::from_number(0xab));
        assert_eq!(later.to_string(), "blog.00000000000000ab");
        for tenant in [later, Tenant::first(&blog)] {
            assert_eq!(Tenant::of_folder(&tenant.to_string()), Some(tenant));
        }
        for other in [".downloads", "blog.first", "blog.", "blog.ab", "Bl og", "blog@1"] {
            assert_eq!(Tenant::of_folder(other), None, "{other}");
        }
    }
}
