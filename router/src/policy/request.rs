//! The permissions and variables that a project requests in its configuration: `permissions` as in Deno, and
//! `switchyard.env`.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};
use switchyard_contract::suggest::{did_you_mean, nearest};

use super::allow_list::AllowList;
use super::error::InvalidField;
use super::host::HostPattern;
use super::limits::MOST_CELLS;
use super::sys::SYS_KINDS;
use super::variable::{VariablePattern, check_name, check_value};

/// Entries of one list, and variables: far more than a project needs, and little to keep and to show.
const MAX_ENTRIES: usize = 200;

/// Bytes of one entry: the longest path of Linux.
const MAX_ENTRY: usize = 4096;

/// Bytes of all variables together: half of the limit of Linux. They are kept with every version.
const MAX_ENV: usize = 1 << 20;

/// The request of a project for permissions, variables and processes.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct PermissionRequest {
    /// `None`: everything that the operator allows. Boxed, as few projects have one.
    pub(super) rights: Option<Box<PermissionSet>>,
    pub(super) env: BTreeMap<String, RequestedVariable>,
    /// The number of processes of a version.
    pub(super) cells: Option<usize>,
}

/// The permission set `default`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PermissionSet {
    pub(super) read: RequestedRight<String>,
    pub(super) write: RequestedRight<String>,
    pub(super) net: RequestedRight<String>,
    pub(super) env: RequestedRight<VariablePattern>,
    pub(super) sys: RequestedRight<String>,
    pub(super) run: RequestedRight<String>,
    pub(super) ffi: RequestedRight<String>,
    pub(super) import: RequestedRight<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestedRight<T> {
    pub(super) allow: AllowList<T>,
    /// Entries that the project gives up although it could have them.
    pub(super) deny: Vec<T>,
}

/// A variable that a project requests.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum RequestedVariable {
    /// Set by the project.
    Value(String),
    /// Set by the operator.
    FromOperator,
}

impl PermissionRequest {
    /// Reads the request in a deno.json.
    ///
    /// # Errors
    /// A field does not have the form that Deno expects.
    pub(crate) fn read(config: &Value) -> Result<Self, InvalidField> {
        let rights = match config.get("permissions") {
            None => None,
            Some(sets) => default_set(object("permissions", sets)?)?.map(Box::new),
        };
        let own = |name: &str| config.get("switchyard").and_then(|own| own.get(name));
        let env = match own("env") {
            None => BTreeMap::new(),
            Some(env) => read_env("switchyard.env", env)?,
        };
        let cells = own("cells").map(read_cells).transpose()?;
        Ok(Self { rights, env, cells })
    }
}

const DEFAULT: &str = "default";

const KEYS: [&str; 9] = ["all", "read", "write", "net", "env", "sys", "run", "ffi", "import"];

/// The keys of one permission that is written as an object.
const PARTS: [&str; 3] = ["allow", "deny", "ignore"];

/// Returns the permission set that applies without a choice. The other sets are for Deno's `-P=NAME`. They are checked
/// too, as Deno does, so that a misspelt `default` is noticed.
fn default_set(sets: &Map<String, Value>) -> Result<Option<PermissionSet>, InvalidField> {
    let mut default = None;
    for (name, set) in sets {
        let field = format!("permissions.{name}");
        if KEYS.contains(&name.as_str()) {
            let fix = format!("is a permission, not a set of them: write {{\"default\": {{{name:?}: …}}}}");
            return Err(invalid_field(&field, fix));
        }
        let read = read_set(&field, set)?;
        match name.as_str() {
            DEFAULT => default = Some(read),
            _ if nearest(name, &[DEFAULT]).is_some() => {
                return Err(invalid_field(&field, format!("is unknown{}", did_you_mean(name, &[DEFAULT]))));
            }
            _ => {}
        }
    }
    Ok(default)
}

fn read_set(field: &str, value: &Value) -> Result<PermissionSet, InvalidField> {
    let set = object(field, value)?;
    if let Some(unknown) = set.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(unknown_key(field, unknown, &KEYS));
    }
    let all = match set.get("all") {
        None => false,
        Some(all) => {
            all.as_bool().ok_or_else(|| invalid_field(&format!("{field}.all"), "must be true or false"))?
        }
    };
    let right = |name: &str| RequestedRight::read(&format!("{field}.{name}"), set.get(name), all);
    let (net, sys, env) = (right("net")?, right("sys")?, right("env")?);
    for text in net.texts().filter(|text| !["vsock:", "unix:"].iter().any(|other| text.starts_with(other))) {
        text.parse::<HostPattern>()
            .map_err(|error| invalid_field(&format!("{field}.net"), format!("is invalid: {error}")))?;
    }
    if let Some(unknown) = sys.texts().find(|kind| !SYS_KINDS.contains(&kind.as_str())) {
        let fix = format!("is invalid: expected one of {}, not {unknown:?}", SYS_KINDS.join(", "));
        return Err(invalid_field(&format!("{field}.sys"), fix));
    }
    let name = |text: String| {
        text.parse().map_err(|error| invalid_field(&format!("{field}.env"), format!("is invalid: {error}")))
    };
    Ok(PermissionSet {
        read: right("read")?,
        write: right("write")?,
        net,
        env: env.map(name)?,
        sys,
        run: right("run")?,
        ffi: right("ffi")?,
        import: right("import")?,
    })
}

