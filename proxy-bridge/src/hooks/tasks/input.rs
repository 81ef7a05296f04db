//! The parameters and the input of a run, out of a webhook's query and body.

use axum::body::Body;
use http::StatusCode;
use http::request::Parts;
use serde_json::{Map, Value};
use switchyard_contract::bounds::RUN_INPUT;
use switchyard_contract::task::{ParamKind, ParamSpec};
use switchyard_edge::api::query::QueryPairs;
use switchyard_edge::gate::media_type;
use switchyard_edge::problem::Problem;

use super::super::Pace;

/// The parameters and the input that a request gives a run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Read {
    /// The parameters: an object.
    pub(super) params: Value,
    pub(super) input: Value,
}

/// The kinds of bodies that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyKind {
    Json,
    Form,
    Text,
    /// The sender does not say.
    Any,
}

/// Reads the body of a request.
///
/// # Errors
/// 408 or 413 for a body beyond the limits; 400 if it breaks off.
pub(super) async fn body(mut body: Body) -> Result<Vec<u8>, Problem> {
    let (mut read, mut pace) = (Vec::new(), Pace::new());
    while let Some(part) = pace.next(&mut body).await? {
        if read.len() + part.len() > RUN_INPUT {
            let detail = format!("the body is larger than {RUN_INPUT} bytes");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail));
        }
        read.extend_from_slice(&part);
    }
    Ok(read)
}

/// Reads a request. Fields of the query, of a form and of a JSON object that are called like a
/// parameter set it; those of the body win. Without a body, the input is the fields of the query.
///
/// # Errors
/// 400 if the body is not what its content type says, and 415 for types that are not read.
pub(super) fn read(params: &[ParamSpec], parts: &Parts, body: &[u8]) -> Result<Read, Problem> {
    let query = fields(parts.uri.query());
    let input = if body.is_empty() {
        if query.is_empty() { Value::Null } else { Value::Object(query.clone()) }
    } else {
        document(body_kind(parts)?, body)?
    };
    let of_body = input.as_object().filter(|_| !body.is_empty());
    let mut given = Map::new();
    for param in params {
        let value = of_body.and_then(|fields| fields.get(&param.name)).or_else(|| query.get(&param.name));
        if let Some(value) = value {
            given.insert(param.name.clone(), converted(param.kind, value));
        }
    }
    Ok(Read { params: Value::Object(given), input })
}

fn body_kind(parts: &Parts) -> Result<BodyKind, Problem> {
    let Some(kind) = media_type(&parts.headers) else { return Ok(BodyKind::Any) };
    match kind.as_str() {
        "application/x-www-form-urlencoded" => Ok(BodyKind::Form),
        "application/json" => Ok(BodyKind::Json),
        json if json.starts_with("application/") && json.ends_with("+json") => Ok(BodyKind::Json),
        text if text.starts_with("text/") => Ok(BodyKind::Text),
        _ => {
            let detail = format!("the body is {kind}: send application/json, a form, or text");
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail))
        }
    }
}

fn document(kind: BodyKind, body: &[u8]) -> Result<Value, Problem> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Problem::bad_request("the body is not UTF-8: send application/json, a form, or text"))?;
    match kind {
        BodyKind::Json => serde_json::from_str(text)
            .map_err(|error| Problem::bad_request(format!("the body is not valid JSON: {error}"))),
        BodyKind::Form => Ok(form(text)),
        BodyKind::Text => Ok(Value::from(text)),
        BodyKind::Any => Ok(serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))),
    }
}

/// The fields of a form. One whose only field is `payload` is the document in it: forges send
/// those.
fn form(text: &str) -> Value {
    let fields = fields(Some(text));
    let payload = fields.get("payload").filter(|_| fields.len() == 1).and_then(Value::as_str);
    let payload = payload.and_then(|text| serde_json::from_str(text).ok()).filter(Value::is_object);
    payload.unwrap_or(Value::Object(fields))
}

/// The fields of a form or query. One that is repeated is a list.
fn fields(text: Option<&str>) -> Map<String, Value> {
    let mut fields = Map::new();
    for (name, value) in QueryPairs::parse(text) {
        match fields.get_mut(&name) {
            None => drop(fields.insert(name, Value::from(value))),
            Some(Value::Array(values)) => values.push(Value::from(value)),
            Some(first) => *first = Value::Array(vec![first.take(), Value::from(value)]),
        }
    }
    fields
}

