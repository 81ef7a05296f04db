//! The configuration files of a project, and the fields in them that are Switchyard's.

use std::io::Read as _;
use std::path::Path;

use serde_json::{Map, Value};
use switchyard_contract::event::Diagnostic;
use switchyard_contract::platform::{Platform, UnknownPlatform};
use switchyard_contract::project::ProjectName;
use switchyard_contract::route::{InvalidRoute, MAX_ROUTES};
use switchyard_detect::config::{self, MAX_CONFIG, in_file};
use switchyard_detect::entry::{CONFIG_FILES, Config};

use super::files::open_file;
use super::include::IncludeList;
use super::keys;
use super::lifecycle::LifecycleOptions;
use super::routes::{ClaimedRoutes, ROUTES};
use crate::policy::{InvalidField, PermissionRequest};

/// One configuration file of a project.
pub(super) struct Document {
    pub(super) file: &'static str,
    text: String,
    value: Value,
}

impl Document {
    /// Reads the project's deno.json or deno.jsonc, if there is one.
    pub(super) fn config(dir: &Path) -> Result<Option<Self>, Diagnostic> {
        let file = CONFIG_FILES.into_iter().find(|file| dir.join(file).is_file());
        file.map(|file| Self::read(dir, file)).transpose()
    }

    pub(super) fn read(dir: &Path, file: &'static str) -> Result<Self, Diagnostic> {
        let mut text = String::new();
        open_file(&dir.join(file))
            .and_then(|opened| opened.take(MAX_CONFIG + 1).read_to_string(&mut text))
            .map_err(|error| in_file(file, format!("{file} cannot be read: {error}")))?;
        if text.len() as u64 > MAX_CONFIG {
            return Err(in_file(
                file,
                format!("{file} is too large: at most {MAX_CONFIG} bytes are possible"),
            ));
        }
        let value = config::parse(file, &text)?;
        Ok(Self { file, text, value })
    }

