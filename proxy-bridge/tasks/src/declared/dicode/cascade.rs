//! The cascade of overrides: a task, then its set's defaults, then what its entries say.

use super::super::{Fields, Kind, Node, Pair, Report};

/// The keys of a set's `defaults`.
pub(super) const DEFAULTS: [&str; 5] = ["timeout", "retry", "env", "trigger", "notify"];

/// The keys of an entry's `overrides`.
pub(super) const OVERRIDES: [&str; 14] = [
    "enabled",
    "name",
    "description",
    "trigger",
    "params",
    "env",
    "net",
    "timeout",
    "retry",
    "runtime",
    "notify",
    "dicode",
    "defaults",
    "entries",
];

/// The keys of a trigger of which a task has one; each in place of all others.
const TRIGGERS: [&str; 5] = ["cron", "webhook", "manual", "chain", "daemon"];

/// The keys that belong to a webhook, and go with it.
const OF_WEBHOOKS: [&str; 2] = ["webhook_secret", "auth"];

/// Checks the keys of overrides, and of those for entries below.
pub(super) fn check(node: &Node, path: &str, report: &mut Report) {
    let Some(fields) = Fields::open(node, path, &OVERRIDES, report) else { return };
    if fields.has("defaults") {
        fields.remark("defaults", "has no effect: write it in \"entries\", for each task", report);
    }
    let Some(entries) = fields.get("entries") else { return };
    let Some(entries) = Fields::any(entries, fields.path_of("entries"), report) else { return };
    for pair in entries.pairs() {
        check(&pair.value, &entries.path_of(&pair.key), report);
    }
}

/// Applies a layer to a task's fields.
pub(super) fn apply(task: &mut Node, layer: &Node) {
    for pair in layer.map().unwrap_or_default().iter().filter(|pair| pair.value.kind != Kind::Null) {
        match pair.key.as_str() {
            "name" | "description" | "timeout" | "retry" | "runtime" => task.put(pair.clone()),
            "trigger" => change(task, "trigger", pair, |node| trigger(node, &pair.value)),
            "params" => change(task, "params", pair, |node| params(node, &pair.value)),
            "notify" => change(task, "notify", pair, |node| merge(node, &pair.value)),
            "env" => change(task, "permissions", pair, |node| env(node, pair)),
            "net" => change(task, "permissions", pair, |node| node.put(pair.clone())),
            "dicode" => change(task, "permissions", pair, |node| {
                change(node, "dicode", pair, |node| merge(node, &pair.value));
            }),
            _ => {}
        }
    }
}

/// Changes the value at a key, which is an empty map if there was none.
fn change(node: &mut Node, key: &str, because: &Pair, by: impl FnOnce(&mut Node)) {
    let place = because.place.clone();
    let mut value = node.get(key).cloned().unwrap_or_else(|| Node::empty(place.clone()));
    by(&mut value);
    node.put(Pair { key: key.to_owned(), place, value });
}

fn merge(node: &mut Node, layer: &Node) {
    match layer.map() {
        Some(pairs) => pairs.iter().for_each(|pair| node.put(pair.clone())),
        // A wrong value is reported when the task is read.
        None => *node = layer.clone(),
    }
}

fn trigger(node: &mut Node, layer: &Node) {
    for pair in layer.map().unwrap_or_default() {
        if let Some(own) = TRIGGERS.iter().find(|key| **key == pair.key) {
            TRIGGERS.iter().filter(|key| *key != own).for_each(|key| node.remove(key));
            if *own != "webhook" {
                OF_WEBHOOKS.iter().for_each(|key| node.remove(key));
            }
        }
    }
    merge(node, layer);
}

/// Brings parameters into the form of a map, whatever theirs is.
fn params(node: &mut Node, layer: &Node) {
    as_map(node);
    let mut layer = layer.clone();
    as_map(&mut layer);
    for pair in layer.map().unwrap_or_default() {
        let new = if pair.value.is_scalar() { default(pair) } else { pair.value.clone() };
        match node.get(&pair.key) {
            Some(old) if old.map().is_some() => {
                let mut changed = old.clone();
                merge(&mut changed, &new);
                node.put(Pair { value: changed, ..pair.clone() });
            }
            _ => node.put(Pair { value: new, ..pair.clone() }),
        }
    }
}

/// The parameter of which only the default is written.
fn default(pair: &Pair) -> Node {
    let value = Pair { key: "default".to_owned(), ..pair.clone() };
    Node { kind: Kind::Map(vec![value]), place: pair.value.place.clone() }
}