impl RequestedRight<String> {
    fn read(field: &str, value: Option<&Value>, all: bool) -> Result<Self, InvalidField> {
        let Some(value) = value else { return Ok(Self { allow: all.into(), deny: Vec::new() }) };
        let Some(object) = value.as_object() else {
            return Ok(Self { allow: extent(field, value)?, deny: Vec::new() });
        };
        if let Some(unknown) = object.keys().find(|key| !PARTS.contains(&key.as_str())) {
            return Err(unknown_key(field, unknown, &PARTS));
        }
        let part = |name: &str, missing: bool| match object.get(name) {
            Some(value) => extent(&format!("{field}.{name}"), value),
            None => Ok(missing.into()),
        };
        let (mut allow, mut deny) = (part("allow", all)?, Vec::new());
        // Ignored paths are denied too; only the error that the project sees differs.
        for denied in [part("deny", false)?, part("ignore", false)?] {
            match denied {
                AllowList::All => allow = false.into(),
                AllowList::Only(some) => deny.extend(some),
            }
        }
        Ok(Self { allow, deny })
    }

    fn texts(&self) -> impl Iterator<Item = &String> {
        let allowed = match &self.allow {
            AllowList::All => &[][..],
            AllowList::Only(some) => some,
        };
        allowed.iter().chain(&self.deny)
    }

    fn map<T>(
        self,
        to: impl Fn(String) -> Result<T, InvalidField>,
    ) -> Result<RequestedRight<T>, InvalidField> {
        let allow = match self.allow {
            AllowList::All => AllowList::All,
            AllowList::Only(some) => AllowList::Only(some.into_iter().map(&to).collect::<Result<_, _>>()?),
        };
        Ok(RequestedRight { allow, deny: self.deny.into_iter().map(to).collect::<Result<_, _>>()? })
    }
}

fn extent(field: &str, value: &Value) -> Result<AllowList<String>, InvalidField> {
    let shape = || {
        invalid_field(
            field,
            "must be true, false, a list of strings, or {\"allow\": …, \"deny\": …} of those",
        )
    };
    match value {
        Value::Bool(all) => Ok((*all).into()),
        Value::Null => Ok(false.into()),
        Value::Array(entries) if entries.len() > MAX_ENTRIES => {
            Err(invalid_field(field, format!("has too many entries: at most {MAX_ENTRIES} are possible")))
        }
        Value::Array(entries) => {
            let entry = |entry: &Value| match entry.as_str() {
                Some(text) if text.len() <= MAX_ENTRY => Ok(text.to_owned()),
                Some(_) => Err(invalid_field(field, format!("has an entry of more than {MAX_ENTRY} bytes"))),
                None => Err(shape()),
            };
            Ok(AllowList::Only(entries.iter().map(entry).collect::<Result<_, _>>()?))
        }
        _ => Err(shape()),
    }
}

fn read_env(field: &str, value: &Value) -> Result<BTreeMap<String, RequestedVariable>, InvalidField> {
    let variables = object(field, value)?;
    let size = |(name, value): (&String, &Value)| name.len() + value.as_str().map_or(0, str::len);
    if variables.len() > MAX_ENTRIES || variables.iter().map(size).sum::<usize>() > MAX_ENV {
        let most = format!("is too large: at most {MAX_ENTRIES} variables and {MAX_ENV} bytes are possible");
        return Err(invalid_field(field, most));
    }
    let variable = |(name, value): (&String, &Value)| {
        check_name(name).map_err(|error| invalid_field(field, format!("is invalid: {error}")))?;
        let field = format!("{field}.{name}");
        let own = match value {
            Value::String(value) => {
                check_value(value).map_err(|error| invalid_field(&field, error.to_string()))?;
                RequestedVariable::Value(value.clone())
            }
            Value::Bool(true) => RequestedVariable::FromOperator,
            _ => return Err(invalid_field(&field, "must be a string, or true for the operator's value")),
        };
        Ok((name.clone(), own))
    };
    variables.iter().map(variable).collect()
}

fn read_cells(value: &Value) -> Result<usize, InvalidField> {
    let count = value.as_u64().filter(|count| (1..=MOST_CELLS).contains(count));
    let count = count.and_then(|count| usize::try_from(count).ok());
    count.ok_or_else(|| {
        invalid_field(
            "switchyard.cells",
            format!("must be a whole number of processes from 1 to {MOST_CELLS}"),
        )
    })
}

fn object<'a>(field: &str, value: &'a Value) -> Result<&'a Map<String, Value>, InvalidField> {
    value.as_object().ok_or_else(|| invalid_field(field, "must be an object"))
}

fn unknown_key(field: &str, key: &str, known: &[&str]) -> InvalidField {
    let fix = format!("is unknown: expected one of {}{}", known.join(", "), did_you_mean(key, known));
    invalid_field(&format!("{field}.{key}"), fix)
}

