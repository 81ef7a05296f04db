//! The settings of a project that are the operator's: each with the line of the policy, or the flag, that it
//! comes from.

use std::fmt::Display;
use std::time::Duration;

use serde_json::{Value, json};
use switchyard_contract::admin::{Setting, SettingOrigin};
use switchyard_contract::project::ProjectName;
use switchyard_program::units::{Size, Span};

use super::allow_list::AllowList;
use super::allowance::Allowance;
use super::limits::{LIMITS, Unit};
use super::{Policy, ReadLimits, RequestLimits};

impl Policy {
    /// Returns all settings of `project`, and no value of a variable.
    pub(crate) fn settings(&self, project: &ProjectName) -> Vec<Setting> {
        let allowance = self.allowance(project);
        let by_default = Allowance::new(RequestLimits::default(), ReadLimits::default());
        let permissions = permissions(allowance);
        let limits = LIMITS.iter().map(|limit| {
            let value = (limit.get)(allowance);
            let shown = match limit.unit {
                Unit::Size => json!(Size(value).to_string()),
                Unit::Time => json!(Span(Duration::from_millis(value)).to_string()),
                Unit::Count => json!(value),
                Unit::Flag => json!(value != 0),
            };
            let is_set = value != (limit.get)(&by_default);
            let flag = limit.flag.map(str::to_owned);
            let origin = if is_set && flag.is_some() { SettingOrigin::Flag } else { SettingOrigin::Default };
            Setting { origin, flag, ..Setting::by_default(format!("limits.{}", limit.name), shown) }
        });
        let variables = allowance.env.keys().map(|name| (format!("env.{name}"), Value::Null));
        let others = permissions.into_iter().map(|(key, value)| (key.to_owned(), value)).chain(variables);
        let others = others.map(|(key, value)| Setting::by_default(key, value));
        others.chain(limits).map(|setting| self.located(allowance, setting)).collect()
    }

    /// Returns the setting with its line, if the policy has it.
    fn located(&self, allowance: &Allowance, setting: Setting) -> Setting {
        match allowance.lines.get(&setting.key) {
            Some(line) => Setting {
                origin: SettingOrigin::Policy,
                file: self.file.as_ref().map(|file| file.display().to_string()),
                line: Some(*line),
                flag: None,
                ..setting
            },
            None => setting,
        }
    }
}

fn permissions(allowance: &Allowance) -> [(&'static str, Value); 7] {
    [
        ("permissions.read", json!(allowance.read)),
        ("permissions.write", json!(allowance.write)),
        ("permissions.net", allow_list(&allowance.net)),
        ("permissions.private_net", texts(&allowance.private_net)),
        ("permissions.sys", json!(allowance.sys)),
        ("permissions.env", allow_list(&allowance.own_env)),
        ("routes", allow_list(&allowance.routes)),
    ]
}

fn allow_list<T: Display>(list: &AllowList<T>) -> Value {
    match list {
        AllowList::All => Value::Bool(true),
        AllowList::Only(some) => texts(some),
    }
}

fn texts<T: Display>(values: &[T]) -> Value {
    values.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'s>(settings: &'s [Setting], key: &str) -> &'s Setting {
        settings.iter().find(|setting| setting.key == key).unwrap_or_else(|| panic!("no {key}"))
    }

    #[test]
    fn each_setting_names_the_line_or_the_flag_that_it_comes_from() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("policy.toml");
        let text = "[defaults.limits]\nmemory = \"512MiB\"\nworkers = 2\n\n[defaults.env]\nMODE = \"x\"\n\n\
            [projects.blog.limits]\nmemory = \"1GiB\"\n[projects.blog.permissions]\nnet = [\n  \"a.com\",\n]\n";
        std::fs::write(&file, text).unwrap();
        let requests = RequestLimits { body: 5 << 20, ..RequestLimits::default() };
        let policy = Policy::read(&file, requests, ReadLimits::default(), dir.path()).unwrap();
        let blog = policy.settings(&ProjectName::parse("blog").unwrap());
        for (key, value, line) in [
            ("limits.memory", json!("1GiB"), 9),
            ("limits.workers", json!(2), 3),
            ("permissions.net", json!(["a.com"]), 11),
            ("env.MODE", Value::Null, 6),
        ] {
            let found = find(&blog, key);
            assert_eq!((&found.value, found.origin, found.line), (&value, SettingOrigin::Policy, Some(line)));
            assert_eq!(found.place(), format!("{}:{line}", file.display()));
        }
        let body = find(&blog, "limits.body");
        assert_eq!((&body.value, body.place().as_str()), (&json!("5MiB"), "--max-body"));
        let time = find(&blog, "limits.request_time");
        assert_eq!((&time.value, time.place().as_str()), (&json!("30s"), "default"));
        let other = policy.settings(&ProjectName::parse("shop").unwrap());
        assert_eq!(find(&other, "limits.memory").line, Some(2));
        assert_eq!(find(&other, "permissions.net").value, json!(true));
    }
}
