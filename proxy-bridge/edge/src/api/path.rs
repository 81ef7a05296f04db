//! Parameters in the path, percent-decoded.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::extract::Path as AxumPath;
use http::request::Parts;
use serde::de::DeserializeOwned;
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::RunId;
use switchyard_contract::task::TaskId;

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

/// The task or pipeline that the path names: its one parameter, as in `blog:digest`. A `/` in the
/// name is sent as `%2F`.
#[derive(Debug, Clone)]
pub struct TaskPath(pub TaskId);

impl<S: Send + Sync> FromRequestParts<S> for TaskPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        parsed(parts, state, "task").await.map(Self)
    }
}

/// The run that the path names: its one parameter.
#[derive(Debug, Clone, Copy)]
pub struct RunPath(pub RunId);

impl<S: Send + Sync> FromRequestParts<S> for RunPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        parsed(parts, state, "run").await.map(Self)
    }
}

/// Parses the one parameter of the path, which problems call `field`.
async fn parsed<T, S>(parts: &mut Parts, state: &S, field: &str) -> Result<T, Problem>
where
    T: FromStr<Err: Display>,
    S: Send + Sync,
{
    let Path(text) = Path::<String>::from_request_parts(parts, state).await?;
    text.parse().map_err(|error: T::Err| Problem::bad_request(error.to_string()).with("field", field))
}