fn as_map(node: &mut Node) {
    let Kind::List(list) = &node.kind else { return };
    let pairs = list.iter().filter_map(|param| {
        let key = param.get("name")?.text()?.to_owned();
        let mut value = param.clone();
        value.remove("name");
        Some(Pair { key, place: param.place.clone(), value })
    });
    node.kind = Kind::Map(pairs.collect());
}

/// Variables by name: those of the layer in place of the task's.
fn env(permissions: &mut Node, layer: &Pair) {
    let Some(new) = layer.value.list() else { return permissions.put(layer.clone()) };
    let mut all: Vec<Node> = permissions.get("env").and_then(Node::list).unwrap_or_default().to_vec();
    for node in new {
        match all.iter_mut().find(|old| name(old).is_some() && name(old) == name(node)) {
            Some(old) => *old = node.clone(),
            None => all.push(node.clone()),
        }
    }
    let value = Node { kind: Kind::List(all), place: layer.value.place.clone() };
    permissions.put(Pair { value, ..layer.clone() });
}

/// The name of a variable: `NAME`, `NAME=value` or `{name: NAME}`.
pub(super) fn name(node: &Node) -> Option<&str> {
    let text = node.text().or_else(|| node.get("name").and_then(Node::text))?;
    Some(text.split_once('=').map_or(text, |(name, _)| name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::yaml;
    use super::*;

    fn applied(task: &str, layers: &[&str]) -> serde_json::Value {
        let mut node = yaml::read("task.yaml", task).unwrap();
        for layer in layers {
            apply(&mut node, &yaml::read("taskset.yaml", layer).unwrap());
        }
        node.to_json()
    }

    #[test]
    fn later_layers_win_and_names_and_limits_are_replaced() {
        let task = "name: A\ntimeout: 10s\ndescription: old\n";
        let layers = ["timeout: 20s\nretry: {attempts: 2}", "timeout: 30s\nname: B", "description: new"];
        assert_eq!(
            applied(task, &layers),
            json!({"name": "B", "timeout": "30s", "description": "new", "retry": {"attempts": 2}})
        );
    }

    #[test]
    fn a_trigger_of_another_kind_replaces_all_others() {
        let webhook = "trigger: {webhook: /hooks/a, auth: true, webhook_secret: \"${X}\"}";
        for (task, layer, result) in [
            (webhook, "trigger: {cron: \"* * * * *\"}", json!({"cron": "* * * * *"})),
            (
                webhook,
                "trigger: {webhook: /hooks/b}",
                json!({"webhook": "/hooks/b", "auth": true, "webhook_secret": "${X}"}),
            ),
            (
                webhook,
                "trigger: {auth: false}",
                json!({"webhook": "/hooks/a", "auth": false, "webhook_secret": "${X}"}),
            ),
            (
                "trigger: {daemon: true}",
                "trigger: {restart: never}",
                json!({"daemon": true, "restart": "never"}),
            ),
            ("trigger: {manual: true}", "trigger: {chain: {from: x}}", json!({"chain": {"from": "x"}})),
            ("name: x", "trigger: {daemon: true}", json!({"daemon": true})),
        ] {
            assert_eq!(applied(task, &[layer])["trigger"], result, "{layer}");
        }
    }

    #[test]
    fn parameters_are_merged_by_name_in_either_form() {
        let task = "params: {a: {default: x, description: d}, b: y}";
        let layer = "params: {a: z, c: new}";
        assert_eq!(
            applied(task, &[layer])["params"],
            json!({"a": {"default": "z", "description": "d"}, "b": "y", "c": {"default": "new"}})
        );
        let task = "params: [{name: a, default: x}]";
        let layer = "params: [{name: a, default: z, required: true}]";
        assert_eq!(applied(task, &[layer])["params"], json!({"a": {"default": "z", "required": true}}));
    }

    #[test]
    fn variables_are_merged_by_name_and_hosts_are_replaced() {
        let task = "permissions: {env: [A, B], net: [old.example]}";
        let layer = "env: [\"C\", {name: A, secret: S}]\nnet: [new.example]";
        assert_eq!(
            applied(task, &[layer])["permissions"],
            json!({"env": [{"name": "A", "secret": "S"}, "B", "C"], "net": ["new.example"]})
        );
        assert_eq!(applied("name: x", &["env: [A]"])["permissions"], json!({"env": ["A"]}));
    }
}
