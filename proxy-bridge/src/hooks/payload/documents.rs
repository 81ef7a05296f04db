//! The JSON documents of the forges, down to the fields that are read.

use serde::Deserialize;

use super::Push;

/// The document of GitHub, GitLab and Gitea, which have one ref at the top, and of Standard
/// Webhooks, which may have it in `data`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FlatDocument {
    #[serde(rename = "ref")]
    pub(super) ref_name: Option<String>,
    pub(super) after: Option<String>,
    deleted: Option<bool>,
    forced: Option<bool>,
    /// The kind of the ref, in Gitea's deletions.
    pub(super) ref_type: Option<String>,
    /// The event, in Standard Webhooks.
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    /// The event, in GitLab's hooks.
    object_kind: Option<String>,
    /// The event, in GitLab's system hooks.
    event_name: Option<String>,
    data: Option<Box<FlatDocument>>,
}

impl FlatDocument {
    /// Returns the event that GitLab names.
    pub(super) fn event(&self) -> Option<&str> {
        self.object_kind.as_deref().or(self.event_name.as_deref())
    }

    pub(super) fn into_push(self) -> Push {
        match self.data {
            Some(data) if self.ref_name.is_none() => data.into_push(),
            _ => Push::new(self.ref_name, self.after.as_deref(), self.deleted == Some(true), self.forced),
        }
    }
}

/// The document of Bitbucket Cloud, with `push`, or of Data Center, with `changes`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct BitbucketDocument {
    push: Option<CloudPush>,
    changes: Vec<CenterChange>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CloudPush {
    changes: Vec<CloudChange>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CloudChange {
    old: Option<CloudRef>,
    new: Option<CloudRef>,
    closed: Option<bool>,
    forced: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CloudRef {
    #[serde(rename = "type")]
    kind: Option<String>,
    name: Option<String>,
    target: Option<CloudTarget>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CloudTarget {
    hash: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CenterChange {
    ref_id: Option<String>,
    to_hash: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl BitbucketDocument {
    pub(super) fn pushes(self) -> Vec<Push> {
        let cloud = self.push.map(|push| push.changes).unwrap_or_default();
        let cloud = cloud.into_iter().map(CloudChange::into_push);
        let center = self.changes.into_iter().map(|change| {
            let deleted = change.kind.as_deref() == Some("DELETE");
            Push::new(change.ref_id, change.to_hash.as_deref(), deleted, None)
        });
        cloud.chain(center).collect()
    }
}

impl CloudChange {
    fn into_push(self) -> Push {
        let deleted = self.new.is_none() || self.closed == Some(true);
        let after = self.new.as_ref().and_then(|new| new.target.as_ref()?.hash.clone());
        let name = self.new.or(self.old).and_then(CloudRef::full_name);
        Push::new(name, after.as_deref(), deleted, self.forced)
    }
}

impl CloudRef {
    fn full_name(self) -> Option<String> {
        let folder = if self.kind.as_deref() == Some("tag") { "tags" } else { "heads" };
        self.name.map(|name| format!("refs/{folder}/{name}"))
    }
}

/// The document of Azure DevOps.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct AzureDocument {
    /// The id of the event.
    pub(super) id: Option<String>,
    pub(super) event_type: Option<String>,
    resource: Option<AzureResource>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AzureResource {
    ref_updates: Vec<AzureUpdate>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AzureUpdate {
    name: Option<String>,
    new_object_id: Option<String>,
}

impl AzureDocument {
    pub(super) fn pushes(&self) -> Vec<Push> {
        let updates = self.resource.iter().flat_map(|resource| &resource.ref_updates);
        updates.map(|it| Push::new(it.name.clone(), it.new_object_id.as_deref(), false, None)).collect()
    }
}
