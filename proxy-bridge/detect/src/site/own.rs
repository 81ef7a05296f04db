//! The static site that a configuration names.

use std::path::Path;

use serde_json::{Map, Value};

use super::{Fallback, INDEX, Site, below, detect, own_key};
use crate::entry::Config;
use switchyard_contract::event::Diagnostic;
use switchyard_contract::platform::Platform;

/// The keys of `"static"`.
const KEYS: [&str; 4] = ["fallback", "immutable", "notFound", "root"];

/// The most folders that a site names as immutable: each request is compared with all of them.
const MAX_IMMUTABLE: usize = 100;

/// A `"static"` object and the configuration that it is in.
struct Own<'a> {
    dir: &'a Path,
    config: Config<'a>,
    fields: &'a Map<String, Value>,
}

/// Reads the site that the configuration names, if it does.
///
/// # Errors
/// A field is unknown or malformed, or names something that does not exist.
pub(super) fn read(
    dir: &Path,
    config: Config<'_>,
    package: Option<Config<'_>>,
) -> Result<Option<Site>, Diagnostic> {
    let is_static = super::platform(config) == Some(Platform::Static);
    if is_static && own_key(config, "entry").is_some() {
        let fix =
            "and \"platform\": \"static\" contradict each other: a static site runs no code; take one out";
        return Err(wrong(config.file, "switchyard.entry", fix));
    }
    let none = Map::new();
    let fields = match own_key(config, "static") {
        None if !is_static => return Ok(None),
        None => &none,
        Some(value) => value.as_object().ok_or_else(|| {
            wrong(config.file, "switchyard.static", "must be an object, as in {\"root\": \"dist\"}")
        })?,
    };
    Own { dir, config, fields }.site(package).map(Some)
}

impl Own<'_> {
    fn site(&self, package: Option<Config<'_>>) -> Result<Site, Diagnostic> {
        if let Some(key) = self.fields.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let fix = format!("is unknown: expected one of {}", KEYS.join(", "));
            return Err(wrong(self.config.file, &format!("switchyard.static.{key}"), &fix));
        }
        let site = match self.root()? {
            Some(root) => Site::new(root, format!("switchyard.static.root in {}", self.config.file)),
            None => self.detected(package)?,
        };
        let root = site.root.clone();
        Ok(Site {
            fallback: self.fallback(&root)?,
            not_found: self.not_found(&root, site.not_found)?,
            immutable: self.immutable()?.unwrap_or(site.immutable),
            ..site
        })
    }

    /// Returns the default root: the folder in which a site is found, else the project itself.
    fn detected(&self, package: Option<Config<'_>>) -> Result<Site, Diagnostic> {
        match detect::find(self.dir, Some(self.config), package, true) {
            Ok(site) => Ok(site),
            Err(Some(unbuilt)) => Err(unbuilt),
            Err(None) => Ok(Site::new("", format!("switchyard in {}", self.config.file))),
        }
    }

    fn root(&self) -> Result<Option<String>, Diagnostic> {
        let Some(value) = self.fields.get("root") else { return Ok(None) };
        let root = self.path("root", value, "a folder of the project, as in \"dist\"")?;
        if self.dir.join(&root).is_dir() {
            return Ok(Some(root));
        }
        let fix = format!("names the folder {root:?}, which does not exist: build the site, or fix the name");
        Err(self.wrong("root", &fix))
    }

    fn fallback(&self, root: &str) -> Result<Fallback, Diagnostic> {
        match self.fields.get("fallback") {
            None => Ok(Fallback::Auto),
            Some(Value::Bool(false)) => Ok(Fallback::Off),
            Some(Value::Bool(true)) => self.page("fallback", root, INDEX.to_owned()).map(Fallback::Page),
            Some(value) => {
                let page = self.path("fallback", value, "true, false or a page (\"app.html\")")?;
                self.page("fallback", root, page).map(Fallback::Page)
            }
        }
    }

    /// Returns the page that answers 404, which is `default` if the field is not set.
    fn not_found(&self, root: &str, default: Option<String>) -> Result<Option<String>, Diagnostic> {
        match self.fields.get("notFound") {
            None => Ok(default),
            Some(Value::Bool(false)) => Ok(None),
            Some(value) => {
                let page = self.path("notFound", value, "false or a page (\"404.html\")")?;
                self.page("notFound", root, page).map(Some)
            }
        }
    }

    fn immutable(&self) -> Result<Option<Vec<String>>, Diagnostic> {
        let Some(value) = self.fields.get("immutable") else { return Ok(None) };
        let shape = "a list of folders whose files never change under their names ([\"assets\"])";
        let folders = value.as_array().filter(|folders| folders.len() <= MAX_IMMUTABLE);
        let folders = folders
            .ok_or_else(|| self.wrong("immutable", &format!("must be {shape}, {MAX_IMMUTABLE} at most")))?;
        folders.iter().map(|folder| self.path("immutable", folder, shape)).collect::<Result<_, _>>().map(Some)
    }

    /// Returns a page below the root, if it exists.
    fn page(&self, field: &str, root: &str, page: String) -> Result<String, Diagnostic> {
        if self.dir.join(below(root, &page)).is_file() {
            return Ok(page);
        }
        let fix = format!("names the page {:?}, which does not exist: fix the name", below(root, &page));
        Err(self.wrong(field, &fix))
    }

    /// Normalizes a relative path without `..`: removes dots and slashes at its ends.
    fn path(&self, field: &str, value: &Value, shape: &str) -> Result<String, Diagnostic> {
        let text = value.as_str().ok_or_else(|| self.wrong(field, &format!("must be {shape}")))?;
        let names: Vec<_> = text.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
        if names.contains(&"..") || text.contains(['\0', '\\']) {
            return Err(self.wrong(field, &format!("is outside the project: it must be {shape}")));
        }
        Ok(names.join("/"))
    }

    fn wrong(&self, field: &str, fix: &str) -> Diagnostic {
        wrong(self.config.file, &format!("switchyard.static.{field}"), fix)
    }
}

fn wrong(file: &'static str, field: &str, fix: &str) -> Diagnostic {
    let message = format!("\"{field}\" in {file} {fix}");
    Diagnostic { file: Some(file.to_owned()), message, ..Diagnostic::default() }
}
