//! `GET /schema`: JSON Schemas of the files that people write, for editors.

use axum::response::Response;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use switchyard_contract::schema::{NamedSchema, SCHEMAS};
use switchyard_contract::suggest::did_you_mean;
use switchyard_edge::api::answer::{json, whole};
use switchyard_edge::api::path::Path;
use switchyard_edge::problem::Problem;

/// The schema that is made from the definitions of the flags.
const SWITCHYARD: NamedSchema =
    ("switchyard", include_str!("../../../docs/reference/schema/switchyard.json"));

/// The schemas that the bridge has
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SchemaList {
    /// Their paths.
    schemas: Vec<String>,
}

fn all() -> impl Iterator<Item = NamedSchema> {
    SCHEMAS.into_iter().chain([SWITCHYARD])
}

/// The JSON Schemas of deno.json, policy, sources and other files
#[utoipa::path(get, path = "/schema", tag = "schemas", responses(
    (status = 200, description = "The paths of the schemas", body = SchemaList),
))]
pub(super) async fn list() -> Response {
    let schemas = all().map(|(name, _)| format!("/schema/{name}.json")).collect();
    json(StatusCode::OK, &SchemaList { schemas })
}

/// One JSON Schema
#[utoipa::path(get, path = "/schema/{file}", tag = "schemas",
    params(("file" = String, Path, description = "The file that the schema is of, such as deno.json")),
    responses((status = 200, description = "The schema", body = Object)),
)]
pub(super) async fn schema(Path(file): Path<String>) -> Result<Response, Problem> {
    let names: Vec<_> = all().map(|(name, _)| format!("{name}.json")).collect();
    let found = all().find(|(name, _)| file.strip_suffix(".json") == Some(name));
    let Some((_, text)) = found else {
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let hint = did_you_mean(&file, &names);
        let detail = format!("there is no schema {file:?}: expected one of {}{hint}", names.join(", "));
        return Err(Problem::new(StatusCode::NOT_FOUND, "unknown-schema", detail));
    };
    Ok(whole(StatusCode::OK, HeaderValue::from_static("application/json"), text.to_owned()))
}
