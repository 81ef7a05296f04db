//! Traces of deploys and runs, where the environment asks for their export.

use std::time::{Duration, SystemTime};

use switchyard_contract::admin::Report;
use switchyard_contract::deploy::{DeployOutcome, DeployPhase, DeployRecord};
use switchyard_contract::run::{Run, RunState};
use switchyard_telemetry::{
    ActiveSpan, Attribute, InvalidSetting, SpanCounts, SpanDescription, SpanKind, TraceContext, Tracing,
};

/// The phases of a deploy, in their order.
const PHASES: [DeployPhase; 5] =
    [DeployPhase::Receive, DeployPhase::Store, DeployPhase::Hold, DeployPhase::Build, DeployPhase::Publish];

/// The traces of the bridge. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Tracing>);

/// The trace of a run that has not ended. Its first span begins with the run's acceptance.
#[derive(Debug)]
pub struct RunTrace(ActiveSpan);

impl Traces {
    /// Begins what the environment asks for.
    ///
    /// # Errors
    /// All variables with a value that cannot be used.
    pub fn from_environment() -> Result<Self, Vec<InvalidSetting>> {
        Tracing::from_environment("switchyard-bridge").map(Self)
    }

    /// Exports the trace of a deploy that is over: its phases, and the builds at each router.
    pub fn deploy_ended(&self, record: &DeployRecord) {
        let Some(tracing) = &self.0 else { return };
        let began = SystemTime::from(record.at);
        let names: Vec<_> = record.names().map(|name| name.as_str()).collect();
        let mut attributes = vec![
            ("switchyard.deploy", record.deploy.clone().into()),
            ("switchyard.action", record.action.as_str().into()),
            ("switchyard.project", names.join(",").into()),
        ];
        attributes.extend(record.by.clone().map(|by| ("enduser.id", by.into())));
        let mut root =
            tracing.begin(describe(record.action.as_str(), SpanKind::Server, began, attributes), None);
        if let Some(outcome) = record.outcome {
            root.set("switchyard.outcome", outcome.as_str());
        }
        if !matches!(record.outcome, Some(DeployOutcome::Live | DeployOutcome::Removed)) {
            let problem = record.problem.as_ref().and_then(|problem| problem["detail"].as_str());
            root.fail(problem.unwrap_or("the deploy has failed").to_owned());
        }
        let parent = root.context();
        let mut at = began;
        for phase in PHASES {
            let Some(took) = took(record.timings_ms.get(phase.as_str()).copied()) else { continue };
            let span =
                tracing.begin(describe(phase.as_str(), SpanKind::Internal, at, Vec::new()), Some(&parent));
            if phase == DeployPhase::Build {
                export_builds(tracing, record, at, &span.context());
            }
            at += took;
            span.end_at(at);
        }
        root.end_at(began + took(record.timings_ms.get("total").copied()).unwrap_or_default());
    }

    /// Begins the trace of a run that is about to be given to a router.
    /// `parent`: the trace of the run that it is a step of, or follows from.
    pub(crate) fn run_begins(&self, run: &Run, parent: Option<&RunTrace>) -> Option<RunTrace> {
        let attributes = vec![
            ("switchyard.run", run.id.to_string().into()),
            ("switchyard.task", run.task.to_string().into()),
            ("switchyard.project", run.task.project.to_string().into()),
            ("switchyard.trigger", run.trigger.as_str().into()),
        ];
        let span = describe("run", SpanKind::Producer, SystemTime::from(run.queued_at), attributes);
        let parent = parent.map(|RunTrace(span)| span.context());
        Some(RunTrace(self.0.as_ref()?.begin(span, parent.as_ref())))
    }

    /// Exports the trace of a run that has ended. `trace`: what has begun in this process.
    pub(crate) fn run_ended(&self, run: &Run, trace: Option<RunTrace>) {
        let Some(tracing) = &self.0 else { return };
        let Some(RunTrace(mut root)) = trace.or_else(|| self.run_begins(run, None)) else { return };
        let ended = run.ended_at.map_or_else(SystemTime::now, SystemTime::from);
        if let Some(started) = run.started_at.filter(|_| run.attempt == 1) {
            let wait = describe("queue", SpanKind::Internal, SystemTime::from(run.queued_at), Vec::new());
            tracing.begin(wait, Some(&root.context())).end_at(SystemTime::from(started));
        }
        root.set("switchyard.state", run.state.as_str());
        root.set("switchyard.attempt", i64::from(run.attempt));
        if let Some(version) = &run.version {
            root.set("switchyard.version", version.name.clone());
        }
        if run.state != RunState::Succeeded {
            let error = run.error.as_ref().map(|error| error.message.clone());
            root.fail(error.unwrap_or_else(|| run.state.as_str().to_owned()));
        }
        root.end_at(ended);
    }

    /// Returns the numbers of exported and dropped spans so far. `None`: nothing is exported.
    pub fn counts(&self) -> Option<SpanCounts> {
        self.0.as_ref().map(Tracing::counts)
    }

    /// Exports what is left, for a short time. Blocks.
    pub fn shut_down(&self) {
        if let Some(tracing) = &self.0 {
            tracing.shut_down();
        }
    }
}

impl RunTrace {
    /// The parent of what a router does for the run.
    pub(crate) fn traceparent(&self) -> String {
        self.0.context().traceparent()
    }
}

/// A router says how long it took and not when it began, so its spans begin with the phase.
fn export_builds(tracing: &Tracing, record: &DeployRecord, began: SystemTime, parent: &TraceContext) {
    for router in &record.routers {
        for report in &router.reports {
            let Report { timings_ms: timings, .. } = report;
            let parts = [timings.snapshot, timings.build].into_iter().flatten();
            let Some(took) = took(Some(parts.sum()).filter(|sum| *sum > 0.0)) else { continue };
            let mut attributes = vec![
                ("switchyard.router", router.router.clone().into()),
                ("switchyard.project", report.project.clone().into()),
            ];
            attributes.extend(report.version.clone().map(|version| ("switchyard.version", version.into())));
            let span = describe("build at router", SpanKind::Client, began, attributes);
            let mut span = tracing.begin(span, Some(parent));
            if let Some(error) = &report.error {
                span.fail(error.message.clone());
            }
            span.end_at(began + took);
        }
    }
}

fn describe(
    name: &'static str,
    kind: SpanKind,
    began: SystemTime,
    attributes: Vec<Attribute>,
) -> SpanDescription {
    SpanDescription { name: name.into(), kind, began: Some(began), attributes }
}

fn took(milliseconds: Option<f64>) -> Option<Duration> {
    milliseconds.and_then(|milliseconds| Duration::try_from_secs_f64(milliseconds / 1e3).ok())
}
