//! The settings in a project's own configuration, each with its line.

use serde_json::{Value, json};
use switchyard_contract::admin::{Setting, SettingOrigin};

use super::document::Document;
use super::keys;
use super::routes::PrefixHandling;

/// Keys whose values are objects with a name for each entry: only the names are shown.
const NAMED: [&str; 2] = ["pipelines", "tasks"];

impl Document {
    /// Returns the keys of `"switchyard"`, and no value of a variable.
    pub(super) fn settings(&self) -> Vec<Setting> {
        let own = self.own_keys().into_iter().flatten();
        let all = own.flat_map(|(key, value)| match (key.as_str(), value.as_object()) {
            ("env", Some(variables)) => {
                variables.keys().map(|name| (format!("env.{name}"), Value::Null)).collect::<Vec<_>>()
            }
            (named, Some(entries)) if NAMED.contains(&named) => {
                vec![(key.clone(), entries.keys().cloned().collect())]
            }
            _ => vec![(key.clone(), value.clone())],
        });
        let mut settings: Vec<_> = all
            .map(|(key, value)| {
                let key = format!("switchyard.{key}");
                let line = self.position(&key).map(|(line, _)| line);
                let (origin, file) = (SettingOrigin::Project, Some(self.file.to_owned()));
                Setting { origin, file, line, ..Setting::by_default(key, value) }
            })
            .collect();
        settings.sort_by(|one, other| one.key.cmp(&other.key));
        settings
    }
}

/// Returns the settings of a project with those that it leaves to their defaults.
pub(crate) fn with_defaults(own: &[Setting], prefix: PrefixHandling) -> Vec<Setting> {
    let defaults = [
        ("cells", json!(1)),
        ("compress", json!(false)),
        ("healthcheck", Value::Null),
        ("idle", Value::Null),
        ("include", json!([])),
        ("routes", json!([])),
        ("share", json!([])),
        ("stripPrefix", json!(prefix == PrefixHandling::Strip)),
    ];
    debug_assert!(defaults.iter().all(|(key, _)| keys::OWN.contains(key)), "a key is misspelt");
    let defaults = defaults.map(|(key, value)| Setting::by_default(format!("switchyard.{key}"), value));
    let is_left = |default: &Setting| own.iter().all(|setting| setting.key != default.key);
    own.iter().cloned().chain(defaults.into_iter().filter(is_left)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_line_and_variables_have_no_value() {
        let dir = tempfile::tempdir().unwrap();
        let text = "{\n  \"switchyard\": {\n    \"idle\": \"10m\",\n    \"env\": {\n      \"KEY\": \"hunter2\"\n    },\n    \
            \"tasks\": { \"digest\": { \"module\": \"a.ts\" } }\n  }\n}\n";
        std::fs::write(dir.path().join("deno.json"), text).unwrap();
        let own = Document::config(dir.path()).ok().flatten().unwrap().settings();
        let shown: Vec<_> = own.iter().map(|one| (one.key.as_str(), &one.value, one.place())).collect();
        let at = |line: u32| format!("deno.json:{line}");
        let (idle, tasks) = (json!("10m"), json!(["digest"]));
        let expected = [
            ("switchyard.env.KEY", &Value::Null, at(5)),
            ("switchyard.idle", &idle, at(3)),
            ("switchyard.tasks", &tasks, at(7)),
        ];
        assert_eq!(shown, expected);
        let all = with_defaults(&own, PrefixHandling::Keep);
        let find = |key: &str| all.iter().filter(|one| one.key == key).collect::<Vec<_>>();
        assert_eq!((find("switchyard.idle").len(), &find("switchyard.cells")[0].value), (1, &json!(1)));
        assert_eq!(find("switchyard.stripPrefix")[0].value, json!(false));
    }
}
