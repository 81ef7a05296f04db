//! The calls of the bridge's API that are about git sources, with their JSON as types.

use http::Method;
use serde::de::DeserializeOwned;
use switchyard_contract::source::{
    DeployedCommit, DeployedCommits, Explanation, SourceStatus, SourceStatuses, SyncOutcome, SyncReport,
    SyncReports,
};

use crate::client::{Client, Reply, with_method};
use crate::eventually;

#[derive(Debug, Clone)]
pub struct SourcesApi {
    pub client: Client,
}

impl SourcesApi {
    /// `POST /sources/{source}/{verb}`: verb and query, as in `sync?force=1`.
    pub async fn post(&self, source: &str, verb: &str) -> Reply {
        self.client.post(&format!("/sources/{source}/{verb}")).await
    }

    /// A sync that must not fail.
    pub async fn sync(&self, source: &str) -> SyncReport {
        done(&self.post(source, "sync").await)
    }

    /// A sync after which this commit is live, whether or not it was before.
    pub async fn synced(&self, source: &str, commit: &str) -> SyncReport {
        let report = self.sync(source).await;
        assert_eq!(report.commit.as_deref(), Some(commit), "{report:#?}");
        assert!(matches!(report.outcome, SyncOutcome::Live | SyncOutcome::Unchanged), "{report:#?}");
        report
    }

    /// A sync that makes this commit live.
    pub async fn goes_live(&self, source: &str, commit: &str) -> SyncReport {
        let report = self.synced(source, commit).await;
        assert_eq!(report.outcome, SyncOutcome::Live, "{report:#?}");
        report
    }

    /// A sync that must fail with this status, and whose answer is a problem with the report.
    pub async fn refused(&self, source: &str, verb: &str, status: u16) -> SyncReport {
        failed(&self.post(source, verb).await, status)
    }

    /// `POST /repo/sync`, which must not fail.
    pub async fn sync_all(&self) -> Vec<SyncReport> {
        done::<SyncReports>(&self.client.post("/repo/sync").await).sources
    }

    pub async fn status(&self, source: &str) -> SourceStatus {
        done(&self.client.get(&format!("/sources/{source}")).await)
    }

    pub async fn statuses(&self) -> Vec<SourceStatus> {
        done::<SourceStatuses>(&self.client.get("/sources").await).sources
    }

    pub async fn publish(&self, source: &str) -> SyncReport {
        done(&self.post(source, "publish").await)
    }

    pub async fn approve(&self, source: &str) -> SyncReport {
        done(&self.post(source, "approve").await)
    }

    /// Freezes with a reason of letters only.
    pub async fn freeze(&self, source: &str, reason: &str) -> SourceStatus {
        done(&self.post(source, &format!("freeze?reason={reason}")).await)
    }

    pub async fn unfreeze(&self, source: &str) -> SourceStatus {
        let path = format!("/sources/{source}/freeze");
        done(&self.client.send(with_method(Method::DELETE, &path)).await)
    }

    pub async fn explain(&self, source: &str, query: &str) -> Explanation {
        done(&self.client.get(&format!("/sources/{source}/explain{query}")).await)
    }

    pub async fn commits(&self, source: &str) -> Vec<DeployedCommit> {
        done::<DeployedCommits>(&self.client.get(&format!("/sources/{source}/commits")).await).commits
    }

    pub async fn deployed(&self, source: &str, commit: &str) -> DeployedCommit {
        done(&self.client.get(&format!("/sources/{source}/commits/{commit}")).await)
    }

    /// Waits until a source's state is as it should be, and returns it.
    pub async fn becomes(
        &self,
        source: &str,
        what: &str,
        is: impl Fn(&SourceStatus) -> bool,
    ) -> SourceStatus {
        eventually(&format!("{source}: {what}"), || async { is(&self.status(source).await) }).await;
        self.status(source).await
    }

    /// Waits until a commit is live.
    pub async fn live(&self, source: &str, commit: &str) -> SourceStatus {
        let what = format!("{commit} is live");
        self.becomes(source, &what, |status| status.applied.as_deref() == Some(commit)).await
    }
}

/// Reads the 200 of a call.
///
/// # Panics
/// It has another status.
pub(super) fn done<T: DeserializeOwned>(reply: &Reply) -> T {
    assert_eq!(reply.status, 200, "{}", reply.text());
    parse(&reply.body)
}

/// Reads the report in a problem.
fn failed(reply: &Reply, status: u16) -> SyncReport {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{}", reply.text());
    parse(reply.json()["sync"].to_string().as_bytes())
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> T {
    let text = String::from_utf8_lossy(body);
    serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error} in {text}"))
}
