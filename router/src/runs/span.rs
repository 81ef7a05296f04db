//! The span of an attempt, where spans are exported: a child of the bridge's span of the run, and the
//! parent of those that the handler makes.

use switchyard_contract::admin::RunAccepted;
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::RunState;
use switchyard_protocol::Job;
use switchyard_telemetry::{ActiveSpan, SpanDescription, SpanKind, TraceContext, Tracing};

use super::outcome::Outcome;
use super::work::Code;

/// The span of an attempt under way.
#[derive(Debug)]
pub(super) struct AttemptSpan(ActiveSpan);

impl AttemptSpan {
    /// `traceparent`: the bridge's span.
    pub(super) fn begin(
        tracing: &Tracing,
        project: &ProjectName,
        accepted: &RunAccepted,
        traceparent: Option<&str>,
    ) -> Self {
        let parent = traceparent.and_then(|traceparent| TraceContext::parse(traceparent, None));
        let attributes = vec![
            ("switchyard.project", project.to_string().into()),
            ("switchyard.version", accepted.version.name.clone().into()),
            ("switchyard.run", accepted.run.to_string().into()),
            ("switchyard.attempt", i64::from(accepted.attempt).into()),
        ];
        let kind = SpanKind::Consumer;
        let span = SpanDescription { name: "attempt".into(), kind, began: None, attributes };
        Self(tracing.begin(span, parent.as_ref()))
    }

    /// Has the handler's spans be its children.
    pub(super) fn pass_on(&self, code: &mut Code) {
        if let Code::Cell(launch) = code
            && let Some(Job::Call(call)) = &mut launch.job
        {
            call.traceparent = Some(self.0.context().traceparent());
        }
    }

    pub(super) fn end(mut self, (state, _, error): &Outcome) {
        self.0.set("switchyard.state", state.as_str());
        if *state != RunState::Succeeded {
            let message = error.as_ref().map(|error| error.message.clone());
            self.0.fail(message.unwrap_or_else(|| state.as_str().to_owned()));
        }
    }
}
