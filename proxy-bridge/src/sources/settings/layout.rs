//! The paths of a source: the folders that are projects, shared entries, submodules.

use super::reader::{Field, Reader, Table};
use super::values::SourceName;
use super::{ProjectPath, ProjectRule};
use crate::sources::pattern::Pattern;
use switchyard_contract::project::{ProjectName, is_ignored};

const PROJECTS: &str =
    "a list of tables, as in [{ path = \"apps/*\" }], or [{ path = \".\" }] for the whole repository";

impl Reader<'_> {
    pub(super) fn projects(&mut self, table: &Table<'_>, source: Option<&SourceName>) -> Vec<ProjectRule> {
        let Some(field) = table.get("projects") else {
            self.missing(table, "projects", &format!("it is {PROJECTS}"));
            return Vec::new();
        };
        let listed = self.list(&field, PROJECTS);
        if listed.is_empty() && field.value.get_ref().is_array() {
            self.wrong(&field, format!("is empty: it is {PROJECTS}"));
        }
        listed.iter().filter_map(|field| self.project(field, source)).collect()
    }

    fn project(&mut self, field: &Field<'_>, source: Option<&SourceName>) -> Option<ProjectRule> {
        let table = self.table(field, &["path", "as"], PROJECTS)?;
        let alias = table.get("as");
        let name = alias.as_ref().and_then(|field| self.parsed(field, ProjectName::parse));
        let Some(path_field) = table.get("path") else {
            self.missing(&table, "path", "name the folder, as in path = \"apps/api\"");
            return None;
        };
        let text = self.string(&path_field)?;
        if text == ProjectPath::WHOLE || text == "./" {
            let name = name.or_else(|| ProjectName::parse(source?.as_str()).ok())?;
            self.claim_project(alias.as_ref().unwrap_or(&path_field), &name);
            return Some(ProjectRule { path: ProjectPath::Whole, name: Some(name) });
        }
        let pattern = self.parsed(&path_field, Pattern::parse)?;
        match (pattern.literal(), &alias) {
            (None, Some(alias)) => {
                self.wrong(
                    alias,
                    "names one project, and path is a pattern: give the folder, or take as out",
                );
            }
            (None, None) => {}
            (Some(_), Some(alias)) => {
                if let Some(name) = &name {
                    self.claim_project(alias, name);
                }
            }
            (Some(path), None) => match ProjectName::parse(path.rsplit('/').next().unwrap_or(path)) {
                Ok(name) => self.claim_project(&path_field, &name),
                Err(error) => self.wrong(&path_field, format!("{error}; name the project with as = \"…\"")),
            },
        }
        Some(ProjectRule { path: ProjectPath::Folders(pattern), name })
    }

    pub(super) fn shared(&mut self, table: &Table<'_>) -> Vec<String> {
        let Some(field) = table.get("shared") else { return Vec::new() };
        let mut shared = Vec::new();
        for (field, path) in self.paths(&field, "a list of paths, as in [\"_shared\", \"deno.json\"]") {
            let name = path.rsplit('/').next().unwrap_or(&path);
            if is_ignored(name) && !name.starts_with('_') {
                self.wrong(&field, format!("no project can include {name:?}: give it another name"));
                continue;
            }
            self.claim_shared(&field, name);
            shared.push(path);
        }
        shared
    }

    pub(super) fn submodules(&mut self, table: &Table<'_>) -> Vec<String> {
        let Some(field) = table.get("submodules") else { return Vec::new() };
        self.paths(&field, "a list of paths, as in [\"vendor/lib\"]")
            .into_iter()
            .map(|(_, path)| path)
            .collect()
    }

    fn paths<'f>(&mut self, field: &Field<'f>, shape: &str) -> Vec<(Field<'f>, String)> {
        let mut paths = Vec::new();
        for field in self.list(field, shape) {
            let Some(pattern) = self.parsed(&field, Pattern::parse) else { continue };
            match pattern.literal() {
                Some(path) => paths.push((field, path.to_owned())),
                None => self.wrong(&field, "is a path and no pattern: name each folder or file"),
            }
        }
        paths
    }
}
