//! The common parts of the router's admin listener and the bridge's API. Both are axum routers
//! behind an [`ApiListener`]; handlers, authentication and the data path are left to their crates.
//!
//! - [`answer`]: JSON, text and problem documents as answers
//! - [`body`]: the body of a request, read within limits
//! - [`endpoint`]: the checks before a handler: query, content type, permit
//! - [`openapi`]: the OpenAPI document, and its comparison with the endpoints
//! - [`path`]: parameters in the path
//! - [`process`]: metrics of the process
//! - [`query`]: parameters in the query
//! - [`sse`]: answers of server-sent events

pub mod answer;
pub mod body;
mod connection;
pub mod endpoint;
mod listener;
pub mod openapi;
pub mod path;
pub mod process;
pub mod query;
pub mod sse;

pub use self::connection::ClientConn;
pub use self::listener::{ApiListener, stopped};
