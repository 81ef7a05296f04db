//! The check of a delivery's signature while its body streams.
//!
//! A request for an unknown source, one without a proper signature and one with a wrong signature
//! cost the same, so that nobody learns by timing which sources there are.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use http::HeaderMap;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use super::forge::{ID, SIGNATURE, TIMESTAMP, is_form, single};
use super::{ForgeKind, WebhookSecret};

/// The number of hashes that are computed for every request, if its source has not more secrets
/// than during a rotation.
const LANES: usize = 2;

/// The largest number of signatures of one request. A sender that rotates its secret sends two.
const MAX_SIGNATURES: usize = 8;

/// The largest difference between the time of signing and now, in seconds: as in Standard Webhooks.
const TOLERANCE: u64 = 300;

/// Checks one delivery.
#[derive(Debug)]
pub struct Verifier {
    lanes: Vec<Lane>,
    /// The signatures that the headers give.
    given: Vec<[u8; 32]>,
    /// Whether the headers alone prove the sender.
    proven: Choice,
    /// The reason why it is refused if no signature fits.
    otherwise: Refused,
}

struct Lane {
    mac: Hmac<Sha256>,
    /// Whether the key is a secret of the source: the others only take time.
    counts: Choice,
}

/// The reason why a delivery is refused. For the log only: all are answered alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no source of this name, or it has no webhook.
    #[error("there is no source of this name with a webhook")]
    UnknownSource,
    /// A header is missing or repeated.
    #[error("the header {0} is missing: is the kind of the webhook right, and has the forge its secret?")]
    Missing(&'static str),
    /// A header is not as its forge writes it.
    #[error("the header {0} is not well formed")]
    Malformed(&'static str),
    /// The sender signs another text than the body.
    #[error("a form is not signed as it is sent: set the webhook's content type to application/json")]
    Form,
    /// The signature is too old, or from the future.
    #[error("it was signed more than 5 minutes before or after now: is the clock right?")]
    Stale,
    /// No secret fits the signature.
    #[error("no secret fits its signature: give the forge and the source the same secret")]
    Mismatch,
}

/// The parts of the headers of a delivery that matter.
#[derive(Default)]
struct Proof<'h> {
    /// The bytes before the body that are signed too.
    prefix: Vec<u8>,
    signatures: Vec<[u8; 32]>,
    /// The secret itself.
    token: Option<Cow<'h, [u8]>>,
}

impl Verifier {
    /// A verifier of a delivery with these headers, which came at `now`.
    ///
    /// # Errors
    /// The headers are not as the webhook's kind has them.
    pub fn new(webhook: &WebhookSecret, headers: &HeaderMap, now: Timestamp) -> Result<Self, Refused> {
        let proof = match webhook.kind() {
            ForgeKind::Github => hashed(headers, "x-hub-signature-256", "sha256=")?,
            ForgeKind::Bitbucket => hashed(headers, "x-hub-signature", "sha256=")?,
            // The JSON in the form is signed, which is not known before the end.
            ForgeKind::Gitea if is_form(headers) => return Err(Refused::Form),
            ForgeKind::Gitea if headers.contains_key("x-gitea-signature") => {
                hashed(headers, "x-gitea-signature", "")?
            }
            ForgeKind::Gitea => hashed(headers, "x-forgejo-signature", "")?,
            ForgeKind::Gitlab => gitlab_proof(headers, now)?,
            ForgeKind::Azure => {
                Proof { token: Some(Cow::Owned(basic_password(headers)?)), ..Proof::default() }
            }
            ForgeKind::Standard => standard_proof(headers, now)?,
        };
        Ok(Self::of(webhook, &proof))
    }

    /// A verifier for a source that there is not. It takes as long as another, and always refuses.
    pub fn decoy() -> Self {
        Self::refusing(Refused::UnknownSource)
    }

    /// A verifier that takes as long as another, and refuses for the given reason.
    pub fn refusing(why: Refused) -> Self {
        let mut verifier =
            Self { lanes: Vec::new(), given: Vec::new(), proven: Choice::from(0), otherwise: why };
        verifier.fill();
        verifier
    }