fn invalid_field(field: &str, fix: impl Into<String>) -> InvalidField {
    InvalidField::new(field, fix)
}

impl fmt::Debug for PermissionRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rights, env, cells } = self;
        let mut shown = f.debug_struct("PermissionRequest");
        shown.field("rights", rights).field("env", &env.keys()).field("cells", cells).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(value: Value) -> PermissionSet {
        PermissionRequest::read(&json!({"permissions": {"default": value}}))
            .unwrap()
            .rights
            .map(|set| *set)
            .unwrap()
    }

    #[test]
    fn a_set_is_read_as_deno_reads_it() {
        let set = set(json!({
            "read": true,
            "write": ["./x"],
            "net": {"allow": ["a.com"], "deny": ["b.a.com"]},
            "env": {"allow": true, "ignore": ["HOME"]},
            "run": false,
            "ffi": null,
            "sys": {"deny": true}
        }));
        let only = |list: &[&str]| AllowList::Only(list.iter().map(ToString::to_string).collect());
        assert_eq!(set.read.allow, AllowList::All);
        assert_eq!(set.write.allow, only(&["./x"]));
        assert_eq!((set.net.allow, set.net.deny), (only(&["a.com"]), vec!["b.a.com".to_owned()]));
        assert_eq!((set.env.allow, set.env.deny.len()), (AllowList::All, 1));
        for none in [set.run, set.ffi, set.sys, set.import] {
            assert_eq!(none.allow, false.into());
        }
    }

    #[test]
    fn all_stands_for_what_is_not_named() {
        let set = set(json!({"all": true, "net": false}));
        assert_eq!(set.read.allow, AllowList::All);
        assert_eq!(set.net.allow, false.into());
    }

    #[test]
    fn no_request_differs_from_a_request_for_nothing() {
        for config in [json!({}), json!({"permissions": {"other": {"net": true}}})] {
            assert_eq!(PermissionRequest::read(&config).unwrap().rights, None);
        }
        assert_eq!(set(json!({})).net.allow, false.into());
    }

    #[test]
    fn a_malformed_permission_is_reported_with_its_field() {
        let set = |value: Value| json!({"permissions": {"default": value}});
        let env = |value: Value| json!({"switchyard": {"env": value}});
        for (config, field) in [
            (json!({"permissions": []}), "permissions"),
            (json!({"permissions": {"net": false}}), "permissions.net"),
            (json!({"permissions": {"net": {"allow": []}}}), "permissions.net"),
            (json!({"permissions": {"Default": {"net": false}}}), "permissions.Default"),
            (json!({"permissions": {"defualt": {"net": false}}}), "permissions.defualt"),
            (json!({"permissions": {"other": {"nett": false}}}), "permissions.other.nett"),
            (json!({"permissions": {"other": true}}), "permissions.other"),
            (set(json!(true)), "permissions.default"),
            (set(json!({"nets": true})), "permissions.default.nets"),
            (set(json!({"all": 1})), "permissions.default.all"),
            (set(json!({"net": "a.com"})), "permissions.default.net"),
            (set(json!({"net": ["http://a.com"]})), "permissions.default.net"),
            (set(json!({"net": {"allow": [1]}})), "permissions.default.net.allow"),
            (set(json!({"net": {"alow": []}})), "permissions.default.net.alow"),
            (set(json!({"sys": ["everything"]})), "permissions.default.sys"),
            (set(json!({"env": ["A=B"]})), "permissions.default.env"),
            (set(json!({"read": vec!["x"; MAX_ENTRIES + 1]})), "permissions.default.read"),
            (env(json!([])), "switchyard.env"),
            (env(json!({"A=B": "x"})), "switchyard.env"),
            (env(json!({"A": false})), "switchyard.env.A"),
            (env(json!({"A": "\0"})), "switchyard.env.A"),
            (json!({"switchyard": {"cells": 0}}), "switchyard.cells"),
            (json!({"switchyard": {"cells": 17}}), "switchyard.cells"),
            (json!({"switchyard": {"cells": "2"}}), "switchyard.cells"),
            (json!({"switchyard": {"cells": 1.5}}), "switchyard.cells"),
        ] {
            assert_eq!(PermissionRequest::read(&config).unwrap_err().field, field, "{config}");
        }
    }

    #[test]
    fn a_misspelt_permission_is_named_with_the_right_one() {
        for (set, near) in [
            (json!({"nets": true}), "did you mean \"net\"?"),
            (json!({"wirte": true}), "did you mean \"write\"?"),
            (json!({"net": {"alow": []}}), "did you mean \"allow\"?"),
        ] {
            let wrong = PermissionRequest::read(&json!({"permissions": {"default": set}})).unwrap_err();
            assert!(wrong.fix.contains(near), "{}", wrong.fix);
        }
    }

    #[test]
    fn values_do_not_show_in_a_debug_print() {
        let requested = PermissionRequest::read(&json!({"switchyard": {"env": {"KEY": "hunter2"}}})).unwrap();
        assert!(!format!("{requested:?}").contains("hunter2"));
    }
}
