//! The parameters of a run, completed and checked by the specification of the version that runs.

use serde_json::{Map, Number, Value};
use switchyard_contract::suggest::did_you_mean;
use switchyard_contract::task::{ParamKind, ParamSpec};

/// Parameters that a task does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidParams {
    #[error("the parameters are no object: send {{\"name\": value}}")]
    NoObject,
    #[error("the parameter {0:?} is missing: it is required")]
    Missing(String),
    #[error("unknown parameter {name:?}: expected {expected}")]
    Unknown { name: String, expected: String },
    #[error("invalid parameter {name:?}: expected {expected}")]
    Invalid { name: String, expected: String },
}

/// Returns the parameters with their defaults. Text is taken for a number or a switch where the task
/// wants one: it may come from a command line or a form. A task that declares none takes any.
///
/// # Errors
/// The first parameter that is wrong.
pub(super) fn complete(specs: &[ParamSpec], given: &Value) -> Result<Value, InvalidParams> {
    let mut given = match given {
        Value::Null => Map::new(),
        Value::Object(given) => given.clone(),
        _ => return Err(InvalidParams::NoObject),
    };
    if specs.is_empty() {
        return Ok(Value::Object(given));
    }
    let mut complete = Map::new();
    for spec in specs {
        match given.remove(&spec.name).filter(|value| !value.is_null()) {
            Some(value) => _ = complete.insert(spec.name.clone(), check(spec, value)?),
            None => match &spec.default {
                Some(default) => _ = complete.insert(spec.name.clone(), default.clone()),
                None if spec.required => return Err(InvalidParams::Missing(spec.name.clone())),
                None => {}
            },
        }
    }
    match given.into_iter().find(|(_, value)| !value.is_null()) {
        None => Ok(Value::Object(complete)),
        Some((name, _)) => {
            let known: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
            let expected = format!("{}{}", known.join(", "), did_you_mean(&name, &known));
            Err(InvalidParams::Unknown { name, expected })
        }
    }
}

fn check(spec: &ParamSpec, value: Value) -> Result<Value, InvalidParams> {
    let invalid = |expected: String| InvalidParams::Invalid { name: spec.name.clone(), expected };
    let value = read(spec.kind, value).ok_or_else(|| invalid(expected(spec.kind).to_owned()))?;
    if spec.options.is_empty() || spec.options.contains(&value) {
        return Ok(value);
    }
    let options: Vec<_> = spec.options.iter().map(ToString::to_string).collect();
    Err(invalid(format!("one of {}", options.join(", "))))
}

/// Reads a value as one of this kind. `None`: it is none.
fn read(kind: ParamKind, value: Value) -> Option<Value> {
    match (kind, value) {
        (ParamKind::Json, value)
        | (ParamKind::String, value @ Value::String(_))
        | (ParamKind::Boolean, value @ Value::Bool(_))
        | (ParamKind::Number, value @ Value::Number(_)) => Some(value),
        (ParamKind::Integer, Value::Number(number)) => whole(&number).then_some(Value::Number(number)),
        (ParamKind::Number | ParamKind::Integer, Value::String(text)) => {
            let number: Number = serde_json::from_str(text.trim()).ok()?;
            (kind == ParamKind::Number || whole(&number)).then_some(Value::Number(number))
        }
        (ParamKind::Boolean, Value::String(text)) => match text.trim() {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        _ => None,
    }
}

fn whole(number: &Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn expected(kind: ParamKind) -> &'static str {
    match kind {
        ParamKind::String => "text",
        ParamKind::Number => "a number",
        ParamKind::Integer => "a whole number",
        ParamKind::Boolean => "true or false",
        ParamKind::Json => "JSON",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(name: &str, kind: ParamKind) -> ParamSpec {
        ParamSpec {
            name: name.into(),
            kind,
            description: None,
            required: false,
            default: None,
            options: vec![],
        }
    }

    #[test]
    fn defaults_are_filled_in_and_text_is_read_as_the_kind_that_is_wanted() {
        let specs = [
            ParamSpec { default: Some(json!(10)), ..spec("count", ParamKind::Integer) },
            spec("dry", ParamKind::Boolean),
            spec("rate", ParamKind::Number),
            spec("note", ParamKind::String),
        ];
        assert_eq!(complete(&specs, &json!({})), Ok(json!({ "count": 10 })));
        let given = json!({ "count": "3", "dry": "true", "rate": "0.5", "note": null });
        assert_eq!(complete(&specs, &given), Ok(json!({ "count": 3, "dry": true, "rate": 0.5 })));
        assert_eq!(complete(&[], &json!({ "any": [1] })), Ok(json!({ "any": [1] })));
        assert_eq!(complete(&[], &Value::Null), Ok(json!({})));
    }

    #[test]
    fn a_wrong_parameter_is_named_with_what_is_expected() {
        let specs = [
            ParamSpec { required: true, ..spec("channel", ParamKind::String) },
            ParamSpec { options: vec![json!("a"), json!("b")], ..spec("mode", ParamKind::String) },
            spec("count", ParamKind::Integer),
        ];
        for (given, says) in [
            (json!([]), "no object"),
            (json!({}), "\"channel\" is missing"),
            (json!({ "channel": "x", "mode": "c" }), "one of \"a\", \"b\""),
            (json!({ "channel": "x", "count": 1.5 }), "\"count\": expected a whole number"),
            (json!({ "channel": "x", "cuont": 1 }), "did you mean \"count\"?"),
            (json!({ "channel": 1 }), "expected text"),
        ] {
            let error = complete(&specs, &given).unwrap_err().to_string();
            assert!(error.contains(says), "{given}: {error}");
        }
    }
}
