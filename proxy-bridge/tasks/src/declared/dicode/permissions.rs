//! The permissions of a `task.yaml`: what it does not name is denied, but for the network.

use switchyard_contract::task::TaskPermissions;

use super::super::{Fields, Kind, Node, Report, join, webhook};
use super::cascade;

const KEYS: [&str; 6] = ["env", "fs", "run", "net", "sys", "dicode"];
const ENV_KEYS: [&str; 6] = ["name", "from", "secret", "value", "optional", "if_missing"];
const FS_KEYS: [&str; 2] = ["path", "permission"];

/// The access to a path.
#[derive(Clone, Copy)]
struct Access {
    reads: bool,
    writes: bool,
}

const ACCESS: [(&str, Access); 3] = [
    ("r", Access { reads: true, writes: false }),
    ("w", Access { reads: false, writes: true }),
    ("rw", Access { reads: true, writes: true }),
];

/// Reads `permissions` of a task in `dir`.
pub(super) fn read(task: &Fields<'_>, dir: &str, report: &mut Report) -> TaskPermissions {
    let mut permissions = TaskPermissions {
        env: Some(vec![]),
        net: None,
        read: Some(vec![]),
        write: Some(vec![]),
        sys: Some(vec![]),
    };
    let Some(node) = task.get("permissions") else { return permissions };
    let Some(fields) = Fields::open(node, "permissions", &KEYS, report) else { return permissions };
    if fields.get("run").is_some_and(|node| node.list().is_none_or(|list| !list.is_empty())) {
        fields.wrong("run", "is not possible: a task starts no other programs", report);
    }
    for node in list(&fields, "env", report) {
        permissions.env.get_or_insert_default().extend(variable(&fields, node, report));
    }
    for node in list(&fields, "fs", report) {
        path(node, dir, &mut permissions, report);
    }
    permissions.net = fields.texts("net", report).filter(|hosts| !hosts.iter().any(|host| host == "*"));
    permissions.sys = match fields.texts("sys", report) {
        Some(kinds) if kinds.iter().any(|kind| kind == "*") => None,
        kinds => Some(kinds.unwrap_or_default()),
    };
    permissions
}

fn list<'n>(fields: &Fields<'n>, key: &str, report: &mut Report) -> &'n [Node] {
    match fields.get(key).map(|node| &node.kind) {
        None => &[],
        Some(Kind::List(list)) => list,
        Some(_) => {
            fields.wrong(key, "must be a list", report);
            &[]
        }
    }
}

/// The name of a variable that the task sees; its value is the policy's.
fn variable(fields: &Fields<'_>, node: &Node, report: &mut Report) -> Option<String> {
    let path = fields.path_of("env");
    let Some(name) = cascade::name(node).and_then(webhook::variable) else {
        report.wrong(&node.place, &path, "has an entry that is neither NAME nor {name: NAME}");
        return None;
    };
    let own = node.map().and_then(|_| Fields::open(node, format!("{path}.{name}"), &ENV_KEYS, report));
    let is_literal = node.text().is_some_and(|text| text.contains('=')) || node.get("value").is_some();
    if is_literal {
        let fix = "has a value, which is not possible here: set it in \"switchyard.env\" of deno.json";
        report.wrong(&node.place, &format!("{path}.{name}"), fix);
        return None;
    }
    if let Some(own) = own {
        for key in
            ["from", "secret"].into_iter().filter(|key| own.get(key).and_then(Node::text) != Some(name))
        {
            if own.has(key) {
                own.remark(
                    key,
                    format!("has no effect: the policy grants the project {name}, by that name"),
                    report,
                );
            }
        }
        if own.has("if_missing") {
            own.remark(
                "if_missing",
                "has no effect: no task is started for a variable that is missing",
                report,
            );
        }
    }
    Some(name.to_owned())
}

fn path(node: &Node, dir: &str, permissions: &mut TaskPermissions, report: &mut Report) {
    let Some(own) = Fields::open(node, "permissions.fs", &FS_KEYS, report) else { return };
    let access = own.choice("permission", &ACCESS, report);
    let (Some(path), Some(access)) = (own.text("path", report), access) else {
        if !own.has("path") || !own.has("permission") {
            own.wrong("path", "needs \"path\" and \"permission\" (r, w or rw)", report);
        }
        return;
    };
    if path.starts_with("${DATADIR}") {
        return own.remark("path", "is the task's own folder, DATA_DIR, without being named", report);
    }
    if path.starts_with('/') {
        for (list, is_wanted) in
            [(&mut permissions.read, access.reads), (&mut permissions.write, access.writes)]
        {
            list.get_or_insert_default().extend(is_wanted.then(|| path.to_owned()));
        }
        return;
    }
    let below = path.strip_prefix("${TASK_DIR}").or_else(|| path.strip_prefix("${TASK_SET_DIR}"));
    let relative = below.unwrap_or(path).trim_start_matches('/');
    match join(dir, relative) {
        None if relative.is_empty() => {}
        None => own.remark("path", "is outside of the project: the task cannot reach it", report),
        Some(_) if access.writes => {
            own.remark("path", "is in the project, which a task cannot change: write to DATA_DIR", report);
        }
        Some(_) => {}
    }
}
