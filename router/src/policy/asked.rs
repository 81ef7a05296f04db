//! What a project asks for in its own configuration: `permissions` as Deno has it, and `switchyard.env`.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};
use switchyard_program::suggest::{did_you_mean, nearest};

use super::extent::Extent;
use super::limits::MOST_CELLS;
use super::net::Target;
use super::resolve::SYS_KINDS;
use super::variable::{Names, check_name, check_value};

/// Entries of one list, and variables: far more than a project has reason to ask for, and little to keep and to show.
const MAX_ENTRIES: usize = 200;

/// Of one entry, in bytes: the longest path that Linux takes.
const MAX_ENTRY: usize = 4096;

/// Of all variables together, in bytes. It is half of what Linux lets a program have, and is kept with every version.
const MAX_ENV: usize = 1 << 20;

#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// `None`: all that the operator allows.
    pub(super) rights: Option<Set>,
    pub(super) env: BTreeMap<String, Own>,
    /// How many processes it wants.
    pub(super) cells: Option<usize>,
}

/// The set of permissions that is called `default`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) read: Right<String>,
    pub(super) write: Right<String>,
    pub(super) net: Right<String>,
    pub(super) env: Right<Names>,
    pub(super) sys: Right<String>,
    pub(super) run: Right<String>,
    pub(super) ffi: Right<String>,
    pub(super) import: Right<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Right<T> {
    pub(super) allow: Extent<T>,
    /// What the project wants none of, though it would have it.
    pub(super) deny: Vec<T>,
}

/// A variable that a project asks for.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Own {
    /// With a value of its own.
    Value(String),
    /// With the operator's.
    Operators,
}

/// A field that is not as it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Its path: `permissions.default.net`.
    pub(crate) field: String,
    /// The rest of the sentence, with what would be right.
    pub(crate) fix: String,
}

impl Wrong {
    pub(crate) fn new(field: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { field: field.into(), fix: fix.into() }
    }
}

