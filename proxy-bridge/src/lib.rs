//! What a router and the ingress in front of it say to each other.
//!
//! - [`digest`]: which content a project has, as anybody with coreutils can compute it
//! - [`event`]: what happened to a project, as JSON
//! - [`publisher`]: the router's side, which posts events to the ingress
//! - [`verifier`]: the ingress's side, which believes only what its router signed
//! - [`secret`]: what the two sides share

pub mod digest;
pub mod event;
pub mod publisher;
pub mod secret;
pub mod verifier;
