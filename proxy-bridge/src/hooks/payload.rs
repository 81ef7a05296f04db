//! The refs that a delivery names. Its sender is proven, but nothing of it is trusted for content:
//! a payload that is not understood counts as a push of which no more is known.

mod documents;

use std::borrow::Cow;

use http::HeaderMap;
use percent_encoding::percent_decode;
use serde::de::DeserializeOwned;
use switchyard_edge::webhook::{ForgeKind, is_delivery_id, is_form, single};

use self::documents::{AzureDocument, BitbucketDocument, FlatDocument};

/// The largest number of refs that are taken from one payload. A larger push counts as one of which
/// no more is known.
const MAX_REFS: usize = 100;

/// The longest name of a ref that is taken, in bytes.
const MAX_REF: usize = 1024;

/// One ref that a push has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Push {
    /// The full name, as `refs/heads/main`. `None`: any ref may have changed.
    pub ref_name: Option<String>,
    /// The id of the object that the ref names now: 40 or 64 lower-case hex digits. For an
    /// annotated tag this may be the tag's own id.
    pub after: Option<String>,
    /// The ref is gone.
    pub deleted: bool,
    /// The old commit is no ancestor of the new one. `None`: the forge does not say.
    pub forced: Option<bool>,
}

/// The event of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Refs have changed: at least one.
    Push(Vec<Push>),
    /// The forge tests the webhook.
    Ping,
    /// Another event, which does not matter here.
    Ignored,
}

/// The parts of a delivery that matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The event.
    pub event: Event,
    /// The delivery's id, where the body has it instead of the headers.
    pub id: Option<String>,
}

impl Payload {
    /// Reads a delivery. Without its body, which may be too large to be kept, only the headers
    /// count.
    pub fn read(kind: ForgeKind, headers: &HeaderMap, body: Option<&[u8]>) -> Self {
        let json = body.and_then(|body| document(headers, body));
        let json = json.as_deref();
        match kind {
            ForgeKind::Github | ForgeKind::Gitea => {
                Self { event: github_event(kind, headers, json), id: None }
            }
            ForgeKind::Gitlab => gitlab_payload(headers, json),
            ForgeKind::Bitbucket => Self { event: bitbucket_event(headers, json), id: None },
            ForgeKind::Azure => azure_payload(json),
            ForgeKind::Standard => Self { event: standard_event(json), id: None },
        }
    }
}

impl Push {
    /// A change of a ref to an object. Parts that cannot be right are left out.
    fn new(ref_name: Option<String>, after: Option<&str>, deleted: bool, forced: Option<bool>) -> Self {
        let ref_name = ref_name.filter(|name| is_ref(name));
        let deleted = deleted || after.is_some_and(is_zero);
        let after = after.filter(|_| !deleted).and_then(object_id);
        Self { ref_name, after, deleted, forced }
    }
}

impl Event {
    /// A push of these refs.
    fn push(refs: Vec<Push>) -> Self {
        match refs.len() {
            1..=MAX_REFS => Self::Push(refs),
            _ => Self::some_push(),
        }
    }

    /// A push of which no more is known.
    fn some_push() -> Self {
        Self::Push(vec![Push::default()])
    }
}

fn github_event(kind: ForgeKind, headers: &HeaderMap, json: Option<&[u8]>) -> Event {
    match kind.event(headers) {
        None | Some("push") => flat_push(json),
        Some("ping") => Event::Ping,
        // Gitea does not send a push when a branch is deleted.
        Some("delete") if kind == ForgeKind::Gitea => {
            let Some(document) = parse::<FlatDocument>(json) else { return Event::some_push() };
            let folder = if document.ref_type.as_deref() == Some("tag") { "tags" } else { "heads" };
            let name = document.ref_name.map(|name| format!("refs/{folder}/{name}"));
            Event::push(vec![Push::new(name, None, true, None)])
        }
        Some(_) => Event::Ignored,
    }
}

