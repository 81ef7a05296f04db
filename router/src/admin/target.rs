//! What a request to the admin listener is for.

use http::Method;
use switchyard_edge::gate::BodyKind;

/// The body of `POST /_deploys`, for whoever sends something else.
const HOLD: &str = r#"{"id": "d1", "projects": ["blog"], "lease_ms": 30000}"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target<'p> {
    Health,
    Ready,
    Metrics,
    Events,
    Projects,
    Project(&'p str),
    Checkouts(&'p str),
    Checkout(&'p str, &'p str),
    Logs(&'p str),
    ReloadAll,
    Reload(&'p str),
    Deploys,
    Deploy(&'p str),
    Build(&'p str),
    Publish(&'p str),
    Protocol,
    Attachable,
    /// Of a project, its cell if one is named.
    Inspect(&'p str, Option<&'p str>),
}

impl<'p> Target<'p> {
    /// `None`: there is nothing at this path.
    pub(super) fn of(path: &'p str) -> Option<Self> {
        let parts: Vec<_> = path.strip_prefix('/')?.split('/').collect();
        Some(match parts[..] {
            ["healthz"] => Self::Health,
            ["readyz"] => Self::Ready,
            ["metrics"] => Self::Metrics,
            ["events"] => Self::Events,
            ["projects"] => Self::Projects,
            ["projects", name] => Self::Project(name),
            ["projects", name, "checkouts"] => Self::Checkouts(name),
            ["projects", name, "checkouts", short] => Self::Checkout(name, short),
            ["projects", name, "logs"] => Self::Logs(name),
            ["projects", name, "inspect"] => Self::Inspect(name, None),
            ["projects", name, "inspect", cell] => Self::Inspect(name, Some(cell)),
            ["json", "version"] => Self::Protocol,
            ["json"] | ["json", "list"] => Self::Attachable,
            ["_reload"] => Self::ReloadAll,
            ["_reload", name] => Self::Reload(name),
            ["_deploys"] => Self::Deploys,
            ["_deploys", id] => Self::Deploy(id),
            ["_deploys", id, "build"] => Self::Build(id),
            ["_deploys", id, "publish"] => Self::Publish(id),
            _ => return None,
        })
    }

    pub(super) fn method(self) -> Method {
        match self {
            Self::ReloadAll | Self::Reload(_) | Self::Deploys | Self::Build(_) | Self::Publish(_) => {
                Method::POST
            }
            Self::Deploy(_) => Method::DELETE,
            _ => Method::GET,
        }
    }

    /// Whether its answer has no end of its own.
    pub(super) fn is_stream(self) -> bool {
        matches!(self, Self::Events | Self::Logs(_) | Self::Inspect(..))
    }

    /// The body that is read.
    pub(super) fn body_kind(self) -> BodyKind {
        match self {
            Self::Deploys => BodyKind::Json(HOLD),
            _ => BodyKind::None,
        }
    }

    /// Whether its token may stand in the query as well: who opens a WebSocket in a browser can send no header.
    pub(super) fn takes_token_in_query(self) -> bool {
        matches!(self, Self::Inspect(..))
    }

    /// Whether it is answered without a token: what probes of an orchestrator ask.
    pub(super) fn is_free(self) -> bool {
        matches!(self, Self::Health | Self::Ready)
    }
}
