//! Parts of the OpenAPI document that several endpoints have.

use utoipa::{IntoParams, IntoResponses};

/// The run in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes what RunPath reads")]
pub(super) struct RunInPath {
    /// The run
    run: String,
}

/// The task in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes what TaskPath reads")]
pub(super) struct TaskInPath {
    /// The task, as in blog:digest
    task: String,
}

/// The pipeline in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes what TaskPath reads")]
pub(super) struct PipelineInPath {
    /// The pipeline, as in blog:import
    pipeline: String,
}

/// The git source in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes what the path's name reads")]
pub(super) struct SourceInPath {
    /// The source
    source: String,
}

/// The refusals of each start of a run that are no fault of the request.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes problems that are made elsewhere")]
pub(super) enum StartRefused {
    /// queue-full
    #[response(status = 429)]
    QueueFull,
    /// history: the run cannot be recorded; or no-router
    #[response(status = 503)]
    NotNow,
}
