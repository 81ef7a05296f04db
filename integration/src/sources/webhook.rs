//! Deliveries of webhooks as the forges send them, signed anew.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use http::Request;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::bridge::signed::now;
use crate::client::{Body, post, with_header};

/// The secret of all webhooks, as it is written at a forge.
pub const HOOK_SECRET: &str = "it is a secret to everybody";

/// A sender with a format of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forge {
    Github,
    /// By the secret itself.
    GitlabToken,
    /// By a signature, as in Standard Webhooks.
    GitlabSigned,
    Gitea,
    Forgejo,
    BitbucketCloud,
    BitbucketDataCenter,
    Azure,
    Standard,
}

/// One delivery. To send it twice is to replay it.
#[derive(Debug, Clone)]
pub struct Delivery {
    source: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Forge {
    pub const ALL: [Self; 9] = [
        Self::Github,
        Self::GitlabToken,
        Self::GitlabSigned,
        Self::Gitea,
        Self::Forgejo,
        Self::BitbucketCloud,
        Self::BitbucketDataCenter,
        Self::Azure,
        Self::Standard,
    ];

    /// The word for it in a file of sources.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::GitlabToken | Self::GitlabSigned => "gitlab",
            Self::Gitea => "gitea",
            Self::Forgejo => "forgejo",
            Self::BitbucketCloud | Self::BitbucketDataCenter => "bitbucket",
            Self::Azure => "azure",
            Self::Standard => "standard",
        }
    }

    /// The delivery of a push to `main`, signed with [`HOOK_SECRET`].
    pub fn push(self, source: &str, commit: &str) -> Delivery {
        self.push_of(source, "refs/heads/main", commit, HOOK_SECRET)
    }

    /// The delivery of a push of any branch or tag, signed with any secret.
    pub fn push_of(self, source: &str, ref_name: &str, commit: &str, secret: &str) -> Delivery {
        let id = fresh_id();
        let body = self.body(ref_name, commit, &id).to_string();
        let headers = self.headers(&id, secret, body.as_bytes());
        Delivery { source: source.to_owned(), headers, body }
    }

    /// The parts of the document that its readers need, and one that needs escapes.
    fn body(self, ref_name: &str, after: &str, id: &str) -> Value {
        let before = "1e65c05c1d5171631d92438a13901ca7dae9618c";
        let short = ref_name.rsplit('/').next().unwrap_or(ref_name);
        match self {
            Self::Github | Self::Gitea | Self::Forgejo => json!({
                "ref": ref_name, "before": before, "after": after,
                "repository": { "name": "shop" }, "pusher": { "name": "x" }, "deleted": false,
                "commits": [{ "id": after, "message": "Prices \u{2192} \u{20ac} & more" }],
            }),
            Self::GitlabToken | Self::GitlabSigned => json!({
                "object_kind": "push", "event_name": "push", "before": before, "after": after,
                "ref": ref_name, "checkout_sha": after, "project": { "name": "shop" },
            }),
            Self::BitbucketCloud => json!({ "push": { "changes": [{
                "new": { "type": "branch", "name": short, "target": { "type": "commit", "hash": after } },
                "old": { "type": "branch", "name": short, "target": { "type": "commit", "hash": before } },
                "created": false, "forced": false, "closed": false,
            }] } }),
            Self::BitbucketDataCenter => json!({ "eventKey": "repo:refs_changed", "changes": [{
                "ref": { "id": ref_name, "displayId": short, "type": "BRANCH" },
                "refId": ref_name, "fromHash": before, "toHash": after, "type": "UPDATE",
            }] }),
            Self::Azure => json!({
                "id": id, "eventType": "git.push", "publisherId": "tfs",
                "resource": { "refUpdates":
                    [{ "name": ref_name, "oldObjectId": before, "newObjectId": after }] },
            }),
            Self::Standard => json!({
                "type": "push", "timestamp": "2026-11-29T06:00:00Z",
                "data": { "ref": ref_name, "after": after },
            }),
        }
    }

    fn headers(self, id: &str, secret: &str, body: &[u8]) -> Vec<(&'static str, String)> {
        let hex = || hash(secret, &[body]).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let id = || id.to_owned();
        match self {
            Self::Github => vec![
                ("x-github-event", "push".to_owned()),
                ("x-github-delivery", id()),
                ("x-hub-signature-256", format!("sha256={}", hex())),
            ],
            Self::GitlabToken => vec![
                ("x-gitlab-event", "Push Hook".to_owned()),
                ("idempotency-key", id()),
                ("x-gitlab-token", secret.to_owned()),
            ],
            Self::GitlabSigned => {
                let event = ("x-gitlab-event", "Push Hook".to_owned());
                standard(&id(), secret, body).into_iter().chain([event]).collect()
            }
            Self::Gitea => vec![
                ("x-gitea-event", "push".to_owned()),
                ("x-gitea-delivery", id()),
                ("x-gitea-signature", hex()),
            ],
            Self::Forgejo => vec![
                ("x-forgejo-event", "push".to_owned()),
                ("x-forgejo-delivery", id()),
                ("x-forgejo-signature", hex()),
            ],
            Self::BitbucketCloud => vec![
                ("x-event-key", "repo:push".to_owned()),
                ("x-request-uuid", id()),
                ("x-hub-signature", format!("sha256={}", hex())),
            ],
            Self::BitbucketDataCenter => vec![
                ("x-event-key", "repo:refs_changed".to_owned()),
                ("x-request-id", id()),
                ("x-hub-signature", format!("sha256={}", hex())),
            ],
            Self::Azure => {
                let credentials = STANDARD.encode(format!("switchyard:{secret}"));
                vec![("authorization", format!("Basic {credentials}"))]
            }
            Self::Standard => standard(&id(), secret, body).to_vec(),
        }
    }
}

impl Delivery {
    /// `POST /hooks/git/{source}`
    pub fn request(&self) -> Request<Body> {
        self.request_at(&format!("git/{}", self.source))
    }

    /// `POST /hooks/{path}`: also to the webhook of a task.
    pub fn request_at(&self, path: &str) -> Request<Body> {
        let request = post(&format!("/hooks/{path}"), self.body.clone());
        let request = with_header(request, "content-type", "application/json");
        self.headers.iter().fold(request, |request, (name, value)| with_header(request, name, value))
    }

    /// The same signature for another body.
    #[must_use]
    pub fn with_body(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self
    }

    /// The same bytes for another source.
    #[must_use]
    pub fn to(mut self, source: &str) -> Self {
        source.clone_into(&mut self.source);
        self
    }
}

fn standard(id: &str, secret: &str, body: &[u8]) -> [(&'static str, String); 3] {
    let at = now();
    let signature = STANDARD.encode(hash(secret, &[format!("{id}.{at}.").as_bytes(), body]));
    [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", at.to_string()),
        ("webhook-signature", format!("v1,{signature}")),
    ]
}

fn hash(key: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("a key has any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// An id that no delivery of this process had before.
fn fresh_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("72d3162e-cc78-11e3-81ab-{:012x}", NEXT.fetch_add(1, Ordering::Relaxed))
}
