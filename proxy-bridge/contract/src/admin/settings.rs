//! The settings of a project, each with its origin.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// `GET /projects/{name}/settings`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProjectSettings {
    /// The settings of the live version, or else of the newest: those of its deno.json, then those of the
    /// operator.
    pub settings: Vec<Setting>,
}

/// One setting that is in effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Setting {
    /// The key, as in deno.json (`switchyard.idle`) or in a section of the policy (`limits.memory`).
    pub key: String,
    /// The value, as the file may have it. `null` where there is none, and for variables, whose values are
    /// never shown.
    pub value: Value,
    /// The origin of the value.
    pub origin: SettingOrigin,
    /// The file that has the value: of the project, or the policy of the operator. Absent for a value of no
    /// file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in the file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The router's flag for this value, where there is one and no file has the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<String>,
}

/// The origin of a setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SettingOrigin {
    /// The project's own configuration.
    Project,
    /// The operator's policy.
    Policy,
    /// A flag of the router.
    Flag,
    /// None of these has it.
    Default,
    /// An origin of a newer router.
    #[serde(other)]
    Unrecognized,
}

impl Setting {
    /// A value that nobody has set.
    pub fn by_default(key: impl Into<String>, value: Value) -> Self {
        let (key, origin) = (key.into(), SettingOrigin::Default);
        Self { key, value, origin, file: None, line: None, flag: None }
    }

    /// The origin in words: `deno.json:4`, `--max-body`, `default`.
    pub fn place(&self) -> String {
        match (&self.file, self.line, &self.flag, self.origin) {
            (Some(file), Some(line), ..) => format!("{file}:{line}"),
            (Some(file), ..) => file.clone(),
            (_, _, Some(flag), SettingOrigin::Flag) => flag.clone(),
            _ => "default".to_owned(),
        }
    }
}
