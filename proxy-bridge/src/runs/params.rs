//! The parameters of a run, checked against the task's specification. Pure.

use serde_json::{Map, Value};
use switchyard_contract::suggest::did_you_mean;
use switchyard_contract::task::{ParamKind, ParamSpec};

/// Returns the parameters with defaults for those that are not given. Text is read as a number or as
/// true or false where the parameter is one, since forms and command lines have nothing but text.
///
/// # Errors
/// All problems: unknown and missing parameters, and values that are none of theirs.
pub(super) fn complete(specs: &[ParamSpec], given: Value) -> Result<Value, Vec<String>> {
    let given = match given {
        Value::Null => Map::new(),
        Value::Object(given) => given,
        other => return Err(vec![format!("\"params\" must be an object, and is {}", kind_of(&other))]),
    };
    let mut problems: Vec<_> = given.keys().filter_map(|name| unknown(specs, name)).collect();
    let mut complete = Map::new();
    for spec in specs {
        match given.get(&spec.name).cloned().or_else(|| spec.default.clone()) {
            None | Some(Value::Null) if spec.required => {
                problems.push(format!("the parameter \"{}\" is required", spec.name));
            }
            None => {}
            Some(value) => match checked(spec, value) {
                Ok(value) => _ = complete.insert(spec.name.clone(), value),
                Err(problem) => problems.push(problem),
            },
        }
    }
    if problems.is_empty() { Ok(Value::Object(complete)) } else { Err(problems) }
}

/// Returns the fields of an input that are named as parameters.
pub(super) fn named_in(specs: &[ParamSpec], input: &Value) -> Value {
    let field = |spec: &ParamSpec| Some((spec.name.clone(), input.get(&spec.name)?.clone()));
    Value::Object(specs.iter().filter_map(field).collect())
}

fn unknown(specs: &[ParamSpec], name: &str) -> Option<String> {
    if specs.iter().any(|spec| spec.name == name) {
        return None;
    }
    let names: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let hint = did_you_mean(name, &names);
    Some(match specs {
        [] => format!("unknown parameter \"{name}\": the task takes none"),
        _ => format!("unknown parameter \"{name}\"{hint}"),
    })
}

fn checked(spec: &ParamSpec, value: Value) -> Result<Value, String> {
    if value.is_null() {
        return Ok(value);
    }
    let wrong = |value: &Value| {
        format!("the parameter \"{}\" must be {}, and is {}", spec.name, word(spec.kind), kind_of(value))
    };
    let value = read(spec.kind, value).map_err(|value| wrong(&value))?;
    if spec.options.is_empty() || spec.options.contains(&value) {
        return Ok(value);
    }
    let options: Vec<_> = spec.options.iter().map(ToString::to_string).collect();
    Err(format!("the parameter \"{}\" must be one of {}, and is {value}", spec.name, options.join(", ")))
}

/// Returns the value as one of this type, or the value itself if it is none.
fn read(kind: ParamKind, value: Value) -> Result<Value, Value> {
    let text = value.as_str().map(str::trim);
    let is_whole = |number: f64| number.is_finite() && number.fract() == 0.0;
    match kind {
        ParamKind::Json => Ok(value),
        ParamKind::String if value.is_string() => Ok(value),
        ParamKind::String if value.is_number() || value.is_boolean() => Ok(Value::String(value.to_string())),
        ParamKind::Boolean if value.is_boolean() => Ok(value),
        ParamKind::Boolean => match text {
            Some("true" | "on" | "1") => Ok(Value::Bool(true)),
            Some("false" | "off" | "0" | "") => Ok(Value::Bool(false)),
            _ => Err(value),
        },
        ParamKind::Number | ParamKind::Integer => {
            let number = match text {
                Some(text) => serde_json::from_str::<Value>(text).ok().filter(Value::is_number),
                None => Some(value.clone()).filter(Value::is_number),
            };
            let is_fit = |number: &Value| kind == ParamKind::Number || number.as_f64().is_some_and(is_whole);
            number.filter(is_fit).ok_or(value)
        }
        ParamKind::String => Err(value),
    }
}

fn word(kind: ParamKind) -> &'static str {
    match kind {
        ParamKind::String => "text",
        ParamKind::Number => "a number",
        ParamKind::Integer => "a whole number",
        ParamKind::Boolean => "true or false",
        ParamKind::Json => "JSON",
    }
}

fn kind_of(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        // The end of a long text says no more.
        Value::String(text) => format!("{:?}", text.chars().take(40).collect::<String>()),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn param(name: &str, kind: ParamKind) -> ParamSpec {
        let (description, default, options) = Default::default();
        ParamSpec { name: name.to_owned(), kind, description, required: false, default, options }
    }

    #[test]
    fn text_is_read_as_what_the_parameter_is() {
        let specs = [
            param("count", ParamKind::Integer),
            param("ratio", ParamKind::Number),
            param("deep", ParamKind::Boolean),
            param("name", ParamKind::String),
        ];
        let given = json!({"count": "3", "ratio": "0.5", "deep": "true", "name": 7});
        let expected = json!({"count": 3, "ratio": 0.5, "deep": true, "name": "7"});
        assert_eq!(complete(&specs, given).unwrap(), expected);
        assert_eq!(complete(&specs, Value::Null).unwrap(), json!({}));
    }

    #[test]
    fn all_problems_are_found_at_once() {
        let repo = ParamSpec { required: true, ..param("repo", ParamKind::String) };
        let level =
            ParamSpec { options: vec![json!("low"), json!("high")], ..param("level", ParamKind::String) };
        let specs = [repo, level, param("count", ParamKind::Integer)];
        let problems = complete(&specs, json!({"rpo": "x", "level": "mid", "count": 1.5})).unwrap_err();
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(
            problems[0].contains("unknown parameter \"rpo\"") && problems[0].contains("repo"),
            "{problems:?}"
        );
        assert!(problems.iter().any(|problem| problem.contains("\"repo\" is required")), "{problems:?}");
        assert!(problems.iter().any(|problem| problem.contains("one of \"low\", \"high\"")), "{problems:?}");
        assert!(
            problems.iter().any(|problem| problem.contains("a whole number, and is 1.5")),
            "{problems:?}"
        );
        assert!(complete(&[], json!([1])).unwrap_err()[0].contains("must be an object"));
    }

    #[test]
    fn defaults_stand_for_what_is_not_given() {
        let op = ParamSpec { default: Some(json!("upper")), ..param("op", ParamKind::String) };
        assert_eq!(complete(std::slice::from_ref(&op), json!({})).unwrap(), json!({"op": "upper"}));
        assert_eq!(complete(&[op], json!({"op": "lower"})).unwrap(), json!({"op": "lower"}));
    }
}
