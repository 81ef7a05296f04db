//! The JSON of the batch API: which objects are wanted, and where the server has them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::pointer::LfsPointer;

/// The type of requests and answers.
pub(super) const TYPE: &str = "application/vnd.git-lfs+json";

#[derive(Serialize)]
pub(super) struct Request<'a> {
    operation: &'static str,
    transfers: [&'static str; 1],
    hash_algo: &'static str,
    objects: Vec<Wanted<'a>>,
}

#[derive(Serialize)]
struct Wanted<'a> {
    oid: &'a str,
    size: u64,
}

impl<'a> Request<'a> {
    pub(super) fn new(pointers: &'a [LfsPointer]) -> Self {
        let objects = pointers.iter().map(|pointer| Wanted { oid: pointer.oid.as_str(), size: pointer.size });
        Self { operation: "download", transfers: ["basic"], hash_algo: "sha256", objects: objects.collect() }
    }
}

/// Expiry is not read: a download begins at once.
#[derive(Deserialize)]
pub(super) struct Answer {
    transfer: Option<String>,
    hash_algo: Option<String>,
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    size: u64,
    #[serde(default)]
    actions: Actions,
    error: Option<Fault>,
}

#[derive(Default, Deserialize)]
struct Actions {
    download: Option<Download>,
}

/// The way to one object. Without `Debug`: it may hold tokens.
#[derive(Clone, Deserialize)]
pub(super) struct Download {
    pub(super) href: String,
    #[serde(default)]
    pub(super) header: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Fault {
    code: u16,
    #[serde(default)]
    message: String,
}

impl Answer {
    /// Checks that it is one of the protocol that was asked for.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(transfer) = self.transfer.as_deref().filter(|transfer| *transfer != "basic") {
            return Err(format!("the server wants the transfer {transfer:?}, but only basic is supported"));
        }
        match self.hash_algo.as_deref() {
            None | Some("sha256") => Ok(()),
            Some(other) => {
                Err(format!("the server names contents by {other:?}, but only sha256 is supported"))
            }
        }
    }

    /// The way to the content of `pointer`.
    pub(super) fn download(&self, pointer: &LfsPointer) -> Result<&Download, String> {
        let object = self.objects.iter().find(|object| object.oid == pointer.oid.as_str());
        let object = object.ok_or("the server says nothing of it")?;
        match &object.error {
            Some(Fault { code: 404, .. }) => return Err("the server does not have it".to_owned()),
            Some(Fault { code, message }) => return Err(format!("the server answers {code}: {message}")),
            None => {}
        }
        if object.size != pointer.size {
            let (has, size) = (object.size, pointer.size);
            return Err(format!("the server has {has} bytes of it, but the pointer says {size}"));
        }
        object.actions.download.as_ref().ok_or_else(|| "the server gives no link to it".to_owned())
    }
}
