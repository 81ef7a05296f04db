//! The calls of the bridge's API that are about tasks and runs, with their JSON as types.
//!
//! A [`RunsApi`] is made of the client of any bridge: [`Serve::api`](crate::serve::Serve) or
//! [`Bridge::client`](crate::bridge::Bridge).

use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use switchyard_contract::run::{ResumeRun, RetryRun, Run, RunDetail, RunId, RunLog, RunPage, StartedRun};
use switchyard_contract::task_overview::{TaskDetail, TaskExplanation, TaskOverview, TaskOverviews};

use crate::admin::Admin;
use crate::client::{Client, Reply, json_body, post, with_method};
use crate::eventually;

pub use project::{TaskProject, held, opens, returns, yaml_task};
pub use scene::{Routed, Served};
pub use start::Start;

mod project;
mod scene;
mod start;

/// Seconds that one request waits for the end of a run: less than the harness's deadline.
const WAIT: u32 = 15;

#[derive(Debug, Clone)]
pub struct RunsApi {
    pub client: Client,
}

impl RunsApi {
    pub fn new(client: &Client) -> Self {
        Self { client: client.clone() }
    }

    /// A start to be, as in `api.start("blog:digest").params(json!({ "to": "me" })).ended().await`.
    pub fn start(&self, task: &str) -> Start {
        Start::new(&self.client, "tasks", task)
    }

    /// The same through `POST /pipelines/{pipeline}/run`.
    pub fn start_pipeline(&self, pipeline: &str) -> Start {
        Start::new(&self.client, "pipelines", pipeline)
    }

    /// Runs a task without parameters to its end, which must be good. Returns its result.
    pub async fn result(&self, task: &str) -> Value {
        self.start(task).succeeded().await.result.unwrap_or(Value::Null)
    }

    /// `GET /runs/{id}`
    pub async fn run(&self, id: RunId) -> RunDetail {
        read(&self.client.get(&format!("/runs/{id}")).await)
    }

    /// Waits for the end of a run.
    pub async fn ended(&self, id: RunId) -> RunDetail {
        self.run_becomes(id, "it has ended", |detail| detail.run.state.is_end()).await
    }

