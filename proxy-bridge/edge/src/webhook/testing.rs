//! Signed deliveries, for tests. Panics where a header is not valid.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "only tests use it")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use http::{HeaderMap, HeaderName};
use sha2::Sha256;

use super::ForgeKind;

/// One delivery.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The sender.
    pub kind: ForgeKind,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

/// Returns the hash as a sender computes it.
fn hash(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Delivery {
    /// A delivery without a proof.
    pub fn new(kind: ForgeKind, headers: &[(&'static str, &str)], body: impl AsRef<[u8]>) -> Self {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        Self { kind, headers: map, body: body.as_ref().to_vec() }
    }

    /// Sets a header.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        self
    }

    /// Signs it with `secret` at the time `at`, as its forge does.
    pub fn signed(self, secret: &str, at: i64) -> Self {
        let hash_of_body = hex(&hash(secret.as_bytes(), &[&self.body]));
        match self.kind {
            ForgeKind::Github => self.with("x-hub-signature-256", &format!("sha256={hash_of_body}")),
            ForgeKind::Bitbucket => self.with("x-hub-signature", &format!("sha256={hash_of_body}")),
            ForgeKind::Gitea => self.with("x-gitea-signature", &hash_of_body),
            ForgeKind::Gitlab => self.with("x-gitlab-token", secret),
            ForgeKind::Azure => {
                let credentials = STANDARD.encode(format!("switchyard:{secret}"));
                self.with("authorization", &format!("Basic {credentials}"))
            }
            ForgeKind::Standard => self.standard("msg_1", secret.as_bytes(), at),
        }
    }

    /// Signs it as in Standard Webhooks.
    pub fn standard(self, id: &str, key: &[u8], at: i64) -> Self {
        let prefix = format!("{id}.{at}.");
        let signature = STANDARD.encode(hash(key, &[prefix.as_bytes(), &self.body]));
        self.with("webhook-id", id)
            .with("webhook-timestamp", &at.to_string())
            .with("webhook-signature", &format!("v1,{signature}"))
    }
}
