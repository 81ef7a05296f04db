//! Names that only one source may have: its own, those of projects, and those of shared entries.

use super::reader::{Claim, Field, Reader};
use super::values::SourceName;
use switchyard_contract::project::ProjectName;

impl Reader<'_> {
    pub(super) fn claim_name(&mut self, field: &Field<'_>, name: &SourceName) {
        if self.claim(format!("source {name}"), name.as_str()).is_some() {
            self.wrong(field, "another source has the same name: rename one of them");
        }
    }

    /// Claims a project, by its host label: `a_b` and `a-b` have one host.
    pub(super) fn claim_project(&mut self, field: &Field<'_>, name: &ProjectName) {
        if let Some(other) = self.claim(format!("project {}", name.label()), name.as_str()) {
            let what = self.collision("project", &other, name.as_str());
            self.wrong(field, format!("{what}: name one of them with as = \"…\", or keep one"));
        }
    }

    pub(super) fn claim_shared(&mut self, field: &Field<'_>, name: &str) {
        if let Some(other) = self.claim(format!("shared {}", name.to_lowercase()), name) {
            let what = self.collision("shared name", &other, name);
            self.wrong(field, format!("{what}: rename one of them, or keep one"));
        }
    }

    /// Returns the earlier claim to what has this key.
    fn claim(&mut self, key: String, name: &str) -> Option<Claim> {
        let claim = Claim { name: name.to_owned(), subject: self.subject.clone() };
        self.claims.insert(key, claim)
    }

    fn collision(&self, kind: &str, other: &Claim, name: &str) -> String {
        let Claim { name: first, subject } = other;
        let whose = match *subject == self.subject {
            true => format!("{subject} twice has"),
            false => format!("{subject} and {} both have", self.subject),
        };
        match first == name {
            true => format!("{whose} the {kind} {name:?}"),
            false => format!("{whose} the {kind} {name:?}, once spelled {first:?}"),
        }
    }
}