/// Text as a value of a parameter's type. Text that is none stays as it is: the start of the run
/// refuses it, with the parameter's name.
fn converted(kind: ParamKind, value: &Value) -> Value {
    let Value::String(text) = value else { return value.clone() };
    let parsed = serde_json::from_str::<Value>(text.trim()).ok();
    let parsed = match kind {
        ParamKind::String => None,
        ParamKind::Number | ParamKind::Integer => parsed.filter(Value::is_number),
        ParamKind::Boolean => match text.as_str() {
            "on" | "1" => Some(Value::Bool(true)),
            "0" => Some(Value::Bool(false)),
            _ => parsed.filter(Value::is_boolean),
        },
        ParamKind::Json => parsed,
    };
    parsed.unwrap_or_else(|| value.clone())
}

#[cfg(test)]
mod tests {
    use http::Request;
    use serde_json::json;

    use super::*;

    fn param(name: &str, kind: ParamKind) -> ParamSpec {
        ParamSpec {
            name: name.to_owned(),
            kind,
            description: None,
            required: false,
            default: None,
            options: Vec::new(),
        }
    }

    fn given(query: &str, kind: Option<&str>, body: &str) -> Result<(Value, Value), StatusCode> {
        let params = [
            param("text", ParamKind::String),
            param("count", ParamKind::Integer),
            param("loud", ParamKind::Boolean),
            param("more", ParamKind::Json),
        ];
        let mut request = Request::builder().uri(format!("/hooks/x?{query}"));
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let read = read(&params, &parts, body.as_bytes()).map_err(|problem| problem.status)?;
        Ok((read.params, read.input))
    }

    #[test]
    fn fields_of_the_query_are_parameters_of_their_types() {
        let (params, input) = given("text=7&count=7&loud=on&more=%5B1%5D&other=x", None, "").unwrap();
        assert_eq!(params, json!({"text": "7", "count": 7, "loud": true, "more": [1]}));
        assert_eq!(input["other"], "x");
        let (params, _) = given("count=many&loud=maybe", None, "").unwrap();
        assert_eq!(params, json!({"count": "many", "loud": "maybe"}));
        assert_eq!(given("", None, "").unwrap(), (json!({}), Value::Null));
    }

    #[test]
    fn a_document_is_the_input_and_its_fields_win_over_the_query() {
        let json = Some("application/json; charset=utf-8");
        let (params, input) = given("text=a&count=1", json, r#"{"text": "b", "loud": false}"#).unwrap();
        assert_eq!(params, json!({"text": "b", "count": 1, "loud": false}));
        assert_eq!(input, json!({"text": "b", "loud": false}));
        assert_eq!(given("", Some("application/cloudevents+json"), "[1]").unwrap().1, json!([1]));
        assert_eq!(given("", None, "[1]").unwrap().1, json!([1]));
        assert_eq!(given("", None, "hello").unwrap().1, json!("hello"));
        assert_eq!(given("", Some("text/plain"), "[1]").unwrap().1, json!("[1]"));
    }

    #[test]
    fn a_form_is_its_fields_or_the_document_in_it() {
        let form = Some("application/x-www-form-urlencoded");
        let (params, input) = given("", form, "text=a+b&count=3&tag=x&tag=y&tag=z").unwrap();
        assert_eq!(params, json!({"text": "a b", "count": 3}));
        assert_eq!(input, json!({"text": "a b", "count": "3", "tag": ["x", "y", "z"]}));
        assert_eq!(given("", form, "payload=%7B%22ref%22%3A1%7D").unwrap().1, json!({"ref": 1}));
        assert_eq!(given("", form, "payload=text").unwrap().1, json!({"payload": "text"}));
    }

    #[test]
    fn a_body_that_is_not_what_it_says_is_refused() {
        assert_eq!(given("", Some("application/json"), "{"), Err(StatusCode::BAD_REQUEST));
        let deep = "[".repeat(100_000);
        assert_eq!(given("", Some("application/json"), &deep), Err(StatusCode::BAD_REQUEST));
        assert_eq!(given("", Some("image/png"), "x"), Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        let parts = Request::new(()).into_parts().0;
        assert_eq!(read(&[], &parts, b"\xff").unwrap_err().status, StatusCode::BAD_REQUEST);
    }
}
