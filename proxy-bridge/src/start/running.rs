//! A running bridge: its tasks and threads, and the order in which they stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use switchyard_edge::tls;
use switchyard_program::signal::Reloads;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use super::parts::{BridgeParts, RunParts};
use crate::deploys::Deploys;
use crate::forward::ForwardServer;
use crate::hooks::Hooks;
use crate::sources::control::Sources;
use crate::traces::Traces;

/// A step of stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StopStep {
    /// No webhook is received.
    Hooks,
    /// No run is started or followed. Those under way go on at their routers.
    Runs,
    /// No sync begins, and none but a deploy goes on.
    Sources,
    /// No deploy begins, and those under way finish within the grace.
    Deploys,
    /// No request is forwarded, and open ones finish within the grace.
    Forwarding,
    /// SIGHUP has no effect.
    Reloads,
    /// The API closes its connections.
    Api,
    /// The routers are no longer followed.
    Following,
    /// Spans that are not yet exported get a moment.
    Spans,
}

/// The order of stopping: a part stops after all parts that need it.
const STOP_ORDER: [StopStep; 9] = [
    StopStep::Hooks,
    StopStep::Runs,
    // Their deploys go on as those of others.
    StopStep::Sources,
    // Deploys need the routers, and the API shows their end.
    StopStep::Deploys,
    StopStep::Forwarding,
    StopStep::Reloads,
    StopStep::Api,
    StopStep::Following,
    StopStep::Spans,
];

/// All tasks and threads of a bridge that serves.
pub(super) struct RunningBridge {
    grace: Duration,
    deploys: Deploys,
    sources: Option<Sources>,
    history: RunParts,
    stop_hooks: watch::Sender<bool>,
    hooks: Option<JoinHandle<()>>,
    forward: Option<ForwardServer>,
    reloads: JoinHandle<()>,
    certificates: JoinHandle<()>,
    stop_api: watch::Sender<bool>,
    api: JoinHandle<()>,
    following: JoinHandle<()>,
    traces: Traces,
}

impl RunningBridge {
    /// Starts the API. Must be called in the context of the runtime.
    ///
    /// # Errors
    /// The listener cannot be used.
    pub(super) fn start(parts: BridgeParts, reloads: Reloads) -> Result<Self> {
        let listener = parts.listener;
        tracing::info!(
            listen = %listener.address().context("read the address")?,
            forward = parts.forward.as_ref().map(|server| server.address().to_string()),
            projects = parts.projects,
            "listening"
        );
        let (stop_hooks, stopping) = watch::channel(false);
        let hooks = match parts.hooks {
            Some(listener) => {
                let address = listener.address().context("read the address")?;
                tracing::info!(hooks = %address, "receiving webhooks");
                let hooks = match &parts.sources {
                    Some(sources) => Hooks::new(Arc::new(sources.clone())),
                    None => Hooks::default(),
                };
                let hooks = hooks.with_tasks(Arc::new(parts.history.runs.clone()));
                Some(tokio::spawn(hooks.serve(listener, stopping)))
            }
            None => None,
        };
        Ok(Self {
            sources: parts.sources,
            history: parts.history,
            stop_hooks,
            hooks,
            grace: parts.grace,
            deploys: parts.deploys,
            forward: parts.forward,
            reloads: tokio::spawn(parts.files.read_again(reloads)),
            certificates: tokio::spawn(tls::follow_files(parts.certificates)),
            stop_api: parts.stop_api,
            api: tokio::spawn(parts.api.serve(listener)),
            following: parts.following,
            traces: parts.traces,
        })
    }

    /// Stops all parts in order.
    pub(super) async fn stop(mut self) {
        for step in STOP_ORDER {
            match step {
                StopStep::Hooks => {
                    self.stop_hooks.send_replace(true);
                    if let Some(hooks) = self.hooks.take() {
                        // The task fails only by a panic, which is logged.
                        let _ = hooks.await;
                    }
                }
                StopStep::Runs => {
                    self.history.tasks.iter().for_each(JoinHandle::abort);
                    for task in &mut self.history.tasks {
                        // Fails because it is aborted.
                        let _ = task.await;
                    }
                    self.history.ledger.close().await;
                }
                StopStep::Sources => {
                    if let Some(sources) = &self.sources {
                        sources.stop();
                    }
                }
                StopStep::Deploys => self.deploys.stop(self.grace).await,
                StopStep::Forwarding => {
                    if let Some(server) = self.forward.take() {
                        server.stop(self.grace).await;
                    }
                }
                StopStep::Reloads => {
                    self.reloads.abort();
                    self.certificates.abort();
                }
                StopStep::Api => {
                    self.stop_api.send_replace(true);
                    // The task fails only by a panic, which is logged.
                    let _ = (&mut self.api).await;
                }
                StopStep::Following => self.following.abort(),
                StopStep::Spans => {
                    let traces = self.traces.clone();
                    // A panic is logged.
                    let _ = spawn_blocking(move || traces.shut_down()).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(step: StopStep) -> usize {
        let at = STOP_ORDER.iter().position(|other| *other == step);
        at.unwrap_or_else(|| panic!("{step:?} is never taken"))
    }

    #[test]
    fn every_part_stops_after_those_that_need_it() {
        for (first, second) in [
            // Clients of a deploy under way get its outcome.
            (StopStep::Deploys, StopStep::Api),
            // A webhook is a hint to a source, and a sync is a deploy.
            (StopStep::Hooks, StopStep::Sources),
            // A webhook starts a run.
            (StopStep::Hooks, StopStep::Runs),
            (StopStep::Sources, StopStep::Deploys),
            // SIGHUP has sources follow other settings.
            // A deploy and a forwarded request need to know which routers are ready.
            (StopStep::Deploys, StopStep::Following),
            (StopStep::Forwarding, StopStep::Following),
            (StopStep::Reloads, StopStep::Following),
            // Health checks are answered while requests finish.
            (StopStep::Forwarding, StopStep::Api),
        ] {
            assert!(at(first) < at(second), "{first:?} must come before {second:?}");
        }
    }
}
