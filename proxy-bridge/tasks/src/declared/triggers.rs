//! Triggers in deno.json's spelling.

use switchyard_contract::task::{
    CatchUp, ChainOutcome, CronTrigger, Overlap, Restart, TaskName, TaskTrigger,
};

use super::{Fields, Kind, Node, Placed, Report, TimeBounds, cron, webhook};

/// The keys of a task or pipeline that say what starts it.
pub(super) const KEYS: [&str; 8] =
    ["cron", "zone", "catchUp", "jitter", "webhook", "after", "file", "overlap"];

/// The keys of `daemon` and `after`, where they are objects.
pub(super) const DAEMON_KEYS: [&str; 1] = ["restart"];
pub(super) const AFTER_KEYS: [&str; 2] = ["task", "on"];

pub(super) const OVERLAPS: [(&str, Overlap); 4] = [
    ("skip", Overlap::Skip),
    ("queue", Overlap::Queue),
    ("replace", Overlap::Replace),
    ("allow", Overlap::Allow),
];
pub(super) const CATCH_UPS: [(&str, CatchUp); 3] =
    [("none", CatchUp::None), ("one", CatchUp::One), ("all", CatchUp::All)];
pub(super) const RESTARTS: [(&str, Restart); 3] =
    [("always", Restart::Always), ("on-failure", Restart::OnFailure), ("never", Restart::Never)];
pub(super) const OUTCOMES: [(&str, ChainOutcome); 3] = [
    ("success", ChainOutcome::Success),
    ("failure", ChainOutcome::Failure),
    ("always", ChainOutcome::Always),
];

const JITTER: TimeBounds = TimeBounds { least: 0, most: 86_400_000 };

/// Chains that lead to one task.
const MAX_CHAINS: usize = 100;

/// The triggers, each with its place.
pub(super) fn read(fields: &Fields<'_>, report: &mut Report) -> Vec<Placed<TaskTrigger>> {
    let mut found = Vec::new();
    let mut add =
        |key: &str, trigger| found.push(Placed { value: trigger, place: fields.place_of(key).clone() });
    if let Some(schedule) = schedule(fields, report) {
        add("cron", TaskTrigger::Cron(schedule));
    }
    if let Some(webhook) = webhook::read(fields, report) {
        add("webhook", TaskTrigger::Webhook(webhook));
    }
    if let Some(restart) = daemon(fields, report) {
        add("daemon", TaskTrigger::Daemon { restart });
        for other in ["cron", "webhook", "after", "file"].into_iter().filter(|other| fields.has(other)) {
            fields.wrong(other, "contradicts \"daemon\": a daemon runs all the time", report);
        }
    }
    for (after, on) in chains(fields, report) {
        add("after", TaskTrigger::Chain { after, on });
    }
    if let Some(pattern) = file(fields, report) {
        add("file", TaskTrigger::File { pattern });
    }
    found
}

fn schedule(fields: &Fields<'_>, report: &mut Report) -> Option<CronTrigger> {
    if !fields.has("cron") {
        for key in ["zone", "catchUp", "jitter"].into_iter().filter(|key| fields.has(key)) {
            fields.wrong(key, "has no effect without \"cron\"", report);
        }
        return None;
    }
    let plain = cron::plain();
    let rules = CronTrigger {
        zone: cron::zone(fields, report).unwrap_or_else(|| plain.zone.clone()),
        catch_up: fields.choice("catchUp", &CATCH_UPS, report).unwrap_or_default(),
        jitter_ms: fields.time("jitter", JITTER, report).unwrap_or_default(),
        ..plain
    };
    cron::read(fields, "cron", &rules, report)
}

/// Reads `daemon`: `true`, or an object.
fn daemon(fields: &Fields<'_>, report: &mut Report) -> Option<Restart> {
    let node = fields.get("daemon")?;
    match &node.kind {
        Kind::Bool(flag) => flag.then(Restart::default),
        Kind::Map(_) => {
            let own = Fields::open(node, fields.path_of("daemon"), &DAEMON_KEYS, report)?;
            Some(own.choice("restart", &RESTARTS, report).unwrap_or_default())
        }
        _ => {
            fields.wrong("daemon", "must be true, or {\"restart\": \"on-failure\"}", report);
            None
        }
    }
}

/// Reads `after`: a task, an object, or a list of either.
fn chains(fields: &Fields<'_>, report: &mut Report) -> Vec<(TaskName, ChainOutcome)> {
    let Some(node) = fields.get("after") else { return Vec::new() };
    let list = match &node.kind {
        Kind::List(list) => list.iter().collect(),
        _ => vec![node],
    };
    if list.len() > MAX_CHAINS {
        fields.wrong("after", format!("has {} tasks: at most {MAX_CHAINS} are possible", list.len()), report);
        return Vec::new();
    }
    list.into_iter().filter_map(|node| chain(fields, node, report)).collect()
}

fn chain(fields: &Fields<'_>, node: &Node, report: &mut Report) -> Option<(TaskName, ChainOutcome)> {
    let path = fields.path_of("after");
    let (text, on) = match &node.kind {
        Kind::Text(text) => (text.as_str(), ChainOutcome::default()),
        Kind::Map(_) => {
            let own = Fields::open(node, path.as_str(), &AFTER_KEYS, report)?;
            let on = own.choice("on", &OUTCOMES, report).unwrap_or_default();
            let Some(text) = own.text("task", report) else {
                own.wrong("task", "is missing: the task whose end starts this one", report);
                return None;
            };
            (text, on)
        }
        _ => {
            report.wrong(
                &node.place,
                &path,
                "must be a task's name, or {\"task\": NAME, \"on\": \"failure\"}",
            );
            return None;
        }
    };
    match TaskName::parse(text) {
        Ok(name) => Some((name, on)),
        Err(error) => {
            report.wrong(&node.place, &path, error.to_string());
            None
        }
    }
}

/// Reads `file`: a pattern below `DATA_DIR`.
fn file(fields: &Fields<'_>, report: &mut Report) -> Option<String> {
    let text = fields.text("file", report)?;
    let pattern = super::join("", text).filter(|pattern| {
        let (folder, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
        !folder.contains('*') && name.matches('*').count() == 1
    });
    if pattern.is_none() {
        let fix = "must be a path below DATA_DIR with one * in its last part, as in \"pending/*.json\"";
        fields.wrong("file", fix, report);
    }
    pattern
}
