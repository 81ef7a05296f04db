//! Permissions of a task in deno.json's spelling: the name of a set, or an object.

use switchyard_contract::suggest::did_you_mean;
use switchyard_contract::task::TaskPermissions;

use super::{Fields, Kind, Node, Report};

/// The keys of an object.
pub(super) const KEYS: [&str; 5] = ["env", "net", "read", "write", "sys"];

/// The keys of a set in deno.json's `permissions`.
const SET_KEYS: [&str; 9] = ["all", "read", "write", "net", "env", "sys", "run", "ffi", "import"];

/// Reads `permissions` of a task. `sets` is deno.json's own field of that name.
pub(super) fn read(fields: &Fields<'_>, sets: Option<&Node>, report: &mut Report) -> Option<TaskPermissions> {
    let node = fields.get("permissions")?;
    match &node.kind {
        Kind::Text(name) => named(fields, name, sets, report),
        Kind::Map(_) => {
            let own = Fields::open(node, fields.path_of("permissions"), &KEYS, report)?;
            Some(rights(&own, false, report))
        }
        _ => {
            let fix = "must be the name of a set in \"permissions\" of deno.json, or an object ({\"net\": [\"example.com\"]})";
            fields.wrong("permissions", fix, report);
            None
        }
    }
}

fn named(
    fields: &Fields<'_>,
    name: &str,
    sets: Option<&Node>,
    report: &mut Report,
) -> Option<TaskPermissions> {
    let Some(set) = sets.and_then(|sets| sets.get(name)) else {
        let names: Vec<_> =
            sets.and_then(Node::map).unwrap_or_default().iter().map(|pair| pair.key.as_str()).collect();
        let near = did_you_mean(name, &names);
        fields.wrong(
            "permissions",
            format!("names the set {name:?}, which \"permissions\" does not have{near}"),
            report,
        );
        return None;
    };
    let own = Fields::open(set, format!("permissions.{name}"), &SET_KEYS, report)?;
    for key in ["run", "ffi"] {
        if own.get(key).is_some_and(|node| node.kind != Kind::Bool(false)) {
            own.wrong(key, "is not possible for a task", report);
        }
    }
    // A set grants what it names and nothing else, unless it grants all.
    let is_all = own.flag("all", report).unwrap_or_default();
    Some(rights(&own, !is_all, report))
}

/// The rights of a set. `is_strict`: a kind that it does not name is denied.
fn rights(fields: &Fields<'_>, is_strict: bool, report: &mut Report) -> TaskPermissions {
    let mut right = |key: &str| match fields.get(key) {
        None => is_strict.then(Vec::new),
        Some(node) => extent(fields, key, node, report),
    };
    TaskPermissions {
        env: right("env"),
        net: right("net"),
        read: right("read"),
        write: right("write"),
        sys: right("sys"),
    }
}

/// `None`: all that the project may.
fn extent(fields: &Fields<'_>, key: &str, node: &Node, report: &mut Report) -> Option<Vec<String>> {
    match &node.kind {
        Kind::Bool(true) => None,
        Kind::Bool(false) => Some(Vec::new()),
        Kind::Map(_) => {
            for part in ["deny", "ignore"] {
                if node.get(part).is_some_and(|node| node.kind != Kind::Bool(false)) {
                    let fix = format!("has {part:?}, which is not possible for a task: list what it may do");
                    fields.wrong(key, fix, report);
                }
            }
            match node.get("allow") {
                Some(allow) if allow.map().is_none() => extent(fields, key, allow, report),
                _ => Some(Vec::new()),
            }
        }
        _ => fields.texts(key, report).or(Some(Vec::new())),
    }
}
