//! The files and folders beside a project that are part of its versions.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use serde_json::Value;
use switchyard_contract::event::Diagnostic;
use switchyard_detect::include as list;
pub(crate) use switchyard_detect::include::Include;

/// The entries of one configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IncludeList {
    file: &'static str,
    pub(crate) entries: Vec<Include>,
    /// The number of entries at the end that are included implicitly.
    implied: usize,
}

impl IncludeList {
    /// Reads the field's `value` in the configuration `file`.
    ///
    /// # Errors
    /// The value is not a list, or an entry cannot lie beside the project.
    pub(crate) fn read(file: &'static str, value: &Value) -> Result<Self, Diagnostic> {
        let entries = list::read_list(file, value)?;
        Ok(Self { file, entries, implied: 0 })
    }

    /// Adds implicit entries, by their names directly below the projects root.
    pub(super) fn imply(&mut self, names: &[String]) {
        for include in names.iter().filter_map(|name| Include::parse(&format!("../{name}")).ok()) {
            if !self.entries.contains(&include) {
                self.entries.push(include);
                self.implied += 1;
            }
        }
    }

    /// Returns everything beside the project in the checkout `dir`.
    pub(crate) fn in_checkout(dir: &Path) -> Self {
        let entries =
            dir.parent().and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<_> = names.filter(|name| dir.file_name() != Some(OsStr::new(name))).collect();
        names.sort();
        let mut all = Self::default();
        all.imply(&names);
        all
    }

    /// Returns true for an implicit entry.
    pub(crate) fn is_implied(&self, include: &Include) -> bool {
        self.entries[self.entries.len() - self.implied..].contains(include)
    }

    /// Returns the diagnostic for the invalid entry `include`.
    pub(crate) fn entry_diagnostic(&self, include: &Include, why: &str) -> Diagnostic {
        list::entry_diagnostic(self.file, include.as_str(), why)
    }
}

/// Returns true if a path relative to a project leads beside it.
pub(crate) fn is_beside(path: &str) -> bool {
    path.starts_with("../")
}
