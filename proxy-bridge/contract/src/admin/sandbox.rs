//! The sandbox around the processes of projects, as a router reports it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /sandbox`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sandbox {
    /// The layers that the kernel or the operator provides, each on or off, from the start of the router.
    pub layers: Vec<SandboxLayer>,
    /// The layers that this machine is missing, in words, as in `/readyz`: also those that were found to be
    /// weaker later.
    pub missing: Vec<String>,
}

/// One layer of the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SandboxLayer {
    /// The name: `users`, `landlock-files`, `landlock-tcp`, `landlock-signals`, `seccomp`, `memory`,
    /// `threads` or `cpu`.
    pub name: String,
    /// The state.
    pub state: LayerState,
    /// The form that the layer has, or the reason why it is not whole and what can be done.
    pub detail: String,
}

/// The state of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LayerState {
    /// It is there.
    On,
    /// A weaker form of it is there.
    Partial,
    /// It is not there.
    Off,
    /// A state of a newer router.
    #[serde(other)]
    Unrecognized,
}

impl SandboxLayer {
    /// The layer `name` in this state.
    pub fn new(name: &str, state: LayerState, detail: impl Into<String>) -> Self {
        Self { name: name.to_owned(), state, detail: detail.into() }
    }
}
