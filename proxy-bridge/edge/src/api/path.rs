//! Parameters in the path, percent-decoded.

use axum::extract::FromRequestParts;
use axum::extract::Path as AxumPath;
use http::request::Parts;
use serde::de::DeserializeOwned;
use switchyard_contract::project::ProjectName;

use crate::problem::Problem;

/// The parameters of the path, as text or a tuple of texts.
#[derive(Debug, Clone)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match AxumPath::from_request_parts(parts, state).await {
            Ok(AxumPath(params)) => Ok(Self(params)),
            Err(rejection) => Err(Problem::bad_request(rejection.body_text()).with("field", "path")),
        }
    }
}

/// The project that the path names: its one parameter.
#[derive(Debug, Clone)]
pub struct ProjectPath(pub ProjectName);

impl<S: Send + Sync> FromRequestParts<S> for ProjectPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(name) = Path::<String>::from_request_parts(parts, state).await?;
        let invalid = |error: switchyard_contract::project::InvalidName| {
            Problem::bad_request(error.to_string()).with("field", "project")
        };
        ProjectName::parse(&name).map(Self).map_err(invalid)
    }
}
