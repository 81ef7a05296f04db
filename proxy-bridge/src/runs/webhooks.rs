//! Webhooks of tasks, as the listener of webhooks sees them.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::StatusCode;

use super::{Runs, StartRun};
use crate::hooks::{HookStart, TaskHooks, TaskWebhook, Unproven};
use crate::routers::CallError;
use switchyard_contract::admin::HookCheck;
use switchyard_contract::run::{Run, RunId, RunTrigger};
use switchyard_contract::task::{ParamSpec, ProjectTasks, TaskId, TaskName, TaskTrigger, WebhookTrigger};
use switchyard_edge::problem::Problem;

/// The time that a request waits for its run's result: proxies in front give up after a minute.
const REQUEST_TIME: Duration = Duration::from_secs(55);

impl TaskHooks for Runs {
    fn find(&self, path: &str) -> Option<TaskWebhook> {
        let catalog = self.0.catalog.all();
        // The first project by name has a path that two declare.
        catalog.values().find_map(|tasks| find_in(tasks, path))
    }

    fn verify(&self, check: HookCheck) -> BoxFuture<'_, Result<(), Unproven>> {
        async move {
            let project = check.project.as_str().to_owned();
            let list = self.0.routers.list();
            let ready = list.iter().filter(|router| router.is_ready() && router.has_tasks(&project));
            let mut why = "no router is ready".to_owned();
            for router in ready {
                match router.verify_hook(&check).await {
                    Ok(()) => return Ok(()),
                    Err(CallError::Answered { status, problem }) if status.is_client_error() => {
                        let detail = problem["detail"].as_str().unwrap_or("the secret is another one");
                        return Err(Unproven::Refused(detail.to_owned()));
                    }
                    Err(error) => why = format!("the router {}: {error}", router.name()),
                }
            }
            tracing::warn!(project.name = project, "a webhook cannot be verified: {why}");
            let detail = "the sender cannot be verified now: no router answers; send the request again";
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no-router", detail).retry_after(5);
            Err(Unproven::Unavailable(problem))
        }
        .boxed()
    }

    fn start(&self, start: HookStart) -> BoxFuture<'_, Result<Run, Problem>> {
        let HookStart { task, key, params, input } = start;
        let start = StartRun {
            task,
            trigger: RunTrigger::Webhook,
            by: None,
            key,
            params,
            input,
            version: None,
            consistency: None,
            parent: None,
            force: false,
        };
        async move { Ok(Runs::start(self, start).await?.run) }.boxed()
    }

    fn wait(&self, run: RunId, limit: Duration) -> BoxFuture<'_, Result<Run, Problem>> {
        Runs::wait(self, run, limit).boxed()
    }

    fn refused(&self, path: &str, task: Option<&TaskId>, why: &str) {
        let task = task.map(ToString::to_string);
        tracing::info!(
            event = "task.webhook-refused",
            path,
            task,
            "a request to the webhook {path} was refused: {why}"
        );
    }
}

/// The webhook at a path, among the tasks of one project.
fn find_in(tasks: &ProjectTasks, path: &str) -> Option<TaskWebhook> {
    type Declaring<'t> = (&'t TaskName, &'t [TaskTrigger], &'t [ParamSpec], bool);
    let of_tasks = tasks
        .set
        .tasks
        .iter()
        .map(|task| -> Declaring<'_> { (&task.name, &task.triggers, &task.params, task.enabled) });
    let of_pipelines = tasks
        .set
        .pipelines
        .iter()
        .map(|task| -> Declaring<'_> { (&task.name, &task.triggers, &task.params, task.enabled) });
    let webhook = |triggers: &[TaskTrigger]| -> Option<WebhookTrigger> {
        triggers.iter().find_map(|trigger| match trigger {
            TaskTrigger::Webhook(webhook) if webhook.path == path => Some(webhook.clone()),
            _ => None,
        })
    };
    of_tasks.chain(of_pipelines).filter(|(.., enabled)| *enabled).find_map(|(name, triggers, params, _)| {
        Some(TaskWebhook {
            task: TaskId::new(&tasks.project, name),
            trigger: webhook(triggers)?,
            may_be_open: tasks.limits.open_webhooks,
            params: params.to_vec(),
            request_time: REQUEST_TIME,
        })
    })
}