    /// Waits for the end of a run for as long as one request does, if it comes or not. For a wait that
    /// takes most of the harness's deadline by itself, before another one.
    pub async fn wait(&self, id: RunId) {
        let reply = self.client.get(&format!("/runs/{id}?wait={WAIT}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    /// Waits until a run is as it should be.
    pub async fn run_becomes(&self, id: RunId, what: &str, is: impl Fn(&RunDetail) -> bool) -> RunDetail {
        eventually(&format!("run {id}: {what}"), || async { is(&self.run(id).await) }).await;
        self.run(id).await
    }

    /// `GET /runs?QUERY`: the query without its `?`, as in `task=blog:digest&state=failed`.
    pub async fn page(&self, query: &str) -> RunPage {
        read(&self.client.get(&format!("/runs?{query}")).await)
    }

    /// The runs of the first page, the newest first.
    pub async fn runs(&self, query: &str) -> Vec<Run> {
        self.page(query).await.runs
    }

    /// Waits until this many runs meet the query, and returns them, the newest first.
    pub async fn counted(&self, query: &str, count: usize) -> Vec<Run> {
        let what = format!("{count} runs of {query}");
        eventually(&what, || async { self.runs(query).await.len() >= count }).await;
        self.runs(query).await
    }

    /// The lines of a run's log so far, of all attempts.
    pub async fn log(&self, id: RunId) -> RunLog {
        read(&self.client.get(&format!("/runs/{id}/logs?lines=10000")).await)
    }

    /// The texts of a run's log so far.
    pub async fn lines(&self, id: RunId) -> Vec<String> {
        self.log(id).await.lines.into_iter().map(|line| line.line).collect()
    }

    /// Waits until a run has printed a line with this text.
    pub async fn printed(&self, id: RunId, text: &str) {
        let what = format!("run {id} prints {text:?}");
        eventually(&what, || async { self.lines(id).await.iter().any(|line| line.contains(text)) }).await;
    }

    /// `POST /runs/{id}/{verb}`: the verb with its query, as in `cancel?wait=5`.
    pub async fn post(&self, id: RunId, verb: &str, body: &impl Serialize) -> Reply {
        let body = serde_json::to_vec(body).expect("it is plain data");
        self.client.send(json_body(post(&format!("/runs/{id}/{verb}"), body))).await
    }

    /// Cancels a run, and waits for its end.
    pub async fn cancel(&self, id: RunId) -> RunDetail {
        let reply = self.client.post(&format!("/runs/{id}/cancel")).await;
        assert!(matches!(reply.status, 200 | 202), "{}", reply.text());
        self.ended(id).await
    }

    /// Runs it again with `same`, `latest` or another version, or by the task's rule, to its end.
    pub async fn retry(&self, id: RunId, version: Option<&str>) -> RunDetail {
        let body = RetryRun { version: version.map(str::to_owned) };
        let started = started(&self.post(id, "retry", &body).await);
        self.ended(started.run.id).await
    }

    /// Goes on with it to its end.
    pub async fn resume(&self, id: RunId, options: &ResumeRun) -> RunDetail {
        let started = started(&self.post(id, "resume", options).await);
        self.ended(started.run.id).await
    }

    /// `DELETE /runs/{id}`
    pub async fn delete(&self, id: RunId) -> Reply {
        self.client.send(with_method(Method::DELETE, &format!("/runs/{id}"))).await
    }

    /// The tasks and pipelines of a project, or of all.
    pub async fn tasks(&self, project: Option<&str>) -> Vec<TaskOverview> {
        let query = project.map(|name| format!("?project={name}")).unwrap_or_default();
        read::<TaskOverviews>(&self.client.get(&format!("/tasks{query}")).await).tasks
    }

    /// `GET /tasks/{task}`, unparsed.
    pub async fn get_task(&self, task: &str) -> Reply {
        self.client.get(&format!("/tasks/{}", escaped(task))).await
    }

    /// `GET /tasks/{task}`
    pub async fn task(&self, task: &str) -> TaskDetail {
        read(&self.get_task(task).await)
    }

    /// `GET /tasks/{task}/explain`: about the last due time, or the one that is given.
    pub async fn explain(&self, task: &str, at: Option<&str>) -> TaskExplanation {
        let query = at.map(|at| format!("?at={at}")).unwrap_or_default();
        read(&self.client.get(&format!("/tasks/{}/explain{query}", escaped(task))).await)
    }

    /// Waits until the bridge knows a task, whatever its version.
    pub async fn knows(&self, task: &str) -> TaskDetail {
        self.becomes(task, "the bridge knows it", |_| true).await
    }

    /// Waits until the bridge knows a task in this version, as in `blog@3f9a1c2b7d4e`.
    pub async fn knows_version(&self, task: &str, version: &str) -> TaskDetail {
        self.becomes(task, version, |detail| detail.overview.version == version).await
    }

    /// Waits until the bridge knows a task in the version that this router has live.
    pub async fn knows_live(&self, task: &str, admin: &Admin) -> TaskDetail {
        let project = task.split(':').next().expect("a task is PROJECT:TASK");
        let live = admin.project(project).await.live.expect("the project is live");
        self.knows_version(task, &live.version).await
    }

    /// Waits until the bridge does not know a task any more.
    pub async fn forgets(&self, task: &str) {
        let what = format!("the bridge does not know {task} any more");
        eventually(&what, || async { self.get_task(task).await.status == 404 }).await;
    }

    /// Waits until a task is as it should be.
    pub async fn becomes(&self, task: &str, what: &str, is: impl Fn(&TaskDetail) -> bool) -> TaskDetail {
        let ask = async || -> Option<TaskDetail> {
            let reply = self.get_task(task).await;
            (reply.status == 200).then(|| read(&reply))
        };
        eventually(&format!("{task}: {what}"), || async { ask().await.is_some_and(|detail| is(&detail)) })
            .await;
        self.task(task).await
    }
}

/// The name of a task as a part of a path.
fn escaped(task: &str) -> String {
    task.replace('/', "%2F").replace(' ', "%20")
}

/// Reads the 200 of a call.
///
/// # Panics
/// The status is another one.
fn read<T: DeserializeOwned>(reply: &Reply) -> T {
    assert_eq!(reply.status, 200, "{}", reply.text());
    parsed(reply)
}

/// Reads the answer to a start, a retry or a resumption, which must not be refused.
fn started(reply: &Reply) -> StartedRun {
    assert!(matches!(reply.status, 200 | 202), "{}", reply.text());
    parsed(reply)
}

fn parsed<T: DeserializeOwned>(reply: &Reply) -> T {
    serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error} in {}", reply.text()))
}

/// An object with what was given, and nothing else.
fn body(params: &Value, input: &Value, version: Option<&str>, consistency: Option<&str>) -> Value {
    json!({ "params": params, "input": input, "version": version, "consistency": consistency })
}
