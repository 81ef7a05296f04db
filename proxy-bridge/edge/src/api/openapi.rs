//! The OpenAPI document of an API, and its comparison with the endpoints.

use std::collections::BTreeSet;

use http::Method;
use serde_json::Value;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{AdditionalProperties, Object, ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder};

use super::endpoint::Endpoint;

/// The name of the schema of problem documents.
const PROBLEM: &str = "Problem";

/// The name of the security scheme.
const BEARER: &str = "bearer";

/// Completes a document that was derived from handlers: each operation may answer with a problem,
/// and all but `open` paths take a bearer token.
pub fn complete(mut openapi: OpenApi, open: &[&str]) -> OpenApi {
    let components = openapi.components.get_or_insert_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
    let bearer = bearer.description(Some("Needed if the listener was started with a file of tokens."));
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer.build()));
    components.schemas.insert(PROBLEM.to_owned(), problem_schema().into());
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(PROBLEM)));
    let problem = ResponseBuilder::new()
        .description("The request failed: the document says why, and how to fix it")
        .content("application/problem+json", content.build())
        .build();
    for (path, item) in &mut openapi.paths.paths {
        for (_, operation) in operations_mut(item) {
            operation.responses.responses.insert("default".to_owned(), RefOr::T(problem.clone()));
            if !open.contains(&path.as_str()) {
                let anonymous = SecurityRequirement::default();
                let token = SecurityRequirement::new(BEARER, [""; 0]);
                operation.security = Some(vec![token, anonymous]);
            }
        }
    }
    openapi
}

/// The schema of [`Problem`](crate::problem::Problem)'s document.
fn problem_schema() -> Object {
    let text = |description: &str| {
        ObjectBuilder::new().schema_type(Type::String).description(Some(description)).build()
    };
    let status = ObjectBuilder::new().schema_type(Type::Integer).description(Some("The HTTP status"));
    ObjectBuilder::new()
        .description(Some("A problem document (RFC 9457). Some problems have further members."))
        .property("type", text("A stable name: urn:switchyard:problem:NAME"))
        .required("type")
        .property("title", text("A short phrase"))
        .property("status", status.build())
        .required("status")
        .property("detail", text("What is wrong, and how to fix it"))
        .required("detail")
        .property("field", text("The header, query parameter or property that is wrong"))
        .additional_properties(Some(AdditionalProperties::FreeForm(true)))
        .build()
}

fn operations_mut(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let PathItem { get, post, delete, put, patch, .. } = item;
    let all = [
        (Method::GET, get),
        (Method::POST, post),
        (Method::DELETE, delete),
        (Method::PUT, put),
        (Method::PATCH, patch),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Returns the differences between a document and the endpoints that it describes, and the dangling
/// references in it. Empty if it is correct.
pub fn differences(openapi: &OpenApi, endpoints: &[Endpoint]) -> Vec<String> {
    let mut document = openapi.clone();
    let mut documented = BTreeSet::new();
    let mut differences = Vec::new();
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations_mut(item) {
            documented.insert(format!("{method} {path}"));
            let endpoint = endpoints.iter().find(|one| one.path == path && one.method == method);
            differences.extend(endpoint.and_then(|endpoint| parameters_differ(endpoint, operation)));
        }
    }
    let served: BTreeSet<_> = endpoints.iter().map(|one| format!("{} {}", one.method, one.path)).collect();
    differences.extend(served.difference(&documented).map(|one| format!("{one} is not in the document")));
    differences.extend(documented.difference(&served).map(|one| format!("{one} is not served")));
    let mut ids = BTreeSet::new();
    for (_, operation) in document.paths.paths.values_mut().flat_map(operations_mut) {
        let id = operation.operation_id.clone().unwrap_or_default();
        if !ids.insert(id.clone()) {
            differences.push(format!("the operation id {id:?} is not unique"));
        }
    }
    let json = serde_json::to_value(openapi).expect("a document is plain data");
    if !json["openapi"].as_str().is_some_and(|version| version.starts_with("3.1.")) {
        differences.push(format!("the version is {}", json["openapi"]));
    }
    dangling(&json, &json, &mut differences);
    differences
}

/// Compares the parameters of an operation with those of its endpoint.
fn parameters_differ(endpoint: &Endpoint, operation: &Operation) -> Option<String> {
    use utoipa::openapi::path::ParameterIn;
    let mut query = BTreeSet::new();
    let mut path = BTreeSet::new();
    for parameter in operation.parameters.iter().flatten() {
        match parameter.parameter_in {
            ParameterIn::Query => query.insert(parameter.name.as_str()),
            ParameterIn::Path => path.insert(parameter.name.as_str()),
            _ => true,
        };
    }
    let taken: BTreeSet<_> = endpoint.query.unwrap_or_default().iter().copied().collect();
    let segments = endpoint.path.split('/');
    let named: BTreeSet<_> =
        segments.filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')).collect();
    let Endpoint { method, path: of, .. } = endpoint;
    if query != taken {
        return Some(format!("{method} {of} takes the query {taken:?}, documented: {query:?}"));
    }
    (path != named).then(|| format!("{method} {of} has the parameters {named:?}, documented: {path:?}"))
}

/// Collects the references in `value` that are not in `document`.
fn dangling(document: &Value, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if let Some(target) = members.get("$ref").and_then(Value::as_str) {
                let pointer = target.strip_prefix('#').unwrap_or_default();
                if pointer.is_empty() || document.pointer(pointer).is_none() {
                    found.push(format!("{target} is not in the document"));
                }
            }
            members.values().for_each(|member| dangling(document, member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| dangling(document, item, found)),
        _ => {}
    }
}