    fn of(webhook: &WebhookSecret, proof: &Proof<'_>) -> Self {
        let mut proven = Choice::from(0);
        if let Some(token) = &proof.token {
            // Hashes have equal lengths: the time does not reveal the secret's.
            let token = Sha256::digest(token);
            for text in webhook.texts() {
                proven |= token.ct_eq(&Sha256::digest(text));
            }
        }
        let lane = |key| {
            let mut lane = Lane::new(key, true);
            lane.mac.update(&proof.prefix);
            lane
        };
        let lanes = webhook.keys().map(lane).collect();
        let given = proof.signatures.clone();
        let mut verifier = Self { lanes, given, proven, otherwise: Refused::Mismatch };
        verifier.fill();
        verifier
    }

    fn fill(&mut self) {
        while self.lanes.len() < LANES {
            self.lanes.push(Lane::new(b"no secret of a source", false));
        }
    }

    /// Takes the next part of the body.
    pub fn update(&mut self, part: &[u8]) {
        for lane in &mut self.lanes {
            lane.mac.update(part);
        }
    }

    /// Decides, at the end of the body.
    ///
    /// # Errors
    /// No secret of the source fits.
    pub fn finish(self) -> Result<(), Refused> {
        let mut proven = self.proven;
        for lane in self.lanes {
            let hash = lane.mac.finalize().into_bytes();
            for given in &self.given {
                proven |= hash.ct_eq(given) & lane.counts;
            }
        }
        if bool::from(proven) { Ok(()) } else { Err(self.otherwise) }
    }
}

impl Lane {
    fn new(key: &[u8], counts: bool) -> Self {
        let mac = Hmac::new_from_slice(key).expect("a key of HMAC may have any length");
        Self { mac, counts: Choice::from(u8::from(counts)) }
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lane(…)")
    }
}

/// Reads the hash of the body, in hex after `prefix`.
fn hashed(headers: &HeaderMap, name: &'static str, prefix: &str) -> Result<Proof<'static>, Refused> {
    let value = single(headers, name).ok_or(Refused::Missing(name))?;
    let hash = value.strip_prefix(prefix).and_then(unhex).ok_or(Refused::Malformed(name))?;
    Ok(Proof { signatures: vec![hash], ..Proof::default() })
}

/// Reads a token, a signature, or both: a hook may have either.
fn gitlab_proof(headers: &HeaderMap, now: Timestamp) -> Result<Proof<'_>, Refused> {
    let token = single(headers, "x-gitlab-token").map(|token| Cow::Borrowed(token.as_bytes()));
    match standard_proof(headers, now) {
        Ok(signed) => Ok(Proof { token, ..signed }),
        Err(_) if token.is_some() => Ok(Proof { token, ..Proof::default() }),
        Err(Refused::Missing(SIGNATURE)) => Err(Refused::Missing("x-gitlab-token")),
        Err(refused) => Err(refused),
    }
}

/// Reads the password of basic authentication.
fn basic_password(headers: &HeaderMap) -> Result<Vec<u8>, Refused> {
    const NAME: &str = "authorization";
    let value = single(headers, NAME).ok_or(Refused::Missing(NAME))?;
    let (scheme, credentials) = value.split_once(' ').ok_or(Refused::Malformed(NAME))?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(Refused::Malformed(NAME));
    }
    let decoded = STANDARD.decode(credentials.trim()).map_err(|_| Refused::Malformed(NAME))?;
    let colon = decoded.iter().position(|c| *c == b':').ok_or(Refused::Malformed(NAME))?;
    Ok(decoded.into_iter().skip(colon + 1).collect())
}

/// Reads the signatures of Standard Webhooks. Those of other versions than `v1` are skipped.
fn standard_proof(headers: &HeaderMap, now: Timestamp) -> Result<Proof<'static>, Refused> {
    let header = |name| single(headers, name).ok_or(Refused::Missing(name));
    let (signatures, id, timestamp) = (header(SIGNATURE)?, header(ID)?, header(TIMESTAMP)?);
    let signed: i64 = timestamp.parse().map_err(|_| Refused::Malformed(TIMESTAMP))?;
    if now.as_second().abs_diff(signed) > TOLERANCE {
        return Err(Refused::Stale);
    }
    let decode = |text: &str| STANDARD.decode(text.strip_prefix("v1,")?).ok()?.try_into().ok();
    let signatures: Vec<_> = signatures.split(' ').take(MAX_SIGNATURES).filter_map(decode).collect();
    if signatures.is_empty() {
        return Err(Refused::Malformed(SIGNATURE));
    }
    let prefix = format!("{id}.{timestamp}.").into_bytes();
    Ok(Proof { prefix, signatures, token: None })
}

/// Decodes exactly 64 hex digits.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
