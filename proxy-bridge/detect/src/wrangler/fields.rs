//! The fields of a configuration that decide how a Worker runs.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::document::{self, Document, strings};
use super::{ModuleKind, RateLimit, Rule, Worker, assets, bindings, pages};
use switchyard_contract::event::Diagnostic;

/// The values of `compatibility_flags` that make Node's modules available.
const NODE_FLAGS: [&str; 4] =
    ["nodejs_compat", "nodejs_compat_v2", "nodejs_als", "experimental:nodejs_compat_v2"];

/// A configuration, and the environment that is selected.
struct Section<'a> {
    document: &'a Document<'a>,
    /// `env.production`, if one was chosen.
    environment: Option<String>,
}

impl Section<'_> {
    /// Returns the path of a field that environments inherit from the top level.
    fn inherited(&self, name: &str) -> String {
        let own = self.environment.as_ref().map(|environment| format!("{environment}.{name}"));
        own.filter(|path| self.document.get(path).is_some()).unwrap_or_else(|| name.to_owned())
    }

    /// Returns the path of a field that environments do not inherit.
    fn own(&self, name: &str) -> String {
        match &self.environment {
            Some(environment) => format!("{environment}.{name}"),
            None => name.to_owned(),
        }
    }
}

pub(super) fn worker(
    document: &Document<'_>,
    dir: &Path,
    environment: Option<&str>,
) -> Result<Worker, Diagnostic> {
    let section =
        Section { document, environment: environment.map(|name| find(document, name)).transpose()? };
    bindings::check(document, |name| section.own(name))?;
    let base = document.file.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    let flags = document.read(&section.inherited("compatibility_flags"), LIST, strings)?.unwrap_or_default();
    let mut worker = Worker {
        file: document.file.to_owned(),
        main: main(&section, &base)?,
        build: document.text(&section.inherited("build.command"))?,
        node_compat: flags.iter().any(|flag| NODE_FLAGS.contains(&flag.as_str()))
            || document.get("node_compat").and_then(Value::as_bool) == Some(true),
        vars: document.read(&section.own("vars"), TABLE, object)?.unwrap_or_default(),
        secrets: document.read(&section.own("secrets.required"), LIST, strings)?.unwrap_or_default(),
        define: document.read(&section.own("define"), EXPRESSIONS, texts)?.unwrap_or_default(),
        alias: document.read("alias", TEXTS, texts)?.unwrap_or_default(),
        rules: rules(&section)?,
        assets: assets::read(document, &section.inherited("assets"), &base, &flags)?,
        crons: document.read(&section.inherited("triggers.crons"), CRONS, crons)?.unwrap_or_default(),
        version_metadata: document.text(&section.own("version_metadata.binding"))?,
        rate_limits: rate_limits(&section)?,
        base,
    };
    pages::fill(&mut worker, document, dir)?;
    Ok(worker)
}

const LIST: &str = "must be a list of strings";
const TABLE: &str = "must be a table of variables, with values in at most 32 levels";

const CRONS: &str = "must be a list of at most 250 strings of 256 bytes";

/// The most schedules: as many as Cloudflare accepts for an account. They are part of a project's
/// status.
const MAX_CRONS: usize = 250;

/// Bytes of one schedule.
const MAX_CRON: usize = 256;

/// The depth of tables and lists in the value of a variable: its readers recurse.
const MAX_LEVELS: usize = 32;
const TEXTS: &str = "must be a table of strings";
const EXPRESSIONS: &str = "must be a table of JavaScript expressions as strings";

fn find(document: &Document<'_>, name: &str) -> Result<String, Diagnostic> {
    let environments = document.get("env").and_then(Value::as_object);
    if environments.is_some_and(|known| known.get(name).is_some_and(Value::is_object)) && !name.contains('.')
    {
        return Ok(format!("env.{name}"));
    }
    let known: Vec<_> = environments.into_iter().flat_map(|known| known.keys()).map(String::as_str).collect();
    let there_are =
        if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
    let fix = format!("has no environment {name:?}, which \"switchyard.environment\" names; {there_are}");
    Err(document.wrong("env", &fix))
}

fn main(section: &Section<'_>, base: &str) -> Result<Option<String>, Diagnostic> {
    let path = section.inherited("main");
    let Some(main) = section.document.text(&path)? else { return Ok(None) };
    let inside = document::join(base, &main).filter(|main| !main.is_empty());
    inside.map(Some).ok_or_else(|| section.document.wrong(&path, "must be a file inside the project"))
}

fn rules(section: &Section<'_>) -> Result<Vec<Rule>, Diagnostic> {
    let path = section.inherited("rules");
    let fix =
        "must be a list of {type, globs}, with a type of ESModule, CommonJS, Text, Data or CompiledWasm";
    let rules = section.document.read(&path, fix, |value| value.as_array()?.iter().map(rule).collect())?;
    Ok(rules.unwrap_or_default())
}

fn rule(value: &Value) -> Option<Rule> {
    let kind = match value.get("type")?.as_str()? {
        "Text" => ModuleKind::Text,
        "Data" => ModuleKind::Data,
        "CompiledWasm" => ModuleKind::CompiledWasm,
        "ESModule" | "CommonJS" => ModuleKind::Code,
        _ => return None,
    };
    let fallthrough = value.get("fallthrough").map_or(Some(false), Value::as_bool)?;
    Some(Rule { kind, globs: strings(value.get("globs")?)?, fallthrough })
}

fn rate_limits(section: &Section<'_>) -> Result<Vec<RateLimit>, Diagnostic> {
    let fix = "must be a list of {name, namespace_id, simple: {limit, period}}";
    let limits = |value: &Value| value.as_array()?.iter().map(rate_limit).collect();
    let mut all: Vec<_> = section.document.read(&section.own("ratelimits"), fix, limits)?.unwrap_or_default();
    // The older syntax. Everything else has been refused.
    let older = |value: &Value| value.as_array()?.iter().map(rate_limit).collect();
    all.extend(
        section.document.read::<Vec<_>>(&section.own("unsafe.bindings"), fix, older)?.unwrap_or_default(),
    );
    Ok(all)
}

fn rate_limit(value: &Value) -> Option<RateLimit> {
    let simple = value.get("simple")?;
    let number = |name: &str| simple.get(name)?.as_u64().filter(|number| *number > 0);
    let name = value.get("name")?.as_str()?.to_owned();
    Some(RateLimit { name, limit: number("limit")?, period: number("period")? })
}

fn crons(value: &Value) -> Option<Vec<String>> {
    let crons = strings(value)?;
    (crons.len() <= MAX_CRONS && crons.iter().all(|cron| cron.len() <= MAX_CRON)).then_some(crons)
}

fn object(value: &Value) -> Option<BTreeMap<String, Value>> {
    let variables = value.as_object()?.iter();
    variables.map(|(name, value)| is_flat(value, MAX_LEVELS).then(|| (name.clone(), value.clone()))).collect()
}

/// Returns true if a value has at most this many levels.
fn is_flat(value: &Value, levels: usize) -> bool {
    let below = |value: &Value| is_flat(value, levels - 1);
    match value {
        Value::Array(values) => levels > 0 && values.iter().all(below),
        Value::Object(values) => levels > 0 && values.values().all(below),
        _ => true,
    }
}

fn texts(value: &Value) -> Option<BTreeMap<String, String>> {
    value.as_object()?.iter().map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned()))).collect()
}
