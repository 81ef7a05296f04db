//! Parameters: a map or a list of them, in both spellings.

use serde_json::{Number, Value};
use switchyard_contract::task::{ParamKind, ParamSpec};

use super::{Fields, Kind, Node, Report};

/// The keys of a parameter, besides `name` where they are a list.
pub(super) const KEYS: [&str; 5] = ["type", "description", "required", "default", "options"];

/// The words of `type`.
pub(super) const TYPES: [(&str, ParamKind); 5] = [
    ("string", ParamKind::String),
    ("number", ParamKind::Number),
    ("integer", ParamKind::Integer),
    ("boolean", ParamKind::Boolean),
    ("json", ParamKind::Json),
];

/// Parameters of a task.
const MAX_PARAMS: usize = 100;

/// The longest name, in bytes.
const MAX_NAME: usize = 100;

/// The meaning of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// A value has the type that it is written in.
    Json,
    /// All defaults are text, and read as their type: dicode's.
    Text,
}

/// Reads `params` of a task.
pub(super) fn read(fields: &Fields<'_>, spelling: Spelling, report: &mut Report) -> Vec<ParamSpec> {
    let Some(node) = fields.get("params") else { return Vec::new() };
    let path = fields.path_of("params");
    let named: Vec<(String, &Node)> = match &node.kind {
        Kind::Map(pairs) => pairs.iter().map(|pair| (pair.key.clone(), &pair.value)).collect(),
        Kind::List(nodes) => {
            let named = nodes.iter().filter_map(|node| {
                let name = node.get("name").and_then(Node::text);
                if name.is_none() {
                    report.wrong(&node.place, &path, "has an entry without \"name\"");
                }
                Some((name?.to_owned(), node))
            });
            named.collect()
        }
        _ => {
            report.wrong(&node.place, &path, "must be an object of names and parameters, or a list");
            return Vec::new();
        }
    };
    if named.len() > MAX_PARAMS {
        fields.wrong(
            "params",
            format!("has {} parameters: at most {MAX_PARAMS} are possible", named.len()),
            report,
        );
        return Vec::new();
    }
    let mut params = Vec::<ParamSpec>::new();
    for (name, node) in named {
        let path = format!("{path}.{name}");
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            report.wrong(&node.place, &path, "needs a name of at most 100 letters");
        } else if params.iter().any(|param| param.name == name) {
            report.wrong(&node.place, &path, "occurs twice: keep one of them");
        } else {
            params.extend(one(name, node, path, spelling, report));
        }
    }
    params
}

fn one(
    name: String,
    node: &Node,
    path: String,
    spelling: Spelling,
    report: &mut Report,
) -> Option<ParamSpec> {
    let mut param = ParamSpec {
        name,
        kind: ParamKind::String,
        description: None,
        required: false,
        default: None,
        options: Vec::new(),
    };
    if node.is_scalar() {
        param.kind = kind_of(node, spelling);
        param.default = value(node, param.kind, spelling);
        return Some(param);
    }
    let mut known = KEYS.to_vec();
    known.push("name");
    let fields = Fields::open(node, path, &known, report)?;
    let words: Vec<_> = TYPES.iter().copied().chain(extra_type(spelling)).collect();
    let stated = fields.choice("type", &words, report);
    let inferred = || fields.get("default").map(|node| kind_of(node, spelling));
    param.kind = stated.or_else(inferred).unwrap_or_default();
    param.description = fields.get("description").and_then(Node::text).map(str::to_owned);
    param.required = fields.flag("required", report).unwrap_or_default();
    let unfit = |what: &str| format!("{what} of the parameter's type, {}", word(param.kind));
    if let Some(node) = fields.get("default") {
        param.default = value(node, param.kind, spelling);
        // An empty text stands for no default of any type in dicode.
        let is_empty = spelling == Spelling::Text && node.text() == Some("");
        if param.default.is_none() && !is_empty {
            fields.wrong("default", unfit("must be"), report);
        }
    }
    if let Some(node) = fields.get("options") {
        let options = node.list().and_then(|list| {
            list.iter().map(|node| value(node, param.kind, spelling)).collect::<Option<Vec<_>>>()
        });
        match options {
            Some(options) => param.options = options,
            None => fields.wrong("options", unfit("must be a list of values"), report),
        }
    }
    if let Some(default) = &param.default
        && !param.options.is_empty()
        && !param.options.contains(default)
    {
        fields.wrong("default", "must be one of \"options\"", report);
    }
    Some(param)
}

/// dicode's page shows such a field for cron expressions.
fn extra_type(spelling: Spelling) -> Option<(&'static str, ParamKind)> {
    (spelling == Spelling::Text).then_some(("cron", ParamKind::String))
}

fn kind_of(node: &Node, spelling: Spelling) -> ParamKind {
    match &node.kind {
        _ if spelling == Spelling::Text => ParamKind::String,
        Kind::Bool(_) => ParamKind::Boolean,
        Kind::Number(_) => ParamKind::Number,
        Kind::Text(_) | Kind::Null => ParamKind::String,
        Kind::List(_) | Kind::Map(_) => ParamKind::Json,
    }
}

fn word(kind: ParamKind) -> &'static str {
    TYPES.iter().find(|(_, known)| *known == kind).map_or("string", |(word, _)| word)
}

/// The value as the parameter's type, if it is one.
fn value(node: &Node, kind: ParamKind, spelling: Spelling) -> Option<Value> {
    if spelling == Spelling::Json {
        let json = node.to_json();
        return fits(kind, &json).then_some(json);
    }
    let text = match &node.kind {
        Kind::Text(text) => text.clone(),
        Kind::List(_) | Kind::Map(_) if kind != ParamKind::Json => return None,
        Kind::Null => String::new(),
        _ => node.to_json().to_string(),
    };
    from_text(kind, &text)
}

/// Reads a value of this type from text: what a form, a query or a command line has.
pub(super) fn from_text(kind: ParamKind, text: &str) -> Option<Value> {
    let trimmed = text.trim();
    match kind {
        ParamKind::String => Some(Value::String(text.to_owned())),
        ParamKind::Boolean => trimmed.parse().ok().map(Value::Bool),
        ParamKind::Json => serde_json::from_str(trimmed).ok(),
        ParamKind::Number | ParamKind::Integer => {
            let number = trimmed.parse::<Number>().ok().map(Value::Number);
            number.filter(|number| fits(kind, number))
        }
    }
}

/// Returns true for a value of this type.
pub(super) fn fits(kind: ParamKind, value: &Value) -> bool {
    match kind {
        ParamKind::String => value.is_string(),
        ParamKind::Number => value.is_number(),
        ParamKind::Integer => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        ParamKind::Boolean => value.is_boolean(),
        ParamKind::Json => true,
    }
}
