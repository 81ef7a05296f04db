//! One task in deno.json's spelling.

use switchyard_contract::task::{Consistency, Overlap, Retry, TaskCode, TaskName, TaskSpec};

use super::{
    Fields, Folder, Found, Node, Pair, Report, Spelling, TimeBounds, join, params, permissions, triggers,
};

/// The keys of a task besides those of its triggers.
pub(super) const KEYS: [&str; 10] = [
    "entry",
    "daemon",
    "timeout",
    "retry",
    "params",
    "permissions",
    "version",
    "enabled",
    "keepInputs",
    "description",
];

pub(super) const RETRY_KEYS: [&str; 2] = ["attempts", "backoff"];

pub(super) const CONSISTENCIES: [(&str, Consistency); 3] =
    [("run", Consistency::Run), ("step", Consistency::Step), ("commit", Consistency::Commit)];

/// The bounds of a run's time: the policy's own limit is lower.
pub(super) const TIMEOUT: TimeBounds = TimeBounds { least: 1, most: 7 * 86_400_000 };
const BACKOFF: TimeBounds = TimeBounds { least: 0, most: 3_600_000 };
const MAX_ATTEMPTS: u32 = 20;

/// The endings of modules.
pub(super) const EXTENSIONS: [&str; 8] = ["ts", "mts", "cts", "tsx", "js", "mjs", "cjs", "jsx"];

/// Reads a task of `switchyard.tasks`. `sets` is deno.json's `permissions`.
pub(super) fn read(
    pair: &Pair,
    folder: &Folder,
    sets: Option<&Node>,
    report: &mut Report,
) -> Option<Found<TaskSpec>> {
    let path = format!("switchyard.tasks.{}", pair.key);
    let name = name(pair, &path, report);
    if pair.value.get("chain").is_some() {
        report.wrong(&pair.value.place, &format!("{path}.chain"), "is written \"after\": \"NAME\"");
    }
    let known: Vec<_> = KEYS.iter().chain(&triggers::KEYS).copied().collect();
    let fields = Fields::open(&pair.value, path, &known, report)?;
    let code = entry(&fields, folder, report).map(|path| TaskCode::Module { path });
    let is_daemon = fields.get("daemon").is_some_and(|node| node.flag() != Some(false));
    if is_daemon && fields.has("timeout") {
        fields.wrong("timeout", "contradicts \"daemon\": a daemon has no limit", report);
    }
    let triggers = triggers::read(&fields, report);
    let spec = TaskSpec {
        description: fields.text("description", report).map(str::to_owned),
        declared_in: pair.place.file.to_string(),
        triggers: Vec::new(),
        timeout_ms: fields.time("timeout", TIMEOUT, report).filter(|_| !is_daemon),
        overlap: fields
            .choice("overlap", &triggers::OVERLAPS, report)
            .unwrap_or_else(|| Overlap::default_for(triggers.iter().map(|placed| &placed.value))),
        retry: retry(&fields, report),
        params: params::read(&fields, Spelling::Json, report),
        version: fields.choice("version", &CONSISTENCIES, report).unwrap_or_default(),
        permissions: permissions::read(&fields, sets, report),
        enabled: fields.flag("enabled", report).unwrap_or(true),
        keep_inputs: fields.flag("keepInputs", report).unwrap_or_default(),
        code: code?,
        name: name?,
    };
    Some(Found::new(spec, pair.place.clone(), triggers))
}

/// The name that a key gives to a task or pipeline.
pub(super) fn name(pair: &Pair, path: &str, report: &mut Report) -> Option<TaskName> {
    let name = TaskName::parse(&pair.key);
    if let Err(error) = &name {
        report.wrong(&pair.place, path, format!("has an {error}"));
    }
    name.ok()
}

/// Reads `retry`.
pub(super) fn retry(fields: &Fields<'_>, report: &mut Report) -> Retry {
    let plain = Retry::default();
    let Some(node) = fields.get("retry") else { return plain };
    let Some(own) = Fields::open(node, fields.path_of("retry"), &RETRY_KEYS, report) else { return plain };
    if !own.has("attempts") {
        own.wrong("attempts", "is missing: attempts in all, the first one included", report);
    }
    Retry {
        attempts: own.count("attempts", 1, MAX_ATTEMPTS, report).unwrap_or(plain.attempts),
        backoff_ms: own.time("backoff", BACKOFF, report).unwrap_or(plain.backoff_ms),
    }
}

fn entry(fields: &Fields<'_>, folder: &Folder, report: &mut Report) -> Option<String> {
    if !fields.has("entry") {
        fields.wrong("entry", "is missing: the task's module, as in \"./tasks/digest.ts\"", report);
        return None;
    }
    module(fields, "entry", folder, report)
}

/// The path of a module of the project that a field names.
pub(super) fn module(fields: &Fields<'_>, key: &str, folder: &Folder, report: &mut Report) -> Option<String> {
    let text = fields.text(key, report)?;
    let Some(path) = join("", text).filter(|_| !text.contains(':')) else {
        let fix = "must be the path of a file in the project, as in \"./tasks/digest.ts\"";
        fields.wrong(key, fix, report);
        return None;
    };
    let is_module = path.rsplit_once('.').is_some_and(|(_, end)| EXTENSIONS.contains(&end));
    if !is_module {
        fields.wrong(
            key,
            format!("must be a JavaScript or TypeScript file (.{})", EXTENSIONS.join(", .")),
            report,
        );
        return None;
    }
    if !folder.has(&path) {
        fields.wrong(key, format!("names {path}, which does not exist"), report);
        return None;
    }
    Some(path)
}
