//! Contents from a server, by the batch API and its basic transfer. No redirect is followed.

use std::path::Path;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::Sender;

use super::batch::{Answer, Download, Request, TYPE};
use super::link::Origin;
use super::pointer::LfsPointer;
use super::{Login, Piece};
use crate::git::GitError;
use switchyard_contract::https;

/// Bound of an answer of the batch API, in bytes.
const MAX_ANSWER: usize = 4 << 20;
/// Headers of the connection, which a server may not set for us.
const NOT_SET: [&str; 8] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "upgrade",
    "expect",
    "proxy-authorization",
];

/// The server of a repository, and what it gets.
pub(super) struct Server<'a> {
    pub(super) client: &'a Client,
    pub(super) origin: &'a Origin,
    pub(super) login: Option<&'a Login>,
    /// The credential's file, to name in messages.
    pub(super) file: Option<&'a Path>,
}

impl Server<'_> {
    /// Sends the contents of `pointers`, numbered from `first`. Returns false if nobody takes them.
    pub(super) async fn send(
        &self,
        first: usize,
        pointers: &[LfsPointer],
        sender: &Sender<Vec<Piece>>,
    ) -> Result<bool, GitError> {
        let answer = self.ask(pointers).await?;
        for (index, pointer) in pointers.iter().enumerate() {
            if !self.copy(first + index, pointer, &answer, sender).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Asks for the ways to the contents.
    async fn ask(&self, pointers: &[LfsPointer]) -> Result<Answer, GitError> {
        let body = serde_json::to_vec(&Request::new(pointers));
        let body = body.map_err(|error| GitError::Other(error.to_string()))?;
        let request = self.client.post(self.origin.batch().clone()).body(body);
        let request = request.header(ACCEPT, TYPE).header(CONTENT_TYPE, TYPE);
        let mut response = self.answered(self.with_login(request), true, "LFS").await?;
        let mut body = BytesMut::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            if body.len() + piece.len() > MAX_ANSWER {
                let bytes = (body.len() + piece.len()) as u64;
                return Err(GitError::TooLarge { bytes, budget: MAX_ANSWER as u64 });
            }
            body.extend_from_slice(&piece);
        }
        // What serde says could repeat parts of the answer, which holds tokens.
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| {
            GitError::Refused(format!(
                "{} answers the question for LFS with no JSON of LFS",
                self.origin.host()
            ))
        })?;
        answer.check().map_err(|what| GitError::Refused(Login::clean(self.login, &what)))?;
        Ok(answer)
    }

    async fn copy(
        &self,
        index: usize,
        pointer: &LfsPointer,
        answer: &Answer,
        sender: &Sender<Vec<Piece>>,
    ) -> Result<bool, GitError> {
        let short = pointer.oid.short();
        let refused = |what: String| {
            GitError::Refused(Login::clean(self.login, &format!("the LFS content {short}: {what}")))
        };
        let send = async |bytes: Bytes, last| sender.send(vec![Piece { index, bytes, last }]).await.is_ok();
        let download = answer.download(pointer).map_err(refused)?;
        let (request, own) = self.request(download).map_err(refused)?;
        let mut response = self.answered(request, own, &format!("the LFS content {short}")).await?;
        let (mut hash, mut bytes) = (Sha256::new(), 0_u64);
        while let Some(piece) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            bytes = bytes.saturating_add(piece.len() as u64);
            if bytes > pointer.size {
                return Err(refused(format!("it has more than {} bytes, as the pointer says", pointer.size)));
            }
            hash.update(&piece);
            if !send(piece, false).await {
                return Ok(false);
            }
        }
        check(pointer, hash, bytes).map_err(refused)?;
        Ok(send(Bytes::new(), true).await)
    }

    /// The request for one content, and true if the repository's own server gets it.
    fn request(&self, download: &Download) -> Result<(RequestBuilder, bool), String> {
        let link = self.origin.link(&download.href)?;
        let headers = headers(download)?;
        let has_own = headers.contains_key(AUTHORIZATION);
        let request = self.client.get(link.url).headers(headers);
        let request = if link.own && !has_own { self.with_login(request) } else { request };
        Ok((request, link.own))
    }

    fn with_login(&self, request: RequestBuilder) -> RequestBuilder {
        match self.login {
            Some(login) => request.basic_auth(&login.username, Some(&login.password)),
            None => request,
        }
    }

    /// Sends a request for `what`, and returns the answer if it is a good one. `own` is true for the
    /// repository's own server.
    async fn answered(&self, request: RequestBuilder, own: bool, what: &str) -> Result<Response, GitError> {
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        let host = response.url().host_str().unwrap_or_default();
        let text = format!("{host} answers the question for {what} with {}", status.as_u16());
        match status {
            StatusCode::OK => Ok(response),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if own => {
                Err(GitError::Unauthorized { file: self.file.map(Path::to_owned) })
            }
            StatusCode::TOO_MANY_REQUESTS => Err(GitError::Unreachable(text)),
            _ if status.is_server_error() => Err(GitError::Unreachable(text)),
            _ if status.is_redirection() => {
                Err(GitError::Refused(format!("{text}, a redirect: none is followed")))
            }
            _ => Err(GitError::Refused(text)),
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> GitError {
        GitError::Unreachable(Login::clean(self.login, &format!("LFS: {}", https::reason(error))))
    }
}

/// The headers that the server wants for a content.
fn headers(download: &Download) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &download.header {
        let name = HeaderName::try_from(name).map_err(|_| "its link has a header that is none".to_owned())?;
        if NOT_SET.contains(&name.as_str()) {
            return Err(format!("its link wants the header {name}, which is not the server's to set"));
        }
        let value = HeaderValue::try_from(value);
        let mut value = value.map_err(|_| format!("its link has no value for the header {name}"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// Compares what came with the pointer.
pub(super) fn check(pointer: &LfsPointer, hash: Sha256, bytes: u64) -> Result<(), String> {
    if bytes != pointer.size {
        return Err(format!("{bytes} bytes came, but the pointer says {}", pointer.size));
    }
    let hash = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    if hash != pointer.oid.as_str() {
        return Err("what came has another sha256 than the pointer says".to_owned());
    }
    Ok(())
}
