//! The endpoints of an API: a path, a method, and the checks before the handler.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use http::Method;

use super::connection::ClientConn;
use super::query::QueryPairs;
use crate::connections::{PermitBody, RequestKind};
use crate::gate::BodyKind;
use crate::problem::Problem;

/// One endpoint.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The method of its requests.
    pub method: Method,
    /// The path with parameters as `{name}`.
    pub path: &'static str,
    /// The parameters of the query. `None`: any are taken, and ignored.
    pub query: Option<&'static [&'static str]>,
    /// Permit that a request holds until the end of its answer. `None` for health checks.
    pub permit: Option<RequestKind>,
    /// The body of its requests.
    pub body: BodyKind,
}

/// An endpoint for GET, without parameters in its query.
pub fn get(path: &'static str) -> Endpoint {
    Endpoint::new(Method::GET, path)
}

/// An endpoint for POST, without a body and parameters in its query.
pub fn post(path: &'static str) -> Endpoint {
    Endpoint::new(Method::POST, path)
}

/// An endpoint for PUT, without a body and parameters in its query.
pub fn put(path: &'static str) -> Endpoint {
    Endpoint::new(Method::PUT, path)
}

/// An endpoint for DELETE, without a body and parameters in its query.
pub fn delete(path: &'static str) -> Endpoint {
    Endpoint::new(Method::DELETE, path)
}

impl Endpoint {
    fn new(method: Method, path: &'static str) -> Self {
        Self { method, path, query: Some(&[]), permit: Some(RequestKind::Request), body: BodyKind::None }
    }

    /// Takes these parameters in the query.
    #[must_use]
    pub fn query(self, keys: &'static [&'static str]) -> Self {
        Self { query: Some(keys), ..self }
    }

    /// Ignores the query: clients of this endpoint were not written for Switchyard.
    #[must_use]
    pub fn any_query(self) -> Self {
        Self { query: None, ..self }
    }

    /// Needs a permit of this kind.
    #[must_use]
    pub fn permit(self, kind: RequestKind) -> Self {
        Self { permit: Some(kind), ..self }
    }

    /// Is answered however many other requests there are.
    #[must_use]
    pub fn without_permit(self) -> Self {
        Self { permit: None, ..self }
    }

    /// Reads a body of this kind.
    #[must_use]
    pub fn body(self, body: BodyKind) -> Self {
        Self { body, ..self }
    }
}

/// An axum router and the list of its endpoints, which axum does not give out: the OpenAPI document
/// is compared with it.
#[derive(Debug, Clone)]
pub struct Routes<S = ()> {
    router: axum::Router<S>,
    endpoints: Vec<Endpoint>,
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self { router: axum::Router::new(), endpoints: Vec::new() }
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// Adds an endpoint and its handler, which can extract an
    /// [`Arc<Permit>`](crate::connections::Permit) as an `Extension`.
    #[must_use]
    pub fn add<T: 'static>(mut self, endpoint: Endpoint, handler: impl Handler<T, S>) -> Self {
        let filter = MethodFilter::try_from(endpoint.method.clone()).expect("it is a common method");
        let checked = on(filter, handler).route_layer(from_fn_with_state(endpoint.clone(), check));
        self.router = self.router.route(endpoint.path, checked);
        self.endpoints.push(endpoint);
        self
    }

    /// Adds the endpoints of `other`.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.endpoints.extend(other.endpoints);
        self
    }

    /// Changes the axum router, to add layers or a fallback.
    #[must_use]
    pub fn map(self, change: impl FnOnce(axum::Router<S>) -> axum::Router<S>) -> Self {
        Self { router: change(self.router), ..self }
    }

    /// The endpoints, in the order in which they were added.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The axum router for an [`ApiListener`](super::ApiListener).
    pub fn into_router(self, state: S) -> axum::Router {
        self.router.with_state(state)
    }
}

/// Refuses a request with a query or body that the endpoint does not take, or without a permit.
async fn check(
    State(endpoint): State<Endpoint>,
    conn: ClientConn,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    if let Some(known) = endpoint.query {
        QueryPairs::parse(parts.uri.query()).check(known)?;
    }
    endpoint.body.check(&parts)?;
    let mut request = Request::from_parts(parts, body);
    let Some(kind) = endpoint.permit else { return Ok(next.run(request).await) };
    let permit = Arc::new(conn.permit(kind)?);
    request.extensions_mut().insert(permit.clone());
    Ok(next.run(request).await.map(|body| Body::new(PermitBody::new(body, permit))))
}