fn gitlab_payload(headers: &HeaderMap, json: Option<&[u8]>) -> Payload {
    let document = parse::<FlatDocument>(json);
    let event = match ForgeKind::Gitlab.event(headers) {
        None | Some("Push Hook" | "Tag Push Hook") => flat_push(json),
        Some("System Hook") => match document.as_ref().and_then(FlatDocument::event) {
            Some("push" | "tag_push") | None => flat_push(json),
            Some("repository_update") => Event::some_push(),
            Some(_) => Event::Ignored,
        },
        Some(_) => Event::Ignored,
    };
    // Versions before 17.4 send no id of the delivery. Hooks that follow from one another share
    // this one, so that it needs the commit beside it.
    let after = document.and_then(|document| document.after);
    let id = single(headers, "x-gitlab-event-uuid").zip(after).map(|(id, after)| format!("{id}:{after}"));
    Payload { event, id: id.filter(|id| is_delivery_id(id)) }
}

fn bitbucket_event(headers: &HeaderMap, json: Option<&[u8]>) -> Event {
    match ForgeKind::Bitbucket.event(headers) {
        None | Some("repo:push" | "repo:refs_changed") => match parse::<BitbucketDocument>(json) {
            Some(document) => Event::push(document.pushes()),
            None => Event::some_push(),
        },
        Some("diagnostics:ping") => Event::Ping,
        Some(_) => Event::Ignored,
    }
}

fn azure_payload(json: Option<&[u8]>) -> Payload {
    let Some(document) = parse::<AzureDocument>(json) else {
        return Payload { event: Event::some_push(), id: None };
    };
    let event = match document.event_type.as_deref() {
        None | Some("git.push") => Event::push(document.pushes()),
        Some(_) => Event::Ignored,
    };
    Payload { event, id: document.id.filter(|id| is_delivery_id(id)) }
}

/// Reads `{"type": "push", "ref": …, "after": …}`, or the same with the fields in `data`.
fn standard_event(json: Option<&[u8]>) -> Event {
    let Some(document) = parse::<FlatDocument>(json) else { return Event::some_push() };
    match document.kind.as_deref() {
        None | Some("push" | "git.push" | "repo.push") => Event::push(vec![document.into_push()]),
        Some("ping") => Event::Ping,
        Some(_) => Event::Ignored,
    }
}

fn flat_push(json: Option<&[u8]>) -> Event {
    match parse::<FlatDocument>(json) {
        Some(document) => Event::push(vec![document.into_push()]),
        None => Event::some_push(),
    }
}

fn parse<D: DeserializeOwned>(json: Option<&[u8]>) -> Option<D> {
    serde_json::from_slice(json?).ok()
}

/// Returns the JSON document of a body, which may be the field `payload` of a form.
fn document<'b>(headers: &HeaderMap, body: &'b [u8]) -> Option<Cow<'b, [u8]>> {
    if !is_form(headers) {
        return Some(Cow::Borrowed(body));
    }
    let field = body.split(|c| *c == b'&').find_map(|field| field.strip_prefix(b"payload="))?;
    let spaced: Vec<u8> = field.iter().map(|c| if *c == b'+' { b' ' } else { *c }).collect();
    Some(Cow::Owned(percent_decode(&spaced).collect()))
}

/// Returns true for a full name that could be one of git's.
fn is_ref(name: &str) -> bool {
    let is_plain = |c: u8| c > b' ' && c != 0x7f;
    name.len() <= MAX_REF
        && name.len() > "refs/".len()
        && name.starts_with("refs/")
        && name.bytes().all(is_plain)
}

fn is_zero(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|c| c == b'0')
}

/// Returns the id in lower case, if it is one.
fn object_id(id: &str) -> Option<String> {
    let is_id = matches!(id.len(), 40 | 64) && id.bytes().all(|c| c.is_ascii_hexdigit());
    is_id.then(|| id.to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