    pub(super) fn as_config(&self) -> Config<'_> {
        Config { file: self.file, value: &self.value }
    }

    pub(super) fn check(&self) -> Result<(), Diagnostic> {
        let checked = keys::check(&self.value).and_then(|()| keys::check_once(&self.text));
        checked.map_err(|invalid| self.field_diagnostic(&invalid))
    }

    /// Refuses `switchyard` in package.json, where a project without a deno.json may try it.
    pub(super) fn check_package(&self) -> Result<(), Diagnostic> {
        match self.value.get("switchyard") {
            None => Ok(()),
            Some(_) => Err(self.field_diagnostic(&InvalidField::new(
                "switchyard",
                "is not read there: move it to deno.json",
            ))),
        }
    }

    pub(super) fn field_diagnostic(&self, invalid: &InvalidField) -> Diagnostic {
        let InvalidField { field, fix } = invalid;
        let (line, column) = keys::position(&self.text, field).unzip();
        let message = format!("\"{field}\" in {} {fix}", self.file);
        Diagnostic { line, column, ..in_file(self.file, message) }
    }

    /// Returns the field `switchyard.{name}`.
    pub(super) fn own(&self, name: &str) -> Option<&Value> {
        debug_assert!(keys::OWN.contains(&name), "{name} is missing from the list of keys");
        self.value.get("switchyard")?.get(name)
    }

    /// Returns the keys of `"switchyard"` with their values.
    pub(super) fn own_keys(&self) -> Option<&Map<String, Value>> {
        self.value.get("switchyard")?.as_object()
    }

    /// Returns the line and column of a key.
    pub(super) fn position(&self, path: &str) -> Option<(u32, u32)> {
        keys::position(&self.text, path)
    }

    pub(super) fn requested(&self) -> Result<PermissionRequest, Diagnostic> {
        PermissionRequest::read(&self.value).map_err(|invalid| self.field_diagnostic(&invalid))
    }

    pub(super) fn lifecycle(&self) -> Result<LifecycleOptions, Diagnostic> {
        let own = self.value.get("switchyard");
        own.map(|own| LifecycleOptions::read(self.file, own)).transpose().map(Option::unwrap_or_default)
    }

    pub(super) fn included(&self) -> Result<IncludeList, Diagnostic> {
        let include = self.own("include").map(|include| IncludeList::read(self.file, include));
        include.transpose().map(Option::unwrap_or_default)
    }

    pub(super) fn share(&self) -> Result<Share, Diagnostic> {
        let names = |value: &Value| -> Option<Vec<_>> {
            let names = value.as_array()?.iter();
            names.map(|name| ProjectName::parse(name.as_str()?).ok()).collect()
        };
        match self.own("share") {
            None => Ok(Share::With(Vec::new())),
            Some(Value::Bool(true)) => Ok(Share::WithAll),
            Some(value) => names(value).map(Share::With).ok_or_else(|| {
                let fix =
                    "must be true or a list of the projects that may include files of this one ([\"web\"])";
                in_file(self.file, format!("\"switchyard.share\" in {} {fix}", self.file))
            }),
        }
    }

    pub(super) fn strip_prefix(&self) -> Result<Option<bool>, Diagnostic> {
        let invalid = || {
            let fix = "must be true or false: false keeps \"/blog\" in the path of a request for /blog/x";
            in_file(self.file, format!("\"switchyard.stripPrefix\" in {} {fix}", self.file))
        };
        self.own("stripPrefix").map(|value| value.as_bool().ok_or_else(invalid)).transpose()
    }

    pub(super) fn platform(&self) -> Result<Option<Platform>, Diagnostic> {
        let Some(value) = self.own("platform") else { return Ok(None) };
        let platform = value.as_str().ok_or(UnknownPlatform).and_then(str::parse);
        let platform = platform.map_err(|error| InvalidField::new("switchyard.platform", error.to_string()));
        platform.map(Some).map_err(|invalid| self.field_diagnostic(&invalid))
    }

    pub(super) fn port(&self) -> Result<Option<u16>, Diagnostic> {
        let Some(value) = self.own("port") else { return Ok(None) };
        let port = value.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
        let fix = "must be the port of the server that is served: a number from 1 to 65535";
        port.map(Some).ok_or_else(|| self.field_diagnostic(&InvalidField::new("switchyard.port", fix)))
    }

    pub(super) fn compress(&self) -> Result<bool, Diagnostic> {
        let Some(value) = self.own("compress") else { return Ok(false) };
        let fix = "must be true or false: true compresses responses for clients that accept it";
        let invalid = || self.field_diagnostic(&InvalidField::new("switchyard.compress", fix));
        value.as_bool().ok_or_else(invalid)
    }

    pub(super) fn routes(&self) -> Result<ClaimedRoutes, Diagnostic> {
        let Some(value) = self.own("routes") else { return Ok(ClaimedRoutes::default()) };
        let shape = "must be a list of hosts (\"www.example.com\") and prefixes (\"/shop\")";
        let invalid = |fix: &str| self.field_diagnostic(&InvalidField::new(ROUTES, fix));
        let texts = value.as_array().ok_or_else(|| invalid(shape))?;
        if texts.len() > MAX_ROUTES {
            return Err(invalid(&format!("has {} routes: at most {MAX_ROUTES} are possible", texts.len())));
        }
        let position = keys::position(&self.text, ROUTES).unzip();
        let mut claimed = ClaimedRoutes::at(self.file, position);
        for (index, text) in texts.iter().enumerate() {
            let text = text.as_str().ok_or_else(|| invalid(shape))?;
            let route =
                text.parse().map_err(|error: InvalidRoute| claimed.refused(index, &error.to_string()));
            claimed.routes.push(route?);
        }
        Ok(claimed)
    }
}

/// The projects that may include files of a project's folder.
pub(super) enum Share {
    WithAll,
    With(Vec<ProjectName>),
}