impl Asked {
    /// Takes what a deno.json says.
    ///
    /// # Errors
    /// It is not as Deno has it.
    pub(crate) fn read(config: &Value) -> Result<Self, Wrong> {
        let rights = match config.get("permissions") {
            None => None,
            Some(sets) => default_set(object("permissions", sets)?)?,
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

/// The set of permissions that a project has without being asked which. The others are Deno's for
/// `-P=NAME`; they are checked all the same, as Deno does, so that a misspelt `default` is noticed.
fn default_set(sets: &Map<String, Value>) -> Result<Option<Set>, Wrong> {
    let mut default = None;
    for (name, set) in sets {
        let field = format!("permissions.{name}");
        if KEYS.contains(&name.as_str()) {
            let fix = format!("is a permission, not a set of them: write {{\"default\": {{{name:?}: …}}}}");
            return Err(wrong(&field, fix));
        }
        let read = read_set(&field, set)?;
        match name.as_str() {
            DEFAULT => default = Some(read),
            _ if nearest(name, &[DEFAULT]).is_some() => {
                return Err(wrong(&field, format!("is unknown{}", did_you_mean(name, &[DEFAULT]))));
            }
            _ => {}
        }
    }
    Ok(default)
}

fn read_set(field: &str, value: &Value) -> Result<Set, Wrong> {
    let set = object(field, value)?;
    if let Some(unknown) = set.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(unknown_key(field, unknown, &KEYS));
    }
    let all = match set.get("all") {
        None => false,
        Some(all) => all.as_bool().ok_or_else(|| wrong(&format!("{field}.all"), "must be true or false"))?,
    };
    let right = |name: &str| Right::read(&format!("{field}.{name}"), set.get(name), all);
    let (net, sys, env) = (right("net")?, right("sys")?, right("env")?);
    for text in net.texts().filter(|text| !["vsock:", "unix:"].iter().any(|other| text.starts_with(other))) {
        text.parse::<Target>()
            .map_err(|error| wrong(&format!("{field}.net"), format!("is wrong: {error}")))?;
    }
    if let Some(unknown) = sys.texts().find(|kind| !SYS_KINDS.contains(&kind.as_str())) {
        let fix = format!("is wrong: {unknown:?} is none of {}", SYS_KINDS.join(", "));
        return Err(wrong(&format!("{field}.sys"), fix));
    }
    let name = |text: String| {
        text.parse().map_err(|error| wrong(&format!("{field}.env"), format!("is wrong: {error}")))
    };
    Ok(Set {
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

impl Right<String> {
    fn read(field: &str, value: Option<&Value>, all: bool) -> Result<Self, Wrong> {
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
        // What is ignored reads as if it were not there: the same, but for how the project is told.
        for denied in [part("deny", false)?, part("ignore", false)?] {
            match denied {
                Extent::All => allow = false.into(),
                Extent::Only(some) => deny.extend(some),
            }
        }
        Ok(Self { allow, deny })
    }

    fn texts(&self) -> impl Iterator<Item = &String> {
        let allowed = match &self.allow {
            Extent::All => &[][..],
            Extent::Only(some) => some,
        };
        allowed.iter().chain(&self.deny)
    }

    fn map<T>(self, to: impl Fn(String) -> Result<T, Wrong>) -> Result<Right<T>, Wrong> {
        let allow = match self.allow {
            Extent::All => Extent::All,
            Extent::Only(some) => Extent::Only(some.into_iter().map(&to).collect::<Result<_, _>>()?),
        };
        Ok(Right { allow, deny: self.deny.into_iter().map(to).collect::<Result<_, _>>()? })
    }
}

fn extent(field: &str, value: &Value) -> Result<Extent<String>, Wrong> {
    let shape =
        || wrong(field, "must be true, false, a list of strings, or {\"allow\": …, \"deny\": …} of those");
    match value {
        Value::Bool(all) => Ok((*all).into()),
        Value::Null => Ok(false.into()),
        Value::Array(entries) if entries.len() > MAX_ENTRIES => {
            Err(wrong(field, format!("has too many entries: {MAX_ENTRIES} are the most")))
        }
        Value::Array(entries) => {
            let entry = |entry: &Value| match entry.as_str() {
                Some(text) if text.len() <= MAX_ENTRY => Ok(text.to_owned()),
                Some(_) => Err(wrong(field, format!("has an entry of more than {MAX_ENTRY} bytes"))),
                None => Err(shape()),
            };
            Ok(Extent::Only(entries.iter().map(entry).collect::<Result<_, _>>()?))
        }
        _ => Err(shape()),
    }
}

fn read_env(field: &str, value: &Value) -> Result<BTreeMap<String, Own>, Wrong> {
    let variables = object(field, value)?;
    let size = |(name, value): (&String, &Value)| name.len() + value.as_str().map_or(0, str::len);
    if variables.len() > MAX_ENTRIES || variables.iter().map(size).sum::<usize>() > MAX_ENV {
        let most = format!("is too large: {MAX_ENTRIES} variables and {MAX_ENV} bytes are the most");
        return Err(wrong(field, most));
    }
    let variable = |(name, value): (&String, &Value)| {
        check_name(name).map_err(|error| wrong(field, format!("is wrong: {error}")))?;
        let field = format!("{field}.{name}");
        let own = match value {
            Value::String(value) => {
                check_value(value).map_err(|error| wrong(&field, error))?;
                Own::Value(value.clone())
            }
            Value::Bool(true) => Own::Operators,
            _ => return Err(wrong(&field, "must be a string, or true for the operator's value")),
        };
        Ok((name.clone(), own))
    };
    variables.iter().map(variable).collect()
}

fn read_cells(value: &Value) -> Result<usize, Wrong> {
    let count = value.as_u64().filter(|count| (1..=MOST_CELLS).contains(count));
    let count = count.and_then(|count| usize::try_from(count).ok());
    count.ok_or_else(|| {
        wrong("switchyard.cells", format!("must be a whole number of processes, 1 to {MOST_CELLS}"))
    })
}

fn object<'a>(field: &str, value: &'a Value) -> Result<&'a Map<String, Value>, Wrong> {
    value.as_object().ok_or_else(|| wrong(field, "must be an object"))
}

fn unknown_key(field: &str, key: &str, known: &[&str]) -> Wrong {
    let fix = format!("is unknown; there are {}{}", known.join(", "), did_you_mean(key, known));
    wrong(&format!("{field}.{key}"), fix)
}

fn wrong(field: &str, fix: impl Into<String>) -> Wrong {
    Wrong::new(field, fix)
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rights, env, cells } = self;
        let mut shown = f.debug_struct("Asked");
        shown.field("rights", rights).field("env", &env.keys()).field("cells", cells).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(value: Value) -> Set {
        Asked::read(&json!({"permissions": {"default": value}})).unwrap().rights.unwrap()
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
        let only = |list: &[&str]| Extent::Only(list.iter().map(ToString::to_string).collect());
        assert_eq!(set.read.allow, Extent::All);
        assert_eq!(set.write.allow, only(&["./x"]));
        assert_eq!((set.net.allow, set.net.deny), (only(&["a.com"]), vec!["b.a.com".to_owned()]));
        assert_eq!((set.env.allow, set.env.deny.len()), (Extent::All, 1));
        for none in [set.run, set.ffi, set.sys, set.import] {
            assert_eq!(none.allow, false.into());
        }
    }

    #[test]
    fn all_stands_for_what_is_not_named() {
        let set = set(json!({"all": true, "net": false}));
        assert_eq!(set.read.allow, Extent::All);
        assert_eq!(set.net.allow, false.into());
    }

    #[test]
    fn nothing_asked_for_is_not_the_same_as_asking_for_nothing() {
        for config in [json!({}), json!({"permissions": {"other": {"net": true}}})] {
            assert_eq!(Asked::read(&config).unwrap().rights, None);
        }
        assert_eq!(set(json!({})).net.allow, false.into());
    }

    #[test]
    fn what_is_malformed_is_named_by_its_field() {
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
            assert_eq!(Asked::read(&config).unwrap_err().field, field, "{config}");
        }
    }

    #[test]
    fn a_misspelt_permission_is_named_with_the_right_one() {
        for (set, near) in [
            (json!({"nets": true}), "did you mean \"net\"?"),
            (json!({"wirte": true}), "did you mean \"write\"?"),
            (json!({"net": {"alow": []}}), "did you mean \"allow\"?"),
        ] {
            let wrong = Asked::read(&json!({"permissions": {"default": set}})).unwrap_err();
            assert!(wrong.fix.contains(near), "{}", wrong.fix);
        }
    }

    #[test]
    fn values_do_not_show_in_a_debug_print() {
        let asked = Asked::read(&json!({"switchyard": {"env": {"KEY": "hunter2"}}})).unwrap();
        assert!(!format!("{asked:?}").contains("hunter2"));
    }
}
