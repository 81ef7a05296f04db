//! A start of a run.

use serde_json::Value;
use switchyard_contract::run::{RunDetail, RunState, StartedRun};

use super::{RunsApi, WAIT, body, escaped, started};
use crate::client::{Client, Reply, json_body, post, with_header};

/// A start to be. Nothing is sent before one of the methods that await.
#[derive(Debug, Clone)]
#[must_use]
pub struct Start {
    client: Client,
    path: String,
    params: Value,
    input: Value,
    version: Option<String>,
    consistency: Option<String>,
    key: Option<String>,
    wait: u32,
    force: bool,
}

impl Start {
    pub(super) fn new(client: &Client, kind: &str, task: &str) -> Self {
        Self {
            client: client.clone(),
            path: format!("/{kind}/{}/run", escaped(task)),
            params: Value::Null,
            input: Value::Null,
            version: None,
            consistency: None,
            key: None,
            wait: 0,
            force: false,
        }
    }

    pub fn params(self, params: Value) -> Self {
        Self { params, ..self }
    }

    pub fn input(self, input: Value) -> Self {
        Self { input, ..self }
    }

    /// A version's name, digest or commit.
    pub fn version(self, version: &str) -> Self {
        Self { version: Some(version.to_owned()), ..self }
    }

    /// `run`, `step` or `commit`.
    pub fn consistency(self, rule: &str) -> Self {
        Self { consistency: Some(rule.to_owned()), ..self }
    }

    /// The idempotency key.
    pub fn key(self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self }
    }

    /// Seconds that the answer waits for the end.
    pub fn wait(self, seconds: u32) -> Self {
        Self { wait: seconds, ..self }
    }

    /// Also while another run of the task is under way.
    pub fn force(self) -> Self {
        Self { force: true, ..self }
    }

    /// Sends it, and returns whatever comes.
    pub async fn send(&self) -> Reply {
        let Self { params, input, version, consistency, .. } = self;
        let json = body(params, input, version.as_deref(), consistency.as_deref()).to_string();
        let path = format!("{}?wait={}&force={}", self.path, self.wait, self.force);
        let request = json_body(post(&path, json));
        let request = match &self.key {
            Some(key) => with_header(request, "idempotency-key", key),
            None => request,
        };
        self.client.send(request).await
    }

    /// Sends it. It must be accepted.
    pub async fn begun(&self) -> StartedRun {
        started(&self.send().await)
    }

    /// Sends it, and waits until the code of the run is there.
    pub async fn running(&self) -> RunDetail {
        let id = self.begun().await.run.id;
        let api = RunsApi::new(&self.client);
        api.run_becomes(id, "it runs", |detail| detail.run.state == RunState::Running).await
    }

    /// Sends it, and waits for the end of the run, whatever it is.
    pub async fn ended(&self) -> RunDetail {
        let id = self.clone().wait(WAIT).begun().await.run.id;
        RunsApi::new(&self.client).ended(id).await
    }

    /// The same, where the end must be good.
    pub async fn succeeded(&self) -> switchyard_contract::run::Run {
        let ended = self.ended().await;
        assert_eq!(ended.run.state, RunState::Succeeded, "{ended:#?}");
        ended.run
    }

    /// Sends it. It must be refused, with this problem.
    pub async fn refused(&self, status: u16, slug: &str) -> Value {
        self.send().await.assert_problem(status, slug)
    }
}
