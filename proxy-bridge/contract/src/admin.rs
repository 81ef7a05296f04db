//! The JSON that a router's admin listener takes and answers.

mod checkout;
mod deploy;
mod files;
mod grants;
mod overrides;
mod requests;
mod runs;
mod sandbox;
mod settings;
mod status;

use http::HeaderName;

pub use self::checkout::{CheckoutInfo, Checkouts, LogLine};
pub use self::deploy::{Hold, InvalidHold, Report, Reports};
pub use self::files::{CURRENT_FILES, FileInput, FileOffer, FileOutcome, InvalidFileOutcome};
pub use self::grants::{Grants, ProjectLimits, Rights};
pub use self::overrides::ProjectOverride;
pub use self::requests::{
    InvalidStatus, ProjectLoad, ProjectLoads, ProjectUse, RequestInfo, RequestSample, RequestSamples,
    Requests, StatusFilter,
};
pub use self::runs::{
    CancelRequest, HookCheck, JournalEntry, KnownRun, KnownRuns, RunAccepted, RunEnd, RunEvent, RunRequest,
    RunWork, StepAsk, StepReply, StepRequest,
};
pub use self::sandbox::{LayerState, Sandbox, SandboxLayer};
pub use self::settings::{ProjectSettings, Setting, SettingOrigin};
pub use self::status::{
    CellCrash, ChosenEntry, Draining, ProjectState, Projects, Reload, ReloadOutcome, Status, VersionName,
};

/// The comment on the stream of `GET /events` that follows a change of `GET /projects` which no event
/// reports: the limits of the policy, or the crons that a version has registered.
pub const STATUSES_CHANGED: &str = "statuses";

/// The digest of the version that a checkout's tar belongs to.
pub const DIGEST: HeaderName = HeaderName::from_static("x-switchyard-digest");

/// The digest of the files in a checkout's tar, which are the project's own. Absent when it equals
/// [`DIGEST`].
pub const OWN_DIGEST: HeaderName = HeaderName::from_static("x-switchyard-own-digest");

/// The version that answered a request, or that a checkout's tar belongs to.
pub const VERSION: HeaderName = HeaderName::from_static("x-switchyard-version");

/// The id of the commit that the version which answered was made from. Absent unless a git source
/// deployed it.
pub const COMMIT: HeaderName = HeaderName::from_static("x-switchyard-commit");
