//! The trigger of a `task.yaml`: one of each task.

use switchyard_contract::task::{TaskName, TaskTrigger, WebhookSignature, WebhookTrigger};

use super::super::{Fields, Node, Placed, Report, cron, triggers, webhook};

const KEYS: [&str; 8] = ["cron", "webhook", "webhook_secret", "auth", "manual", "chain", "daemon", "restart"];
const CHAIN_KEYS: [&str; 2] = ["from", "on"];

/// The kinds of triggers, and what counts as set.
const KINDS: [&str; 5] = ["cron", "webhook", "manual", "chain", "daemon"];

/// Reads `trigger`. `None`: by hand only, or wrong.
pub(super) fn read(task: &Fields<'_>, report: &mut Report) -> Option<Placed<TaskTrigger>> {
    let Some(node) = task.get("trigger") else {
        task.wrong("trigger", format!("is missing: one of {} (manual: true)", KINDS.join(", ")), report);
        return None;
    };
    let fields = Fields::open(node, "trigger", &KEYS, report)?;
    let set: Vec<_> = KINDS.into_iter().filter(|kind| is_set(&fields, kind)).collect();
    if set.len() != 1 {
        let fix = match set.as_slice() {
            [] => format!("has none of {}", KINDS.join(", ")),
            several => format!("has {}: a task has one trigger", several.join(" and ")),
        };
        task.wrong("trigger", fix, report);
        // The faults of each of them count all the same.
        for kind in set {
            trigger(&fields, kind, report);
        }
        return None;
    }
    let kind = set[0];
    for (key, of) in [("webhook_secret", "webhook"), ("auth", "webhook"), ("restart", "daemon")] {
        if fields.has(key) && kind != of {
            fields.wrong(key, format!("has no effect without \"{of}\""), report);
        }
    }
    let value = trigger(&fields, kind, report)?;
    Some(Placed { value, place: fields.place_of(kind).clone() })
}

/// Reads the trigger of one kind. `None`: it is by hand, or wrong.
fn trigger(fields: &Fields<'_>, kind: &str, report: &mut Report) -> Option<TaskTrigger> {
    match kind {
        "cron" => cron::read(fields, "cron", &cron::plain(), report).map(TaskTrigger::Cron),
        "webhook" => web(fields, report).map(TaskTrigger::Webhook),
        "chain" => chain(fields, report),
        "daemon" => {
            let restart = fields.choice("restart", &triggers::RESTARTS, report).unwrap_or_default();
            Some(TaskTrigger::Daemon { restart })
        }
        _ => None,
    }
}

/// `manual: false` is as good as nothing, and so is an empty text.
fn is_set(fields: &Fields<'_>, kind: &str) -> bool {
    fields.get(kind).is_some_and(|node| node.flag() != Some(false) && node.text() != Some(""))
}

fn web(fields: &Fields<'_>, report: &mut Report) -> Option<WebhookTrigger> {
    let text = fields.text("webhook", report)?;
    let path = webhook::read_path(fields, "webhook", text, report)?;
    let auth = fields.flag("auth", report).unwrap_or_default();
    let mut signature = None;
    if fields.has("webhook_secret") {
        let text = fields.text("webhook_secret", report)?;
        let Some(secret) = variable(text) else {
            let fix =
                "must name a variable, as in \"${WEBHOOK_SECRET}\": a secret does not belong into a file";
            fields.wrong("webhook_secret", fix, report);
            return None;
        };
        signature =
            Some(WebhookSignature { kind: webhook::DEFAULT_SENDER.to_owned(), secret: secret.to_owned() });
    }
    if auth && signature.is_none() {
        let fix = "asks for a session of dicode's page, which Switchyard does not have: the webhook is left out; set \
                   webhook_secret, or start the task by hand";
        fields.remark("auth", fix, report);
        return None;
    }
    Some(WebhookTrigger { path, signature, open: false, sync: true, get: false })
}

/// The name in `${NAME}`.
fn variable(text: &str) -> Option<&str> {
    webhook::variable(text.strip_prefix("${")?.strip_suffix('}')?)
}

fn chain(fields: &Fields<'_>, report: &mut Report) -> Option<TaskTrigger> {
    let own = Fields::open(fields.get("chain")?, "trigger.chain", &CHAIN_KEYS, report)?;
    let on = own.choice("on", &triggers::OUTCOMES, report).unwrap_or_default();
    if !own.has("from") {
        own.wrong("from", "is missing: the task whose end starts this one", report);
    }
    match TaskName::parse(own.text("from", report)?) {
        Ok(after) => Some(TaskTrigger::Chain { after, on }),
        Err(error) => {
            own.wrong("from", format!("is an {error}"), report);
            None
        }
    }
}

/// Reads `on_failure_chain`: the task that a failure starts.
pub(super) fn on_failure(task: &Fields<'_>, report: &mut Report) -> Option<Placed<TaskName>> {
    const KEY: &str = "on_failure_chain";
    let node = task.get(KEY)?;
    let text = match node.text() {
        Some(text) => text,
        None => {
            let own = Fields::open(node, KEY, &["task", "params"], report)?;
            if own.get("params").and_then(Node::map).is_some_and(|params| !params.is_empty()) {
                let fix = "is not possible: the task gets the failed run as its input";
                own.wrong("params", fix, report);
            }
            own.text("task", report)?
        }
    };
    match TaskName::parse(text) {
        Ok(value) => Some(Placed { value, place: task.place_of(KEY).clone() }),
        Err(error) => {
            task.wrong(KEY, error.to_string(), report);
            None
        }
    }
}
